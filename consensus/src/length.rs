//! About how many bytes of log there are behind an index: marks every so many bytes. What was there before this process
//! started is not counted.

use std::collections::VecDeque;

/// Bytes between two marks.
const GRAIN: u64 = 64 << 10;

#[derive(Debug, Default)]
pub(crate) struct Length {
    /// An index, and the bytes of all entries before it. Both grow.
    marks: VecDeque<(u64, u64)>,
    total: u64,
}

impl Length {
    /// Counts an entry; it replaces those from its index on.
    pub(crate) fn add(&mut self, index: u64, bytes: u64) {
        while let Some((_, before)) = self.marks.pop_back_if(|(marked, _)| *marked >= index) {
            self.total = before;
        }
        if self.marks.back().is_none_or(|(_, before)| self.total - before >= GRAIN) {
            self.marks.push_back((index, self.total));
        }
        self.total += bytes;
    }

    /// Forgets what was cut off at the front.
    pub(crate) fn cut(&mut self, index: u64) {
        while self.marks.get(1).is_some_and(|(marked, _)| *marked <= index + 1) {
            self.marks.pop_front();
        }
    }

    /// Cut up to here, the log has about `keep` bytes left; zero when it has no more anyway.
    pub(crate) fn floor(&self, keep: u64) -> u64 {
        let long = |(_, before): &&(u64, u64)| self.total - before > keep;
        let last_long = self.marks.iter().take_while(long).count();
        match last_long {
            0 => 0,
            count => self.marks.get(count).or(self.marks.back()).map_or(0, |(index, _)| index - 1),
        }
    }

    /// About the bytes that a cut up to `index` frees.
    pub(crate) fn up_to(&self, index: u64) -> u64 {
        let first = self.marks.front().map_or(0, |(_, before)| *before);
        let mark = self.marks.iter().rev().find(|(marked, _)| *marked <= index + 1);
        mark.map_or(0, |(_, before)| before - first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_leaves_about_what_is_to_be_kept() {
        let mut length = Length::default();
        assert_eq!((length.floor(0), length.up_to(9)), (0, 0));
        for index in 1..=100 {
            length.add(index, GRAIN);
        }
        assert_eq!((length.floor(u64::MAX), length.floor(100 * GRAIN)), (0, 0));
        assert_eq!(length.floor(10 * GRAIN), 90);
        assert_eq!(length.floor(0), 99);
        assert_eq!(length.up_to(40), 40 * GRAIN);
        length.cut(40);
        assert_eq!((length.floor(10 * GRAIN), length.up_to(90)), (90, 50 * GRAIN));
        // Another leader's entries take the place of the last.
        length.add(95, GRAIN);
        assert_eq!(length.floor(10 * GRAIN), 85);
    }
}
