//! How often somebody may be wrong about a secret.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures that are forgiven at once, and how long it takes until one more is.
const FREE: f64 = 10.0;
const EACH: Duration = Duration::from_secs(30);
/// Of so many addresses and keys failures are remembered; past it, everybody waits.
const MANY: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Address(IpAddr),
    Key(String),
}

/// Failures that have not faded yet, as of a moment.
#[derive(Debug, Clone, Copy)]
struct Failures {
    count: f64,
    at: Instant,
}

impl Failures {
    fn now(self, now: Instant) -> f64 {
        (self.count - (now - self.at).as_secs_f64() / EACH.as_secs_f64()).max(0.0)
    }
}

#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<Who, Failures>>);

impl Attempts {
    fn known(&self) -> MutexGuard<'_, HashMap<Who, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an attempt as a failure until it is [`forgive`](Self::forgive)n: many at once are no way around the limit.
    /// Else, how long to wait.
    pub(super) fn begin(&self, address: IpAddr, key: &str, now: Instant) -> Result<(), Duration> {
        let mut known = self.known();
        if known.len() >= MANY {
            known.retain(|_, failures| failures.now(now) > 0.0);
        }
        let both = who(address, key);
        let worst = both.iter().filter_map(|who| known.get(who)).map(|failures| failures.now(now)).fold(0.0, f64::max);
        if worst + 1.0 > FREE {
            return Err(EACH.mul_f64(worst + 1.0 - FREE));
        }
        if known.len() + both.len() > MANY {
            return Err(EACH);
        }
        for who in both {
            let count = known.get(&who).map_or(0.0, |failures| failures.now(now)) + 1.0;
            known.insert(who, Failures { count, at: now });
        }
        Ok(())
    }

    /// The attempt was none of somebody who guesses.
    pub(super) fn forgive(&self, address: IpAddr, key: &str, now: Instant) {
        let mut known = self.known();
        for who in who(address, key) {
            if let Some(failures) = known.get_mut(&who) {
                *failures = Failures { count: (failures.now(now) - 1.0).max(0.0), at: now };
            }
        }
    }
}

fn who(address: IpAddr, key: &str) -> [Who; 2] {
    [Who::Address(address.to_canonical()), Who::Key(key.to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_failures_are_forgiven_and_time_forgives_one_after_the_other() {
        let attempts = Attempts::default();
        let [here, there]: [IpAddr; 2] = ["127.0.0.1", "127.0.0.2"].map(|text| text.parse().expect("an address"));
        let now = Instant::now();
        for _ in 0..10 {
            assert_eq!(attempts.begin(here, "K", now), Ok(()));
        }
        let wait = attempts.begin(here, "OTHER", now).expect_err("the address has been wrong too often");
        assert!(wait <= EACH, "{wait:?}");
        assert!(attempts.begin(there, "K", now).is_err(), "and so has the key");
        assert_eq!(attempts.begin(there, "OTHER", now), Ok(()));
        let later = now + EACH + Duration::from_secs(1);
        assert_eq!(attempts.begin(here, "K", later), Ok(()));
        assert!(attempts.begin(here, "K", later).is_err());
    }

    #[test]
    fn whoever_is_right_is_not_held_up() {
        let attempts = Attempts::default();
        let here = "127.0.0.1".parse().expect("an address");
        let now = Instant::now();
        for _ in 0..100 {
            assert_eq!(attempts.begin(here, "K", now), Ok(()));
            attempts.forgive(here, "K", now);
        }
    }
}
