//! What the commands are told: places, blocks, edits and attributes. Stored as the commands are.

use minicbor::{Decode, Encode};
use types::{BlockId, BlockOffset, ByteSize, GenStamp, InodeId, SessionId, StorageId, Timestamp};

use crate::placement;
use crate::row::Wanted;

/// Where an object is: a path seen from a directory, or that inode itself when the path is empty.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Where {
    #[n(0)]
    pub base: InodeId,
    /// In the form of [`types::Path::to_bytes`] or any that [`types::Path::parse`] takes.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub path: Vec<u8>,
}

/// The owner and mode that a new object gets. Only the superuser chooses an owner; others own what they make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Ownership {
    #[n(0)]
    pub uid: u32,
    #[n(1)]
    pub gid: u32,
    /// Permission bits, including setuid, setgid and sticky; not the file type.
    #[n(2)]
    pub mode: u32,
    /// Bits that the mode loses, unless the directory has a default access control list: then that decides.
    #[n(3)]
    pub umask: Option<u32>,
}

/// How a new file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Layout {
    /// Wanted replicas of each block.
    #[n(0)]
    pub replication: u8,
    /// No block that is written into the file is longer.
    #[n(1)]
    pub block_size: ByteSize,
    /// How the replicas are spread over racks; absent: as the cluster does it.
    #[n(2)]
    pub spread: Option<placement::Policy>,
}

impl Layout {
    pub(crate) const fn wanted(&self) -> Wanted {
        Wanted { replicas: self.replication, spread: self.spread }
    }
}

/// A place in the namespace that something is to be put at.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Destination {
    #[n(0)]
    pub place: Where,
    /// Replace a file that is there; without it, one that is there is an error. A directory is never replaced.
    #[n(1)]
    pub overwrite: bool,
    /// Make missing parent directories, owned like the object, mode 0755.
    #[n(2)]
    pub parents: bool,
}

/// A block as its writer leaves it: how long, and on which storages every byte of it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BlockDone {
    #[n(0)]
    pub block: BlockId,
    #[n(1)]
    pub generation: GenStamp,
    #[n(2)]
    pub length: ByteSize,
    #[n(3)]
    pub replicas: Vec<StorageId>,
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct HandleRights {
    #[n(0)]
    pub read: bool,
    #[n(1)]
    pub write: bool,
}

/// A file to make while opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct NewOpenFile {
    #[n(0)]
    pub ownership: Ownership,
    #[n(1)]
    pub layout: Layout,
    /// Nothing may be there.
    #[n(2)]
    pub exclusive: bool,
}

/// So many handles on one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ClosedHandles {
    #[n(0)]
    pub inode: InodeId,
    #[n(1)]
    pub count: u32,
}

/// Something was read, and when. It counts as read when the command is applied, if that is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct NotedRead {
    #[n(0)]
    pub inode: InodeId,
    #[n(1)]
    pub at: Timestamp,
}

/// A piece of new content.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Edit {
    /// Bytes of a block that comes with the edits.
    #[n(0)]
    Block {
        /// In the file.
        #[n(0)]
        offset: u64,
        #[n(1)]
        length: ByteSize,
        #[n(2)]
        block: BlockId,
        #[n(3)]
        block_offset: BlockOffset,
    },
    /// Bytes for a file that is stored inline, and stays so.
    #[n(1)]
    Bytes {
        #[n(0)]
        offset: u64,
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        content: Vec<u8>,
    },
}

/// A part of a file as it was when its bytes were read: the same bytes still, wherever the file holds this part of this block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Joined {
    /// In the file.
    #[n(0)]
    pub offset: u64,
    #[n(1)]
    pub length: ByteSize,
    #[n(2)]
    pub block: BlockId,
    #[n(3)]
    pub block_offset: BlockOffset,
}

/// What every change of content says besides the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct ContentTerms {
    /// The modification time to record, instead of the time of the command.
    #[n(0)]
    pub mtime: Option<Timestamp>,
    /// Take setuid and setgid away, as a write by anybody but the superuser does.
    #[n(1)]
    pub clear_suid: bool,
    /// How long the replicas of a block that dies stay on disk.
    #[n(2)]
    pub grace_nanos: u64,
    /// The longest file that is stored inline.
    #[n(3)]
    pub inline_max: ByteSize,
}

/// Who held a lease when the leader looked, and until when nobody may take it. Only the leader knows when a client was
/// last heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Holder {
    #[n(0)]
    pub session: SessionId,
    #[n(1)]
    pub soft_limit: Timestamp,
}

/// Whether an extended attribute may be there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum XattrMode {
    #[n(0)]
    Any,
    /// It must not.
    #[n(1)]
    Create,
    /// It must.
    #[n(2)]
    Replace,
}

/// A replica on a disk that no block lists for its storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Unlisted {
    #[n(0)]
    pub block: BlockId,
    #[n(1)]
    pub generation: GenStamp,
}

/// The key of one record of a replica to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct DeletedReplica {
    #[n(0)]
    pub due: Timestamp,
    #[n(1)]
    pub block: BlockId,
    #[n(2)]
    pub generation: GenStamp,
}

/// Attributes to change; what is absent stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct AttrChange {
    #[n(0)]
    pub mode: Option<u32>,
    #[n(1)]
    pub uid: Option<u32>,
    #[n(2)]
    pub gid: Option<u32>,
    #[n(3)]
    pub mtime: Option<Timestamp>,
    #[n(4)]
    pub atime: Option<Timestamp>,
    /// Of files only; the repair scanner follows.
    #[n(5)]
    pub replication: Option<u8>,
    /// Both times become that of the command, unless they are given. Whoever may write may do that, while times of
    /// one's choice are for the owner.
    #[n(6)]
    #[cbor(default)]
    pub touch: bool,
    /// This time becomes that of the command, unless it is given, and the other one stays: for the owner too.
    #[n(7)]
    pub present: Option<TimeKind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum TimeKind {
    #[n(0)]
    Access,
    #[n(1)]
    Modification,
}
