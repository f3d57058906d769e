//! What the state holds: the values under their keys (module `key`). Stored as CBOR arrays by field number, each value
//! behind one byte of format version (see `docs/formats/state.md`).

mod block;
mod inode;
mod node;
mod session;

use std::time::Duration;

use minicbor::{Decode, Encode};
use types::{ClusterId, InodeId, NodeId, SessionId, Timestamp};

use crate::directory_policy::DirectoryPolicy;
use crate::key;
use crate::view::ViewError;

pub use block::{BlockLocation, BlockRow, BlockState, LocatedBlock, Wanted};
pub(crate) use block::{ExtentRow, LeaseRow, ShortBlock};
pub use inode::{Attributes, Kind, Lists};
pub(crate) use inode::{Body, Data, EntryRow, FileBody, InodeRow, SpecialBody, SymlinkBody, Xattr, XattrRow};
pub use node::{NodeRow, Service};
pub(crate) use session::{HandlesRow, ResultRow, SessionRow};
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Usage {
    /// Direct entries.
    #[n(0)]
    pub entries: u64,
    /// Files below, at any depth.
    #[n(1)]
    pub files: u64,
    /// Directories below, at any depth, this one not counted.
    #[n(2)]
    pub directories: u64,
    /// Lengths of those files.
    #[n(3)]
    pub bytes: u64,
    /// Lengths of those files times their wanted replicas.
    #[n(4)]
    pub raw_bytes: u64,
}

/// Bounds on the sums of a directory; what is absent has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Quota {
    /// Of [`Usage::raw_bytes`].
    #[n(0)]
    pub raw_bytes: Option<u64>,
    /// Of files and directories below together.
    #[n(1)]
    pub inodes: Option<u64>,
}

/// The totals of the whole namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Totals {
    /// Every block that has a row, those of removed files that are not freed yet included.
    #[n(0)]
    pub blocks: u64,
    #[n(1)]
    pub files: u64,
    /// The root not counted.
    #[n(2)]
    pub directories: u64,
    #[n(3)]
    pub bytes: u64,
    #[n(4)]
    pub raw_bytes: u64,
    /// Sessions that are not ended yet.
    #[n(5)]
    pub sessions: u64,
}

/// Cluster, clock and counters: the one row that nearly every command writes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SystemRow {
    /// None before `Format`, and then not stored.
    #[n(0)]
    pub(crate) cluster: Option<ClusterId>,
    /// The latest time that a command had.
    #[n(1)]
    pub(crate) time: Timestamp,
    #[n(2)]
    pub(crate) next_inode: InodeId,
    #[n(3)]
    pub(crate) next_session: SessionId,
    #[n(4)]
    pub(crate) next_node: NodeId,
    #[n(5)]
    pub(crate) blocks: u64,
    #[n(6)]
    pub(crate) sessions: u64,
    /// The group whose members may do what uid 0 may.
    #[n(7)]
    pub(crate) supergroup: Option<u32>,
    /// Directories that have a policy (module `directory_policy`); absent rather than zero.
    #[n(8)]
    pub(crate) policies: Option<u64>,
}

/// What a directory is to those around it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct DirectoryRow {
    /// [`InodeId::NONE`] for the root, and for a directory that was removed with what it holds.
    #[n(0)]
    pub(crate) parent: InodeId,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) name: Vec<u8>,
    #[n(2)]
    pub(crate) mtime: Timestamp,
    #[n(3)]
    pub(crate) ctime: Timestamp,
    #[n(4)]
    pub(crate) usage: Usage,
    #[n(5)]
    pub(crate) quota: Option<Quota>,
    /// Made only because the key of an object needed it (see module `bucket`).
    #[n(6)]
    #[cbor(default)]
    pub(crate) implicit: bool,
    /// Direct entries that are directories. Absent in a row of before they were counted.
    #[n(7)]
    pub(crate) subdirectories: Option<u64>,
    /// After so many nanoseconds without a change, what is below goes (module `ageing`).
    #[n(8)]
    pub(crate) ttl_nanos: Option<u64>,
    /// What it says of files that are made below; absent rather than empty.
    #[n(9)]
    pub(crate) policy: Option<DirectoryPolicy>,
}

impl DirectoryRow {
    pub(crate) fn ttl(&self) -> Option<Duration> {
        self.ttl_nanos.map(Duration::from_nanos)
    }
}

/// The way from an inode to its entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct LinkRow {
    #[n(0)]
    pub(crate) parent: InodeId,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) name: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct GarbageRow {
    #[n(0)]
    pub(crate) kind: Kind,
    /// A file that never had a name: nobody can want it back, so its replicas have no grace. They may be all that
    /// fills a disk.
    #[n(1)]
    #[cbor(default)]
    pub(crate) never_named: bool,
    /// Of a directory: the last name that was freed. The next step goes on from there, and does not pass again over all
    /// that its predecessors removed, which the store keeps for a while as marks of deletion.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) freed: Option<Vec<u8>>,
}

impl GarbageRow {
    pub(crate) const DIRECTORY: Self = Self { kind: Kind::Directory, never_named: false, freed: None };

    pub(crate) const fn file(never_named: bool) -> Self {
        Self { kind: Kind::File, never_named, freed: None }
    }
}

/// The format of values that is written. A reader keeps every older one.
pub(crate) const VERSION: u8 = 1;

/// The value of a row that says everything in its key.
pub(crate) const EMPTY: [u8; 1] = [VERSION];

pub(crate) fn encode<T: Encode<()>>(row: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    bytes.push(VERSION);
    minicbor::encode(row, &mut bytes).expect("writing to memory does not fail");
    bytes
}

pub(crate) fn decode<T: for<'b> Decode<'b, ()>>(key: &[u8], bytes: &[u8]) -> Result<T, ViewError> {
    let damaged = |reason: String| ViewError::Row { key: key::show(key), reason };
    let (version, body) = bytes.split_first().ok_or_else(|| damaged("the value is empty".to_owned()))?;
    if *version != VERSION {
        return Err(damaged(format!("it has format {version}, and this version reads up to {VERSION}")));
    }
    let mut decoder = minicbor::Decoder::new(body);
    let row = decoder.decode().map_err(|error| damaged(error.to_string()))?;
    match body.len() - decoder.position() {
        0 => Ok(row),
        extra => Err(damaged(format!("{extra} bytes follow its end"))),
    }
}
