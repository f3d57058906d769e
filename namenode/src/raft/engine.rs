//! The log in TiKV's `raft-engine`.
//!
//! 1. A torn last record is cut when the log is opened. Damage before the last file is an error.
//! 2. The entries are contiguous, from the one after the truncated to the last.

use std::path::Path;

use raft::eraftpb::{Entry, HardState};
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};

use super::log::{Append, Contents, LogError, LogStore};

/// The engine holds many groups; here there is one.
const GROUP: u64 = 1;
const HARD_STATE: &[u8] = b"hard_state";
const TRUNCATED: &[u8] = b"truncated";

pub(crate) struct EngineLog {
    engine: Engine,
}

impl std::fmt::Debug for EngineLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineLog").field("path", &self.engine.path()).finish_non_exhaustive()
    }
}

struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

fn failed(action: &'static str) -> impl FnOnce(raft_engine::Error) -> LogError {
    move |error| LogError::Engine { action, reason: error.to_string() }
}

impl EngineLog {
    pub(crate) fn open(dir: &Path) -> Result<Self, LogError> {
        let config = Config {
            dir: dir.to_str().ok_or_else(|| LogError::Damaged(format!("{} is not UTF-8", dir.display())))?.to_owned(),
            // Invariant 1: only the tail of the last file may be cut.
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            recovery_threads: 1,
            // Entries are small and many; the CPU is better spent elsewhere.
            batch_compression_threshold: ReadableSize(0),
            target_file_size: ReadableSize::mb(64),
            purge_threshold: ReadableSize::mb(256),
            ..Config::default()
        };
        let engine = Engine::open(config).map_err(failed("open"))?;
        Ok(Self { engine })
    }

    fn truncated(&self) -> Result<(u64, u64), LogError> {
        let Some(bytes) = self.engine.get(GROUP, TRUNCATED) else { return Ok((0, 0)) };
        let bytes: [u8; 16] =
            bytes.try_into().map_err(|_| LogError::Damaged("the truncation mark is not 16 bytes".to_owned()))?;
        let number = |half: &[u8]| u64::from_be_bytes(half.try_into().expect("8 of 16 bytes"));
        Ok((number(&bytes[..8]), number(&bytes[8..])))
    }
}

impl LogStore for EngineLog {
    fn contents(&self) -> Result<Contents, LogError> {
        let hard_state: Option<HardState> = self.engine.get_message(GROUP, HARD_STATE).map_err(failed("read"))?;
        let truncated = self.truncated()?;
        let last = match (self.engine.first_index(GROUP), self.engine.last_index(GROUP)) {
            (Some(first), Some(last)) => {
                // Invariant 2.
                if first > truncated.0 + 1 || last < truncated.0 {
                    let (cut, _) = truncated;
                    return Err(LogError::Damaged(format!("it holds {first} to {last} and was cut at {cut}")));
                }
                last
            }
            _ => truncated.0,
        };
        Ok(Contents { hard_state: hard_state.unwrap_or_default(), truncated, last })
    }

    fn entries(&self, low: u64, high: u64, budget: u64) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::new();
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        self.engine
            .fetch_entries_to::<Entries>(GROUP, low, high, Some(budget), &mut entries)
            .map_err(failed("read"))?;
        Ok(entries)
    }

    fn append(&self, append: &Append) -> Result<u64, LogError> {
        let mut batch = LogBatch::with_capacity(2);
        batch.add_entries::<Entries>(GROUP, &append.entries).map_err(failed("take the entries"))?;
        if let Some(hard_state) = &append.hard_state {
            batch.put_message(GROUP, HARD_STATE.to_vec(), hard_state).map_err(failed("take the vote"))?;
        }
        self.engine.write(&mut batch, true).map(|bytes| bytes as u64).map_err(failed("write"))
    }

    fn truncate(&self, index: u64, term: u64) -> Result<(), LogError> {
        let mut batch = LogBatch::with_capacity(2);
        let mark = [index.to_be_bytes(), term.to_be_bytes()].concat();
        batch.put(GROUP, TRUNCATED.to_vec(), mark).map_err(failed("take the truncation mark"))?;
        batch.add_command(GROUP, Command::Compact { index: index + 1 });
        self.engine.write(&mut batch, true).map_err(failed("write"))?;
        self.engine.purge_expired_files().map_err(failed("purge"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::path::PathBuf;

    use super::*;

    fn entry(index: u64, term: u64, data: &str) -> Entry {
        Entry { index, term, data: data.to_owned().into(), ..Entry::default() }
    }

    fn append(log: &EngineLog, entries: &[Entry]) {
        let hard_state = HardState { term: 3, vote: 2, ..HardState::default() };
        log.append(&Append { entries: entries.to_vec(), hard_state: Some(hard_state) }).expect("stored");
    }

    fn log_file(dir: &Path) -> PathBuf {
        let files = fs::read_dir(dir).expect("readable").map(|entry| entry.expect("readable").path());
        files.filter(|path| path.extension().is_some_and(|name| name == "raftlog")).max().expect("one file")
    }

    #[test]
    fn entries_and_vote_survive_a_restart() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = EngineLog::open(dir.path()).expect("opens");
        assert_eq!(log.contents(), Ok(Contents::default()));
        append(&log, &[entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 1, "c")]);
        // A new leader's entries replace what was there from their first on.
        append(&log, &[entry(2, 3, "B")]);
        drop(log);
        let log = EngineLog::open(dir.path()).expect("opens");
        let contents = log.contents().expect("whole");
        assert_eq!((contents.hard_state.vote, contents.truncated, contents.last), (2, (0, 0), 2));
        assert_eq!(log.entries(1, 3, u64::MAX), Ok(vec![entry(1, 1, "a"), entry(2, 3, "B")]));
        assert_eq!(log.entries(1, 3, 1).map(|entries| entries.len()), Ok(1));
    }

    #[test]
    fn a_cut_front_stays_cut() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = EngineLog::open(dir.path()).expect("opens");
        append(&log, &[entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 1, "c")]);
        log.truncate(2, 1).expect("truncated");
        drop(log);
        let log = EngineLog::open(dir.path()).expect("opens");
        assert_eq!(log.contents().map(|contents| (contents.truncated, contents.last)), Ok(((2, 1), 3)));
        log.truncate(3, 1).expect("truncated");
        assert_eq!(log.contents().map(|contents| (contents.truncated, contents.last)), Ok(((3, 1), 3)));
    }

    /// Invariant 1.
    #[test]
    fn a_torn_tail_is_cut() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = EngineLog::open(dir.path()).expect("opens");
        append(&log, &[entry(1, 1, "a")]);
        drop(log);
        let whole = fs::metadata(log_file(dir.path())).expect("there").len();
        let log = EngineLog::open(dir.path()).expect("opens");
        append(&log, &[entry(2, 1, &"torn".repeat(100))]);
        drop(log);
        let file = OpenOptions::new().write(true).open(log_file(dir.path())).expect("opens");
        let length = file.metadata().expect("there").len();
        assert!(length > whole, "the second record is in the same file");
        file.set_len(length - 20).expect("cut");
        drop(file);
        let log = EngineLog::open(dir.path()).expect("opens");
        assert_eq!(log.contents().map(|contents| contents.last), Ok(1));
        append(&log, &[entry(2, 3, "again")]);
        assert_eq!(log.entries(1, 3, u64::MAX), Ok(vec![entry(1, 1, "a"), entry(2, 3, "again")]));
    }
}
