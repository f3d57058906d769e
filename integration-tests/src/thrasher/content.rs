//! What a file holds, told by where its bytes come from: megabytes cost nothing, and bytes that were cut off, or that another
//! write put there, are never the same as those that belong there.

use crate::Pattern;

/// The bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content(Vec<Span>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    /// The pattern and where in it the span begins; zeros if there is none.
    source: Option<(u64, u64)>,
    length: u64,
}

impl Content {
    pub fn length(&self) -> u64 {
        self.0.iter().map(|span| span.length).sum()
    }

    /// The first `length` bytes of a pattern, which no other write uses, at the end.
    pub fn append(&mut self, seed: u64, length: u64) {
        self.push(Some((seed, 0)), length);
    }

    /// What is cut off is gone, what is added are zeros.
    pub fn truncate(&mut self, length: u64) {
        let mut left = length;
        self.0.retain_mut(|span| {
            span.length = span.length.min(left);
            left -= span.length;
            span.length > 0
        });
        self.push(None, left);
    }

    /// The first bytes of a pattern over what is there, from `offset` on, which is not behind the end.
    pub fn write_at(&mut self, offset: u64, seed: u64, length: u64) {
        assert!(offset <= self.length(), "a write begins in the file");
        let (mut before, after) = (self.clone(), self.behind(offset + length));
        before.truncate(offset);
        before.push(Some((seed, 0)), length);
        before.0.extend(after);
        *self = before;
    }

    /// The bytes from `offset` on, as many as there are.
    pub fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        for span in self.behind(offset) {
            let wanted = (length - bytes.len()).min(span.length as usize);
            match span.source {
                None => bytes.resize(bytes.len() + wanted, 0),
                Some((seed, from)) => {
                    let skipped = (from % 8) as usize;
                    let words = Pattern(seed).bytes(from - skipped as u64, skipped + wanted);
                    bytes.extend_from_slice(&words[skipped..]);
                }
            }
        }
        bytes
    }

    /// Whether these bytes are there.
    pub fn holds(&self, offset: u64, bytes: &[u8]) -> bool {
        self.bytes(offset, bytes.len()) == bytes
    }

    fn push(&mut self, source: Option<(u64, u64)>, length: u64) {
        if length > 0 {
            self.0.push(Span { source, length });
        }
    }

    /// The spans from an offset on.
    fn behind(&self, offset: u64) -> Vec<Span> {
        let mut skip = offset;
        let mut spans = Vec::new();
        for span in &self.0 {
            let skipped = skip.min(span.length);
            skip -= skipped;
            if skipped < span.length {
                let source = span.source.map(|(seed, from)| (seed, from + skipped));
                spans.push(Span { source, length: span.length - skipped });
            }
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Change {
        Append(u64),
        Truncate(u64),
        WriteAt(u64, u64),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let change = prop_oneof![
            (0..300_u64).prop_map(Change::Append),
            (0..600_u64).prop_map(Change::Truncate),
            (0..600_u64, 0..300_u64).prop_map(|(offset, length)| Change::WriteAt(offset, length)),
        ];
        proptest::collection::vec(change, 0..12)
    }

    proptest! {
        #[test]
        fn a_content_is_the_bytes_that_the_same_changes_make(changes in changes(), offset in 0..900_u64, length in 0..900_usize) {
            let (mut content, mut bytes) = (Content::default(), Vec::new());
            for (seed, change) in changes.into_iter().enumerate() {
                let seed = seed as u64;
                match change {
                    Change::Append(length) => {
                        content.append(seed, length);
                        bytes.extend_from_slice(&Pattern(seed).bytes(0, length as usize));
                    }
                    Change::Truncate(length) => {
                        content.truncate(length);
                        bytes.resize(length as usize, 0);
                    }
                    Change::WriteAt(offset, length) => {
                        let offset = offset.min(bytes.len() as u64);
                        content.write_at(offset, seed, length);
                        let (start, end) = (offset as usize, (offset + length) as usize);
                        bytes.resize(bytes.len().max(end), 0);
                        bytes[start..end].copy_from_slice(&Pattern(seed).bytes(0, length as usize));
                    }
                }
            }
            prop_assert_eq!(content.length(), bytes.len() as u64);
            let start = (offset as usize).min(bytes.len());
            let end = (start + length).min(bytes.len());
            prop_assert_eq!(content.bytes(offset, length), &bytes[start..end]);
        }
    }

    #[test]
    fn bytes_of_another_write_or_place_are_not_there() {
        let mut content = Content::default();
        content.append(1, 4096);
        content.append(2, 100);
        assert!(content.holds(4096, &Pattern(2).bytes(0, 100)));
        assert!(!content.holds(4096, &Pattern(1).bytes(4096, 100)) && !content.holds(0, &Pattern(2).bytes(0, 100)));
        assert!(!content.holds(4096, &Pattern(2).bytes(0, 101)), "nothing is behind the end");
    }
}
