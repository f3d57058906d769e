//! Reading a complete replica from the disk, and checking it against its checksums.

use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::Advice;
use transfer::frame::MAX_DATA;
use types::checksum::{self, CHUNK};
use types::{BlockId, ByteSize, GenStamp};

use super::StoreError;
use super::error::during;
use super::read::Readable;
use super::volume::Volume;

/// A replica that is read piece by piece.
#[derive(Debug)]
pub(crate) struct Verifying {
    block: BlockId,
    replica: Readable,
    /// Up to here, all is as it should be.
    good: u64,
}

impl Verifying {
    fn new(block: BlockId, replica: Readable) -> Self {
        // What is on the disk is to be read, not what the page cache remembers. Advice: a refusal changes nothing.
        let _ = rustix::fs::fadvise(&replica.file, 0, None, Advice::DontNeed);
        Self { block, replica, good: 0 }
    }

    /// Where the next piece begins.
    pub(crate) fn good(&self) -> u64 {
        self.good
    }

    /// Checks the next piece; its length, 0 at the end.
    pub(crate) fn next_piece(&mut self) -> Result<u64, StoreError> {
        let size = (self.replica.extent.length - self.good).min(MAX_DATA as u64);
        self.piece(self.good, size)?;
        self.good += size;
        Ok(size)
    }

    fn piece(&self, offset: u64, size: u64) -> Result<(), StoreError> {
        let (mut data, mut words) = (vec![0; size as usize], Vec::new());
        let mut read = || -> io::Result<()> {
            self.replica.file.read_exact_at(&mut data, self.replica.data(offset))?;
            self.replica.words(offset, size, &mut words)
        };
        read().map_err(during("reading the replica back"))?;
        checksum::verify(self.block, offset / CHUNK as u64, &data, &words)
            .map_err(|mismatch| StoreError::Damaged { reason: mismatch.to_string() })
    }
}

impl Volume {
    /// Reads all of a complete replica and checks it.
    pub(crate) fn verify(&self, block: BlockId, generation: GenStamp, length: ByteSize) -> Result<(), StoreError> {
        let replica = self.open_replica(block, generation)?;
        if !replica.complete || replica.extent.length != length.get() {
            return Err(StoreError::Short { available: replica.extent.length, wanted: length.get() });
        }
        let mut verifying = Verifying::new(block, replica);
        while verifying.next_piece()? > 0 {}
        Ok(())
    }

    /// Begins to read a complete replica. None: there is none of this generation (any more), or it is being written again.
    pub(crate) fn begin_verify(&self, block: BlockId, generation: GenStamp) -> Result<Option<Verifying>, StoreError> {
        match self.open_replica(block, generation) {
            Ok(replica) if replica.complete => Ok(Some(Verifying::new(block, replica))),
            Ok(_) | Err(StoreError::NoSuchReplica { .. } | StoreError::Stale { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a replica that looked damaged at `offset` is: one that is cut or deleted while it is read looks so, too.
    /// Looked at again while nobody can change it.
    pub(crate) fn is_damaged(&self, block: BlockId, generation: GenStamp, offset: u64) -> Result<bool, StoreError> {
        self.check_alive()?;
        self.with_block(block, |slot| {
            if slot.as_ref().is_some_and(|writing| writing.generation >= generation) {
                return Ok(false);
            }
            let looked = self.open_final(block, generation).and_then(|replica| {
                let size = replica.extent.length.saturating_sub(offset).min(MAX_DATA as u64);
                Verifying::new(block, replica).piece(offset, size)
            });
            match looked {
                Ok(()) | Err(StoreError::NoSuchReplica { .. } | StoreError::Stale { .. }) => Ok(false),
                Err(error) if error.is_damage() => Ok(true),
                Err(error) => Err(error),
            }
        })
    }
}
