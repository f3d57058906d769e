//! How a running member leaves the cluster for good, when it learns that it must.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::failure::Failures;
use crate::identity::{self, WAY_OUT};

/// What stops this member, and keeps its directory out of the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Quarantine {
    dir: PathBuf,
    failures: Failures,
    /// Several parts may learn it at once: the first says why.
    entered: Arc<Mutex<bool>>,
}

impl Quarantine {
    pub(crate) fn new(dir: &Path, failures: &Failures) -> Self {
        Self { dir: dir.to_owned(), failures: failures.clone(), entered: Arc::default() }
    }

    /// The note is on disk before anything stops: the next start finds it.
    pub(crate) fn enter(&self, reason: &str) {
        let mut entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *entered, true) {
            return;
        }
        let noted = identity::quarantine(&self.dir, reason);
        let told = match noted {
            Ok(()) => format!("this member is quarantined: {reason}. {WAY_OUT}"),
            Err(error) => format!("this member must not take part any more: {reason}; and that is not noted: {error}"),
        };
        self.failures.report("membership", told);
    }
}
