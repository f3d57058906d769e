//! Tasks for datanodes: planned by the duties, handed out in the answers to heartbeats.
//!
//! Copies are handed out within a budget of bytes for each node, as a target and as a source: the most urgent first, each
//! from the source that has least to serve. What would go over a budget waits; a copy larger than all of it goes alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use namespace::command::DeletedReplica;
use namespace::repair::Urgency;
use namespace::row::{BlockLocation, BlockRow};
use proto::v1;
use types::{BlockId, ByteSize, Code, GenStamp, NodeId, StorageId};

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
    /// So many of the sources, from the first, answer well: any of them will do.
    lively: usize,
    task: v1::CopyReplica,
    target: StorageId,
    /// When it was handed out, and who serves it first.
    started: Option<(Instant, NodeId)>,
}

/// What a node may be given at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CopyBudget {
    pub(crate) copies: u32,
    /// As a target, and once more as a source.
    pub(crate) bytes: ByteSize,
    /// A copy without a result for so long is given up.
    pub(crate) timeout: Duration,
}

impl Copy {
    /// What its bytes take at the rate that it has to keep.
    fn paced(&self) -> Duration {
        Duration::from_secs(self.task.length.checked_div(self.task.rate).unwrap_or(0))
    }
}

/// A step of a recovery, or a part of a file that is to be joined, for one replica.
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

/// A replica that somebody wants read, and waits.
#[derive(Debug)]
struct Verify {
    node: NodeId,
    length: ByteSize,
    handed: Option<Instant>,
    /// Dropped without a word when nobody could tell. Several, where several wait.
    told: Vec<Sender<Verified>>,
}

/// What became of a replica that was to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) block: BlockId,
    pub(crate) storage: StorageId,
    /// What is wrong with it, or why it cannot be told.
    pub(crate) error: Option<Code>,
}

#[derive(Debug, Default)]
struct Tasks {
    copies: BTreeMap<BlockId, Copy>,
    checks: BTreeMap<DeletionKey, Check>,
    verifies: BTreeMap<DeletionKey, Verify>,
    deletions: BTreeMap<DeletionKey, Deletion>,
    orders: BTreeMap<(BlockId, StorageId), Order>,
    scrubs: BTreeMap<NodeId, Scrub>,
}

#[derive(Debug, Default)]
pub(crate) struct Board {
    tasks: Mutex<Tasks>,
    /// Nothing is to be changed: no copy is taken on.
    held: AtomicBool,
}

impl Board {
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn clear(&self) {
        *self.tasks() = Tasks::default();
    }

    pub(super) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn has_room(&self) -> bool {
        !self.is_held() && self.tasks().copies.len() < COPIES
    }

    pub(super) fn copies(&self) -> usize {
        self.tasks().copies.len()
    }

