//! Reads that wait for the proof that this member still leads, and for the state to have come far enough. The proof is a
//! round of messages, or the lease that an earlier round gave (see `lease`).
//!
//! One round of proof is under way at a time; reads that arrive meanwhile share the next (a proof that began before a
//! read was asked for proves nothing for it).

use std::collections::VecDeque;

pub(crate) struct Reads<R> {
    waiting: Vec<R>,
    round: Option<Vec<R>>,
    /// The context of the last round, never used twice.
    context: u64,
    /// Proven, and waiting for the state to reach an index.
    proven: VecDeque<(u64, Vec<R>)>,
}

impl<R> Default for Reads<R> {
    fn default() -> Self {
        Self { waiting: Vec::new(), round: None, context: 0, proven: VecDeque::new() }
    }
}

impl<R> Reads<R> {
    pub(crate) fn add(&mut self, ticket: R) {
        self.waiting.push(ticket);
    }

    /// Under a lease, whatever is committed up to `index` may be read by all that wait. Tells whether any did.
    pub(crate) fn grant(&mut self, index: u64) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        self.proven.push_back((index, std::mem::take(&mut self.waiting)));
        true
    }

    /// The context of a round to begin now, if one is due: for reads that wait, or for its own sake.
    pub(crate) fn begin(&mut self, anyhow: bool) -> Option<Vec<u8>> {
        if self.round.is_some() || (self.waiting.is_empty() && !anyhow) {
            return None;
        }
        self.round = Some(std::mem::take(&mut self.waiting));
        self.context += 1;
        Some(self.context.to_be_bytes().to_vec())
    }

    /// The round with this context has proven that everything up to `index` was committed when it began. Tells whether
    /// that is the round under way.
    pub(crate) fn prove(&mut self, context: &[u8], index: u64) -> bool {
        let Some(reads) = self.round.take_if(|_| context == self.context.to_be_bytes()) else { return false };
        self.proven.push_back((index, reads));
        true
    }

    /// The reads that a state at `applied` may answer.
    pub(crate) fn release(&mut self, applied: u64) -> Option<Vec<R>> {
        self.proven.pop_front_if(|(index, _)| *index <= applied).map(|(_, reads)| reads)
    }

    /// The lead is lost: nothing can be proven any more.
    pub(crate) fn refuse(&mut self) -> impl Iterator<Item = R> {
        let proven = std::mem::take(&mut self.proven).into_iter().flat_map(|(_, reads)| reads);
        let reads = std::mem::take(&mut self.waiting).into_iter().chain(self.round.take().into_iter().flatten());
        reads.chain(proven)
    }
}
