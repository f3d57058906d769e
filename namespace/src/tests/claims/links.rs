use super::*;
use crate::command::Principal;
use crate::error::{Error, QueryError};
use crate::row::{Kind, Quota, Usage};

fn link(from: &str, to: &str) -> Command {
    Command::Link { from: at(from), to: at(to) }
}

fn symlink(target: &[u8], path: &str) -> Command {
    Command::Symlink { place: at(path), target: target.to_vec(), ownership: OWNER }
}

fn mknod(path: &str, kind: Kind, device: u64) -> Command {
    Command::Mknod { place: at(path), kind, ownership: OWNER, device }
}

fn usage(cluster: &Cluster, path: &str) -> Usage {
    cluster.stat(path).usage.expect("a directory")
}

fn sums(entries: u64, files: u64, bytes: u64) -> Usage {
    Usage { entries, files, directories: 0, bytes, raw_bytes: 3 * bytes }
}

/// Names in several directories, and one of them counts.
#[test]
fn a_file_with_several_names_counts_once_and_the_next_name_takes_over() {
    let mut cluster = Cluster::formatted();
    for directory in ["/a", "/b", "/c"] {
        cluster.run(mkdir(directory)).expect("made");
    }
    cluster.run(put(to("/c/first"), b"12345")).expect("put");
    cluster.run(link("/c/first", "/a/second")).expect("linked");
    cluster.run(link("/a/second", "/b/third")).expect("linked");
    assert_eq!(cluster.stat("/b/third"), cluster.stat("/c/first"));
    assert_eq!(cluster.stat("/b/third").links, 3);
    let all = |cluster: &Cluster| ["/a", "/b", "/c"].map(|path| usage(cluster, path));
    assert_eq!(all(&cluster), [sums(1, 0, 0), sums(1, 0, 0), sums(1, 1, 5)]);
    cluster.run(delete("/c/first")).expect("one name less");
    assert_eq!(all(&cluster), [sums(1, 1, 5), sums(1, 0, 0), sums(0, 0, 0)]);
    cluster.run(Command::Delete { place: at("/a"), recursive: true }).expect("with the name that counts");
    invariants::check(&cluster.state);
    assert_eq!(usage(&cluster, "/").bytes, 0, "until garbage collection comes by");
    cluster.run(Command::GcStep { limit: 100, grace_nanos: 0 }).expect("a step");
    assert_eq!((usage(&cluster, "/b"), cluster.stat("/b/third").links), (sums(1, 1, 5), 1));
    invariants::check(&cluster.state);
    cluster.run(delete("/b/third")).expect("the last");
    assert!(!invariants::tags(&cluster.state).contains(['h', 'p', 'i']), "nothing is left");
}

#[test]
fn what_a_name_takes_over_breaks_no_quota_and_fills_it() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/full")).expect("made");
    cluster.run(put(to("/f"), b"12345")).expect("put");
    cluster.run(link("/f", "/full/g")).expect("a name is no byte");
    let quota = Quota { raw_bytes: Some(3), inodes: Some(0) };
    cluster.run(Command::SetQuota { place: at("/full"), quota }).expect("bounded");
    cluster.run(delete("/f")).expect("removing a name does not fail");
    assert_eq!(usage(&cluster, "/full"), sums(1, 1, 5));
    assert_eq!(code(cluster.run(put(to("/full/more"), b""))), Code::QuotaExceeded);
    invariants::check(&cluster.state);
}

#[test]
fn a_writer_follows_its_file_through_its_names() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.run(mkdir("/d")).expect("made");
    let (file, block) = cluster.create(session, Some(to("/f")));
    cluster.run(link("/f", "/d/g")).expect("linked while it is written");
    cluster.run(delete("/f")).expect("the first name");
    cluster.by(session, complete(file, Some(done(block.block, 10, &[1, 2, 3])), None)).expect("completes");
    assert_eq!((cluster.stat("/d/g").length.get(), usage(&cluster, "/d").bytes), (10, 10));
    invariants::check(&cluster.state);
}

#[test]
fn two_names_of_one_file_renamed_onto_each_other_stay() {
    let mut cluster = Cluster::formatted();
    cluster.run(put(to("/f"), b"x")).expect("put");
    cluster.run(link("/f", "/g")).expect("linked");
    let before = cluster.state.clone();
    for overwrite in [true, false] {
        let rename = Command::Rename { from: at("/f"), to: at("/g"), overwrite };
        let expected = if overwrite { Ok(Reply::Done) } else { Err(Code::Exists) };
        assert_eq!(cluster.run(rename).map_err(|error| error.code()), expected);
    }
    assert_eq!(cluster.run(Command::Exchange { first: at("/f"), second: at("/g") }), Ok(Reply::Done));
    assert_eq!(cluster.state, before);
}

#[test]
fn the_path_of_an_inode_is_one_of_its_names_until_it_has_none() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d")).expect("made");
    cluster.run(mkdir("/d/e")).expect("made");
    cluster.run(put(to("/d/e/f"), b"x")).expect("put");
    let inode = |cluster: &Cluster, path: &str| cluster.stat(path).inode;
    let path = |cluster: &Cluster, inode| query::path(&cluster.state, inode).expect("readable");
    let (directory, file) = (inode(&cluster, "/d/e"), inode(&cluster, "/d/e/f"));
    assert_eq!(path(&cluster, InodeId::ROOT).as_deref(), Some(&b"/"[..]));
    assert_eq!(path(&cluster, directory).as_deref(), Some(&b"/d/e"[..]));
    assert_eq!(path(&cluster, file).as_deref(), Some(&b"/d/e/f"[..]));
    cluster.run(link("/d/e/f", "/g")).expect("linked");
    cluster.run(delete("/d/e/f")).expect("the first name");
    assert_eq!(path(&cluster, file).as_deref(), Some(&b"/g"[..]));
    cluster.run(delete("/g")).expect("the last name");
    assert_eq!(path(&cluster, file), None);
    assert_eq!(path(&cluster, InodeId::new(9_999)), None);
}

