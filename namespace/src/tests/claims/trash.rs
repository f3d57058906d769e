use super::*;
use crate::command::{HandleRights, Ownership, Principal, Request, XattrMode};
use crate::query::Trashed;
use crate::row::{Quota, Usage};
use crate::trash::BURIED;
use types::{Timestamp, TrashId};

const KEEP: u64 = 1000;

fn trash(path: &str) -> Command {
    Command::Trash { place: at(path), recursive: true, keep_nanos: KEEP }
}

fn restore(item: TrashId) -> Command {
    restore_to(item, None)
}

fn restore_to(item: TrashId, to: Option<&str>) -> Command {
    Command::RestoreTrash { uid: 0, item, to: to.map(at), parents: false }
}

fn empty(item: Option<TrashId>, limit: u32) -> Command {
    Command::EmptyTrash { uid: 0, item, limit }
}

fn user(uid: u32) -> Principal {
    Principal { uid, gid: 100, groups: vec![] }
}

fn names(trashed: &[Trashed]) -> Vec<String> {
    trashed.iter().map(|trashed| String::from_utf8_lossy(&trashed.row.from.path).into_owned()).collect()
}

impl Cluster {
    fn trash(&mut self, path: &str) -> TrashId {
        match self.run(trash(path)) {
            Ok(Reply::Trashed { item, .. }) => item,
            other => panic!("to the trash: {other:?}"),
        }
    }

    fn for_uid(&mut self, uid: u32, command: Command) -> Result<Reply, Error> {
        let request = Request { principal: Some(user(uid)), ..self.request(None, command) };
        self.apply(&request).reply
    }

    fn trashed(&self) -> Vec<Trashed> {
        query::trash(&self.state, Caller::SYSTEM, None, None, 1000).expect("readable").0
    }

    fn expire(&mut self) {
        while self.run(Command::ExpireTrash { limit: 1 }) != Ok(Reply::Step { more: false }) {}
    }
}

#[test]
fn what_was_removed_comes_back_as_it_was() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d/in")).expect("made");
    cluster.run(put(to("/d/in/f"), b"12345")).expect("put");
    let note =
        Command::SetXattr { place: at("/d"), name: b"user.note".to_vec(), value: vec![7; 300], mode: XattrMode::Any };
    cluster.run(note).expect("set");
    let (directory, file, root) = (cluster.stat("/d"), cluster.stat("/d/in/f"), cluster.stat("/"));
    let item = cluster.trash("/d");
    invariants::check(&cluster.state);
    assert!(!cluster.is_there("/d"));
    assert_eq!(cluster.stat("/").usage, Some(Usage::default()));
    let usage = Usage { entries: 1, ..root.usage.expect("a directory") };
    assert_eq!(query::trash_usage(&cluster.state), Ok(usage));
    let [trashed] = cluster.trashed().try_into().expect("one item");
    assert_eq!((trashed.item, trashed.row.from, trashed.row.directory), (item, at("/d"), InodeId::ROOT));
    assert_eq!(trashed.row.due.nanos(), trashed.row.removed.nanos() + KEEP);
    cluster.run(restore(item)).expect("nothing is in the way");
    invariants::check(&cluster.state);
    let back = cluster.stat("/d");
    assert_eq!(Attributes { ctime: directory.ctime, ..back }, directory);
    assert_eq!(cluster.stat("/d/in/f"), file);
    assert_eq!(cluster.stat("/").usage, root.usage);
    let value = query::xattr(&cluster.state, Caller::SYSTEM, &at("/d"), b"user.note");
    assert_eq!(value, Ok(vec![7; 300]));
    assert_eq!(cluster.trashed(), []);
    assert_eq!(code(cluster.run(restore(item))), Code::NotFound, "an item is restored once");
}

/// Invariant 3 of the module.
#[test]
fn the_trash_counts_in_no_quota_and_a_restore_needs_room() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/team")).expect("made");
    let quota = Quota { raw_bytes: Some(30), inodes: None };
    cluster.run(Command::SetQuota { place: at("/team"), quota }).expect("set");
    cluster.run(put(to("/team/f"), b"0123456789")).expect("all there may be");
    let item = cluster.trash("/team/f");
    cluster.run(put(to("/team/g"), b"x")).expect("there is room at once");
    let before = cluster.state.clone();
    assert_eq!(code(cluster.run(restore(item))), Code::QuotaExceeded);
    assert_eq!(cluster.state, before, "it is still in the trash");
    cluster.run(restore_to(item, Some("/elsewhere"))).expect("without a quota");
    cluster.run(delete("/team/g")).expect("removed");
    let item = cluster.trash("/elsewhere");
    cluster.run(restore_to(item, Some("/team/f"))).expect("there is room again");
    invariants::check(&cluster.state);
}

