//! What the state holds: the values under their keys (module `key`). Stored as CBOR arrays by field number, each value
//! behind one byte of format version (see `docs/formats/state.md`).

use std::time::Duration;

use minicbor::{Decode, Encode};
use types::acl::Acl;
use types::{
    BlockId, BlockOffset, ByteSize, ClusterId, GenStamp, InodeId, NodeId, Sequence, SessionId, StorageId, Timestamp,
};

use crate::acl;
use crate::command::{Ownership, Reply};
use crate::error::Error;
use crate::key;
use crate::view::ViewError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    #[n(0)]
    File,
    #[n(1)]
    Directory,
    #[n(2)]
    Symlink,
    #[n(3)]
    Fifo,
    #[n(4)]
    Socket,
    #[n(5)]
    CharDevice,
    #[n(6)]
    BlockDevice,
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
    /// Of directories that have one.
    #[n(14)]
    pub quota: Option<Quota>,
    /// Of devices: major and minor number, as the caller encodes them.
    #[n(15)]
    pub device: Option<u64>,
    /// Of symbolic links: where it leads.
    #[n(16)]
    #[cbor(with = "minicbor::bytes")]
    pub target: Option<Vec<u8>>,
    /// Of directories that have one of their own: the time to live of what is below, in nanoseconds.
    #[n(17)]
    pub ttl_nanos: Option<u64>,
    /// Which access control lists it has that say more than the mode.
    #[n(18)]
    pub lists: Option<Lists>,
}

/// The access control lists of an object, where it has any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Lists {
    #[n(0)]
    Access,
    #[n(1)]
    Default,
    #[n(2)]
    Both,
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
    /// Allocated in advance for a session, and of no file yet.
    #[n(2)]
    Pending,
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
    /// How many bytes of it extents hold, of one file or of several. When it has none left it dies (invariant 11).
    #[n(7)]
    pub live: ByteSize,
    /// The generation that a recovery under way will end the block with. Readers keep to `generation` until then; nothing
    /// older than this may change the block any more.
    #[n(8)]
    pub recovery: Option<GenStamp>,
}

impl BlockRow {
    /// The highest generation that a replica of the block may have.
    pub fn newest_generation(&self) -> GenStamp {
        self.recovery.map_or(self.generation, |recovery| recovery.max(self.generation))
    }
}

/// An extent of a file as a reader needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedBlock {
    pub block: BlockId,
    /// Where the extent starts in the file.
    pub offset: u64,
    pub length: ByteSize,
    /// Where it starts in the block.
    pub block_offset: BlockOffset,
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
    /// Absent while it is in service. A `RegisterDatanode` does not change it.
    #[n(5)]
    pub service: Option<Service>,
}

impl NodeRow {
    pub fn service(&self) -> Service {
        self.service.unwrap_or_default()
    }
}

/// Whether a datanode takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub enum Service {
    #[default]
    #[n(0)]
    InService,
    /// It gets nothing new, and what it has is copied to others.
    #[n(1)]
    Decommissioning,
    /// Nothing needs it any more.
    #[n(2)]
    Decommissioned,
    /// It may be away until then, and nothing is copied for that.
    #[n(3)]
    Maintenance {
        #[n(0)]
        until: Timestamp,
    },
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
}

/// An inode: part of the entry of its only name, or a row of its own (module `home`).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct InodeRow {
    #[n(0)]
    pub(crate) inode: InodeId,
    #[n(1)]
    pub(crate) mode: u32,
    #[n(2)]
    pub(crate) uid: u32,
    #[n(3)]
    pub(crate) gid: u32,
    #[n(4)]
    pub(crate) atime: Timestamp,
    #[n(5)]
    pub(crate) body: Body,
    /// Sorted by name; absent rather than empty.
    #[n(6)]
    pub(crate) xattrs: Option<Vec<Xattr>>,
    /// Of a row under `h`: how many entries refer to it. Absent in an entry, which is the only one then.
    #[n(7)]
    pub(crate) names: Option<u32>,
    /// Where it says more than the mode, which shows it (module `acl`).
    #[n(8)]
    pub(crate) acl: Option<Box<Acl>>,
    /// Of directories: the list that decides what is granted of what is made in it.
    #[n(9)]
    pub(crate) default_acl: Option<Box<Acl>>,
    /// Of what has no name yet: bits that a umask took from the mode, and that a default list gives back.
    #[n(10)]
    pub(crate) withheld: Option<u32>,
}

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryRow {
    Inode(InodeRow),
    /// The row is under `h`: the inode has, or had, several names.
    Reference(InodeId),
}

