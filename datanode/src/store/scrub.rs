//! How far the scrubber is on a volume: when each bucket was read and checked last, and what comes next. See
//! `docs/formats/replica.md` for the file that keeps it over restarts.
//!
//! 1. The bucket that was checked the longest time ago comes next; so the age of the oldest unchecked byte is known.
//! 2. A time that is remembered is that of the beginning of the check: what was written meanwhile may not have been seen.
//! 3. A record that cannot be read counts as none: everything is as old as the volume.

use types::inventory::{BUCKETS, Bucket};
use types::{BlockId, InodeId, StorageId, Timestamp};

/// The file of a volume that holds its record.
pub(crate) const SCRUB_FILE: &str = "scrub";

const MAGIC: [u8; 8] = *b"AshlarSc";
const VERSION: u32 = 1;
const HEAD: usize = 96;
const LENGTH: usize = HEAD + 8 * BUCKETS + 4;
/// Stands for no bucket.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    storage: StorageId,
    /// For each bucket, when its last whole check began.
    checked: Vec<Timestamp>,
    under_way: Option<UnderWay>,
    asked: Option<Asked>,
}

/// The bucket that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnderWay {
    pub(crate) bucket: Bucket,
    pub(crate) begun: Timestamp,
    /// The last block that was read.
    pub(crate) after: Option<BlockId>,
}

/// A pass over everything that somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Its number, given by whoever asked.
    pub(crate) pass: u64,
    begun: Timestamp,
    /// Damaged replicas found since then.
    pub(crate) bad: u64,
}

/// Bytes that are not the record of this volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("it is {found} bytes long, not {LENGTH}")]
    Length { found: usize },
    #[error("it does not begin with the magic bytes")]
    Magic,
    #[error("it does not match its own checksum")]
    Checksum,
    #[error("it has version {found}; this software reads {VERSION}")]
    Version { found: u32 },
    #[error("it is of storage {found}")]
    OtherStorage { found: StorageId },
    #[error("its field {field} is out of range")]
    Range { field: &'static str },
}

impl Record {
    /// Nothing was checked since the volume was formatted.
    pub(crate) fn new(storage: StorageId, formatted: Timestamp) -> Self {
        Self { storage, checked: vec![formatted; BUCKETS], under_way: None, asked: None }
    }

    /// What to read next: the bucket under way, or the one checked the longest time ago (invariant 1).
    pub(crate) fn next(&mut self, now: Timestamp) -> UnderWay {
        let oldest = || Bucket::all().min_by_key(|bucket| self.checked[bucket.index()]).expect("there are buckets");
        let begun = self.after_all(now);
        let next = self.under_way.unwrap_or_else(|| UnderWay { bucket: oldest(), begun, after: None });
        self.under_way = Some(next);
        next
    }

    /// The bucket under way was read up to this block.
    pub(crate) fn passed(&mut self, bucket: Bucket, block: BlockId) {
        if let Some(under_way) = self.under_way.as_mut().filter(|under_way| under_way.bucket == bucket) {
            under_way.after = Some(block);
        }
    }

    /// The bucket under way was read to its end.
    pub(crate) fn ended(&mut self, bucket: Bucket) {
        if let Some(under_way) = self.under_way.take_if(|under_way| under_way.bucket == bucket) {
            self.checked[bucket.index()] = under_way.begun;
        }
    }

    /// Everything is to be read again. The same pass may be asked for twice. False: it was known.
    pub(crate) fn ask(&mut self, pass: u64, now: Timestamp) -> bool {
        if self.asked.is_some_and(|asked| asked.pass == pass) {
            return false;
        }
        self.asked = Some(Asked { pass, begun: self.after_all(now), bad: 0 });
        self.under_way = None;
        true
    }

    /// Now, but later than every check: a clock that was set back must not make old checks look newer than new ones.
    fn after_all(&self, now: Timestamp) -> Timestamp {
        let latest = self.checked.iter().max().copied().unwrap_or(Timestamp::EPOCH);
        now.max(Timestamp::from_nanos(latest.nanos().saturating_add(1)))
    }

