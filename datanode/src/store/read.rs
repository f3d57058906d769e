//! Reading a replica.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use transfer::Extent;
use types::checksum::chunks_in;
use types::{BlockId, GenStamp};

use super::StoreError;
use super::error::during;
use super::volume::Volume;
use crate::replica::{Layout, State, final_path, writing_path};

/// An open replica, and how much of it may be read.
#[derive(Debug)]
pub(crate) struct Readable {
    pub(crate) file: File,
    pub(crate) extent: Extent,
    /// Whether it will not grow any more.
    pub(crate) complete: bool,
    layout: Layout,
}

impl Readable {
    pub(super) const fn layout(&self) -> Layout {
        self.layout
    }

    /// Where in the file the byte at `offset` of the block is.
    pub(crate) fn data(&self, offset: u64) -> u64 {
        self.layout.data(offset)
    }

    /// Where in the file the word is of the chunk that holds the byte at `offset` of the block.
    pub(crate) fn word(&self, offset: u64) -> u64 {
        self.layout.word(offset)
    }

    /// Appends the words of `[offset, offset + length)`, which starts at a chunk and ends at one or at the end.
    pub(crate) fn words(&self, offset: u64, length: u64, words: &mut Vec<u8>) -> io::Result<()> {
        let at = words.len();
        words.resize(at + 4 * chunks_in(length) as usize, 0);
        self.file.read_exact_at(&mut words[at..], self.layout.word(offset))?;
        // The stored word of the last chunk may be of more bytes than were acknowledged.
        if let Some(word) = self.extent.partial.filter(|_| offset + length == self.extent.length) {
            let last = words.len() - 4;
            words[last..].copy_from_slice(&word.to_le_bytes());
        }
        Ok(())
    }
}

impl Volume {
    /// Opens the replica of exactly this generation.
    pub(crate) fn open_replica(&self, block: BlockId, generation: GenStamp) -> Result<Readable, StoreError> {
        self.check_alive()?;
        self.with_block(block, |slot| match slot {
            Some(writing) if writing.generation == generation => {
                let file =
                    File::open(writing_path(&self.root, block, generation)).map_err(during("opening a replica"))?;
                Ok(Readable { file, extent: writing.acked.get(), complete: false, layout: writing.layout })
            }
            Some(newer) if newer.generation > generation => Err(StoreError::Stale { have: newer.generation }),
            Some(_) | None => self.open_final(block, generation),
        })
    }

    pub(super) fn open_final(&self, block: BlockId, generation: GenStamp) -> Result<Readable, StoreError> {
        let file = match File::open(final_path(&self.root, block, generation)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(match self.finals(block)?.into_iter().max() {
                    Some(have) if have > generation => StoreError::Stale { have },
                    Some(_) => StoreError::NoSuchReplica { reason: "an older generation is" },
                    None => StoreError::NoSuchReplica { reason: "no generation of it is" },
                });
            }
            Err(error) => return Err(during("opening a replica")(error)),
        };
        let header = self.read_header(&file, block)?;
        let State::Final { length } = header.state else {
            return Err(StoreError::Damaged { reason: "the header says that it is being written".to_owned() });
        };
        if header.generation != generation {
            return Err(StoreError::Damaged { reason: format!("the header is of {}", header.generation) });
        }
        let layout = Layout::new(header.max_length);
        let size = file.metadata().map_err(during("asking for the size"))?.len();
        if layout.length(size) < length.get() {
            let reason = format!("the file ends after {} of {length} bytes", layout.length(size));
            return Err(StoreError::Damaged { reason });
        }
        let extent = Extent { length: length.get(), partial: None };
        Ok(Readable { file, extent, complete: true, layout })
    }
}
