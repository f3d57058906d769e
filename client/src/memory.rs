//! Memory for data on its way, shared by all who write or read with a client: with many of them, each makes do with less.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use transfer::frame::MAX_DATA;
use types::ByteSize;
use types::checksum::CHUNK;

/// Pieces that the part of a taker has room for.
const PIECES: usize = 4;
/// Shorter pieces cost more than they save.
const MIN_PIECE: usize = 64 << 10;

/// So many bytes for whoever takes part. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<State>);

#[derive(Debug)]
struct State {
    bytes: usize,
    takers: AtomicUsize,
}

/// The part of one taker, who ends with it.
#[derive(Debug)]
pub(crate) struct Part(Budget);

impl Budget {
    pub(crate) fn new(bytes: ByteSize) -> Self {
        Self(Arc::new(State { bytes: usize::try_from(bytes.get()).unwrap_or(usize::MAX), takers: AtomicUsize::new(0) }))
    }

    pub(crate) fn join(&self) -> Part {
        self.0.takers.fetch_add(1, Ordering::Relaxed);
        Part(self.clone())
    }
}

impl Part {
    /// How much this taker may hold now. Less when others come: what it holds beyond that, it gives up in time.
    pub(crate) fn bytes(&self) -> usize {
        let State { bytes, takers } = &*self.0.0;
        bytes / takers.load(Ordering::Relaxed).max(1)
    }
}

impl Part {
    /// What is well collected before it is passed on: whole chunks, and not all that this taker may hold, so that some is on its way
    /// meanwhile.
    pub(crate) fn piece(&self) -> usize {
        (self.bytes() / PIECES / CHUNK * CHUNK).clamp(MIN_PIECE, MAX_DATA)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.0.takers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_an_equal_part_and_leaves_it_to_the_others() {
        let budget = Budget::new(ByteSize::new(100));
        let first = budget.join();
        assert_eq!(first.bytes(), 100);
        let others = [budget.join(), budget.clone().join()];
        assert_eq!((first.bytes(), others[1].bytes()), (33, 33));
        drop(others);
        assert_eq!(first.bytes(), 100);
    }

    #[test]
    fn pieces_are_whole_chunks_neither_long_nor_short() {
        let piece = |bytes| Budget::new(ByteSize::new(bytes)).join().piece();
        assert_eq!(piece(64 << 20), MAX_DATA);
        assert_eq!(piece((1 << 20) + 5), 256 << 10);
        assert_eq!(piece(0), MIN_PIECE);
    }
}
