//! Leases that end without their holder, and blocks that end without their writer.

use types::Timestamp;

use super::*;
use crate::command::{Holder, Principal};
use crate::query::Content;
use crate::row::BlockState;

const SECOND: GenStamp = GenStamp::new(2);
const THIRD: GenStamp = GenStamp::new(3);

fn recover(path: &str, force: bool, holder: Option<Holder>) -> Command {
    Command::RecoverLease { place: at(path), force, holder }
}

fn append(path: &str, holder: Option<Holder>) -> Command {
    Command::Append { place: at(path), holder }
}

fn recovered(block: BlockId, generation: GenStamp, length: u64, replicas: &[u8]) -> Command {
    Command::CommitRecovery { recovered: BlockDone { generation, ..done(block, length, replicas) } }
}

fn extend(inode: InodeId, block: BlockId, length: u64, replicas: &[u8]) -> Command {
    Command::Extend { inode, written: done(block, length, replicas) }
}

fn holder(session: SessionId, soft_limit: u64) -> Option<Holder> {
    Some(Holder { session, soft_limit: Timestamp::from_nanos(soft_limit) })
}

fn content(cluster: &Cluster, path: &str) -> Content {
    query::open(&cluster.state, Caller::SYSTEM, &at(path), 0, u64::MAX).expect("it is there").content
}

#[test]
fn a_lease_is_taken_over_only_after_its_soft_limit() {
    let mut cluster = Cluster::formatted();
    let (writer, other) = (cluster.open_session(), cluster.open_session());
    cluster.create(writer, Some(to("/f")));
    let (past, future) = (cluster.clock, cluster.clock + 1_000_000);
    for wrong in [None, holder(writer, future), holder(other, past)] {
        for command in [recover("/f", false, wrong), append("/f", wrong)] {
            let refused = cluster.by(other, command).expect_err("the holder may still be there");
            let soft_limit = wrong.filter(|known| known.session == writer).map(|known| known.soft_limit);
            assert_eq!(refused, Error::LeaseHeld { place: "/f".to_owned(), holder: writer, soft_limit });
        }
    }
    let told = Error::LeaseHeld {
        place: "/f".to_owned(),
        holder: SessionId::new(7),
        soft_limit: Some(Timestamp::from_nanos(1_000_000_000)),
    };
    assert!(told.to_string().contains("by ses_7, whose soft limit ends at 1970-01-01T00:00:01Z"), "{told}");
    let taken = cluster.by(other, append("/f", holder(writer, past)));
    assert_eq!(taken, Ok(Reply::Lease { recovering: true }));
    assert_eq!(cluster.by(other, append("/f", None)), Ok(Reply::Lease { recovering: true }), "asked again");
    assert_eq!(code(cluster.by(other, put(over("/f"), b"x"))), Code::LeaseHeld, "not before it is recovered");
    invariants::check(&cluster.state);
}

#[test]
fn a_file_without_an_open_block_is_closed_at_once() {
    let mut cluster = Cluster::formatted();
    let (writer, other) = (cluster.open_session(), cluster.open_session());
    cluster.by(writer, create(Some(to("/f")), &[])).expect("created");
    assert_eq!(cluster.by(other, recover("/f", true, None)), Ok(Reply::Lease { recovering: false }));
    assert!(!cluster.stat("/f").writing);
    assert_eq!(cluster.by(other, recover("/f", false, None)), Ok(Reply::Lease { recovering: false }), "twice");
    invariants::check(&cluster.state);
}

#[test]
fn the_lost_writer_is_fenced_from_the_first_step_on() {
    let mut cluster = Cluster::formatted();
    let (writer, other) = (cluster.open_session(), cluster.open_session());
    let (inode, NewBlock { block, .. }) = cluster.create(writer, Some(to("/f")));
    cluster.by(writer, extend(inode, block, 5, &[1, 2, 3])).expect("flushed");
    cluster.by(other, recover("/f", true, None)).expect("taken");
    let fenced = |cluster: &mut Cluster| {
        let state = query::block(&cluster.state, block);
        for command in [
            extend(inode, block, 9, &[1, 2, 3]),
            Command::NextGeneration { inode, block, generation: GenStamp::FIRST, survivors: storages(&[1]) },
            Command::AddBlock { inode, previous: None, targets: locations(&[1]), min_replicas: 1 },
            Command::AbandonBlock { inode, block },
            complete(inode, Some(done(block, 9, &[1, 2, 3])), None),
        ] {
            assert_eq!(code(cluster.by(writer, command)), Code::LeaseLost);
        }
        assert_eq!(query::block(&cluster.state, block), state, "a stale lease writes nothing");
    };
    fenced(&mut cluster);
    assert_eq!(cluster.run(Command::BeginRecovery { block }), Ok(Reply::Generation { generation: SECOND }));
    fenced(&mut cluster);
    cluster.run(recovered(block, SECOND, 7, &[1, 3])).expect("committed");
    fenced(&mut cluster);
    let row = query::block(&cluster.state, block).expect("readable").expect("there");
    assert_eq!((row.generation, row.length, row.state), (SECOND, ByteSize::new(7), BlockState::Committed));
    assert_eq!((row.replicas, row.leaving, row.recovery), (locations(&[1, 3]), locations(&[2]), None));
    let attributes = cluster.stat("/f");
    assert_eq!((attributes.length, attributes.writing), (ByteSize::new(7), false));
    invariants::check(&cluster.state);
}

