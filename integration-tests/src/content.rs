//! Content that can be made again at any offset, so that gigabytes are compared without being kept.

use anyhow::{Result, ensure};
use bytes::Bytes;
use client::FileReader;

/// An endless sequence of bytes, given by its seed. No two chunks of it are alike.
#[derive(Debug, Clone, Copy)]
pub struct Pattern(pub u64);

impl Pattern {
    /// The bytes of `offset..offset + length`; both multiples of 8 but for the length at the end of a file.
    pub fn bytes(self, offset: u64, length: usize) -> Bytes {
        assert!(offset.is_multiple_of(8), "the pattern is made of words");
        let words = length.div_ceil(8) as u64;
        let mut out = Vec::with_capacity(words as usize * 8);
        for word in offset / 8..offset / 8 + words {
            out.extend_from_slice(&self.word(word).to_le_bytes());
        }
        out.truncate(length);
        out.into()
    }

    /// The finaliser of SplitMix64 over position and seed.
    fn word(self, at: u64) -> u64 {
        let mut z = at.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(self.0);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Reads the whole file and compares every byte.
pub async fn check_content(reader: &mut FileReader, pattern: Pattern, length: u64) -> Result<()> {
    ensure!(reader.attributes().length.get() == length, "the length is {}", reader.attributes().length);
    let mut whole: u64 = 0;
    // The pattern is made in words, chunks may end anywhere: what is left of a word is carried over.
    let mut carried: Vec<u8> = Vec::new();
    while let Some(chunk) = reader.next_chunk().await? {
        carried.extend_from_slice(&chunk);
        let end = whole + carried.len() as u64 == length;
        let take = if end { carried.len() } else { carried.len() / 8 * 8 };
        ensure!(carried[..take] == pattern.bytes(whole, take), "bytes differ in {whole}..{}", whole + take as u64);
        whole += take as u64;
        carried.drain(..take);
    }
    ensure!(whole == length && carried.is_empty(), "the file ended after {whole} of {length} bytes");
    Ok(())
}
