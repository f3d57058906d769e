//! The snapshots that a member has for others, as its core asks for them.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use consensus::{Manifest, Snapshots};

use crate::state::Files;

#[derive(Debug, Default)]
enum Current {
    #[default]
    None,
    Making,
    Made {
        files: Arc<Files>,
        used: Duration,
    },
}

#[derive(Debug, Default)]
struct Inner {
    now: Duration,
    current: Current,
    ordered: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Exports(Mutex<Inner>);

impl Exports {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no holder of this lock panics and goes on")
    }

    /// Tells the time, and lets go of what nobody has used for long.
    pub(crate) fn at(&self, now: Duration, expiry: Duration) {
        let mut inner = self.inner();
        inner.now = now;
        if matches!(&inner.current, Current::Made { used, .. } if now.saturating_sub(*used) >= expiry) {
            inner.current = Current::None;
        }
    }

    /// Whether a checkpoint was ordered since this was asked.
    pub(crate) fn ordered(&self) -> bool {
        std::mem::take(&mut self.inner().ordered)
    }

    pub(crate) fn made(&self, files: Files) {
        let mut inner = self.inner();
        let used = inner.now;
        inner.current = Current::Made { files: Arc::new(files), used };
    }

    pub(crate) fn get(&self, at: (u64, u64)) -> Option<Arc<Files>> {
        let inner = &mut *self.inner();
        match &mut inner.current {
            Current::Made { files, used } if files.manifest.at() == at => {
                *used = inner.now;
                Some(files.clone())
            }
            _ => None,
        }
    }
}

impl Snapshots for Exports {
    fn get_or_order(&self, least: u64) -> Option<Manifest> {
        let inner = &mut *self.inner();
        match &mut inner.current {
            Current::Made { files, used } if files.manifest.index >= least => {
                *used = inner.now;
                return Some(files.manifest.clone());
            }
            Current::Making => return None,
            Current::Made { .. } | Current::None => {}
        }
        inner.current = Current::Making;
        inner.ordered = true;
        None
    }

    fn hold(&self, truncated: u64) -> Option<u64> {
        match &self.inner().current {
            Current::None => None,
            Current::Making => Some(truncated),
            Current::Made { files, .. } => Some(files.manifest.index),
        }
    }

    fn idle(&self) -> Option<Duration> {
        let inner = self.inner();
        match &inner.current {
            Current::Made { used, .. } => Some(inner.now.saturating_sub(*used)),
            Current::None | Current::Making => None,
        }
    }
}
