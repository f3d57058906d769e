use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;
use transfer::{Extent, Flags, Level, Packet, Resume};
use types::checksum::{CHUNK, append_words};
use types::{BlockId, BlockOffset, ByteSize, ClusterId, GenStamp, InodeId};

use super::*;
use crate::replica::{Header, Layout, State, final_path, writing_path};

mod directories;
mod inventory;
mod scrub;

const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
const MAX: ByteSize = ByteSize::mib(1);

struct Bench {
    directory: tempfile::TempDir,
    volume: Volume,
}

fn open(path: &std::path::Path, reserve: ByteSize) -> Volume {
    Volume::open(path, CLUSTER, 1, reserve, Arc::new(Notify::new())).expect("opens")
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        crate::format(directory.path(), CLUSTER).expect("formats");
        let volume = open(directory.path(), ByteSize::ZERO);
        Self { directory, volume }
    }

    /// As after a crash: what is in memory is gone.
    fn restart(self) -> Self {
        let Self { directory, volume } = self;
        drop(volume);
        let volume = open(directory.path(), ByteSize::ZERO);
        Self { directory, volume }
    }

    fn writing(&self, generation: u64) -> PathBuf {
        writing_path(self.directory.path(), block(), GenStamp::new(generation))
    }

    fn complete(&self, generation: u64) -> PathBuf {
        final_path(self.directory.path(), block(), GenStamp::new(generation))
    }

    fn begin(&self, generation: u64, resume: Option<(u64, u64)>) -> Result<(Extent, Acked), StoreError> {
        let resume = resume
            .map(|(from, offset)| Resume { from_generation: GenStamp::new(from), offset: BlockOffset::new(offset) });
        let (block, generation) = (block(), GenStamp::new(generation));
        self.volume.begin(&Begin { block, generation, level: Level::Close, max_length: MAX, resume })
    }

    fn append(&self, generation: u64, packet: Packet) -> Result<(), StoreError> {
        self.volume.append(block(), GenStamp::new(generation), &[packet])
    }

    /// Starts generation 1 with these bytes, all of them acknowledged.
    fn written(content: &[u8]) -> Self {
        let bench = Self::new();
        let (_, acked) = bench.begin(1, None).expect("begins");
        let packet = packet(0, content, Flags::NONE);
        let partial = (!content.len().is_multiple_of(CHUNK)).then(|| last_word(&packet));
        bench.append(1, packet).expect("stores");
        acked.set(Extent { length: content.len() as u64, partial });
        bench
    }

    fn readable(&self, generation: u64) -> Result<(Vec<u8>, bool), StoreError> {
        let replica = self.volume.open_replica(block(), GenStamp::new(generation))?;
        let mut data = vec![0; replica.extent.length as usize];
        replica.file.read_exact_at(&mut data, replica.data(0)).expect("reads");
        let mut words = Vec::new();
        replica.words(0, replica.extent.length, &mut words).expect("reads");
        types::checksum::verify(block(), 0, &data, &words).expect("verifies");
        Ok((data, replica.complete))
    }
}

fn block() -> BlockId {
    BlockId::new(InodeId::new(300), 2)
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 3) as u8).collect()
}

fn packet(offset: u64, data: &[u8], flags: Flags) -> Packet {
    let mut words = Vec::new();
    append_words(block(), offset / CHUNK as u64, data, &mut words);
    let data = Bytes::copy_from_slice(data);
    Packet { sequence: 0, offset: BlockOffset::new(offset), flags, words: words.into(), data }
}

fn last_word(packet: &Packet) -> u32 {
    u32::from_le_bytes(*packet.words.last_chunk().expect("words"))
}

fn flip(path: &std::path::Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).expect("opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("reads");
    file.write_all_at(&[!byte[0]], at).expect("writes");
}

/// Invariant 3.
#[test]
fn a_finished_replica_is_in_its_place_whole_and_says_so() {
    let bytes = content(CHUNK + 9);
    let bench = Bench::written(&bytes);
    assert!(bench.writing(1).exists() && !bench.complete(1).exists());
    bench.append(1, packet(bytes.len() as u64, b"", Flags::FINISH)).expect("finishes");
    assert!(!bench.writing(1).exists());
    assert_eq!(bench.readable(1).expect("opens"), (bytes.clone(), true));

    let file = fs::read(bench.complete(1)).expect("reads");
    let header = Header::decode(file.first_chunk().expect("long enough")).expect("a header");
    let state = State::Final { length: ByteSize::new(bytes.len() as u64) };
    assert_eq!(
        header,
        Header { cluster: CLUSTER, block: block(), generation: GenStamp::FIRST, max_length: MAX, state }
    );
    assert_eq!(file[Layout::new(MAX).data(0) as usize..], bytes);
    assert!(matches!(bench.begin(1, None), Err(StoreError::Stale { have }) if have == GenStamp::FIRST));
    bench.volume.verify(block(), GenStamp::FIRST, ByteSize::new(bytes.len() as u64)).expect("verifies");
    assert_eq!(bench.volume.probe().replicas, 1);
}

