//! Between members, and from clients to members: loss, duplicates, delays, and directions that are cut.

use std::collections::BTreeSet;
use std::time::Duration;

use consensus::Refusal;
use namespace::command::{Origin, Reply, Request};
use raft::eraftpb::Message;

use crate::dice::Dice;
use crate::plan::Plan;

/// An operation of a client, or its repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    /// Nothing for what the leader proposes unasked.
    pub(crate) client: Option<u64>,
    pub(crate) token: u64,
    pub(crate) origin: Option<Origin>,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "few are under way at once in a simulated network")]
pub(crate) enum Answer {
    Done {
        outcome: Result<Reply, namespace::Error>,
    },
    Read,
    /// With the leader, as far as this member knows it; 0 otherwise.
    Refused {
        refusal: Refusal,
        leader: u64,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Parcel {
    Raft {
        messages: Vec<Message>,
        persisted: u64,
        truncatable: u64,
    },
    /// Asks for a file of the snapshot at this index and term.
    Pull {
        at: (u64, u64),
        file: usize,
    },
    /// Without bytes: there is no such snapshot any more.
    File {
        at: (u64, u64),
        file: usize,
        bytes: Option<Vec<u8>>,
    },
    Operation {
        call: Call,
        request: Box<Request>,
    },
    Read {
        call: Call,
    },
    Answer {
        token: u64,
        answer: Box<Answer>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Member(u64),
    Client(u64),
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    /// From, to.
    cut: BTreeSet<(Place, Place)>,
}

impl Network {
    pub(crate) fn cut(&mut self, from: u64, to: u64) {
        self.cut.insert((Place::Member(from), Place::Member(to)));
    }

    pub(crate) fn is_open(&self, from: u64, to: u64) -> bool {
        !self.cut.contains(&(Place::Member(from), Place::Member(to)))
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// After which times the parcel arrives: once, twice, or never.
    pub(crate) fn arrivals(&self, plan: &Plan, dice: &mut Dice, from: Place, to: Place) -> Vec<Duration> {
        if self.cut.contains(&(from, to)) || dice.happens(plan.loss) {
            return Vec::new();
        }
        let mut arrivals = vec![Self::delay(plan, dice)];
        if dice.happens(plan.duplication) {
            arrivals.push(Self::delay(plan, dice));
        }
        arrivals
    }

    fn delay(plan: &Plan, dice: &mut Dice) -> Duration {
        if dice.happens(plan.straggling) { dice.micros(5_000, 2_000_000) } else { dice.micros(100, 4_000) }
    }
}
