use super::*;
use crate::apply::Effect;
use crate::key;
use crate::view::View as _;
use types::Timestamp;

#[test]
fn a_removed_tree_is_gone_at_once_and_freed_in_bounded_steps() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    for directory in ["/a", "/a/b", "/a/b/c"] {
        cluster.run(mkdir(directory)).expect("made");
        for file in 0..3 {
            cluster.write(session, &format!("{directory}/f{file}"));
        }
    }
    let request = cluster.request(None, delete("/a"));
    let applied = cluster.apply(&request);
    assert!(applied.writes.len() <= 5, "removing does not depend on what is below: {:?}", applied.writes.len());
    assert_eq!(applied.effects, [Effect::GarbageAdded]);
    assert!(!cluster.is_there("/a/b/c/f0") && query::garbage_pending(&cluster.state).expect("readable"));
    let mut blocks = 9;
    while query::garbage_pending(&cluster.state).expect("readable") {
        cluster.run(Command::GcStep { limit: 2, grace_nanos: 500 }).expect("a step");
        let left = query::totals(&cluster.state).expect("readable").blocks;
        assert!(blocks - left <= 2, "a step is bounded");
        blocks = left;
        invariants::check(&cluster.state);
    }
    assert_eq!(blocks, 0);
    let now = Timestamp::from_nanos(cluster.clock);
    assert_eq!(query::due_deletes(&cluster.state, storage(1), now, 100).expect("readable").len(), 0, "grace");
    let later = Timestamp::from_nanos(cluster.clock + 500);
    assert_eq!(query::due_deletes(&cluster.state, storage(1), later, 100).expect("readable").len(), 9);
    assert_eq!(query::due_deletes(&cluster.state, storage(1), later, 4).expect("readable").len(), 4);
    assert_eq!(cluster.run(Command::GcStep { limit: 2, grace_nanos: 0 }), Ok(Reply::Step { more: false }));
}

/// What the steps before it removed is not looked at again, except once at the end.
#[test]
fn a_step_goes_on_behind_the_last_name_that_was_freed() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/a")).expect("made");
    for file in 0..5 {
        cluster.run(put(to(&format!("/a/f{file}")), b"x")).expect("put");
    }
    let directory = cluster.stat("/a").inode;
    cluster.run(delete("/a")).expect("removed");
    let garbage = |cluster: &Cluster| cluster.state.get(&key::garbage(directory)).expect("readable");
    // As it was before there were names in it.
    let from_the_start = vec![1, 0x82, 0x01, 0xf4];
    assert_eq!(garbage(&cluster), Some(from_the_start.clone()));
    for last in ["f1", "f3"] {
        assert_eq!(cluster.run(Command::GcStep { limit: 2, grace_nanos: 0 }), Ok(Reply::Step { more: true }));
        let behind = [&[1, 0x83, 0x01, 0xf4, 0x42][..], last.as_bytes()].concat();
        assert_eq!(garbage(&cluster), Some(behind), "behind {last}");
    }
    // One name is left, and with it the directory is known to have no more behind.
    assert_eq!(cluster.run(Command::GcStep { limit: 2, grace_nanos: 0 }), Ok(Reply::Step { more: true }));
    assert_eq!(garbage(&cluster), Some(from_the_start));
    assert_eq!(cluster.run(Command::GcStep { limit: 2, grace_nanos: 0 }), Ok(Reply::Step { more: false }));
    assert_eq!(garbage(&cluster), None);
    invariants::check(&cluster.state);
}

#[test]
fn what_never_had_a_name_is_freed_without_grace() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (given_up, _) = cluster.create(session, None);
    cluster.by(session, Command::Abandon { inode: given_up }).expect("given up");
    cluster.create(session, None);
    cluster.run(Command::CloseSession { session }).expect("closed");
    cluster.run(Command::GcStep { limit: 100, grace_nanos: u64::MAX }).expect("a step");
    let now = Timestamp::from_nanos(cluster.clock);
    assert_eq!(query::due_deletes(&cluster.state, storage(1), now, 100).expect("readable").len(), 2);
    invariants::check(&cluster.state);
}

#[test]
fn nothing_can_be_found_or_put_in_a_removed_tree() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/a/b")).expect("made");
    cluster.run(put(to("/a/b/f"), b"x")).expect("put");
    let (a, b, f) = (cluster.stat("/a").inode, cluster.stat("/a/b").inode, cluster.stat("/a/b/f").inode);
    cluster.run(delete("/a")).expect("removed");
    for base in [a, b, f] {
        let here = |path: &str| Where { base, path: path.as_bytes().to_vec() };
        assert!(query::stat(&cluster.state, Caller::SYSTEM, &here("")).is_err());
        let destination = Destination { place: here("new"), ..to("") };
        assert_eq!(code(cluster.run(put(destination, b"x"))), Code::NotFound);
        assert_eq!(
            code(cluster.run(Command::Rename { from: here(""), to: at("/back"), overwrite: false })),
            Code::NotFound
        );
    }
}

#[test]
fn a_writer_in_a_removed_tree_is_harmless_and_then_loses_its_lease() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.run(mkdir("/a")).expect("made");
    let (inode, block) = cluster.create(session, Some(to("/a/f")));
    cluster.run(delete("/a")).expect("removed");
    let extend = Command::Extend { inode, written: done(block.block, 5, &[1, 2]) };
    cluster.by(session, extend.clone()).expect("nobody sees it");
    assert_eq!(cluster.stat("/").usage.expect("a directory").bytes, 0);
    cluster.collect();
    assert_eq!(code(cluster.by(session, extend)), Code::LeaseLost);
    invariants::check(&cluster.state);
    assert_eq!(query::totals(&cluster.state).expect("readable").blocks, 0);
}

#[test]
fn removing_a_file_takes_its_lease_at_once() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (inode, block) = cluster.create(session, Some(to("/f")));
    cluster.run(delete("/f")).expect("removed");
    let last = done(block.block, 5, &[1, 2]);
    assert_eq!(code(cluster.by(session, complete(inode, Some(last), None))), Code::LeaseLost);
    cluster.collect();
    invariants::check(&cluster.state);
}

#[test]
fn a_small_or_empty_object_leaves_no_garbage() {
    let mut cluster = Cluster::formatted();
    cluster.run(put(to("/f"), b"inline")).expect("put");
    cluster.run(mkdir("/d")).expect("made");
    for path in ["/f", "/d"] {
        cluster.run(Command::Delete { place: at(path), recursive: false }).expect("removed");
        assert_eq!(query::garbage_pending(&cluster.state), Ok(false));
    }
    assert_eq!(cluster.state.rows().len(), 3);
}

#[test]
fn confirmed_deletions_are_forgotten_and_repeating_that_is_harmless() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.write(session, "/f");
    cluster.run(delete("/f")).expect("removed");
    cluster.collect();
    let now = Timestamp::from_nanos(u64::MAX);
    let due = query::due_deletes(&cluster.state, storage(2), now, 100).expect("readable");
    assert_eq!(due.len(), 1);
    let confirm = Command::ReplicasDeleted { storage: storage(2), replicas: due };
    cluster.run(confirm.clone()).expect("confirmed");
    let confirmed = cluster.state.clone();
    cluster.run(confirm).expect("again");
    assert_eq!(cluster.state, confirmed);
    assert_eq!(query::due_deletes(&cluster.state, storage(2), now, 100), Ok(Vec::new()));
}
