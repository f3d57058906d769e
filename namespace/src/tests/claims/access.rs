use super::*;
use crate::command::{AttrChange, Ownership, Principal, TimeKind};

const ALICE: u32 = 1000;
const BOB: u32 = 1001;
/// Alice and Bob are both in it.
const STAFF: u32 = 100;

fn user(uid: u32) -> Principal {
    Principal { uid, gid: STAFF, groups: vec![uid] }
}

fn mkdir_with(path: &str, mode: u32) -> Command {
    Command::Mkdir { place: at(path), ownership: Ownership { mode, ..OWNER }, parents: false }
}

fn set(path: &str, change: AttrChange) -> Command {
    Command::SetAttr { place: at(path), change }
}

fn chmod(mode: u32) -> AttrChange {
    AttrChange { mode: Some(mode), ..AttrChange::default() }
}

fn chown(uid: Option<u32>, gid: Option<u32>) -> AttrChange {
    AttrChange { uid, gid, ..AttrChange::default() }
}

impl Cluster {
    /// A root directory for everybody.
    fn open_to_all() -> Self {
        let mut cluster = Self::formatted();
        cluster.run(set("/", chmod(0o777))).expect("the system may");
        cluster
    }

    fn as_user(&mut self, uid: u32, command: Command) -> Result<Reply, Error> {
        let mut request = self.request(None, command);
        request.principal = Some(user(uid));
        let before = self.state.clone();
        let reply = self.apply(&request).reply;
        assert!(reply.is_ok() || self.state == before, "invariants 1 and 9");
        reply
    }

    fn says(&mut self, uid: u32, command: Command) -> String {
        self.as_user(uid, command).expect_err("it must be refused").to_string()
    }
}

#[test]
fn new_objects_belong_to_whoever_makes_them() {
    let mut cluster = Cluster::open_to_all();
    cluster.as_user(BOB, mkdir_with("/d", 0o700)).expect("made");
    let put = Command::PutInline {
        destination: Destination { parents: true, ..to("/d/e/f") },
        ownership: Ownership { uid: 0, gid: 0, mode: 0o600, umask: None },
        layout: LAYOUT,
        content: Vec::new(),
        mtime: None,
    };
    cluster.as_user(BOB, put.clone()).expect("put");
    for path in ["/d", "/d/e", "/d/e/f"] {
        let attributes = cluster.stat(path);
        assert_eq!((attributes.uid, attributes.gid), (BOB, STAFF), "{path}");
    }
    let mut as_root = put;
    if let Command::PutInline { destination, ownership, .. } = &mut as_root {
        *destination = to("/of-alice");
        ownership.uid = ALICE;
    }
    cluster.as_user(0, as_root).expect("root gives to whom it likes");
    assert_eq!((cluster.stat("/of-alice").uid, cluster.stat("/of-alice").gid), (ALICE, 0));
}

#[test]
fn each_door_of_a_closed_directory_is_closed() {
    let mut cluster = Cluster::open_to_all();
    cluster.as_user(ALICE, mkdir_with("/home", 0o700)).expect("made");
    cluster.as_user(ALICE, put(to("/home/secret"), b"x")).expect("put");
    let secret = cluster.stat("/home/secret").inode;
    let home = cluster.stat("/home").inode;
    let denied = "/home: permission denied: uid 1001 has no search permission (x) there";
    for command in [
        put(to("/home/new"), b""),
        put(over("/home/secret"), b""),
        mkdir_with("/home/d", 0o755),
        delete("/home/secret"),
        rename("/home/secret", "/mine", false),
        rename("/home/secret", "/home/other", false),
        set("/home/secret", chmod(0o666)),
    ] {
        assert_eq!(cluster.says(BOB, command), denied);
    }
    let bob = user(BOB);
    let caller = Caller::from(Some(&bob));
    // A number that was guessed opens nothing.
    for place in [at("/home/secret"), inode(secret.get(), ""), inode(home.get(), "secret")] {
        let code = |result: Result<(), crate::error::QueryError>| match result {
            Err(crate::error::QueryError::Refused(error)) => error.code(),
            other => panic!("{other:?}"),
        };
        assert_eq!(code(query::stat(&cluster.state, caller, &place).map(|_| ())), Code::Denied);
        assert_eq!(code(query::open(&cluster.state, caller, &place, 0, 1).map(|_| ())), Code::Denied);
    }
    assert!(query::stat(&cluster.state, caller, &at("/home")).is_ok());
    assert!(query::list(&cluster.state, caller, &at("/home"), b"", 10).is_err());
    let alice = user(ALICE);
    assert!(query::list(&cluster.state, Caller::from(Some(&alice)), &at("/home"), b"", 10).is_ok());
}

