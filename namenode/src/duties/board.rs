//! Tasks for datanodes: planned by the duties, handed out in the answers to heartbeats.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use namespace::command::DeletedReplica;
use namespace::repair::Urgency;
use namespace::row::BlockLocation;
use proto::v1;
use types::{BlockId, ByteSize, GenStamp, NodeId, StorageId};

/// Copies that wait or run, in the whole cluster. The scan plans more as these end.
const COPIES: usize = 10_000;
/// Looks at replicas that wait or run, in the whole cluster, and those that one answer gives to a node.
const CHECKS: usize = 10_000;
const CHECKS_AT_ONCE: usize = 256;
/// A step of a recovery without a result for so long is handed out again.
const ORDER_RETRY: Duration = Duration::from_secs(5);
/// A deletion without a result for so long is handed out again.
const DELETE_RETRY: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Copy {
    node: NodeId,
    urgency: Urgency,
    task: v1::CopyReplica,
    target: StorageId,
    /// When it was handed out.
    started: Option<Instant>,
}

impl Copy {
    /// What its bytes take at the rate that it has to keep.
    fn paced(&self) -> Duration {
        Duration::from_secs(self.task.length.checked_div(self.task.rate).unwrap_or(0))
    }
}

/// A step of a recovery, for one replica.
#[derive(Debug)]
struct Order {
    node: NodeId,
    task: v1::task::Kind,
    handed: Option<Instant>,
}

/// A pass of the scrubber that a node is to begin.
#[derive(Debug)]
struct Scrub {
    pass: u64,
    handed: Option<Instant>,
}

type DeletionKey = (StorageId, BlockId, GenStamp);

#[derive(Debug)]
struct Deletion {
    node: NodeId,
    due: u64,
    handed: Option<Instant>,
}

/// A look at a replica that may be damaged or lost.
#[derive(Debug)]
struct Check {
    node: NodeId,
    length: ByteSize,
    handed: Option<Instant>,
}

#[derive(Debug, Default)]
struct Tasks {
    copies: BTreeMap<BlockId, Copy>,
    checks: BTreeMap<DeletionKey, Check>,
    deletions: BTreeMap<DeletionKey, Deletion>,
    orders: BTreeMap<(BlockId, StorageId), Order>,
    scrubs: BTreeMap<NodeId, Scrub>,
}

#[derive(Debug, Default)]
pub(crate) struct Board {
    tasks: Mutex<Tasks>,
}

impl Board {
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn clear(&self) {
        *self.tasks() = Tasks::default();
    }

    pub(super) fn has_room(&self) -> bool {
        self.tasks().copies.len() < COPIES
    }

    pub(super) fn copies(&self) -> usize {
        self.tasks().copies.len()
    }

