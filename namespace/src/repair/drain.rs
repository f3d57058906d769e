//! What keeps a datanode from leaving: the blocks that would have too few replicas without it. All are counted, by the reason,
//! and some are named, so that somebody can look for what is behind it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use types::{BlockId, NodeId};

use super::{Facts, Liveness, Standing, health, plan};
use crate::placement::Candidate;
use crate::row::{BlockRow, BlockState};

/// Why a block still needs a node that is to leave. In order: what ends without anybody's doing comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// It is copied, or waits for its turn.
    Waiting,
    /// It is being written there, or allocated for a writer.
    Written,
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

/// Blocks named of each node that is to leave; more are only counted.
pub const NAMED: usize = 20;

/// A block that holds a node back. In order: what does not end by itself comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    pub hold: Reverse<Hold>,
    pub block: BlockId,
}

/// What is counted of all nodes, and some of the blocks that hold back those that are to leave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    pub tallies: BTreeMap<NodeId, Tally>,
    /// Of each node the first [`NAMED`].
    pub held: BTreeMap<NodeId, BTreeSet<Held>>,
}

impl Counts {
    /// Counts one block for all nodes that have a replica of it.
    pub fn add(&mut self, block: BlockId, row: &BlockRow, facts: &Facts) {
        if row.state == BlockState::Committed
            && let Some(last) = last(row, facts)
        {
            self.tallies.entry(last).or_default().last += 1;
        }
        let mut held = None;
        for location in &row.replicas {
            let tally = self.tallies.entry(location.node).or_default();
            tally.replicas += 1;
            if facts.standing(location.node) != Standing::Draining {
                continue;
            }
            let Some(hold) = *held.get_or_insert_with(|| hold(block, row, facts)) else { continue };
            match hold {
                Hold::Written => tally.written += 1,
                Hold::Waiting => tally.waiting += 1,
                Hold::NoTarget => tally.no_target += 1,
                Hold::NoSource => tally.no_source += 1,
            }
            let named = self.held.entry(location.node).or_default();
            named.insert(Held { hold: Reverse(hold), block });
            if named.len() > NAMED {
                named.pop_last();
            }
        }
    }
}

/// The node that alone has a good replica that can be read.
fn last(row: &BlockRow, facts: &Facts) -> Option<NodeId> {
    let mut live = row.replicas.iter().filter(|location| facts.live(location).is_some());
    match (live.next(), live.next()) {
        (Some(last), None) => Some(last.node),
        _ => None,
    }
}

/// What is known of a block that holds a node back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    pub hold: Hold,
    /// The node alone has a good replica that can be read.
    pub last: bool,
    /// Of one without a target: some datanode has no replica of it, and too little room. Else every host has one.
    pub lacks_room: bool,
    /// Of one without a source: who had good replicas when they were heard last.
    pub silent: Vec<NodeId>,
}

/// Why a block holds a node back that is to leave; nothing if it does not.
pub fn explain(block: BlockId, row: &BlockRow, facts: &Facts, node: NodeId) -> Option<Explained> {
    if facts.standing(node) != Standing::Draining || row.replicas.iter().all(|location| location.node != node) {
        return None;
    }
    let hold = hold(block, row, facts)?;
    let is_committed = row.state == BlockState::Committed;
    let silent = row.replicas.iter().filter(|location| facts.live(location).is_none()).map(|location| location.node);
    Some(Explained {
        hold,
        last: is_committed && last(row, facts) == Some(node),
        lacks_room: hold == Hold::NoTarget && lacks_room(row, facts),
        silent: if hold == Hold::NoSource { silent.collect() } else { Vec::new() },
    })
}

/// Whether there is a place that would take a copy if it had the room.
fn lacks_room(row: &BlockRow, facts: &Facts) -> bool {
    let live = || row.replicas.iter().filter_map(|location| facts.live(location));
    let listed = || row.replicas.iter().chain(&row.bad).chain(&row.leaving);
    facts.members.values().any(|member| {
        let Candidate { location, host, free, .. } = &member.candidate;
        matches!(member.liveness, Liveness::Alive | Liveness::Held)
            && facts.standing(location.node) == Standing::InService
            && *free < row.length
            && listed().all(|other| other.storage != location.storage)
            && live().all(|other| other.candidate.host != *host)
    })
}
