//! Copying and checksumming memory on one core.

use std::hint::black_box;

use types::checksum::CHUNK;

use super::{Ground, PIECE, in_pieces};
use crate::bench::cost::Meter;
use crate::bench::report::Sample;

/// Larger than any cache, so that a copy goes from memory to memory.
const COPY_AREA: usize = 256 << 20;

pub(super) fn memcpy(ground: &Ground) -> anyhow::Result<Sample> {
    let from = vec![7_u8; COPY_AREA];
    let mut to = vec![1_u8; COPY_AREA];
    let mut at = 0;
    let meter = Meter::start();
    in_pieces(ground.bytes, &ground.stop, |length| {
        black_box(&mut to)[at..at + length].copy_from_slice(&black_box(&from)[at..at + length]);
        at = (at + PIECE) % COPY_AREA;
        Ok(())
    })?;
    let cost = meter.stop();
    Ok(Sample::of_bytes(ground.bytes.get(), cost.seconds, cost.cpu))
}

/// The CRC-32 of each chunk of a piece that is still in the cache, as it is when a packet has just arrived.
pub(super) fn crc32(ground: &Ground) -> anyhow::Result<Sample> {
    let piece = vec![7_u8; PIECE];
    let meter = Meter::start();
    in_pieces(ground.bytes, &ground.stop, |length| {
        for chunk in black_box(&piece)[..length].chunks(CHUNK) {
            black_box(crc32fast::hash(chunk));
        }
        Ok(())
    })?;
    let cost = meter.stop();
    Ok(Sample::of_bytes(ground.bytes.get(), cost.seconds, cost.cpu))
}
