//! The leader's right to answer reads without asking the others each time.
//!
//! A round of proof that began at some moment shows that a majority has heard of this leader since. Each of them keeps
//! from voting for another until its election timeout has passed without a word of the leader. So from the beginning of
//! the round on, for less than the shortest election timeout, nobody else can lead.
//!
//! What could break this, and what is done about it:
//! - Timeouts count ticks, and a member that was held up makes up for at most [`PAUSE_TICKS`] of them at once:
//!   [`LEASE_TICKS`] leaves them off, and more for clocks that do not run alike.
//! - A member that starts anew has forgotten whom it heard: it votes for nobody before an election timeout has passed
//!   (see [`Core::step`](crate::Core::step)).
//! - A leader that hands over has itself replaced without any timeout, and its word may arrive late: it takes no lease for
//!   the rest of its term.
//! - Another set of voters may have another majority: a change of members ends the lease, and what a round that began
//!   before it would have given.
//! - This member may have been stopped: the lease is compared with the time of each turn, by a clock that goes on while
//!   the machine sleeps.

use std::time::Duration;

use crate::core::{ELECTION_TICKS, PAUSE_TICKS};

/// How long a lease lasts from the beginning of its round.
const LEASE_TICKS: u32 = ELECTION_TICKS as u32 - PAUSE_TICKS - 2;
/// Reads that come so long before its end have it renewed.
const RENEW_TICKS: u32 = LEASE_TICKS / 2;

#[derive(Debug, Default)]
pub(crate) struct Lease {
    until: Option<Duration>,
    /// When the round under way began.
    asked: Option<Duration>,
    /// The term in which none is taken any more.
    barred: u64,
}

impl Lease {
    /// A round begins.
    pub(crate) fn asked(&mut self, now: Duration) {
        self.asked = Some(now);
    }

    /// The round has proven the lead of `term`.
    pub(crate) fn proven(&mut self, term: u64, tick: Duration) {
        if let Some(asked) = self.asked.take()
            && term != self.barred
        {
            self.until = Some(asked + tick * LEASE_TICKS);
        }
    }

    pub(crate) fn is_valid(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Whether a read at `now` should have it renewed, although it is valid.
    pub(crate) fn is_old(&self, now: Duration, tick: Duration) -> bool {
        self.until.is_none_or(|until| now + tick * RENEW_TICKS >= until)
    }

    /// When it ends, if there is one.
    pub(crate) fn until(&self) -> Option<Duration> {
        self.until
    }

    /// The lead is lost, or its voters change.
    pub(crate) fn end(&mut self) {
        (self.until, self.asked) = (None, None);
    }

    /// The lead of `term` is handed over.
    pub(crate) fn bar(&mut self, term: u64) {
        self.end();
        self.barred = term;
    }
}
