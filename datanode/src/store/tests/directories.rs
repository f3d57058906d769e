//! Which directories are on disk before a replica is acknowledged.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::*;
use crate::replica::{FINAL, final_directory};
use crate::store::directories::SyncDirectory;

/// Writes down which directories are synced.
#[derive(Debug, Clone, Default)]
struct Recorded(Arc<Mutex<Vec<PathBuf>>>);

impl SyncDirectory for Recorded {
    fn sync(&self, directory: &File, path: &Path) -> io::Result<()> {
        self.0.lock().expect("no panic").push(path.to_owned());
        directory.sync_all()
    }
}

struct Watched {
    directory: tempfile::TempDir,
    volume: Volume,
    synced: Recorded,
}

impl Watched {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        crate::format(directory.path(), CLUSTER).expect("formats");
        Self::open(directory)
    }

    fn open(directory: tempfile::TempDir) -> Self {
        let (synced, failed) = (Recorded::default(), Arc::new(Notify::new()));
        let sync = Box::new(synced.clone());
        let volume = Volume::open_with(directory.path(), CLUSTER, 1, ByteSize::ZERO, failed, sync).expect("opens");
        Self { directory, volume, synced }
    }

    fn restart(self) -> Self {
        drop(self.volume);
        Self::open(self.directory)
    }

    /// The directories synced while a replica is written at a level, without the path of the volume.
    fn finish(&self, number: u32, level: Level) -> Vec<String> {
        let block = numbered(number);
        let begin = Begin { block, generation: GenStamp::FIRST, level, max_length: MAX, resume: None };
        self.volume.begin(&begin).expect("begins");
        let end = Packet { flags: Flags::FINISH, ..packet(0, b"", Flags::NONE) };
        self.volume.append(block, GenStamp::FIRST, &[end]).expect("finishes");
        self.told()
    }

    fn told(&self) -> Vec<String> {
        let synced = std::mem::take(&mut *self.synced.0.lock().expect("no panic"));
        let below = |path: &PathBuf| path.strip_prefix(self.directory.path()).expect("of the volume").to_owned();
        synced.iter().map(|path| below(path).display().to_string()).collect()
    }
}

/// All of them share a directory.
fn numbered(number: u32) -> BlockId {
    BlockId::new(InodeId::new(0x12_3400), number)
}

const ALL: [&str; 3] = ["final", "final/12", "final/12/34"];

#[test]
fn a_directory_is_synced_into_those_above_it_once() {
    let bench = Watched::new();
    assert_eq!(bench.finish(1, Level::Close), ALL);
    assert_eq!(bench.finish(2, Level::Close), ["final/12/34"], "the names above are on disk");
}

/// Another thread has made the directories and not synced them so far: a crash now must not lose them.
#[test]
fn a_directory_that_somebody_else_made_is_not_taken_for_synced() {
    let bench = Watched::new();
    fs::create_dir_all(final_directory(bench.directory.path(), numbered(0))).expect("makes");
    assert_eq!(bench.finish(1, Level::Close), ALL);
}

#[test]
fn a_directory_made_at_level_memory_is_synced_by_the_first_who_needs_it() {
    let bench = Watched::new();
    assert_eq!(bench.finish(1, Level::Memory), [""; 0]);
    assert_eq!(bench.finish(2, Level::Close), ALL);
}

#[test]
fn after_a_restart_nothing_is_known_to_be_on_disk() {
    let bench = Watched::new();
    bench.finish(1, Level::Memory);
    let bench = bench.restart();
    bench.volume.sync_final(numbered(1), GenStamp::FIRST).expect("syncs");
    assert_eq!(bench.told(), ALL, "a replica that an earlier process may have left in memory");
}

#[test]
fn a_directory_that_was_lost_and_is_made_again_is_synced_again() {
    let bench = Watched::new();
    bench.finish(1, Level::Close);
    fs::remove_dir_all(bench.directory.path().join(FINAL).join("12")).expect("removes");
    assert_eq!(bench.finish(2, Level::Close), ALL);
}
