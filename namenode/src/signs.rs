//! Signs of trouble that a heartbeat carries with it: a clock that is off, another version, a datanode that stutters or comes
//! and goes. They decide nothing; a doctor reads them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use types::{NodeId, Timestamp};

/// The longest pause between two heartbeats is remembered for so long.
const PAUSES: Duration = Duration::from_secs(60);
/// Silences and restarts are remembered for so long, and so many of them.
const RETURNS: Duration = Duration::from_secs(600);
const MOST_RETURNS: usize = 100;
/// The longest version that is kept.
const VERSION: usize = 64;

/// What a heartbeat says, besides what is in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    /// Drawn by its process.
    pub(crate) instance: u64,
    /// By its own clock, when it was sent; absent of an older version.
    pub(crate) clock: Option<Timestamp>,
    pub(crate) version: &'a str,
}

/// What is known of one datanode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sign {
    /// Its clock minus this one's, in nanoseconds, when it was heard last.
    pub(crate) skew: Option<i64>,
    pub(crate) version: String,
    /// The longest pause between two heartbeats lately, not longer than what makes a datanode suspect.
    pub(crate) pause: Duration,
    /// How often it came back lately, after a silence or as another process.
    pub(crate) returns: usize,
}

#[derive(Debug)]
struct Known {
    heard: Instant,
    instance: u64,
    skew: Option<i64>,
    version: String,
    pauses: VecDeque<(Instant, Duration)>,
    returns: VecDeque<Instant>,
}

#[derive(Debug)]
pub(crate) struct Signs {
    known: Mutex<BTreeMap<NodeId, Known>>,
    /// A longer pause is a silence.
    suspect_after: Duration,
}

impl Signs {
    pub(crate) fn new(suspect_after: Duration) -> Self {
        Self { known: Mutex::default(), suspect_after }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<NodeId, Known>> {
        self.known.lock().expect("no holder of this lock panics")
    }

    /// A datanode that is known was heard, at `now`, which is `time` by this clock.
    pub(crate) fn hear(&self, node: NodeId, told: Told<'_>, now: Instant, time: Timestamp) {
        let skew = told.clock.map(|clock| {
            let apart = i64::try_from(clock.nanos().abs_diff(time.nanos())).unwrap_or(i64::MAX);
            if clock < time { -apart } else { apart }
        });
        let version = told.version[..told.version.floor_char_boundary(VERSION)].to_owned();
        let mut known = self.known();
        let Some(before) = known.get_mut(&node) else {
            let (pauses, returns) = (VecDeque::new(), VecDeque::new());
            known.insert(node, Known { heard: now, instance: told.instance, skew, version, pauses, returns });
            return;
        };
        let pause = now.duration_since(before.heard);
        if pause > self.suspect_after || before.instance != told.instance {
            before.returns.push_back(now);
            if before.returns.len() > MOST_RETURNS {
                before.returns.pop_front();
            }
        } else {
            // Only what may still become the longest: the queue falls, and is short.
            while before.pauses.back().is_some_and(|(_, shorter)| *shorter <= pause) {
                before.pauses.pop_back();
            }
            before.pauses.push_back((now, pause));
        }
        while before.pauses.front().is_some_and(|(at, _)| now.duration_since(*at) > PAUSES) {
            before.pauses.pop_front();
        }
        (before.heard, before.instance, before.skew, before.version) = (now, told.instance, skew, version);
    }

    pub(crate) fn read(&self, now: Instant) -> Vec<(NodeId, Sign)> {
        let lately = |at: Instant, time| now.saturating_duration_since(at) <= time;
        let sign = |known: &Known| Sign {
            skew: known.skew,
            version: known.version.clone(),
            pause: known
                .pauses
                .iter()
                .filter(|(at, _)| lately(*at, PAUSES))
                .map(|(_, pause)| *pause)
                .max()
                .unwrap_or_default(),
            returns: known.returns.iter().filter(|at| lately(**at, RETURNS)).count(),
        };
        self.known().iter().map(|(node, known)| (*node, sign(known))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::new(100);

    fn told(instance: u64, clock: u64) -> Told<'static> {
        Told { instance, clock: Some(Timestamp::from_nanos(clock)), version: "1.2.3" }
    }

    #[test]
    fn a_datanode_that_comes_and_goes_is_counted_for_a_while() {
        let signs = Signs::new(Duration::from_secs(5));
        let start = Instant::now();
        let hear = |at: u64, instance| {
            signs.hear(NODE, told(instance, 7), start + Duration::from_secs(at), Timestamp::from_nanos(9));
        };
        let returns = |at| signs.read(start + Duration::from_secs(at))[0].1.returns;
        for (at, instance) in [(0, 1), (1, 1), (2, 2), (3, 2), (10, 2)] {
            hear(at, instance);
        }
        assert_eq!(returns(10), 2, "another process, and a silence");
        assert_eq!(returns(605), 1);
        assert_eq!(returns(700), 0);
        for at in 11..1000 {
            hear(at, at);
        }
        assert!(returns(1000) <= MOST_RETURNS);
    }

    #[test]
    fn the_longest_pause_is_that_of_the_last_minute() {
        let signs = Signs::new(Duration::from_secs(5));
        let start = Instant::now();
        for millis in [0, 1000, 4000, 5000, 7000] {
            signs.hear(NODE, told(1, 7), start + Duration::from_millis(millis), Timestamp::from_nanos(7));
        }
        let pause = |at| signs.read(start + Duration::from_secs(at))[0].1.pause;
        assert_eq!(pause(7), Duration::from_secs(3));
        assert_eq!(pause(65), Duration::from_secs(2));
        assert_eq!(pause(90), Duration::ZERO);
    }

    #[test]
    fn a_clock_may_be_off_either_way_and_a_version_is_cut() {
        let signs = Signs::new(Duration::from_secs(5));
        let now = Instant::now();
        let long = "ü".repeat(500);
        let skew = |clock, time| {
            let told = Told { version: &long, ..told(1, clock) };
            signs.hear(NODE, told, now, Timestamp::from_nanos(time));
            signs.read(now)[0].1.skew
        };
        assert_eq!((skew(7, 9), skew(9, 7)), (Some(-2), Some(2)));
        assert_eq!((skew(0, u64::MAX), skew(u64::MAX, 0)), (Some(-i64::MAX), Some(i64::MAX)));
        assert!(signs.read(now)[0].1.version.len() <= VERSION);
    }
}
