//! When each client session was last heard of, as this leader knows. Not replicated: a new leader has heard nobody yet,
//! and gives every session its whole time again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use types::SessionId;

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    heard: Mutex<HashMap<SessionId, Instant>>,
}

impl Sessions {
    fn heard(&self) -> MutexGuard<'_, HashMap<SessionId, Instant>> {
        self.heard.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn touch(&self, session: SessionId) {
        self.heard().insert(session, Instant::now());
    }

    /// A new leader begins.
    pub(crate) fn forget_all(&self) {
        self.heard().clear();
    }

    /// Of the sessions that exist, those not heard for `timeout`. One seen for the first time counts as heard now.
    pub(crate) fn silent(&self, existing: &[SessionId], timeout: Duration) -> Vec<SessionId> {
        let now = Instant::now();
        let mut heard = self.heard();
        let silent = |session: &&SessionId| now.duration_since(*heard.entry(**session).or_insert(now)) > timeout;
        existing.iter().filter(silent).copied().collect()
    }

    /// How long a session has not been heard. One that this leader has never heard counts as heard now.
    pub(crate) fn silence(&self, session: SessionId) -> Duration {
        let now = Instant::now();
        now.duration_since(*self.heard().entry(session).or_insert(now))
    }

    /// Forgets the sessions that do not exist any more, so that memory follows the state. `existing` is sorted.
    pub(crate) fn retain(&self, existing: &[SessionId]) {
        self.heard().retain(|session, _| existing.binary_search(session).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_silent_only_after_its_whole_time_with_this_leader() {
        let sessions = Sessions::default();
        let existing = [SessionId::new(1), SessionId::new(2)];
        assert!(sessions.silent(&existing, Duration::from_secs(60)).is_empty());
        sessions.touch(SessionId::new(2));
        let touched = sessions.heard()[&SessionId::new(2)];
        while touched.elapsed() <= Duration::from_millis(1) {
            std::hint::spin_loop();
        }
        assert_eq!(sessions.silent(&existing, Duration::from_millis(1)), existing);
        sessions.retain(&existing[..1]);
        assert_eq!(sessions.heard().len(), 1);
        sessions.forget_all();
        assert!(sessions.silent(&existing, Duration::ZERO).is_empty());
    }
}
