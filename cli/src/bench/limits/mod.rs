//! `bench limits`: what this machine gives without any of Ashlar, so that Ashlar's numbers can be read as shares of it.
//!
//! 1. A limit does the least work that the machine needs for the job: no checksums, no framing, no locks.
//! 2. Everything that moves bytes moves them in pieces of [`PIECE`], between ordinary blocking threads.
//! 3. A first run is not counted: memory that a virtual machine has never used before is slow when it is first touched.
//! 4. Files are in the page cache and are removed without ever being synced, except where the sync is the subject.

mod disk;
mod memory;
mod network;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use types::ByteSize;

use super::report::{Measurement, Reporter, Sample};

/// The bytes that one call moves.
pub(crate) const PIECE: usize = 1 << 20;

/// A limit: how it is called, its unit, and how one run of it is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) metric: &'static str,
    pub(crate) unit: &'static str,
    run: fn(&Ground) -> anyhow::Result<Sample>,
}

pub(crate) const SENDFILE: Limit = Limit { metric: "limit.sendfile", unit: "MB/s", run: network::sendfile };
pub(crate) const PAGECACHE_READ: Limit =
    Limit { metric: "limit.pagecache_read", unit: "MB/s", run: disk::pagecache_read };
pub(crate) const CHAIN3: Limit = Limit { metric: "limit.chain3", unit: "MB/s", run: network::chain3 };
pub(crate) const FSYNC3: Limit = Limit { metric: "limit.fsync3", unit: "MB/s", run: network::fsync3 };
pub(crate) const FDATASYNC: Limit = Limit { metric: "limit.fdatasync", unit: "syncs/s", run: disk::fdatasync };

pub(crate) const DISK_WRITE: Limit = Limit { metric: "limit.disk_write", unit: "MB/s", run: disk::disk_write };

const ALL: [Limit; 9] = [
    Limit { metric: "limit.memcpy", unit: "MB/s", run: memory::memcpy },
    Limit { metric: "limit.crc32", unit: "MB/s", run: memory::crc32 },
    Limit { metric: "limit.tcp", unit: "MB/s", run: network::tcp },
    SENDFILE,
    PAGECACHE_READ,
    CHAIN3,
    FSYNC3,
    DISK_WRITE,
    FDATASYNC,
];

/// Where and with how much a limit is measured.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) bytes: ByteSize,
    pub(crate) stop: Stop,
}

/// Set when the person at the keyboard has had enough.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

impl Stop {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        if self.0.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
    }
}

impl Limit {
    pub(crate) fn run_once(&self, ground: &Ground) -> anyhow::Result<Sample> {
        ground.stop.check()?;
        (self.run)(ground)
    }

    pub(crate) fn measurement(&self, samples: &[Sample]) -> Measurement {
        Measurement::new(self.metric, self.unit, samples)
    }
}

/// Measures every limit `runs` times and prints each as it is done. Blocks.
pub(crate) fn run(ground: &Ground, runs: usize, reporter: &mut Reporter) -> anyhow::Result<()> {
    for limit in ALL {
        limit.run_once(ground)?;
        let samples: Vec<Sample> = (0..runs).map(|_| limit.run_once(ground)).collect::<anyhow::Result<_>>()?;
        reporter.print(&limit.measurement(&samples))?;
    }
    Ok(())
}

/// Calls `step` with the size of each piece until `bytes` are through or `stop` is set.
fn in_pieces(bytes: ByteSize, stop: &Stop, mut step: impl FnMut(usize) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut left = bytes.get();
    while left > 0 {
        stop.check()?;
        let piece = left.min(PIECE as u64);
        step(piece as usize)?;
        left -= piece;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_measures_something_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let ground = Ground { dir: dir.path(), bytes: ByteSize::new(3 * PIECE as u64 + 5), stop: Stop::default() };
        for limit in ALL {
            let sample = limit.run_once(&ground).expect(limit.metric);
            assert!(sample.value > 0.0, "{}", limit.metric);
        }
        let left: Vec<_> = dir.path().read_dir().expect("the directory can be listed").collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn a_stopped_limit_ends_with_interrupted() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let ground = Ground { dir: dir.path(), bytes: ByteSize::mib(1), stop: Stop::default() };
        ground.stop.set();
        for limit in ALL {
            assert!(limit.run_once(&ground).expect_err("stopped").is::<Interrupted>(), "{}", limit.metric);
        }
    }
}
