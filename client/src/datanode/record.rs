//! What this client has seen of each datanode lately: how long it took to answer, whether it failed, and how much is asked of
//! it now. No clock: time is since the client began.
//!
//! What is seen fades. A datanode that nobody asks is one that nothing is known of a minute or two later, and is tried again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// No more datanodes are remembered.
const REMEMBERED: usize = 256;
/// A datanode that failed once is asked last for this long; each further failure doubles it.
const SUSPECTED: Duration = Duration::from_secs(15);
const SUSPECTED_AT_MOST: Duration = Duration::from_secs(120);
/// What a datanode did counts half as much for each of these in which nobody asked it.
const HALF_LIFE: Duration = Duration::from_secs(20);
/// Fewer answers than these say nothing of the slowest in a hundred.
const ENOUGH: u32 = 20;
/// With so many answers all count half from then on, so that old ones fade under new ones.
const FULL: u32 = 512;

/// A second request goes out when the first has taken this many times as long as 99 in 100 do.
const TIMES_P99: u32 = 3;
const HEDGE_AT_LEAST: Duration = Duration::from_millis(5);
const HEDGE_AT_MOST: Duration = Duration::from_secs(1);
/// While too little is known.
const HEDGE_UNKNOWN: Duration = Duration::from_millis(500);
/// One second request for so many first ones, in the long run: when everything is slow, asking twice makes it slower.
const READS_PER_HEDGE: u32 = 16;
/// Second requests that may go out at once.
const HEDGES_AT_ONCE: u32 = 8;

/// The first bytes of long reads take longer than short reads: they are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Short,
    Long,
}

impl Class {
    const LONG: u64 = 64 << 10;

    pub(crate) const fn of(length: u64) -> Self {
        if length < Self::LONG { Self::Short } else { Self::Long }
    }
}

/// How long answers took: counts of durations, in steps of a factor of √2.
#[derive(Debug, Clone)]
struct Latencies {
    counts: [u32; STEPS],
    total: u32,
}

/// From 32 µs up to more than a minute.
const STEPS: usize = 44;
const FIRST_STEP: u64 = 32;

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: [0; STEPS], total: 0 }
    }
}

impl Latencies {
    fn step(took: Duration) -> usize {
        // A million seconds are in the last step as well.
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).min(1_000_000_000_000);
        let power = (micros / FIRST_STEP).max(1).ilog2();
        let lower = FIRST_STEP << power;
        let is_upper_half = u128::from(micros).pow(2) >= 2 * u128::from(lower).pow(2);
        (2 * power as usize + usize::from(is_upper_half)).min(STEPS - 1)
    }

    /// Where a step ends.
    fn end(step: usize) -> Duration {
        let next = step + 1;
        let whole = FIRST_STEP << (next / 2);
        Duration::from_micros(if next.is_multiple_of(2) { whole } else { whole * 14_143 / 10_000 })
    }

    fn add(&mut self, took: Duration) {
        if self.total >= FULL {
            self.halve(1);
        }
        self.counts[Self::step(took)] += 1;
        self.total += 1;
    }

    fn halve(&mut self, times: u32) {
        self.counts.iter_mut().for_each(|count| *count = count.checked_shr(times).unwrap_or(0));
        self.total = self.counts.iter().sum();
    }

    /// What `percent` in a hundred do not exceed.
    fn quantile(&self, percent: u32) -> Option<Duration> {
        let wanted = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let step = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(Self::end(step))
    }
}

#[derive(Debug, Default)]
struct Record {
    short: Latencies,
    long: Latencies,
    /// Reads that are under way.
    outstanding: u32,
    /// Failures since the last success, and until when that counts.
    failures: u32,
    suspect_until: Duration,
    seen: Duration,
}

impl Record {
    fn latencies(&mut self, class: Class) -> &mut Latencies {
        match class {
            Class::Short => &mut self.short,
            Class::Long => &mut self.long,
        }
    }

    /// Lets fade what is old.
    fn age(&mut self, now: Duration) {
        let times = (now.saturating_sub(self.seen).as_millis() / HALF_LIFE.as_millis()).min(32) as u32;
        if times > 0 {
            self.short.halve(times);
            self.long.halve(times);
            self.failures = self.failures.checked_shr(times).unwrap_or(0);
            self.seen += HALF_LIFE * times;
        }
    }
}

/// The datanodes that this client has to do with.
#[derive(Debug)]
pub(crate) struct Records {
    nodes: BTreeMap<SocketAddr, Record>,
    /// What second requests may take, in parts of one.
    credit: u32,
}

