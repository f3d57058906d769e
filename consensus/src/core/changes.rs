//! How members come and go.

use raft::ProgressState;
use raft::eraftpb::Entry;
use tracing::{info, warn};

use super::proposals::Waiting;
use super::{Core, Duration};
use crate::execute::Waiter;
use crate::group::{self, Change, ChangeError, Group};

/// A member that was not heard for so many ticks is not counted on: some election timeouts, since a busy one comes back.
const ALIVE_TICKS: u32 = 64;
/// A learner that lacks no more entries than this has the log.
const CAUGHT_UP: u64 = 1024;

impl<P, R> Core<P, R> {
    /// Proposes a change of the group. Unless it is refused here, the ticket comes back with its entry, or with a refusal.
    pub fn change(&mut self, now: Duration, change: &Change, ticket: impl FnOnce() -> P) -> Result<(), ChangeError> {
        self.propose_change(now, change)?;
        let (index, term) = (self.node.raft.raft_log.last_index(), self.node.raft.term);
        let waiters = vec![Waiter { requests: 0, ticket: ticket() }];
        self.waiting.push_back(Waiting { index, term, waiters, requests: 0, change: true });
        Ok(())
    }

    fn propose_change(&mut self, now: Duration, change: &Change) -> Result<(), ChangeError> {
        if !self.is_leader() {
            return Err(ChangeError::NotLeader);
        }
        let group = self.node.store().group();
        let entry = group.propose(self.settings.node, change)?;
        let raft = &self.node.raft;
        // Proposed now, the library would make an empty entry of it.
        if !raft.apply_to_current_term() || raft.has_pending_conf() || !group.outgoing.is_empty() {
            return Err(ChangeError::Pending);
        }
        let voters = group.voters_after(change);
        let live: Vec<u64> = voters.iter().copied().filter(|node| self.heard_within(now, *node, ALIVE_TICKS)).collect();
        let needed = voters.len() / 2 + 1;
        if voters != group.voters && live.len() < needed {
            return Err(ChangeError::NoQuorum { voters, live, needed });
        }
        // Dropped by the library: too much is uncommitted, or the lead is being handed over.
        self.node.propose_conf_change(Vec::new(), entry).map_err(|_| ChangeError::Pending)?;
        info!(?change, "a change of the members is proposed");
        Ok(())
    }

    /// Has the group say where members listen, if it does not and this member leads.
    pub fn record(&mut self, now: Duration, addresses: Vec<(u64, String)>) {
        if self.is_leader() && !self.node.raft.has_pending_conf() && !addresses.is_empty() {
            // Whatever is in the way now, the next time it may be gone.
            let _ = self.propose_change(now, &Change::Record(addresses));
        }
    }

    /// Gives a vote to a learner that has the log.
    pub(super) fn promote(&mut self) {
        let raft = &self.node.raft;
        if !self.is_leader() || raft.has_pending_conf() {
            return;
        }
        let last = raft.raft_log.last_index();
        let learners = self.node.store().group().learners.iter().copied();
        let ready = learners.clone().find(|node| {
            let progress = raft.prs().get(*node);
            // After a snapshot it is probed until the next entry comes, and there may be none for long.
            self.lives(self.now, *node)
                && progress.is_some_and(|progress| {
                    let follows = progress.state == ProgressState::Replicate && progress.matched + CAUGHT_UP >= last;
                    follows || progress.matched == last
                })
        });
        if let Some(node) = ready {
            // Whatever is in the way now, the next look finds it gone.
            let _ = self.propose_change(self.now, &Change::Promote(node));
        }
    }

    /// The group from this entry on. The library knows it from here on too: what is committed happens.
    pub(super) fn regroup(&mut self, entry: &Entry) -> Option<Group> {
        let (change, told) = group::read(&entry.data)?;
        let before = self.node.store().group().clone();
        let group = match self.node.raft.apply_conf_change(&change) {
            Ok(state) => before.after(entry.index, state, told),
            // Every member finds the same.
            Err(error) => {
                warn!(index = entry.index, %error, "a change of the members has no effect");
                before
            }
        };
        self.node.mut_store().regroup(group.clone());
        // Other voters may have another majority (see `lease`).
        self.lease.end();
        info!(index = entry.index, voters = ?group.voters, learners = ?group.learners, "the members have changed");
        let me = self.settings.node;
        if self.is_leader() && !group.voters.contains(&me) && !group.outgoing.contains(&me) {
            // It was removed by the leader before it. The library would let it go on.
            let term = self.node.raft.term;
            self.node.raft.become_follower(term, 0);
        }
        Some(group)
    }
}

#[cfg(test)]
mod tests;