#[test]
fn a_restore_puts_nothing_in_the_place_of_what_is_there() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d")).expect("made");
    cluster.run(put(to("/d/f"), b"old")).expect("put");
    let file = cluster.trash("/d/f");
    cluster.run(put(to("/d/f"), b"new")).expect("put");
    let before = cluster.state.clone();
    let error = cluster.run(restore(file)).expect_err("in the way");
    assert_eq!(error, Error::Exists { place: "/d/f".to_owned() });
    assert_eq!(code(cluster.run(restore_to(file, Some("/")))), Code::InvalidArgument);
    let directory = cluster.trash("/d");
    assert_eq!(code(cluster.run(restore(file))), Code::NotFound, "its directory is gone");
    cluster.run(restore(directory)).expect("as it was");
    assert_eq!(cluster.stat("/d/f"), query::stat(&before, Caller::SYSTEM, &at("/d/f")).expect("the new one"));
    cluster.run(delete("/d")).expect("removed");
    let with_parents = Command::RestoreTrash { uid: 0, item: file, to: None, parents: true };
    cluster.run(with_parents).expect("its directory is made anew");
    assert_eq!(cluster.stat("/d/f").length, ByteSize::new(3));
    invariants::check(&cluster.state);
}

/// Invariant 4 of the module.
#[test]
fn an_item_is_for_whom_removed_it_and_for_the_superuser() {
    let mut cluster = Cluster::formatted();
    cluster
        .run(Command::Mkdir { place: at("/open"), ownership: Ownership { mode: 0o777, ..OWNER }, parents: false })
        .expect("made");
    for uid in [1001, 1002] {
        cluster.for_uid(uid, put(to(&format!("/open/{uid}")), b"x")).expect("put");
        cluster.for_uid(uid, trash(&format!("/open/{uid}"))).expect("removed");
    }
    let seen = |uid: u32, of: Option<u32>| {
        let principal = user(uid);
        let found = query::trash(&cluster.state, Caller::from(Some(&principal)), of, None, 10);
        found.map(|(trashed, _)| names(&trashed)).ok()
    };
    assert_eq!(seen(1001, Some(1001)), Some(vec!["/open/1001".to_owned()]));
    assert_eq!((seen(1001, Some(1002)), seen(1001, None)), (None, None));
    assert_eq!(seen(0, None), Some(vec!["/open/1001".to_owned(), "/open/1002".to_owned()]));
    let item = cluster.trashed()[0].item;
    let wish = |uid| Command::RestoreTrash { uid, item, to: None, parents: false };
    assert_eq!(code(cluster.for_uid(1002, wish(1001))), Code::NotPermitted);
    assert_eq!(code(cluster.for_uid(1002, wish(1002))), Code::NotFound);
    let gone = Command::EmptyTrash { uid: 1001, item: Some(item), limit: 1 };
    assert_eq!(code(cluster.for_uid(1002, gone)), Code::NotPermitted);
    assert_eq!(
        code(cluster.for_uid(1001, Command::RestoreTrash { uid: 1001, item, to: Some(at("/f")), parents: false })),
        Code::Denied,
        "the root is not this user's"
    );
    cluster.for_uid(1001, wish(1001)).expect("its own");
    cluster.for_uid(0, Command::EmptyTrash { uid: 1002, item: None, limit: 1 }).expect("as the superuser");
    assert_eq!(cluster.trashed(), []);
    invariants::check(&cluster.state);
}

#[test]
fn who_may_not_delete_may_not_move_to_the_trash() {
    let mut cluster = Cluster::formatted();
    let mkdir = |path: &str, uid, mode| Command::Mkdir {
        place: at(path),
        ownership: Ownership { uid, gid: 100, mode, umask: None },
        parents: false,
    };
    cluster.run(mkdir("/sticky", 0, 0o1777)).expect("made");
    cluster.run(mkdir("/sticky/his", 1001, 0o700)).expect("made");
    cluster.run(mkdir("/mine", 1002, 0o755)).expect("made");
    cluster.run(mkdir("/mine/his", 1001, 0o700)).expect("made");
    cluster.run(mkdir("/mine/his/in", 1001, 0o700)).expect("made");
    let before = cluster.state.clone();
    for (path, code) in [("/sticky/his", Code::NotPermitted), ("/mine/his", Code::Denied), ("/mine", Code::Denied)] {
        let refused = cluster.for_uid(1002, trash(path)).expect_err("refused");
        assert_eq!(refused.code(), code, "{path}");
        assert_eq!(Err(refused), cluster.for_uid(1002, delete(path)), "{path}");
    }
    let not_empty = Command::Trash { place: at("/mine"), recursive: false, keep_nanos: KEEP };
    assert_eq!(code(cluster.run(not_empty)), Code::NotEmpty);
    assert_eq!(code(cluster.run(trash("/"))), Code::InvalidArgument);
    assert_eq!(code(cluster.run(trash("/nothing"))), Code::NotFound);
    assert_eq!(cluster.state, before);
}