impl Default for Records {
    fn default() -> Self {
        Self { nodes: BTreeMap::new(), credit: HEDGES_AT_ONCE * READS_PER_HEDGE }
    }
}

/// What is known of a datanode before it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// It failed lately.
    pub(crate) suspect: bool,
    /// How long answers take, once those are done that are under way. One that nothing is known of is hoped to be fast:
    /// nobody would ever find out otherwise.
    pub(crate) wait: Duration,
}

impl Records {
    fn record(&mut self, node: SocketAddr, now: Duration) -> &mut Record {
        if self.nodes.len() >= REMEMBERED && !self.nodes.contains_key(&node) {
            let idle = self.nodes.iter().filter(|(_, record)| record.outstanding == 0);
            if let Some(oldest) = idle.min_by_key(|(_, record)| record.seen).map(|(node, _)| *node) {
                self.nodes.remove(&oldest);
            }
        }
        let record = self.nodes.entry(node).or_insert_with(|| Record { seen: now, ..Record::default() });
        record.age(now);
        record
    }

    /// A read begins.
    pub(crate) fn began(&mut self, node: SocketAddr, now: Duration) {
        self.record(node, now).outstanding += 1;
        self.credit = (self.credit + 1).min(HEDGES_AT_ONCE * READS_PER_HEDGE);
    }

    /// A read that began is over, one way or the other.
    pub(crate) fn ended(&mut self, node: SocketAddr) {
        if let Some(record) = self.nodes.get_mut(&node) {
            record.outstanding = record.outstanding.saturating_sub(1);
        }
    }

    /// The first bytes were there after so long; the node is well.
    pub(crate) fn answered(&mut self, node: SocketAddr, class: Class, took: Duration, now: Duration) {
        let record = self.record(node, now);
        record.latencies(class).add(took);
        record.seen = now;
        (record.failures, record.suspect_until) = (0, Duration::ZERO);
    }

    /// It was left after so long because another was faster.
    pub(crate) fn overtaken(&mut self, node: SocketAddr, class: Class, after: Duration, now: Duration) {
        let record = self.record(node, now);
        record.latencies(class).add(after);
        record.seen = now;
    }

    pub(crate) fn failed(&mut self, node: SocketAddr, now: Duration) {
        let record = self.record(node, now);
        let doubled = SUSPECTED.saturating_mul(1 << record.failures.min(8)).min(SUSPECTED_AT_MOST);
        record.failures = record.failures.saturating_add(1);
        record.suspect_until = now + doubled;
        record.seen = now;
    }

    pub(crate) fn is_suspect(&self, node: SocketAddr, now: Duration) -> bool {
        self.nodes.get(&node).is_some_and(|record| now < record.suspect_until)
    }

    pub(crate) fn outlook(&mut self, node: SocketAddr, class: Class, now: Duration) -> Outlook {
        let suspect = self.is_suspect(node, now);
        let Some(record) = self.nodes.get_mut(&node) else { return Outlook { suspect, wait: Duration::ZERO } };
        record.age(now);
        let outstanding = record.outstanding;
        let wait = match record.latencies(class).quantile(50) {
            Some(median) => median.saturating_mul(outstanding + 1),
            None => Duration::from_micros(FIRST_STEP).saturating_mul(outstanding),
        };
        Outlook { suspect, wait }
    }

    /// How long to wait for the first of `nodes` before a second one is asked: as long as the best of them would hardly
    /// ever take.
    pub(crate) fn hedge_after(&self, nodes: impl Iterator<Item = SocketAddr>, class: Class) -> Duration {
        let known = nodes.filter_map(|node| {
            let record = self.nodes.get(&node)?;
            let latencies = match class {
                Class::Short => &record.short,
                Class::Long => &record.long,
            };
            latencies.quantile(99).filter(|_| latencies.total >= ENOUGH)
        });
        let best = known.min().map(|p99| p99.saturating_mul(TIMES_P99));
        best.unwrap_or(HEDGE_UNKNOWN).clamp(HEDGE_AT_LEAST, HEDGE_AT_MOST)
    }

