//! How often a datanode went away and came back. One that keeps doing so is held down: nothing new is put on it while there
//! are others, until it has stayed for a while that grows with every return.
//!
//! 1. Coming back once is no reason: that is how a restart looks.
//! 2. The time that a node is held grows with its returns in the last hour, up to a limit.

use std::collections::VecDeque;
use std::time::Duration;

/// Returns that are longer ago do not count.
const MEMORY: Duration = Duration::from_secs(3600);
/// The longest hold, in units of the shortest: half an hour if that is a minute.
const LONGEST: u32 = 30;
const MAX_RETURNS: usize = 64;

/// Of one datanode. Times are those of one clock.
#[derive(Debug, Clone, Default)]
pub struct Stability {
    returns: VecDeque<Duration>,
    held_until: Duration,
}

/// Why and for how long a node is held down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub left: Duration,
    /// In the last hour.
    pub returns: usize,
}

impl Stability {
    /// The node was silent, or was started anew, and is back. `hold` is how long the second return holds it; each further
    /// one holds it twice as long as the one before.
    pub fn returned(&mut self, now: Duration, hold: Duration) {
        self.forget(now);
        if self.returns.len() == MAX_RETURNS {
            self.returns.pop_front();
        }
        self.returns.push_back(now);
        // Invariant 1.
        let Some(doublings) = self.returns.len().checked_sub(2) else { return };
        let factor = LONGEST.min(1 << doublings.min(16));
        self.held_until = self.held_until.max(now + hold.saturating_mul(factor));
    }

    /// Whether the node is held down.
    pub fn held(&self, now: Duration) -> Option<Held> {
        let left = self.held_until.checked_sub(now).filter(|left| !left.is_zero())?;
        let returns = self.returns.iter().filter(|at| **at + MEMORY > now).count();
        Some(Held { left, returns })
    }

    fn forget(&mut self, now: Duration) {
        while self.returns.front().is_some_and(|at| *at + MEMORY <= now) {
            self.returns.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOLD: Duration = second(30);

    const fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    /// Invariants 1 and 2.
    #[test]
    fn every_return_but_the_first_holds_a_node_for_twice_as_long() {
        let mut node = Stability::default();
        node.returned(second(1000), HOLD);
        assert_eq!(node.held(second(1000)), None);
        for (at, returns, left) in [
            (1100, 2, 30),
            (1200, 3, 60),
            (1300, 4, 120),
            (1500, 5, 240),
            (1800, 6, 480),
            (2300, 7, 900),
            (3300, 8, 900),
        ] {
            node.returned(second(at), HOLD);
            assert_eq!(node.held(second(at)), Some(Held { left: second(left), returns }));
            assert_eq!(node.held(second(at + left)), None);
        }
    }

    #[test]
    fn a_node_that_stayed_for_an_hour_may_be_restarted_again() {
        let mut node = Stability::default();
        node.returned(second(0), HOLD);
        node.returned(second(100), HOLD);
        node.returned(second(3700), HOLD);
        assert_eq!(node.held(second(3700)), None);
        node.returned(second(3800), HOLD);
        assert_eq!(node.held(second(3800)), Some(Held { left: second(30), returns: 2 }));
    }

    proptest! {
        #[test]
        fn no_node_is_held_for_longer_than_the_limit(gaps in prop::collection::vec(0_u64..2000, 0..200)) {
            let mut node = Stability::default();
            let mut now = Duration::ZERO;
            for gap in gaps {
                now += second(gap);
                node.returned(now, HOLD);
                prop_assert!(node.held(now).is_none_or(|held| held.left <= LONGEST * HOLD && held.returns <= MAX_RETURNS));
                prop_assert_eq!(node.held(now + LONGEST * HOLD), None);
            }
        }
    }
}