#[test]
fn an_owner_has_only_the_owners_bits() {
    let mut cluster = Cluster::open_to_all();
    cluster.as_user(ALICE, mkdir_with("/d", 0o077)).expect("made");
    assert_eq!(code(cluster.as_user(ALICE, put(to("/d/f"), b""))), Code::Denied);
    cluster.as_user(BOB, put(to("/d/f"), b"")).expect("the group may");
    cluster.as_user(0, put(to("/d/g"), b"")).expect("root may");
    cluster.run(put(to("/d/h"), b"")).expect("the system may");
}

#[test]
fn what_others_put_into_a_sticky_directory_stays() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir_with("/tmp", 0o1777)).expect("made");
    cluster.run(set("/tmp", chown(Some(0), Some(0)))).expect("given to root");
    cluster.as_user(ALICE, put(to("/tmp/f"), b"x")).expect("put");
    let refusal = "/tmp/f: operation not permitted: its directory is sticky, and uid 1001 owns neither of them";
    assert_eq!(cluster.says(BOB, delete("/tmp/f")), refusal);
    assert_eq!(cluster.says(BOB, put(over("/tmp/f"), b"y")), refusal);
    assert_eq!(cluster.says(BOB, rename("/tmp/f", "/tmp/g", false)), refusal);
    cluster.as_user(BOB, put(to("/tmp/b"), b"y")).expect("put");
    assert_eq!(cluster.says(BOB, rename("/tmp/b", "/tmp/f", true)), refusal);
    cluster.as_user(ALICE, delete("/tmp/f")).expect("her own");
}

#[test]
fn a_setgid_directory_hands_its_group_down() {
    let mut cluster = Cluster::open_to_all();
    cluster.run(mkdir_with("/team", 0o2777)).expect("made");
    cluster.run(set("/team", chown(None, Some(200)))).expect("given");
    cluster.as_user(BOB, mkdir_with("/team/d", 0o755)).expect("made");
    let made = cluster.stat("/team/d");
    assert_eq!((made.uid, made.gid, made.mode), (BOB, 200, 0o2755));
    let session = cluster.open_session();
    let (file, _) = cluster.create(session, None);
    let last = Some(done(BlockId::new(file, 0), 10, &[1, 2, 3]));
    let request = complete(file, last, Some(to("/team/d/f")));
    let reply = cluster.by(session, request);
    assert_eq!(reply, Ok(Reply::Attributes { attributes: cluster.stat("/team/d/f") }));
    assert_eq!(cluster.stat("/team/d/f").gid, 200);
}