#[test]
fn an_item_goes_for_good_when_its_time_is_over_and_not_before() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.run(mkdir("/d/in")).expect("made");
    let block = cluster.write(session, "/d/in/f");
    let item = cluster.trash("/d");
    let due = cluster.trashed()[0].row.due;
    cluster.clock = due.nanos() - 2;
    cluster.expire();
    assert_eq!(cluster.trashed().len(), 1, "one nanosecond is left");
    assert!(!query::trash_is_due(&cluster.state, Timestamp::from_nanos(cluster.clock)).expect("readable"));
    cluster.expire();
    assert_eq!(cluster.trashed(), []);
    assert_eq!(code(cluster.run(restore(item))), Code::NotFound, "whichever comes first wins");
    cluster.collect();
    assert_eq!(query::block(&cluster.state, block), Ok(None));
    assert_eq!(query::trash_usage(&cluster.state), Ok(Usage::default()));
    invariants::check(&cluster.state);
}

#[test]
fn steps_are_bounded_and_end() {
    let mut cluster = Cluster::formatted();
    for at in 0..5 {
        cluster.run(put(to(&format!("/{at}")), b"x")).expect("put");
        cluster.trash(&format!("/{at}"));
    }
    let (page, more) = query::trash(&cluster.state, Caller::SYSTEM, Some(0), None, 2).expect("readable");
    assert_eq!((names(&page), more), (vec!["/0".to_owned(), "/1".to_owned()], true));
    let after = Some((0, page[1].item));
    let (rest, more) = query::trash(&cluster.state, Caller::SYSTEM, None, after, 10).expect("readable");
    assert_eq!((names(&rest), more), (vec!["/2".to_owned(), "/3".to_owned(), "/4".to_owned()], false));
    let (none, _) =
        query::trash(&cluster.state, Caller::SYSTEM, Some(0), Some((7, page[1].item)), 10).expect("readable");
    assert_eq!(none, []);
    assert_eq!(cluster.run(empty(None, 2)), Ok(Reply::Emptied { more: true }));
    assert_eq!(cluster.trashed().len(), 3);
    cluster.clock += 2 * KEEP;
    assert_eq!(cluster.run(Command::ExpireTrash { limit: 2 }), Ok(Reply::Step { more: true }));
    // No step is too small to go on.
    assert_eq!(cluster.run(empty(None, 0)), Ok(Reply::Emptied { more: false }));
    assert_eq!(cluster.run(empty(None, 5)), Ok(Reply::Emptied { more: false }));
    assert_eq!(cluster.trashed(), []);
    invariants::check(&cluster.state);
}

#[test]
fn rubbish_is_refused_without_effect() {
    let mut cluster = Cluster::formatted();
    cluster.run(put(to("/f"), b"x")).expect("put");
    let item = cluster.trash("/f");
    let other = TrashId::new(item.get() + 1);
    let before = cluster.state.clone();
    assert_eq!(cluster.run(restore(other)), Err(Error::NoSuchTrash { uid: 0, item: other }));
    assert_eq!(code(cluster.run(empty(Some(other), 1))), Code::NotFound);
    let of_nobody = Command::RestoreTrash { uid: u32::MAX, item, to: None, parents: false };
    assert_eq!(code(cluster.run(of_nobody)), Code::NotFound);
    assert_eq!(code(cluster.run(restore_to(item, Some("/../x")))), Code::InvalidArgument);
    assert_eq!(code(cluster.run(restore_to(item, Some(&"x".repeat(256))))), Code::NameTooLong);
    assert_eq!(cluster.state, before);
    cluster.run(put(to("/g"), b"x")).expect("put");
    let for_ever = Command::Trash { place: at("/g"), recursive: false, keep_nanos: u64::MAX };
    assert!(matches!(cluster.run(for_ever), Ok(Reply::Trashed { due, .. }) if due.signed_nanos() == i64::MAX));
    cluster.run(put(to("/h"), b"x")).expect("put");
    let at_once = Command::Trash { place: at("/h"), recursive: false, keep_nanos: 0 };
    assert_eq!(cluster.run(at_once), Ok(Reply::Done), "without a time to keep it, it is gone");
    assert_eq!(cluster.trashed().len(), 2);
    invariants::check(&cluster.state);
}

