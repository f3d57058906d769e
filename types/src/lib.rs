//! The vocabulary of Ashlar: ids, units, checksums, paths and error codes.
//!
//! Everything here is a value: no IO, no clock, no dice. Numbers that mean different things are different types, with
//! private fields, so that a length cannot be passed where an offset is asked for.
//!
//! Invariants, cited by tests:
//! 1. An id is never reused and never zero, except [`InodeId::NONE`], which names no inode.
//! 2. What prints an id or a unit also parses it back ([`std::fmt::Display`] and [`std::str::FromStr`] agree).
//! 3. A [`Path`] is always in normal form: no empty, `.` or `..` component, no NUL, within the limits.

pub mod acl;
pub mod checksum;
mod error;
mod ids;
pub mod inventory;
mod number;
mod path;
pub mod token;
mod units;

/// Changes of an inode with more names than this are told to those who watch it, but not to those who watch directories
/// that it has names in.
pub const WATCHED_NAMES: u32 = 32;

/// The longest file. Keeps the sums of directories far from the end of 64 bits.
pub const MAX_FILE: ByteSize = ByteSize::new(1 << 50);

pub use error::{Code, ErrorKind};
pub use ids::{
    BlockId, ClusterId, DiskId, GenStamp, InodeId, JobId, LogIndex, NodeId, ParseIdError, Sequence, SessionId,
    StorageId, Term, TrashId,
};
pub use number::{count, thousands};
pub use path::{MAX_NAME, MAX_PATH, Name, Path, PathError};
pub use units::{BlockOffset, ByteSize, FileOffset, ParseUnitError, Timestamp};
