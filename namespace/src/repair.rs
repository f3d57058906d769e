//! Plans what brings a block back to its wanted replicas: facts in, work out.
//!
//! 1. No plan takes away the last good replica on a live storage, or goes below the wanted number of them.
//! 2. No plan puts two replicas on one host.
//! 3. A replica is never copied onto a storage that holds, or is still giving up, one of the same block.

use std::collections::BTreeMap;

use types::{BlockId, StorageId};

use crate::placement::Candidate;
use crate::row::{BlockLocation, BlockRow};

/// What is known of a storage right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub candidate: Candidate,
    pub liveness: Liveness,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Liveness {
    Alive,
    /// Silent for a while: still counted, used last as a source and never as a target.
    Suspect,
    Dead,
}

/// Every storage that is known; one that is missing counts as dead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    pub members: BTreeMap<StorageId, Member>,
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
        self.live < self.wanted
    }
}

pub fn health(_row: &BlockRow, _facts: &Facts) -> Health {
    Health::default()
}

/// What to do next for a block, and how urgent it is; nothing for one that is well, cannot be read anywhere, or is still
/// being written.
pub fn plan(_block: BlockId, _row: &BlockRow, _facts: &Facts, _seed: u64) -> Option<(Urgency, Work)> {
    None
}
