//! Where things are: inside the file of a replica, and in the directories of a volume.

use std::path::{Path, PathBuf};

use types::checksum::{CHUNK, chunks_in};
use types::inventory::Bucket;
use types::{BlockId, ByteSize, GenStamp, InodeId};

use super::header::HEADER;

const PAGE: u64 = 4096;

/// The places inside a file, which follow from the longest content that it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    data: u64,
}

impl Layout {
    pub(crate) fn new(max_length: ByteSize) -> Self {
        let table = (4 * chunks_in(max_length.get())).next_multiple_of(PAGE);
        Self { data: HEADER as u64 + table }
    }

    /// Where the byte at `offset` of the block is. A page boundary for 0.
    pub(crate) const fn data(self, offset: u64) -> u64 {
        self.data + offset
    }

    /// Where the word of the chunk is that holds the byte at `offset` of the block.
    pub(crate) const fn word(self, offset: u64) -> u64 {
        HEADER as u64 + 4 * (offset / CHUNK as u64)
    }

    /// How much of the block is in a file of `size` bytes.
    pub(crate) const fn length(self, size: u64) -> u64 {
        size.saturating_sub(self.data)
    }
}

/// The directory of replicas that are being written.
pub(crate) const WRITING: &str = "writing";
/// The directory of complete replicas, in two levels below.
pub(crate) const FINAL: &str = "final";

/// The name of a replica's file: integers only.
pub(crate) fn file_name(block: BlockId, generation: GenStamp) -> String {
    format!("{:016x}-{:08x}-{:016x}", block.inode().get(), block.number(), generation.get())
}

/// Reads a name back; nothing for a file that is no replica.
pub(crate) fn parse_name(name: &str) -> Option<(BlockId, GenStamp)> {
    let hex = |text: &str, digits: usize| {
        let good = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        good.then(|| u64::from_str_radix(text, 16).ok()).flatten()
    };
    let mut parts = name.split('-');
    let (inode, number, generation) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let block = BlockId::new(InodeId::new(hex(inode, 16)?), u32::try_from(hex(number, 8)?).ok()?);
    Some((block, GenStamp::new(hex(generation, 16)?)))
}

/// The directory below `root` of a block's complete replicas. Neighbours in the namespace share one: what is written
/// together is synced together.
pub(crate) fn final_directory(root: &Path, block: BlockId) -> PathBuf {
    directory_path(root, Bucket::directory_of(block))
}

/// One of the 65,536 directories of complete replicas.
pub(crate) fn directory_path(root: &Path, directory: u64) -> PathBuf {
    root.join(FINAL).join(format!("{:02x}", (directory >> 8) & 0xff)).join(format!("{:02x}", directory & 0xff))
}

pub(crate) fn final_path(root: &Path, block: BlockId, generation: GenStamp) -> PathBuf {
    final_directory(root, block).join(file_name(block, generation))
}

pub(crate) fn writing_path(root: &Path, block: BlockId, generation: GenStamp) -> PathBuf {
    root.join(WRITING).join(file_name(block, generation))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> BlockId {
        BlockId::new(InodeId::new(0x12_3456), 0x10)
    }

    /// Golden: later versions look in the same places.
    #[test]
    fn places_are_stable() {
        let layout = Layout::new(ByteSize::mib(128));
        assert_eq!(layout.data(0), 4096 + 131_072);
        assert_eq!(layout.word(8191), 4100);
        assert_eq!(Layout::new(ByteSize::new(1)).data(5), 8192 + 5);
        let path = final_path(Path::new("/v"), block(), GenStamp::new(3));
        assert_eq!(path, Path::new("/v/final/12/34/0000000000123456-00000010-0000000000000003"));
        let path = writing_path(Path::new("/v"), block(), GenStamp::new(3));
        assert_eq!(path, Path::new("/v/writing/0000000000123456-00000010-0000000000000003"));
    }

    #[test]
    fn names_read_back_and_others_do_not() {
        let name = file_name(block(), GenStamp::new(u64::MAX));
        assert_eq!(parse_name(&name), Some((block(), GenStamp::new(u64::MAX))));
        for name in ["", "lost+found", "0-0-0", "..", &name[1..], &format!("{name}-0"), &name.to_uppercase()] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }
}
