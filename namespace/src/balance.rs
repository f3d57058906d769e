//! Plans moves of replicas that even out how full the volumes are: facts and rows in, moves out.
//!
//! How full a volume is, is what its replicas take of its capacity. All volumes together that take part have a mean; each
//! should hold its share of it.
//!
//! 1. A block that is moved has all its copies before and after: the new one is made before the old one is given up.
//! 2. No move puts two replicas on one host, or the replicas of a block into fewer racks than they are in.
//! 3. No move takes a volume below its share, or another one above. So each makes the volumes more even by twice its
//!    length: planning comes to an end, and no byte moves twice.
//! 4. Only what is well moves: repair comes first.

pub mod foreground;

use std::collections::{BTreeMap, BTreeSet};

use types::{BlockId, ByteSize, GenStamp, NodeId, StorageId};

use crate::repair::{Facts, Liveness, Member, Standing, health};
use crate::row::{BlockLocation, BlockRow, BlockState};

/// One replica to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    pub block: BlockId,
    pub generation: GenStamp,
    pub length: ByteSize,
    pub source: BlockLocation,
    pub target: BlockLocation,
}

/// A volume that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    pub location: BlockLocation,
    pub capacity: u64,
    /// By replicas, with what is planned.
    pub used: u64,
    /// By replicas, without.
    pub used_before: u64,
    /// What it has room for, besides what is planned.
    room: u64,
    /// Of the mean.
    share: u64,
}

impl Volume {
    const fn surplus(&self) -> u64 {
        self.used.saturating_sub(self.share)
    }

    const fn deficit(&self) -> u64 {
        self.share.saturating_sub(self.used)
    }

    /// Parts of a million of its capacity that it is from its share.
    fn distance(&self) -> u64 {
        millionths(self.used.abs_diff(self.share), self.capacity)
    }

    /// Parts of a million of its capacity that it is full, with what is planned.
    pub fn fullness(&self) -> u64 {
        millionths(self.used, self.capacity)
    }
}

fn millionths(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * 1_000_000 / u128::from(whole.max(1))).unwrap_or(u64::MAX)
}

/// A plan in the making. Block by block it is asked what to move.
#[derive(Debug, Clone)]
pub struct Plan {
    volumes: BTreeMap<StorageId, Volume>,
    threshold_permille: u32,
    mean: u64,
}

/// Whether a volume takes part: what is suspect or leaves neither gives nor takes.
fn takes_part(member: &Member, facts: &Facts) -> bool {
    member.liveness == Liveness::Alive
        && facts.standing(member.candidate.location.node) == Standing::InService
        && member.candidate.capacity > ByteSize::ZERO
}

/// The volumes that take part. When others do, a plan is out of date.
pub fn participants(facts: &Facts) -> BTreeSet<StorageId> {
    facts.members.iter().filter(|(_, member)| takes_part(member, facts)).map(|(storage, _)| *storage).collect()
}

/// The datanodes in service that do not take part, and may yet: those that are silent and not dead, that were not heard of
/// since the leader began, or that come and go. While there is one, it is not known whether the volumes are even.
pub fn awaited(facts: &Facts) -> BTreeSet<NodeId> {
    let members =
        facts.members.values().filter(|member| member.liveness != Liveness::Dead && !takes_part(member, facts));
    let nodes = members.map(|member| member.candidate.location.node);
    nodes.filter(|node| facts.standing(*node) == Standing::InService).collect()
}

/// Adds what a block takes on each volume.
pub fn weigh(row: &BlockRow, used: &mut BTreeMap<StorageId, u64>) {
    for location in row.replicas.iter().chain(&row.bad) {
        *used.entry(location.storage).or_default() += row.length.get();
    }
}

impl Plan {
    /// `used` is what the replicas of all blocks take on each volume.
    pub fn new(facts: &Facts, used: &BTreeMap<StorageId, u64>, threshold_permille: u32) -> Self {
        let of = |storage: &StorageId| used.get(storage).copied().unwrap_or_default();
        let parts = || facts.members.iter().filter(|(_, member)| takes_part(member, facts));
        let all_used: u128 = parts().map(|(storage, _)| u128::from(of(storage))).sum();
        let all: u128 = parts().map(|(_, member)| u128::from(member.candidate.capacity.get())).sum();
        let volume = |(storage, member): (&StorageId, &Member)| {
            let capacity = member.candidate.capacity.get();
            let share = all_used * u128::from(capacity) / all.max(1);
            let volume = Volume {
                location: member.candidate.location,
                capacity,
                used: of(storage),
                used_before: of(storage),
                room: member.candidate.free.get(),
                share: u64::try_from(share).unwrap_or(u64::MAX),
            };
            (*storage, volume)
        };
        let mean = u64::try_from(all_used * 1_000_000 / all.max(1)).unwrap_or(u64::MAX);
        Self { volumes: parts().map(volume).collect(), threshold_permille, mean }
    }

