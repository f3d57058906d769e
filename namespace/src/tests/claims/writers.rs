use super::*;
use crate::apply::Effect;
use crate::query::Content;
use crate::row::BlockState;

#[test]
fn a_file_without_a_name_appears_whole_when_it_is_complete() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (inode, block) = cluster.create(session, None);
    assert_eq!(cluster.stat("/").usage.expect("a directory").files, 0);
    let place = Where { base: inode, path: Vec::new() };
    assert_eq!(query::stat(&cluster.state, Caller::SYSTEM, &place).expect("by inode").links, 0);
    let last = done(block.block, 12, &[1, 2, 3]);
    let publish = Destination { parents: true, ..to("/new/f") };
    let reply = cluster.by(session, complete(inode, Some(last), Some(publish))).expect("completes");
    let attributes = cluster.stat("/new/f");
    assert_eq!(reply, Reply::Attributes { attributes: attributes.clone() });
    assert_eq!((attributes.length, attributes.writing, attributes.links), (ByteSize::new(12), false, 1));
    assert_eq!(cluster.stat("/").usage.expect("a directory").bytes, 12);
    invariants::check(&cluster.state);
}

#[test]
fn publishing_over_a_file_swaps_it_and_frees_the_old_one() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let old = cluster.write(session, "/f");
    let (inode, block) = cluster.create(session, None);
    let last = done(block.block, 4, &[1, 2, 3]);
    assert_eq!(code(cluster.by(session, complete(inode, Some(last.clone()), Some(to("/f"))))), Code::Exists);
    assert_eq!(cluster.stat("/f").length, ByteSize::new(10));
    cluster.by(session, complete(inode, Some(last), Some(over("/f")))).expect("the lease was kept");
    assert_eq!(cluster.stat("/f").inode, inode);
    cluster.collect();
    assert_eq!(query::block(&cluster.state, old), Ok(None));
    invariants::check(&cluster.state);
}

#[test]
fn a_file_that_another_session_writes_is_not_replaced() {
    let mut cluster = Cluster::formatted();
    let (writer, other) = (cluster.open_session(), cluster.open_session());
    cluster.create(writer, Some(to("/f")));
    cluster.by(other, put(to("/g"), b"x")).expect("put");
    assert_eq!(code(cluster.by(other, create(Some(over("/f")), &[]))), Code::LeaseHeld);
    assert_eq!(code(cluster.by(other, put(over("/f"), b"x"))), Code::LeaseHeld);
    assert_eq!(code(cluster.by(other, rename("/g", "/f", true))), Code::LeaseHeld);
    cluster.create(writer, Some(over("/f")));
}

#[test]
fn only_the_holder_of_the_lease_writes() {
    let mut cluster = Cluster::formatted();
    let (writer, other) = (cluster.open_session(), cluster.open_session());
    let (inode, block) = cluster.create(writer, Some(to("/f")));
    let id = block.block;
    let commands = [
        Command::AddBlock { inode, previous: Some(done(id, 1, &[1, 2])), targets: locations(&[1]), min_replicas: 1 },
        Command::Extend { inode, written: done(id, 1, &[1]) },
        Command::NextGeneration { inode, block: id, generation: block.generation, survivors: storages(&[1]) },
        Command::AbandonBlock { inode, block: id },
        complete(inode, Some(done(id, 1, &[1, 2])), None),
        Command::Abandon { inode },
    ];
    for command in commands {
        assert_eq!(code(cluster.by(other, command.clone())), Code::LeaseLost, "invariant 5");
        assert_eq!(code(cluster.run(command)), Code::InvalidArgument, "without a session");
    }
}

#[test]
fn the_visible_length_never_shrinks() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (inode, block) = cluster.create(session, Some(to("/f")));
    let extend = |length| Command::Extend { inode, written: done(block.block, length, &[1, 2, 3]) };
    cluster.by(session, extend(9)).expect("flushed");
    assert_eq!(cluster.by(session, extend(4)), Ok(Reply::Done), "a late flush");
    assert_eq!(cluster.stat("/f").length, ByteSize::new(9));
    let shorter = complete(inode, Some(done(block.block, 8, &[1, 2, 3])), None);
    assert_eq!(code(cluster.by(session, shorter)), Code::InvalidArgument);
    let abandon = Command::AbandonBlock { inode, block: block.block };
    assert_eq!(code(cluster.by(session, abandon)), Code::InvalidArgument);
    assert_eq!(code(cluster.by(session, extend(17))), Code::InvalidArgument, "beyond the block size");
    assert_eq!(cluster.stat("/f").length, ByteSize::new(9), "invariant 5");
}

#[test]
fn a_stale_generation_is_fenced() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (inode, block) = cluster.create(session, Some(to("/f")));
    let id = block.block;
    let next = Command::NextGeneration { inode, block: id, generation: block.generation, survivors: storages(&[1, 3]) };
    let second = GenStamp::new(2);
    assert_eq!(cluster.by(session, next.clone()), Ok(Reply::Generation { generation: second }));
    assert_eq!(code(cluster.by(session, next)), Code::StaleGeneration);
    assert_eq!(code(cluster.by(session, complete(inode, Some(done(id, 5, &[1, 3])), None))), Code::StaleGeneration);
    let lost = BlockDone { generation: second, ..done(id, 5, &[1, 2]) };
    assert_eq!(code(cluster.by(session, complete(inode, Some(lost), None))), Code::InvalidArgument);
    let now = types::Timestamp::from_nanos(cluster.clock);
    let due = query::due_deletes(&cluster.state, storage(2), now, 10).expect("readable");
    assert_eq!((due.len(), due[0].generation), (1, GenStamp::FIRST), "the replica left behind goes");
    let last = BlockDone { generation: second, ..done(id, 5, &[1, 3]) };
    let request = cluster.request(Some(session), complete(inode, Some(last), None));
    let applied = cluster.apply(&request);
    assert!(applied.reply.is_ok());
    assert_eq!(applied.effects, [Effect::ReplicationShort(id)]);
}