    /// Whether a second request may go out now, which it then does.
    pub(crate) fn may_hedge(&mut self) -> bool {
        let left = self.credit.checked_sub(READS_PER_HEDGE);
        self.credit = left.unwrap_or(self.credit);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn node(number: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, number))
    }

    fn now(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn durations_fall_into_steps_that_end_above_them_and_by_less_than_half_more() {
        for micros in [33, 45, 46, 64, 90, 91, 1000, 1448, 50_000, 3_000_000] {
            let took = Duration::from_micros(micros);
            let end = Latencies::end(Latencies::step(took));
            assert!(took <= end && end <= took * 3 / 2 + Duration::from_micros(32), "{micros}: {end:?}");
        }
        assert_eq!(Latencies::step(Duration::ZERO), 0);
        assert_eq!(Latencies::step(Duration::MAX), STEPS - 1);
    }

    #[test]
    fn a_hedge_waits_for_three_times_what_the_best_hardly_ever_exceeds() {
        let mut records = Records::default();
        let both = || [node(1), node(2)].into_iter();
        assert_eq!(records.hedge_after(both(), Class::Short), HEDGE_UNKNOWN);
        for _ in 0..ENOUGH {
            records.answered(node(1), Class::Short, 10 * MS, now(1));
            records.answered(node(2), Class::Short, 200 * MS, now(1));
        }
        let delay = records.hedge_after(both(), Class::Short);
        assert!((30 * MS..45 * MS).contains(&delay), "{delay:?}");
        assert_eq!(records.hedge_after(both(), Class::Long), HEDGE_UNKNOWN, "long reads are counted apart");
        assert_eq!(
            records.hedge_after([node(2)].into_iter(), Class::Short),
            3 * Latencies::end(Latencies::step(200 * MS))
        );
        // A second slow one in a hundred is what counts.
        for _ in 0..2 {
            records.answered(node(1), Class::Short, 900 * MS, now(1));
        }
        let slower = records.hedge_after([node(1)].into_iter(), Class::Short);
        assert_eq!(slower, HEDGE_AT_MOST);
    }

    #[test]
    fn what_was_seen_fades_and_a_datanode_that_nobody_asks_is_unknown_again() {
        let mut records = Records::default();
        for _ in 0..8 {
            records.answered(node(1), Class::Short, 100 * MS, now(1));
        }
        assert!(records.outlook(node(1), Class::Short, now(1)).wait >= 100 * MS);
        assert_eq!(records.outlook(node(1), Class::Short, now(200)).wait, Duration::ZERO);
        // New answers outweigh old ones.
        for _ in 0..2 * FULL {
            records.answered(node(1), Class::Short, MS, now(200));
        }
        assert!(records.outlook(node(1), Class::Short, now(200)).wait < 2 * MS);
    }

    #[test]
    fn failures_make_a_suspect_for_longer_each_time_and_an_answer_clears_it() {
        let mut records = Records::default();
        records.failed(node(1), now(1));
        assert!(records.is_suspect(node(1), now(15)) && !records.is_suspect(node(1), now(16)));
        records.failed(node(1), now(16));
        assert!(records.is_suspect(node(1), now(45)) && !records.is_suspect(node(1), now(46)));
        for _ in 0..50 {
            records.failed(node(1), now(46));
        }
        assert!(records.is_suspect(node(1), now(165)) && !records.is_suspect(node(1), now(166)));
        records.answered(node(1), Class::Long, MS, now(47));
        assert!(!records.is_suspect(node(1), now(47)));
    }

    #[test]
    fn reads_under_way_make_the_wait_longer() {
        let mut records = Records::default();
        records.answered(node(1), Class::Short, MS, now(1));
        let alone = records.outlook(node(1), Class::Short, now(1)).wait;
        records.began(node(1), now(1));
        records.began(node(1), now(1));
        assert_eq!(records.outlook(node(1), Class::Short, now(1)).wait, alone * 3);
        records.ended(node(1));
        records.ended(node(1));
        records.ended(node(1));
        assert_eq!(records.outlook(node(1), Class::Short, now(1)).wait, alone);
    }

    #[test]
    fn second_requests_are_a_small_share_of_the_first() {
        let mut records = Records::default();
        let taken = |records: &mut Records| (0..1000).take_while(|_| records.may_hedge()).count();
        assert_eq!(taken(&mut records), HEDGES_AT_ONCE as usize);
        for _ in 0..2 * READS_PER_HEDGE {
            records.began(node(1), now(1));
        }
        assert_eq!(taken(&mut records), 2);
    }

    #[test]
    fn no_more_datanodes_are_remembered_than_there_is_room_for() {
        let mut records = Records::default();
        records.began(node(1), now(0));
        for number in 2..1000 {
            records.failed(node(number), now(u64::from(number)));
        }
        assert!(records.nodes.len() <= REMEMBERED);
        assert!(records.nodes.contains_key(&node(1)), "it is in use");
    }
}
