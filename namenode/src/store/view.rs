//! The store as the state machine and the queries see it.

use namespace::view::{Page, Row, View, ViewError};
use rocksdb::{DB, DBRawIteratorWithThreadMode, ReadOptions};

use super::Store;

/// The state as of one moment.
pub(crate) struct Snapshot<'a>(rocksdb::Snapshot<'a>);

impl<'a> Snapshot<'a> {
    pub(super) fn new(snapshot: rocksdb::Snapshot<'a>) -> Self {
        Self(snapshot)
    }
}

impl std::fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

fn failed(error: rocksdb::Error) -> ViewError {
    ViewError::Store(error.into_string())
}

/// The latest state: for the one thread that writes it.
impl View for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        self.state().db().get(key).map_err(failed)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewError> {
        let state = self.state();
        page(from, to, limit, |options| state.db().raw_iterator_opt(options))
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, ViewError> {
        let state = self.state();
        last(from, to, |options| state.db().raw_iterator_opt(options))
    }
}

impl View for Snapshot<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        self.0.get(key).map_err(failed)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewError> {
        page(from, to, limit, |options| self.0.raw_iterator_opt(options))
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, ViewError> {
        last(from, to, |options| self.0.raw_iterator_opt(options))
    }
}

/// Here and in [`last`], the only places where an iterator is used, its status is asked at the end, always (invariant 5).
fn page<'a>(
    from: &[u8],
    to: &[u8],
    limit: usize,
    open: impl FnOnce(ReadOptions) -> DBRawIteratorWithThreadMode<'a, DB>,
) -> Result<Page, ViewError> {
    if from >= to || limit == 0 {
        return Ok(Page::new());
    }
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(to);
    let mut iterator = open(options);
    let mut rows = Page::new();
    iterator.seek(from);
    while rows.len() < limit {
        let Some((key, value)) = iterator.item() else { break };
        rows.push((key.to_vec(), value.to_vec()));
        iterator.next();
    }
    iterator.status().map_err(failed)?;
    Ok(rows)
}

fn last<'a>(
    from: &[u8],
    to: &[u8],
    open: impl FnOnce(ReadOptions) -> DBRawIteratorWithThreadMode<'a, DB>,
) -> Result<Option<Row>, ViewError> {
    if from >= to {
        return Ok(None);
    }
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(from);
    options.set_iterate_upper_bound(to);
    let mut iterator = open(options);
    iterator.seek_to_last();
    let row = iterator.item().map(|(key, value)| (key.to_vec(), value.to_vec()));
    iterator.status().map_err(failed)?;
    Ok(row)
}
