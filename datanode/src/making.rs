//! A replica that this node makes itself, of bytes that it pulls from others.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use transfer::frame::MAX_DATA;
use transfer::{Flags, Level, Packet};
use types::checksum::{CHUNK, append_words};
use types::{BlockId, BlockOffset, ByteSize, Code, GenStamp};

use crate::store::{Begin, StoreError, Volume};

/// What is shorter is gathered before it is written.
const WRITTEN_AT_ONCE: usize = 256 << 10;

pub(crate) struct Making {
    volume: Arc<Volume>,
    block: BlockId,
    generation: GenStamp,
    length: ByteSize,
    /// Whole chunks that are written.
    written: u64,
    /// What follows them.
    rest: BytesMut,
    checksum: crc32fast::Hasher,
}

/// How a replica was found that is to be made.
pub(crate) enum Begun {
    Making(Making),
    AlreadyThere,
}

impl Making {
    /// Becomes the writer of the replica. What an earlier attempt left is good, or goes.
    pub(crate) async fn begin(
        volume: &Arc<Volume>,
        block: BlockId,
        generation: GenStamp,
        length: ByteSize,
    ) -> Result<Begun, (Code, String)> {
        let is_there = on_disk(volume, move |volume| {
            let max_length = length.max(ByteSize::new(1));
            let begin = Begin { block, generation, level: Level::Close, max_length, resume: None };
            volume.forget_deleted(block);
            match volume.begin(&begin) {
                Err(StoreError::Stale { have }) if have == generation => {
                    if volume.verify(block, generation, length).is_ok() {
                        // An attempt that was killed may have named it and not synced the name.
                        volume.sync_final(block, generation)?;
                        return Ok(true);
                    }
                    volume.delete(block, generation)?;
                    volume.forget_deleted(block);
                    volume.begin(&begin).map(|_| false)
                }
                begun => begun.map(|_| false),
            }
        })
        .await?;
        if is_there {
            return Ok(Begun::AlreadyThere);
        }
        let (volume, rest, checksum) = (Arc::clone(volume), BytesMut::new(), crc32fast::Hasher::new());
        Ok(Begun::Making(Self { volume, block, generation, length, written: 0, rest, checksum }))
    }

    pub(crate) async fn append(&mut self, bytes: Bytes) -> Result<(), (Code, String)> {
        let is_whole = bytes.len().is_multiple_of(CHUNK) && bytes.len() <= MAX_DATA;
        if self.rest.is_empty() && is_whole && bytes.len() >= WRITTEN_AT_ONCE {
            return self.write(bytes).await;
        }
        self.rest.extend_from_slice(&bytes);
        while self.rest.len() >= WRITTEN_AT_ONCE {
            let whole = self.rest.split_to(WRITTEN_AT_ONCE).freeze();
            self.write(whole).await?;
        }
        Ok(())
    }

    /// Ends the replica, syncs it, and reads it back.
    pub(crate) async fn finish(mut self) -> Result<u32, (Code, String)> {
        while !self.rest.is_empty() {
            let length = self.rest.len().min(MAX_DATA);
            let last = self.rest.split_to(length).freeze();
            self.write(last).await?;
        }
        let Self { block, generation, length, written, checksum, .. } = self;
        if written != length.get() {
            return Err((Code::Corrupt, format!("{block} came out {written} bytes long, not {length}")));
        }
        on_disk(&self.volume, move |volume| {
            let end = Packet { flags: Flags::FINISH, ..packet(block, written, Bytes::new()) };
            volume.append(block, generation, &[end])?;
            volume.verify(block, generation, length)
        })
        .await?;
        Ok(checksum.finalize())
    }

    /// Nobody goes on with it: the next attempt may have other sources.
    pub(crate) async fn abandon(self) {
        let Self { block, generation, .. } = self;
        // What is left is found by the comparison of disks with the state.
        let _ = on_disk(&self.volume, move |volume| volume.delete(block, generation)).await;
    }

    async fn write(&mut self, data: Bytes) -> Result<(), (Code, String)> {
        let (block, generation, length) = (self.block, self.generation, data.len() as u64);
        let packet = packet(block, self.written, data);
        self.checksum.update(&packet.words);
        self.written += length;
        on_disk(&self.volume, move |volume| volume.append(block, generation, &[packet])).await
    }
}

/// The checksums are made anew: chunks may be cut otherwise than where the bytes come from.
fn packet(block: BlockId, offset: u64, data: Bytes) -> Packet {
    let mut words = Vec::with_capacity(4 * data.len().div_ceil(CHUNK));
    append_words(block, offset / CHUNK as u64, &data, &mut words);
    Packet { sequence: 0, offset: BlockOffset::new(offset), flags: Flags::NONE, words: words.into(), data }
}

async fn on_disk<T: Send + 'static>(
    volume: &Arc<Volume>,
    work: impl FnOnce(&Volume) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, (Code, String)> {
    let on = Arc::clone(volume);
    match volume.disk.run(move || work(&on)).await {
        Ok(result) => result.map_err(|error| (error.code(), error.to_string())),
        Err(gone) => Err((Code::Io, gone.to_string())),
    }
}
