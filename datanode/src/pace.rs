//! Keeps what may take its time to so many bytes in a second, however many do it at once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Who takes a turn waits until the bytes of all who took one before have had their time.
#[derive(Debug)]
pub(crate) struct Pace {
    until: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { until: Mutex::new(Instant::now()) }
    }

    /// When so many bytes may be taken in; they count from then on. Time that nobody used is not saved up.
    fn turn(&self, now: Instant, bytes: u64, rate: u64) -> Instant {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        let took = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = (*until).max(now);
        *until = begins + took;
        begins
    }

    /// Waits for the turn of so many bytes; at rate 0 there is nothing to wait for.
    pub(crate) async fn wait(&self, bytes: u64, rate: u64) {
        if rate > 0 {
            let begins = self.turn(Instant::now(), bytes, rate);
            tokio::time::sleep_until(begins).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_their_time_one_after_the_other_and_none_is_saved_up() {
        let pace = Pace::new();
        let start = Instant::now() + Duration::from_secs(1);
        let after = |millis| start + Duration::from_millis(millis);
        let turns = [(0, 1000), (0, 500), (100, 500)].map(|(at, bytes)| pace.turn(after(at), bytes, 1000));
        assert_eq!(turns, [after(0), after(1000), after(1500)]);
        assert_eq!(pace.turn(after(9000), 1, 1000), after(9000));
        assert_eq!(pace.turn(after(9000), 1, 1000), after(9001));
    }
}
