//! A state in memory, for tests and simulations.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::view::{Page, Row, View, ViewError, Write};

/// A whole state in a map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryView {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryView {
    pub const fn new() -> Self {
        Self { rows: BTreeMap::new() }
    }

    /// Makes the writes of a command part of the state.
    pub fn store(&mut self, writes: Vec<Write>) {
        for Write { key, value } in writes {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
    }

    /// Every row, in key order.
    pub const fn rows(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.rows
    }
}

impl View for MemoryView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewError> {
        if from >= to {
            return Ok(Page::new());
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        let rows = self.rows.range::<[u8], _>(range).take(limit);
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, ViewError> {
        if from >= to {
            return Ok(None);
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        let last = self.rows.range::<[u8], _>(range).next_back();
        Ok(last.map(|(key, value)| (key.clone(), value.clone())))
    }
}
