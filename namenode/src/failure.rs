//! How a failed thread is noticed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use tokio::sync::watch;
use tracing::error;

/// Why a running namenode had to stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {reason}")]
pub struct Failure {
    /// The thread or service that failed.
    pub part: &'static str,
    pub reason: String,
}

/// Where the first failure is noted.
#[derive(Debug, Clone)]
pub(crate) struct Failures(watch::Sender<Option<Failure>>);

impl Failures {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    pub(crate) fn report(&self, part: &'static str, reason: impl std::fmt::Display) {
        let reason = reason.to_string();
        error!(part, reason, "the namenode has to stop");
        self.0.send_if_modified(|first| {
            let unset = first.is_none();
            first.get_or_insert(Failure { part, reason });
            unset
        });
    }

    /// Resolves with the first failure.
    pub(crate) async fn first(self) -> Failure {
        let mut failures = self.0.subscribe();
        loop {
            if let Some(failure) = failures.borrow_and_update().clone() {
                return failure;
            }
            failures.changed().await.expect("the sender is a field of `self`");
        }
    }

    /// Starts a thread whose panic is a failure of the whole service.
    pub(crate) fn thread(
        &self,
        name: &'static str,
        body: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let failures = self.clone();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => failures.report(name, reason),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                failures.report(name, text.unwrap_or_else(|| "it panicked".to_owned()));
            }
        })
    }
}

/// Ends the process because stable storage failed. A failed write or sync is never tried again: the kernel may have
/// dropped the pages, and a second sync would report success over them.
pub(crate) fn abort(part: &'static str, reason: impl std::fmt::Display) -> ! {
    error!(part, %reason, "stable storage failed; the process ends so that nothing unsafe is acknowledged");
    std::process::abort()
}

/// Aborts when dropped in a panic: the log library panics when a sync fails.
pub(crate) struct AbortOnPanic(pub(crate) &'static str);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            abort(self.0, "it panicked");
        }
    }
}