    /// How full all are together, in parts of a million.
    pub const fn mean(&self) -> u64 {
        self.mean
    }

    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.values()
    }

    /// Whether a volume is further from its share than it may be.
    pub fn is_outside(&self, volume: &Volume) -> bool {
        volume.distance() > u64::from(self.threshold_permille) * 1000
    }

    /// Whether no volume is.
    pub fn is_even(&self) -> bool {
        !self.volumes().any(|volume| self.is_outside(volume))
    }

    /// What to move of a block, if anything; the plan counts on it from then on.
    pub fn consider(&mut self, block: BlockId, row: &BlockRow, facts: &Facts) -> Option<Move> {
        let length = row.length.get();
        if length == 0 || !is_well(row, facts) {
            return None;
        }
        let gives = |location: &&BlockLocation| {
            self.volumes.get(&location.storage).is_some_and(|volume| volume.surplus() >= length)
        };
        let takes = |volume: &&Volume| volume.deficit() >= length && volume.room >= length;
        let outside = |storage: &StorageId| self.volumes.get(storage).is_some_and(|volume| self.is_outside(volume));
        let distance = |storage: &StorageId| self.volumes.get(storage).map_or(0, Volume::distance);
        let pairs = row.replicas.iter().filter(gives).flat_map(|source| {
            let targets = self.volumes.values().filter(takes).map(|volume| volume.location);
            targets.map(move |target| (*source, target))
        });
        let (source, target) = pairs
            .filter(|(source, target)| outside(&source.storage) || outside(&target.storage))
            .filter(|(source, target)| keeps_the_rules(row, *source, *target, facts))
            .max_by_key(|(source, target)| (distance(&source.storage), distance(&target.storage)))?;
        let mut change = |location: BlockLocation, change: &dyn Fn(&mut Volume)| {
            change(self.volumes.get_mut(&location.storage).expect("both were found among the volumes"));
        };
        change(source, &|volume| volume.used -= length);
        change(target, &|volume| {
            volume.used += length;
            volume.room -= length;
        });
        Some(Move { block, generation: row.generation, length: row.length, source, target })
    }
}

/// Invariant 4.
fn is_well(row: &BlockRow, facts: &Facts) -> bool {
    let health = health(row, facts);
    row.state == BlockState::Committed
        && row.recovery.is_none()
        && row.bad.is_empty()
        && health.unreachable == 0
        && health.counted == health.wanted
        && row.replicas.len() == health.wanted
}

/// Invariant 2.
fn keeps_the_rules(row: &BlockRow, source: BlockLocation, target: BlockLocation, facts: &Facts) -> bool {
    let member = |location: &BlockLocation| facts.members.get(&location.storage);
    let Some(new) = member(&target) else { return false };
    let mut listed = row.replicas.iter().chain(&row.bad).chain(&row.leaving);
    if listed.any(|location| location.storage == target.storage) {
        return false;
    }
    let others = || row.replicas.iter().filter(|location| **location != source).filter_map(member);
    let rack = |member: &'_ Member| member.candidate.rack.clone();
    let before: BTreeSet<String> = row.replicas.iter().filter_map(member).map(rack).collect();
    let after: BTreeSet<String> = others().chain([new]).map(rack).collect();
    others().all(|other| other.candidate.host != new.candidate.host) && after.len() >= before.len()
}

/// Whether what was planned still makes sense for a block as it is now.
pub fn is_sound(step: &Move, row: &BlockRow, facts: &Facts) -> bool {
    let takes =
        |location: &BlockLocation| facts.members.get(&location.storage).is_some_and(|member| takes_part(member, facts));
    (row.generation, row.length) == (step.generation, step.length)
        && is_well(row, facts)
        && row.replicas.contains(&step.source)
        && takes(&step.source)
        && takes(&step.target)
        && keeps_the_rules(row, step.source, step.target, facts)
}

/// Whether the source may be given up, now that the copy on the target is made: enough others answer, and stay (invariant 1).
pub fn may_give_up(row: &BlockRow, source: StorageId, target: BlockLocation, facts: &Facts) -> bool {
    let mut after = row.clone();
    after.replicas.retain(|location| location.storage != source && location.storage != target.storage);
    after.replicas.push(target);
    let health = health(&after, facts);
    health.live >= health.wanted && !health.short()
}

#[cfg(test)]
mod tests;
