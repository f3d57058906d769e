//! How far the log may be cut.

use tracing::{debug, warn};

use super::super::writer::LogTask;
use super::Driver;
use crate::progress::Progress;

impl Driver {
    /// Invariant 5 of the module.
    pub(super) fn truncate(&mut self) {
        let own = self.progress.persisted.get();
        if self.is_leader() {
            let storage = self.node.store();
            let least = least(self.node.raft.id, own, &self.progress);
            let index = least.max(storage.length().floor(self.log_keep)).min(own);
            self.progress.truncatable.raise(storage.hold().map_or(index, |hold| index.min(hold)));
        }
        let storage = self.node.store();
        let index = self.progress.truncatable.get().min(own);
        let few = index < storage.truncated() + self.truncate_entries;
        if index <= storage.truncated() || (few && storage.length().up_to(index) <= self.log_keep / 16) {
            return;
        }
        match self.node.mut_store().truncate(index) {
            Ok(term) => {
                debug!(index, "the log is cut at the front");
                self.hand_to_log(LogTask::Truncate { index, term });
            }
            Err(error) => warn!(index, %error, "the log cannot be cut"),
        }
    }
}

/// The index that the state of every member has reached on disk, as far as this one has heard since it started.
fn least(me: u64, own: u64, progress: &Progress) -> u64 {
    let others = (1..).zip(&progress.members).filter(|(node, _)| *node != me);
    others.map(|(_, member)| member.get()).fold(own, u64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 5 of the module: one silent member keeps the log, as long as it is short.
    #[test]
    fn the_slowest_member_decides_what_may_be_cut() {
        let progress = Progress::new(3);
        progress.members[1].raise(70);
        assert_eq!(least(1, 100, &progress), 0);
        progress.members[2].raise(200);
        assert_eq!(least(1, 100, &progress), 70);
        assert_eq!(least(1, 50, &progress), 50);
        assert_eq!(least(1, 9, &Progress::new(1)), 9);
    }
}