#[test]
fn an_attempt_that_was_overtaken_commits_nothing() {
    let mut cluster = Cluster::formatted();
    let writer = cluster.open_session();
    let (_, NewBlock { block, .. }) = cluster.create(writer, Some(to("/f")));
    assert_eq!(code(cluster.run(Command::BeginRecovery { block })), Code::LeaseLost, "it is being written");
    cluster.run(Command::ExpireSession { session: writer, limit: 9 }).expect("expired");
    for generation in [SECOND, THIRD] {
        assert_eq!(cluster.run(Command::BeginRecovery { block }), Ok(Reply::Generation { generation }));
    }
    assert_eq!(code(cluster.run(recovered(block, SECOND, 7, &[1]))), Code::StaleGeneration);
    assert_eq!(code(cluster.run(recovered(block, GenStamp::FIRST, 7, &[1]))), Code::StaleGeneration);
    assert_eq!(code(cluster.run(recovered(block, THIRD, 17, &[1]))), Code::InvalidArgument, "beyond the block size");
    assert_eq!(code(cluster.run(recovered(block, THIRD, 7, &[]))), Code::NoDatanodes);
    assert_eq!(code(cluster.run(recovered(block, THIRD, 7, &[4]))), Code::InvalidArgument);
    cluster.run(recovered(block, THIRD, 7, &[1])).expect("committed");
    assert_eq!(code(cluster.run(recovered(block, THIRD, 7, &[1]))), Code::LeaseLost, "done");
    invariants::check(&cluster.state);
}

#[test]
fn recovery_never_goes_below_what_was_visible() {
    let mut cluster = Cluster::formatted();
    let writer = cluster.open_session();
    let (inode, NewBlock { block, .. }) = cluster.create(writer, Some(to("/f")));
    cluster.by(writer, extend(inode, block, 5, &[1, 2, 3])).expect("flushed");
    cluster.run(Command::ExpireSession { session: writer, limit: 9 }).expect("expired");
    cluster.run(Command::BeginRecovery { block }).expect("begun");
    for length in [0, 4] {
        assert_eq!(code(cluster.run(recovered(block, SECOND, length, &[1]))), Code::InvalidArgument, "invariant 5");
    }
    cluster.run(recovered(block, SECOND, 5, &[1])).expect("committed");
    assert_eq!(cluster.stat("/f").length, ByteSize::new(5));
}

#[test]
fn a_block_that_nobody_has_a_byte_of_goes_and_so_do_replicas_of_the_attempt() {
    let mut cluster = Cluster::formatted();
    let writer = cluster.open_session();
    let (_, NewBlock { block, .. }) = cluster.create(writer, Some(to("/f")));
    cluster.run(Command::ExpireSession { session: writer, limit: 9 }).expect("expired");
    cluster.run(Command::BeginRecovery { block }).expect("begun");
    cluster.run(recovered(block, SECOND, 0, &[])).expect("committed");
    assert_eq!(query::block(&cluster.state, block), Ok(None));
    assert!(!cluster.stat("/f").writing);
    let due = query::due_deletes(&cluster.state, storage(1), Timestamp::from_nanos(u64::MAX), 9).expect("readable");
    assert_eq!(due.iter().map(|replica| replica.generation).collect::<Vec<_>>(), [SECOND]);
    invariants::check(&cluster.state);
}

