use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::raft::eraftpb::{Entry, HardState};
use consensus::{Append, AppliedState, LogStore as _, Snapshots as _};
use namespace::view::{View as _, Write};
use tempfile::TempDir;
use types::ByteSize;

use super::super::engine::EngineLog;
use super::*;
use crate::store::{Store, peek};

fn store(dir: &Path) -> Arc<Store> {
    Arc::new(Store::open(dir, ByteSize::mib(8)).expect("opens"))
}

fn commit(store: &Store, index: u64, term: u64, value: &[u8]) {
    let writes: Vec<Write> =
        (0..1000_u32).map(|key| Write { key: key.to_be_bytes().to_vec(), value: Some(value.to_vec()) }).collect();
    store.commit(&writes, &AppliedState { index, term, group: consensus::Group::of(&[1, 2, 3]) }).expect("stored");
}

/// The directory of a member whose state is at 70, and its checkpoint. State that came after it is not in it.
fn source() -> (TempDir, Export) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = store(&dir.path().join("state"));
    commit(&store, 70, 5, b"new");
    let export = Exporter::new(dir.path(), store.clone(), &Exports::new()).expect("starts").make().expect("made");
    commit(&store, 71, 5, b"later");
    (dir, export)
}

/// What a pull does, without a network.
fn pull(export: &Export, home: &Path) -> Result<u64, StagingError> {
    let staging = Staging::open(home, &export.manifest)?;
    let mut moved = 0;
    for file in &export.manifest.files {
        let Some(mut incoming) = staging.resume(file)? else { continue };
        let mut source = export.open(file).expect("opens");
        source.seek(SeekFrom::Start(incoming.offset())).expect("seeks");
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).expect("readable");
        moved += bytes.len() as u64;
        incoming.write(&bytes)?;
        incoming.finish()?;
    }
    staging.complete(&export.manifest)?;
    Ok(moved)
}

/// The directory of a member whose state is at 2, with a log from 1 to 4.
fn laggard() -> (TempDir, Home) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let home = Home::new(dir.path());
    let old = store(&home.state());
    commit(&old, 2, 1, b"old");
    old.flush().expect("flushed");
    let log = EngineLog::open(&home.log()).expect("opens");
    let entries = (1..=4).map(|index| Entry { index, term: 1, ..Entry::default() }).collect();
    let hard_state = Some(HardState { term: 6, vote: 2, ..HardState::default() });
    log.append(&Append { entries, hard_state }).expect("stored");
    (dir, home)
}

fn value(dir: &Path) -> Option<Vec<u8>> {
    store(dir).get(&7_u32.to_be_bytes()).expect("readable")
}

/// Invariant 3: a crash behind each step, and behind each step of the recovery itself.
#[test]
fn an_installation_cut_short_at_any_step_is_finished_by_the_next_start() {
    let (_source, export) = source();
    let manifest = &export.manifest;
    for steps in 0..=5 {
        let (dir, home) = laggard();
        pull(&export, dir.path()).expect("whole");
        let run = |step: u32| match step {
            1 => home.mark(manifest),
            2 => home.set_aside(),
            3 => home.swap(),
            4 => Ok(EngineLog::open(&home.log()).expect("opens").reset(manifest.index, manifest.term)?),
            _ => home.done(),
        };
        for first in 1..=steps {
            run(first).expect("done");
        }
        // The recovery does not know which steps are done; it may be cut short itself.
        for again in 2..=steps.min(4) {
            run(again).expect("done again");
        }
        for _ in 0..2 {
            finish(&home, EngineLog::open).expect("finished");
        }
        let contents = EngineLog::open(&home.log()).expect("opens").contents().expect("whole");
        let found = peek(&home.state()).expect("a state");
        assert_eq!((contents.hard_state.term, contents.hard_state.vote), (6, 2), "the vote stays");
        if steps == 0 {
            assert_eq!((found.index, contents.truncated, contents.last), (2, (0, 0), 4));
            assert_eq!(pull(&export, dir.path()).expect("whole"), 0, "all of it is there");
        } else {
            assert_eq!((found, contents.truncated, contents.last), (manifest.applied(), (70, 5), 70), "{steps}");
            assert_eq!(value(&home.state()).as_deref(), Some(b"new".as_slice()));
            let mut names: Vec<_> =
                fs::read_dir(dir.path()).expect("readable").map(|entry| entry.expect("one")).collect();
            names.retain(|entry| !["state", "log"].iter().any(|name| entry.file_name() == *name));
            assert!(names.is_empty(), "{names:?}");
        }
    }
}

