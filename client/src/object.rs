//! What an application sees of the namespace and of the cluster: plain values, with ids of [`types`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::directory_policy::{DirectoryPolicy, Spread};
use serde::{Deserialize, Serialize};
use types::{ByteSize, ClusterId, DiskId, InodeId, Name, NodeId, StorageId, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

/// What `stat` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attributes {
    pub inode: InodeId,
    pub kind: Kind,
    /// Permission bits, including setuid, setgid and sticky; not the file type.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub length: ByteSize,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub links: u32,
    /// Of files: wanted replicas and the longest block; zero for directories.
    pub replication: u8,
    pub block_size: ByteSize,
    /// Whether a writer holds the lease.
    pub writing: bool,
    /// Of directories.
    pub usage: Option<Usage>,
    /// Of directories that have one.
    pub quota: Option<Quota>,
    /// Of directories that have one of their own: how long what is below stays after its last modification.
    pub ttl: Option<Duration>,
    /// Of devices: the number, as its maker encoded it.
    pub device: Option<u64>,
    /// Of symbolic links: where it leads.
    #[serde(skip)]
    pub target: Option<Vec<u8>>,
    /// Whether it has an access control list that says more than the mode.
    pub access_acl: bool,
    /// Of directories: whether what is made in it inherits a list.
    pub default_acl: bool,
    /// Of files: how much of the length is holes. What lives with its inode has none.
    pub holes: ByteSize,
    /// Of files: how replicas are spread over racks; absent: as the cluster does it.
    pub spread: Option<Spread>,
    /// Of directories that say something of the files that are made below.
    pub policy: Option<DirectoryPolicy>,
    /// It has no extended attributes, for sure; access control lists do not count.
    #[serde(skip)]
    pub no_xattrs: bool,
}

impl Attributes {
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }
}

/// Direct entries of a directory, and the sums over everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Usage {
    /// Direct entries.
    pub entries: u64,
    /// Files below, at any depth.
    pub files: u64,
    /// Directories below, at any depth, this one not counted.
    pub directories: u64,
    /// Lengths of those files.
    pub bytes: u64,
    /// Lengths of those files times their wanted replicas.
    pub raw_bytes: u64,
}

/// How a file is continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AppendOptions {
    /// When what is appended counts as safe; the cluster's default if absent.
    pub durability: Option<Durability>,
}

/// Bounds on what lies below a directory; what is absent has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Quota {
    /// Of [`Usage::raw_bytes`].
    pub raw_bytes: Option<u64>,
    /// Of files and directories below together.
    pub inodes: Option<u64>,
}

/// One name of a directory, and what it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    #[serde(serialize_with = "name_as_text")]
    pub name: Name,
    pub attributes: Attributes,
}

fn name_as_text<S: serde::Serializer>(name: &Name, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(name)
}

/// When written bytes count as safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// In the memory of all live members of the pipeline.
    Memory,
    /// `close` returns when they are on the disks of enough datanodes.
    #[default]
    Close,
    /// Every flush is a sync.
    Always,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Close => "close",
            Self::Always => "always",
        })
    }
}

/// A text that should have been a durability level and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a durability level; write memory, close or always")]
pub struct ParseDurabilityError(String);

impl FromStr for Durability {
    type Err = ParseDurabilityError;

    fn from_str(text: &str) -> Result<Self, ParseDurabilityError> {
        match text {
            "memory" => Ok(Self::Memory),
            "close" => Ok(Self::Close),
            "always" => Ok(Self::Always),
            _ => Err(ParseDurabilityError(text.to_owned())),
        }
    }
}

