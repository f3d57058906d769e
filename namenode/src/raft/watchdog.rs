//! Notices a disk that has stalled: it fails nothing, and finishes nothing either.
//!
//! Invariants, cited by tests:
//! 1. A member with a write that is not finished within [`Patience::hand_over`] is *stalled*: if it leads it gives the
//!    lead away, and it does not ask for it before a write is finished.
//! 2. A write of the log that is not finished within [`Patience::abort`] ends the process, as a failed one does.
//! 3. Time in which this process did not run itself is not held against the disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tracing::{info, warn};

use crate::failure::abort;

/// How long a write may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) hand_over: Duration,
    pub(crate) abort: Duration,
}

/// What the threads that write say of it.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(super) log: Writes,
    pub(super) state: Writes,
    stalled: AtomicBool,
}

impl Disk {
    /// Invariant 1.
    pub(crate) fn stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }
}

/// The writes of one thread: odd while one is under way.
#[derive(Debug, Default)]
pub(super) struct Writes(AtomicU64);

/// A write that is under way, until this is dropped.
pub(super) struct Write<'a>(&'a Writes);

impl Writes {
    pub(super) fn begin(&self) -> Write<'_> {
        self.0.fetch_add(1, Ordering::AcqRel);
        Write(self)
    }

    fn under_way(&self) -> Option<u64> {
        let number = self.0.load(Ordering::Acquire);
        (!number.is_multiple_of(2)).then_some(number)
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// How long the write that is under way has been seen to be.
#[derive(Debug, Default)]
struct Watched {
    write: Option<u64>,
    age: Duration,
}

impl Watched {
    /// `passed`: since the last look, of which there is one every `interval`.
    fn look(&mut self, write: Option<u64>, passed: Duration, interval: Duration) -> Duration {
        if write.is_some() && write == self.write {
            // Invariant 3: a look that comes late says that this process was stopped, or has no CPU.
            self.age += passed.min(2 * interval);
        } else {
            *self = Self { write, age: Duration::ZERO };
        }
        self.age
    }
}

/// The thread that looks at the others.
pub(super) struct Watchdog {
    pub(super) disk: Arc<Disk>,
    pub(super) patience: Patience,
    pub(super) dir: PathBuf,
    /// Disconnected when there is nothing to watch any more.
    pub(super) running: Receiver<()>,
}

impl Watchdog {
    pub(super) fn run(self) -> Result<(), String> {
        let interval = (self.patience.hand_over.min(self.patience.abort) / 8).max(Duration::from_millis(1));
        let (mut log, mut state) = (Watched::default(), Watched::default());
        let mut last = Instant::now();
        while self.running.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            let passed = std::mem::replace(&mut last, Instant::now()).elapsed();
            let log = log.look(self.disk.log.under_way(), passed, interval);
            let state = state.look(self.disk.state.under_way(), passed, interval);
            if log >= self.patience.abort {
                abort("log thread", format!("{}: a write is not finished after {log:?}", self.dir.display()));
            }
            self.judge(log.max(state));
        }
        Ok(())
    }

    fn judge(&self, age: Duration) {
        let stalled = age >= self.patience.hand_over;
        if self.disk.stalled.swap(stalled, Ordering::AcqRel) == stalled {
            return;
        }
        let dir = self.dir.display();
        if stalled {
            warn!(%dir, ?age, "the disk has stalled; this member does not lead until it writes again");
        } else {
            info!(%dir, "the disk writes again");
        }
    }
}

#[cfg(test)]
mod tests;
