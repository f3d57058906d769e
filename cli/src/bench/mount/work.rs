//! What is done on each of the two: the same system calls, as programs make them.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use hdrhistogram::Histogram;
use rustix::fs::{Advice, fadvise};

use super::super::cost::Cost;
use super::super::report::{Sample, latencies};
use super::forget_names;

/// What programs write and read at a time.
const PIECE: usize = 1 << 20;
const SMALL: usize = 4096;
/// Threads that make files, and that read at random.
const MAKERS: u32 = 8;
const READERS: u64 = 4;
/// Random reads in a run.
const READS: u64 = 20_000;
/// Files in one directory.
const DIRECTORY: u32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Write,
    Read,
    Random,
    Create,
    WalkCold,
    Walk,
}

/// Where it is done, and how much.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    pub(super) root: PathBuf,
    pub(super) bytes: u64,
    pub(super) files: u32,
}

/// What was done.
pub(super) struct Done {
    bytes: u64,
    ops: u64,
    latencies: Option<Histogram<u64>>,
}

impl Done {
    pub(super) fn sample(self, cost: Cost) -> Sample {
        match self {
            Self { ops: 0, bytes, .. } => Sample::of_bytes(bytes, cost.seconds, cost.cpu),
            Self { ops, latencies: Some(latencies), .. } => {
                Sample::of_ops(ops, cost.seconds, cost.cpu).with_latencies(&latencies)
            }
            Self { ops, .. } => Sample::of_ops(ops, cost.seconds, cost.cpu),
        }
    }

    fn ops(ops: u64, latencies: Option<Histogram<u64>>) -> Self {
        Self { bytes: 0, ops, latencies }
    }
}

impl Ground {
    fn large(&self) -> PathBuf {
        self.root.join("large")
    }

    fn tree(&self) -> PathBuf {
        self.root.join("tree")
    }

    fn small(&self, number: u32) -> PathBuf {
        self.tree().join((number / DIRECTORY).to_string()).join(number.to_string())
    }

    fn is_written(&self) -> bool {
        fs::metadata(self.large()).is_ok_and(|found| found.size() == self.bytes)
    }
}

impl Work {
    pub(super) const ALL: [Self; 6] = [Self::Write, Self::Read, Self::Random, Self::Create, Self::WalkCold, Self::Walk];

    pub(super) const fn metric(self) -> &'static str {
        match self {
            Self::Write => "mount.write",
            Self::Read => "mount.read",
            Self::Random => "mount.random_4k",
            Self::Create => "mount.create",
            Self::WalkCold => "mount.walk_cold",
            Self::Walk => "mount.walk",
        }
    }

    pub(super) const fn limit(self) -> &'static str {
        match self {
            Self::Write => "limit.fuse_write",
            Self::Read => "limit.fuse_read",
            Self::Random => "limit.fuse_random_4k",
            Self::Create => "limit.fuse_create",
            Self::WalkCold => "limit.fuse_walk_cold",
            Self::Walk => "limit.fuse_walk",
        }
    }

    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Write | Self::Read => "MB/s",
            Self::Random => "reads/s",
            Self::Create => "files/s",
            Self::WalkCold | Self::Walk => "entries/s",
        }
    }

    /// What has to be there, or gone, before the clock starts.
    pub(super) fn prepare(self, ground: &Ground) -> anyhow::Result<()> {
        match self {
            Self::Write => {
                if ground.large().exists() {
                    fs::remove_file(ground.large())?;
                }
            }
            Self::Read | Self::Random => {
                if !ground.is_written() {
                    write(ground)?;
                }
                // Of this file only: what serves it keeps what it has.
                fadvise(File::open(ground.large())?, 0, None, Advice::DontNeed)?;
            }
            Self::Create => {
                if ground.tree().exists() {
                    fs::remove_dir_all(ground.tree())?;
                }
                for directory in 0..ground.files.div_ceil(DIRECTORY) {
                    fs::create_dir_all(ground.tree().join(directory.to_string()))?;
                }
            }
            Self::WalkCold | Self::Walk => {
                if !ground.small(ground.files - 1).exists() {
                    Self::Create.prepare(ground)?;
                    create(ground)?;
                }
                match self {
                    Self::WalkCold => forget_names()?,
                    _ => drop(walk(&ground.tree())?),
                }
            }
        }
        Ok(())
    }

    pub(super) fn run(self, ground: &Ground) -> anyhow::Result<Done> {
        match self {
            Self::Write => write(ground),
            Self::Read => read(ground),
            Self::Random => random(ground),
            Self::Create => create(ground),
            Self::WalkCold | Self::Walk => Ok(Done::ops(walk(&ground.tree())?, None)),
        }
    }
}