/// What the cluster does unless an open says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Defaults {
    pub replication: u8,
    /// Absent: the leader does not say.
    pub spread: Option<Spread>,
    pub block_size: ByteSize,
    /// A file up to this length lives with its inode.
    pub inline_max: ByteSize,
    /// A file is closed, and a writer goes on, with no fewer replicas than this of a block.
    pub min_replicas: u8,
    pub durability: Durability,
    /// How long what was moved to the trash can be had back; absent: not at all.
    pub trash: Option<Duration>,
    /// A session that is silent for so long is over.
    pub session_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MkdirOptions {
    /// Make missing parents too, and be content with a directory that is there.
    pub parents: bool,
    pub mode: u32,
    /// As in [`CreateOptions`].
    pub umask: u32,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

impl Default for MkdirOptions {
    fn default() -> Self {
        Self { parents: false, mode: 0o755, umask: 0, uid: None, gid: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateOptions {
    /// Replace a file that is there.
    pub overwrite: bool,
    /// Make missing parent directories.
    pub parents: bool,
    pub mode: u32,
    /// Bits that the mode loses, unless the directory has a default access control list: then that decides.
    pub umask: u32,
    /// The client's own user unless given; only the superuser may give another, or a group it is not in.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// What the directory says if absent, or else the cluster's default, as below.
    pub replication: Option<u8>,
    pub block_size: Option<ByteSize>,
    pub durability: Option<Durability>,
    /// The file has no name until it is closed: nobody sees it half-written.
    pub atomic: bool,
    /// Recorded at close instead of the time of closing.
    pub mtime: Option<Timestamp>,
    /// How long the file will be, if known: spares the first block a round trip.
    pub size_hint: Option<u64>,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            overwrite: false,
            parents: false,
            mode: 0o644,
            umask: 0,
            uid: None,
            gid: None,
            replication: None,
            block_size: None,
            durability: None,
            atomic: false,
            mtime: None,
            size_hint: None,
        }
    }
}

/// Attributes to change; what is absent stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttrChange {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Timestamp>,
    pub atime: Option<Timestamp>,
    /// Of files only; copies are made or removed in the background.
    pub replication: Option<u8>,
    /// Both times become the present, unless they are given. Whoever may write may do that.
    pub touch: bool,
    /// One of the times becomes the present. Both together are the same as `touch`.
    pub atime_now: bool,
    pub mtime_now: bool,
}

/// Whether an extended attribute may be there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XattrMode {
    #[default]
    Any,
    /// It must not.
    Create,
    /// It must.
    Replace,
}

/// What one namenode says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// None before the cluster is formatted.
    pub cluster: Option<ClusterId>,
    pub node: NodeId,
    pub term: u64,
    /// The leader as this member knows it.
    pub leader: Option<NodeId>,
    pub commit: u64,
    pub applied: u64,
    pub last_index: u64,
    pub members: Vec<Member>,
    pub files: u64,
    pub directories: u64,
    pub bytes: u64,
    pub blocks: u64,
    pub sessions: u64,
    /// Known by the leader only, as of its last whole scan.
    pub redundancy: Option<Redundancy>,
    pub log: LogStatistics,
    pub datanodes_alive: u32,
    pub datanodes_suspect: u32,
    pub datanodes_dead: u32,
    /// Of the member's directory; none for one that was made by an older program.
    pub disk: Option<DiskId>,
    /// The members that the cluster began with.
    pub founders: Vec<(NodeId, DiskId)>,
    /// Numbers that are not used again.
    pub removed: Vec<NodeId>,
    /// The member's disk does not finish a write.
    pub stalled: bool,
    /// Nothing is changed in the cluster, as this member's state has it.
    pub safe_mode: Option<SafeMode>,
}

/// An operator's word that nothing is to be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SafeMode {
    /// Not known of one that an older program began.
    pub since: Option<Timestamp>,
    /// Who said so, for people.
    pub by: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    pub node: NodeId,
    pub address: String,
    /// The log index known to be there; told by the leader only.
    pub matched: u64,
    pub voter: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Redundancy {
    pub scanned_blocks: u64,
    pub under_replicated: u64,
    pub corrupt_replicas: u64,
    /// Blocks without a live good replica.
    pub missing: u64,
    pub pending_copies: u64,
    pub scan_age: Duration,
}

