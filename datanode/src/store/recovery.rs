//! What is left of a replica that was being written when the process ended.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use transfer::{Extent, Level};
use types::checksum::{CHUNK, word};
use types::{BlockId, GenStamp};

use super::StoreError;
use super::error::during;
use super::volume::Volume;
use super::write::{Acked, Writing};
use crate::replica::{Header, Layout, writing_path};

impl Volume {
    /// Looks into a file of `writing/` that this process has not written.
    pub(super) fn recover(&self, block: BlockId, named: GenStamp) -> Result<Writing, StoreError> {
        let path = writing_path(&self.root, block, named);
        let file = File::options().read(true).write(true).open(&path).map_err(during("opening a replica"))?;
        let header = self.read_header(&file, block)?;
        if header.generation < named {
            return Err(StoreError::Damaged { reason: format!("the header is of {}", header.generation) });
        }
        if header.generation > named {
            // The process ended between the header and the name of a new generation. The header counts: what comes after
            // it may have been synced, and the name is only how it is found.
            let new = writing_path(&self.root, block, header.generation);
            fs::rename(&path, new).map_err(|error| self.write_failed("renaming a replica", error))?;
        }
        let layout = Layout::new(header.max_length);
        let size = file.metadata().map_err(during("asking for the size"))?.len();
        let length = layout.length(size).min(header.max_length.get());
        let extent = usable(&file, layout, block, length)?;
        Ok(Writing {
            generation: header.generation,
            max_length: header.max_length,
            layout,
            level: Level::Close,
            file: None,
            written: extent,
            acked: Acked::new(extent),
            behind: extent.length,
            named: false,
            intact: false,
        })
    }

    /// Reads and checks the header of an open file.
    pub(super) fn read_header(&self, file: &File, block: BlockId) -> Result<Header, StoreError> {
        let mut bytes = [0; Header::READ];
        file.read_exact_at(&mut bytes, 0).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => StoreError::Damaged { reason: "the header is cut off".to_owned() },
            _ => during("reading the header")(error),
        })?;
        let header = Header::decode(&bytes)?;
        if header.block != block || header.cluster != self.cluster {
            let Header { block, cluster, .. } = header;
            return Err(StoreError::Damaged { reason: format!("the header is that of {block} of cluster {cluster}") });
        }
        Ok(header)
    }
}

/// How much of a file can be vouched for. The last chunk and its word may have reached the disk at different times: when
/// they differ, the longest beginning of the chunk that matches the word counts, or nothing of the chunk.
fn usable(file: &File, layout: Layout, block: BlockId, length: u64) -> Result<Extent, StoreError> {
    let start = length - length % CHUNK as u64;
    if start == length {
        return Ok(Extent { length, partial: None });
    }
    let mut chunk = vec![0; (length - start) as usize];
    file.read_exact_at(&mut chunk, layout.data(start)).map_err(during("reading the last chunk"))?;
    let stored = read_word(file, layout, start)?;
    let number = start / CHUNK as u64;
    let good = (1..=chunk.len()).rev().find(|end| word(block, number, &chunk[..*end]) == stored);
    Ok(match good {
        Some(end) => Extent { length: start + end as u64, partial: Some(stored) },
        None => Extent { length: start, partial: None },
    })
}

/// The stored word of the chunk that holds the byte at `offset`.
pub(super) fn read_word(file: &File, layout: Layout, offset: u64) -> Result<u32, StoreError> {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, layout.word(offset)).map_err(during("reading a checksum"))?;
    Ok(u32::from_le_bytes(bytes))
}
