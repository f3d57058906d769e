//! What the gateway keeps with a multipart upload, with each of its parts, and with the object that they become. The
//! namenodes do not look into it: a byte of version, then CBOR by field number.

use minicbor::{Decode, Encode};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::digest::{self, raw};
use crate::properties::{Algorithm, Checksum, Properties};

const VERSION: u8 = 1;

/// What was said when an upload was begun.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct Begun {
    #[n(0)]
    pub(crate) properties: Properties,
    /// As a query string.
    #[n(1)]
    pub(crate) tags: Option<String>,
    #[n(2)]
    pub(crate) algorithm: Option<Algorithm>,
    /// Absent where no algorithm was named.
    #[n(3)]
    pub(crate) kind: Option<ChecksumKind>,
}

/// What the checksum of an object in parts is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum ChecksumKind {
    /// The checksums of the parts.
    #[n(0)]
    Composite,
    /// The bytes, as if it had come in one piece.
    #[n(1)]
    FullObject,
}

impl ChecksumKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Composite => "COMPOSITE",
            Self::FullObject => "FULL_OBJECT",
        }
    }

    /// What an algorithm is used for where nothing is said, as for S3 itself.
    pub(crate) const fn usual(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc64Nvme => Self::FullObject,
            Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Sha1 | Algorithm::Sha256 => Self::Composite,
        }
    }

    /// Only sums that can be put together without the bytes are of whole objects, and of those one is of nothing else.
    pub(crate) const fn fits(self, algorithm: Algorithm) -> bool {
        match (self, algorithm) {
            (Self::Composite, Algorithm::Crc64Nvme) | (Self::FullObject, Algorithm::Sha1 | Algorithm::Sha256) => false,
            (Self::Composite | Self::FullObject, _) => true,
        }
    }
}

/// What is kept with a part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct PartNotes {
    /// Of a part that was copied from elsewhere it may not be known.
    #[n(0)]
    pub(crate) checksum: Option<Checksum>,
}

/// The parts that an object was made of, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct PartList {
    #[n(0)]
    pub(crate) lengths: Vec<u64>,
    #[n(1)]
    pub(crate) algorithm: Option<Algorithm>,
    /// Of each part, one behind the other; empty if they are not known.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) sums: Vec<u8>,
}

impl PartList {
    /// Where a part begins and ends; they count from 1.
    pub(crate) fn range(&self, number: usize) -> Option<(u64, u64)> {
        let at = number.checked_sub(1)?;
        let length = *self.lengths.get(at)?;
        let start = self.lengths[..at].iter().sum::<u64>();
        Some((start, start + length))
    }

    pub(crate) fn checksum(&self, number: usize) -> Option<Checksum> {
        let (at, algorithm) = (number.checked_sub(1)?, self.algorithm?);
        let size = algorithm.size();
        let sum = self.sums.get(at * size..(at + 1) * size)?;
        Some(Checksum { algorithm, value: digest::text(sum) })
    }
}

/// Kept with an upload, a part or an object in this form.
pub(crate) trait Kept: Encode<()> + for<'b> Decode<'b, ()> + Default {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        minicbor::encode(self, &mut bytes).expect("writing to memory does not fail");
        bytes
    }

    /// Nothing stands for the default; what does not read is damage, and an error.
    fn of_bytes(bytes: &[u8]) -> S3Result<Self> {
        let wrong = |reason: String| {
            tracing::error!(reason, "what is kept with an upload does not read");
            S3Error::new(S3ErrorCode::InternalError)
        };
        match bytes.split_first() {
            None => Ok(Self::default()),
            Some((&VERSION, body)) => minicbor::decode(body).map_err(|error| wrong(error.to_string())),
            Some((version, _)) => Err(wrong(format!("it is of version {version}"))),
        }
    }
}

impl Kept for Begun {}
impl Kept for PartNotes {}
impl Kept for PartList {}