/// Invariant 2 of the module.
#[test]
fn nothing_in_the_trash_is_found_by_its_number() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d")).expect("made");
    cluster.run(put(to("/d/f"), b"x")).expect("put");
    let (directory, file) = (cluster.stat("/d").inode.get(), cluster.stat("/d/f").inode.get());
    cluster.trash("/d");
    let top = crate::trash::top(&cluster.state).expect("readable").expect("there is a trash").get();
    for place in [inode(directory, ""), inode(file, ""), inode(directory, "/f"), inode(top, ""), inode(top, "/5")] {
        let found = query::stat(&cluster.state, Caller::SYSTEM, &place);
        assert!(
            found.is_err_and(|error| matches!(error, crate::QueryError::Refused(Error::NotFound { .. }))),
            "{place:?}"
        );
        let away = Command::Rename { from: place.clone(), to: at("/x"), overwrite: false };
        assert_eq!(code(cluster.run(away)), Code::NotFound);
        assert_eq!(code(cluster.run(Command::Delete { place, recursive: true })), Code::NotFound);
    }
    let into = Command::Mkdir { place: inode(top, "/new"), ownership: OWNER, parents: false };
    assert_eq!(code(cluster.run(into)), Code::NotFound);
}

#[test]
fn a_writer_goes_on_and_its_file_can_be_had_back() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (inode, block) = cluster.create(session, Some(to("/f")));
    let item = cluster.trash("/f");
    let last = done(block.block, 10, &[1, 2, 3]);
    cluster.by(session, complete(inode, Some(last), None)).expect("completes");
    assert_eq!(query::trash_usage(&cluster.state).map(|usage| usage.bytes), Ok(10));
    cluster.run(restore(item)).expect("restored");
    assert_eq!(cluster.stat("/f").length, ByteSize::new(10));
    invariants::check(&cluster.state);
}

#[test]
fn the_file_of_a_lost_writer_is_recovered_in_the_trash_too() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.run(mkdir("/d")).expect("made");
    let (_, block) = cluster.create(session, Some(to("/d/f")));
    cluster.trash("/d");
    cluster.run(Command::ExpireSession { session, limit: 10 }).expect("ends");
    let recovering = query::recovering(&cluster.state, None, 10).expect("readable");
    assert_eq!(recovering.iter().map(|found| found.block).collect::<Vec<_>>(), [block.block]);
    assert!(matches!(cluster.run(Command::BeginRecovery { block: block.block }), Ok(Reply::Generation { .. })));
    cluster.clock += 2 * KEEP;
    cluster.expire();
    cluster.collect();
    assert_eq!(query::recovering(&cluster.state, None, 10), Ok(vec![]));
    invariants::check(&cluster.state);
}

#[test]
fn a_name_goes_for_good_while_the_file_has_others_and_the_last_one_is_kept() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d")).expect("made");
    cluster.run(put(to("/d/f"), b"12345")).expect("put");
    cluster.run(Command::Link { from: at("/d/f"), to: at("/g") }).expect("linked");
    assert_eq!(cluster.run(trash("/g")), Ok(Reply::Done));
    cluster.run(Command::Link { from: at("/d/f"), to: at("/g") }).expect("linked");
    cluster.trash("/d");
    assert_eq!(cluster.stat("/g").links, 2, "one name is in the trash");
    let item = cluster.trash("/g");
    invariants::check(&cluster.state);
    cluster.run(restore(item)).expect("the last name was kept");
    assert_eq!(cluster.stat("/g").length, ByteSize::new(5));
    cluster.clock += 2 * KEEP;
    cluster.expire();
    cluster.collect();
    assert_eq!(cluster.stat("/").usage, Some(Usage { entries: 1, files: 1, directories: 0, bytes: 5, raw_bytes: 15 }));
    invariants::check(&cluster.state);
}

