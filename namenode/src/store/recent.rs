//! Rows that were just read. Queries that are answered together go through the same directories again and again.
//!
//! 1. It stands before a state that does not change: what was read once stays right.
//! 2. It has a bound: [`SLOTS`] rows of at most [`KEPT`] bytes each.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hasher};

use namespace::view::{Page, Row, View, ViewError};

const SLOTS: usize = 64;
/// A larger row is a file with content in it, which is hardly asked for twice at a time.
const KEPT: usize = 512;

#[derive(Debug)]
struct Kept {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

/// A state, and what was last read of it. A row has one slot by its key, and drives out what was there.
#[derive(Debug)]
pub(crate) struct Recent<V> {
    view: V,
    slots: RefCell<Vec<Option<Kept>>>,
}

impl<V: View> Recent<V> {
    pub(crate) fn new(view: V) -> Self {
        let slots = RefCell::new(std::iter::repeat_with(|| None).take(SLOTS).collect());
        Self { view, slots }
    }
}

impl<V: View> View for Recent<V> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        let mut hasher = DefaultHasher::new();
        hasher.write(key);
        let at = (hasher.finish() % SLOTS as u64) as usize;
        let slot = &mut self.slots.borrow_mut()[at];
        if let Some(kept) = slot
            && kept.key == key
        {
            return Ok(kept.value.clone());
        }
        let value = self.view.get(key)?;
        if value.as_ref().is_none_or(|value| value.len() <= KEPT) {
            *slot = Some(Kept { key: key.to_vec(), value: value.clone() });
        }
        Ok(value)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewError> {
        self.view.scan(from, to, limit)
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, ViewError> {
        self.view.last(from, to)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Counted {
        rows: BTreeMap<Vec<u8>, Vec<u8>>,
        reads: Cell<usize>,
    }

    impl View for &Counted {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
            self.reads.set(self.reads.get() + 1);
            Ok(self.rows.get(key).cloned())
        }

        fn scan(&self, _: &[u8], _: &[u8], _: usize) -> Result<Page, ViewError> {
            unreachable!("nothing here asks for it")
        }

        fn last(&self, _: &[u8], _: &[u8]) -> Result<Option<Row>, ViewError> {
            unreachable!("nothing here asks for it")
        }
    }

    #[test]
    fn a_row_and_its_absence_are_read_once() {
        let state = Counted { rows: BTreeMap::from([(b"there".to_vec(), b"value".to_vec())]), ..Counted::default() };
        let recent = Recent::new(&state);
        for _ in 0..3 {
            assert_eq!(recent.get(b"there"), Ok(Some(b"value".to_vec())));
            assert_eq!(recent.get(b"not there"), Ok(None));
        }
        assert_eq!(state.reads.get(), 2);
    }

    #[test]
    fn rows_of_one_slot_are_not_taken_for_each_other() {
        let row = |number: u32| (number.to_be_bytes().to_vec(), number.to_le_bytes().to_vec());
        let state = Counted { rows: (0..2000).map(row).collect(), ..Counted::default() };
        let recent = Recent::new(&state);
        for (key, value) in (0..2000).chain((0..2000).rev()).map(row) {
            assert_eq!(recent.get(&key), Ok(Some(value)));
        }
    }

    #[test]
    fn a_large_row_is_not_kept() {
        let state = Counted { rows: BTreeMap::from([(b"large".to_vec(), vec![0; KEPT + 1])]), ..Counted::default() };
        let recent = Recent::new(&state);
        for _ in 0..2 {
            assert_eq!(recent.get(b"large").expect("it is there").map(|value| value.len()), Some(KEPT + 1));
        }
        assert_eq!(state.reads.get(), 2);
    }
}
