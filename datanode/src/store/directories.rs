//! Syncs of the directories of a volume.
//!
//! 1. A sync covers the names that were in the directory before it began, and only those. Whoever made a name while one
//!    was under way waits for the next; all who came meanwhile share that one.
//! 2. The name of a directory is known to be on disk once this process has synced the directory that holds it, and not
//!    before: whoever made it may have ended in between, may be at it right now, or may not have wanted it synced.
//! 3. A sync that failed has failed for all that waited for it, and is not tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use types::BlockId;
use types::inventory::Bucket;

use super::StoreError;
use super::error::during;
use crate::replica::{FINAL, final_directory};

/// Brings the names in a directory to the disk: the system's way, or that of a test.
pub(super) trait SyncDirectory: std::fmt::Debug + Send + Sync {
    fn sync(&self, directory: &File, path: &Path) -> io::Result<()>;
}

#[derive(Debug)]
pub(super) struct Fsync;

impl SyncDirectory for Fsync {
    fn sync(&self, directory: &File, _: &Path) -> io::Result<()> {
        directory.sync_all()
    }
}

#[derive(Debug)]
pub(super) struct Directories {
    sync: Box<dyn SyncDirectory>,
    /// The directories that somebody syncs or waits for.
    gates: Mutex<BTreeMap<PathBuf, Arc<Gate>>>,
    named: Mutex<BTreeSet<Level>>,
}

/// A directory below `final/`, by its number on its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Upper(u64),
    Lower(u64),
}

/// Those who want one directory synced.
#[derive(Debug, Default)]
struct Gate {
    turns: Mutex<Turns>,
    changed: Condvar,
}

/// Syncs of one directory, counted.
#[derive(Debug, Default)]
struct Turns {
    begun: u64,
    done: u64,
    running: bool,
    failed: Option<String>,
    waiting: usize,
}

/// Why a directory is not on disk.
#[derive(Debug)]
pub(super) enum SyncFailed {
    /// It could not be opened: nothing is known of what is in it.
    Open(StoreError),
    /// The disk did not take it.
    Sync(String),
}

impl Directories {
    pub(super) fn new(sync: Box<dyn SyncDirectory>) -> Self {
        Self { sync, gates: Mutex::default(), named: Mutex::default() }
    }

    /// Brings to disk every name that is in the directory by now.
    pub(super) fn sync(&self, path: &Path) -> Result<(), SyncFailed> {
        let gate = Arc::clone(lock(&self.gates).entry(path.to_owned()).or_default());
        let result = gate.pass(|| {
            let directory = File::open(path).map_err(|error| SyncFailed::Open(during("opening a directory")(error)))?;
            self.sync.sync(&directory, path).map_err(|error| SyncFailed::Sync(error.to_string()))
        });
        let mut gates = lock(&self.gates);
        // This thread and the map hold it, and nobody else: the next one may begin with a new one.
        if Arc::strong_count(&gate) == 2 && lock(&gate.turns).failed.is_none() {
            gates.remove(path);
        }
        result
    }

    /// Brings the names of the two directories of a block to disk, unless they are known to be there (invariant 2).
    pub(super) fn name(&self, root: &Path, block: BlockId) -> Result<(), SyncFailed> {
        let lower = final_directory(root, block);
        let upper = lower.parent().expect("a final directory has two levels");
        let [in_final, in_upper] = Level::of(block);
        for (level, holder) in [(in_final, root.join(FINAL).as_path()), (in_upper, upper)] {
            if !lock(&self.named).contains(&level) {
                self.sync(holder)?;
                lock(&self.named).insert(level);
            }
        }
        Ok(())
    }

    /// One of the directories of a block was made just now: if it was there before, somebody took it away.
    pub(super) fn made(&self, block: BlockId) {
        let mut named = lock(&self.named);
        named.retain(|level| !Level::of(block).contains(level));
    }
}

impl Level {
    fn of(block: BlockId) -> [Self; 2] {
        let directory = Bucket::directory_of(block);
        [Self::Upper(directory >> 8), Self::Lower(directory)]
    }
}

