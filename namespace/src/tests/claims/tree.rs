use super::*;
use crate::command::{AttrChange, Layout, Ownership};
use crate::row::Usage;

#[test]
fn nothing_works_before_format_and_format_happens_once() {
    let mut cluster = Cluster { state: crate::memory::MemoryView::new(), ..Cluster::formatted() };
    assert_eq!(code(cluster.run(mkdir("/a"))), Code::Busy);
    assert!(query::stat(&cluster.state, Caller::SYSTEM, &at("/")).is_err());
    assert_eq!(cluster.run(Command::Noop), Ok(Reply::Done));
    assert!(cluster.state.rows().is_empty());
    assert_eq!(query::cluster(&cluster.state), Ok(None));
    cluster.run(Command::Format { cluster: CLUSTER, owner: None }).expect("first");
    let formatted = cluster.state.clone();
    assert_eq!(cluster.run(Command::Format { cluster: CLUSTER, owner: None }), Ok(Reply::Done));
    assert_eq!(cluster.state, formatted);
    let other = types::ClusterId::from_bytes([9; 16]);
    assert_eq!(code(cluster.run(Command::Format { cluster: other, owner: None })), Code::Exists);
    assert_eq!(query::cluster(&cluster.state), Ok(Some(CLUSTER)));
}

#[test]
fn sums_reach_the_root_and_leave_with_what_is_removed() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/a/b/c")).expect("made");
    cluster.run(put(to("/a/b/c/f"), b"12345")).expect("put");
    let usage = Usage { entries: 1, files: 1, directories: 3, bytes: 5, raw_bytes: 15 };
    assert_eq!(cluster.stat("/").usage, Some(usage));
    assert_eq!(cluster.stat("/a").usage, Some(Usage { directories: 2, ..usage }));
    cluster.run(rename("/a/b", "/b", false)).expect("moved");
    assert_eq!(cluster.stat("/a").usage, Some(Usage::default()));
    assert_eq!(cluster.stat("/").usage, Some(Usage { entries: 2, ..usage }));
    cluster.run(delete("/b")).expect("removed");
    assert_eq!(cluster.stat("/").usage, Some(Usage { entries: 1, directories: 1, ..Usage::default() }));
}

#[test]
fn a_directory_cannot_move_into_itself_and_the_root_cannot_move_at_all() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/a/b")).expect("made");
    assert_eq!(code(cluster.run(rename("/a", "/a/b/c", false))), Code::Cycle);
    assert_eq!(code(cluster.run(rename("/", "/a/c", false))), Code::InvalidArgument);
    assert_eq!(code(cluster.run(rename("/a", "/", true))), Code::InvalidArgument);
    assert_eq!(code(cluster.run(delete("/"))), Code::InvalidArgument);
    assert_eq!(cluster.run(rename("/a/b", "/a/b", false)), Ok(Reply::Done));
}

#[test]
fn rename_replaces_as_rename_2_does() {
    let mut cluster = Cluster::formatted();
    for command in [mkdir("/full/x"), mkdir("/empty"), mkdir("/d"), put(to("/f"), b"new"), put(to("/g"), b"older")] {
        cluster.run(command).expect("made");
    }
    assert_eq!(code(cluster.run(rename("/f", "/g", false))), Code::Exists);
    assert_eq!(code(cluster.run(rename("/f", "/d", true))), Code::IsDirectory);
    assert_eq!(code(cluster.run(rename("/d", "/f", true))), Code::NotDirectory);
    assert_eq!(code(cluster.run(rename("/d", "/full", true))), Code::NotEmpty);
    cluster.run(rename("/f", "/g", true)).expect("file over file");
    cluster.run(rename("/full", "/empty", true)).expect("directory over an empty one");
    assert_eq!(cluster.stat("/g").length, ByteSize::new(3));
    assert!(cluster.is_there("/empty/x") && !cluster.is_there("/full") && !cluster.is_there("/f"));
    invariants::check(&cluster.state);
}

