//! The log as Raft reads it: the newest entries from memory, older ones from the log store.
//!
//! 1. An entry is visible here as soon as it is handed to the log thread, before it is durable: Raft demands that of
//!    what it is told to have advanced over.
//! 2. Entries that replace others truncate first, here as in the log store.
//! 3. An entry leaves memory only when it is durable; beyond that, memory is bounded by [`CACHE_BYTES`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::{Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, StorageError};

use crate::group::Group;
use crate::length::Length;
use crate::log::LogStore;
use crate::manifest::Manifest;

/// Durable entries are kept in memory up to this sum, for followers that are a little behind.
const CACHE_BYTES: u64 = 32 << 20;

/// The snapshots of its own state that this member has for others.
pub trait Snapshots: std::fmt::Debug + Send + Sync {
    /// A snapshot at `least` or later, if there is one; else one is ordered.
    fn get_or_order(&self, least: u64) -> Option<Manifest>;

    /// The log is needed behind this index, by who installs a snapshot. `truncated`: where it begins now.
    fn hold(&self, truncated: u64) -> Option<u64>;

    /// How long nobody has asked for anything of the snapshot; nothing without one.
    fn idle(&self) -> Option<Duration>;
}

pub(crate) struct Storage {
    log: Arc<dyn LogStore>,
    hard_state: HardState,
    group: Group,
    truncated: (u64, u64),
    last: u64,
    /// Contiguous, up to `last`; may be empty.
    cache: VecDeque<Entry>,
    cached_bytes: u64,
    length: Length,
    snapshots: Arc<dyn Snapshots>,
}

impl Storage {
    pub(crate) fn new(
        log: Arc<dyn LogStore>,
        hard_state: HardState,
        group: Group,
        truncated: (u64, u64),
        last: u64,
        snapshots: Arc<dyn Snapshots>,
    ) -> Self {
        let (cache, length) = (VecDeque::new(), Length::default());
        Self { log, hard_state, group, truncated, last, cache, cached_bytes: 0, length, snapshots }
    }

    /// Shows entries that are on their way to the log (invariants 1 and 2).
    pub(crate) fn show(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.truncated.0 && first.index <= self.last + 1, "entries follow the log");
        while self.cache.back().is_some_and(|entry| entry.index >= first.index) {
            let entry = self.cache.pop_back().expect("just seen");
            self.cached_bytes -= size(&entry);
        }
        assert!(self.cache.back().is_none_or(|entry| entry.index + 1 == first.index), "the cache has no holes");
        for entry in entries {
            self.length.add(entry.index, size(entry));
            self.cached_bytes += size(entry);
            self.cache.push_back(entry.clone());
        }
        self.last = entries.last().expect("not empty").index;
    }

    /// Lets go of entries up to `durable` that memory has no room for (invariant 3).
    pub(crate) fn shrink(&mut self, durable: u64) {
        while self.cached_bytes > CACHE_BYTES && self.cache.front().is_some_and(|entry| entry.index <= durable) {
            let entry = self.cache.pop_front().expect("just seen");
            self.cached_bytes -= size(&entry);
        }
    }

    /// The front of the log ends at `index` from now on. The log store forgets it later; Raft asks for nothing before.
    pub(crate) fn truncate(&mut self, index: u64) -> raft::Result<u64> {
        let term = raft::Storage::term(self, index)?;
        self.truncated = (index, term);
        self.length.cut(index);
        while self.cache.front().is_some_and(|entry| entry.index <= index) {
            let entry = self.cache.pop_front().expect("just seen");
            self.cached_bytes -= size(&entry);
        }
        Ok(term)
    }

    /// The log has begun anew behind `index`: a snapshot is installed.
    pub(crate) fn reset(&mut self, index: u64, term: u64, group: Group) {
        (self.truncated, self.last, self.group) = ((index, term), index, group);
        self.cache.clear();
        self.cached_bytes = 0;
        self.length = Length::default();
    }

    /// The group as of the last entry that was given out to be applied.
    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    pub(crate) fn regroup(&mut self, group: Group) {
        self.group = group;
    }

    pub(crate) fn length(&self) -> &Length {
        &self.length
    }

    pub(crate) fn snapshots(&self) -> &dyn Snapshots {
        &*self.snapshots
    }

    /// The log is needed behind this index, by who installs a snapshot.
    pub(crate) fn hold(&self) -> Option<u64> {
        self.snapshots.hold(self.truncated.0)
    }

    pub(crate) fn truncated(&self) -> u64 {
        self.truncated.0
    }

    fn cached(&self, index: u64) -> Option<&Entry> {
        let first = self.cache.front()?.index;
        self.cache.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }
}

