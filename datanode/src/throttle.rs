//! How fast this node may copy for repair: as fast as it goes while nobody else needs the disks, and slower as soon as
//! clients have to wait for them.
//!
//! 1. Whatever clients do, copies go on at [`LEAST`].
//! 2. The rate is halved when somebody waited for too long since the last look, and grows by a quarter when nobody did.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes a second.
const LEAST: u64 = 8 << 20;
/// Between two looks at how long clients wait.
const LOOK: Duration = Duration::from_millis(250);

/// The longest time that anybody waited since it was asked last.
#[derive(Debug, Default)]
pub(crate) struct LongestWait(AtomicU64);

impl LongestWait {
    pub(crate) fn note(&self, waited: Duration) {
        self.0.fetch_max(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn take(&self) -> Duration {
        Duration::from_micros(self.0.swap(0, Ordering::Relaxed))
    }
}

#[derive(Debug)]
pub(crate) struct Throttle {
    /// Bytes a second.
    rate: u64,
    most: u64,
    /// A wait that is longer slows copies down.
    patience: Duration,
    looked: Duration,
}

impl Throttle {
    /// At most `most` bytes a second.
    pub(crate) fn new(most: u64, patience: Duration) -> Self {
        let most = most.max(LEAST);
        Self { rate: most, most, patience, looked: Duration::ZERO }
    }

    /// The bytes that may be copied in a second from now on. `longest_wait` is asked for the longest that anybody waited for
    /// a disk since it was asked before.
    pub(crate) fn rate(&mut self, now: Duration, longest_wait: impl FnOnce() -> Duration) -> u64 {
        if now >= self.looked + LOOK {
            self.looked = now;
            // Invariants 1 and 2.
            self.rate = match longest_wait() > self.patience {
                true => (self.rate / 2).max(LEAST),
                false => (self.rate + self.rate / 4).min(self.most),
            };
        }
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);
    const MIB: u64 = 1 << 20;

    #[test]
    fn copies_yield_to_clients_that_wait_and_go_faster_again() {
        let mut throttle = Throttle::new(64 * MIB, PATIENCE);
        let mut at = Duration::ZERO;
        let mut after = |waited: Duration| {
            at += LOOK;
            throttle.rate(at, || waited) / MIB
        };
        assert_eq!(after(PATIENCE), 64, "that is no wait");
        let slower = [PATIENCE * 2; 5].map(&mut after);
        assert_eq!(slower, [32, 16, 8, 8, 8], "invariant 1");
        let faster = [Duration::ZERO; 12].map(&mut after);
        assert_eq!(faster, [10, 12, 15, 19, 24, 30, 38, 47, 59, 64, 64, 64], "invariant 2");
    }

    #[test]
    fn between_two_looks_the_rate_stays_and_nobody_is_asked() {
        let mut throttle = Throttle::new(64 * MIB, PATIENCE);
        throttle.rate(LOOK, || PATIENCE * 2);
        assert_eq!(throttle.rate(LOOK * 2 - Duration::from_nanos(1), || unreachable!("too early")), 32 * MIB);
    }

    #[test]
    fn the_longest_wait_is_told_once() {
        let waits = LongestWait::default();
        for millis in [3, 9, 5] {
            waits.note(Duration::from_millis(millis));
        }
        assert_eq!((waits.take(), waits.take()), (Duration::from_millis(9), Duration::ZERO));
    }
}