#[test]
fn missing_parents_are_made_only_when_asked_and_not_when_refused() {
    let mut cluster = Cluster::formatted();
    assert_eq!(code(cluster.run(put(to("/a/b/f"), b"x"))), Code::NotFound);
    let with_parents = |path| Destination { parents: true, ..to(path) };
    cluster.run(put(with_parents("/a/b/f"), b"x")).expect("parents are made");
    let parent = cluster.stat("/a");
    assert_eq!((parent.mode, parent.uid, parent.gid), (0o755, OWNER.uid, OWNER.gid));
    let before = cluster.state.clone();
    assert_eq!(code(cluster.run(put(with_parents("/new/../f"), b"x"))), Code::InvalidArgument);
    assert_eq!(code(cluster.run(put(with_parents("/a/b/f/g/h"), b"x"))), Code::NotDirectory);
    assert_eq!(code(cluster.run(put(with_parents("/a/b/f"), b"x"))), Code::Exists);
    assert_eq!(cluster.state, before, "invariant 1");
}

#[test]
fn a_directory_is_never_replaced_by_a_file() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d")).expect("made");
    assert_eq!(code(cluster.run(put(over("/d"), b"x"))), Code::IsDirectory);
    assert_eq!(code(cluster.run(put(over("/"), b"x"))), Code::IsDirectory);
    assert_eq!(code(cluster.run(put(to("/d"), b"x"))), Code::Exists);
}

#[test]
fn time_never_runs_backwards() {
    let mut cluster = Cluster::formatted();
    cluster.clock = 5_000_000;
    cluster.run(put(to("/f"), b"x")).expect("put");
    cluster.clock = 2_000_000;
    cluster.run(put(to("/g"), b"x")).expect("put");
    assert!(cluster.stat("/g").mtime >= cluster.stat("/f").mtime, "invariant 8");
    assert_eq!(query::time(&cluster.state), Ok(cluster.stat("/f").mtime));
}

#[test]
fn impossible_requests_are_refused_by_name() {
    let mut cluster = Cluster::formatted();
    let layout = |replication, block_size| Layout { replication, block_size: ByteSize::new(block_size), spread: None };
    let put_with = |layout, mode, length| Command::PutInline {
        destination: to("/f"),
        ownership: Ownership { mode, ..OWNER },
        layout,
        content: vec![0; length],
        mtime: None,
    };
    let refused = [
        (put_with(layout(0, 1), 0, 0), Code::InvalidArgument),
        (put_with(layout(33, 1), 0, 0), Code::InvalidArgument),
        (put_with(layout(1, 0), 0, 0), Code::InvalidArgument),
        (put_with(layout(1, u64::MAX), 0, 0), Code::InvalidArgument),
        (put_with(layout(1, 1), 0o10000, 0), Code::InvalidArgument),
        (put_with(layout(1, 1), 0, (64 << 10) + 1), Code::TooLarge),
        (put(to(&format!("/{}", "n".repeat(256))), b""), Code::NameTooLong),
        (put(to(&"/n".repeat(3000)), b""), Code::NameTooLong),
        (Command::OpenSession { client: "c".repeat(256) }, Code::InvalidArgument),
        (create(None, &[]), Code::InvalidArgument),
    ];
    let before = cluster.state.clone();
    for (command, expected) in refused {
        assert_eq!(code(cluster.run(command.clone())), expected, "{command:?}");
    }
    assert_eq!(cluster.state, before);
}

#[test]
fn attributes_change_one_by_one() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.write(session, "/f");
    let change = AttrChange { mode: Some(0o600), replication: Some(5), ..AttrChange::default() };
    let reply = cluster.run(Command::SetAttr { place: at("/f"), change }).expect("changed");
    let attributes = cluster.stat("/f");
    assert_eq!(reply, Reply::Attributes { attributes: attributes.clone() });
    assert_eq!((attributes.mode, attributes.uid, attributes.replication), (0o600, OWNER.uid, 5));
    assert_eq!(cluster.stat("/").usage.expect("a directory").raw_bytes, 50);
    invariants::check(&cluster.state);
    assert_eq!(code(cluster.run(Command::SetAttr { place: at("/"), change })), Code::IsDirectory);
}

