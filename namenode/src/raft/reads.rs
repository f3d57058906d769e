//! Reads that wait for the proof that this member still leads, and for the state to have come far enough.
//!
//! One round of proof is under way at a time; reads that arrive meanwhile share the next (a proof that began before a
//! read was asked for proves nothing for it).

use std::collections::VecDeque;

use super::{Readable, Refusal};

#[derive(Default)]
pub(super) struct Reads {
    waiting: Vec<Readable>,
    round: Option<Vec<Readable>>,
    /// The context of the last round, never used twice.
    context: u64,
    /// Proven, and waiting for the state to reach an index.
    proven: VecDeque<(u64, Vec<Readable>)>,
}

impl Reads {
    pub(super) fn add(&mut self, readable: Readable) {
        self.waiting.push(readable);
    }

    /// The context of a round to begin now, if one is due.
    pub(super) fn begin(&mut self) -> Option<Vec<u8>> {
        if self.round.is_some() || self.waiting.is_empty() {
            return None;
        }
        self.round = Some(std::mem::take(&mut self.waiting));
        self.context += 1;
        Some(self.context.to_be_bytes().to_vec())
    }

    /// The round with this context has proven that everything up to `index` was committed when it began.
    pub(super) fn prove(&mut self, context: &[u8], index: u64) {
        if context == self.context.to_be_bytes()
            && let Some(reads) = self.round.take()
        {
            self.proven.push_back((index, reads));
        }
    }

    /// The state has come to `applied`.
    pub(super) fn release(&mut self, applied: u64) {
        while self.proven.front().is_some_and(|(index, _)| *index <= applied) {
            let (_, reads) = self.proven.pop_front().expect("just seen");
            reads.into_iter().for_each(|readable| readable(Ok(applied)));
        }
    }

    /// The lead is lost: nothing can be proven any more.
    pub(super) fn refuse(&mut self) {
        let proven = std::mem::take(&mut self.proven).into_iter().flat_map(|(_, reads)| reads);
        let reads = std::mem::take(&mut self.waiting).into_iter().chain(self.round.take().into_iter().flatten());
        reads.chain(proven).for_each(|readable| readable(Err(Refusal::NotLeader)));
    }
}