fn size(entry: &Entry) -> u64 {
    u64::from(entry.compute_size())
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> raft::Error {
    raft::Error::Store(StorageError::Other(Box::new(error)))
}

impl raft::Storage for Storage {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.group.conf_state()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.truncated.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > self.last + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let mut budget = max_size.into().unwrap_or(u64::MAX);
        let first_cached = self.cache.front().map_or(self.last + 1, |entry| entry.index);
        let mut entries = Vec::new();
        if low < first_cached {
            let end = high.min(first_cached);
            entries = self.log.entries(low, end, budget).map_err(unavailable)?;
            if (entries.len() as u64) < end - low {
                return Ok(entries);
            }
            budget = budget.saturating_sub(entries.iter().map(size).sum());
        }
        for index in low.max(first_cached)..high {
            let entry = self.cached(index).expect("the cache reaches the end of the log without holes");
            let size = size(entry);
            // The first entry goes whatever its size, or a follower would never get it.
            if size > budget && !entries.is_empty() {
                break;
            }
            budget = budget.saturating_sub(size);
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.truncated.0 {
            return Ok(self.truncated.1);
        }
        if index < self.truncated.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if index > self.last {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        if let Some(entry) = self.cached(index) {
            return Ok(entry.term);
        }
        let entries = self.log.entries(index, index + 1, u64::MAX).map_err(unavailable)?;
        entries.first().map(|entry| entry.term).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last)
    }

    /// The manifest of a checkpoint that the log goes on from. Without one it is ordered, and Raft asks again.
    fn snapshot(&self, request_index: u64, _: u64) -> raft::Result<Snapshot> {
        // A member refuses a snapshot of a group that it did not belong to yet.
        let least = request_index.max(self.truncated.0).max(self.group.changed);
        let Some(manifest) = self.snapshots.get_or_order(least) else {
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        };
        let mut snapshot = Snapshot { data: manifest.encode().into(), ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = manifest.at();
        metadata.set_conf_state(manifest.group.conf_state());
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use raft::Storage as _;

    use super::*;
    use crate::tests::{List, NoSnapshots};

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: vec![7; 100].into(), ..Entry::default() }
    }

    fn indexes(entries: &[Entry]) -> Vec<(u64, u64)> {
        entries.iter().map(|entry| (entry.index, entry.term)).collect()
    }

    fn read(storage: &Storage, low: u64, high: u64, budget: u64) -> Vec<(u64, u64)> {
        indexes(&storage.entries(low, high, budget, GetEntriesContext::empty(false)).expect("there"))
    }

    /// Invariants 1 and 2.
    #[test]
    fn new_entries_are_visible_at_once_and_replace_old_ones() {
        let log = Arc::new(List::default());
        *log.0.lock().expect("free") = vec![entry(1, 1), entry(2, 1)];
        let mut storage = Storage::new(log, HardState::default(), Group::of(&[1]), (0, 0), 2, Arc::new(NoSnapshots));
        storage.show(&[entry(3, 1), entry(4, 1)]);
        assert_eq!(read(&storage, 1, 5, u64::MAX), [(1, 1), (2, 1), (3, 1), (4, 1)]);
        storage.show(&[entry(2, 2), entry(3, 2)]);
        assert_eq!(read(&storage, 1, 4, u64::MAX), [(1, 1), (2, 2), (3, 2)]);
        assert_eq!((storage.last_index(), storage.term(3)), (Ok(3), Ok(2)));
        assert!(storage.entries(1, 5, None, GetEntriesContext::empty(false)).is_err());
        assert_eq!(read(&storage, 1, 4, 1), [(1, 1)]);
        assert_eq!(read(&storage, 2, 4, 1), [(2, 2)]);
    }

    #[test]
    fn a_truncated_front_keeps_its_last_term() {
        let mut storage = Storage::new(
            Arc::new(List::default()),
            HardState::default(),
            Group::of(&[1]),
            (0, 0),
            0,
            Arc::new(NoSnapshots),
        );
        storage.show(&[entry(1, 1), entry(2, 4), entry(3, 4)]);
        assert_eq!(storage.truncate(2), Ok(4));
        assert_eq!((storage.first_index(), storage.term(2), storage.term(3)), (Ok(3), Ok(4), Ok(4)));
        assert_eq!(storage.term(1), Err(raft::Error::Store(StorageError::Compacted)));
        assert_eq!(read(&storage, 3, 4, u64::MAX), [(3, 4)]);
    }

    /// Invariant 3.
    #[test]
    fn only_durable_entries_leave_memory() {
        let mut storage = Storage::new(
            Arc::new(List::default()),
            HardState::default(),
            Group::of(&[1]),
            (0, 0),
            0,
            Arc::new(NoSnapshots),
        );
        let big = |index| Entry { data: vec![0; (CACHE_BYTES / 2) as usize].into(), ..entry(index, 1) };
        storage.show(&[big(1), big(2), big(3)]);
        storage.shrink(0);
        assert_eq!(storage.cache.len(), 3);
        storage.shrink(1);
        assert_eq!(storage.cache.front().map(|entry| entry.index), Some(2));
    }
}