/// Counters since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct LogStatistics {
    pub syncs: u64,
    pub entries: u64,
    pub commands: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Liveness {
    Alive,
    Suspect,
    Dead,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatanodeReport {
    pub node: NodeId,
    pub host: String,
    pub rack: String,
    /// Where its transfer server listens.
    pub transfer: String,
    pub liveness: Liveness,
    /// How long ago.
    pub last_heartbeat: Duration,
    pub storages: Vec<StorageReport>,
    pub writers: u32,
    pub service: Service,
    /// Told by the leader, once it has looked at all blocks.
    pub tally: Option<Tally>,
    /// It came and went: it gets nothing new for a while.
    pub held: Option<Held>,
}

/// Why a datanode gets nothing new, as long as there are others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Held {
    /// For how long from now.
    pub left: Duration,
    /// How often it came back within the last hour.
    pub returns: u32,
}

/// Whether a datanode takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    InService,
    /// It gets nothing new, and what it has is copied to others.
    Decommissioning,
    /// Nothing needs it any more.
    Decommissioned,
    /// It may be away until then, and nothing is copied for that.
    Maintenance {
        until: Timestamp,
    },
}

/// Blocks of a datanode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Good replicas that it has.
    pub replicas: u64,
    /// Blocks of which no other datanode has a good replica that can be read.
    pub last: u64,
    /// Of one that is to leave, blocks that need it: those under construction or allocated for a writer,
    pub written: u64,
    /// those that wait for a copy,
    pub waiting: u64,
    /// those of which no datanode that stays can take a copy,
    pub no_target: u64,
    /// and those of which no replica can be read.
    pub no_source: u64,
}

impl Tally {
    /// Blocks that need a datanode that is to leave.
    pub const fn left(&self) -> u64 {
        self.written + self.waiting + self.no_target + self.no_source
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StorageReport {
    pub storage: StorageId,
    pub capacity: ByteSize,
    /// By replicas.
    pub used: ByteSize,
    /// Of the file system.
    pub free: ByteSize,
    pub replicas: u64,
    pub failed: bool,
    /// Since the byte was read and checked that has waited longest; zero for an empty volume.
    pub oldest_unverified: Duration,
    /// The last pass of the scrubber that was asked for.
    pub scrub: Option<ScrubPass>,
}

/// How far a pass of the scrubber over a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ScrubPass {
    pub pass: u64,
    pub checked: ByteSize,
    /// All that is there now.
    pub bytes: ByteSize,
    /// Damaged replicas found since it began.
    pub bad: u64,
    pub ended: bool,
}

/// How a file is opened that is to live until it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HandleOptions {
    /// Rights that the user must have.
    pub read: bool,
    pub write: bool,
    /// Make an empty file if nothing is there.
    pub create: Option<NewHandleFile>,
}

/// A file to make while opening it; what is absent is the user's or the cluster's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewHandleFile {
    pub mode: u32,
    /// As in [`CreateOptions`].
    pub umask: u32,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub replication: Option<u8>,
    pub block_size: Option<ByteSize>,
    /// Nothing may be there.
    pub exclusive: bool,
}

/// What a special file gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeOptions {
    pub mode: u32,
    /// As in [`CreateOptions`].
    pub umask: u32,
    /// The number of a device, as its maker encodes it.
    pub device: u64,
}

/// Locks of fcntl(2) and of flock(2) know nothing of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockFamily {
    Ranges,
    Whole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    Read,
    Write,
}

/// What is to be locked, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockRequest {
    /// One of the client's, such as a process or an open file.
    pub owner: u64,
    pub family: LockFamily,
    /// Of ranges: the first byte and the last, which is included; `u64::MAX`: however long the file gets.
    pub first: u64,
    pub last: u64,
    /// None: unlock.
    pub kind: Option<LockKind>,
    /// Told to those whom the lock stops.
    pub pid: u32,
}

/// A lock of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLock {
    pub session: types::SessionId,
    pub owner: u64,
    pub first: u64,
    pub last: u64,
    pub kind: LockKind,
    pub pid: u32,
}