    pub(crate) fn found_bad(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.bad += 1;
        }
    }

    pub(crate) fn asked(&self) -> Option<Asked> {
        self.asked
    }

    /// Whether the pass that was asked for, if any, has read the bucket.
    pub(crate) fn has_passed(&self, bucket: Bucket) -> bool {
        self.asked.is_none_or(|asked| self.checked[bucket.index()] >= asked.begun)
    }

    /// The beginning of the oldest check of these buckets.
    pub(crate) fn oldest(&self, of: impl Fn(Bucket) -> bool) -> Option<Timestamp> {
        Bucket::all().filter(|bucket| of(*bucket)).map(|bucket| self.checked[bucket.index()]).min()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; LENGTH];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &(BUCKETS as u32).to_le_bytes());
        put(16, self.storage.as_bytes());
        put(32, &self.under_way.map_or(NONE, |under_way| under_way.bucket.number()).to_le_bytes());
        if let Some(UnderWay { begun, after, .. }) = self.under_way {
            put(40, &begun.nanos().to_le_bytes());
            if let Some(after) = after {
                put(36, &1_u32.to_le_bytes());
                put(48, &after.inode().get().to_le_bytes());
                put(56, &after.number().to_le_bytes());
            }
        }
        if let Some(Asked { pass, begun, bad }) = self.asked {
            put(60, &1_u32.to_le_bytes());
            put(64, &pass.to_le_bytes());
            put(72, &begun.nanos().to_le_bytes());
            put(80, &bad.to_le_bytes());
        }
        for (at, checked) in self.checked.iter().enumerate() {
            put(HEAD + 8 * at, &checked.nanos().to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[..LENGTH - 4]);
        bytes[LENGTH - 4..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the record of this storage back.
    pub(crate) fn decode(bytes: &[u8], storage: StorageId) -> Result<Self, RecordError> {
        if bytes.len() != LENGTH {
            return Err(RecordError::Length { found: bytes.len() });
        }
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let time_at = |at: usize| Timestamp::from_nanos(u64_at(at));
        if bytes[..8] != MAGIC {
            return Err(RecordError::Magic);
        }
        if u32_at(LENGTH - 4) != crc32fast::hash(&bytes[..LENGTH - 4]) {
            return Err(RecordError::Checksum);
        }
        if u32_at(8) != VERSION {
            return Err(RecordError::Version { found: u32_at(8) });
        }
        if u32_at(12) as usize != BUCKETS {
            return Err(RecordError::Range { field: "buckets" });
        }
        let found = StorageId::from_bytes(bytes[16..32].try_into().expect("16 bytes"));
        if found != storage {
            return Err(RecordError::OtherStorage { found });
        }
        let under_way = match u32_at(32) {
            NONE => None,
            number => {
                let bucket = Bucket::new(number).ok_or(RecordError::Range { field: "bucket" })?;
                let after = match u32_at(36) {
                    0 => None,
                    1 => Some(BlockId::new(InodeId::new(u64_at(48)), u32_at(56))),
                    _ => return Err(RecordError::Range { field: "after" }),
                };
                Some(UnderWay { bucket, begun: time_at(40), after })
            }
        };
        let asked = match u32_at(60) {
            0 => None,
            1 => Some(Asked { pass: u64_at(64), begun: time_at(72), bad: u64_at(80) }),
            _ => return Err(RecordError::Range { field: "asked" }),
        };
        let checked = (0..BUCKETS).map(|at| time_at(HEAD + 8 * at)).collect();
        Ok(Self { storage, checked, under_way, asked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORAGE: StorageId = StorageId::from_bytes([3; 16]);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn bucket(number: u32) -> Bucket {
        Bucket::new(number).expect("a bucket")
    }

    fn block(inode: u64) -> BlockId {
        BlockId::new(InodeId::new(inode), 5)
    }

    /// Reads the next bucket in one go.
    fn read_next(record: &mut Record, now: u64) -> u32 {
        let next = record.next(at(now));
        record.ended(next.bucket);
        next.bucket.number()
    }

    /// Invariants 1 and 2.
    #[test]
    fn the_longest_unchecked_comes_next_and_counts_from_when_its_check_began() {
        let mut record = Record::new(STORAGE, at(100));
        assert_eq!(record.oldest(|_| true), Some(at(100)));
        for number in 0..BUCKETS as u32 {
            assert_eq!(read_next(&mut record, 200 + u64::from(number)), number);
        }
        assert_eq!(record.oldest(|_| true), Some(at(200)));
        assert_eq!(record.oldest(|of| of.number() >= 7), Some(at(207)), "the others are empty");
        assert_eq!(record.oldest(|_| false), None);
        assert_eq!(read_next(&mut record, 5000), 0, "and again");
        let begun = record.next(at(5001));
        assert_eq!((begun.bucket.number(), begun.after), (1, None));
        record.passed(begun.bucket, block(9));
        assert_eq!(record.next(at(9000)).after, Some(block(9)), "it is gone on with");
        record.ended(begun.bucket);
        assert_eq!(record.oldest(|of| of.number() == 1), Some(at(5001)));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_rounds() {
        let mut record = Record::new(STORAGE, at(9000));
        for round in 0..2 {
            for number in 0..BUCKETS as u32 {
                assert_eq!(read_next(&mut record, 100), number, "round {round}");
            }
        }
    }

    #[test]
    fn a_pass_that_was_asked_for_reads_everything_once_more() {
        let mut record = Record::new(STORAGE, at(100));
        (0..10).for_each(|_| assert!(read_next(&mut record, 200) < 10));
        let half_read = record.next(at(300)).bucket;
        assert!(record.has_passed(half_read), "nobody has asked for anything");
        assert!(record.ask(7, at(400)) && !record.ask(7, at(500)), "it is the same pass");
        record.ended(half_read);
        assert!(Bucket::all().all(|bucket| !record.has_passed(bucket)), "what was under way had begun before");
        let mut read: Vec<u32> = (0..BUCKETS).map(|_| read_next(&mut record, 600)).collect();
        read.sort_unstable();
        assert_eq!(read, (0..BUCKETS as u32).collect::<Vec<_>>());
        assert!(Bucket::all().all(|bucket| record.has_passed(bucket)));
        record.found_bad();
        assert_eq!(record.asked().map(|asked| (asked.pass, asked.bad)), Some((7, 1)));
        assert!(record.ask(8, at(50)), "the clock was set back");
        assert!(Bucket::all().all(|bucket| !record.has_passed(bucket)));
    }

    fn full() -> Record {
        let mut record = Record::new(STORAGE, at(100));
        record.ask(7, at(400));
        record.found_bad();
        (0..3).for_each(|number| assert_eq!(read_next(&mut record, 500), number));
        record.next(at(501));
        record.passed(bucket(3), block(0x0102));
        record
    }

    /// Golden: a volume keeps it over upgrades.
    #[test]
    fn records_are_stable() {
        let bytes = full().encode();
        let hex: String = bytes[..HEAD + 8].iter().map(|byte| format!("{byte:02x}")).collect();
        let head = "4173686c617253630100000000040000030303030303030303030303030303030300000001000000\
                    0052eda57400000002010000000000000500000001000000070000000000000000a0db215d000000\
                    0100000000000000000000000000000000";
        assert!(hex.starts_with(head), "{hex}");
        assert_eq!(&bytes[HEAD + 8 * 4..HEAD + 8 * 5], 100_000_000_000_u64.to_le_bytes());
        assert_eq!((bytes.len(), crc32fast::hash(&bytes[..LENGTH - 4])), (8292, GOLDEN_CRC));
        for record in [full(), Record::new(STORAGE, at(1))] {
            assert_eq!(Record::decode(&record.encode(), STORAGE), Ok(record));
        }
    }

    const GOLDEN_CRC: u32 = 2_589_254_396;

    /// Invariant 3.
    #[test]
    fn rubbish_is_refused_and_told_apart() {
        let good = full().encode();
        for bit in (0..8 * good.len()).step_by(61).chain(0..8 * HEAD) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(&bad, STORAGE).is_err(), "bit {bit}");
        }
        let with = |at: usize, value: u32| {
            let mut bytes = good.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let crc = crc32fast::hash(&bytes[..LENGTH - 4]);
            bytes[LENGTH - 4..].copy_from_slice(&crc.to_le_bytes());
            Record::decode(&bytes, STORAGE)
        };
        assert_eq!(with(8, 2), Err(RecordError::Version { found: 2 }));
        assert_eq!(with(12, 7), Err(RecordError::Range { field: "buckets" }));
        assert_eq!(with(32, 1024), Err(RecordError::Range { field: "bucket" }));
        assert_eq!(with(36, 2), Err(RecordError::Range { field: "after" }));
        assert_eq!(with(60, 2), Err(RecordError::Range { field: "asked" }));
        assert_eq!(Record::decode(&good[1..], STORAGE), Err(RecordError::Length { found: 8291 }));
        let other = StorageId::from_bytes([4; 16]);
        assert_eq!(Record::decode(&good, other), Err(RecordError::OtherStorage { found: STORAGE }));
    }
}