#[test]
fn errors_name_the_thing() {
    let mut cluster = Cluster::formatted();
    let error = cluster.run(put(to("/no/such/f"), b"x")).expect_err("refused");
    assert_eq!(error.to_string(), "/no: no such file or directory");
    cluster.run(mkdir("/d")).expect("made");
    let error = cluster.run(put(over("/d"), b"x")).expect_err("refused");
    assert_eq!(error.to_string(), "/d is a directory; name a file");
    let error = cluster.run(Command::Delete { place: inode(77, "x"), recursive: false }).expect_err("refused");
    assert_eq!(error.to_string(), "ino_77: no such file or directory");
}

#[test]
fn a_long_listing_comes_in_pages_and_survives_removals() {
    let mut cluster = Cluster::formatted();
    for name in 0..25 {
        cluster.run(put(to(&format!("/f{name:02}")), b"x")).expect("put");
    }
    let first = query::list(&cluster.state, Caller::SYSTEM, &at("/"), b"", 10).expect("a page");
    assert!(first.more && first.entries.len() == 10);
    let last = first.entries.last().expect("ten").0.clone();
    cluster.run(delete("/f09")).expect("removed");
    let second = query::list(&cluster.state, Caller::SYSTEM, &at("/"), &last, 10).expect("a page");
    assert_eq!(second.entries.first().expect("ten").0, b"f10");
    let third = query::list(&cluster.state, Caller::SYSTEM, &at("/"), b"f19", 10).expect("a page");
    assert!(!third.more && third.entries.len() == 5);
    assert_eq!(query::list(&cluster.state, Caller::SYSTEM, &at("/"), b"zzz", 10).expect("a page").entries, Vec::new());
    assert!(query::list(&cluster.state, Caller::SYSTEM, &at("/f01"), b"", 10).is_err());
}

#[test]
fn two_objects_change_places_at_once_whatever_they_are() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.run(mkdir("/a/tree/deep")).expect("made");
    cluster.run(put(to("/a/tree/deep/f"), b"12345")).expect("put");
    cluster.run(mkdir("/b")).expect("made");
    let (file, block) = cluster.create(session, Some(to("/b/open")));
    let exchange = |first: &str, second: &str| Command::Exchange { first: at(first), second: at(second) };
    cluster.run(exchange("/a/tree", "/b/open")).expect("exchanged");
    assert_eq!((cluster.stat("/a/tree").inode, cluster.stat("/b/open/deep/f").length.get()), (file, 5));
    let usage = |cluster: &Cluster, path| cluster.stat(path).usage.expect("a directory");
    assert_eq!(usage(&cluster, "/a"), Usage { entries: 1, files: 1, directories: 0, bytes: 0, raw_bytes: 0 });
    assert_eq!(usage(&cluster, "/b"), Usage { entries: 1, files: 1, directories: 2, bytes: 5, raw_bytes: 15 });
    invariants::check(&cluster.state);
    // A writer follows its file.
    cluster.by(session, complete(file, Some(done(block.block, 10, &[1, 2, 3])), None)).expect("completes");
    assert_eq!(cluster.stat("/a/tree").length.get(), 10);
    let before = cluster.state.clone();
    for (first, second, expected) in [
        ("/a", "/nope", Code::NotFound),
        ("/nope", "/a", Code::NotFound),
        ("/b", "/b/open/deep", Code::Cycle),
        ("/b/open/deep", "/b", Code::Cycle),
        ("/", "/a", Code::InvalidArgument),
    ] {
        assert_eq!(code(cluster.run(exchange(first, second))), expected, "{first} and {second}");
    }
    assert_eq!(cluster.run(exchange("/a", "/a")), Ok(Reply::Done));
    assert_eq!(cluster.state, before, "invariant 1");
}