/// The checksum of an object in parts, from those of the parts with their lengths; none if they do not go together.
pub(crate) fn whole(kind: ChecksumKind, algorithm: Algorithm, parts: &[(Checksum, u64)]) -> Option<Checksum> {
    let mut sums = Vec::with_capacity(parts.len());
    for (checksum, length) in parts {
        if checksum.algorithm != algorithm {
            return None;
        }
        sums.push((raw(checksum)?, *length));
    }
    let value = match kind {
        ChecksumKind::FullObject => digest::text(&digest::joined(algorithm, &sums)?),
        ChecksumKind::Composite => {
            let all: Vec<u8> = sums.iter().flat_map(|(sum, _)| sum.iter().copied()).collect();
            format!("{}-{}", digest::text(&digest::of(algorithm, &all)), sums.len())
        }
    };
    Some(Checksum { algorithm, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_keeps_its_bytes() {
        let begun = Begun {
            properties: Properties { content_type: Some("t".to_owned()), ..Properties::default() },
            tags: Some("a=b".to_owned()),
            algorithm: Some(Algorithm::Crc32c),
            kind: Some(ChecksumKind::FullObject),
        };
        assert_eq!(hex::encode(begun.to_bytes()), "0184876174f6f6f6f6f6a063613d620101");
        assert_eq!(Begun::of_bytes(&begun.to_bytes()).expect("legal"), begun);
        let checksum = Some(Checksum { algorithm: Algorithm::Crc32, value: "AAAAAA==".to_owned() });
        let notes = PartNotes { checksum };
        assert_eq!(hex::encode(notes.to_bytes()), "01818200684141414141413d3d");
        let list = PartList { lengths: vec![5, 1 << 20], algorithm: Some(Algorithm::Crc32), sums: vec![7; 8] };
        assert_eq!(hex::encode(list.to_bytes()), "018382051a0010000000480707070707070707");
        assert_eq!(PartList::of_bytes(&list.to_bytes()).expect("legal"), list);
        assert_eq!(PartList::of_bytes(&[]).expect("legal"), PartList::default());
        assert!(PartList::of_bytes(&[9]).is_err() && PartList::of_bytes(b"\x01rubbish").is_err());
    }

    #[test]
    fn parts_lie_one_behind_the_other() {
        let list = PartList { lengths: vec![5, 7, 0], algorithm: Some(Algorithm::Crc32), sums: vec![0; 12] };
        assert_eq!(
            [0, 1, 2, 3, 4].map(|number| list.range(number)),
            [None, Some((0, 5)), Some((5, 12)), Some((12, 12)), None]
        );
        assert_eq!(list.checksum(3).map(|checksum| checksum.value), Some("AAAAAA==".to_owned()));
        assert_eq!([list.checksum(0), list.checksum(4)], [None, None]);
    }

    /// The oracle: the bytes in one piece.
    #[test]
    fn the_sum_of_a_whole_object_is_that_of_its_bytes() {
        let pieces: [&[u8]; 4] = [b"1234", b"", b"5678", b"9"];
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let sum = |bytes: &[u8]| Checksum { algorithm, value: digest::text(&digest::of(algorithm, bytes)) };
            let parts: Vec<_> = pieces.iter().map(|piece| (sum(piece), piece.len() as u64)).collect();
            assert_eq!(whole(ChecksumKind::FullObject, algorithm, &parts), Some(sum(b"123456789")), "{algorithm:?}");
        }
        let sha = |bytes: &[u8]| Checksum {
            algorithm: Algorithm::Sha256,
            value: digest::text(&digest::of(Algorithm::Sha256, bytes)),
        };
        let parts = [(sha(b"a"), 1), (sha(b"b"), 1)];
        assert_eq!(whole(ChecksumKind::FullObject, Algorithm::Sha256, &parts), None);
        let both = [digest::of(Algorithm::Sha256, b"a"), digest::of(Algorithm::Sha256, b"b")].concat();
        let composite = whole(ChecksumKind::Composite, Algorithm::Sha256, &parts).expect("they go together");
        assert_eq!(composite.value, format!("{}-2", sha(&both).value));
        assert_eq!(whole(ChecksumKind::Composite, Algorithm::Crc32, &parts), None, "of another algorithm");
    }
}
