//! Plans what brings a block back to its wanted replicas: facts in, work out.
//!
//! 1. No plan takes away the last good replica on a live storage, or goes below the wanted number of them.
//! 2. No plan puts two replicas on one host.
//! 3. A replica is never copied onto a storage that holds, or is still giving up, one of the same block.
//! 4. What is on a node that leaves is a source and does not count. What is on one in maintenance counts although it does
//!    not answer, and nothing is taken away because of it.
//! 5. A block whose replicas are enough, and in fewer racks than its policy wants, gets one more in another rack; then one
//!    of those that share a rack is too many.

pub mod drain;
pub mod stability;

use std::collections::{BTreeMap, BTreeSet};

use types::{BlockId, NodeId, StorageId, Timestamp};

use crate::placement::{self, Candidate, Neighbour, Policy};
use crate::row::{BlockLocation, BlockRow, BlockState, Service};

/// What is known of a storage right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub candidate: Candidate,
    pub liveness: Liveness,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Liveness {
    Alive,
    /// Held down, because it comes and goes: a target only if there is no other.
    Held,
    /// Silent for a while: still counted, used last as a source and never as a target.
    Suspect,
    Dead,
}

/// What a node is counted on for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    InService,
    /// It is to leave, or may.
    Draining,
    /// It may be silent for now.
    Maintenance,
}

impl Service {
    pub fn standing(self, now: Timestamp) -> Standing {
        match self {
            Self::Decommissioning | Self::Decommissioned => Standing::Draining,
            Self::Maintenance { until } if now < until => Standing::Maintenance,
            Self::InService | Self::Maintenance { .. } => Standing::InService,
        }
    }
}

/// Every storage that is known; one that is missing counts as dead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    pub members: BTreeMap<StorageId, Member>,
    /// Of nodes that are not in service.
    pub standings: BTreeMap<NodeId, Standing>,
    /// Of blocks that say nothing else.
    pub policy: Policy,
}

/// One thing to do for a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Pull a copy from one of the sources, best first.
    Copy { sources: Vec<BlockLocation>, target: BlockLocation },
    /// One good replica more than wanted, or one on a dead storage that has been made up for.
    RemoveExcess { replica: BlockLocation },
    /// A damaged replica that is not needed any more, or stands in the way of a good one.
    DropBad { replica: BlockLocation },
}

/// How much at risk a block is: the least comes first in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Urgency {
    /// Copies come before tidying.
    pub tidying: bool,
    /// Good replicas on live storages.
    pub live: usize,
    /// Racks that those are in.
    pub racks: usize,
}

/// How a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    pub wanted: usize,
    /// Good replicas on live storages.
    pub live: usize,
    /// Hosts with good replicas that count: those on live storages of nodes that do not leave, and on nodes in maintenance.
    pub counted: usize,
    /// Good replicas on storages that are dead or unknown.
    pub unreachable: usize,
    pub bad: usize,
}

impl Health {
    /// No copy can be read now.
    pub const fn missing(&self) -> bool {
        self.live == 0
    }

    pub const fn short(&self) -> bool {
        self.counted < self.wanted
    }
}

pub fn health(row: &BlockRow, facts: &Facts) -> Health {
    let live = row.replicas.iter().filter(|location| facts.live(location).is_some()).count();
    let counted = hosts(row.replicas.iter().filter_map(|location| facts.counted(location)));
    let (wanted, unreachable) = (usize::from(row.wanted), row.replicas.len() - live);
    Health { wanted, live, counted, unreachable, bad: row.bad.len() }
}

/// What to do next for a block, and how urgent it is; nothing for one that is well, cannot be read anywhere, or is not
/// written to its end yet.
pub fn plan(block: BlockId, row: &BlockRow, facts: &Facts, seed: u64) -> Option<(Urgency, Work)> {
    if row.state != BlockState::Committed {
        return None;
    }
    let live: Vec<&Member> = row.replicas.iter().filter_map(|location| facts.live(location)).collect();
    let racks: BTreeSet<&str> = live.iter().map(|member| member.candidate.rack.as_str()).collect();
    let wanted = usize::from(row.wanted);
    let urgency = |tidying| Urgency { tidying, live: live.len(), racks: racks.len() };
    if live.is_empty() {
        return None;
    }
    let counted: Vec<&Member> = row.replicas.iter().filter_map(|location| facts.counted(location)).collect();
    if hosts(counted.iter().copied()) < wanted {
        let copy = |liveness| copy(block, row, facts, (&live, &counted), &|member| member.liveness == liveness, seed);
        let copy = copy(Liveness::Alive).or_else(|| copy(Liveness::Held));
        return Some((urgency(false), copy.or_else(|| make_room(row))?));
    }
    // Invariant 4: only what answers, and stays, makes up for something.
    let sure: Vec<&Member> = counted.iter().copied().filter(|member| member.liveness != Liveness::Dead).collect();
    if hosts(sure.iter().copied()) < wanted {
        return None;
    }
    // What is away for a while is in its rack still.
    if sure.len() <= wanted
        && let Some(work) = spread(block, row, facts, (&live, &counted), seed)
    {
        return Some((urgency(false), work));
    }
    Some((urgency(true), tidy(row, facts, &sure, wanted)?))
}

