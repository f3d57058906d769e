//! Numbers that the threads of a namenode tell each other. Each has one writer and only grows.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

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

/// What is counted of the log.
#[derive(Debug, Clone)]
pub(crate) struct Counters {
    pub(crate) syncs: Counter,
    pub(crate) entries: Counter,
    pub(crate) commands: Counter,
    pub(crate) bytes: Counter,
    /// Writing and syncing.
    pub(crate) seconds: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        let [syncs, entries, commands, bytes] = [(); 4].map(|()| Counter::default());
        Self { syncs, entries, commands, bytes, seconds: telemetry::latencies() }
    }
}

impl Progress {
    pub(crate) fn counting(counters: Counters) -> Self {
        Self { counters, ..Self::default() }
    }
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
