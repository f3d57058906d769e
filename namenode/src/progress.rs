//! Numbers that the threads of a namenode tell each other. Each has one writer and only grows.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How far each stage has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Raft's number of the last ready that is durable.
    pub(crate) written: Mark,
    /// The last log index in the state.
    pub(crate) applied: Mark,
    /// The last log index in the state on disk.
    pub(crate) persisted: Mark,
    /// A leader's word that logs may be cut up to here.
    pub(crate) truncatable: Mark,
    /// Whether the namespace has been formatted, as of the applied index.
    pub(crate) formatted: AtomicBool,
    pub(crate) counters: Counters,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) syncs: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) commands: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Mark(AtomicU64);

impl Mark {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn raise(&self, value: u64) {
        self.0.fetch_max(value, Ordering::AcqRel);
    }
}
