//! What directories say of the files that are made below them.

use super::*;
use crate::command::{AttrChange, Content, ContentTerms, Layout, Ownership, Principal, Publication};
use crate::directory_policy::{Aim, DirectoryPolicy, DirectorySetting, InForce, in_force, of_new_file};
use crate::placement;
use crate::row::BlockRow;

const TWO_RACKS: Option<placement::Policy> = Some(placement::Policy::TwoRacks);
const SPREAD: Option<placement::Policy> = Some(placement::Policy::Spread);

fn copies(path: &str, count: Option<u8>) -> Command {
    Command::SetDirectoryPolicy { place: at(path), setting: DirectorySetting::Replication { count } }
}

fn rule(path: &str, rule: Option<placement::Policy>) -> Command {
    Command::SetDirectoryPolicy { place: at(path), setting: DirectorySetting::Spread { rule } }
}

fn policy(replication: Option<u8>, spread: Option<placement::Policy>) -> DirectoryPolicy {
    DirectoryPolicy { replication, spread }
}

impl Cluster {
    fn inherits(&self, path: &str) -> DirectoryPolicy {
        of_new_file(&self.state, Caller::SYSTEM, &Aim::Place(at(path))).expect("readable")
    }

    fn row_of(&self, block: BlockId) -> BlockRow {
        query::block(&self.state, block).expect("readable").expect("it is there")
    }
}

/// Invariant 1 of the module.
#[test]
fn the_nearest_directory_that_says_something_decides_for_each_field() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d/in/deep")).expect("made");
    assert_eq!(cluster.inherits("/d/in/deep/f"), policy(None, None));
    cluster.run(copies("/d", Some(2))).expect("set");
    cluster.run(rule("/d/in", SPREAD)).expect("set");
    assert_eq!(cluster.inherits("/d/in/deep/f"), policy(Some(2), SPREAD));
    assert_eq!(cluster.inherits("/d/in/not/there/yet/f"), policy(Some(2), SPREAD));
    assert_eq!(cluster.inherits("/d/f"), policy(Some(2), None));
    assert_eq!(cluster.inherits("/f"), policy(None, None));
    cluster.run(copies("/d/in/deep", Some(5))).expect("set");
    cluster.run(rule("/", TWO_RACKS)).expect("set");
    assert_eq!(cluster.inherits("/d/in/deep/f"), policy(Some(5), SPREAD));
    assert_eq!(cluster.inherits("/f"), policy(None, TWO_RACKS));
    let told = in_force(&cluster.state, Caller::SYSTEM, &at("/d/in")).expect("a directory");
    let from = |path: &str| path.as_bytes().to_vec();
    let expected =
        InForce { replication: Some((2, from("/d"))), spread: Some((placement::Policy::Spread, from("/d/in"))) };
    assert_eq!(told, expected);
    let told = in_force(&cluster.state, Caller::SYSTEM, &at("/")).expect("a directory");
    assert_eq!(told, InForce { replication: None, spread: Some((placement::Policy::TwoRacks, from("/"))) });
    invariants::check(&cluster.state);
}

/// Invariant 3 of the module, with whatever way a directory goes.
#[test]
fn what_is_taken_back_or_goes_with_its_directory_holds_no_more() {
    let mut cluster = Cluster::formatted();
    for path in ["/kept", "/empty", "/full/in"] {
        cluster.run(mkdir(path)).expect("made");
        cluster.run(copies(path, Some(2))).expect("set");
        cluster.run(rule(path, SPREAD)).expect("set");
    }
    cluster.run(copies("/full", Some(4))).expect("set");
    assert_eq!(cluster.stat("/kept").policy, Some(policy(Some(2), SPREAD)));
    cluster.run(copies("/kept", None)).expect("taken back");
    assert_eq!(cluster.stat("/kept").policy, Some(policy(None, SPREAD)));
    cluster.run(rule("/kept", None)).expect("taken back");
    cluster.run(rule("/kept", None)).expect("said twice");
    assert_eq!(cluster.stat("/kept").policy, None);
    invariants::check(&cluster.state);
    cluster.run(delete("/empty")).expect("removed");
    cluster.run(rename("/full", "/moved", false)).expect("moved");
    assert_eq!(cluster.inherits("/moved/in/f"), policy(Some(2), SPREAD));
    cluster.run(delete("/moved")).expect("removed");
    invariants::check(&cluster.state);
    cluster.collect();
    invariants::check(&cluster.state);
    assert_eq!(cluster.inherits("/kept/f"), policy(None, None));
}