#[test]
fn a_file_removed_while_it_is_recovered_leaves_no_replica_behind() {
    let mut cluster = Cluster::formatted();
    let writer = cluster.open_session();
    let (_, NewBlock { block, .. }) = cluster.create(writer, Some(to("/f")));
    cluster.run(Command::ExpireSession { session: writer, limit: 9 }).expect("expired");
    cluster.run(Command::BeginRecovery { block }).expect("begun");
    cluster.run(delete("/f")).expect("deleted");
    assert_eq!(code(cluster.run(recovered(block, SECOND, 7, &[1]))), Code::LeaseLost);
    assert_eq!(query::recovering(&cluster.state, None, 9), Ok(Vec::new()));
    cluster.collect();
    let due = query::due_deletes(&cluster.state, storage(1), Timestamp::from_nanos(u64::MAX), 9).expect("readable");
    assert_eq!(due.iter().map(|replica| replica.generation).collect::<Vec<_>>(), [SECOND], "finished or not");
    invariants::check(&cluster.state);
}

#[test]
fn a_closed_file_is_continued_with_new_blocks() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let first = cluster.write(session, "/f");
    let opened = cluster.by(session, append("/f", None)).expect("opened");
    let Reply::Created { attributes, block: None } = opened else { panic!("{opened:?}") };
    assert_eq!((attributes.length, attributes.writing), (ByteSize::new(10), true));
    assert_eq!(code(cluster.by(session, append("/f", None))), Code::LeaseHeld, "even by itself");
    let inode = attributes.inode;
    let add = Command::AddBlock { inode, previous: None, targets: locations(&[1, 2]), min_replicas: 2 };
    let Ok(Reply::Block { block: NewBlock { block, .. } }) = cluster.by(session, add) else { panic!("a block") };
    assert_eq!(block, BlockId::new(inode, first.number() + 1));
    cluster.by(session, complete(inode, Some(done(block, 4, &[1, 2])), None)).expect("completes");
    assert_eq!(cluster.stat("/f").length, ByteSize::new(14));
    let Content::Blocks { blocks, .. } = content(&cluster, "/f") else { panic!("blocks") };
    assert_eq!(blocks.iter().map(|at| (at.block, at.offset)).collect::<Vec<_>>(), [(first, 0), (block, 10)]);
    invariants::check(&cluster.state);
}

#[test]
fn what_lives_with_the_inode_stays_until_a_block_holds_all_of_it() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.by(session, put(to("/f"), b"inline")).expect("put");
    let Ok(Reply::Created { attributes, .. }) = cluster.by(session, append("/f", None)) else { panic!("opened") };
    let inode = attributes.inode;
    let add = Command::AddBlock { inode, previous: None, targets: locations(&[1, 2]), min_replicas: 2 };
    let Ok(Reply::Block { block: NewBlock { block: dropped, .. } }) = cluster.by(session, add.clone()) else {
        panic!("a block")
    };
    cluster.by(session, extend(inode, dropped, 4, &[1, 2])).expect("nothing new");
    assert_eq!(content(&cluster, "/f"), Content::Inline(b"inline".to_vec()));
    let shorter = complete(inode, Some(done(dropped, 5, &[1, 2])), None);
    assert_eq!(code(cluster.by(session, shorter)), Code::InvalidArgument, "invariant 5");
    invariants::check(&cluster.state);
    cluster.by(session, Command::AbandonBlock { inode, block: dropped }).expect("abandoned");
    invariants::check(&cluster.state);
    let Ok(Reply::Block { block: NewBlock { block, .. } }) = cluster.by(session, add) else { panic!("a block") };
    assert_ne!(block, dropped, "invariant 8");
    cluster.by(session, extend(inode, block, 8, &[1, 2])).expect("flushed");
    assert_eq!(cluster.stat("/f").length, ByteSize::new(8));
    invariants::check(&cluster.state);
    cluster.by(session, complete(inode, Some(done(block, 9, &[1, 2])), None)).expect("completes");
    let Content::Blocks { blocks, .. } = content(&cluster, "/f") else { panic!("blocks") };
    assert_eq!(blocks.iter().map(|at| (at.block, at.offset)).collect::<Vec<_>>(), [(block, 0)]);
    assert_eq!(cluster.stat("/").usage.expect("a directory").bytes, 9);
    invariants::check(&cluster.state);
}

