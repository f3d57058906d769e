//! How far the log may be cut.

use tracing::{debug, warn};

use super::{Core, Output, Progressed};

impl<P, R> Core<P, R> {
    /// Cuts the log as far as it may be, even if that is little.
    pub fn cut(&mut self, progressed: Progressed, persisted_by: impl Fn(u64) -> u64) {
        self.known = progressed;
        self.truncate(persisted_by, 1);
    }

    /// Invariant 5. It is done for so many entries, or for many bytes.
    pub(super) fn truncate(&mut self, persisted_by: impl Fn(u64) -> u64, entries: u64) {
        // The library reads the log from what it knows to be applied, and that is behind while entries that a majority has
        // are not durable here.
        let own = self.known.persisted.min(self.node.raft.raft_log.applied);
        let mut truncatable = self.known.truncatable;
        if self.is_leader() {
            let storage = self.node.store();
            let others = self.node.raft.prs().iter().map(|(node, _)| *node).filter(|node| *node != self.settings.node);
            let least = least(own, others.map(persisted_by));
            let index = least.max(storage.length().floor(self.settings.log_keep)).min(own);
            truncatable = truncatable.max(storage.hold().map_or(index, |hold| index.min(hold)));
            self.outputs.push(Output::Truncatable(truncatable));
        }
        let storage = self.node.store();
        let index = truncatable.min(own);
        let few = index < storage.truncated() + entries;
        if index <= storage.truncated() || (few && storage.length().up_to(index) <= self.settings.log_keep / 16) {
            return;
        }
        match self.node.mut_store().truncate(index) {
            Ok(term) => {
                debug!(index, "the log is cut at the front");
                self.outputs.push(Output::Truncate { index, term });
            }
            Err(error) => warn!(index, %error, "the log cannot be cut"),
        }
    }
}

/// The index that the state of every member has reached on disk, as far as this one has heard since it started.
fn least(own: u64, others: impl Iterator<Item = u64>) -> u64 {
    others.fold(own, u64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 5: one silent member keeps the log, as long as it is short.
    #[test]
    fn the_slowest_member_decides_what_may_be_cut() {
        assert_eq!(least(100, [70, 0].into_iter()), 0);
        assert_eq!(least(100, [70, 200].into_iter()), 70);
        assert_eq!(least(50, [70, 200].into_iter()), 50);
        assert_eq!(least(9, [].into_iter()), 9);
    }
}
