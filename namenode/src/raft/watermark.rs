//! A small file next to the log that says how far the log must reach.
//!
//! The log library takes damage anywhere in its last file for a torn tail, and cuts there: acknowledged entries, or a
//! vote, could vanish without a word. The watermark is written after each sync of the log and not synced itself, so it
//! never promises more than is durable; after a power cut it may promise less. A log behind it is refused.
//!
//! ```text
//! "AWM1" | term | vote | last index | term of the last entry | CRC-32 of all before     (u64s and u32, big-endian)
//! ```

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use consensus::LogError;
use raft::eraftpb::{Entry, HardState};

const MAGIC: &[u8; 4] = b"AWM1";
const LENGTH: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Watermark {
    pub(super) term: u64,
    pub(super) vote: u64,
    pub(super) last_index: u64,
    pub(super) last_term: u64,
}

/// The file, and what it says.
#[derive(Debug)]
pub(super) struct WatermarkFile {
    file: File,
    mark: Watermark,
}

fn failed(action: &'static str) -> impl FnOnce(std::io::Error) -> LogError {
    move |error| LogError::Engine { action, reason: error.to_string() }
}

impl Watermark {
    fn encode(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(MAGIC);
        let numbers = [self.term, self.vote, self.last_index, self.last_term];
        for (to, number) in bytes[4..36].chunks_exact_mut(8).zip(numbers) {
            to.copy_from_slice(&number.to_be_bytes());
        }
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, crc) = bytes.split_at_checked(36)?;
        if &head[..4] != MAGIC || crc != crc32fast::hash(head).to_be_bytes() {
            return None;
        }
        let mut numbers = head[4..].chunks_exact(8).map(|part| u64::from_be_bytes(part.try_into().expect("8 bytes")));
        let mut next = || numbers.next().expect("32 bytes hold four");
        Some(Self { term: next(), vote: next(), last_index: next(), last_term: next() })
    }

    /// Whether a log with this vote and this last entry holds all that is promised. A later term's entries may have
    /// replaced more of an older one's, so only within a term does the index count.
    pub(super) fn holds(&self, hard_state: &HardState, last_index: u64, last_term: u64) -> bool {
        let vote = (hard_state.term, hard_state.vote);
        let voted = vote.0 > self.term || (vote.0 == self.term && (self.vote == 0 || vote.1 == self.vote));
        voted && (last_term, last_index) >= (self.last_term, self.last_index)
    }
}

impl WatermarkFile {
    /// Opens or makes the file. One that a power cut left empty or blank promises nothing.
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(failed("open its watermark"))?;
        let bytes = std::fs::read(path).map_err(failed("read its watermark"))?;
        let mark = if bytes.iter().all(|byte| *byte == 0) {
            Watermark::default()
        } else {
            Watermark::decode(&bytes).ok_or_else(|| LogError::Damaged("its watermark cannot be read".to_owned()))?
        };
        Ok(Self { file, mark })
    }

    pub(super) fn mark(&self) -> Watermark {
        self.mark
    }

    /// Lowers or raises the mark to a log that begins anew behind `index`.
    pub(super) fn reset(&mut self, index: u64, term: u64, hard_state: &HardState) -> Result<(), LogError> {
        self.mark = Watermark { term: hard_state.term, vote: hard_state.vote, last_index: index, last_term: term };
        self.file.write_all_at(&self.mark.encode(), 0).map_err(failed("write its watermark"))
    }

    /// Raises the mark to what has just become durable.
    pub(super) fn raise(&mut self, entries: &[Entry], hard_state: Option<&HardState>) -> Result<(), LogError> {
        if let Some(hard_state) = hard_state {
            (self.mark.term, self.mark.vote) = (hard_state.term, hard_state.vote);
        }
        if let Some(last) = entries.last() {
            (self.mark.last_index, self.mark.last_term) = (last.index, last.term);
        }
        self.file.write_all_at(&self.mark.encode(), 0).map_err(failed("write its watermark"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(term: u64, vote: u64) -> HardState {
        HardState { term, vote, ..HardState::default() }
    }

    #[test]
    fn a_log_behind_the_mark_is_noticed() {
        let mark = Watermark { term: 5, vote: 2, last_index: 100, last_term: 4 };
        assert!(mark.holds(&vote(5, 2), 100, 4));
        assert!(mark.holds(&vote(6, 0), 101, 4));
        assert!(mark.holds(&vote(6, 1), 90, 6), "a later leader replaced the end");
        assert!(!mark.holds(&vote(5, 2), 99, 4), "entries are lost");
        assert!(!mark.holds(&vote(5, 2), 200, 3), "entries are lost");
        assert!(!mark.holds(&vote(4, 2), 100, 4), "a term is lost");
        assert!(!mark.holds(&vote(5, 0), 100, 4), "a vote is lost");
        assert!(Watermark::default().holds(&HardState::default(), 0, 0));
    }

    /// Golden: the file outlives the program.
    #[test]
    fn the_bytes_are_stable_and_damage_is_refused() {
        let mark = Watermark { term: 1, vote: 2, last_index: 3, last_term: 4 };
        let mut bytes = mark.encode();
        assert_eq!(&bytes[..4], b"AWM1");
        assert_eq!((bytes[11], bytes[19], bytes[27], bytes[35]), (1, 2, 3, 4));
        assert_eq!(Watermark::decode(&bytes), Some(mark));
        bytes[20] ^= 1;
        assert_eq!(Watermark::decode(&bytes), None);
        assert_eq!(Watermark::decode(&bytes[..20]), None);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("watermark");
        std::fs::write(&path, bytes).expect("written");
        assert!(matches!(WatermarkFile::open(&path), Err(LogError::Damaged(_))));
    }
}
