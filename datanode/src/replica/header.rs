//! The header of a replica: its first 4 KiB. See `docs/formats/replica.md`.

use types::checksum::CHUNK;
use types::{BlockId, ByteSize, ClusterId, GenStamp, InodeId};

/// What a header takes in the file: one page, so that what follows starts on one.
pub(crate) const HEADER: usize = 4096;
/// The part of it that says anything. No larger than a sector, which a disk writes whole or not at all: a header that is
/// rewritten is the old one or the new one after a power cut.
const SAID: usize = 512;
const CRC: usize = SAID - 4;

const MAGIC: [u8; 8] = *b"AshlarRp";
const VERSION: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The length is what the file has.
    Writing,
    Final {
        length: ByteSize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) cluster: ClusterId,
    pub(crate) block: BlockId,
    pub(crate) generation: GenStamp,
    /// What the checksum table has room for.
    pub(crate) max_length: ByteSize,
    pub(crate) state: State,
}

/// Bytes that are not the header of a replica.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("the file is no replica: it does not begin with the magic bytes")]
    Magic,
    #[error("the header does not match its own checksum")]
    Checksum,
    #[error("the replica has format version {found}; this software reads {VERSION}")]
    Version { found: u32 },
    #[error("the chunk size is {found}; this software reads {CHUNK}")]
    ChunkSize { found: u32 },
    #[error("the header field {field} is out of range")]
    Range { field: &'static str },
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &(CHUNK as u32).to_le_bytes());
        put(16, self.cluster.as_bytes());
        put(32, &self.block.inode().get().to_le_bytes());
        put(40, &self.block.number().to_le_bytes());
        // 44..48: the index in an erasure-coded group, zero so far.
        put(48, &self.generation.get().to_le_bytes());
        put(56, &self.max_length.get().to_le_bytes());
        let (state, length) = match self.state {
            State::Writing => (1, 0),
            State::Final { length } => (2, length.get()),
        };
        put(64, &u64::to_le_bytes(state));
        put(72, &length.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..CRC]);
        bytes[CRC..SAID].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the first [`Header::READ`] bytes of a file.
    pub(crate) fn decode(bytes: &[u8; Self::READ]) -> Result<Self, HeaderError> {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if bytes[..8] != MAGIC {
            return Err(HeaderError::Magic);
        }
        if u32_at(CRC) != crc32fast::hash(&bytes[..CRC]) {
            return Err(HeaderError::Checksum);
        }
        if u32_at(8) != VERSION {
            return Err(HeaderError::Version { found: u32_at(8) });
        }
        if u32_at(12) as usize != CHUNK {
            return Err(HeaderError::ChunkSize { found: u32_at(12) });
        }
        let max_length = ByteSize::new(u64_at(56));
        if max_length > transfer::message::MAX_BLOCK {
            return Err(HeaderError::Range { field: "max_length" });
        }
        if u32_at(44) != 0 {
            return Err(HeaderError::Range { field: "index" });
        }
        let state = match u64_at(64) {
            1 => State::Writing,
            2 if u64_at(72) <= max_length.get() => State::Final { length: ByteSize::new(u64_at(72)) },
            2 => return Err(HeaderError::Range { field: "length" }),
            _ => return Err(HeaderError::Range { field: "state" }),
        };
        Ok(Self {
            cluster: ClusterId::from_bytes(bytes[16..32].try_into().expect("16 bytes")),
            block: BlockId::new(InodeId::new(u64_at(32)), u32_at(40)),
            generation: GenStamp::new(u64_at(48)),
            max_length,
            state,
        })
    }

    /// How much of a file [`Header::decode`] wants.
    pub(crate) const READ: usize = SAID;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header {
            cluster: ClusterId::from_bytes(*b"0123456789abcdef"),
            block: BlockId::new(InodeId::new(0x0102_0304), 5),
            generation: GenStamp::new(6),
            max_length: ByteSize::mib(128),
            state: State::Final { length: ByteSize::new(12345) },
        }
    }

    fn said(bytes: &[u8; HEADER]) -> [u8; Header::READ] {
        *bytes.first_chunk().expect("a header is longer")
    }

    /// Golden: replicas on disks are read by later versions.
    #[test]
    fn headers_are_stable() {
        let bytes = header().encode();
        let hex: String = bytes[..80].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "4173686c6172527001000000001000003031323334353637383961626364656604030201000000000500000000000000\
             0600000000000000000000080000000002000000000000003930000000000000"
        );
        assert!(bytes[80..CRC].iter().chain(&bytes[SAID..]).all(|byte| *byte == 0));
        assert_eq!(bytes[CRC..SAID], GOLDEN_CRC);
        assert_eq!(Header::decode(&said(&bytes)), Ok(header()));
    }

    const GOLDEN_CRC: [u8; 4] = [91, 155, 56, 18];

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = said(&header().encode());
        for bit in 0..8 * bytes.len() {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn fields_out_of_range_are_named_even_with_a_good_checksum() {
        let with = |at: usize, value: u64| {
            let mut bytes = said(&header().encode());
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            let crc = crc32fast::hash(&bytes[..CRC]);
            bytes[CRC..SAID].copy_from_slice(&crc.to_le_bytes());
            Header::decode(&bytes)
        };
        assert_eq!(with(56, u64::MAX), Err(HeaderError::Range { field: "max_length" }));
        assert_eq!(with(64, 3), Err(HeaderError::Range { field: "state" }));
        assert_eq!(with(72, u64::MAX), Err(HeaderError::Range { field: "length" }));
        assert_eq!(with(8, 2 | (4096 << 32)), Err(HeaderError::Version { found: 2 }));
        assert_eq!(with(8, 1 | (512 << 32)), Err(HeaderError::ChunkSize { found: 512 }));
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), Header::READ)) {
            let bytes: [u8; Header::READ] = bytes.try_into().expect("as long as asked for");
            prop_assert!(Header::decode(&bytes).is_err());
        }
    }
}