#[test]
fn only_the_superuser_sets_a_policy_and_only_one_that_can_be_kept_of_a_directory() {
    let mut cluster = Cluster::formatted_for((1000, 100));
    cluster.run(mkdir("/d")).expect("made");
    cluster.run(put(to("/d/f"), b"x")).expect("put");
    let before = cluster.state.clone();
    let mut request = cluster.request(None, copies("/d", Some(2)));
    request.principal = Some(Principal { uid: 1000, gid: 100, groups: Vec::new() });
    assert_eq!(code(cluster.apply(&request).reply), Code::NotPermitted, "the owner of the directory is not enough");
    for count in [0, 33, 255] {
        assert_eq!(code(cluster.run(copies("/d", Some(count)))), Code::InvalidArgument, "{count}");
    }
    assert_eq!(code(cluster.run(copies("/d/f", Some(2)))), Code::NotDirectory);
    assert_eq!(code(cluster.run(rule("/d/none", SPREAD))), Code::NotFound);
    assert_eq!(cluster.state, before);
    cluster.run(Command::SetSupergroup { gid: Some(100) }).expect("set");
    let request = crate::command::Request { time: types::Timestamp::from_nanos(cluster.clock + 9), ..request };
    cluster.apply(&request).reply.expect("a member of the supergroup may");
}

/// Nobody learns from it what is behind a closed door.
#[test]
fn a_policy_is_told_to_nobody_who_may_not_get_there() {
    let mut cluster = Cluster::formatted();
    let ownership = Ownership { mode: 0o700, ..OWNER };
    cluster.run(Command::Mkdir { place: at("/d"), ownership, parents: false }).expect("made");
    cluster.run(copies("/d", Some(2))).expect("set");
    let other = Principal { uid: 7, gid: 7, groups: Vec::new() };
    let caller = Caller::from(Some(&other));
    let aim = Aim::Place(at("/d/f"));
    assert_eq!(of_new_file(&cluster.state, caller, &aim).expect("readable"), policy(None, None));
    assert!(in_force(&cluster.state, caller, &at("/d/in")).is_err());
    for rubbish in [at("a//../b"), at("/d/f/g"), inode(99, "f"), Where { base: InodeId::NONE, path: b"f".to_vec() }] {
        let aim = Aim::Place(rubbish);
        assert!(of_new_file(&cluster.state, Caller::SYSTEM, &aim).is_ok(), "{aim:?}");
    }
    let symlink = Command::Symlink { place: at("/link"), target: b"d".to_vec(), ownership: OWNER };
    cluster.run(symlink).expect("made");
    let error =
        of_new_file(&cluster.state, Caller::SYSTEM, &Aim::Place(at("/link/f"))).expect_err("where does it lead?");
    assert!(matches!(error, crate::QueryError::Refused(Error::SymlinkOnTheWay { names: 1, .. })), "{error}");
    for (bucket, key) in [("none", &b"k"[..]), ("", b""), ("bucket", b"/../")] {
        let aim = Aim::Key { bucket: bucket.to_owned(), key: key.to_vec() };
        assert_eq!(of_new_file(&cluster.state, Caller::SYSTEM, &aim).expect("readable"), policy(None, None));
    }
}

