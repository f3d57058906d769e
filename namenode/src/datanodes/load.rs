//! What the sums of a datanode's heartbeats say of its clients between two looks.

use std::time::{Duration, Instant};

use namespace::balance::foreground::{Foreground, Served};
use proto::v1;

/// Heartbeats may come more often than once a second, when there are results.
const LOOK: Duration = Duration::from_secs(1);

/// Of one process of a datanode.
#[derive(Debug, Clone, Default)]
pub(super) struct Load {
    pub(super) foreground: Foreground,
    looked: Option<(Instant, v1::Served, v1::Served)>,
}

impl Load {
    /// Takes in the sums, at `now`.
    pub(super) fn hear(&mut self, now: Instant, reads: v1::Served, writes: v1::Served) {
        if let Some((before, read, wrote)) = self.looked {
            if now.saturating_duration_since(before) < LOOK {
                return;
            }
            self.foreground.look(between(read, reads), between(wrote, writes));
        }
        self.looked = Some((now, reads, writes));
    }
}

/// Sums that have become smaller say nothing.
fn between(before: v1::Served, now: v1::Served) -> Served {
    match (now.pieces.checked_sub(before.pieces), now.micros.checked_sub(before.micros)) {
        (Some(requests), Some(micros)) => Served { requests, took: Duration::from_micros(micros) },
        _ => Served::default(),
    }
}

#[cfg(test)]
mod tests {
    use namespace::balance::foreground::WHOLE;

    use super::*;

    const NOTHING: v1::Served = v1::Served { pieces: 0, micros: 0 };

    /// Sums of so many pieces of so many milliseconds each.
    fn sums(pieces: u64, millis: u64) -> v1::Served {
        v1::Served { pieces, micros: pieces * millis * 1000 }
    }

    #[test]
    fn what_is_between_two_looks_counts_and_what_comes_too_early_waits_for_the_next() {
        let mut load = Load::default();
        let start = Instant::now();
        let mut hear = |millis, reads| {
            load.hear(start + Duration::from_millis(millis), reads, NOTHING);
            load.foreground.share()
        };
        assert_eq!(hear(0, sums(1000, 90)), WHOLE, "of times that nobody knows");
        let usual = v1::Served { pieces: 1100, micros: 90_000_000 + 100 * 5000 };
        assert_eq!(hear(1000, usual), WHOLE);
        let slow = v1::Served { pieces: 1110, micros: usual.micros + 10 * 80_000 };
        assert_eq!(hear(1900, slow), WHOLE, "too early");
        assert_eq!(hear(2100, slow), WHOLE / 2);
        assert!(hear(3100, NOTHING) > WHOLE / 2, "smaller sums say nothing");
        assert_eq!(hear(4100, v1::Served { pieces: u64::MAX, micros: u64::MAX }), 700, "nobody overflows");
    }
}
