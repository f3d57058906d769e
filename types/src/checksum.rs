//! Chunk checksums: made by the writer, checked at every hop, stored, checked again by every reader.
//!
//! A block is cut into chunks of [`CHUNK`] bytes; the last one may be shorter. The word of a chunk is
//! `crc32(bytes) ^ mix(block, chunk number)`: bytes that belong to another block or another place never verify, and the
//! plain CRC-32 of a chunk is one exclusive-or away.
//!
//! Words travel and are stored as little-endian `u32`.

use crate::BlockId;

/// The bytes that one checksum covers.
pub const CHUNK: usize = 4096;

/// How many chunks `bytes` bytes make, the last, shorter one included.
pub const fn chunks_in(bytes: u64) -> u64 {
    bytes.div_ceil(CHUNK as u64)
}

/// A chunk that does not match its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("chunk {chunk} of {block} does not match its checksum: stored {stored:08x}, computed {computed:08x}")]
pub struct Mismatch {
    pub block: BlockId,
    pub chunk: u64,
    pub stored: u32,
    pub computed: u32,
}

/// The word of one chunk: `bytes` are its content, at most [`CHUNK`].
pub fn word(block: BlockId, chunk: u64, bytes: &[u8]) -> u32 {
    debug_assert!(bytes.len() <= CHUNK, "a chunk holds at most {CHUNK} bytes");
    crc32fast::hash(bytes) ^ mix(block, chunk)
}

/// Appends the words of `data`, which starts at chunk `first` of `block`, to `words` as little-endian bytes.
pub fn append_words(block: BlockId, first: u64, data: &[u8], words: &mut Vec<u8>) {
    for (chunk, bytes) in (first..).zip(data.chunks(CHUNK)) {
        words.extend_from_slice(&word(block, chunk, bytes).to_le_bytes());
    }
}

/// Checks `data`, which starts at chunk `first` of `block`, against `words` (4 bytes a chunk, little-endian).
///
/// # Panics
/// When `words` is not exactly as long as `data` asks for: the caller has checked the frame by then.
pub fn verify(block: BlockId, first: u64, data: &[u8], words: &[u8]) -> Result<(), Mismatch> {
    assert_eq!(words.len() as u64, 4 * chunks_in(data.len() as u64), "one word for each chunk");
    for ((chunk, bytes), stored) in (first..).zip(data.chunks(CHUNK)).zip(words.chunks_exact(4)) {
        let stored = u32::from_le_bytes(stored.try_into().expect("chunks_exact yields 4 bytes"));
        let computed = word(block, chunk, bytes);
        if stored != computed {
            return Err(Mismatch { block, chunk, stored, computed });
        }
    }
    Ok(())
}

/// Spreads a block and a chunk number over 32 bits (the finaliser of SplitMix64, applied to each part in turn).
fn mix(block: BlockId, chunk: u64) -> u32 {
    let seed = scramble(block.inode().get()) ^ u64::from(block.number());
    let mixed = scramble(scramble(seed) ^ chunk);
    (mixed >> 32) as u32
}

const fn scramble(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InodeId;

    fn block(inode: u64, number: u32) -> BlockId {
        BlockId::new(InodeId::new(inode), number)
    }

    #[test]
    fn words_are_bound_to_block_and_place() {
        let data = vec![7_u8; 3 * CHUNK + 5];
        let mut words = Vec::new();
        append_words(block(9, 0), 2, &data, &mut words);
        assert_eq!(verify(block(9, 0), 2, &data, &words), Ok(()));
        assert!(verify(block(9, 1), 2, &data, &words).is_err());
        assert!(verify(block(8, 0), 2, &data, &words).is_err());
        assert!(verify(block(9, 0), 3, &data, &words).is_err());
    }

    #[test]
    fn one_flipped_bit_is_found_and_named() {
        let mut data = vec![0_u8; 2 * CHUNK];
        let mut words = Vec::new();
        append_words(block(1, 0), 0, &data, &mut words);
        data[CHUNK + 17] ^= 0x10;
        assert_eq!(verify(block(1, 0), 0, &data, &words).expect_err("must differ").chunk, 1);
    }

    /// Golden: stored replicas depend on these words never changing.
    #[test]
    fn words_are_stable() {
        assert_eq!(word(block(1, 0), 0, b"123456789") ^ mix(block(1, 0), 0), 0xcbf4_3926);
        assert_eq!(mix(block(1, 0), 0), GOLDEN_MIX);
    }

    const GOLDEN_MIX: u32 = 0xb18a_02f4;
}
