//! Ending a replica whose writer is lost, on the word of a leader: in two steps, because all replicas of the block are to
//! end alike.
//!
//! 1. [`Volume::offer`] stops the writer, for good, and finds out how much of the replica can be vouched for. Readers may go
//!    on: nothing of the replica changes.
//! 2. [`Volume::end`] cuts the replica to the length that was agreed on, and completes it under the generation of the
//!    recovery, always as durable as at level close. What is cut off stays until then.
//!
//! Both may be done twice. A crash in between leaves a replica that can be offered again: the fence of the first step is
//! kept in memory only, which is enough, because a writer that slips in after a restart is the one writer of the block. It
//! goes on with the same bytes, and what it has not got here when the second step comes is missed there.

use std::fs::File;
use std::os::unix::fs::FileExt;

use transfer::frame::MAX_DATA;
use transfer::{Extent, Level, Resume};
use types::checksum::{self, CHUNK, chunks_in};
use types::{BlockId, BlockOffset, ByteSize, GenStamp};

use super::StoreError;
use super::error::during;
use super::volume::Volume;
use super::write::{Begin, Writing};
use crate::replica::{Layout, final_path, writing_path};

/// What a replica holds that may be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offered {
    /// From the beginning, so much matches the checksums.
    pub(crate) length: ByteSize,
    /// Whether that is all that was ever taken. After a restart nobody knows.
    pub(crate) intact: bool,
}

impl Volume {
    /// Stops whoever writes the block under an older generation, and says what is there.
    pub(crate) fn offer(&self, block: BlockId, recovery: GenStamp) -> Result<Offered, StoreError> {
        self.check_alive()?;
        self.with_block(block, |writing| {
            let newest = self.newest(block, writing.as_ref())?;
            self.check_fence(block, recovery)?;
            if newest > recovery {
                return Err(StoreError::Stale { have: newest });
            }
            self.raise_fence(block, recovery);
            let (path, layout, extent, intact) = match writing {
                Some(writing) if writing.generation == newest => {
                    writing.file = None;
                    let path = writing_path(&self.root, block, newest);
                    (path, writing.layout, writing.written, writing.intact)
                }
                Some(_) | None => {
                    let replica = self.open_final(block, newest)?;
                    (final_path(&self.root, block, newest), replica.layout(), replica.extent, true)
                }
            };
            let file = File::open(path).map_err(during("opening a replica"))?;
            let length = verified(&file, layout, block, extent)?;
            Ok(Offered { length: ByteSize::new(length), intact: intact && length == extent.length })
        })
    }

    /// Completes the replica with this length under the generation of the recovery.
    pub(crate) fn end(&self, block: BlockId, recovery: GenStamp, length: ByteSize) -> Result<(), StoreError> {
        self.check_alive()?;
        self.with_block(block, |writing| {
            let newest = self.newest(block, writing.as_ref())?;
            self.check_fence(block, recovery)?;
            if newest > recovery {
                return Err(StoreError::Stale { have: newest });
            }
            let is_written = writing.as_ref().is_some_and(|writing| writing.generation == newest);
            if !is_written && newest == recovery {
                return self.ended_before(block, recovery, length);
            }
            if !is_written {
                self.reopen_final(block, newest, writing)?;
            }
            let found = writing.as_mut().expect("it was there, or was reopened");
            let file = self.cut_verified(block, recovery, length, found)?;
            found.level = Level::Close;
            self.finish(&file, block, writing)?;
            self.lift_fence(block, recovery);
            Ok(())
        })
    }

    /// The generation of the newest replica here.
    fn newest(&self, block: BlockId, writing: Option<&Writing>) -> Result<GenStamp, StoreError> {
        let finals = self.finals(block)?;
        let newest = writing.map(|writing| writing.generation).into_iter().chain(finals).max();
        newest.ok_or(StoreError::NoSuchReplica { reason: "no generation of it is" })
    }

    /// The same order came before. The process may have ended between the name and its sync.
    fn ended_before(&self, block: BlockId, recovery: GenStamp, length: ByteSize) -> Result<(), StoreError> {
        let available = self.open_final(block, recovery)?.extent.length;
        if available != length.get() {
            return Err(StoreError::Short { available, wanted: length.get() });
        }
        self.sync_final(block, recovery)?;
        self.lift_fence(block, recovery);
        Ok(())
    }

    /// Cuts the replica, once all that stays has been verified again.
    fn cut_verified(
        &self,
        block: BlockId,
        recovery: GenStamp,
        length: ByteSize,
        found: &mut Writing,
    ) -> Result<File, StoreError> {
        let path = writing_path(&self.root, block, found.generation);
        let file = File::open(path).map_err(during("opening a replica"))?;
        let available = verified(&file, found.layout, block, found.written)?;
        if available < length.get() {
            return Err(StoreError::Short { available, wanted: length.get() });
        }
        // Damage behind the cut does not matter, as long as the chunk with the cut is whole.
        let resume = Resume { from_generation: found.generation, offset: BlockOffset::new(length.get()) };
        let begin = Begin {
            block,
            generation: recovery,
            level: Level::Close,
            max_length: found.max_length,
            resume: Some(resume),
        };
        if found.generation < recovery || found.written.length != length.get() {
            self.cut(&begin, length.get(), found)?;
        }
        match found.file.take() {
            Some(file) => Ok(file),
            None => File::options()
                .read(true)
                .write(true)
                .open(writing_path(&self.root, block, recovery))
                .map_err(during("opening a replica")),
        }
    }
}

/// How many bytes from the beginning match their checksums, up to what is there. They are read from wherever the kernel
/// has them: what a reader would be given is what counts.
fn verified(file: &File, layout: Layout, block: BlockId, extent: Extent) -> Result<u64, StoreError> {
    let (mut data, mut words) = (vec![0; MAX_DATA], Vec::new());
    let mut offset = 0;
    while offset < extent.length {
        let size = (extent.length - offset).min(MAX_DATA as u64);
        let data = &mut data[..size as usize];
        file.read_exact_at(data, layout.data(offset)).map_err(during("reading a replica"))?;
        words.resize(4 * chunks_in(size) as usize, 0);
        file.read_exact_at(&mut words, layout.word(offset)).map_err(during("reading checksums"))?;
        if let Some(word) = extent.partial.filter(|_| offset + size == extent.length) {
            let last = words.len() - 4;
            words[last..].copy_from_slice(&word.to_le_bytes());
        }
        for (at, (chunk, word)) in data.chunks(CHUNK).zip(words.chunks(4)).enumerate() {
            let start = offset + (at * CHUNK) as u64;
            if checksum::verify(block, start / CHUNK as u64, chunk, word).is_err() {
                return Ok(start);
            }
        }
        offset += size;
    }
    Ok(extent.length)
}
