//! Reads that wait for the proof of how far the state must be, and for the state to have come there.
//!
//! The leader's proof is a round of messages, or the lease that an earlier round gave (see `lease`). Another member asks
//! the leader, whose next round is for it too: what is proven is that everything up to an index was committed when the
//! round began, and whoever has a state of that index may answer.
//!
//! One round of a member is under way at a time; reads that arrive meanwhile share the next (a proof that began before a
//! read was asked for proves nothing for it).

use std::collections::{BTreeMap, VecDeque};

/// What a member puts on a round to know its answer by. No two rounds of a cluster have the same.
pub(crate) type Context = Vec<u8>;
/// The members that ask for the index, and the contexts of their rounds.
pub(crate) type Askers = BTreeMap<u64, Context>;

/// Longer contexts are of no member.
const CONTEXT: usize = 24;

pub(crate) struct Reads<R> {
    waiting: Vec<R>,
    askers: Askers,
    round: Option<Round<R>>,
    /// Of this member and this process.
    prefix: [u8; 16],
    rounds: u64,
    /// Waiting for the state to get there, in the order of their rounds.
    proven: VecDeque<Proven<R>>,
}

struct Proven<R> {
    index: u64,
    /// The tick of the proof.
    at: u64,
    reads: Vec<R>,
}

struct Round<R> {
    context: Context,
    reads: Vec<R>,
    askers: Askers,
}

impl<R> Reads<R> {
    /// `seed`: another one each time that the member starts, so that it takes no answer for its own that an earlier process
    /// asked for.
    pub(crate) fn new(node: u64, seed: u64) -> Self {
        let mut prefix = [0; 16];
        prefix[..8].copy_from_slice(&node.to_be_bytes());
        prefix[8..].copy_from_slice(&seed.to_be_bytes());
        let (waiting, askers, proven) = (Vec::new(), Askers::new(), VecDeque::new());
        Self { waiting, askers, round: None, prefix, rounds: 0, proven }
    }

    pub(crate) fn add(&mut self, ticket: R) {
        self.waiting.push(ticket);
    }

    /// A member asks for the index; it has one round under way, so this one takes the place of an earlier.
    pub(crate) fn ask(&mut self, member: u64, context: &[u8]) {
        if context.len() == CONTEXT {
            self.askers.insert(member, context.to_vec());
        }
    }

    /// Under a lease, whatever is committed up to `index` may be read by all that wait. Tells who is to be told of it;
    /// nothing if nobody waited.
    pub(crate) fn grant(&mut self, index: u64, at: u64) -> Option<Askers> {
        if self.waiting.is_empty() && self.askers.is_empty() {
            return None;
        }
        self.proven.push_back(Proven { index, at, reads: std::mem::take(&mut self.waiting) });
        Some(std::mem::take(&mut self.askers))
    }

    /// The context of a round to begin now, if one is due: for reads that wait, or for its own sake.
    pub(crate) fn begin(&mut self, anyhow: bool) -> Option<Context> {
        if self.round.is_some() || (self.waiting.is_empty() && self.askers.is_empty() && !anyhow) {
            return None;
        }
        self.rounds += 1;
        let context = [&self.prefix[..], &self.rounds.to_be_bytes()].concat();
        let (reads, askers) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.askers));
        self.round = Some(Round { context: context.clone(), reads, askers });
        Some(context)
    }

    /// The answer to the round under way does not come: all that it was for waits for the next.
    pub(crate) fn give_up_round(&mut self) {
        let Some(Round { mut reads, mut askers, .. }) = self.round.take() else { return };
        reads.append(&mut self.waiting);
        self.waiting = reads;
        askers.append(&mut self.askers);
        self.askers = askers;
    }

    /// The round with this context has proven that everything up to `index` was committed when it began. Tells whom it was
    /// for besides, if that is the round under way.
    pub(crate) fn prove(&mut self, context: &[u8], index: u64, at: u64) -> Option<Askers> {
        let Round { reads, askers, .. } = self.round.take_if(|round| round.context == context)?;
        self.proven.push_back(Proven { index, at, reads });
        Some(askers)
    }

    /// The reads that a state at `applied` may answer.
    pub(crate) fn release(&mut self, applied: u64) -> Option<Vec<R>> {
        self.proven.pop_front_if(|proven| proven.index <= applied).map(|proven| proven.reads)
    }

    /// When the reads were proven that wait longest for the state to get there.
    pub(crate) fn oldest_proven(&self) -> Option<u64> {
        self.proven.front().map(|proven| proven.at)
    }

    /// Whether a read waits for a proof.
    pub(crate) fn is_unproven(&self) -> bool {
        !self.waiting.is_empty() || self.round.is_some()
    }

    /// Nothing can be proven, or not soon. Members that asked ask again, of whoever leads.
    pub(crate) fn refuse(&mut self) -> impl Iterator<Item = R> {
        self.askers.clear();
        let proven = std::mem::take(&mut self.proven).into_iter().flat_map(|proven| proven.reads);
        let round = self.round.take().into_iter().flat_map(|round| round.reads);
        std::mem::take(&mut self.waiting).into_iter().chain(round).chain(proven)
    }
}