#[test]
fn attributes_are_the_owners_and_owners_are_the_superusers() {
    let mut cluster = Cluster::open_to_all();
    cluster.as_user(ALICE, put(to("/f"), b"x")).expect("put");
    assert_eq!(
        cluster.says(BOB, set("/f", chmod(0o777))),
        "/f: operation not permitted: uid 1001 is neither its owner nor the superuser"
    );
    let own_time = AttrChange { mtime: Some(types::Timestamp::from_nanos(5)), ..AttrChange::default() };
    let now = AttrChange { touch: true, ..AttrChange::default() };
    assert_eq!(code(cluster.as_user(BOB, set("/f", own_time))), Code::NotPermitted);
    assert_eq!(code(cluster.as_user(BOB, set("/f", now))), Code::Denied);
    assert_eq!(code(cluster.as_user(ALICE, set("/f", chown(Some(BOB), None)))), Code::NotPermitted);
    assert_eq!(code(cluster.as_user(ALICE, set("/f", chown(None, Some(7))))), Code::NotPermitted);
    cluster.as_user(ALICE, set("/f", chown(Some(ALICE), Some(ALICE)))).expect("a group of her own");
    cluster.as_user(ALICE, set("/f", chmod(0o666))).expect("her own");
    cluster.as_user(BOB, set("/f", now)).expect("he may write");
    let one = |present| AttrChange { present: Some(present), ..AttrChange::default() };
    let before = cluster.stat("/f");
    for present in [TimeKind::Access, TimeKind::Modification] {
        assert_eq!(code(cluster.as_user(BOB, set("/f", one(present)))), Code::NotPermitted);
    }
    assert_eq!(cluster.stat("/f"), before);
    cluster.as_user(ALICE, set("/f", one(TimeKind::Access))).expect("her own");
    let after = cluster.stat("/f");
    assert_eq!((after.atime, after.mtime), (after.ctime, before.mtime), "the other one stays");
    cluster.as_user(ALICE, set("/f", AttrChange { touch: true, ..own_time })).expect("her own");
    let after = cluster.stat("/f");
    assert_eq!((after.atime.nanos(), after.mtime.nanos()), (after.ctime.nanos(), 5), "a time that is given holds");
    cluster.as_user(BOB, set("/f", now)).expect("he may write");
    assert_eq!(cluster.stat("/f").mtime, cluster.stat("/f").ctime);
    cluster.as_user(0, set("/f", chown(Some(BOB), Some(7)))).expect("root may");
    assert_eq!((cluster.stat("/f").uid, cluster.stat("/f").gid), (BOB, 7));
}

#[test]
fn a_new_owner_does_not_get_the_privileges_of_the_old_one() {
    let mut cluster = Cluster::open_to_all();
    cluster.as_user(ALICE, put(to("/f"), b"x")).expect("put");
    cluster.as_user(ALICE, set("/f", chmod(0o6755))).expect("her own");
    cluster.as_user(0, set("/f", chown(Some(BOB), None))).expect("root may");
    assert_eq!(cluster.stat("/f").mode, 0o755);
    cluster.as_user(0, set("/f", chown(Some(BOB), Some(7)))).expect("root may");
    cluster.as_user(BOB, set("/f", chmod(0o6755))).expect("his own");
    assert_eq!(cluster.stat("/f").mode, 0o4755, "he is not in group 7");
    let both = AttrChange { mode: Some(0o4711), ..chown(Some(ALICE), None) };
    cluster.as_user(0, set("/f", both)).expect("root may");
    assert_eq!(cluster.stat("/f").mode, 0o4711, "a mode given with the owner holds");
}

#[test]
fn a_tree_goes_only_if_every_part_of_it_may() {
    let mut cluster = Cluster::open_to_all();
    cluster.as_user(ALICE, mkdir_with("/a", 0o777)).expect("made");
    cluster.as_user(ALICE, mkdir_with("/a/b", 0o777)).expect("made");
    cluster.as_user(BOB, mkdir_with("/a/b/of-bob", 0o755)).expect("made");
    cluster.as_user(ALICE, delete("/a/b/of-bob")).expect("it is empty");
    cluster.as_user(BOB, mkdir_with("/a/b/of-bob", 0o755)).expect("made");
    cluster.as_user(BOB, put(to("/a/b/of-bob/f"), b"x")).expect("put");
    let inside = cluster.stat("/a/b/of-bob").inode;
    let refusal = format!("{inside}: permission denied: uid 1000 has no write permission (w) there");
    assert_eq!(cluster.says(ALICE, delete("/a")), refusal);
    cluster.as_user(BOB, set("/a/b/of-bob", chmod(0o777))).expect("his own");
    cluster.as_user(ALICE, delete("/a")).expect("now she may");
    assert!(!cluster.is_there("/a"));
}