impl Gate {
    /// Returns when a sync that began after this call has ended: `sync`, or that of another thread (invariant 1).
    fn pass(&self, sync: impl FnOnce() -> Result<(), SyncFailed>) -> Result<(), SyncFailed> {
        let mut turns = lock(&self.turns);
        let wanted = turns.begun + 1;
        loop {
            // Invariant 3.
            if let Some(reason) = &turns.failed {
                return Err(SyncFailed::Sync(reason.clone()));
            }
            if turns.done >= wanted {
                return Ok(());
            }
            if !turns.running {
                break;
            }
            turns.waiting += 1;
            turns = self.changed.wait(turns).unwrap_or_else(PoisonError::into_inner);
            turns.waiting -= 1;
        }
        turns.running = true;
        turns.begun += 1;
        let turn = turns.begun;
        drop(turns);
        let result = sync();
        let mut turns = lock(&self.turns);
        turns.running = false;
        match &result {
            Ok(()) => turns.done = turn,
            Err(SyncFailed::Sync(reason)) => turns.failed = Some(reason.clone()),
            // Another may find it there.
            Err(SyncFailed::Open(_)) => {}
        }
        self.changed.notify_all();
        result
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::{Duration, Instant};

    use super::*;

    /// Says when a sync begins, and ends it when it is told how.
    #[derive(Debug)]
    struct Held {
        begun: Mutex<Sender<PathBuf>>,
        end: Mutex<Receiver<io::Result<()>>>,
    }

    impl SyncDirectory for Held {
        fn sync(&self, _: &File, path: &Path) -> io::Result<()> {
            lock(&self.begun).send(path.to_owned()).expect("the test listens");
            lock(&self.end).recv().expect("the test answers")
        }
    }

    struct Bench {
        directory: tempfile::TempDir,
        directories: Directories,
        begun: Receiver<PathBuf>,
        end: Sender<io::Result<()>>,
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    impl Bench {
        fn new() -> Self {
            let (tell, begun) = channel();
            let (end, told) = channel();
            let directories = Directories::new(Box::new(Held { begun: Mutex::new(tell), end: Mutex::new(told) }));
            Self { directory: tempfile::tempdir().expect("a directory"), directories, begun, end }
        }

        fn path(&self) -> &Path {
            self.directory.path()
        }

        fn until_waiting(&self, count: usize) {
            let until = Instant::now() + PATIENCE;
            let waiting = || lock(&self.directories.gates).get(self.path()).map(|gate| lock(&gate.turns).waiting);
            while waiting() != Some(count) {
                assert!(Instant::now() < until, "{:?} wait, not {count}", waiting());
                std::thread::yield_now();
            }
        }

        fn begins(&self) {
            assert_eq!(self.begun.recv_timeout(PATIENCE).expect("a sync begins"), self.path());
        }
    }

    /// Invariant 1.
    #[test]
    fn those_who_come_during_a_sync_share_the_next_one() {
        let bench = Bench::new();
        let (directories, path) = (&bench.directories, bench.path());
        std::thread::scope(|scope| {
            let first = scope.spawn(|| directories.sync(path).is_ok());
            bench.begins();
            let others: Vec<_> = (0..5).map(|_| scope.spawn(|| directories.sync(path).is_ok())).collect();
            bench.until_waiting(5);
            bench.end.send(Ok(())).expect("it waits");
            bench.begins();
            assert!(first.join().expect("no panic"), "it does not wait for the others");
            assert!(others.iter().all(|other| !other.is_finished()), "the first sync did not cover their names");
            bench.end.send(Ok(())).expect("it waits");
            assert!(others.into_iter().all(|other| other.join().expect("no panic")));
        });
        assert!(bench.begun.try_recv().is_err(), "two syncs were enough");
        assert!(lock(&bench.directories.gates).is_empty(), "nothing stays of directories that nobody syncs");
    }

    /// Invariant 3.
    #[test]
    fn a_failed_sync_fails_all_that_wait_for_it_and_is_not_tried_again() {
        let bench = Bench::new();
        let (directories, path) = (&bench.directories, bench.path());
        std::thread::scope(|scope| {
            let first = scope.spawn(|| directories.sync(path).is_err());
            bench.begins();
            let others: Vec<_> = (0..3).map(|_| scope.spawn(|| directories.sync(path).is_err())).collect();
            bench.until_waiting(3);
            bench.end.send(Err(io::Error::from_raw_os_error(libc::EIO))).expect("it waits");
            assert!(first.join().expect("no panic"));
            assert!(others.into_iter().all(|other| other.join().expect("no panic")));
        });
        assert!(bench.begun.try_recv().is_err(), "it was tried once");
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let bench = Bench::new();
        let missing = bench.directories.sync(&bench.path().join("missing"));
        assert!(matches!(missing, Err(SyncFailed::Open(_))), "{missing:?}");
    }
}