#[test]
fn links_have_a_limit_and_directories_none() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d")).expect("made");
    cluster.run(put(to("/f"), b"x")).expect("put");
    for (command, expected) in [
        (link("/d", "/e"), Code::NotPermitted),
        (link("/f", "/d"), Code::Exists),
        (link("/f", "/f"), Code::Exists),
        (link("/no", "/e"), Code::NotFound),
        (link("/f", "/no/e"), Code::NotFound),
        (link("/f", "/"), Code::Exists),
    ] {
        assert_eq!(code(cluster.run(command.clone())), expected, "{command:?}");
    }
    for number in 1..65_000 {
        cluster.run(link("/f", &format!("/d/{number}"))).expect("there is room");
    }
    assert_eq!(code(cluster.run(link("/f", "/one-more"))), Code::TooManyLinks);
    assert_eq!(cluster.stat("/f").links, 65_000);
}

#[test]
fn a_symbolic_link_ends_the_way_and_says_where_it_leads() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/real/below")).expect("made");
    cluster.run(symlink(b"../real", "/real/l")).expect("made");
    let there = cluster.stat("/real/l");
    assert_eq!((there.kind, there.mode, there.length.get()), (Kind::Symlink, 0o777, 7));
    assert_eq!(there.target.as_deref(), Some(&b"../real"[..]));
    let place = at("/real/l/below");
    let ends = Error::SymlinkOnTheWay { place: place.clone(), names: 2, target: b"../real".to_vec() };
    assert_eq!(query::stat(&cluster.state, Caller::SYSTEM, &place), Err(QueryError::Refused(ends)));
    let listed = query::list(&cluster.state, Caller::SYSTEM, &at("/real/l"), b"", 9).map_err(|error| match error {
        QueryError::Refused(error) => error.code(),
        QueryError::View(error) => panic!("{error}"),
    });
    assert_eq!(listed, Err(Code::SymbolicLink));
    for (command, expected) in [
        (symlink(b"", "/l"), Code::InvalidArgument),
        (symlink(&[b'x'; 4096], "/l"), Code::InvalidArgument),
        (symlink(b"a\0b", "/l"), Code::InvalidArgument),
        (symlink(b"a", "/real"), Code::Exists),
        (mkdir("/real/l/new"), Code::SymbolicLink),
        (put(to("/real/l/new"), b""), Code::SymbolicLink),
    ] {
        assert_eq!(code(cluster.run(command.clone())), expected, "{command:?}");
    }
    cluster.run(symlink(&[b'x'; 4095], "/l")).expect("as long as it may be");
    cluster.run(link("/l", "/m")).expect("a link is linked itself");
    assert_eq!((cluster.stat("/m").links, usage(&cluster, "/").bytes), (2, 0));
    invariants::check(&cluster.state);
}

#[test]
fn devices_are_made_by_the_superuser_and_pipes_by_everybody() {
    let mut cluster = Cluster::formatted_for((1000, 100));
    let user = Principal { uid: 1000, gid: 100, groups: Vec::new() };
    let mut by_user = |command| {
        let mut request = cluster.request(None, command);
        request.principal = Some(user.clone());
        cluster.apply(&request).reply.map(drop).map_err(|error| error.code())
    };
    assert_eq!(by_user(mknod("/p", Kind::Fifo, 0)), Ok(()));
    assert_eq!(by_user(mknod("/s", Kind::Socket, 0)), Ok(()));
    assert_eq!(by_user(mknod("/c", Kind::CharDevice, 0x103)), Err(Code::NotPermitted));
    assert_eq!(by_user(mknod("/x", Kind::Fifo, 1)), Err(Code::InvalidArgument));
    assert_eq!(by_user(mknod("/x", Kind::File, 0)), Err(Code::InvalidArgument));
    cluster.run(mknod("/c", Kind::CharDevice, 0x103)).expect("the system may");
    assert_eq!((cluster.stat("/c").kind, cluster.stat("/c").device), (Kind::CharDevice, Some(0x103)));
    let opened = query::open(&cluster.state, Caller::SYSTEM, &at("/c"), 0, 1);
    assert!(matches!(opened, Err(QueryError::Refused(Error::NotAFile { .. }))));
    invariants::check(&cluster.state);
}

#[test]
fn a_directory_has_two_links_and_one_for_each_directory_in_it() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d/x/deep")).expect("made");
    cluster.run(mkdir("/d/y")).expect("made");
    cluster.run(put(to("/d/f"), b"x")).expect("put");
    let links = |cluster: &Cluster| ["/", "/d"].map(|path| cluster.stat(path).links);
    assert_eq!(links(&cluster), [3, 4]);
    cluster.run(Command::Rename { from: at("/d/y"), to: at("/y"), overwrite: false }).expect("moved");
    assert_eq!(links(&cluster), [4, 3]);
    cluster.run(Command::Exchange { first: at("/d/f"), second: at("/y") }).expect("a file for a directory");
    assert_eq!(links(&cluster), [3, 4]);
    cluster.run(Command::Delete { place: at("/d/x"), recursive: true }).expect("removed");
    assert_eq!(links(&cluster), [3, 3]);
    invariants::check(&cluster.state);
}