#[test]
fn only_acknowledged_bytes_can_be_read_while_a_replica_is_written() {
    let bytes = content(2 * CHUNK);
    let bench = Bench::new();
    let (_, acked) = bench.begin(1, None).expect("begins");
    let short = packet(0, &bytes[..100], Flags::NONE);
    let extent = Extent { length: 100, partial: Some(last_word(&short)) };
    bench.append(1, short).expect("stores");
    assert_eq!(bench.readable(1).expect("opens"), (Vec::new(), false));
    acked.set(extent);
    // The chunk grows on the disk, and its word there is of all of it.
    bench.append(1, packet(0, &bytes, Flags::NONE)).expect("stores");
    assert_eq!(bench.readable(1).expect("opens"), (bytes[..100].to_vec(), false));
}

/// Invariants 1 and 2.
#[test]
fn a_newer_generation_goes_on_from_what_was_acknowledged_and_fences_the_older_one() {
    let bytes = content(2 * CHUNK + 50);
    let bench = Bench::written(&bytes);
    let (extent, _) = bench.begin(3, Some((1, 5000))).expect("resumes");
    let cut = packet(4096, &bytes[4096..5000], Flags::NONE);
    assert_eq!(extent, Extent { length: 5000, partial: Some(last_word(&cut)) });
    assert_eq!(bench.readable(3).expect("opens"), (bytes[..5000].to_vec(), false));
    let late = packet(8192, &bytes[8192..], Flags::NONE);
    assert!(matches!(bench.append(1, late), Err(StoreError::Stale { have }) if have == GenStamp::new(3)));
    assert!(matches!(bench.begin(2, Some((1, 0))), Err(StoreError::Stale { .. })));
    assert!(matches!(bench.readable(1), Err(StoreError::Stale { .. })));
    bench.append(3, packet(4096, &bytes[4096..], Flags::FINISH)).expect("finishes");
    assert_eq!(bench.readable(3).expect("opens"), (bytes, true));
}

#[test]
fn a_finished_replica_is_reopened_by_a_chain_that_lost_the_last_acknowledgement() {
    let bytes = content(CHUNK + 9);
    let bench = Bench::written(&bytes);
    bench.append(1, packet(bytes.len() as u64, b"", Flags::FINISH)).expect("finishes");
    bench.begin(2, Some((1, 4096))).expect("resumes");
    assert!(!bench.complete(1).exists() && bench.writing(2).exists());
    assert_eq!(bench.volume.probe().replicas, 0);
    bench.append(2, packet(4096, &bytes[4096..], Flags::FINISH)).expect("finishes");
    assert_eq!(bench.readable(2).expect("opens"), (bytes, true));
}

#[test]
fn what_lacks_acknowledged_bytes_is_not_gone_on_with() {
    let bench = Bench::written(&content(100));
    assert!(matches!(bench.begin(3, Some((2, 50))), Err(StoreError::NoSuchReplica { .. })));
    assert!(matches!(bench.begin(3, Some((1, 101))), Err(StoreError::Short { available: 100, wanted: 101 })));
    assert!(matches!(Bench::new().begin(3, Some((2, 1))), Err(StoreError::NoSuchReplica { .. })));
    // The refusals have changed nothing; and where nothing was acknowledged, a new replica will do.
    bench.begin(3, Some((1, 100))).expect("resumes");
    assert_eq!(Bench::new().begin(3, Some((2, 0))).expect("begins").0, Extent::default());
}

