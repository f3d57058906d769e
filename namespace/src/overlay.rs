//! A state with changes on top that are not stored yet, so that many requests share one batch of the store.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::view::{Page, Row, View, ViewError, Write};

/// A view of `base` as it will be once the writes taken in are stored.
#[derive(Debug)]
pub struct Overlay<'a, V> {
    base: &'a V,
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a, V: View> Overlay<'a, V> {
    pub const fn new(base: &'a V) -> Self {
        Self { base, writes: BTreeMap::new() }
    }

    /// The state below, without the writes.
    pub(crate) const fn base(&self) -> &'a V {
        self.base
    }

    /// Takes in the writes of one command, in their order.
    pub fn absorb(&mut self, writes: Vec<Write>) {
        self.writes.extend(writes.into_iter().map(|write| (write.key, write.value)));
    }

    /// Everything taken in, one write for each key, in key order.
    pub fn into_writes(self) -> Vec<Write> {
        self.writes.into_iter().map(|(key, value)| Write { key, value }).collect()
    }

    /// The number of keys that have a write.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert(key, Some(value));
    }

    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }
}

impl<V: View> View for Overlay<'_, V> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        match self.writes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewError> {
        if from >= to || limit == 0 {
            return Ok(Page::new());
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        let mut above = self.writes.range::<[u8], _>(range).peekable();
        if above.peek().is_none() {
            return self.base.scan(from, to, limit);
        }
        let mut page = Page::new();
        let mut from = from.to_vec();
        // A page of the base can shrink under removals, so the base is read until the page is full or the range ends.
        loop {
            let below = self.base.scan(&from, to, limit)?;
            let last_page = below.len() < limit;
            let resume = below.last().map(|(key, _)| successor(key));
            for (key, value) in below {
                while let Some((changed, change)) = above.next_if(|(changed, _)| changed.as_slice() < key.as_slice()) {
                    page.extend(change.as_ref().map(|value| (changed.clone(), value.clone())));
                }
                match above.next_if(|(changed, _)| **changed == key) {
                    Some((_, change)) => page.extend(change.as_ref().map(|value| (key, value.clone()))),
                    None => page.push((key, value)),
                }
                if page.len() >= limit {
                    page.truncate(limit);
                    return Ok(page);
                }
            }
            match resume {
                Some(next) if !last_page => from = next,
                _ => break,
            }
        }
        let room = limit - page.len();
        let rest = above.filter_map(|(key, change)| change.as_ref().map(|value| (key.clone(), value.clone())));
        page.extend(rest.take(room));
        Ok(page)
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, ViewError> {
        let mut to = to.to_vec();
        // Whichever is later of the two decides; a removal hides the row of the base, and the search goes on before it.
        while from < to.as_slice() {
            let range = (Bound::Included(from), Bound::Excluded(to.as_slice()));
            let above = self.writes.range::<[u8], _>(range).next_back();
            let below = self.base.last(from, &to)?;
            match (above, below) {
                (Some((key, change)), below) if below.as_ref().is_none_or(|(other, _)| other <= key) => match change {
                    Some(value) => return Ok(Some((key.clone(), value.clone()))),
                    None => to.clone_from(key),
                },
                (_, below) => return Ok(below),
            }
        }
        Ok(None)
    }
}

/// The first key after `key`.
fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryView;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0_u8..3, 0..3)
    }

    fn writes() -> impl Strategy<Value = Vec<Write>> {
        let write = (key(), proptest::option::of(any::<u8>()));
        let write = write.prop_map(|(key, value)| Write { key, value: value.map(|byte| vec![byte]) });
        proptest::collection::vec(write, 0..20)
    }

    proptest! {
        /// The oracle: the same writes really applied.
        #[test]
        fn an_overlay_reads_as_if_its_writes_were_stored(
            stored in writes(), pending in writes(), from in key(), to in key(), limit in 0_usize..9,
        ) {
            let mut base = MemoryView::new();
            base.store(stored);
            let mut overlay = Overlay::new(&base);
            overlay.absorb(pending.clone());
            let mut applied = base.clone();
            applied.store(pending);
            prop_assert_eq!(overlay.scan(&from, &to, limit), applied.scan(&from, &to, limit));
            prop_assert_eq!(overlay.get(&from), applied.get(&from));
            prop_assert_eq!(overlay.last(&from, &to), applied.last(&from, &to));
            let flushed = overlay.into_writes();
            let mut stored = base.clone();
            stored.store(flushed);
            prop_assert_eq!(stored, applied);
        }
    }
}
