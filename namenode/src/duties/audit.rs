//! Compares what the disks hold with what the state says they hold.
//!
//! A storage is due when its datanode or the leader is new to the other, when a change was missed, and every
//! `digest_interval`. Then its digests are compared with those of a pass over all blocks. Of the buckets that differ,
//! another pass collects what the state says, a bounded number at a time, and the datanode lists them page by page. Each
//! difference is decided on the row as it is then (`namespace::inventory`).
//!
//! The passes take a page of blocks for each round of duties, from a snapshot of their own each: nothing waits for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use namespace::command::{Command, DeletedReplica, Unlisted};
use namespace::inventory::{self, Difference, Expected, Known, Page, Verdict};
use namespace::query;
use namespace::repair::{self, Facts, Urgency};
use namespace::row::{BlockLocation, BlockRow, BlockState};
use namespace::view::{View, ViewError};
use tracing::{debug, info, warn};
use types::inventory::{BUCKETS, Bucket, Digest, Stored};
use types::{BlockId, StorageId};

use super::Duties;
use super::inventories::Place;
use crate::wire::Delta;

/// Rows looked at in one go.
const PAGE: usize = 1000;
/// Replicas that the state says are in the buckets of one pass; at least one bucket is always taken.
const COLLECTED: u64 = 200_000;
/// A bucket whose next page does not come for so long is left for the next comparison.
const PATIENCE: Duration = Duration::from_secs(60);
/// Storages due at about the same time share a pass.
const SETTLE: Duration = Duration::from_millis(200);
/// Replicas in one command.
const DROPPED: usize = 1000;
/// A comparison that found more to do than it could is made again after so long.
const AGAIN: Duration = Duration::from_secs(5);

/// The comparison of one term.
pub(super) struct Audit {
    /// When every storage is due again.
    due: Instant,
    step: Step,
    /// Buckets that differ and are not looked at yet.
    waiting: BTreeMap<Place, Waiting>,
    /// Buckets that differ for good reasons, as long as neither side changes.
    settled: BTreeMap<Place, (Digest, Digest)>,
    /// Something was found that could not be done yet.
    unfinished: bool,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// About how many replicas the state says are in it.
    replicas: u64,
    /// Of the disk and of the state, if digests told that they differ.
    digests: Option<(Digest, Digest)>,
}

enum Step {
    Idle { ready: Option<Instant> },
    Summing(Summing),
    Collecting(Collecting),
    Listing(Listing),
}

type Sums = Vec<(Digest, u64)>;

struct Summing {
    started: Instant,
    after: Option<BlockId>,
    disks: BTreeMap<StorageId, Vec<Digest>>,
    sums: BTreeMap<StorageId, Sums>,
}

struct Collecting {
    after: Option<BlockId>,
    blocks_done: bool,
    expected: BTreeMap<Place, Collected>,
    /// Storages whose removals are still to be read, and the last one read of the first of them.
    removals: Vec<StorageId>,
    last_removal: Option<DeletedReplica>,
}

struct Collected {
    digests: Option<(Digest, Digest)>,
    expected: BTreeMap<BlockId, Expected>,
}

struct Listing {
    open: BTreeMap<Place, Open>,
}

/// A bucket that is being listed.
struct Open {
    collected: Collected,
    since: Instant,
    acted: bool,
}

impl Audit {
    pub(super) fn new(now: Instant, interval: Duration) -> Self {
        Self {
            due: now + interval,
            step: Step::Idle { ready: None },
            waiting: BTreeMap::new(),
            settled: BTreeMap::new(),
            unfinished: false,
        }
    }

    /// Whether it has work that waits for nobody.
    pub(super) fn running(&self) -> bool {
        match self.step {
            Step::Summing(_) | Step::Collecting(_) => true,
            Step::Idle { .. } | Step::Listing(_) => false,
        }
    }
}

/// What came from datanodes since the last round.
#[derive(Default)]
pub(super) struct Told {
    pub(super) changes: Vec<(BlockLocation, Delta)>,
    pub(super) pages: Vec<(Place, Page)>,
}

/// What disks have beside what the state lists, by storage.
#[derive(Default)]
struct Beside {
    /// To be dropped.
    drops: BTreeMap<StorageId, (BlockLocation, Vec<Unlisted>)>,
    /// Of inodes that were never handed out: the first, and how many.
    strangers: BTreeMap<StorageId, (BlockId, u64)>,
}