#[test]
fn damage_in_the_chunk_that_is_cut_is_not_covered_up() {
    let bench = Bench::written(&content(CHUNK));
    flip(&bench.writing(1), Layout::new(MAX).data(4000));
    assert!(matches!(bench.begin(2, Some((1, 100))), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_replica_found_after_a_crash_is_gone_on_with() {
    let bytes = content(CHUNK + 100);
    let bench = Bench::written(&bytes).restart();
    assert_eq!(bench.readable(1).expect("opens"), (bytes.clone(), false));
    bench.begin(2, Some((1, 4150))).expect("resumes");
    assert_eq!(bench.readable(2).expect("opens"), (bytes[..4150].to_vec(), false));
}

/// A power cut between the data of a chunk and its word: the longest beginning that the word vouches for counts.
#[test]
fn a_chunk_longer_than_its_word_counts_as_far_as_the_word_does() {
    let bytes = content(CHUNK + 100);
    let bench = Bench::written(&bytes);
    let file = File::options().write(true).open(bench.writing(1)).expect("opens");
    let old = last_word(&packet(4096, &bytes[4096..4096 + 30], Flags::NONE));
    file.write_all_at(&old.to_le_bytes(), Layout::new(MAX).word(4096)).expect("writes");
    let bench = bench.restart();
    assert_eq!(bench.readable(1).expect("opens"), (bytes[..4126].to_vec(), false));
    let file = File::options().write(true).open(bench.writing(1)).expect("opens");
    file.write_all_at(&[1, 2, 3, 4], Layout::new(MAX).word(4096)).expect("writes");
    assert_eq!(bench.restart().readable(1).expect("opens"), (bytes[..4096].to_vec(), false));
}

/// A crash between the header of a new generation and the rename that gives the file its name.
#[test]
fn the_header_counts_when_the_name_is_of_an_older_generation() {
    let bytes = content(100);
    let bench = Bench::written(&bytes);
    bench.begin(2, Some((1, 100))).expect("resumes");
    fs::rename(bench.writing(2), bench.writing(1)).expect("renames");
    let bench = bench.restart();
    assert_eq!(bench.readable(2).expect("opens"), (bytes, false));
    assert!(bench.writing(2).exists());
}

#[test]
fn a_damaged_header_is_found_and_the_place_can_be_used_again() {
    let bench = Bench::written(&content(100));
    flip(&bench.writing(1), 48);
    let bench = bench.restart();
    assert!(matches!(bench.readable(1), Err(StoreError::NoSuchReplica { .. })));
    bench.begin(1, None).expect("begins");
    bench.append(1, packet(0, b"again", Flags::FINISH)).expect("finishes");
    flip(&bench.complete(1), 500);
    let error = bench.readable(1).expect_err("the checksum of the header is in there");
    assert!(error.is_damage(), "{error}");
    fs::write(bench.complete(1), b"short").expect("writes");
    assert!(bench.readable(1).expect_err("too short").is_damage());
}

#[test]
fn a_replica_under_another_name_or_cut_off_is_damaged() {
    let bench = Bench::written(&content(100));
    bench.append(1, packet(100, b"", Flags::FINISH)).expect("finishes");
    fs::copy(bench.complete(1), bench.complete(2)).expect("copies");
    assert!(bench.readable(2).expect_err("of generation 1").is_damage());
    let file = File::options().write(true).open(bench.complete(1)).expect("opens");
    file.set_len(Layout::new(MAX).data(99)).expect("cuts");
    assert!(bench.readable(1).expect_err("a byte is missing").is_damage());
}

#[test]
fn deletion_spares_newer_generations_and_may_be_repeated() {
    let bench = Bench::written(&content(100));
    let delete = |generation| bench.volume.delete(block(), GenStamp::new(generation));
    bench.begin(2, Some((1, 100))).expect("resumes");
    delete(1).expect("harmless");
    assert!(bench.writing(2).exists());
    bench.append(2, packet(100, b"", Flags::FINISH)).expect("finishes");
    delete(1).expect("harmless");
    assert!(bench.complete(2).exists());
    delete(2).expect("deletes");
    assert!(!bench.complete(2).exists());
    delete(2).expect("harmless");
    assert!(matches!(bench.readable(2), Err(StoreError::NoSuchReplica { .. })));
}

#[test]
fn a_deleted_replica_has_no_writer() {
    let bench = Bench::written(&content(100));
    bench.volume.delete(block(), GenStamp::new(1)).expect("deletes");
    let late = bench.append(1, packet(0, &content(200), Flags::NONE));
    assert!(matches!(late, Err(StoreError::NoSuchReplica { .. })));
}

/// A node of the chain was stopped, and passes on what it had received before: by then the block is gone.
#[test]
fn a_setup_that_comes_after_the_deletion_makes_nothing() {
    let bench = Bench::new();
    bench.volume.delete(block(), GenStamp::new(2)).expect("there is nothing to delete");
    for late in [1, 2] {
        assert!(matches!(bench.begin(late, None), Err(StoreError::NoSuchReplica { .. })), "generation {late}");
        assert!(!bench.writing(late).exists());
    }
    bench.begin(3, None).expect("it is newer than what was deleted");
    bench.volume.delete(block(), GenStamp::new(3)).expect("deletes");
    bench.volume.forget_deleted(block());
    bench.begin(3, None).expect("a leader wants it here again");
}

#[test]
fn the_reserve_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    crate::format(directory.path(), CLUSTER).expect("formats");
    let volume = open(directory.path(), ByteSize::new(1 << 60));
    let begin =
        Begin { block: block(), generation: GenStamp::FIRST, level: Level::Close, max_length: MAX, resume: None };
    assert!(matches!(volume.begin(&begin), Err(StoreError::NoSpace { .. })));
    assert_eq!(volume.probe().free, 0);
}

#[test]
fn a_volume_that_vanished_is_failed_and_refuses_everything() {
    let bench = Bench::written(&content(100));
    fs::rename(bench.directory.path().join("volume.toml"), bench.directory.path().join("elsewhere")).expect("renames");
    // Also in the moment before anybody has noticed.
    bench.volume.remember_usage().expect_err("there is nothing to write to");
    bench.volume.remember_scrub().expect_err("there is nothing to write to");
    assert!(!bench.directory.path().join("usage.toml").exists());
    assert!(bench.volume.probe().failed);
    assert!(matches!(bench.readable(1), Err(StoreError::Volume { .. })));
    assert!(matches!(bench.begin(2, None), Err(StoreError::Volume { .. })));
    fs::rename(bench.directory.path().join("elsewhere"), bench.directory.path().join("volume.toml")).expect("renames");
    assert!(bench.volume.probe().failed, "somebody has to look at it first");
}

/// A small file system of its own, gone with the value. None where mounting is not allowed.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "ashlar-test"]).arg(directory.path());
        let mounted = mount.status().is_ok_and(|status| status.success());
        if !mounted {
            println!("SKIPPED: this user cannot mount the small file system that this test fills");
        }
        mounted.then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_disk_that_fills_up_keeps_what_was_stored_and_not_yet_acknowledged() {
    let Some(disk) = SmallDisk::mount("1m") else { return };
    crate::format(disk.0.path(), CLUSTER).expect("formats");
    let volume = open(disk.0.path(), ByteSize::ZERO);
    let bytes = content(1 << 20);
    let begin =
        Begin { block: block(), generation: GenStamp::FIRST, level: Level::Close, max_length: MAX, resume: None };
    volume.begin(&begin).expect("begins");
    let append = |packets: &[Packet]| volume.append(block(), GenStamp::FIRST, packets);
    append(&[packet(0, &bytes[..8192], Flags::NONE)]).expect("stores");
    // The hop below has not acknowledged it yet. The next packets do not all fit.
    let failing = [packet(8192, &bytes[..4096], Flags::NONE), packet(12_288, &bytes, Flags::NONE)];
    assert_eq!(append(&failing).expect_err("a mebibyte does not fit").code(), types::Code::NoSpace);
    let resume = Some(Resume { from_generation: GenStamp::FIRST, offset: BlockOffset::new(8192) });
    let (extent, _) = volume.begin(&Begin { generation: GenStamp::new(2), resume, ..begin }).expect("resumes");
    assert_eq!(extent, Extent { length: 8192, partial: None });
}

#[test]
fn a_disk_that_fills_up_fails_the_write_and_keeps_what_was_acknowledged() {
    let Some(disk) = SmallDisk::mount("1m") else { return };
    crate::format(disk.0.path(), CLUSTER).expect("formats");
    let volume = open(disk.0.path(), ByteSize::ZERO);
    let bytes = content(1 << 20);
    let begin =
        Begin { block: block(), generation: GenStamp::FIRST, level: Level::Close, max_length: MAX, resume: None };
    let (_, acked) = volume.begin(&begin).expect("begins");
    let append = |packet| volume.append(block(), GenStamp::FIRST, &[packet]);
    let first = packet(0, &bytes[..100], Flags::NONE);
    let extent = Extent { length: 100, partial: Some(last_word(&first)) };
    append(first).expect("stores");
    acked.set(extent);
    let error = append(packet(0, &bytes, Flags::NONE)).expect_err("a mebibyte does not fit");
    assert_eq!(error.code(), types::Code::NoSpace);
    assert!(!volume.has_failed(), "a full disk is not a broken one");
    let replica = volume.open_replica(block(), GenStamp::FIRST).expect("opens");
    let mut words = Vec::new();
    replica.words(0, 100, &mut words).expect("reads");
    let mut data = [0; 100];
    replica.file.read_exact_at(&mut data, replica.data(0)).expect("reads");
    types::checksum::verify(block(), 0, &data, &words).expect("verifies");
    assert!(volume.probe().free > 900 << 10, "what was not acknowledged is given back");
    let resume = Some(Resume { from_generation: GenStamp::FIRST, offset: BlockOffset::new(100) });
    volume.begin(&Begin { generation: GenStamp::new(2), resume, ..begin }).expect("resumes");
}

#[test]
fn a_volume_that_became_read_only_is_failed() {
    let Some(disk) = SmallDisk::mount("1m") else { return };
    crate::format(disk.0.path(), CLUSTER).expect("formats");
    let volume = open(disk.0.path(), ByteSize::ZERO);
    assert!(!volume.probe().failed);
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(disk.0.path()).status();
    assert!(remounted.expect("mount runs").success());
    assert!(volume.probe().failed);
}

mod takeover;