    /// Tasks that wait or run, by kind.
    pub(crate) fn counts(&self) -> [(&'static str, usize); 5] {
        let tasks = self.tasks();
        [
            ("copy", tasks.copies.len()),
            ("check", tasks.checks.len()),
            ("delete", tasks.deletions.len()),
            ("recover", tasks.orders.len()),
            ("scrub", tasks.scrubs.len()),
        ]
    }

    pub(super) fn is_copying(&self, block: BlockId) -> bool {
        self.tasks().copies.contains_key(&block)
    }

    pub(super) fn copy(&self, block: BlockId, target: BlockLocation, urgency: Urgency, task: v1::CopyReplica) {
        let copy = Copy { node: target.node, urgency, task, target: target.storage, started: None };
        self.tasks().copies.insert(block, copy);
    }

    /// A copy has ended, well or not.
    pub(super) fn copied(&self, block: BlockId) {
        self.tasks().copies.remove(&block);
    }

    /// Has a node look at a replica. Without room it is forgotten, and found again by the next comparison.
    pub(super) fn check(&self, location: BlockLocation, block: BlockId, generation: GenStamp, length: ByteSize) {
        let mut tasks = self.tasks();
        if tasks.checks.len() < CHECKS {
            let check = Check { node: location.node, length, handed: None };
            tasks.checks.entry((location.storage, block, generation)).or_insert(check);
        }
    }

    /// A replica was looked at, or could not be.
    pub(super) fn checked(&self, storage: StorageId, block: BlockId, generation: GenStamp) {
        self.tasks().checks.remove(&(storage, block, generation));
    }

    /// Gives up copies onto storages that are not `alive` any more.
    pub(super) fn give_up(&self, alive: impl Fn(StorageId) -> bool) {
        self.tasks().copies.retain(|_, copy| alive(copy.target));
    }

    /// Has a node do a step of the recovery of a block, in place of an earlier step.
    pub(super) fn order(&self, block: BlockId, location: BlockLocation, task: v1::task::Kind) {
        let order = Order { node: location.node, task, handed: None };
        self.tasks().orders.insert((block, location.storage), order);
    }

    /// A step has its result.
    pub(super) fn ordered(&self, block: BlockId, storage: StorageId) {
        self.tasks().orders.remove(&(block, storage));
    }

    /// No step of the recovery of a block is wanted any more.
    pub(super) fn withdraw(&self, block: BlockId) {
        self.tasks().orders.retain(|(ordered, _), _| *ordered != block);
    }

    /// Has nodes check everything that they have, in place of an earlier pass that they have not begun.
    pub(super) fn scrub(&self, nodes: &[NodeId], pass: u64) {
        let mut tasks = self.tasks();
        for node in nodes {
            let scrub = tasks.scrubs.entry(*node).or_insert(Scrub { pass, handed: None });
            if scrub.pass != pass {
                *scrub = Scrub { pass, handed: None };
            }
        }
    }

    /// A node has begun a pass.
    pub(super) fn scrubs(&self, node: NodeId, pass: u64) {
        let mut tasks = self.tasks();
        if tasks.scrubs.get(&node).is_some_and(|scrub| scrub.pass == pass) {
            tasks.scrubs.remove(&node);
        }
    }

    /// How many more deletions a storage may be given.
    pub(super) fn deletion_room(&self, storage: StorageId, most: usize) -> usize {
        let tasks = self.tasks();
        let now = Instant::now();
        let waits = |deletion: &Deletion| deletion.handed.is_none_or(|handed| now - handed < DELETE_RETRY);
        most.saturating_sub(of_storage(&tasks, storage).filter(|deletion| waits(deletion)).count())
    }

    pub(super) fn offer_deletions(&self, location: BlockLocation, due: &[DeletedReplica], room: usize) {
        let mut tasks = self.tasks();
        let now = Instant::now();
        let mut left = room;
        for replica in due {
            if left == 0 {
                break;
            }
            let key = (location.storage, replica.block, replica.generation);
            let known = tasks.deletions.get(&key);
            if known.is_some_and(|known| known.handed.is_none_or(|handed| now - handed < DELETE_RETRY)) {
                continue;
            }
            left -= 1;
            tasks.deletions.insert(key, Deletion { node: location.node, due: replica.due.nanos(), handed: None });
        }
    }

    /// The record of these duties is gone from the state.
    pub(super) fn deleted(&self, storage: StorageId, replicas: &[DeletedReplica]) {
        let mut tasks = self.tasks();
        for replica in replicas {
            tasks.deletions.remove(&(storage, replica.block, replica.generation));
        }
    }

    /// The tasks that a node is to begin now: all its steps of recoveries and deletions, and copies up to `most` at a time,
    /// most urgent first.
    pub(crate) fn hand_out(&self, node: NodeId, most: u32, copy_timeout: Duration) -> Vec<v1::Task> {
        let mut tasks = self.tasks();
        let now = Instant::now();
        let mut handed = Vec::new();
        for order in tasks.orders.values_mut().filter(|order| order.node == node) {
            if order.handed.is_none_or(|handed| now - handed >= ORDER_RETRY) {
                order.handed = Some(now);
                handed.push(v1::Task { kind: Some(order.task.clone()) });
            }
        }
        if let Some(scrub) = tasks.scrubs.get_mut(&node)
            && scrub.handed.is_none_or(|handed| now - handed >= ORDER_RETRY)
        {
            scrub.handed = Some(now);
            handed.push(v1::Task { kind: Some(v1::task::Kind::Scrub(v1::Scrub { pass: scrub.pass })) });
        }
        for ((storage, block, generation), deletion) in &mut tasks.deletions {
            if deletion.node == node && deletion.handed.is_none() {
                deletion.handed = Some(now);
                let delete = v1::DeleteReplica {
                    storage: storage.as_bytes().to_vec(),
                    block: Some((*block).into()),
                    generation: generation.get(),
                    due: deletion.due,
                };
                handed.push(v1::Task { kind: Some(v1::task::Kind::Delete(delete)) });
            }
        }
        // As is a look that takes too long.
        tasks.checks.retain(|_, check| check.handed.is_none_or(|handed| now - handed < copy_timeout));
        let open = tasks.checks.iter_mut().filter(|(_, check)| check.node == node && check.handed.is_none());
        for ((storage, block, generation), check) in open.take(CHECKS_AT_ONCE) {
            check.handed = Some(now);
            let check = v1::CheckReplica {
                storage: storage.as_bytes().to_vec(),
                block: Some((*block).into()),
                generation: generation.get(),
                length: check.length.get(),
            };
            handed.push(v1::Task { kind: Some(v1::task::Kind::Check(check)) });
        }
        // A copy that takes too long is forgotten; the scan plans anew from what is there then.
        tasks.copies.retain(|_, copy| copy.started.is_none_or(|started| now - started < copy_timeout + copy.paced()));
        let mut own: Vec<&mut Copy> = tasks.copies.values_mut().filter(|copy| copy.node == node).collect();
        let running = own.iter().filter(|copy| copy.started.is_some()).count();
        own.retain(|copy| copy.started.is_none());
        own.sort_by_key(|copy| copy.urgency);
        for copy in own.into_iter().take((most as usize).saturating_sub(running)) {
            copy.started = Some(now);
            handed.push(v1::Task { kind: Some(v1::task::Kind::Copy(copy.task.clone())) });
        }
        handed
    }
}

fn of_storage(tasks: &Tasks, storage: StorageId) -> impl Iterator<Item = &Deletion> {
    tasks.deletions.iter().filter(move |((key, _, _), _)| *key == storage).map(|(_, deletion)| deletion)
}

#[cfg(test)]
mod tests {
    use types::{InodeId, Timestamp};

