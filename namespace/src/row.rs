//! What the state holds: the values under the keys of [`crate::key`]. Stored as CBOR arrays by field number, each value
//! behind one byte of format version (see `docs/formats/state.md`).

use minicbor::{Decode, Encode};
use types::{BlockId, ByteSize, GenStamp, InodeId, NodeId, StorageId, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    #[n(0)]
    File,
    #[n(1)]
    Directory,
}

/// What `stat` tells. For a directory, `usage` holds the sums over everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Attributes {
    #[n(0)]
    pub inode: InodeId,
    #[n(1)]
    pub kind: Kind,
    #[n(2)]
    pub mode: u32,
    #[n(3)]
    pub uid: u32,
    #[n(4)]
    pub gid: u32,
    #[n(5)]
    pub length: ByteSize,
    #[n(6)]
    pub atime: Timestamp,
    #[n(7)]
    pub mtime: Timestamp,
    #[n(8)]
    pub ctime: Timestamp,
    #[n(9)]
    pub links: u32,
    /// Of files: wanted replicas and the longest block; zero for directories.
    #[n(10)]
    pub replication: u8,
    #[n(11)]
    pub block_size: ByteSize,
    /// Whether a writer holds the lease.
    #[n(12)]
    pub writing: bool,
    /// Of directories: direct entries, and the sums over everything below.
    #[n(13)]
    pub usage: Option<Usage>,
}

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

/// One storage that holds, or is to hold, a replica, and the node it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct BlockLocation {
    #[n(0)]
    pub node: NodeId,
    #[n(1)]
    pub storage: StorageId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum BlockState {
    /// Under the lease of a writer; `length` is what has been made visible.
    #[n(0)]
    Writing,
    /// Its length is final.
    #[n(1)]
    Committed,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BlockRow {
    #[n(0)]
    pub generation: GenStamp,
    #[n(1)]
    pub length: ByteSize,
    #[n(2)]
    pub state: BlockState,
    #[n(3)]
    pub wanted: u8,
    /// Replicas that are read and counted.
    #[n(4)]
    pub replicas: Vec<BlockLocation>,
    /// Replicas known to be damaged: neither read nor counted, kept until enough good ones exist.
    #[n(5)]
    pub bad: Vec<BlockLocation>,
    /// Replicas given up, whose deletion from the disk is not confirmed yet: never read, and no copy goes there, since
    /// the deletion under way could take the copy with it.
    #[n(6)]
    #[cbor(default)]
    pub leaving: Vec<BlockLocation>,
}

/// A block of a file as a reader needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedBlock {
    pub block: BlockId,
    /// Where the block starts in the file.
    pub offset: u64,
    pub row: BlockRow,
}

/// A datanode.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NodeRow {
    /// [`NodeId::new`]`(0)` in a `RegisterDatanode` of a node that has no id yet.
    #[n(0)]
    pub id: NodeId,
    /// For people, and unique per machine: two replicas never share one.
    #[n(1)]
    pub host: String,
    /// Where its transfer server listens: `ip:port`.
    #[n(2)]
    pub transfer: String,
    #[n(3)]
    pub rack: String,
    #[n(4)]
    pub storages: Vec<StorageId>,
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
