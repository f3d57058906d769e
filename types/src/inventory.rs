//! What a volume holds, in a form that two sides can compare without listing it: for each of [`BUCKETS`] groups of
//! blocks a digest over the complete replicas in it.
//!
//! A digest does not depend on the order in which replicas were added, and one can be taken out again. It finds
//! differences between honest sides; it is no defence against a forger.

use crate::{BlockId, ByteSize, GenStamp};

/// Groups that the blocks of a volume are divided into.
pub const BUCKETS: usize = 1024;

/// A complete replica as it is on a disk, or ought to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    pub block: BlockId,
    pub generation: GenStamp,
    pub length: ByteSize,
}

/// One of the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(u16);

impl Bucket {
    /// The group of a block. Blocks that were allocated together share one, and share directories of a volume: the group
    /// is read without looking at the rest.
    pub const fn of(block: BlockId) -> Self {
        Self((Self::directory_of(block) % BUCKETS as u64) as u16)
    }

    /// Which of the 65,536 directories of a volume a block is in.
    pub const fn directory_of(block: BlockId) -> u64 {
        (block.inode().get().wrapping_add(block.number() as u64) >> 8) & 0xffff
    }

    /// The directories that hold the group.
    pub fn directories(self) -> impl Iterator<Item = u64> {
        (u64::from(self.0)..0x1_0000).step_by(BUCKETS)
    }

    /// The group with this number, if there is one.
    pub const fn new(number: u32) -> Option<Self> {
        if number < BUCKETS as u32 { Some(Self(number as u16)) } else { None }
    }

    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    pub const fn index(self) -> usize {
        self.0 as usize
    }

    pub fn all() -> impl Iterator<Item = Self> {
        (0..BUCKETS as u16).map(Self)
    }
}

/// The sum of the fingerprints of a set of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(u64);

impl Digest {
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    pub fn add(&mut self, stored: &Stored) {
        self.0 = self.0.wrapping_add(fingerprint(stored));
    }

    pub fn remove(&mut self, stored: &Stored) {
        self.0 = self.0.wrapping_sub(fingerprint(stored));
    }
}

/// Each part goes through the finisher of SplitMix64, so that neighbours do not cancel out in a sum.
fn fingerprint(stored: &Stored) -> u64 {
    let Stored { block, generation, length } = stored;
    let parts = [block.inode().get(), u64::from(block.number()), generation.get(), length.get()];
    parts.iter().fold(0, |mixed: u64, part| mix(mixed.wrapping_add(*part).wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

const fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InodeId;

    fn stored(inode: u64, number: u32, generation: u64, length: u64) -> Stored {
        let block = BlockId::new(InodeId::new(inode), number);
        Stored { block, generation: GenStamp::new(generation), length: ByteSize::new(length) }
    }

    fn digest(all: &[Stored]) -> Digest {
        let mut digest = Digest::default();
        all.iter().for_each(|stored| digest.add(stored));
        digest
    }

    /// Golden: nodes of different versions compare these.
    #[test]
    fn digests_keep_their_values() {
        assert_eq!(digest(&[stored(42, 1, 2, 300)]).get(), GOLDEN);
        assert_eq!(Bucket::of(BlockId::new(InodeId::new(0x12_3456), 0x10)).number(), 0x234);
        assert_eq!(Bucket::directory_of(BlockId::new(InodeId::new(0x12_3456), 0x10)), 0x1234);
    }

    const GOLDEN: u64 = 11_949_212_829_921_734_004;

    #[test]
    fn the_order_does_not_matter_and_what_was_added_can_be_taken_out() {
        let all = [stored(1, 0, 1, 5), stored(1, 1, 1, 5), stored(2, 0, 3, 0)];
        let mut backwards = all;
        backwards.reverse();
        assert_eq!(digest(&all), digest(&backwards));
        let mut fewer = digest(&all);
        fewer.remove(&all[1]);
        assert_eq!(fewer, digest(&[all[0], all[2]]));
    }

    #[test]
    fn every_part_of_a_replica_counts() {
        let one = stored(7, 1, 2, 300);
        for other in [stored(8, 1, 2, 300), stored(7, 2, 2, 300), stored(7, 1, 3, 300), stored(7, 1, 2, 301)] {
            assert_ne!(digest(&[one]), digest(&[other]), "{other:?}");
        }
        // Neighbours that swapped a part are not the same set.
        assert_ne!(
            digest(&[stored(1, 0, 1, 2), stored(2, 0, 1, 1)]),
            digest(&[stored(1, 0, 1, 1), stored(2, 0, 1, 2)])
        );
    }

    #[test]
    fn the_directories_of_a_bucket_are_those_of_its_blocks() {
        for inode in [1, 255, 256, 70_000, 0x12_3456, u64::MAX] {
            let block = BlockId::new(InodeId::new(inode), 3);
            assert!(Bucket::of(block).directories().any(|directory| directory == Bucket::directory_of(block)));
        }
        let mut all: Vec<u64> = Bucket::all().flat_map(Bucket::directories).collect();
        all.sort_unstable();
        assert_eq!(all, (0..0x1_0000).collect::<Vec<_>>());
        assert_eq!((Bucket::new(1023).map(Bucket::number), Bucket::new(1024)), (Some(1023), None));
    }
}