#[test]
fn what_lies_too_deep_for_a_path_is_restored_by_its_directory() {
    let mut cluster = Cluster::formatted();
    let name = "x".repeat(250);
    let mut base = InodeId::ROOT;
    for _ in 0..20 {
        let place = Where { base, path: name.clone().into_bytes() };
        let made = cluster.run(Command::Mkdir { place, ownership: OWNER, parents: false });
        let Ok(Reply::Attributes { attributes }) = made else { panic!("{made:?}") };
        base = attributes.inode;
    }
    let place = Where { base, path: b"f".to_vec() };
    cluster.run(put(Destination { place: place.clone(), overwrite: false, parents: false }, b"deep")).expect("put");
    let gone = Command::Trash { place: place.clone(), recursive: false, keep_nanos: KEEP };
    let Ok(Reply::Trashed { item, .. }) = cluster.run(gone) else { panic!("to the trash") };
    assert_eq!(cluster.trashed()[0].row.from, place);
    cluster.run(restore(item)).expect("its directory is there");
    let found = query::stat(&cluster.state, Caller::SYSTEM, &place).expect("restored");
    assert_eq!(found.length, ByteSize::new(4));
    invariants::check(&cluster.state);
}

/// Invariant 4 of the module, and of what `bury` says.
#[test]
fn what_was_removed_for_good_is_the_superusers_to_have_back() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let bury = |path: &str| Command::Bury { place: at(path), recursive: true, keep_nanos: KEEP };
    cluster
        .run(Command::Mkdir { place: at("/d"), ownership: Ownership { mode: 0o777, ..OWNER }, parents: false })
        .expect("made");
    let block = cluster.write(session, "/d/f");
    let file = cluster.stat("/d/f");
    cluster.for_uid(1001, put(to("/d/small"), b"x")).expect("put");
    for path in ["/d/f", "/d/small"] {
        assert_eq!(cluster.for_uid(0, bury(path)), Ok(Reply::Done));
        assert!(!cluster.is_there(path));
    }
    invariants::check(&cluster.state);
    let items = cluster.trashed();
    assert_eq!(names(&items), ["/d/f", "/d/small"]);
    assert!(items.iter().all(|item| item.uid == BURIED));
    let wish = Command::RestoreTrash { uid: BURIED, item: items[0].item, to: None, parents: false };
    for uid in [1001, BURIED] {
        let principal = user(uid);
        let seen = query::trash(&cluster.state, Caller::from(Some(&principal)), Some(BURIED), None, 10);
        assert!(seen.is_err(), "{uid}");
        assert_eq!(code(cluster.for_uid(uid, wish.clone())), Code::NotPermitted, "{uid}");
    }
    cluster.for_uid(0, wish).expect("as the superuser");
    assert_eq!(Attributes { ctime: file.ctime, ..cluster.stat("/d/f") }, file);
    cluster.clock += 2 * KEEP;
    cluster.expire();
    assert_eq!(cluster.trashed(), []);
    cluster.run(bury("/d")).expect("with what is in it");
    assert_eq!(names(&cluster.trashed()), ["/d"]);
    cluster.clock += 2 * KEEP;
    cluster.expire();
    cluster.collect();
    assert_eq!(query::block(&cluster.state, block), Ok(None), "now it is gone");
    invariants::check(&cluster.state);
}

/// They go at once, as ever: nothing is lost with them, or somebody still uses them.
#[test]
fn what_is_empty_open_or_elsewhere_is_not_buried() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let bury = |path: &str, keep_nanos| Command::Bury { place: at(path), recursive: false, keep_nanos };
    cluster.run(mkdir("/empty")).expect("made");
    cluster.run(put(to("/nothing"), b"")).expect("put");
    cluster.run(put(to("/twice"), b"x")).expect("put");
    cluster.run(Command::Link { from: at("/twice"), to: at("/other") }).expect("linked");
    cluster.run(put(to("/opened"), b"x")).expect("put");
    let opened =
        Command::OpenHandle { place: at("/opened"), rights: HandleRights { read: true, write: false }, create: None };
    cluster.by(session, opened).expect("opened");
    cluster.run(put(to("/unkept"), b"x")).expect("put");
    for (path, keep) in [("/empty", KEEP), ("/nothing", KEEP), ("/twice", KEEP), ("/opened", KEEP), ("/unkept", 0)] {
        cluster.run(bury(path, keep)).expect("removed");
        assert_eq!(cluster.trashed(), [], "{path}");
    }
    assert_eq!(cluster.stat("/other").links, 1);
    cluster.run(mkdir("/full/in")).expect("made");
    assert_eq!(code(cluster.run(bury("/full", KEEP))), Code::NotEmpty);
    invariants::check(&cluster.state);
}
