//! The scan over all blocks: counts redundancy, and plans copies and removals.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use namespace::command::Command;
use namespace::query;
use namespace::repair::drain::{Counts, Tally};
use namespace::repair::{self, Facts, Liveness, Urgency, Work};
use namespace::row::{BlockLocation, BlockRow, BlockState, Service};
use namespace::view::ViewError;
use proto::v1;
use tracing::{debug, info};
use types::{BlockId, NodeId};

use super::{Duties, Duty};

/// Blocks looked at in one go.
const PAGE: usize = 1000;
/// A scan takes at most this part of the time, however many blocks there are.
const SHARE: u32 = 10;
/// Spreads the targets of copies; any number does.
const SEED: u64 = 0x5ca4_0b1c;

/// A scan under way, or the pause after it.
pub(super) struct Scan {
    due: Instant,
    running: Option<Running>,
    /// Nodes that were to leave already when the last scan began, and that no block needed then.
    clear: BTreeSet<NodeId>,
}

struct Running {
    started: Instant,
    after: Option<BlockId>,
    counted: Counted,
    counts: Counts,
    /// Nodes that are to leave.
    leaving: BTreeSet<NodeId>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    blocks: u64,
    under_replicated: u64,
    corrupt_replicas: u64,
    missing: u64,
}

/// What the last whole scan found.
#[derive(Debug, Default)]
pub(crate) struct Redundancy(Mutex<Option<Found>>);

#[derive(Debug, Clone)]
struct Found {
    counted: Counted,
    counts: Counts,
    copies: usize,
    at: Instant,
}

impl Redundancy {
    pub(super) fn clear(&self) {
        *self.0.lock().expect("no holder of this lock panics") = None;
    }

    fn found(&self, counted: Counted, counts: Counts, copies: usize) {
        let found = Found { counted, counts, copies, at: Instant::now() };
        *self.0.lock().expect("no holder of this lock panics") = Some(found);
    }

    /// What was counted of a node, if a whole scan was made in this term.
    pub(crate) fn tally(&self, node: NodeId) -> Option<Tally> {
        let found = self.0.lock().expect("no holder of this lock panics");
        Some(found.as_ref()?.counts.tallies.get(&node).copied().unwrap_or_default())
    }

    /// Some of the blocks that held back a node that is to leave, what does not end by itself first.
    pub(crate) fn held(&self, node: NodeId) -> Vec<BlockId> {
        let found = self.0.lock().expect("no holder of this lock panics");
        let held = found.as_ref().and_then(|found| found.counts.held.get(&node));
        held.into_iter().flatten().map(|held| held.block).collect()
    }

