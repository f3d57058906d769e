//! What can be asked of the state machine, and what it answers.
//!
//! These types are the content of the Raft log: they are stored as CBOR arrays by field number (see
//! `docs/formats/log.md`). A field may be added with a new number and must then be optional; a number never changes its
//! meaning. Everything that the state machine must not find out for itself (the time, who asks, which datanodes were
//! chosen) is in the command: the same log gives the same state on every member.

mod arguments;
mod reply;

use minicbor::{Decode, Encode};
use types::token::Secret;
use types::{BlockId, GenStamp, InodeId, NodeId, Sequence, SessionId, StorageId, Timestamp, TrashId};

use crate::access_key::AccessKeyRow;
use crate::ageing::Aged;
use crate::bucket::{BucketSetting, Condition};
use crate::directory_policy::DirectorySetting;
use crate::job::JobOrder;
use crate::lock::LockWish;
use crate::policy::Policy;
use crate::row::{BlockLocation, Kind, NodeRow, Quota, Service};
use crate::user::UserOrder;

pub use crate::publication::{Attribute, Content, KeyRename, Publication, Source};
pub use crate::upload::{Completion, NewPart, PartContent, PartName, UploadName};
pub use arguments::{
    AttrChange, BlockDone, ClosedHandles, ContentTerms, DeletedReplica, Destination, Edit, HandleRights, Holder,
    Joined, Layout, NewOpenFile, NotedRead, Ownership, TimeKind, Unlisted, Where, XattrMode,
};
pub use reply::{NewBlock, Reply};

/// One command as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Request {
    /// The leader's wall clock when it proposed this; `apply` never lets it run backwards.
    #[n(0)]
    pub time: Timestamp,
    /// The session and sequence number of a client's operation. A retry carries the same pair and gets the same
    /// answer; the leader's own duties have none and are written so that applying one twice is harmless.
    #[n(1)]
    pub origin: Option<Origin>,
    #[n(2)]
    pub command: Command,
    /// Who asks; the system itself if absent, which may do everything.
    #[n(3)]
    pub principal: Option<Principal>,
}

/// A user and the groups it is in. Uid 0 is the superuser, and so is everybody in the supergroup.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Principal {
    #[n(0)]
    pub uid: u32,
    #[n(1)]
    pub gid: u32,
    /// The others, in any order; `gid` may be among them.
    #[n(2)]
    pub groups: Vec<u32>,
}

