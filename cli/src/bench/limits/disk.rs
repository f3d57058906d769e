//! Files: reading what the page cache holds, and how often the disk can promise something.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use types::ByteSize;

use super::{Ground, PIECE, in_pieces};
use crate::bench::cost::Meter;
use crate::bench::report::{Sample, latencies};

/// What one append adds before it is synced.
const APPEND: usize = 4096;
/// How long one run appends and syncs.
const SYNC_TIME: Duration = Duration::from_secs(2);

/// A file of `bytes` bytes without a name, all of it in the page cache.
pub(super) fn cached_file(ground: &Ground) -> anyhow::Result<File> {
    let mut file = tempfile::tempfile_in(ground.dir)?;
    let piece = vec![7_u8; PIECE];
    in_pieces(ground.bytes, &ground.stop, |length| Ok(file.write_all(&piece[..length])?))?;
    file.rewind()?;
    Ok(file)
}

pub(super) fn pagecache_read(ground: &Ground) -> anyhow::Result<Sample> {
    let file = cached_file(ground)?;
    let mut buffer = vec![0_u8; PIECE];
    let mut at = 0;
    let meter = Meter::start();
    in_pieces(ground.bytes, &ground.stop, |length| {
        file.read_exact_at(&mut buffer[..length], at)?;
        at += length as u64;
        Ok(())
    })?;
    let cost = meter.stop();
    Ok(Sample::of_bytes(ground.bytes.get(), cost.seconds, cost.cpu))
}

/// A file written from end to end, and synced.
pub(super) fn disk_write(ground: &Ground) -> anyhow::Result<Sample> {
    let mut file = tempfile::tempfile_in(ground.dir)?;
    let piece = vec![7_u8; PIECE];
    let meter = Meter::start();
    in_pieces(ground.bytes, &ground.stop, |length| Ok(file.write_all(&piece[..length])?))?;
    file.sync_data()?;
    let cost = meter.stop();
    Ok(Sample::of_bytes(ground.bytes.get(), cost.seconds, cost.cpu))
}

/// Appends and syncs, one after the other: what a log does that shares no sync between its writers. At most as many
/// times as the ground has room for.
pub(super) fn fdatasync(ground: &Ground) -> anyhow::Result<Sample> {
    let mut file = tempfile::tempfile_in(ground.dir)?;
    let append = [7_u8; APPEND];
    let mut histogram = latencies();
    let most = ground.bytes.get().div_ceil(ByteSize::new(APPEND as u64).get());
    let meter = Meter::start();
    while meter.elapsed() < SYNC_TIME && histogram.len() < most {
        ground.stop.check()?;
        let began = Instant::now();
        file.write_all(&append)?;
        file.sync_data()?;
        histogram.record(began.elapsed().as_nanos() as u64)?;
    }
    let cost = meter.stop();
    Ok(Sample::of_ops(histogram.len(), cost.seconds, cost.cpu).with_latencies(&histogram))
}
