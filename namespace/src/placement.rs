//! Chooses where the replicas of a block go: a pure function over an ordered score.
//!
//! Never two replicas on one host. The first goes to the writer's own host if that is a datanode, the second to another
//! rack. The third goes to the rack of the second, so that the block crosses between racks once, or to a third rack: that is
//! the [`Policy`]. More go to the racks used least. Losing a rack loses at most two of three, or one.

use std::cmp::Reverse;

use minicbor::{Decode, Encode};
use types::{ByteSize, NodeId, StorageId};

use crate::row::BlockLocation;

/// A storage that may take a replica. The caller leaves out those that are dead, failed or without room for a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub location: BlockLocation,
    pub host: String,
    pub rack: String,
    pub capacity: ByteSize,
    pub free: ByteSize,
    /// Blocks being written there now.
    pub writers: u32,
}

/// How replicas are spread over racks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Policy {
    /// Over two, as HDFS does it: the third replica is next to the second.
    #[default]
    #[n(0)]
    TwoRacks,
    /// Over as many as there are.
    #[n(1)]
    Spread,
}

impl Policy {
    /// The racks that so many replicas are to be in, if there are as many.
    pub fn racks(self, replicas: usize) -> usize {
        match self {
            Self::TwoRacks => replicas.min(2),
            Self::Spread => replicas,
        }
    }

    /// As it is called in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TwoRacks => "two-racks",
            Self::Spread => "spread",
        }
    }
}

/// What keeps new replicas away, or draws them: a replica that exists or has just been chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour<'a> {
    pub host: &'a str,
    pub rack: &'a str,
}

/// Fullness counts in steps of this many percent, so that small differences do not herd all writers to one storage.
const FULLNESS_STEP: u64 = 5;

/// Chooses at most `want` locations, best first; fewer when there are not enough hosts. `seed` spreads equal choices.
pub fn place(
    candidates: &[Candidate],
    want: usize,
    writer_host: Option<&str>,
    policy: Policy,
    seed: u64,
) -> Vec<BlockLocation> {
    extend(candidates, &[], want, writer_host, policy, seed)
}

/// Chooses at most `want` more locations next to replicas that exist.
pub fn extend(
    candidates: &[Candidate],
    existing: &[Neighbour<'_>],
    want: usize,
    writer_host: Option<&str>,
    policy: Policy,
    seed: u64,
) -> Vec<BlockLocation> {
    let mut neighbours = existing.to_vec();
    let mut chosen = Vec::with_capacity(want.min(candidates.len()));
    for _ in 0..want {
        let free_hosts =
            candidates.iter().filter(|candidate| neighbours.iter().all(|other| other.host != candidate.host));
        let best = free_hosts.min_by_key(|candidate| Score::of(candidate, &neighbours, writer_host, policy, seed));
        let Some(best) = best else { break };
        neighbours.push(Neighbour { host: &best.host, rack: &best.rack });
        chosen.push(best.location);
    }
    chosen
}

/// Lower is better; earlier fields outweigh later ones.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    /// For the first replica only.
    away_from_writer: bool,
    rack: usize,
    fullness: u64,
    writers: u32,
    /// Storages that are equal so far take turns by seed.
    turn: Reverse<u64>,
    id: (NodeId, StorageId),
}

impl Score {
    fn of(
        candidate: &Candidate,
        neighbours: &[Neighbour<'_>],
        writer_host: Option<&str>,
        policy: Policy,
        seed: u64,
    ) -> Self {
        let location = candidate.location;
        Self {
            away_from_writer: neighbours.is_empty() && writer_host.is_some_and(|host| host != candidate.host),
            rack: rack_penalty(&candidate.rack, neighbours, policy),
            fullness: fullness(candidate),
            writers: candidate.writers,
            turn: Reverse(turn(location, seed)),
            id: (location.node, location.storage),
        }
    }
}

/// How unwelcome a rack is next to the replicas there are: 0 is best.
fn rack_penalty(rack: &str, neighbours: &[Neighbour<'_>], policy: Policy) -> usize {
    let here = neighbours.iter().filter(|other| other.rack == rack).count();
    match (policy, neighbours) {
        (Policy::TwoRacks, [first, second]) if first.rack != second.rack => usize::from(rack != second.rack),
        _ => here,
    }
}

pub(crate) fn fullness(candidate: &Candidate) -> u64 {
    let capacity = candidate.capacity.get().max(1);
    let used = capacity.saturating_sub(candidate.free.get());
    let percent = u128::from(used) * 100 / u128::from(capacity);
    u64::try_from(percent).expect("at most 100") / FULLNESS_STEP
}

/// A number that depends on every bit of seed and location (FNV-1a, then a finaliser).
fn turn(location: BlockLocation, seed: u64) -> u64 {
    let bytes = seed.to_be_bytes().into_iter().chain(location.node.get().to_be_bytes());
    let bytes = bytes.chain(*location.storage.as_bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests;
