//! The newest entries, for those who look at a page rather than at a file.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::v1;

/// Entries that are remembered, and told.
const REMEMBERED: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<v1::AuditEntry>>);

impl Recent {
    fn entries(&self) -> MutexGuard<'_, VecDeque<v1::AuditEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, entry: v1::AuditEntry) {
        let mut entries = self.entries();
        if entries.len() >= REMEMBERED {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    pub(super) fn newest(&self, most: usize) -> Vec<v1::AuditEntry> {
        self.entries().iter().rev().take(most).cloned().collect()
    }
}
