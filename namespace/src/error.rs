//! Why a command or a query was refused.

mod code;

use minicbor::{Decode, Encode};
use types::{
    BlockId, ByteSize, ClusterId, GenStamp, InodeId, JobId, NodeId, PathError, Sequence, SessionId, StorageId,
    Timestamp, TrashId,
};

use crate::access::Right;
use crate::command::Where;
use crate::lock::{HeldLock, LockRange};
use crate::quota::Counted;
use crate::row::Kind;
use crate::view::ViewError;

/// A refusal, with the thing it is about and the way out. Stored with the session like any other answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum Error {
    #[error("the cluster is not formatted yet; retry once its first leader has done so")]
    #[n(0)]
    NotFormatted,
    #[error("this cluster is formatted already, as {cluster}; a second one needs its own directories")]
    #[n(1)]
    AlreadyFormatted {
        #[n(0)]
        cluster: ClusterId,
    },
    #[error("{path:?} is not a path of the namespace: {reason}")]
    #[n(2)]
    InvalidPath {
        #[n(0)]
        path: String,
        #[n(1)]
        reason: String,
    },
    #[error("{path:?} is too long: {reason}")]
    #[n(3)]
    NameTooLong {
        #[n(0)]
        path: String,
        #[n(1)]
        reason: String,
    },
    #[error("{place}: no such file or directory")]
    #[n(4)]
    NotFound {
        #[n(0)]
        place: String,
    },
    #[error("{place} is not a directory")]
    #[n(5)]
    NotDirectory {
        #[n(0)]
        place: String,
    },
    #[error("{place} is a directory; name a file")]
    #[n(6)]
    IsDirectory {
        #[n(0)]
        place: String,
    },
    #[error("{place} exists already; ask to overwrite it, or choose another name")]
    #[n(7)]
    Exists {
        #[n(0)]
        place: String,
    },
    #[error("the directory {place} is not empty; delete it recursively, or empty it first")]
    #[n(8)]
    NotEmpty {
        #[n(0)]
        place: String,
    },
    #[error("the directory {from} cannot move to {to}, which lies inside it")]
    #[n(9)]
    Cycle {
        #[n(0)]
        from: String,
        #[n(1)]
        to: String,
    },
    #[error("the root directory can be neither moved, removed nor replaced")]
    #[n(10)]
    RootFixed,
    #[error(
        "{place} is being written by {holder}{}; retry when that writer has closed it, or take the file from it with `ashlar fs recover`",
        until(*soft_limit)
    )]
    #[n(11)]
    LeaseHeld {
        #[n(0)]
        place: String,
        #[n(1)]
        holder: SessionId,
        /// From when on another writer may take over, if the holder is not heard again; absent where nobody asked to.
        #[n(2)]
        soft_limit: Option<Timestamp>,
    },
    #[error("{inode} is not open for writing by this session: it was closed, removed or taken over; open it again")]
    #[n(12)]
    LeaseLost {
        #[n(0)]
        inode: InodeId,
    },
    #[error("{session} is over; open a new session, and open files again")]
    #[n(13)]
    SessionExpired {
        #[n(0)]
        session: SessionId,
    },
    #[error("this operation belongs to a session, and none was given; open one and number the operation")]
    #[n(14)]
    SessionNeeded,
    #[error(
        "{sequence} of {session} is out of order: {stored} has taken its place; number operations from 1 without gaps"
    )]
    #[n(15)]
    BadSequence {
        #[n(0)]
        session: SessionId,
        #[n(1)]
        sequence: Sequence,
        #[n(2)]
        stored: Sequence,
    },
    #[error(
        "{block} is at {current}, not {given}: its writer was overtaken, or it was recovered; ask for its state again"
    )]
    #[n(16)]
    StaleGeneration {
        #[n(0)]
        block: BlockId,
        #[n(1)]
        given: GenStamp,
        #[n(2)]
        current: GenStamp,
    },
    #[error("there is no {block}; its file was removed, or the block abandoned")]
    #[n(17)]
    NoSuchBlock {
        #[n(0)]
        block: BlockId,
    },
    #[error("{block} is not the block being written of its file; only that one can be changed")]
    #[n(18)]
    NotLastBlock {
        #[n(0)]
        block: BlockId,
    },
    #[error("{block} is still being written; say how it ends, or abandon it, first")]
    #[n(19)]
    BlockOpen {
        #[n(0)]
        block: BlockId,
    },
    #[error("{block} has {length} visible to readers already and cannot be dropped or made shorter; complete the file")]
    #[n(20)]
    BlockVisible {
        #[n(0)]
        block: BlockId,
        #[n(1)]
        length: ByteSize,
    },
    #[error("{block} cannot be {length} long: blocks of this file hold 1B to {limit}")]
    #[n(21)]
    BlockLength {
        #[n(0)]
        block: BlockId,
        #[n(1)]
        length: ByteSize,
        #[n(2)]
        limit: ByteSize,
    },
    #[error("{storage} is not in the pipeline of {block}; name replicas that the block was given")]
    #[n(22)]
    UnknownReplica {
        #[n(0)]
        block: BlockId,
        #[n(1)]
        storage: StorageId,
    },
    #[error("{block} is finished on {finished} storages and {needed} are needed; finish it on more, or write it again")]
    #[n(23)]
    NotEnoughReplicas {
        #[n(0)]
        block: BlockId,
        #[n(1)]
        finished: u32,
        #[n(2)]
        needed: u32,
    },
    #[error(
        "targets for a block of {inode} are missing, too many, or name a node twice; choose 1 to {limit} distinct nodes"
    )]
    #[n(24)]
    BadTargets {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        limit: u32,
    },
    #[error("a replication of {replication} is not possible; choose 1 to {limit}")]
    #[n(25)]
    BadReplication {
        #[n(0)]
        replication: u8,
        #[n(1)]
        limit: u8,
    },
    #[error("a block size of {block_size} is not possible; choose 1B to {limit}")]
    #[n(26)]
    BadBlockSize {
        #[n(0)]
        block_size: ByteSize,
        #[n(1)]
        limit: ByteSize,
    },
    #[error("the mode {mode:#o} has bits beyond the permissions; use at most 0o7777")]
    #[n(27)]
    BadMode {
        #[n(0)]
        mode: u32,
    },
    #[error("{length} is too much for a file stored inline, which holds {limit}; write it as blocks")]
    #[n(28)]
    InlineTooLarge {
        #[n(0)]
        length: ByteSize,
        #[n(1)]
        limit: ByteSize,
    },
    #[error(
        "{place} has more than {limit} blocks, too many to change at once; copy it with the new replication instead"
    )]
    #[n(29)]
    TooManyBlocks {
        #[n(0)]
        place: String,
        #[n(1)]
        limit: u32,
    },
    #[error("{inode} has a name already; complete it without another one, and rename it")]
    #[n(30)]
    AlreadyNamed {
        #[n(0)]
        inode: InodeId,
    },
    #[error("{inode} has no name yet; say where to publish it, or abandon it")]
    #[n(31)]
    NameNeeded {
        #[n(0)]
        inode: InodeId,
    },
    #[error("the replica of {block} on {storage} stays: no good one would be left")]
    #[n(32)]
    LastReplica {
        #[n(0)]
        block: BlockId,
        #[n(1)]
        storage: StorageId,
    },
    #[error(
        "a replica of {block} cannot be added on {storage} while an older one is listed there; wait until that is deleted"
    )]
    #[n(33)]
    ReplicaInTheWay {
        #[n(0)]
        block: BlockId,
        #[n(1)]
        storage: StorageId,
    },
    #[error("{storage} belongs to {owner}; a disk is served by one datanode: remove it, or its copy, from the other")]
    #[n(34)]
    StorageTaken {
        #[n(0)]
        storage: StorageId,
        #[n(1)]
        owner: NodeId,
    },
    #[error(
        "a datanode must have 1 to {storages} distinct storages, and host, address and rack of at most {text} bytes"
    )]
    #[n(35)]
    BadNode {
        #[n(0)]
        storages: u32,
        #[n(1)]
        text: u32,
    },
    #[error("the name of the client has {length} bytes; at most {limit} are kept")]
    #[n(36)]
    ClientNameTooLong {
        #[n(0)]
        length: u32,
        #[n(1)]
        limit: u32,
    },
    #[error("{inode} would be longer than {limit}; continue in another file")]
    #[n(37)]
    FileTooLarge {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        limit: ByteSize,
    },
    #[error("{place}: permission denied: uid {uid} has no {right} there")]
    #[n(38)]
    AccessDenied {
        #[n(0)]
        place: String,
        #[n(1)]
        uid: u32,
        #[n(2)]
        right: Right,
    },
    #[error("{place}: operation not permitted: uid {uid} is neither its owner nor the superuser")]
    #[n(39)]
    NotOwner {
        #[n(0)]
        place: String,
        #[n(1)]
        uid: u32,
    },
    #[error(
        "{place}: operation not permitted: only the superuser gives it to another user, and only its owner to a group of its own; uid {uid} may not"
    )]
    #[n(40)]
    OwnerFixed {
        #[n(0)]
        place: String,
        #[n(1)]
        uid: u32,
    },
    #[error("{place}: operation not permitted: its directory is sticky, and uid {uid} owns neither of them")]
    #[n(41)]
    Sticky {
        #[n(0)]
        place: String,
        #[n(1)]
        uid: u32,
    },
    #[error(
        "{place} has more than {limit} entries below, too many to check the right to remove each; remove its parts"
    )]
    #[n(42)]
    TreeTooLarge {
        #[n(0)]
        place: String,
        #[n(1)]
        limit: u32,
    },
    #[error("{place}: operation not permitted: only the superuser does this, and not uid {uid}")]
    #[n(43)]
    OnlySuperuser {
        #[n(0)]
        place: String,
        #[n(1)]
        uid: u32,
    },
    #[error("there is no bucket {bucket}; make it first")]
    #[n(90)]
    NoSuchBucket {
        #[n(0)]
        bucket: String,
    },
    #[error("{place}: what is there is not what the condition asks for; look at it, and decide again")]
    #[n(91)]
    PreconditionFailed {
        #[n(0)]
        place: String,
    },
    #[error("{key:?} cannot be a key here: {reason}; keys are paths below the bucket")]
    #[n(92)]
    BadKey {
        #[n(0)]
        key: String,
        #[n(1)]
        reason: String,
    },
    #[error(
        "{bucket:?} cannot be the name of a bucket; write 3 to 63 of a-z, 0-9, '-' and '.', a letter or digit at both ends"
    )]
    #[n(93)]
    BadBucketName {
        #[n(0)]
        bucket: String,
    },
    #[error("{id:?} cannot be stored as an access key; its name has 3 to 128 of A-Z, a-z, 0-9, '_', '-' and '.'")]
    #[n(94)]
    BadAccessKey {
        #[n(0)]
        id: String,
    },
    #[error(
        "{place}: quota exceeded: {needed} {counted} would be below it, and {limit} are allowed; remove some, or have the quota raised"
    )]
    #[n(44)]
    QuotaExceeded {
        #[n(0)]
        place: String,
        #[n(1)]
        counted: Counted,
        #[n(2)]
        limit: u64,
        #[n(3)]
        needed: u64,
    },
    #[error("{name:?} is no name for an attribute; write up to 255 bytes that begin with user., trusted. or security.")]
    #[n(45)]
    XattrName {
        #[n(0)]
        name: String,
    },
    #[error("{place}: the attribute {name} is longer than {limit} bytes; store it as a file")]
    #[n(46)]
    XattrTooLarge {
        #[n(0)]
        place: String,
        #[n(1)]
        name: String,
        #[n(2)]
        limit: u64,
    },
    #[error("{place}: has the attribute {name} already")]
    #[n(47)]
    XattrExists {
        #[n(0)]
        place: String,
        #[n(1)]
        name: String,
    },
    #[error("{place}: has no attribute {name}")]
    #[n(48)]
    NoXattr {
        #[n(0)]
        place: String,
        #[n(1)]
        name: String,
    },
    #[error("{place}: has {limit} attributes, and no room for more; remove one")]
    #[n(49)]
    TooManyXattrs {
        #[n(0)]
        place: String,
        #[n(1)]
        limit: u32,
    },
    /// What the caller needs to go on by itself: of `place`, the first `names` names lead to a symbolic link.
    #[error(
        "{}: is a symbolic link to {}, which nobody followed; name what it leads to",
        crate::resolve::show(place),
        String::from_utf8_lossy(target)
    )]
    #[n(50)]
    SymlinkOnTheWay {
        #[n(0)]
        place: Where,
        #[n(1)]
        names: u32,
        #[n(2)]
        #[cbor(with = "minicbor::bytes")]
        target: Vec<u8>,
    },
    #[error("a symbolic link cannot lead to {length} bytes; write 1 to {limit}, and no zero among them")]
    #[n(51)]
    BadTarget {
        #[n(0)]
        length: u64,
        #[n(1)]
        limit: u64,
    },
    #[error("{place}: holds no bytes; it is a symbolic link, a fifo, a socket or a device")]
    #[n(52)]
    NotAFile {
        #[n(0)]
        place: String,
    },
    #[error("{place}: has {limit} names, as many as one file may have; copy it")]
    #[n(53)]
    TooManyLinks {
        #[n(0)]
        place: String,
        #[n(1)]
        limit: u32,
    },
    #[error("{place}: operation not permitted: a directory has one name; make a symbolic link to it")]
    #[n(54)]
    LinkDirectory {
        #[n(0)]
        place: String,
    },
    #[error("a {kind:?} cannot be made here; name a fifo, a socket, or a device with its number")]
    #[n(55)]
    BadKind {
        #[n(0)]
        kind: Kind,
    },
    #[error("{place}: operation not permitted: only files and directories have attributes of users")]
    #[n(56)]
    UserXattr {
        #[n(0)]
        place: String,
    },
    #[error("{place}: the access control list makes no sense: {reason}")]
    #[n(100)]
    BadAcl {
        #[n(0)]
        place: String,
        #[n(1)]
        reason: String,
    },
    #[error("{place}: a symbolic link has no access control list; name what it leads to")]
    #[n(101)]
    AclOfSymlink {
        #[n(0)]
        place: String,
    },
    #[error("{place}: permission denied: only a directory has a default access control list")]
    #[n(102)]
    DefaultAclOfFile {
        #[n(0)]
        place: String,
    },
    #[error("{inode} is locked: {} has a {} lock on the bytes {}", .held.owner.session, .held.kind, .held.range)]
    #[n(70)]
    LockConflict {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        held: HeldLock,
    },
    #[error("the bytes {range} are no range; the last comes after the first")]
    #[n(71)]
    BadLockRange {
        #[n(0)]
        range: LockRange,
    },
    #[error("{inode} has {limit} locks, and no room for more; unlock some, or lock longer ranges")]
    #[n(72)]
    TooManyLocks {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        limit: u32,
    },
    #[error("{session} holds {limit} locks and can hold no more; unlock some")]
    #[n(73)]
    TooManyLocksHeld {
        #[n(0)]
        session: SessionId,
        #[n(1)]
        limit: u32,
    },
    #[error("{session} has {limit} files open and can open no more; close some")]
    #[n(74)]
    TooManyOpen {
        #[n(0)]
        session: SessionId,
        #[n(1)]
        limit: u32,
    },
    #[error("{session} has {inode} not open, or not so often")]
    #[n(75)]
    NotOpen {
        #[n(0)]
        session: SessionId,
        #[n(1)]
        inode: InodeId,
    },
    #[error("one request notes at most {limit} reads; send several")]
    #[n(180)]
    TooManyNoted {
        #[n(0)]
        limit: u32,
    },
    #[error("one request closes at most {limit} files; send several")]
    #[n(76)]
    TooManyClosed {
        #[n(0)]
        limit: u32,
    },
    #[error(
        "{block} is not one that this session allocated in advance: it is used, released or another's; allocate one"
    )]
    #[n(60)]
    NotPending {
        #[n(0)]
        block: BlockId,
    },
    #[error("{session} would hold more than {limit} blocks allocated in advance; use or release some")]
    #[n(61)]
    TooManyPending {
        #[n(0)]
        session: SessionId,
        #[n(1)]
        limit: u32,
    },
    #[error("{count} blocks cannot be allocated or released at once; ask for 1 to {limit}")]
    #[n(62)]
    BadAllocation {
        #[n(0)]
        count: u32,
        #[n(1)]
        limit: u32,
    },
    #[error(
        "{inode} has more than {limit} extents in the range, too many for one step; change parts of the range first"
    )]
    #[n(63)]
    TooManyExtents {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        limit: u32,
    },
    #[error("{inode} stores its first {length} inline, where no block can follow; write those anew, in a block")]
    #[n(64)]
    InlineInTheWay {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        length: ByteSize,
    },
    #[error("{inode} is stored in blocks and takes no bytes; write them into a block first")]
    #[n(65)]
    StoredInBlocks {
        #[n(0)]
        inode: InodeId,
    },
    #[error(
        "the edits of {inode} make no sense: bring 1 to {limit}, in order and apart, all bytes or all of blocks that come with them, each block used"
    )]
    #[n(66)]
    BadEdits {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        limit: u32,
    },
    #[error("a range of {inode} cannot be cloned onto itself; choose one apart from it")]
    #[n(67)]
    RangesOverlap {
        #[n(0)]
        inode: InodeId,
    },
    #[error("{inode} is open or has several names, and cannot go into another file; clone it, and remove it")]
    #[n(69)]
    SourceShared {
        #[n(0)]
        inode: InodeId,
    },
    #[error("{inode} takes 1 to {limit} other files at its end; name so many, and not itself")]
    #[n(68)]
    BadSources {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        limit: u32,
    },
    #[error("{place}: a time to live is at least {}; give a longer one", nanos(*least_nanos))]
    #[n(106)]
    BadTtl {
        #[n(0)]
        place: String,
        #[n(1)]
        least_nanos: u64,
    },
    #[error("{count} things cannot be removed at once for their age; name at most {limit}")]
    #[n(107)]
    TooManyAged {
        #[n(0)]
        count: u64,
        #[n(1)]
        limit: u32,
    },
    #[error("there is no datanode {}; see ashlar admin report", node.get())]
    #[n(108)]
    UnknownNode {
        #[n(0)]
        node: NodeId,
    },
    #[error("datanode {} is the last one in service and cannot leave; add another one first", node.get())]
    #[n(109)]
    LastInService {
        #[n(0)]
        node: NodeId,
    },
    #[error("there is no {job}; see ashlar admin job ls")]
    #[n(240)]
    UnknownJob {
        #[n(0)]
        job: JobId,
    },
    #[error("{job} has ended already; see ashlar admin job show {}", job.get())]
    #[n(241)]
    JobEnded {
        #[n(0)]
        job: JobId,
    },
    #[error("{job} is a {kind} that is under way; wait for it, or cancel it")]
    #[n(242)]
    JobUnderWay {
        #[n(0)]
        job: JobId,
        #[n(1)]
        kind: String,
    },
    #[error("{limit} jobs are under way; wait for one of them, or cancel one")]
    #[n(243)]
    TooManyJobs {
        #[n(0)]
        limit: u32,
    },
    #[error("{job} is a {kind}, which cannot be paused; cancel it, or let it go on")]
    #[n(244)]
    JobNeverPauses {
        #[n(0)]
        job: JobId,
        #[n(1)]
        kind: String,
    },
    #[error("{job} is a {kind}, which ends by itself and cannot be cancelled")]
    #[n(245)]
    JobNeverStops {
        #[n(0)]
        job: JobId,
        #[n(1)]
        kind: String,
    },
    #[error("a {kind} begins with what is said of the datanode, not by itself")]
    #[n(246)]
    JobOfService {
        #[n(0)]
        kind: String,
    },
    #[error(
        "a balance within {threshold_permille} parts of a thousand at {bandwidth} in a second makes no sense; choose 0.1% to 100%, and 1MiB or more"
    )]
    #[n(247)]
    BadBalance {
        #[n(0)]
        threshold_permille: u32,
        #[n(1)]
        bandwidth: ByteSize,
    },
    #[error("user {name} cannot be that: {reason}")]
    #[n(249)]
    BadUser {
        #[n(0)]
        name: String,
        #[n(1)]
        reason: String,
    },
    #[error("user {name} has {keys} access keys; remove them first, or with it")]
    #[n(250)]
    UserHasKeys {
        #[n(0)]
        name: String,
        #[n(1)]
        keys: u32,
    },
    #[error("there are {limit} users; remove some")]
    #[n(251)]
    TooManyUsers {
        #[n(0)]
        limit: u32,
    },
    #[error("user {name} has {limit} access keys; remove some")]
    #[n(252)]
    TooManyUserKeys {
        #[n(0)]
        name: String,
        #[n(1)]
        limit: u32,
    },
    #[error("{policy} cannot be that: {reason}")]
    #[n(248)]
    BadPolicy {
        #[n(0)]
        policy: String,
        #[n(1)]
        reason: String,
    },
    #[error("there is no {item} of uid {uid} in the trash: it was restored, removed, or its time was over")]
    #[n(105)]
    NoSuchTrash {
        #[n(0)]
        uid: u32,
        #[n(1)]
        item: TrashId,
    },
    #[error("{place}: there is no such upload; it was completed, aborted, or never begun")]
    #[n(115)]
    NoSuchUpload {
        #[n(0)]
        place: String,
    },
    #[error("{number} is no number of a part; choose 1 to {limit}")]
    #[n(116)]
    BadPartNumber {
        #[n(0)]
        number: u16,
        #[n(1)]
        limit: u16,
    },
    #[error("part {number} is not there, or not as it was; list the parts, and put it again if need be")]
    #[n(117)]
    NoSuchPart {
        #[n(0)]
        number: u16,
    },
    #[error("an object is made of 1 to {limit} parts in the order of their numbers; name them so")]
    #[n(118)]
    BadParts {
        #[n(0)]
        limit: u16,
    },
    #[error("{place}: has changed since it was looked at; look again")]
    #[n(119)]
    SourceChanged {
        #[n(0)]
        place: String,
    },
    #[error("{place} is being recovered after its writer was lost; retry in a moment")]
    #[n(80)]
    BeingRecovered {
        #[n(0)]
        place: String,
    },
    #[error(
        "{place} has {length} kept with its inode, more than one of its blocks of {block_size} holds, and cannot be continued; write it again"
    )]
    #[n(81)]
    InlineBeyondBlock {
        #[n(0)]
        place: String,
        #[n(1)]
        length: ByteSize,
        #[n(2)]
        block_size: ByteSize,
    },
    #[error("most of what was to be joined in {inode} is not there any more: it was written over; plan anew")]
    #[n(82)]
    ExtentsReplaced {
        #[n(0)]
        inode: InodeId,
    },
    #[error(
        "the parts of {inode} to be joined make no sense: bring 1 to {limit}, one behind the other, that fill the block"
    )]
    #[n(83)]
    BadJoin {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        limit: u32,
    },
}

/// When the soft limit of a lease ends, for a message.
fn until(soft_limit: Option<Timestamp>) -> String {
    soft_limit.map_or_else(String::new, |end| {
        let end = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(end.nanos());
        format!(", whose soft limit ends at {}", humantime::format_rfc3339_seconds(end))
    })
}

fn nanos(nanos: u64) -> humantime::FormattedDuration {
    humantime::format_duration(std::time::Duration::from_nanos(nanos))
}

impl Error {
    /// The refusal of a path that does not parse.
    pub(crate) fn path(bytes: &[u8], reason: &PathError) -> Self {
        /// Enough of a wrong path to recognise it.
        const SHOWN: usize = 200;
        let path = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
        match reason {
            PathError::PathTooLong { .. } | PathError::NameTooLong { .. } => {
                Self::NameTooLong { path, reason: reason.to_string() }
            }
            PathError::EmptyName | PathError::DotName { .. } | PathError::BadByte => {
                Self::InvalidPath { path, reason: reason.to_string() }
            }
        }
    }
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error(transparent)]
    Refused(Error),
    #[error(transparent)]
    View(ViewError),
}

impl From<Error> for QueryError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<ViewError> for QueryError {
    fn from(error: ViewError) -> Self {
        Self::View(error)
    }
}