    use super::*;

    const LOCATION: BlockLocation = BlockLocation { node: NodeId::new(1), storage: StorageId::from_bytes([7; 16]) };

    fn block(inode: u64) -> BlockId {
        BlockId::new(InodeId::new(inode), 0)
    }

    fn copied_blocks(tasks: &[v1::Task]) -> Vec<u64> {
        let inode = |task: &v1::Task| match &task.kind {
            Some(v1::task::Kind::Copy(copy)) => copy.block.expect("set").inode,
            other => panic!("{other:?}"),
        };
        tasks.iter().map(inode).collect()
    }

    #[test]
    fn a_node_copies_the_most_urgent_first_and_few_at_a_time() {
        let board = Board::default();
        for (inode, live) in [(1, 2), (2, 1), (3, 1)] {
            let task = v1::CopyReplica { block: Some(block(inode).into()), ..Default::default() };
            board.copy(block(inode), LOCATION, Urgency { tidying: false, live, racks: 1 }, task);
        }
        let hour = Duration::from_secs(3600);
        assert!(board.hand_out(NodeId::new(2), 2, hour).is_empty());
        assert_eq!(copied_blocks(&board.hand_out(NodeId::new(1), 2, hour)), [2, 3]);
        assert!(board.hand_out(NodeId::new(1), 2, hour).is_empty());
        board.copied(block(2));
        assert_eq!(copied_blocks(&board.hand_out(NodeId::new(1), 2, hour)), [1]);
        assert!(board.hand_out(NodeId::new(1), 2, Duration::ZERO).is_empty());
        assert_eq!(board.copies(), 0, "copies that take too long are forgotten");
    }

    #[test]
    fn a_deletion_is_handed_out_once() {
        let board = Board::default();
        let due = |inode| DeletedReplica { due: Timestamp::EPOCH, block: block(inode), generation: GenStamp::FIRST };
        board.offer_deletions(LOCATION, &[due(1), due(2)], 1);
        assert_eq!(board.hand_out(NodeId::new(1), 1, Duration::ZERO).len(), 1);
        board.offer_deletions(LOCATION, &[due(1), due(2)], 9);
        assert_eq!(board.hand_out(NodeId::new(1), 1, Duration::ZERO).len(), 1);
        assert_eq!(board.deletion_room(LOCATION.storage, 5), 3);
        board.deleted(LOCATION.storage, &[due(1), due(2)]);
        assert_eq!(board.deletion_room(LOCATION.storage, 5), 5);
    }

    #[test]
    fn a_node_is_told_to_scrub_until_it_has_begun_that_pass() {
        let board = Board::default();
        let hand_out = |node| board.hand_out(NodeId::new(node), 1, Duration::ZERO);
        let scrub = |pass| vec![v1::Task { kind: Some(v1::task::Kind::Scrub(v1::Scrub { pass })) }];
        board.scrub(&[NodeId::new(1), NodeId::new(2)], 7);
        assert_eq!((hand_out(1), hand_out(1), hand_out(3)), (scrub(7), vec![], vec![]));
        board.scrub(&[NodeId::new(1)], 8);
        board.scrubs(NodeId::new(1), 7);
        assert_eq!(hand_out(1), scrub(8), "another one was asked for meanwhile");
        board.scrubs(NodeId::new(2), 7);
        assert_eq!(hand_out(2), vec![]);
    }

    #[test]
    fn a_step_of_a_recovery_is_handed_out_until_it_has_a_result() {
        let board = Board::default();
        let hand_out = || board.hand_out(NodeId::new(1), 1, Duration::ZERO);
        let offer = |generation| v1::task::Kind::Offer(v1::OfferReplica { generation, ..Default::default() });
        board.order(block(1), LOCATION, offer(2));
        assert_eq!(hand_out(), [v1::Task { kind: Some(offer(2)) }]);
        assert!(hand_out().is_empty(), "not at once again");
        board.order(block(1), LOCATION, offer(3));
        assert_eq!(hand_out(), [v1::Task { kind: Some(offer(3)) }], "a later one takes its place");
        board.order(block(1), LOCATION, offer(4));
        board.order(block(2), LOCATION, offer(5));
        board.ordered(block(1), LOCATION.storage);
        assert_eq!(hand_out(), [v1::Task { kind: Some(offer(5)) }]);
        board.order(block(2), LOCATION, offer(6));
        board.withdraw(block(2));
        assert!(hand_out().is_empty());
    }
}