impl Duties {
    pub(super) fn audit(&self, audit: &mut Audit, told: Told, may_delete: bool) -> Result<(), ViewError> {
        let facts = self.datanodes.repair_facts();
        let mut beside = Beside::default();
        for (location, delta) in told.changes {
            self.changed(audit, location, &delta, &facts, &mut beside)?;
        }
        for (place, page) in told.pages {
            self.listed(audit, place, &page, &facts, &mut beside)?;
        }
        for (storage, (first, replicas)) in beside.strangers {
            warn!(%storage, replicas, %first, "replicas of inodes that were never handed out are left: is the disk of another state?");
        }
        if may_delete {
            self.drop_unlisted(beside.drops);
        } else {
            audit.unfinished |= !beside.drops.is_empty();
        }
        self.go_on(audit)
    }

    fn go_on(&self, audit: &mut Audit) -> Result<(), ViewError> {
        match &mut audit.step {
            Step::Idle { ready } => {
                let now = Instant::now();
                if now >= audit.due {
                    audit.due = now + self.settings.digest_interval;
                    self.inventories.all_due();
                }
                if self.inventories.any_ready() {
                    let since = *ready.get_or_insert(now);
                    if now - since >= SETTLE {
                        audit.step = Step::Summing(Summing::new(self.inventories.take_due()));
                    }
                } else if !audit.waiting.is_empty() {
                    audit.step = self.collect(&mut audit.waiting);
                } else if std::mem::take(&mut audit.unfinished) {
                    audit.due = audit.due.min(now + AGAIN);
                }
                Ok(())
            }
            Step::Summing(summing) => {
                if summing.page(&self.store.state().snapshot())? {
                    summing.differences(&mut audit.settled, &mut audit.waiting);
                    audit.step = Step::Idle { ready: None };
                }
                Ok(())
            }
            Step::Collecting(collecting) => {
                if collecting.page(&self.store.state().snapshot())? {
                    let expected = std::mem::take(&mut collecting.expected);
                    audit.step = self.list(expected);
                }
                Ok(())
            }
            Step::Listing(listing) => {
                listing.open.retain(|place, open| {
                    let waits = open.since.elapsed() < PATIENCE;
                    if !waits {
                        warn!(storage = %place.0, bucket = place.1.number(), "a datanode does not list what it was asked for");
                        self.inventories.ask_no_more(place);
                    }
                    waits
                });
                if listing.open.is_empty() {
                    audit.step = Step::Idle { ready: None };
                }
                Ok(())
            }
        }
    }

    /// Takes as many buckets as one pass may collect.
    fn collect(&self, waiting: &mut BTreeMap<Place, Waiting>) -> Step {
        let mut expected = BTreeMap::new();
        let mut room = COLLECTED;
        while let Some((place, Waiting { replicas, digests })) = waiting.pop_first() {
            expected.insert(place, Collected { digests, expected: BTreeMap::new() });
            room = room.saturating_sub(replicas);
            if waiting.first_key_value().is_none_or(|(_, next)| next.replicas > room) {
                break;
            }
        }
        let storages: BTreeSet<StorageId> = expected.keys().map(|(storage, _)| *storage).collect();
        let removals = storages.into_iter().collect();
        Step::Collecting(Collecting { after: None, blocks_done: false, expected, removals, last_removal: None })
    }

    fn list(&self, collected: BTreeMap<Place, Collected>) -> Step {
        let since = Instant::now();
        let mut open = BTreeMap::new();
        for (place, collected) in collected {
            if let Some(node) = self.inventories.node_of(place.0) {
                self.inventories.ask(place, node, None);
                open.insert(place, Open { collected, since, acted: false });
            }
        }
        Step::Listing(Listing { open })
    }

    /// A datanode said what happened to a replica.
    fn changed(
        &self,
        audit: &mut Audit,
        location: BlockLocation,
        delta: &Delta,
        facts: &Facts,
        beside: &mut Beside,
    ) -> Result<(), ViewError> {
        let difference = match delta {
            Delta::Stored(stored) => Difference::Unexpected(*stored),
            Delta::Deleted { block, .. } => Difference::Missing(*block),
            Delta::Left { block, generation } => Difference::Left { block: *block, generation: *generation },
            Delta::Strayed(bucket) => {
                let waiting = Waiting { replicas: PAGE as u64, digests: None };
                audit.waiting.entry((location.storage, *bucket)).or_insert(waiting);
                return Ok(());
            }
            // The duties have reported it already.
            Delta::Bad { .. } => return Ok(()),
        };
        self.decide(location, &difference, facts, beside).map(drop)
    }

