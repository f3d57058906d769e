//! What a seed is like: how many members, and how bad the weather.

use std::time::Duration;

use crate::dice::Dice;

/// All chances are per million.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) members: u64,
    pub(crate) clients: u64,
    /// How long faults go on.
    pub(crate) faults_for: Duration,
    pub(crate) tick: Duration,
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    /// Messages that are much later than others, and so overtaken.
    pub(crate) straggling: u64,
    /// A member dies at one of its writes, syncs, flushes or steps of an installation.
    pub(crate) death_at_io: u64,
    /// Bytes on their way in a snapshot change.
    pub(crate) corruption: u64,
    /// Between two faults, at most.
    pub(crate) fault_every: Duration,
    pub(crate) sync: Duration,
    pub(crate) flush_every: Duration,
    pub(crate) truncate_entries: u64,
    pub(crate) log_keep: u64,
    pub(crate) snapshot_expiry: Duration,
    /// Of one client, at most.
    pub(crate) outstanding: usize,
    pub(crate) think: Duration,
}

impl Plan {
    pub(crate) fn of(dice: &mut Dice) -> Self {
        let millis = |dice: &mut Dice, low, high| Duration::from_millis(dice.between(low, high));
        Self {
            members: dice.one_of(&[3, 3, 3, 4, 5, 5, 6, 7]),
            clients: dice.between(2, 6),
            faults_for: millis(dice, 4_000, 12_000),
            tick: Duration::from_millis(10),
            loss: dice.one_of(&[0, 1_000, 20_000, 100_000]),
            duplication: dice.one_of(&[0, 1_000, 30_000]),
            straggling: dice.one_of(&[0, 5_000, 50_000]),
            death_at_io: dice.one_of(&[0, 200, 2_000, 10_000]),
            corruption: dice.one_of(&[0, 50_000]),
            fault_every: millis(dice, 100, 2_000),
            sync: millis(dice, 1, 8),
            flush_every: millis(dice, 50, 1_500),
            truncate_entries: dice.one_of(&[1, 10, 100]),
            log_keep: dice.one_of(&[0, 0, 1 << 10, 64 << 10, 1 << 30]),
            snapshot_expiry: millis(dice, 300, 5_000),
            outstanding: dice.between(1, 5) as usize,
            think: millis(dice, 2, 60),
        }
    }

    /// Nothing goes wrong by itself any more.
    pub(crate) const fn heal(&mut self) {
        (self.loss, self.duplication, self.straggling) = (0, 0, 0);
        (self.death_at_io, self.corruption) = (0, 0);
    }
}
