//! What the tests of the core stand on: a log in a list, and no snapshots.

use std::sync::Mutex;
use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::Entry;

use crate::{Append, Contents, LogError, LogStore, Manifest, Snapshots};

#[derive(Debug)]
pub(crate) struct NoSnapshots;

impl Snapshots for NoSnapshots {
    fn get_or_order(&self, _: u64) -> Option<Manifest> {
        None
    }

    fn hold(&self, _: u64) -> Option<u64> {
        None
    }

    fn idle(&self) -> Option<Duration> {
        None
    }
}

/// A durable log that begins as a list from index 1, and that nobody writes.
#[derive(Debug, Default)]
pub(crate) struct List(pub(crate) Mutex<Vec<Entry>>);

impl LogStore for List {
    fn contents(&self) -> Result<Contents, LogError> {
        Ok(Contents::default())
    }

    fn entries(&self, low: u64, high: u64, budget: u64) -> Result<Vec<Entry>, LogError> {
        let mut left = budget;
        let all = self.0.lock().expect("no test panics with it");
        let range = all[low as usize - 1..high as usize - 1].iter().enumerate();
        let fitting = range.take_while(|(at, entry)| {
            let size = u64::from(entry.compute_size());
            let fits = *at == 0 || size <= left;
            left = left.saturating_sub(size);
            fits
        });
        Ok(fitting.map(|(_, entry)| entry.clone()).collect())
    }

    fn append(&self, _: &Append) -> Result<u64, LogError> {
        Ok(0)
    }

    fn truncate(&self, _: u64, _: u64) -> Result<(), LogError> {
        Ok(())
    }

    fn reset(&self, _: u64, _: u64) -> Result<(), LogError> {
        self.0.lock().expect("no test panics with it").clear();
        Ok(())
    }
}