/// A row is an array, a reference a plain number.
impl<'b> Decode<'b, ()> for EntryRow {
    fn decode(decoder: &mut minicbor::Decoder<'b>, context: &mut ()) -> Result<Self, minicbor::decode::Error> {
        match decoder.datatype()? {
            minicbor::data::Type::Array => InodeRow::decode(decoder, context).map(Self::Inode),
            _ => InodeId::decode(decoder, context).map(Self::Reference),
        }
    }
}

/// An extended attribute as it stands in the row of its inode.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Xattr {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) name: Vec<u8>,
    /// Absent if it is long: then it has a row of its own.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) value: Option<Vec<u8>>,
}

/// The value of a long extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct XattrRow {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) value: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Body {
    /// Its other times are in the [`DirectoryRow`]: a new entry then touches no row of the directory above.
    #[n(0)]
    Directory,
    #[n(1)]
    File(#[n(0)] FileBody),
    #[n(2)]
    Symlink(#[n(0)] SymlinkBody),
    #[n(3)]
    Special(#[n(0)] SpecialBody),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SymlinkBody {
    #[n(0)]
    pub(crate) mtime: Timestamp,
    #[n(1)]
    pub(crate) ctime: Timestamp,
    /// 1 to 4095 bytes, never looked into here.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) target: Vec<u8>,
}

/// A fifo, a socket or a device: a name for something on the host that opens it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SpecialBody {
    #[n(0)]
    pub(crate) mtime: Timestamp,
    #[n(1)]
    pub(crate) ctime: Timestamp,
    #[n(2)]
    pub(crate) kind: Kind,
    /// Zero but for devices.
    #[n(3)]
    pub(crate) device: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct FileBody {
    #[n(0)]
    pub(crate) mtime: Timestamp,
    #[n(1)]
    pub(crate) ctime: Timestamp,
    /// The last extent ends here or before: what no extent holds reads as zeros.
    #[n(2)]
    pub(crate) length: ByteSize,
    #[n(3)]
    pub(crate) replication: u8,
    #[n(4)]
    pub(crate) block_size: ByteSize,
    /// Whether there is a lease.
    #[n(5)]
    pub(crate) writing: bool,
    #[n(6)]
    pub(crate) data: Data,
    /// How often the content has changed since the file was made: an etag belongs to one of these.
    #[n(7)]
    #[cbor(default)]
    pub(crate) changes: u64,
}

impl InodeRow {
    /// Something new that has no name yet.
    pub(crate) fn new(inode: InodeId, ownership: Ownership, now: Timestamp, body: Body) -> Self {
        let Ownership { uid, gid, mode, umask } = ownership;
        let withheld = mode & umask.unwrap_or(0);
        Self {
            inode,
            mode: mode & !withheld,
            uid,
            gid,
            atime: now,
            body,
            xattrs: None,
            names: None,
            acl: None,
            default_acl: None,
            withheld: (withheld != 0).then_some(withheld),
        }
    }

    /// The body of what a lease, a block or another row says is a file.
    pub(crate) fn need_file(&self) -> Result<&FileBody, ViewError> {
        match &self.body {
            Body::File(file) => Ok(file),
            Body::Directory | Body::Symlink(_) | Body::Special(_) => Err(self.not_a_file()),
        }
    }

    pub(crate) fn need_file_mut(&mut self) -> Result<&mut FileBody, ViewError> {
        if !matches!(self.body, Body::File(_)) {
            return Err(self.not_a_file());
        }
        match &mut self.body {
            Body::File(file) => Ok(file),
            Body::Directory | Body::Symlink(_) | Body::Special(_) => unreachable!("looked at above"),
        }
    }

    fn not_a_file(&self) -> ViewError {
        ViewError::Row { key: self.inode.to_string(), reason: "something else stands where a file must be".to_owned() }
    }

    /// Times of modification and change; those of a directory are in its [`DirectoryRow`].
    pub(crate) const fn times_mut(&mut self) -> Option<(&mut Timestamp, &mut Timestamp)> {
        match &mut self.body {
            Body::Directory => None,
            Body::File(file) => Some((&mut file.mtime, &mut file.ctime)),
            Body::Symlink(link) => Some((&mut link.mtime, &mut link.ctime)),
            Body::Special(special) => Some((&mut special.mtime, &mut special.ctime)),
        }
    }

    /// Not of a directory.
    pub(crate) const fn set_ctime(&mut self, now: Timestamp) {
        if let Some((_, ctime)) = self.times_mut() {
            *ctime = now;
        }
    }

    /// The number of names.
    pub(crate) fn links(&self) -> u32 {
        self.names.unwrap_or(1)
    }

    /// What `stat` tells; `directory` is the row of a directory.
    pub(crate) fn attributes(&self, directory: Option<&DirectoryRow>) -> Attributes {
        let mut attributes = Attributes {
            inode: self.inode,
            kind: Kind::Directory,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            length: ByteSize::ZERO,
            atime: self.atime,
            mtime: self.atime,
            ctime: self.atime,
            links: self.links(),
            replication: 0,
            block_size: ByteSize::ZERO,
            writing: false,
            usage: directory.map(|row| row.usage),
            quota: directory.and_then(|row| row.quota),
            device: None,
            target: None,
            ttl_nanos: directory.and_then(|row| row.ttl_nanos),
            lists: acl::lists(self),
        };
        if let Some(directory) = directory {
            attributes.mtime = directory.mtime;
            attributes.ctime = directory.ctime;
            // Its name, its `.` and the `..` of each in it. Where that is not known, 1 says so, as in other file systems.
            let known = directory.subdirectories.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
            attributes.links = known.map_or(1, |count| count.saturating_add(2));
        }
        match &self.body {
            Body::Directory => {}
            Body::File(file) => {
                attributes.kind = Kind::File;
                attributes.length = file.length;
                (attributes.mtime, attributes.ctime) = (file.mtime, file.ctime);
                attributes.replication = file.replication;
                attributes.block_size = file.block_size;
                attributes.writing = file.writing;
            }
            Body::Symlink(link) => {
                attributes.kind = Kind::Symlink;
                attributes.length = ByteSize::new(link.target.len() as u64);
                (attributes.mtime, attributes.ctime) = (link.mtime, link.ctime);
                attributes.target = Some(link.target.clone());
            }
            Body::Special(special) => {
                attributes.kind = special.kind;
                (attributes.mtime, attributes.ctime) = (special.mtime, special.ctime);
                attributes.device = (special.device != 0).then_some(special.device);
            }
        }
        attributes
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Data {
    /// Extents over blocks; `next_block` is the number that the next block gets that its writer asks for.
    #[n(0)]
    Blocks {
        #[n(0)]
        next_block: u32,
        /// How many there are.
        #[n(1)]
        extents: u64,
    },
    #[n(1)]
    Inline {
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        content: Vec<u8>,
        /// As for blocks, once the file was opened to be continued; its first block repeats the content, and takes over
        /// when it holds all of it.
        #[n(1)]
        next_block: Option<u32>,
    },
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

/// Bytes of a file that lie in one block. An offset that no extent covers is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ExtentRow {
    #[n(0)]
    pub(crate) block: BlockId,
    /// Zero while the block is being written: its row knows what is visible.
    #[n(1)]
    pub(crate) length: ByteSize,
    #[n(2)]
    pub(crate) block_offset: BlockOffset,
}

/// The right to write a file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct LeaseRow {
    /// [`LeaseRow::RECOVERY`] while the leader ends what an earlier holder left.
    #[n(0)]
    pub(crate) session: SessionId,
    /// The number of the block being written.
    #[n(1)]
    pub(crate) block: Option<u32>,
    /// Blocks committed with fewer replicas than the file asks for at least. Nothing is promised of the file until each
    /// has been copied; absent rather than empty.
    #[n(2)]
    pub(crate) short: Option<Vec<ShortBlock>>,
}

impl LeaseRow {
    /// Holds the lease of a file that is being recovered. No client ever has this session.
    pub(crate) const RECOVERY: SessionId = SessionId::new(0);

    pub(crate) const fn new(session: SessionId) -> Self {
        Self { session, block: None, short: None }
    }

    pub(crate) fn is_recovering(&self) -> bool {
        self.session == Self::RECOVERY
    }
}

/// A committed block that still lacks replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ShortBlock {
    #[n(0)]
    pub(crate) number: u32,
    /// Replicas that it needs before the file may be closed or flushed.
    #[n(1)]
    pub(crate) needed: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SessionRow {
    #[n(0)]
    pub(crate) client: String,
    #[n(1)]
    pub(crate) opened: Timestamp,
    /// Its leases are being released step by step; it can do nothing more.
    #[n(2)]
    pub(crate) ending: bool,
    /// Ranges that it holds locked.
    #[n(3)]
    #[cbor(default)]
    pub(crate) locks: u32,
    /// Files that it has open.
    #[n(4)]
    #[cbor(default)]
    pub(crate) open_files: u32,
}

/// How often a session has a file open; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct HandlesRow {
    #[n(0)]
    pub(crate) count: u32,
}

/// The answer of an operation, kept for retries.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ResultRow {
    #[n(0)]
    pub(crate) sequence: Sequence,
    #[n(1)]
    pub(crate) result: Result<Reply, Error>,
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
