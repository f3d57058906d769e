//! How long what clients ask for takes, in sums that only grow: whoever hears two of them knows what was between.
//!
//! Counted in pieces, of which none is longer than a packet: so a long read is not taken for a slow one. Copies for other
//! datanodes do not count, nor do readers on this machine, who read without the datanode.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proto::v1;
use transfer::frame::MAX_DATA;

#[derive(Debug, Default)]
pub(crate) struct Served {
    pieces: AtomicU64,
    micros: AtomicU64,
}

impl Served {
    /// So many pieces took so long together, from when they were asked for.
    pub(crate) fn note(&self, pieces: u64, took: Duration) {
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.pieces.fetch_add(pieces, Ordering::Relaxed);
    }

    pub(crate) fn note_bytes(&self, bytes: u64, took: Duration) {
        self.note(bytes.div_ceil(MAX_DATA as u64).max(1), took);
    }

    pub(crate) fn wire(&self) -> v1::Served {
        v1::Served { pieces: self.pieces.load(Ordering::Relaxed), micros: self.micros.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_read_is_many_pieces_and_a_short_one_is_one() {
        let served = Served::default();
        served.note_bytes(1, Duration::from_millis(1));
        served.note_bytes(0, Duration::from_millis(1));
        served.note_bytes(3 * MAX_DATA as u64 + 1, Duration::from_millis(8));
        assert_eq!(served.wire(), v1::Served { pieces: 6, micros: 10_000 });
    }
}