    fn listed(
        &self,
        audit: &mut Audit,
        place: Place,
        page: &Page,
        facts: &Facts,
        beside: &mut Beside,
    ) -> Result<(), ViewError> {
        let Step::Listing(listing) = &mut audit.step else { return Ok(()) };
        let Some(open) = listing.open.get_mut(&place) else { return Ok(()) };
        let Some(node) = self.inventories.node_of(place.0) else { return Ok(()) };
        if !self.inventories.is_answered(&place, page) {
            return Ok(());
        }
        let location = BlockLocation { node, storage: place.0 };
        for difference in inventory::compare(&open.collected.expected, page) {
            open.acted |= self.decide(location, &difference, facts, beside)?;
        }
        open.since = Instant::now();
        match page.until {
            Some(until) => self.inventories.ask(place, node, Some(until)),
            None => {
                if let (false, Some(digests)) = (open.acted, open.collected.digests) {
                    audit.settled.insert(place, digests);
                }
                listing.open.remove(&place);
            }
        }
        Ok(())
    }

    /// Decides about a difference on the row as it is now. True: something is to be done.
    fn decide(
        &self,
        location: BlockLocation,
        difference: &Difference,
        facts: &Facts,
        beside: &mut Beside,
    ) -> Result<bool, ViewError> {
        let block = match difference {
            Difference::Missing(block)
            | Difference::Unexpected(Stored { block, .. })
            | Difference::Left { block, .. } => *block,
        };
        if self.board.is_copying(block) {
            return Ok(true);
        }
        let held = self.store.state();
        let state = held.snapshot();
        let row = query::block(&state, block)?;
        let known = match &row {
            Some(row) => Known::Row(row),
            None if query::was_handed_out(&state, block.inode())? => Known::Removed,
            None => Known::NeverHandedOut,
        };
        match (inventory::judge(known, location.storage, difference, facts), &row, difference) {
            (Verdict::Leave, None, Difference::Unexpected(_)) => {
                let (_, strangers) = beside.strangers.entry(location.storage).or_insert((block, 0));
                *strangers += 1;
                return Ok(false);
            }
            (Verdict::Leave, ..) => return Ok(false),
            // The bucket is not settled: it is listed again at the next comparison.
            (Verdict::Wait, ..) => return Ok(true),
            (Verdict::Check { generation, length }, ..) => {
                info!(%block, storage = %location.storage, "a replica is not as it should be; its datanode is to look at it");
                self.board.check(location, block, generation, length);
            }
            (Verdict::Adopt, Some(row), _) => {
                info!(%block, storage = %location.storage, "a replica that is not listed is wanted");
                self.adopt(block, row, location, facts);
            }
            (
                Verdict::Drop,
                _,
                Difference::Unexpected(Stored { generation, .. }) | Difference::Left { generation, .. },
            ) => {
                debug!(%block, %generation, storage = %location.storage, "nothing needs this replica");
                let (_, replicas) = beside.drops.entry(location.storage).or_insert_with(|| (location, Vec::new()));
                replicas.push(Unlisted { block, generation: *generation });
            }
            (Verdict::Adopt, None, _) | (Verdict::Drop, _, Difference::Missing(_)) => {
                unreachable!("only what is there is dropped, and only for a block that is there it is adopted")
            }
        }
        Ok(true)
    }

    fn drop_unlisted(&self, drops: BTreeMap<StorageId, (BlockLocation, Vec<Unlisted>)>) {
        let grace_nanos = u64::try_from(self.effective.now().delete_grace.as_nanos()).unwrap_or(u64::MAX);
        for (location, replicas) in drops.into_values() {
            info!(storage = %location.storage, replicas = replicas.len(), "nothing needs these replicas");
            for replicas in replicas.chunks(DROPPED) {
                let command = Command::DropUnlisted { location, replicas: replicas.to_vec(), grace_nanos };
                for outcome in self.propose(vec![command]) {
                    if let Err(error) = outcome {
                        debug!(%error, "replicas that nothing needs cannot be dropped");
                    }
                }
            }
        }
    }
}

