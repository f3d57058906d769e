//! What keeps a datanode from leaving: the blocks that would have too few replicas without it.

use std::collections::BTreeMap;

use types::{BlockId, NodeId};

use super::{Facts, Standing, health, plan};
use crate::row::{BlockRow, BlockState};

/// Why a block still needs a node that is to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// It is being written there, or allocated for a writer.
    Written,
    /// It is copied, or waits for its turn.
    Waiting,
    /// No datanode that stays can take a copy.
    NoTarget,
    /// No replica of it can be read.
    NoSource,
}

/// Why a block needs the nodes that are to leave and have a replica of it; it does not, if enough others have one.
pub fn hold(block: BlockId, row: &BlockRow, facts: &Facts) -> Option<Hold> {
    if row.state != BlockState::Committed {
        return Some(Hold::Written);
    }
    let health = health(row, facts);
    if !health.short() {
        return None;
    }
    if health.missing() {
        return Some(Hold::NoSource);
    }
    Some(if plan(block, row, facts, 0).is_some() { Hold::Waiting } else { Hold::NoTarget })
}

/// What was counted of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Good replicas that it has, or is being given.
    pub replicas: u64,
    /// Blocks of which it alone has a good replica that can be read.
    pub last: u64,
    /// Of a node that is to leave: blocks that need it, by the reason.
    pub written: u64,
    pub waiting: u64,
    pub no_target: u64,
    pub no_source: u64,
}

impl Tally {
    /// Blocks that need it.
    pub const fn left(&self) -> u64 {
        self.written + self.waiting + self.no_target + self.no_source
    }
}

/// Counts one block for all nodes that have a replica of it.
pub fn count(block: BlockId, row: &BlockRow, facts: &Facts, tallies: &mut BTreeMap<NodeId, Tally>) {
    let mut live = row.replicas.iter().filter(|location| facts.live(location).is_some());
    if row.state == BlockState::Committed
        && let (Some(last), None) = (live.next(), live.next())
    {
        tallies.entry(last.node).or_default().last += 1;
    }
    let mut held = None;
    for location in &row.replicas {
        let tally = tallies.entry(location.node).or_default();
        tally.replicas += 1;
        if facts.standing(location.node) != Standing::Draining {
            continue;
        }
        match *held.get_or_insert_with(|| hold(block, row, facts)) {
            None => {}
            Some(Hold::Written) => tally.written += 1,
            Some(Hold::Waiting) => tally.waiting += 1,
            Some(Hold::NoTarget) => tally.no_target += 1,
            Some(Hold::NoSource) => tally.no_source += 1,
        }
    }
}
