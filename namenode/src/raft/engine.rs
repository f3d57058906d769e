//! The log in TiKV's `raft-engine`.
//!
//! 1. A torn last record is cut when the log is opened. Damage before it is an error: before the last file the engine
//!    finds it, in the last file the watermark does.
//! 2. The entries are contiguous, from the one after the truncated to the last.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use consensus::{Append, Contents, LogError, LogStore};
use raft::eraftpb::{Entry, HardState};
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};

use super::watermark::WatermarkFile;

/// The engine holds many groups; here there is one.
const GROUP: u64 = 1;
const HARD_STATE: &[u8] = b"hard_state";
const TRUNCATED: &[u8] = b"truncated";

pub(crate) struct EngineLog {
    engine: Engine,
    /// Written by the log thread only; locked because the log is shared.
    watermark: Mutex<WatermarkFile>,
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
        let make = |error: std::io::Error| LogError::Engine { action: "open", reason: error.to_string() };
        std::fs::create_dir_all(dir).map_err(make)?;
        let entries = dir.join("entries");
        let not_utf8 = || LogError::Damaged(format!("{} is not UTF-8", entries.display()));
        let config = Config {
            dir: entries.to_str().ok_or_else(not_utf8)?.to_owned(),
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
        let watermark = Mutex::new(WatermarkFile::open(&dir.join("watermark"))?);
        Ok(Self { engine, watermark })
    }

    fn watermark(&self) -> MutexGuard<'_, WatermarkFile> {
        self.watermark.lock().expect("no holder of this lock panics")
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
        let hard_state = hard_state.unwrap_or_default();
        let last_term = match self.entries(last, last + 1, u64::MAX) {
            _ if last == truncated.0 => truncated.1,
            Ok(entries) => entries.first().map_or(0, |entry| entry.term),
            Err(error) => return Err(error),
        };
        let mark = self.watermark().mark();
        if !mark.holds(&hard_state, last, last_term) {
            let found = format!("term {}, last entry {last} of term {last_term}", hard_state.term);
            return Err(LogError::Damaged(format!("it has {found}, and was known to have {mark:?}")));
        }
        Ok(Contents { hard_state, truncated, last })
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
        let bytes = self.engine.write(&mut batch, true).map_err(failed("write"))?;
        self.watermark().raise(&append.entries, append.hard_state.as_ref())?;
        Ok(bytes as u64)
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

    fn reset(&self, index: u64, term: u64) -> Result<(), LogError> {
        let mut batch = LogBatch::with_capacity(4);
        let last = self.engine.last_index(GROUP);
        if last.is_some_and(|last| last >= index) {
            // The tail after `index` may be of another leader. Appending is what cuts it off; the entry itself goes at
            // once.
            let entry = Entry { index, term, ..Entry::default() };
            batch.add_entries::<Entries>(GROUP, &[entry]).map_err(failed("begin anew"))?;
        }
        let mut hard_state: HardState =
            self.engine.get_message(GROUP, HARD_STATE).map_err(failed("read"))?.unwrap_or_default();
        if hard_state.term < term {
            // This member has not voted in that term: its vote would be here.
            (hard_state.term, hard_state.vote) = (term, 0);
        }
        hard_state.commit = hard_state.commit.max(index);
        batch.put_message(GROUP, HARD_STATE.to_vec(), &hard_state).map_err(failed("take the vote"))?;
        let mark = [index.to_be_bytes(), term.to_be_bytes()].concat();
        batch.put(GROUP, TRUNCATED.to_vec(), mark).map_err(failed("take the truncation mark"))?;
        batch.add_command(GROUP, Command::Compact { index: index + 1 });
        self.engine.write(&mut batch, true).map_err(failed("begin anew"))?;
        self.engine.purge_expired_files().map_err(failed("purge"))?;
        self.watermark().reset(index, term, &hard_state)
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
        let files = fs::read_dir(dir.join("entries")).expect("readable").map(|entry| entry.expect("readable").path());
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

    /// The end of the log is before, at or behind the snapshot; a crash repeats the step.
    #[test]
    fn a_reset_log_begins_behind_the_snapshot() {
        for index in [3, 5, 9, 40] {
            // The engine keeps the last block it read for each thread, whatever the directory.
            std::thread::spawn(move || reset_at(index)).join().expect("as it should be");
        }
    }

    fn reset_at(index: u64) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = EngineLog::open(dir.path()).expect("opens");
        let entries: Vec<Entry> = (1..=9).map(|index| entry(index, 1, "old")).collect();
        append(&log, &entries);
        log.truncate(2, 1).expect("stored");
        log.reset(index, 4).expect("stored");
        log.reset(index, 4).expect("stored again");
        drop(log);
        let log = EngineLog::open(dir.path()).expect("opens");
        let contents = log.contents().expect("whole");
        assert_eq!((contents.truncated, contents.last), ((index, 4), index), "at {index}");
        assert_eq!((contents.hard_state.term, contents.hard_state.vote, contents.hard_state.commit), (4, 0, index));
        log.append(&Append { entries: vec![entry(index + 1, 4, "new")], hard_state: None }).expect("stored");
        drop(log);
        let log = EngineLog::open(dir.path()).expect("opens");
        assert_eq!(log.contents().map(|contents| contents.last), Ok(index + 1));
        assert_eq!(log.entries(index + 1, index + 2, u64::MAX), Ok(vec![entry(index + 1, 4, "new")]));
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
        let mark = fs::read(dir.path().join("watermark")).expect("there");
        let log = EngineLog::open(dir.path()).expect("opens");
        append(&log, &[entry(2, 1, &"torn".repeat(100))]);
        drop(log);
        let file = OpenOptions::new().write(true).open(log_file(dir.path())).expect("opens");
        let length = file.metadata().expect("there").len();
        assert!(length > whole, "the second record is in the same file");
        file.set_len(length - 20).expect("cut");
        drop(file);
        // A record that is torn was never synced, so the watermark does not know of it.
        fs::write(dir.path().join("watermark"), mark).expect("written");
        let log = EngineLog::open(dir.path()).expect("opens");
        assert_eq!(log.contents().map(|contents| contents.last), Ok(1));
        append(&log, &[entry(2, 3, "again")]);
        assert_eq!(log.entries(1, 3, u64::MAX), Ok(vec![entry(1, 1, "a"), entry(2, 3, "again")]));
    }

    /// Invariant 1. In the last file the engine takes damage for a torn tail; in an entry it is found when that is read.
    #[test]
    fn no_flipped_bit_is_taken_for_the_log_as_it_was() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = EngineLog::open(dir.path()).expect("opens");
        let entries: Vec<Entry> = (1..=9).map(|index| entry(index, 1, &"text".repeat(50))).collect();
        entries.chunks(2).for_each(|some| append(&log, some));
        drop(log);
        let path = log_file(dir.path());
        let whole = fs::read(&path).expect("readable");
        let mut refused = 0;
        for at in (0..whole.len()).step_by(29) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x04;
            fs::write(&path, bytes).expect("writable");
            let read = EngineLog::open(dir.path()).and_then(|log| {
                let contents = log.contents()?;
                Ok((contents.last, log.entries(1, 10, u64::MAX)?))
            });
            match read {
                Err(_) => refused += 1,
                Ok(read) => assert_eq!(read, (9, entries.clone()), "byte {at}"),
            }
        }
        assert!(refused > 10, "{refused} were noticed");
    }
}