#[test]
fn moving_a_directory_elsewhere_takes_the_right_to_change_it() {
    let mut cluster = Cluster::open_to_all();
    cluster.run(mkdir_with("/there", 0o777)).expect("made");
    cluster.as_user(ALICE, mkdir_with("/d", 0o755)).expect("made");
    assert_eq!(
        cluster.says(BOB, rename("/d", "/there/d", false)),
        "/d: permission denied: uid 1001 has no write permission (w) there"
    );
    cluster.as_user(BOB, rename("/d", "/e", false)).expect("the directory around it is open to all");
    cluster.as_user(ALICE, rename("/e", "/there/d", false)).expect("her own");
}

#[test]
fn a_writer_keeps_what_it_was_granted() {
    let mut cluster = Cluster::open_to_all();
    let session = cluster.open_session();
    let (file, _) = cluster.create(session, Some(to("/f")));
    cluster.run(set("/", chmod(0o700))).expect("the system may");
    let last = Some(done(BlockId::new(file, 0), 10, &[1, 2, 3]));
    let mut request = cluster.request(Some(session), complete(file, last, None));
    request.principal = Some(user(BOB));
    cluster.apply(&request).reply.expect("the lease is the right");
    let (file, _) = cluster.create(session, None);
    let last = Some(done(BlockId::new(file, 0), 10, &[1, 2, 3]));
    let mut request = cluster.request(Some(session), complete(file, last, Some(to("/g"))));
    request.principal = Some(user(BOB));
    assert_eq!(code(cluster.apply(&request).reply), Code::Denied, "a name is a change of the directory");
}

#[test]
fn access_answers_what_each_may_and_nobody_executes_what_is_not_executable() {
    let mut cluster = Cluster::open_to_all();
    cluster.as_user(ALICE, put(to("/f"), b"x")).expect("put");
    cluster.as_user(ALICE, set("/f", chmod(0o640))).expect("her own");
    let (alice, bob, stranger) = (user(ALICE), user(BOB), Principal { gid: 7, ..user(BOB) });
    let root = Principal { uid: 0, gid: 0, groups: vec![] };
    let granted = |cluster: &Cluster, path: &str| {
        [&alice, &bob, &stranger, &root].map(|who| {
            let may = |mask| query::access(&cluster.state, Caller::from(Some(who)), &at(path), mask).is_ok();
            (0..8).filter(|mask| may(*mask)).collect::<Vec<u32>>()
        })
    };
    assert_eq!(granted(&cluster, "/f"), [vec![0, 2, 4, 6], vec![0, 4], vec![0], vec![0, 2, 4, 6]]);
    cluster.as_user(ALICE, set("/f", chmod(0o001))).expect("her own");
    assert_eq!(granted(&cluster, "/f"), [vec![0], vec![0], vec![0, 1], (0..8).collect()]);
    cluster.as_user(ALICE, mkdir_with("/d", 0o000)).expect("made");
    assert_eq!(granted(&cluster, "/d"), [vec![0], vec![0], vec![0], (0..8).collect()]);
    assert!(query::access(&cluster.state, Caller::SYSTEM, &at("/nothing"), 0).is_err());
}

#[test]
fn a_privileged_program_that_anybody_changes_loses_its_privilege() {
    let mut cluster = Cluster::open_to_all();
    let terms =
        crate::command::ContentTerms { mtime: None, clear_suid: false, grace_nanos: 1, inline_max: ByteSize::new(8) };
    let truncate = Command::Truncate { place: at("/f"), length: 0, terms };
    cluster.as_user(ALICE, put(to("/f"), b"x")).expect("put");
    for (who, mode, left) in [(BOB, 0o6777, 0o777), (ALICE, 0o6777, 0o777), (BOB, 0o2766, 0o2766), (0, 0o6777, 0o6777)]
    {
        cluster.as_user(ALICE, set("/f", chmod(mode))).expect("her own");
        cluster.as_user(who, truncate.clone()).expect("all may write");
        assert_eq!(cluster.stat("/f").mode, left, "{mode:o} by {who}");
    }
}