#[test]
fn a_block_is_committed_on_enough_storages_or_not_at_all() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (inode, block) = cluster.create(session, Some(to("/f")));
    let twice = done(block.block, 5, &[1, 1]);
    assert_eq!(code(cluster.by(session, complete(inode, Some(twice), None))), Code::NoDatanodes);
    let none =
        Command::Complete { inode, last: Some(done(block.block, 5, &[])), min_replicas: 0, publish: None, mtime: None };
    assert_eq!(code(cluster.by(session, none)), Code::NoDatanodes);
    cluster.by(session, complete(inode, Some(done(block.block, 5, &[1, 2])), None)).expect("completes");
    let row = query::block(&cluster.state, block.block).expect("readable").expect("there");
    assert_eq!((row.state, row.replicas, row.leaving), (BlockState::Committed, locations(&[1, 2]), locations(&[3])));
    invariants::check(&cluster.state);
}

#[test]
fn blocks_follow_each_other_and_their_numbers_are_never_used_again() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (inode, first) = cluster.create(session, Some(to("/f")));
    let add = |previous| Command::AddBlock { inode, previous, targets: locations(&[2, 3, 4]), min_replicas: 2 };
    assert_eq!(code(cluster.by(session, add(None))), Code::InvalidArgument, "the first is still open");
    assert_eq!(code(cluster.by(session, add(Some(done(first.block, 0, &[1, 2]))))), Code::InvalidArgument);
    cluster.by(session, add(Some(done(first.block, 16, &[1, 2, 3])))).expect("the second");
    let second = BlockId::new(inode, 1);
    cluster.by(session, Command::AbandonBlock { inode, block: second }).expect("abandoned");
    let third = BlockId::new(inode, 2);
    match cluster.by(session, add(None)) {
        Ok(Reply::Block { block }) => assert_eq!(block.block, third, "invariant 8"),
        other => panic!("a block was asked for: {other:?}"),
    }
    cluster.by(session, complete(inode, Some(done(third, 3, &[2, 3])), None)).expect("completes");
    assert_eq!(cluster.stat("/f").length, ByteSize::new(19));
    let blocks = |offset, length| match query::open(&cluster.state, Caller::SYSTEM, &at("/f"), offset, length)
        .expect("a file")
        .content
    {
        Content::Blocks { blocks, .. } => {
            blocks.iter().map(|located| (located.block, located.offset)).collect::<Vec<_>>()
        }
        Content::Inline(_) => panic!("it has blocks"),
    };
    assert_eq!(blocks(0, u64::MAX), [(first.block, 0), (third, 16)]);
    assert_eq!(blocks(0, 16), [(first.block, 0)]);
    assert_eq!(blocks(15, 2), [(first.block, 0), (third, 16)]);
    assert_eq!(blocks(18, 9), [(third, 16)]);
    assert_eq!(blocks(19, 9), []);
    assert_eq!(blocks(0, 0), []);
}

#[test]
fn an_unwritten_last_block_is_dropped() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (inode, block) = cluster.create(session, Some(to("/f")));
    assert_eq!(code(cluster.by(session, complete(inode, None, None))), Code::InvalidArgument);
    cluster.by(session, complete(inode, Some(done(block.block, 0, &[])), None)).expect("completes");
    assert_eq!(cluster.stat("/f").length, ByteSize::ZERO);
    assert_eq!(query::block(&cluster.state, block.block), Ok(None));
    let now = types::Timestamp::from_nanos(cluster.clock);
    assert_eq!(query::due_deletes(&cluster.state, storage(3), now, 10).expect("readable").len(), 1);
    invariants::check(&cluster.state);
}

#[test]
fn targets_are_distinct_nodes() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    assert_eq!(code(cluster.by(session, create(None, &[1, 2, 1]))), Code::InvalidArgument);
    let many: Vec<u8> = (0..33).collect();
    assert_eq!(code(cluster.by(session, create(None, &many))), Code::InvalidArgument);
}

#[test]
fn a_given_modification_time_is_kept() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (inode, block) = cluster.create(session, None);
    let mtime = Some(types::Timestamp::from_nanos(77));
    let last = Some(done(block.block, 3, &[1, 2, 3]));
    let publish = Some(to("/f"));
    cluster.by(session, Command::Complete { inode, last, min_replicas: 2, publish, mtime }).expect("completes");
    assert_eq!(Some(cluster.stat("/f").mtime), mtime);
}

#[test]
fn abandoning_is_for_files_without_a_name() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (named, _) = cluster.create(session, Some(to("/f")));
    assert_eq!(code(cluster.by(session, Command::Abandon { inode: named })), Code::InvalidArgument);
    let (unnamed, block) = cluster.create(session, None);
    cluster.by(session, Command::Abandon { inode: unnamed }).expect("given up");
    cluster.collect();
    assert_eq!(query::block(&cluster.state, block.block), Ok(None));
    assert_eq!(code(cluster.by(session, Command::Abandon { inode: unnamed })), Code::LeaseLost);
}
