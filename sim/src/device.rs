//! The log of a member on its disk: what is written and not synced may be there after a crash, or not, or in part.

use std::sync::{Mutex, MutexGuard};

use consensus::{Append, Contents, LogError, LogStore};
use raft::eraftpb::{Entry, HardState};

use crate::dice::Dice;

/// What is written as one record: all of it is there after a crash, or nothing.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    Append { entries: Vec<Entry>, hard_state: Option<HardState> },
    Truncate { index: u64, term: u64 },
    Reset { index: u64, term: u64 },
}

/// What the synced records amount to.
#[derive(Debug, Default)]
pub(crate) struct Image {
    hard_state: HardState,
    truncated: (u64, u64),
    /// From the one behind `truncated` on, without holes.
    entries: Vec<Entry>,
}

impl Image {
    fn last(&self) -> u64 {
        self.truncated.0 + self.entries.len() as u64
    }

    fn entry(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(self.truncated.0 + 1)?).ok()?)
    }

    /// Whether everything up to the entry of this index and term survives a power cut.
    pub(crate) fn holds(&self, index: u64, term: u64) -> bool {
        index <= self.truncated.0 || self.entry(index).is_some_and(|entry| entry.term == term)
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Append { entries, hard_state } => {
                if let Some(first) = entries.first() {
                    assert!(first.index > self.truncated.0 && first.index <= self.last() + 1, "a hole in a log");
                    self.entries.truncate((first.index - self.truncated.0 - 1) as usize);
                    self.entries.extend(entries);
                }
                if let Some(hard_state) = hard_state {
                    assert!(hard_state.term >= self.hard_state.term, "a term runs backwards");
                    self.hard_state = hard_state;
                }
            }
            Record::Truncate { index, term } => {
                assert!(self.holds(index, term) && index <= self.last(), "cut at {index}, which is not there");
                let count = index.saturating_sub(self.truncated.0) as usize;
                self.entries.drain(..count);
                if count > 0 {
                    self.truncated = (index, term);
                }
            }
            Record::Reset { index, term } => {
                self.entries.clear();
                self.truncated = (index, term);
                if self.hard_state.term < term {
                    (self.hard_state.term, self.hard_state.vote) = (term, 0);
                }
                self.hard_state.commit = self.hard_state.commit.max(index);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    synced: Image,
    written: Vec<Record>,
}

#[derive(Debug, Default)]
pub(crate) struct Device(Mutex<Inner>);

impl Device {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no holder of this lock panics and goes on")
    }

    pub(crate) fn write(&self, record: Record) {
        self.inner().written.push(record);
    }

    pub(crate) fn sync(&self) {
        let mut inner = self.inner();
        for record in std::mem::take(&mut inner.written) {
            inner.synced.take(record);
        }
    }

    /// The power goes: of what was not synced, some first records are there. The next is torn, and cut when the log is
    /// opened.
    pub(crate) fn crash(&self, dice: &mut Dice) {
        let mut inner = self.inner();
        let written = std::mem::take(&mut inner.written);
        let whole = dice.below(written.len() as u64 + 1) as usize;
        for record in written.into_iter().take(whole) {
            inner.synced.take(record);
        }
    }

    /// Of the durable entry at `index`, if it is known.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        let synced = &self.inner().synced;
        if index == synced.truncated.0 { Some(synced.truncated.1) } else { synced.entry(index).map(|entry| entry.term) }
    }

    pub(crate) fn holds(&self, index: u64, term: u64) -> bool {
        self.inner().synced.holds(index, term)
    }
}

impl LogStore for Device {
    fn contents(&self) -> Result<Contents, LogError> {
        let synced = &self.inner().synced;
        Ok(Contents { hard_state: synced.hard_state.clone(), truncated: synced.truncated, last: synced.last() })
    }

    /// Only what is durable may be asked for: the rest must be in the memory of who wrote it.
    fn entries(&self, low: u64, high: u64, budget: u64) -> Result<Vec<Entry>, LogError> {
        let synced = &self.inner().synced;
        let mut left = budget;
        let mut entries = Vec::new();
        for index in low..high {
            let entry = synced.entry(index).ok_or_else(|| LogError::Damaged(format!("{index} was asked for")))?;
            let size = entry.data.len() as u64;
            if size > left && !entries.is_empty() {
                break;
            }
            left = left.saturating_sub(size);
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn append(&self, append: &Append) -> Result<u64, LogError> {
        self.write(Record::Append { entries: append.entries.clone(), hard_state: append.hard_state.clone() });
        self.sync();
        Ok(0)
    }

    fn truncate(&self, index: u64, term: u64) -> Result<(), LogError> {
        self.write(Record::Truncate { index, term });
        self.sync();
        Ok(())
    }

    fn reset(&self, index: u64, term: u64) -> Result<(), LogError> {
        self.write(Record::Reset { index, term });
        self.sync();
        Ok(())
    }
}
