use super::*;
use crate::command::{DeletedReplica, Unlisted};
use crate::row::BlockRow;
use types::Timestamp;

const FOREVER: Timestamp = Timestamp::from_nanos(u64::MAX);

impl Cluster {
    fn drop_unlisted(&mut self, block: BlockId, generation: GenStamp, number: u8) {
        let replicas = vec![Unlisted { block, generation }];
        let command = Command::DropUnlisted { location: location(number), replicas, grace_nanos: 500 };
        assert_eq!(self.run(command), Ok(Reply::Done));
        invariants::check(&self.state);
    }

    fn removals(&self, number: u8) -> Vec<DeletedReplica> {
        query::due_deletes(&self.state, storage(number), FOREVER, 10).expect("readable")
    }

    fn row_if_any(&self, block: BlockId) -> Option<BlockRow> {
        query::block(&self.state, block).expect("readable")
    }
}

fn with_file() -> (Cluster, BlockId) {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let block = cluster.write(session, "/f");
    (cluster, block)
}

#[test]
fn a_replica_of_a_block_that_is_gone_leaves_after_the_grace() {
    let (mut cluster, block) = with_file();
    cluster.run(delete("/f")).expect("deleted");
    cluster.collect();
    assert_eq!(cluster.row_if_any(block), None);
    cluster.drop_unlisted(block, GenStamp::FIRST, 4);
    let due = Timestamp::from_nanos(cluster.clock + 500);
    assert_eq!(cluster.removals(4), [DeletedReplica { due, block, generation: GenStamp::FIRST }]);
}

#[test]
fn a_replica_of_an_inode_that_was_never_handed_out_is_left_alone() {
    let (mut cluster, block) = with_file();
    let unknown = BlockId::new(InodeId::new(block.inode().get() + 100), 0);
    cluster.drop_unlisted(unknown, GenStamp::FIRST, 4);
    assert_eq!(cluster.removals(4), []);
}

#[test]
fn an_orphan_of_a_whole_block_leaves_at_once_and_its_storage_gets_no_copy_before() {
    let (mut cluster, block) = with_file();
    cluster.drop_unlisted(block, GenStamp::FIRST, 4);
    let due = Timestamp::from_nanos(cluster.clock);
    assert_eq!(cluster.removals(4), [DeletedReplica { due, block, generation: GenStamp::FIRST }]);
    let row = cluster.row_if_any(block).expect("it is there");
    assert_eq!((row.replicas, row.leaving), (locations(&[1, 2, 3]), locations(&[4])));
    let add = Command::AddReplica { block, generation: GenStamp::FIRST, location: location(4) };
    assert_eq!(code(cluster.run(add)), Code::Busy, "invariant 7");
    // Found a second time.
    let once = cluster.row_if_any(block);
    cluster.drop_unlisted(block, GenStamp::FIRST, 4);
    assert_eq!((cluster.row_if_any(block), cluster.removals(4).len()), (once, 1));
}

/// Invariant 6.
#[test]
fn what_is_listed_needed_newer_or_being_written_is_never_dropped() {
    let (mut cluster, block) = with_file();
    let whole = cluster.row_if_any(block);
    cluster.drop_unlisted(block, GenStamp::FIRST, 1);
    cluster.drop_unlisted(block, GenStamp::new(2), 4);
    assert_eq!(cluster.row_if_any(block), whole, "listed, or newer");
    cluster.run(Command::ReportBadReplica { block, generation: GenStamp::FIRST, storage: storage(1) }).expect("marked");
    let short = cluster.row_if_any(block);
    cluster.drop_unlisted(block, GenStamp::FIRST, 4);
    cluster.drop_unlisted(block, GenStamp::FIRST, 1);
    assert_eq!(cluster.row_if_any(block), short, "the block has two of three, and a bad one goes by its own rule");
    let session = cluster.open_session();
    let (_, open) = cluster.create(session, Some(to("/open")));
    let writing = cluster.row_if_any(open.block);
    cluster.drop_unlisted(open.block, GenStamp::FIRST, 4);
    assert_eq!(cluster.row_if_any(open.block), writing);
    assert_eq!((cluster.removals(1), cluster.removals(4)), (vec![], vec![]));
}

#[test]
fn removals_are_told_in_pages() {
    let (mut cluster, block) = with_file();
    cluster.run(delete("/f")).expect("deleted");
    cluster.collect();
    for number in 0..3 {
        cluster.drop_unlisted(BlockId::new(block.inode(), number), GenStamp::FIRST, 4);
    }
    let mut seen = Vec::new();
    while let [next] = query::removals(&cluster.state, storage(4), seen.last(), 1).expect("readable")[..] {
        seen.push(next);
    }
    assert_eq!((seen.len(), seen), (3, cluster.removals(4)));
}

/// Golden: the log keeps it.
#[test]
fn the_command_keeps_its_bytes() {
    let block = BlockId::new(InodeId::new(42), 1);
    let replicas = vec![Unlisted { block, generation: GenStamp::new(2) }];
    let command = Command::DropUnlisted { location: location(1), replicas, grace_nanos: 600 };
    let bytes = minicbor::to_vec(&command).expect("encodes");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "821841838218655001010101010101010101010101010101818282182a0102190258");
    assert_eq!(minicbor::decode::<Command>(&bytes).expect("decodes"), command);
}