/// Writes the large file from end to end, and makes it durable.
fn write(ground: &Ground) -> anyhow::Result<Done> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(ground.large())?;
    let piece: Vec<u8> = (0..PIECE).map(|at| (at % 251) as u8).collect();
    let mut at = 0;
    while at < ground.bytes {
        let length = PIECE.min(usize::try_from(ground.bytes - at).unwrap_or(PIECE));
        file.write_all_at(&piece[..length], at)?;
        at += length as u64;
    }
    file.sync_all()?;
    Ok(Done { bytes: ground.bytes, ops: 0, latencies: None })
}

fn read(ground: &Ground) -> anyhow::Result<Done> {
    let file = File::open(ground.large())?;
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < ground.bytes {
        let length = file.read_at(&mut buffer, at)?;
        anyhow::ensure!(length > 0 && buffer[0] == (at % PIECE as u64 % 251) as u8, "the file reads wrong at {at}");
        at += length as u64;
    }
    Ok(Done { bytes: at, ops: 0, latencies: None })
}

/// Pages here and there, each thread in its own order.
fn random(ground: &Ground) -> anyhow::Result<Done> {
    let pages = (ground.bytes / SMALL as u64).max(1);
    let mut all = latencies();
    let found: anyhow::Result<Vec<_>> = std::thread::scope(|scope| {
        let reader = |thread: u64| {
            move || {
                let file = File::open(ground.large())?;
                // Nothing is read that was not asked for.
                fadvise(&file, 0, None, Advice::Random)?;
                let (mut buffer, mut latencies) = (vec![0; SMALL], latencies());
                let mut at = thread.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                for _ in 0..READS / READERS {
                    at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let began = Instant::now();
                    file.read_exact_at(&mut buffer, (at >> 20) % pages * SMALL as u64)?;
                    latencies.record(began.elapsed().as_nanos() as u64)?;
                }
                anyhow::Ok(latencies)
            }
        };
        let threads: Vec<_> = (0..READERS).map(|thread| scope.spawn(reader(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a reader does not panic")).collect()
    });
    for latencies in found? {
        all.add(latencies)?;
    }
    Ok(Done::ops(READS, Some(all)))
}

/// Makes the small files: create, write, close.
fn create(ground: &Ground) -> anyhow::Result<Done> {
    let mut all = latencies();
    let found: anyhow::Result<Vec<_>> = std::thread::scope(|scope| {
        let maker = |thread: u32| {
            move || {
                let (content, mut latencies) = (vec![7; SMALL], latencies());
                for number in (thread..ground.files).step_by(MAKERS as usize) {
                    let began = Instant::now();
                    fs::write(ground.small(number), &content)?;
                    latencies.record(began.elapsed().as_nanos() as u64)?;
                }
                anyhow::Ok(latencies)
            }
        };
        let threads: Vec<_> = (0..MAKERS).map(|thread| scope.spawn(maker(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a maker does not panic")).collect()
    });
    for latencies in found? {
        all.add(latencies)?;
    }
    Ok(Done::ops(ground.files.into(), Some(all)))
}

/// Lists everything, with the attributes of each, as `ls -lR` does.
fn walk(directory: &Path) -> anyhow::Result<u64> {
    let mut entries = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let found = fs::symlink_metadata(entry.path())?;
        entries += 1;
        if found.is_dir() {
            entries += walk(&entry.path())?;
        }
    }
    Ok(entries)
}
