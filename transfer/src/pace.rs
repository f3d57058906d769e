//! Which hop of a chain is too slow to keep: every hop says once a second how long its own disk takes, and the client end
//! compares them.
//!
//! 1. A hop is slow only in comparison: what holds up all of them alike evicts nobody.
//! 2. One good second clears a hop; so does a pause without reports.

use std::time::Duration;

use types::StorageId;

/// A hop that needs this many times as long as each of the others is slow,
const FACTOR: u32 = 10;
/// if it needs this long at all: whoever is faster is not worth the loss of a replica.
const WORTH: Duration = Duration::from_millis(100);
/// Reports further apart than this do not belong together.
const PAUSE: Duration = Duration::from_secs(3);

/// Watches one chain.
#[derive(Debug)]
pub(crate) struct Pace {
    /// A hop that was slow for so long without a pause is to go.
    evict_after: Duration,
    slow: Option<Slow>,
}

#[derive(Debug)]
struct Slow {
    hop: StorageId,
    since: Duration,
    last: Duration,
}

impl Pace {
    pub(crate) const fn new(evict_after: Duration) -> Self {
        Self { evict_after, slow: None }
    }

    /// Takes in how long each hop took for a packet at worst, since the report before. The hop that is to go, with its time
    /// and the longest of the others; reports that do not cover the whole chain say nothing.
    pub(crate) fn report(
        &mut self,
        now: Duration,
        chain: impl ExactSizeIterator<Item = StorageId>,
        times: &[Duration],
    ) -> Option<(StorageId, Duration, Duration)> {
        if times.len() != chain.len() || times.len() < 2 {
            return None;
        }
        self.slow = self.slow.take().filter(|slow| slow.last + PAUSE >= now);
        let hops: Vec<(Duration, StorageId)> = times.iter().copied().zip(chain).collect();
        let (at, (time, hop)) = hops.iter().copied().enumerate().max_by_key(|(_, (time, _))| *time).expect("two hops");
        let others = hops.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, (time, _))| *time);
        let others = others.max().expect("two hops");
        if time < WORTH || time < others.saturating_mul(FACTOR) {
            self.slow = None;
            return None;
        }
        let since = self.slow.take().filter(|slow| slow.hop == hop).map_or(now, |slow| slow.since);
        self.slow = Some(Slow { hop, since, last: now });
        (since + self.evict_after <= now).then_some((hop, time, others))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHAIN: [StorageId; 3] =
        [StorageId::from_bytes([1; 16]), StorageId::from_bytes([2; 16]), StorageId::from_bytes([3; 16])];

    fn report(pace: &mut Pace, second: u64, millis: &[u64]) -> Option<StorageId> {
        let times: Vec<Duration> = millis.iter().copied().map(Duration::from_millis).collect();
        pace.report(Duration::from_secs(second), CHAIN.into_iter(), &times).map(|(hop, _, _)| hop)
    }

    #[test]
    fn a_hop_ten_times_slower_than_the_others_for_ten_seconds_goes() {
        let mut pace = Pace::new(Duration::from_secs(10));
        for second in 100..110 {
            assert_eq!(report(&mut pace, second, &[30, 400, 40]), None, "after {second}");
        }
        assert_eq!(report(&mut pace, 110, &[30, 400, 40]), Some(CHAIN[1]));
    }

    /// Invariant 2.
    #[test]
    fn a_good_second_another_hop_or_a_pause_begins_anew() {
        for (second, between) in [(105, Some([30, 399, 40])), (105, Some([30, 40, 400])), (0, None)] {
            let mut pace = Pace::new(Duration::from_secs(10));
            for second in 100..105 {
                assert_eq!(report(&mut pace, second, &[30, 400, 40]), None);
            }
            if let Some(between) = between {
                assert_eq!(report(&mut pace, second, &between), None);
            }
            for second in 109..119 {
                assert_eq!(report(&mut pace, second, &[30, 400, 40]), None, "{between:?}");
            }
            assert_eq!(report(&mut pace, 119, &[30, 400, 40]), Some(CHAIN[1]), "{between:?}");
        }
    }

    /// Invariant 1.
    #[test]
    fn who_is_fast_enough_or_slow_like_another_stays() {
        let mut pace = Pace::new(Duration::from_secs(10));
        for second in 0..60 {
            assert_eq!(report(&mut pace, second, &[1, 1, 99]), None, "fast enough");
        }
        for second in 60..120 {
            assert_eq!(report(&mut pace, second, &[1, 5000, 4000]), None, "two are slow");
        }
        for second in 120..180 {
            assert_eq!(report(&mut pace, second, &[5000, 1]), None, "it says nothing of the third");
            assert_eq!(report(&mut pace, second, &[]), None);
        }
        let mut alone = Pace::new(Duration::from_secs(10));
        let slow = [Duration::from_secs(9)];
        assert!((0..60).all(|at| alone.report(Duration::from_secs(at), CHAIN[..1].iter().copied(), &slow).is_none()));
    }

    proptest! {
        /// Invariant 1: nobody goes who is not ten times as slow as each of the others.
        #[test]
        fn only_outliers_go(rounds in prop::collection::vec(prop::array::uniform3(0_u64..3000), 0..60)) {
            let mut pace = Pace::new(Duration::from_secs(10));
            for (second, times) in (0..).zip(&rounds) {
                if let Some(hop) = report(&mut pace, second, times) {
                    let at = CHAIN.iter().position(|other| *other == hop).expect("one of the chain");
                    prop_assert!((0..3).all(|other| other == at || times[at] >= 10 * times[other]));
                    prop_assert!(times[at] >= 100 && second >= 10);
                }
            }
        }
    }
}