    /// Tasks that wait or run, by kind.
    pub(crate) fn counts(&self) -> [(&'static str, usize); 6] {
        let tasks = self.tasks();
        let is_gather = |order: &&Order| matches!(order.task, v1::task::Kind::Gather(_));
        let gathers = tasks.orders.values().filter(is_gather).count();
        [
            ("copy", tasks.copies.len()),
            ("check", tasks.checks.len()),
            ("delete", tasks.deletions.len()),
            ("recover", tasks.orders.len() - gathers),
            ("gather", gathers),
            ("scrub", tasks.scrubs.len()),
        ]
    }

    pub(super) fn is_copying(&self, block: BlockId) -> bool {
        self.tasks().copies.contains_key(&block)
    }

    /// Has a copy made. The first `lively` of its sources are as good as each other.
    pub(super) fn copy(
        &self,
        block: BlockId,
        target: BlockLocation,
        urgency: Urgency,
        lively: usize,
        task: v1::CopyReplica,
    ) {
        let copy = Copy { node: target.node, urgency, lively, task, target: target.storage, started: None };
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
    pub(super) fn checked(&self, storage: StorageId, block: BlockId, generation: GenStamp, error: Option<Code>) {
        let mut tasks = self.tasks();
        tasks.checks.remove(&(storage, block, generation));
        if let Some(verify) = tasks.verifies.remove(&(storage, block, generation)) {
            for told in verify.told {
                // Who asked may be gone.
                let _ = told.send(Verified { block, storage, error });
            }
        }
    }

    /// Has a node read a replica, for somebody who waits. The other end hears of it, or finds the channel closed.
    pub(crate) fn verify(&self, location: BlockLocation, block: BlockId, row: &BlockRow, told: Sender<Verified>) {
        let new = || Verify { node: location.node, length: row.length, handed: None, told: Vec::new() };
        let mut tasks = self.tasks();
        tasks.verifies.entry((location.storage, block, row.generation)).or_insert_with(new).told.push(told);
    }

    /// Gives up copies onto storages that are not `alive` any more.
    pub(super) fn give_up(&self, alive: impl Fn(StorageId) -> bool) {
        self.tasks().copies.retain(|_, copy| alive(copy.target));
    }

    /// Has a node do a step for a replica, in place of an earlier step.
    pub(super) fn order(&self, block: BlockId, location: BlockLocation, task: v1::task::Kind) {
        let order = Order { node: location.node, task, handed: None };
        self.tasks().orders.insert((block, location.storage), order);
    }

    /// A step has its result.
    pub(super) fn ordered(&self, block: BlockId, storage: StorageId) {
        self.tasks().orders.remove(&(block, storage));
    }

    /// No step for a block is wanted any more.
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

    /// The tasks that a node is to begin now: all its steps of recoveries and deletions, and copies within its budget.
    pub(crate) fn hand_out(&self, node: NodeId, budget: CopyBudget) -> Vec<v1::Task> {
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
        tasks.checks.retain(|_, check| check.handed.is_none_or(|handed| now - handed < budget.timeout));
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
        tasks.verifies.retain(|_, verify| verify.handed.is_none_or(|handed| now - handed < budget.timeout));
        let open = tasks.verifies.iter_mut().filter(|(_, verify)| verify.node == node && verify.handed.is_none());
        for ((storage, block, generation), verify) in open.take(CHECKS_AT_ONCE) {
            verify.handed = Some(now);
            let check = v1::CheckReplica {
                storage: storage.as_bytes().to_vec(),
                block: Some((*block).into()),
                generation: generation.get(),
                length: verify.length.get(),
            };
            handed.push(v1::Task { kind: Some(v1::task::Kind::Check(check)) });
        }
        // A copy that takes too long is forgotten; the scan plans anew from what is there then.
        let is_late =
            |copy: &Copy| copy.started.is_some_and(|(started, _)| now - started >= budget.timeout + copy.paced());
        tasks.copies.retain(|_, copy| !is_late(copy));
        handed.extend(tasks.begin_copies(node, budget, now));
        handed
    }
}

impl Tasks {
    /// Begins the copies of a node that fit its budget and those of their sources.
    fn begin_copies(&mut self, node: NodeId, budget: CopyBudget, now: Instant) -> Vec<v1::Task> {
        let mut serving: BTreeMap<NodeId, u64> = BTreeMap::new();
        let (mut running, mut taking) = (0, 0);
        for copy in self.copies.values() {
            let Some((_, source)) = copy.started else { continue };
            *serving.entry(source).or_default() += copy.task.length;
            if copy.node == node {
                running += 1;
                taking += copy.task.length;
            }
        }
        // One that is larger than the budget goes when there is nothing else.
        let fits = |used: u64, more: u64| used == 0 || used.saturating_add(more) <= budget.bytes.get();
        let mut waiting: Vec<&mut Copy> =
            self.copies.values_mut().filter(|copy| copy.node == node && copy.started.is_none()).collect();
        waiting.sort_by_key(|copy| copy.urgency);
        let mut begun = Vec::new();
        for copy in waiting {
            if running >= budget.copies || !fits(taking, copy.task.length) {
                break;
            }
            let lively = copy.lively.min(copy.task.sources.len());
            let load = |source: &v1::Location| serving.get(&NodeId::new(source.node)).copied().unwrap_or(0);
            copy.task.sources[..lively].sort_by_key(load);
            // Without a source there is only something to look at that is there already.
            let (source, load) = match copy.task.sources.first() {
                Some(first) => (NodeId::new(first.node), load(first)),
                None => (node, 0),
            };
            // What has one copy left waits for nobody's budget.
            if copy.urgency.live > 1 && !fits(load, copy.task.length) {
                continue;
            }
            *serving.entry(source).or_default() += copy.task.length;
            running += 1;
            taking += copy.task.length;
            copy.started = Some((now, source));
            begun.push(v1::Task { kind: Some(v1::task::Kind::Copy(copy.task.clone())) });
        }
        begun
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

    const BUDGET: CopyBudget = CopyBudget { copies: 9, bytes: ByteSize::new(100), timeout: Duration::from_secs(3600) };
    const NOTHING_WAITS: CopyBudget = CopyBudget { timeout: Duration::ZERO, ..BUDGET };

    /// A copy of so many bytes onto the node of `LOCATION`.
    fn copy(board: &Board, inode: u64, length: u64, live: usize, sources: &[u64]) {
        let location = |node: &u64| v1::Location { node: *node, ..Default::default() };
        let sources: Vec<_> = sources.iter().map(location).collect();
        let lively = sources.len();
        let task = v1::CopyReplica { block: Some(block(inode).into()), length, sources, ..Default::default() };
        board.copy(block(inode), LOCATION, Urgency { tidying: false, live, racks: 1 }, lively, task);
    }

    fn begun(board: &Board) -> Vec<(u64, u64)> {
        let tasks = board.hand_out(NodeId::new(1), BUDGET);
        let source = |task: &v1::Task| match &task.kind {
            Some(v1::task::Kind::Copy(copy)) => copy.sources[0].node,
            other => panic!("{other:?}"),
        };
        copied_blocks(&tasks).into_iter().zip(tasks.iter().map(source)).collect()
    }

    #[test]
    fn copies_are_spread_over_their_sources_and_keep_within_the_bytes() {
        let board = Board::default();
        for inode in 1..=4 {
            copy(&board, inode, 30, 2, &[7, 8]);
        }
        assert_eq!(begun(&board), [(1, 7), (2, 8), (3, 7)], "the fourth would be more than 100 bytes");
        board.copied(block(2));
        assert_eq!(begun(&board), [(4, 8)]);
        assert_eq!(begun(&board), []);
    }

    #[test]
    fn a_busy_source_is_waited_for_unless_it_has_the_last_copy() {
        let board = Board::default();
        copy(&board, 1, 90, 2, &[7]);
        assert_eq!(begun(&board), [(1, 7)]);
        let other = BlockLocation { node: NodeId::new(2), storage: StorageId::from_bytes([8; 16]) };
        for (inode, live) in [(2, 2), (3, 1)] {
            let sources = vec![v1::Location { node: 7, ..Default::default() }];
            let task = v1::CopyReplica { block: Some(block(inode).into()), length: 20, sources, ..Default::default() };
            board.copy(block(inode), other, Urgency { tidying: false, live, racks: 1 }, 1, task);
        }
        assert_eq!(copied_blocks(&board.hand_out(NodeId::new(2), BUDGET)), [3]);
        board.copied(block(1));
        assert_eq!(copied_blocks(&board.hand_out(NodeId::new(2), BUDGET)), [2]);
    }

    #[test]
    fn a_copy_larger_than_the_budget_goes_alone() {
        let board = Board::default();
        copy(&board, 1, 500, 1, &[7]);
        copy(&board, 2, 1, 2, &[8]);
        assert_eq!(begun(&board), [(1, 7)]);
        board.copied(block(1));
        assert_eq!(begun(&board), [(2, 8)]);
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
            copy(&board, inode, 1, live, &[7]);
        }
        let two = CopyBudget { copies: 2, ..BUDGET };
        assert!(board.hand_out(NodeId::new(2), two).is_empty());
        assert_eq!(copied_blocks(&board.hand_out(NodeId::new(1), two)), [2, 3]);
        assert!(board.hand_out(NodeId::new(1), two).is_empty());
        board.copied(block(2));
        assert_eq!(copied_blocks(&board.hand_out(NodeId::new(1), two)), [1]);
        assert!(board.hand_out(NodeId::new(1), CopyBudget { timeout: Duration::ZERO, ..two }).is_empty());
        assert_eq!(board.copies(), 0, "copies that take too long are forgotten");
    }

    #[test]
    fn a_deletion_is_handed_out_once() {
        let board = Board::default();
        let due = |inode| DeletedReplica { due: Timestamp::EPOCH, block: block(inode), generation: GenStamp::FIRST };
        board.offer_deletions(LOCATION, &[due(1), due(2)], 1);
        assert_eq!(board.hand_out(NodeId::new(1), NOTHING_WAITS).len(), 1);
        board.offer_deletions(LOCATION, &[due(1), due(2)], 9);
        assert_eq!(board.hand_out(NodeId::new(1), NOTHING_WAITS).len(), 1);
        assert_eq!(board.deletion_room(LOCATION.storage, 5), 3);
        board.deleted(LOCATION.storage, &[due(1), due(2)]);
        assert_eq!(board.deletion_room(LOCATION.storage, 5), 5);
    }

    #[test]
    fn a_node_is_told_to_scrub_until_it_has_begun_that_pass() {
        let board = Board::default();
        let hand_out = |node| board.hand_out(NodeId::new(node), NOTHING_WAITS);
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
        let hand_out = || board.hand_out(NodeId::new(1), NOTHING_WAITS);
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