    pub(crate) fn wire(&self) -> Option<v1::Redundancy> {
        let found = self.0.lock().expect("no holder of this lock panics");
        let found = found.as_ref()?;
        Some(v1::Redundancy {
            scanned_blocks: found.counted.blocks,
            under_replicated: found.counted.under_replicated,
            corrupt_replicas: found.counted.corrupt_replicas,
            missing: found.counted.missing,
            pending_copies: found.copies as u64,
            scan_age_ms: u64::try_from(found.at.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl Scan {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now, running: None, clear: BTreeSet::new() }
    }

    pub(super) fn running(&self) -> bool {
        self.running.is_some()
    }
}

impl Duties {
    /// Looks at the blocks that are said to be short, and at one more page of all.
    pub(super) fn scan(&self, scan: &mut Scan, short: &BTreeSet<BlockId>, may_delete: bool) -> Result<(), ViewError> {
        let now = Instant::now();
        if scan.running.is_none() && now >= scan.due {
            let leaving = self.look_at_services();
            let (counted, counts) = (Counted::default(), Counts::default());
            let facts = self.datanodes.repair_facts();
            scan.running = Some(Running { started: now, after: None, counted, counts, leaving });
            let dead = |liveness| liveness == Liveness::Dead;
            self.board.give_up(|storage| facts.members.get(&storage).is_some_and(|member| !dead(member.liveness)));
        }
        if scan.running.is_none() && short.is_empty() {
            return Ok(());
        }
        let facts = self.datanodes.repair_facts();
        let mut removals = Vec::new();
        let mut left = Vec::new();
        let held = self.store.state();
        let state = held.snapshot();
        for block in short {
            if let Some(row) = query::block(&state, *block)? {
                removals.extend(self.plan(*block, &row, &facts));
            }
        }
        if let Some(running) = &mut scan.running {
            let page = query::blocks(&state, running.after, PAGE)?;
            let counting = self.datanodes.health_facts();
            for (block, row) in &page {
                running.counted.add(row, &counting);
                running.counts.add(*block, row, &facts);
                removals.extend(self.plan(*block, row, &facts));
            }
            running.after = page.last().map(|(block, _)| *block);
            if page.len() < PAGE {
                let Running { counted, counts, leaving, .. } = &mut *running;
                let clear = |node: &NodeId| counts.tallies.get(node).is_none_or(|tally| tally.left() == 0);
                let clear: BTreeSet<NodeId> = leaving.iter().copied().filter(clear).collect();
                left = clear.intersection(&scan.clear).copied().collect();
                scan.clear = clear;
                self.redundancy.found(*counted, std::mem::take(counts), self.board.copies());
                let took = running.started.elapsed();
                debug!(counted = ?running.counted, ?took, "a scan has ended");
                scan.due = Instant::now() + pause(self.settings.scan_interval, took);
                scan.running = None;
            }
        }
        drop(state);
        drop(held);
        self.may_leave(left);
        if may_delete {
            for removals in removals.chunks(super::GATHER) {
                for outcome in self.propose(removals.to_vec()) {
                    match outcome {
                        Ok(_) => self.standing.done(Duty::Repair, 1),
                        Err(error) => debug!(%error, "a removal is refused"),
                    }
                }
            }
        }
        Ok(())
    }

    /// The nodes that are to leave. Those whose maintenance is over are in service again.
    fn look_at_services(&self) -> BTreeSet<NodeId> {
        let (leaving, over) = self.datanodes.services();
        let end = |(node, service)| {
            info!(%node, "the maintenance of a datanode is over");
            Command::SetService { node, service: Service::InService, only_if: Some(service), by: None }
        };
        for outcome in self.propose(over.into_iter().map(end).collect()) {
            if let Err(error) = outcome {
                debug!(%error, "a maintenance does not end");
            }
        }
        leaving
    }

    /// Says of nodes that nothing needs them any more. Two whole scans in a row have found that: a writer who got targets
    /// before a node was to leave may allocate its block where the first one has been already.
    fn may_leave(&self, nodes: Vec<NodeId>) {
        let leave = |node| {
            info!(%node, "nothing needs a datanode that is to leave any more");
            let only_if = Some(Service::Decommissioning);
            Command::SetService { node, service: Service::Decommissioned, only_if, by: None }
        };
        for outcome in self.propose(nodes.into_iter().map(leave).collect()) {
            if let Err(error) = outcome {
                debug!(%error, "a datanode does not leave");
            }
        }
    }

    /// Puts a copy on the board, or tells what is to be removed.
    fn plan(&self, block: BlockId, row: &BlockRow, facts: &Facts) -> Option<Command> {
        if self.board.is_copying(block) {
            return None;
        }
        let (urgency, work) = repair::plan(block, row, facts, SEED)?;
        match work {
            Work::Copy { sources, target } => {
                self.plan_copy(block, row, &sources, target, urgency, facts);
                None
            }
            Work::RemoveExcess { replica } | Work::DropBad { replica } => {
                info!(%block, storage = %replica.storage, "a replica is not needed any more");
                Some(Command::RemoveReplica { block, generation: row.generation, storage: replica.storage })
            }
        }
    }

    pub(super) fn plan_copy(
        &self,
        block: BlockId,
        row: &BlockRow,
        sources: &[BlockLocation],
        target: BlockLocation,
        urgency: Urgency,
        facts: &Facts,
    ) {
        if !self.board.has_room() {
            return;
        }
        let task = v1::CopyReplica {
            storage: target.storage.as_bytes().to_vec(),
            block: Some(block.into()),
            generation: row.generation.get(),
            length: row.length.get(),
            sources: self.datanodes.locations(sources),
            ..Default::default()
        };
        info!(%block, node = %target.node, live = urgency.live, wanted = row.wanted, "a copy is planned");
        let is_lively = |source: &&BlockLocation| {
            facts.members.get(&source.storage).is_some_and(|member| member.liveness == Liveness::Alive)
        };
        let lively = sources.iter().take_while(is_lively).count();
        self.board.copy(block, target, urgency, lively, task);
    }
}

impl Counted {
    fn add(&mut self, row: &BlockRow, facts: &Facts) {
        let health = repair::health(row, facts);
        self.blocks += 1;
        self.corrupt_replicas += health.bad as u64;
        // A block being written has the replicas that its writer keeps.
        if row.state == BlockState::Committed {
            self.under_replicated += u64::from(health.short());
            self.missing += u64::from(health.missing());
        }
    }
}

fn pause(interval: Duration, took: Duration) -> Duration {
    interval.max(took.saturating_mul(SHARE))
}