impl Principal {
    pub(crate) fn is_in(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Origin {
    #[n(0)]
    pub session: SessionId,
    #[n(1)]
    pub sequence: Sequence,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Nothing: a new leader's first entry.
    #[n(0)]
    Noop,
    #[n(1)]
    OpenSession {
        /// For people: host, process, kind of client.
        #[n(0)]
        client: String,
    },
    /// The client leaves in order: its leases are released as for an expired session, but at once.
    #[n(2)]
    CloseSession {
        #[n(0)]
        session: SessionId,
    },
    /// The leader's: ends what is left of a silent session, at most `limit` leases at a time.
    #[n(3)]
    ExpireSession {
        #[n(0)]
        session: SessionId,
        #[n(1)]
        limit: u32,
    },
    #[n(4)]
    Mkdir {
        #[n(0)]
        place: Where,
        #[n(1)]
        ownership: Ownership,
        /// Make missing parents too, and be content with a directory that is there.
        #[n(2)]
        parents: bool,
    },
    /// Opens a new file for writing under the session's lease.
    #[n(5)]
    Create {
        /// Where it appears at once, empty; none for a file that gets its name when it is complete.
        #[n(0)]
        destination: Option<Destination>,
        #[n(1)]
        ownership: Ownership,
        #[n(2)]
        layout: Layout,
        /// Targets of the first block, which spares an `AddBlock`; empty for none.
        #[n(3)]
        targets: Vec<BlockLocation>,
    },
    /// A whole small file in one command; its content lives in the inode row.
    #[n(6)]
    PutInline {
        #[n(0)]
        destination: Destination,
        #[n(1)]
        ownership: Ownership,
        #[n(2)]
        layout: Layout,
        #[n(3)]
        #[cbor(with = "minicbor::bytes")]
        content: Vec<u8>,
        #[n(4)]
        mtime: Option<Timestamp>,
    },
    /// Commits the block that was being written, if any, and begins the next.
    #[n(7)]
    AddBlock {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        previous: Option<BlockDone>,
        #[n(2)]
        targets: Vec<BlockLocation>,
        /// A block with fewer finished replicas is not committed.
        #[n(3)]
        min_replicas: u8,
    },
    /// Makes the first `length` bytes of the block being written visible to new readers.
    #[n(8)]
    Extend {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        written: BlockDone,
    },
    /// The pipeline of a block lost a member: a new generation for the survivors.
    #[n(9)]
    NextGeneration {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        block: BlockId,
        /// The generation that the writer knows; another one means that it has been overtaken.
        #[n(2)]
        generation: GenStamp,
        #[n(3)]
        survivors: Vec<StorageId>,
    },
    /// Drops the block being written, whose pipeline never came up, so that `AddBlock` can choose others.
    #[n(10)]
    AbandonBlock {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        block: BlockId,
    },
    /// Closes a file: commits its last block, gives up the lease, and names it if it had no name.
    #[n(11)]
    Complete {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        last: Option<BlockDone>,
        #[n(2)]
        min_replicas: u8,
        /// For a file without a name only.
        #[n(3)]
        publish: Option<Destination>,
        /// The modification time to record, instead of the time of the command.
        #[n(4)]
        mtime: Option<Timestamp>,
    },
    /// Gives up a file without a name: it and its blocks go.
    #[n(12)]
    Abandon {
        #[n(0)]
        inode: InodeId,
    },
    #[n(13)]
    Rename {
        #[n(0)]
        from: Where,
        #[n(1)]
        to: Where,
        /// Replace a file, or an empty directory by a directory, as rename(2) does.
        #[n(2)]
        overwrite: bool,
    },
    /// Detaches an object in one step; what it held goes in bounded `GcStep`s.
    #[n(14)]
    Delete {
        #[n(0)]
        place: Where,
        /// Without it, a directory must be empty.
        #[n(1)]
        recursive: bool,
    },
    /// The leader's: frees at most `limit` entries or blocks of what was removed. `grace` is how long the replicas
    /// stay on disk after that, but for those of files that never had a name.
    #[n(15)]
    GcStep {
        #[n(0)]
        limit: u32,
        #[n(1)]
        grace_nanos: u64,
    },
    #[n(16)]
    SetAttr {
        #[n(0)]
        place: Where,
        #[n(1)]
        change: AttrChange,
    },
    /// The leader's: a datanode came up, moved or got other disks. Recognised by its storages, else a new node.
    #[n(17)]
    RegisterDatanode {
        #[n(0)]
        node: NodeRow,
    },
    /// The leader's: a copy of a block was made and read back.
    #[n(18)]
    AddReplica {
        #[n(0)]
        block: BlockId,
        #[n(1)]
        generation: GenStamp,
        #[n(2)]
        location: BlockLocation,
    },
    /// The leader's: a replica is damaged, lost or one too many. Refused for the last one: that stays listed.
    #[n(19)]
    RemoveReplica {
        #[n(0)]
        block: BlockId,
        #[n(1)]
        generation: GenStamp,
        #[n(2)]
        storage: StorageId,
    },
    /// Marks a replica as damaged; it is not read or counted any more, and goes once enough good ones exist.
    #[n(20)]
    ReportBadReplica {
        #[n(0)]
        block: BlockId,
        #[n(1)]
        generation: GenStamp,
        #[n(2)]
        storage: StorageId,
    },
    /// The leader's: these replicas are gone from the disk; the record of the duty goes too.
    #[n(21)]
    ReplicasDeleted {
        #[n(0)]
        storage: StorageId,
        #[n(1)]
        replicas: Vec<DeletedReplica>,
    },
    /// The leader's: a datanode has these replicas and no block lists them there. They leave the disk: at once where their
    /// block has enough others, and after `grace` where the block is gone. What is listed after all stays.
    #[n(65)]
    DropUnlisted {
        #[n(0)]
        location: BlockLocation,
        #[n(1)]
        replicas: Vec<Unlisted>,
        #[n(2)]
        grace_nanos: u64,
    },
    /// The first command of a cluster: its id and the root directory.
    #[n(22)]
    Format {
        #[n(0)]
        cluster: types::ClusterId,
        /// Uid and gid of the root directory; absent: the superuser's.
        #[n(1)]
        owner: Option<(u32, u32)>,
    },
    /// Puts each of two objects in the place of the other, of whatever kind they are.
    #[n(23)]
    Exchange {
        #[n(0)]
        first: Where,
        #[n(1)]
        second: Where,
    },
    /// Bounds what lies below a directory, in place of earlier bounds. Only the superuser does. It may be less than what
    /// is there: then nothing can be added.
    #[n(24)]
    SetQuota {
        #[n(0)]
        place: Where,
        #[n(1)]
        quota: Quota,
    },
    #[n(25)]
    SetXattr {
        #[n(0)]
        place: Where,
        /// Begins with `user.`, `trusted.` or `security.`, or is that of an access control list.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        name: Vec<u8>,
        #[n(2)]
        #[cbor(with = "minicbor::bytes")]
        value: Vec<u8>,
        #[n(3)]
        mode: XattrMode,
    },
    #[n(26)]
    RemoveXattr {
        #[n(0)]
        place: Where,
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        name: Vec<u8>,
    },
    /// Puts an object at its key, in place of one that is there.
    #[n(70)]
    Publish {
        #[n(0)]
        publication: Publication,
    },
    /// Removes the object at a key, and implicit directories that it leaves empty.
    #[n(71)]
    DeleteKey {
        #[n(0)]
        bucket: String,
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        key: Vec<u8>,
        #[n(2)]
        condition: Option<Condition>,
    },
    /// Moves the object at a key to another key.
    #[n(200)]
    RenameKey {
        #[n(0)]
        rename: KeyRename,
    },
    /// Makes a directory a bucket; the directory is made if it is not there.
    #[n(72)]
    CreateBucket {
        #[n(0)]
        bucket: String,
        #[n(1)]
        place: Where,
        #[n(2)]
        ownership: Ownership,
    },
    /// Removes a bucket without objects, and its directory.
    #[n(73)]
    DeleteBucket {
        #[n(0)]
        bucket: String,
    },
    /// Only the superuser does, as for its removal.
    #[n(74)]
    PutAccessKey {
        #[n(0)]
        id: String,
        #[n(1)]
        row: AccessKeyRow,
    },
    #[n(75)]
    RemoveAccessKey {
        #[n(0)]
        id: String,
    },
    /// Keeps what S3 says of a bucket, or forgets it. Only the owner of its directory does.
    #[n(120)]
    SetBucketSetting {
        #[n(0)]
        bucket: String,
        #[n(1)]
        setting: BucketSetting,
        #[n(2)]
        #[cbor(with = "minicbor::bytes")]
        value: Option<Vec<u8>>,
    },
    /// Begins an object that arrives in parts.
    #[n(115)]
    CreateUpload {
        #[n(0)]
        bucket: String,
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        key: Vec<u8>,
        /// What was said of the object when it was begun; not looked into.
        #[n(2)]
        #[cbor(with = "minicbor::bytes")]
        properties: Vec<u8>,
    },
    /// Adds a part, in place of one with the same number.
    #[n(116)]
    PutPart {
        #[n(0)]
        upload: UploadName,
        #[n(1)]
        number: u16,
        #[n(2)]
        part: NewPart,
    },
    /// Puts the object at its key, of some of the parts. The others go.
    #[n(117)]
    CompleteUpload {
        #[n(0)]
        completion: Completion,
    },
    /// Gives an upload up: its parts go.
    #[n(118)]
    AbortUpload {
        #[n(0)]
        upload: UploadName,
    },
    /// The leader's: gives up an upload that nobody went on with, or whose bucket is gone.
    #[n(119)]
    ExpireUpload {
        /// Of the bucket.
        #[n(0)]
        directory: InodeId,
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        key: Vec<u8>,
        #[n(2)]
        id: InodeId,
    },
    /// Has the members of a group do what the superuser may, from now on, in place of another group; or of none.
    #[n(100)]
    SetSupergroup {
        #[n(0)]
        gid: Option<u32>,
    },
    /// Allocates blocks in advance, one for each list of targets: of the session, and of no file yet.
    #[n(40)]
    AllocateBlocks {
        /// Replicas that the files want which they are for.
        #[n(0)]
        wanted: u8,
        #[n(1)]
        targets: Vec<Vec<BlockLocation>>,
    },
    /// Gives such blocks back.
    #[n(41)]
    ReleaseBlocks {
        #[n(0)]
        blocks: Vec<BlockId>,
    },
    /// Commits such blocks into a file, over what it held there: all edits or none. It takes the right to write, and no
    /// lease.
    #[n(42)]
    WriteExtents {
        #[n(0)]
        place: Where,
        /// Each is used by the edits, and ends with this command.
        #[n(1)]
        blocks: Vec<BlockDone>,
        /// In the order of their offsets, apart, and of one kind.
        #[n(2)]
        edits: Vec<Edit>,
        /// Offsets count from the end of the file, as it is then.
        #[n(3)]
        append: bool,
        #[n(4)]
        min_replicas: u8,
        #[n(5)]
        terms: ContentTerms,
        /// What the blocks take the place of: refused if the file holds anything else inline by then.
        #[n(6)]
        #[cbor(with = "minicbor::bytes")]
        inline: Option<Vec<u8>>,
    },
    #[n(43)]
    Truncate {
        #[n(0)]
        place: Where,
        #[n(1)]
        length: u64,
        #[n(2)]
        terms: ContentTerms,
    },
    /// Makes a range a hole.
    #[n(44)]
    Punch {
        #[n(0)]
        place: Where,
        #[n(1)]
        offset: u64,
        #[n(2)]
        length: u64,
        #[n(3)]
        terms: ContentTerms,
    },
    /// Has `to` share a range of `from`, as far as that goes. Where a step does not do it all, the length to go on with is
    /// what is left of the range as the first step found it.
    #[n(45)]
    CloneRange {
        #[n(0)]
        from: Where,
        #[n(1)]
        offset: u64,
        #[n(2)]
        length: u64,
        #[n(3)]
        to: Where,
        #[n(4)]
        to_offset: u64,
        #[n(5)]
        terms: ContentTerms,
    },
    /// Moves the content of files to the end of another. They vanish.
    #[n(46)]
    Concat {
        #[n(0)]
        to: Where,
        #[n(1)]
        from: Vec<Where>,
        #[n(2)]
        terms: ContentTerms,
    },
    /// A whole file in one command, of blocks that were allocated in advance.
    #[n(47)]
    PutBlocks {
        #[n(0)]
        destination: Destination,
        #[n(1)]
        ownership: Ownership,
        #[n(2)]
        layout: Layout,
        /// In the order of the file.
        #[n(3)]
        blocks: Vec<BlockDone>,
        #[n(4)]
        min_replicas: u8,
        #[n(5)]
        mtime: Option<Timestamp>,
    },
    /// Gives what is no directory another name, in an empty place.
    #[n(30)]
    Link {
        #[n(0)]
        from: Where,
        #[n(1)]
        to: Where,
    },
    #[n(31)]
    Symlink {
        #[n(0)]
        place: Where,
        /// 1 to 4095 bytes.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        target: Vec<u8>,
        /// Whose mode does not matter: a symbolic link has 0777.
        #[n(2)]
        ownership: Ownership,
    },
    /// A fifo, a socket or a device; devices only by the superuser.
    #[n(32)]
    Mknod {
        #[n(0)]
        place: Where,
        #[n(1)]
        kind: Kind,
        #[n(2)]
        ownership: Ownership,
        /// Major and minor number of a device, as the caller encodes them; else 0.
        #[n(3)]
        device: u64,
    },
    /// Locks or unlocks bytes of a file for an owner of the session. In the way of others: refused.
    #[n(50)]
    SetLock {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        wish: LockWish,
        /// Asked again until it succeeds, so a conflict is no answer and is not kept. Such a request has no sequence
        /// number: locking twice is as good as once.
        #[n(2)]
        wait: bool,
    },
    /// Takes away everything that an owner of the session holds on an inode, as close(2) does.
    #[n(51)]
    ReleaseLocks {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        owner: u64,
    },
    /// Opens a file without a lease: it lives on until it is closed, whatever happens to its names.
    #[n(52)]
    OpenHandle {
        #[n(0)]
        place: Where,
        /// Refused unless the caller has these.
        #[n(1)]
        rights: HandleRights,
        /// Make an empty file if nothing is there.
        #[n(2)]
        create: Option<NewOpenFile>,
    },
    /// Times of access, which never run backwards. Nothing else changes with them: not the time of change, as on Linux. What is
    /// gone meanwhile, or may not be read, is left out.
    #[n(180)]
    NoteReads {
        #[n(0)]
        reads: Vec<NotedRead>,
    },
    /// All of them, or none if the session has not so many open.
    #[n(53)]
    CloseHandles {
        #[n(0)]
        closed: Vec<ClosedHandles>,
    },
    /// Ends the lease on a file: what its holder left is recovered, and the file closed. With `force` whoever owns the
    /// file may, else only when the holder's soft limit has passed.
    #[n(60)]
    RecoverLease {
        #[n(0)]
        place: Where,
        #[n(1)]
        force: bool,
        #[n(2)]
        holder: Option<Holder>,
    },
    /// The leader's: a new attempt to end the block that a lost writer left open. Its generation is higher than any
    /// before; those who work under an older one, a writer or an earlier attempt, are stale from here on.
    #[n(61)]
    BeginRecovery {
        #[n(0)]
        block: BlockId,
    },
    /// The leader's: these replicas are complete under the generation of the attempt, all with this length. Without any,
    /// the block goes: then nobody may have been shown a byte of it. The file is closed.
    #[n(62)]
    CommitRecovery {
        #[n(0)]
        recovered: BlockDone,
    },
    /// Opens a closed file for writing at its end. A file whose holder's soft limit has passed is taken from it first.
    #[n(63)]
    Append {
        #[n(0)]
        place: Where,
        #[n(1)]
        holder: Option<Holder>,
    },
    /// Moves an object out of the tree to where it can be had back from. Decided as a `Delete`; without a time to keep it,
    /// it is one.
    #[n(105)]
    Trash {
        #[n(0)]
        place: Where,
        #[n(1)]
        recursive: bool,
        #[n(2)]
        keep_nanos: u64,
    },
    /// As `Delete`; the superuser can have it back for so long from the trash of [`BURIED`](crate::trash::BURIED).
    #[n(160)]
    Bury {
        #[n(0)]
        place: Where,
        #[n(1)]
        recursive: bool,
        #[n(2)]
        keep_nanos: u64,
    },
    /// As `DeleteKey`, and as `Bury`.
    #[n(161)]
    BuryKey {
        #[n(0)]
        bucket: String,
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        key: Vec<u8>,
        #[n(2)]
        condition: Option<Condition>,
        #[n(3)]
        keep_nanos: u64,
    },
    /// Takes an item out of the trash again.
    #[n(106)]
    RestoreTrash {
        /// Whose it is.
        #[n(0)]
        uid: u32,
        #[n(1)]
        item: TrashId,
        /// Where to; absent: where it was.
        #[n(2)]
        to: Option<Where>,
        /// Make missing parents.
        #[n(3)]
        parents: bool,
    },
    /// Removes for good what a user has in the trash: one item, or the first `limit`.
    #[n(107)]
    EmptyTrash {
        #[n(0)]
        uid: u32,
        #[n(1)]
        item: Option<TrashId>,
        #[n(2)]
        limit: u32,
    },
    /// Gives a directory a time to live for what is below it, or takes it away.
    #[n(109)]
    SetTtl {
        #[n(0)]
        place: Where,
        #[n(1)]
        ttl_nanos: Option<u64>,
    },
    /// Says whether a datanode takes part.
    #[n(138)]
    SetService {
        #[n(0)]
        node: NodeId,
        #[n(1)]
        service: Service,
        /// Else nothing changes.
        #[n(2)]
        only_if: Option<Service>,
        /// Who says so, for people; nobody, if it is the leader.
        #[n(3)]
        by: Option<String>,
    },
    /// Adds, changes or removes a user. Only the superuser does.
    #[n(245)]
    User {
        #[n(0)]
        name: String,
        #[n(1)]
        order: UserOrder,
    },
    /// Begins, pauses, cancels or ends background work.
    #[n(240)]
    Job {
        #[n(0)]
        order: JobOrder,
    },
    /// Sets a value for the whole cluster, or leaves it to the configuration of the leader again.
    #[n(242)]
    SetPolicy {
        #[n(0)]
        policy: Policy,
        #[n(1)]
        value: Option<u64>,
        /// Who says so, for people.
        #[n(2)]
        by: Option<String>,
    },
    /// Has a directory say something of the files that are made below it. Only the superuser does.
    #[n(243)]
    SetDirectoryPolicy {
        #[n(0)]
        place: Where,
        #[n(1)]
        setting: DirectorySetting,
    },
    /// The leader's: a copy of a block was made and read back, in place of another replica, which goes.
    #[n(241)]
    MoveReplica {
        #[n(0)]
        block: BlockId,
        #[n(1)]
        generation: GenStamp,
        #[n(2)]
        source: StorageId,
        #[n(3)]
        target: BlockLocation,
    },
    /// The leader's: removes what is still too old for where it is.
    #[n(139)]
    RemoveAged {
        #[n(0)]
        aged: Vec<Aged>,
    },
    /// The leader's: another key of block tokens, behind the one with the id `after`.
    #[n(150)]
    AddTokenKey {
        #[n(0)]
        secret: Secret,
        #[n(1)]
        after: u32,
        /// Keys that nothing was signed with since then go.
        #[n(2)]
        unused_since: Timestamp,
    },
    /// The leader's: puts one block, allocated in advance by its own session, in place of short extents, whose bytes it holds
    /// one after the other. What was written over meanwhile stays. No byte of the file changes, nor any of its times.
    #[n(48)]
    JoinExtents {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        block: BlockDone,
        #[n(2)]
        pieces: Vec<Joined>,
        #[n(3)]
        min_replicas: u8,
        /// The replicas of blocks that die leave the disks so much later.
        #[n(4)]
        grace_nanos: u64,
    },
    /// The leader's: removes for good at most `limit` items whose time is over.
    #[n(108)]
    ExpireTrash {
        #[n(0)]
        limit: u32,
    },
}