impl Summing {
    fn new(due: Vec<(BlockLocation, Vec<Digest>)>) -> Self {
        let disks: BTreeMap<_, _> = due.into_iter().map(|(location, digests)| (location.storage, digests)).collect();
        let sums = disks.keys().map(|storage| (*storage, vec![(Digest::default(), 0); BUCKETS])).collect();
        Self { started: Instant::now(), after: None, disks, sums }
    }

    /// True: that was the last page.
    fn page(&mut self, state: &impl View) -> Result<bool, ViewError> {
        let page = query::blocks(state, self.after, PAGE)?;
        for (block, row) in &page {
            let stored = Stored { block: *block, generation: row.generation, length: row.length };
            for location in kept(row) {
                if let Some(sums) = self.sums.get_mut(&location.storage) {
                    let (digest, replicas) = &mut sums[Bucket::of(*block).index()];
                    digest.add(&stored);
                    *replicas += 1;
                }
            }
        }
        self.after = page.last().map(|(block, _)| *block).or(self.after);
        Ok(page.len() < PAGE)
    }

    fn differences(&self, settled: &mut BTreeMap<Place, (Digest, Digest)>, waiting: &mut BTreeMap<Place, Waiting>) {
        let mut differing = 0;
        for (storage, sums) in &self.sums {
            let disk = &self.disks[storage];
            for bucket in Bucket::all() {
                let place = (*storage, bucket);
                let ((state, replicas), disk) = (sums[bucket.index()], disk[bucket.index()]);
                if state == disk {
                    settled.remove(&place);
                } else if settled.get(&place) != Some(&(disk, state)) {
                    differing += 1;
                    settled.remove(&place);
                    waiting.insert(place, Waiting { replicas: replicas.max(1), digests: Some((disk, state)) });
                }
            }
        }
        let (storages, took) = (self.sums.len(), self.started.elapsed());
        debug!(storages, differing, ?took, "the digests of storages were compared");
    }
}

/// The complete replicas that a row says are on disks.
fn kept(row: &BlockRow) -> impl Iterator<Item = &BlockLocation> {
    let written = row.state == BlockState::Committed;
    row.replicas.iter().chain(&row.bad).filter(move |_| written)
}

impl Collecting {
    /// True: that was the last page.
    fn page(&mut self, state: &impl View) -> Result<bool, ViewError> {
        if !self.blocks_done {
            self.blocks(state)?;
        } else if let Some(storage) = self.removals.last().copied() {
            self.removals_of(state, storage)?;
        }
        Ok(self.blocks_done && self.removals.is_empty())
    }

    fn blocks(&mut self, state: &impl View) -> Result<(), ViewError> {
        let page = query::blocks(state, self.after, PAGE)?;
        for (block, row) in &page {
            let bucket = Bucket::of(*block);
            for location in kept(row) {
                let Some(collected) = self.expected.get_mut(&(location.storage, bucket)) else { continue };
                let (generation, length, bad) = (row.generation, row.length, row.bad.contains(location));
                collected.expected.insert(*block, Expected::Kept { generation, length, bad });
            }
        }
        self.after = page.last().map(|(block, _)| *block).or(self.after);
        self.blocks_done = page.len() < PAGE;
        Ok(())
    }

    /// Read last: what was listed and is scheduled for deletion by now may be gone from the disk.
    fn removals_of(&mut self, state: &impl View, storage: StorageId) -> Result<(), ViewError> {
        let page = query::removals(state, storage, self.last_removal.as_ref(), PAGE)?;
        for removal in &page {
            if let Some(collected) = self.expected.get_mut(&(storage, Bucket::of(removal.block))) {
                collected.expected.insert(removal.block, Expected::Leaving { generation: removal.generation });
            }
        }
        self.last_removal = page.last().copied();
        if page.len() < PAGE {
            self.removals.pop();
            self.last_removal = None;
        }
        Ok(())
    }
}

impl Duties {
    /// Has the datanode read the replica, as if it had copied it there: then it is listed.
    fn adopt(&self, block: BlockId, row: &BlockRow, location: BlockLocation, facts: &Facts) {
        let health = repair::health(row, facts);
        let urgency = Urgency { tidying: false, live: health.live, racks: 0 };
        let others: Vec<BlockLocation> =
            row.replicas.iter().filter(|other| facts.members.contains_key(&other.storage)).copied().collect();
        self.plan_copy(block, row, &others, location, urgency, facts);
    }
}
