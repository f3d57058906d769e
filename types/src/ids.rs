//! Ids. Each is its own type; none is ever reused (invariant 1).

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// A text that should have been an id and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct ParseIdError {
    text: String,
    wanted: &'static str,
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $wanted:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize, Default,
        )]
        #[cbor(transparent)]
        #[serde(transparent)]
        pub struct $name(#[n(0)] u64);

        impl $name {
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            pub const fn get(self) -> u64 {
                self.0
            }

            /// The id after this one. Panics when the 64-bit space is used up, which no cluster lives to see.
            pub const fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("2^64 ids are never used up"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix($prefix)
                    .and_then(|digits| digits.parse().ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError { text: text.to_owned(), wanted: $wanted })
            }
        }
    };
}

number_id!(
    /// A file, directory or other object of the namespace.
    InodeId, "ino_", "an inode id such as ino_42"
);
number_id!(
    /// The generation of a block: recovery raises it, and replicas of an older one are refused everywhere.
    GenStamp, "gen_", "a generation stamp such as gen_3"
);
number_id!(
    /// A namenode or a datanode. A wiped disk gets a new one.
    NodeId, "node_", "a node id such as node_3"
);
number_id!(
    /// A client's session: the scope of exactly-once retries and of leases.
    SessionId, "ses_", "a session id such as ses_9"
);
number_id!(
    /// The number of an operation in its session, counted by the client from 1 without gaps.
    Sequence, "seq_", "a sequence number such as seq_17"
);
number_id!(
    /// What one command moved to the trash.
    TrashId, "trash_", "the id of something in the trash, such as trash_17"
);
number_id!(
    /// Background work that somebody asked for.
    JobId, "job_", "the id of a job such as job_7"
);
number_id!(
    /// A Raft term. It rides on every command to a datanode, which refuses a lower one than it has seen.
    Term, "term_", "a Raft term such as term_5"
);
number_id!(
    /// A position in the Raft log.
    LogIndex, "idx_", "a log index such as idx_100"
);

impl InodeId {
    /// Names no inode.
    pub const NONE: Self = Self(0);
    /// The root directory of the namespace.
    pub const ROOT: Self = Self(1);
}

impl GenStamp {
    /// The generation that a new block starts with.
    pub const FIRST: Self = Self(1);
}

/// A block: the inode it was allocated for and its number there. The file of a block is thus found without an index.
///
/// A third number, the index inside an erasure-coded group, is always zero so far; formats that store a block id keep
/// one byte for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
pub struct BlockId {
    #[n(0)]
    inode: InodeId,
    #[n(1)]
    number: u32,
}

impl BlockId {
    pub const fn new(inode: InodeId, number: u32) -> Self {
        Self { inode, number }
    }

    /// The inode that the block was allocated for.
    pub const fn inode(self) -> InodeId {
        self.inode
    }

    /// The number of the block among those ever allocated for its inode.
    pub const fn number(self) -> u32 {
        self.number
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blk_{}.{}", self.inode.0, self.number)
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlockId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parse = || {
            let (inode, number) = text.strip_prefix("blk_")?.split_once('.')?;
            Some(Self::new(InodeId(inode.parse().ok()?), number.parse().ok()?))
        };
        parse().ok_or_else(|| ParseIdError { text: text.to_owned(), wanted: "a block id such as blk_42.0" })
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $wanted:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Wraps 16 bytes that the caller took from a source of randomness.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let wrong = || ParseIdError { text: text.to_owned(), wanted: $wanted };
                if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(wrong());
                }
                let mut bytes = [0; 16];
                for (at, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
                }
                Ok(Self(bytes))
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?;
                Ok(())
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let bytes = d.bytes()?.try_into().map_err(|_| minicbor::decode::Error::message($wanted))?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

random_id!(
    /// A cluster, drawn once by its `init`. Nodes and disks of another cluster are refused.
    ClusterId, "a cluster id of 32 hexadecimal digits"
);
random_id!(
    /// One volume of a datanode, drawn when the volume is formatted.
    StorageId, "a storage id of 32 hexadecimal digits"
);
random_id!(
    /// The directory of a namenode, drawn when it is formatted. It tells a directory from another of the same number.
    DiskId, "a disk id of 32 hexadecimal digits"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_what_they_print() {
        assert_eq!("ino_42".parse(), Ok(InodeId::new(42)));
        assert_eq!(InodeId::new(42).to_string(), "ino_42");
        let block = BlockId::new(InodeId::new(7), 3);
        assert_eq!(block.to_string(), "blk_7.3");
        assert_eq!("blk_7.3".parse(), Ok(block));
        let storage = StorageId::from_bytes(*b"0123456789abcdef");
        assert_eq!(storage.to_string().parse(), Ok(storage));
    }

    #[test]
    fn rubbish_is_not_an_id() {
        for text in ["", "blk_", "blk_7", "blk_7.", "blk_-1.0", "ino_", "ino_x", "blk_7.4294967296"] {
            assert!(text.parse::<BlockId>().is_err(), "{text}");
            assert!(text.parse::<InodeId>().is_err(), "{text}");
        }
        assert!("zz".repeat(16).parse::<StorageId>().is_err());
        assert!("\u{e9}".repeat(16).parse::<StorageId>().is_err());
    }
}