/// The store goes on with what is installed, while the process runs.
#[test]
fn the_state_is_replaced_under_a_running_store() {
    let (_source, export) = source();
    let (dir, home) = laggard();
    let log = EngineLog::open(&home.log()).expect("opens");
    let store = store(&home.state());
    commit(&store, 3, 1, b"old");
    pull(&export, dir.path()).expect("whole");
    let replaced = store.replace(|| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(install(&home, &export.manifest, &log)?)
    });
    replaced.expect("installed");
    assert_eq!(store.applied(), Ok(Some(export.manifest.applied())));
    assert_eq!(store.get(&7_u32.to_be_bytes()), Ok(Some(b"new".to_vec())));
    assert_eq!(store.persisted(), Ok(70));
    assert_eq!(log.contents().expect("whole").last, 70);
    commit(&store, 71, 5, b"next");
    store.flush().expect("flushed");
}

/// Invariant 2.
#[test]
fn a_pull_that_broke_off_goes_on_where_it_was() {
    let (_source, export) = source();
    let manifest = &export.manifest;
    let (dir, _) = laggard();
    let big = manifest.files.iter().max_by_key(|file| file.length).expect("some");
    let half = big.length / 2;
    let staging = Staging::open(dir.path(), manifest).expect("opens");
    let mut incoming = staging.resume(big).expect("readable").expect("missing");
    let mut bytes = Vec::new();
    export.open(big).expect("opens").take(half).read_to_end(&mut bytes).expect("readable");
    incoming.write(&bytes).expect("written");
    drop(incoming);
    fs::write(dir.path().join("state-incoming/000099.sst"), b"of another snapshot").expect("written");
    assert_eq!(pull(&export, dir.path()).expect("whole"), manifest.bytes() - half);
    assert!(!dir.path().join("state-incoming/000099.sst").exists());
}

/// Invariants 1 and 2.
#[test]
fn a_file_that_differs_from_the_manifest_is_refused_and_fetched_again() {
    let (_source, export) = source();
    let manifest = &export.manifest;
    let (dir, _) = laggard();
    let staging = Staging::open(dir.path(), manifest).expect("opens");
    let file = manifest.files.iter().max_by_key(|file| file.length).expect("some");
    let path = dir.path().join("state-incoming").join(&file.name);
    let wrong = vec![0xee; file.length as usize];
    let mut incoming = staging.resume(file).expect("readable").expect("missing");
    incoming.write(&wrong).expect("written");
    assert!(matches!(incoming.finish(), Err(StagingError::Corrupt { .. })));
    assert!(!path.exists(), "it is not taken for a start");
    let mut incoming = staging.resume(file).expect("readable").expect("missing");
    assert!(matches!(incoming.write(&[&wrong[..], b"x"].concat()), Err(StagingError::Corrupt { .. })));
    assert!(staging.complete(manifest).is_err(), "files are missing");
    fs::write(&path, &wrong).expect("written");
    assert_eq!(pull(&export, dir.path()).expect("whole"), manifest.bytes());
    let other = Manifest { index: 69, ..manifest.clone() };
    assert!(matches!(staging.complete(&other), Err(StagingError::Index { found: (70, 5), told: (69, 5) })));
}

/// Invariant 4.
#[test]
fn a_checkpoint_is_made_once_and_kept_while_it_is_used() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = store(&dir.path().join("state"));
    commit(&store, 70, 5, b"new");
    fs::create_dir(dir.path().join("state-snapshot-3")).expect("made");
    let exports = Exports::new();
    let exporter = Exporter::new(dir.path(), store, &exports).expect("starts");
    assert!(!dir.path().join("state-snapshot-3").exists(), "of an earlier process");
    assert_eq!(exports.hold(9), None);
    assert!(exports.export_or_order(1).is_none());
    assert!(exports.export_or_order(1).is_none());
    assert_eq!(exports.hold(9), Some(9), "it may be of any index from here on");
    let thread = std::thread::spawn(move || exporter.run());
    let deadline = Instant::now() + Duration::from_secs(20);
    let export = loop {
        if let Some(export) = exports.export_or_order(70) {
            break export;
        }
        assert!(Instant::now() < deadline, "it is made");
        std::thread::yield_now();
    };
    assert_eq!((export.manifest.at(), exports.hold(9)), ((70, 5), Some(70)));
    assert!(exports.get(70, 4).is_none());
    exports.expire(Duration::from_secs(60));
    assert!(exports.get(70, 5).is_some());
    exports.expire(Duration::ZERO);
    assert_eq!(exports.hold(9), None);
    let files = dir.path().join("state-snapshot-70");
    assert!(files.exists(), "somebody still reads it");
    drop(export);
    assert!(!files.exists());
    exports.close();
    assert_eq!(thread.join().expect("no panic"), Ok(()));
}