#[test]
fn an_append_that_was_lost_early_leaves_the_inline_content() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.by(session, put(to("/f"), b"inline")).expect("put");
    let Ok(Reply::Created { attributes, .. }) = cluster.by(session, append("/f", None)) else { panic!("opened") };
    let add =
        Command::AddBlock { inode: attributes.inode, previous: None, targets: locations(&[1, 2]), min_replicas: 2 };
    let Ok(Reply::Block { block: NewBlock { block, .. } }) = cluster.by(session, add) else { panic!("a block") };
    cluster.run(Command::ExpireSession { session, limit: 9 }).expect("expired");
    let waiting = query::recovering(&cluster.state, None, 9).expect("readable");
    assert_eq!(waiting.iter().map(|file| file.kept_inline).collect::<Vec<_>>(), [ByteSize::new(6)]);
    cluster.run(Command::BeginRecovery { block }).expect("begun");
    cluster.run(recovered(block, SECOND, 6, &[1])).expect("committed");
    assert_eq!(content(&cluster, "/f"), Content::Inline(b"inline".to_vec()));
    assert_eq!(query::block(&cluster.state, block), Ok(None));
    invariants::check(&cluster.state);
    cluster.run(delete("/f")).expect("deleted");
    cluster.collect();
    invariants::check(&cluster.state);
}

#[test]
fn content_that_no_block_of_the_file_holds_is_not_continued() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.by(session, put(to("/f"), &[7; 17])).expect("put");
    assert_eq!(code(cluster.by(session, append("/f", None))), Code::NotSupported);
    cluster.by(session, mkdir("/d")).expect("made");
    assert_eq!(code(cluster.by(session, append("/d", None))), Code::IsDirectory);
    assert_eq!(code(cluster.by(session, append("/none", None))), Code::NotFound);
}

#[test]
fn a_lease_is_taken_by_those_who_may() {
    let mut cluster = Cluster::formatted_for((1000, 100));
    let session = cluster.open_session();
    cluster.create(session, Some(to("/f")));
    let as_user = |cluster: &mut Cluster, uid, command| {
        let mut request = cluster.request(Some(session), command);
        request.principal = Some(Principal { uid, gid: 100, groups: Vec::new() });
        cluster.apply(&request).reply
    };
    cluster
        .run(Command::SetAttr {
            place: at("/f"),
            change: crate::command::AttrChange {
                mode: Some(0o660),
                uid: Some(1000),
                gid: Some(100),
                ..Default::default()
            },
        })
        .expect("changed");
    assert_eq!(code(as_user(&mut cluster, 1001, recover("/f", true, None))), Code::NotPermitted, "not the owner");
    assert_eq!(code(as_user(&mut cluster, 1001, recover("/f", false, None))), Code::LeaseHeld);
    cluster
        .run(Command::SetAttr {
            place: at("/f"),
            change: crate::command::AttrChange { mode: Some(0o640), ..Default::default() },
        })
        .expect("changed");
    for command in [recover("/f", true, None), append("/f", None)] {
        assert_eq!(code(as_user(&mut cluster, 1001, command)), Code::Denied);
    }
    assert_eq!(as_user(&mut cluster, 1000, recover("/f", true, None)), Ok(Reply::Lease { recovering: true }));
}

#[test]
fn a_block_committed_in_need_holds_up_closing_until_it_is_copied() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (inode, first) = cluster.create(session, Some(to("/f")));
    let previous = Some(done(first.block, 5, &[1]));
    let add = |min_replicas| Command::AddBlock {
        inode,
        previous: previous.clone(),
        targets: locations(&[2, 3]),
        min_replicas,
    };
    let request = cluster.request(Some(session), add(2));
    let applied = cluster.apply(&request);
    let Ok(Reply::Block { block: NewBlock { block, .. } }) = applied.reply else { panic!("{:?}", applied.reply) };
    assert_eq!(applied.effects.last(), Some(&crate::Effect::ReplicationShort(first.block)));
    let last = complete(inode, Some(done(block, 3, &[2, 3])), None);
    assert_eq!(code(cluster.by(session, last.clone())), Code::NoDatanodes, "one replica is no promise");
    assert_eq!(code(cluster.by(session, extend(inode, block, 2, &[2, 3]))), Code::NoDatanodes);
    assert_eq!(cluster.stat("/f").length, ByteSize::new(5));
    let copied = Command::AddReplica { block: first.block, generation: first.generation, location: location(4) };
    cluster.run(copied).expect("copied");
    cluster.by(session, extend(inode, block, 2, &[2, 3])).expect("flushed");
    cluster.by(session, last).expect("completes");
    assert_eq!(cluster.stat("/f").length, ByteSize::new(8));
    invariants::check(&cluster.state);
}
