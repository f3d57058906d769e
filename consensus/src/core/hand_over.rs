//! How a leader gives its lead away.
//!
//! The library tells one member to take over, and forgets about it after an election timeout. That member may not be able
//! to: it has a change of members to apply still, or a snapshot to make durable, as one that has just come back often has.
//! So whoever is told has a few ticks, and then another one is told; until one has taken over, or it has been tried for
//! long enough.

use std::collections::BTreeSet;

use raft::ProgressState;
use tracing::{debug, info};

use super::{Core, Duration, ELECTION_TICKS};

/// What one member has to take over, once its turn has come.
const TRY_TICKS: u64 = 6;
/// After so many ticks in vain, this member goes on leading.
const HAND_OVER_TICKS: u64 = 3 * ELECTION_TICKS as u64;

/// A lead that is being given away.
#[derive(Debug)]
pub(super) struct HandOver {
    /// To this member, or to any.
    to: Option<u64>,
    /// Told in this round.
    told: BTreeSet<u64>,
    /// The tick at which the next one is told, and the one at which nobody is told any more.
    next: u64,
    end: u64,
}

impl<P, R> Core<P, R> {
    /// Gives the lead to this member, or to the one that has most of the log; if this member has it, and another was heard
    /// lately. Who is told and does not take over is not the last one.
    pub fn transfer(&mut self, now: Duration, to: Option<u64>) {
        let hand_over =
            HandOver { to, told: BTreeSet::new(), next: self.ticks + TRY_TICKS, end: self.ticks + HAND_OVER_TICKS };
        if let Some(node) = self.heir(now, &hand_over).filter(|_| self.is_leader()) {
            self.lease.bar(self.node.raft.term);
            self.handing_over = Some(hand_over);
            self.tell_heir(node);
        }
    }

    /// The voter that is to be told next: one that follows closely, and of those the one that has most of the log.
    fn heir(&self, now: Duration, hand_over: &HandOver) -> Option<u64> {
        let me = self.settings.node;
        let voters = &self.node.store().group().voters;
        let may = |node: u64| {
            node != me
                && voters.contains(&node)
                && self.lives(now, node)
                && hand_over.to.is_none_or(|to| node == to)
                && !hand_over.told.contains(&node)
        };
        let candidates = self.node.raft.prs().iter().filter(|(node, _)| may(**node));
        let best = candidates
            .max_by_key(|(node, progress)| (progress.state == ProgressState::Replicate, progress.matched, **node));
        best.map(|(node, _)| *node)
    }

    fn tell_heir(&mut self, node: u64) {
        info!(node, "handing over the lead");
        if let Some(hand_over) = &mut self.handing_over {
            hand_over.told.insert(node);
        }
        // Told of one that is told already, the library does nothing.
        self.node.raft.abort_leader_transfer();
        self.node.transfer_leader(node);
    }

    /// With each tick: the one that was told may not have taken over.
    pub(super) fn go_on_handing_over(&mut self) {
        if !self.is_leader() {
            self.handing_over = None;
        }
        let Some(mut hand_over) = self.handing_over.take_if(|hand_over| self.ticks >= hand_over.next) else { return };
        if self.ticks >= hand_over.end {
            info!("nobody has taken over the lead");
            self.node.raft.abort_leader_transfer();
            return;
        }
        let next = self.heir(self.now, &hand_over).or_else(|| {
            debug!("all that could take over were told, and are told again");
            hand_over.told.clear();
            self.heir(self.now, &hand_over)
        });
        hand_over.next = self.ticks + TRY_TICKS;
        self.handing_over = Some(hand_over);
        if let Some(node) = next {
            self.tell_heir(node);
        }
    }
}
