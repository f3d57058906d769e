//! How much of its bandwidth a balance may use on a datanode: all of it while what clients ask there takes as long as usual, and
//! less while it takes much longer.
//!
//! 1. The share never falls below [`LEAST`]: a balance comes to its end whatever clients do.
//! 2. It is halved at every look at which clients suffer, and grows by a tenth of the bandwidth at every other.
//! 3. What is usual is learnt within seconds when requests become faster, and within minutes when they become slower: neither a
//!    balance that lasts, nor a disk that has become slower for good, is taken for the other.

use std::time::Duration;

/// Parts of a thousand.
pub const WHOLE: u32 = 1000;
/// The least share (invariant 1).
pub const LEAST: u32 = 100;
const STEP: u32 = 100;
/// Requests that take so many times as long as usual suffer,
const MUCH: u32 = 3;
/// if that is by more than this: people do not notice less, and disks are that uneven.
const NOTICEABLE: Duration = Duration::from_millis(15);
/// Fewer requests between two looks say nothing.
const FEW: u64 = 4;
/// What is usual comes nearer by this part of the distance, if requests are faster, and if they are slower.
const FASTER: u32 = 8;
const SLOWER: u32 = 256;

/// Requests of clients since the look before, and the time that they took together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Served {
    pub requests: u64,
    pub took: Duration,
}

impl Served {
    fn mean(self) -> Option<Duration> {
        (self.requests >= FEW).then(|| {
            let nanos = self.took.as_nanos() / u128::from(self.requests);
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Reads,
    Writes,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
        }
    }
}

/// Why a balance is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suffering {
    pub kind: Kind,
    pub takes: Duration,
    pub usually: Duration,
}

/// Of one datanode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreground {
    reads: Option<Duration>,
    writes: Option<Duration>,
    share: u32,
    /// What was seen last that held the balance back.
    why: Option<Suffering>,
}

impl Default for Foreground {
    fn default() -> Self {
        Self { reads: None, writes: None, share: WHOLE, why: None }
    }
}

impl Foreground {
    /// Takes in what clients asked since the last look.
    pub fn look(&mut self, reads: Served, writes: Served) {
        let reads = suffering(Kind::Reads, &mut self.reads, reads);
        let writes = suffering(Kind::Writes, &mut self.writes, writes);
        // Invariants 1 and 2.
        match reads.or(writes) {
            Some(why) => (self.share, self.why) = ((self.share / 2).max(LEAST), Some(why)),
            None => self.share = (self.share + STEP).min(WHOLE),
        }
    }

    /// Parts of a thousand of the bandwidth.
    pub const fn share(&self) -> u32 {
        self.share
    }

    /// Why it is not the whole, as it was seen last.
    pub fn why(&self) -> Option<Suffering> {
        self.why.filter(|_| self.share < WHOLE)
    }
}

/// Compares requests with what is usual, and learns from them.
fn suffering(kind: Kind, usual: &mut Option<Duration>, served: Served) -> Option<Suffering> {
    let takes = served.mean()?;
    let usually = *usual.get_or_insert(takes);
    // Invariant 3.
    *usual = Some(match takes.checked_sub(usually) {
        Some(slower) => usually + slower / SLOWER,
        None => usually - (usually - takes) / FASTER,
    });
    (takes > usually.saturating_mul(MUCH) && takes > usually + NOTICEABLE).then_some(Suffering { kind, takes, usually })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: Served = Served { requests: 0, took: Duration::ZERO };

    fn served(millis: u64) -> Served {
        Served { requests: 10, took: Duration::from_millis(10 * millis) }
    }

    /// Invariants 1 and 2.
    #[test]
    fn a_balance_yields_while_clients_suffer_and_comes_back_when_they_do_not() {
        let mut node = Foreground::default();
        node.look(served(5), NONE);
        assert_eq!((node.share(), node.why()), (WHOLE, None));
        let slower = [(); 5].map(|()| {
            node.look(served(40), NONE);
            node.share()
        });
        assert_eq!(slower, [500, 250, 125, 100, 100]);
        let why = node.why().expect("it is held back");
        assert_eq!((why.kind, why.takes), (Kind::Reads, Duration::from_millis(40)));
        assert!(why.usually < Duration::from_millis(6), "{why:?}");
        node.look(served(5), NONE);
        assert_eq!((node.share(), node.why()), (200, Some(why)), "it tells of what was seen last");
        (0..8).for_each(|_| node.look(NONE, NONE));
        assert_eq!((node.share(), node.why()), (WHOLE, None), "nobody asks: nobody suffers");
    }

    #[test]
    fn a_few_requests_and_differences_that_nobody_notices_hold_nothing_back() {
        let mut node = Foreground::default();
        node.look(served(1), served(1));
        node.look(served(14), served(14));
        node.look(Served { requests: FEW - 1, took: Duration::from_secs(9) }, NONE);
        assert_eq!(node.share(), WHOLE);
        node.look(NONE, served(40));
        assert_eq!(node.why().map(|why| why.kind), Some(Kind::Writes));
    }

    /// Invariant 3.
    #[test]
    fn a_disk_that_has_become_slower_for_good_is_usual_some_minutes_later() {
        let mut node = Foreground::default();
        node.look(served(5), NONE);
        let minutes = |node: &mut Foreground, minutes: u32| (0..60 * minutes).for_each(|_| node.look(served(40), NONE));
        minutes(&mut node, 1);
        assert_eq!(node.share(), LEAST, "that may be the balance itself");
        minutes(&mut node, 10);
        assert_eq!(node.share(), WHOLE);
        (0..30).for_each(|_| node.look(served(5), NONE));
        node.look(served(40), NONE);
        assert_eq!(node.share(), WHOLE / 2, "that it is fast again is learnt at once");
    }

    proptest! {
        /// Invariants 1 and 2, whatever is told.
        #[test]
        fn the_share_stays_within_its_bounds(looks in prop::collection::vec(any::<(u64, u64, u64, u64)>(), 0..200)) {
            let mut node = Foreground::default();
            for (requests, took, writes, wrote) in looks {
                let before = node.share();
                let of = |requests, nanos| Served { requests, took: Duration::from_nanos(nanos) };
                node.look(of(requests, took), of(writes, wrote));
                prop_assert!((LEAST..=WHOLE).contains(&node.share()));
                let halved = (before / 2).max(LEAST);
                let grown = (before + STEP).min(WHOLE);
                prop_assert!(node.share() == halved || node.share() == grown, "{} after {}", node.share(), before);
                prop_assert_eq!(node.why().is_none(), node.share() == WHOLE);
            }
        }
    }
}