/// What is lost with one host counts once.
fn hosts<'a>(members: impl Iterator<Item = &'a Member>) -> usize {
    members.map(|member| member.candidate.host.as_str()).collect::<BTreeSet<_>>().len()
}

impl Facts {
    /// The storage of a replica, if it answers.
    fn live(&self, location: &BlockLocation) -> Option<&Member> {
        self.members.get(&location.storage).filter(|member| member.liveness != Liveness::Dead)
    }

    /// The storage of a replica that counts (invariant 4).
    fn counted(&self, location: &BlockLocation) -> Option<&Member> {
        let counts = |member: &&Member| match self.standing(location.node) {
            Standing::InService => member.liveness != Liveness::Dead,
            Standing::Draining => false,
            Standing::Maintenance => true,
        };
        self.members.get(&location.storage).filter(counts)
    }

    /// How the replicas of a block are to be spread.
    pub fn rule(&self, row: &BlockRow) -> Policy {
        row.spread.unwrap_or(self.policy)
    }

    pub fn standing(&self, node: NodeId) -> Standing {
        self.standings.get(&node).copied().unwrap_or(Standing::InService)
    }
}

/// Enough copies are there: one more in another rack, if those that count share too few (invariant 5). One at a time: what
/// makes up for this one is taken away first.
fn spread(
    block: BlockId,
    row: &BlockRow,
    facts: &Facts,
    (live, counted): (&[&Member], &[&Member]),
    seed: u64,
) -> Option<Work> {
    let used: BTreeSet<&str> = counted.iter().map(|member| member.candidate.rack.as_str()).collect();
    let elsewhere =
        |member: &Member| member.liveness == Liveness::Alive && !used.contains(member.candidate.rack.as_str());
    let enough = used.len() >= facts.rule(row).racks(row.wanted.into());
    if enough { None } else { copy(block, row, facts, (live, counted), &elsewhere, seed) }
}

/// One more copy, if there is a place for it that will do.
fn copy(
    block: BlockId,
    row: &BlockRow,
    facts: &Facts,
    (live, counted): (&[&Member], &[&Member]),
    will_do: &dyn Fn(&Member) -> bool,
    seed: u64,
) -> Option<Work> {
    let listed = || row.replicas.iter().chain(&row.bad).chain(&row.leaving);
    let may_hold = |member: &&Member| {
        let Candidate { location, host, free, .. } = &member.candidate;
        will_do(member)
            && *free >= row.length
            && facts.standing(location.node) == Standing::InService
            && listed().all(|other| other.storage != location.storage)
            && live.iter().all(|other| other.candidate.host != *host)
    };
    let candidates: Vec<Candidate> =
        facts.members.values().filter(may_hold).map(|member| member.candidate.clone()).collect();
    let neighbours: Vec<Neighbour<'_>> =
        counted.iter().map(|member| Neighbour { host: &member.candidate.host, rack: &member.candidate.rack }).collect();
    // Blocks differ in their seed, or all copies of a lost disk would go to one place.
    let seed = seed ^ block.inode().get().rotate_left(32) ^ u64::from(block.number());
    let target = *placement::extend(&candidates, &neighbours, 1, None, facts.rule(row), seed).first()?;
    let mut sources = live.to_vec();
    sources.sort_by_key(|member| (member.liveness, member.candidate.writers, member.candidate.location.storage));
    let sources = sources.iter().map(|member| member.candidate.location).collect();
    Some(Work::Copy { sources, target })
}

/// No storage is free for a copy: a damaged replica may be what takes the place. A live good one exists.
fn make_room(row: &BlockRow) -> Option<Work> {
    row.bad.first().map(|replica| Work::DropBad { replica: *replica })
}

/// Enough copies are on `live` storages that stay: what is there besides?
fn tidy(row: &BlockRow, facts: &Facts, live: &[&Member], wanted: usize) -> Option<Work> {
    if let Some(replica) = row.bad.first() {
        return Some(Work::DropBad { replica: *replica });
    }
    if row.replicas.len() <= wanted {
        return None;
    }
    let is_lost = |location: &&BlockLocation| facts.live(location).is_none() && facts.counted(location).is_none();
    if let Some(replica) = row.replicas.iter().find(is_lost) {
        return Some(Work::RemoveExcess { replica: *replica });
    }
    if live.len() <= wanted {
        return None;
    }
    let excess = live.iter().max_by_key(|member| {
        let others = || live.iter().filter(|other| other.candidate.location != member.candidate.location);
        let same_host = others().filter(|other| other.candidate.host == member.candidate.host).count();
        let same_rack = others().filter(|other| other.candidate.rack == member.candidate.rack).count();
        let fullness = placement::fullness(&member.candidate);
        // Of those that share as much, the less reliable one goes.
        (same_host, same_rack, member.liveness, fullness, member.candidate.location.storage)
    });
    excess.map(|member| Work::RemoveExcess { replica: member.candidate.location })
}

#[cfg(test)]
mod tests;