#[test]
fn an_object_inherits_from_the_directories_of_its_key_and_such_a_directory_stays() {
    let mut cluster = Cluster::formatted();
    let ownership = Ownership { mode: 0o755, ..OWNER };
    let bucket = || "bucket".to_owned();
    cluster.run(Command::CreateBucket { bucket: bucket(), place: at("/bucket"), ownership }).expect("made");
    cluster.run(copies("/bucket", Some(2))).expect("set");
    let key = b"a/b/c".to_vec();
    let publication = Publication {
        bucket: bucket(),
        key: key.clone(),
        content: Content::Inline { ownership: OWNER, layout: LAYOUT, content: b"x".to_vec() },
        etag: None,
        properties: Vec::new(),
        attributes: Vec::new(),
        condition: None,
    };
    cluster.run(Command::Publish { publication }).expect("put");
    cluster.run(rule("/bucket/a", SPREAD)).expect("set");
    let aim = Aim::Key { bucket: bucket(), key: key.clone() };
    assert_eq!(of_new_file(&cluster.state, Caller::SYSTEM, &aim).expect("readable"), policy(Some(2), SPREAD));
    cluster.run(Command::DeleteKey { bucket: bucket(), key, condition: None }).expect("removed");
    assert!(cluster.is_there("/bucket/a") && !cluster.is_there("/bucket/a/b"), "somebody said something of it");
    invariants::check(&cluster.state);
}

/// Invariant 2 of the module: in every way that a file can get blocks.
#[test]
fn a_file_and_its_blocks_keep_what_they_were_made_with() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    for path in ["/a", "/b"] {
        cluster.run(mkdir(path)).expect("made");
    }
    let layout = Layout { replication: 2, spread: SPREAD, ..LAYOUT };
    let targets = locations(&[1, 2]);
    let command = Command::Create { destination: Some(to("/a/f")), ownership: OWNER, layout, targets };
    let Ok(Reply::Created { attributes, block: Some(new) }) = cluster.by(session, command) else { panic!("a file") };
    let row = cluster.row_of(new.block);
    assert_eq!((row.wanted, row.spread), (2, SPREAD));
    let last = Some(done(new.block, 10, &[1, 2]));
    cluster.by(session, complete(attributes.inode, last, None)).expect("closed");
    cluster.run(rename("/a/f", "/b/f", false)).expect("moved");
    cluster.run(copies("/a", Some(5))).expect("set");
    cluster.run(rule("/b", TWO_RACKS)).expect("set");
    let file = cluster.stat("/b/f");
    assert_eq!((file.replication, file.spread), (2, SPREAD));
    // Blocks in advance take after the file that they get into.
    let layout = Layout { replication: 4, spread: TWO_RACKS, ..LAYOUT };
    let allocate = Command::AllocateBlocks { wanted: 3, targets: vec![locations(&[1, 2, 3])] };
    let Ok(Reply::Blocks { blocks }) = cluster.by(session, allocate) else { panic!("a block") };
    let blocks = vec![done(blocks[0].block, 10, &[1, 2, 3])];
    let of_other = blocks[0].block;
    let whole =
        Command::PutBlocks { destination: to("/b/g"), ownership: OWNER, layout, blocks, min_replicas: 2, mtime: None };
    cluster.by(session, whole).expect("put");
    let row = cluster.row_of(of_other);
    assert_eq!((row.wanted, row.spread), (4, TWO_RACKS));
    // A block of two files does for both.
    let terms = ContentTerms { inline_max: ByteSize::new(8), ..ContentTerms::default() };
    let (from, to_place) = (at("/b/f"), at("/b/g"));
    let clone = Command::CloneRange { from, offset: 0, length: u64::MAX, to: to_place, to_offset: 20, terms };
    cluster.by(session, clone).expect("shared");
    let row = cluster.row_of(new.block);
    assert_eq!((row.wanted, row.spread), (4, SPREAD));
    let fewer = AttrChange { replication: Some(3), ..AttrChange::default() };
    cluster.run(Command::SetAttr { place: at("/b/g"), change: fewer }).expect("set");
    assert_eq!(cluster.row_of(of_other).spread, TWO_RACKS, "another number is no other rule");
    invariants::check(&cluster.state);
}
