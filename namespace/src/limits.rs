//! Bounds on what one command may ask for or do.

use std::time::Duration;

use types::ByteSize;
pub(crate) use types::MAX_FILE;

/// Wanted replicas of a block, and targets of a pipeline.
pub(crate) const MAX_REPLICATION: u8 = 32;
pub(crate) const MAX_BLOCK_SIZE: ByteSize = ByteSize::new(64 << 30);
/// The least time to live of a directory: the leader does not look more often.
pub(crate) const MIN_TTL: Duration = Duration::from_secs(1);
/// Of a file in its inode row. The cluster's own `inline_max` is at most this.
pub(crate) const MAX_INLINE: ByteSize = ByteSize::new(64 << 10);
/// Permission bits, setuid, setgid and sticky.
pub(crate) const MAX_MODE: u32 = 0o7777;
/// Blocks that one change of attributes rewrites.
pub(crate) const MAX_BLOCKS_CHANGED: u32 = 10_000;
/// Blocks that one command allocates in advance, and that a session may hold so.
pub(crate) const MAX_ALLOCATED: usize = 64;
pub(crate) const MAX_PENDING: usize = 1024;
/// Edits of one command, and blocks that they bring.
pub(crate) const MAX_EDITS: usize = 1024;
/// Extents that one command joins.
pub(crate) const MAX_JOINED: usize = 512;
/// Extents that one command takes out of a file, or moves to another. Tests meet it early.
pub(crate) const MAX_EXTENTS: u32 = if cfg!(test) { 5 } else { 10_000 };
/// Extents that one command has another file share.
pub(crate) const MAX_CLONED: usize = if cfg!(test) { 3 } else { 4096 };
/// Files that one command appends to another.
pub(crate) const MAX_CONCATENATED: usize = 10_000;
/// Parts of one object, as for S3 itself.
pub(crate) const MAX_PARTS: u16 = 10_000;
/// Extents that one command puts together to an object, or has another file share: enough for 5 TiB in blocks of 128 MiB.
pub(crate) const MAX_OBJECT_EXTENTS: usize = if cfg!(test) { 64 } else { 1 << 16 };
/// What is kept about the parts of a whole object, in bytes.
pub(crate) const MAX_PART_LIST: usize = 1 << 20;
/// Of one inode.
pub(crate) const MAX_XATTRS: usize = 128;
pub(crate) const MAX_XATTR_NAME: usize = 255;
pub(crate) const MAX_XATTR_VALUE: usize = 64 << 10;
/// Longer values are rows of their own, and so is what would make the values in one inode row longer together.
pub(crate) const SMALL_XATTR: usize = 256;
pub(crate) const SMALL_XATTRS: usize = 1 << 10;
/// Entries that one removal looks at to find out whether all of them may go.
pub(crate) const MAX_CHECKED: usize = 20_000;
/// Entries, blocks or leases of one bounded step.
pub(crate) const MAX_STEP: u32 = 10_000;
/// Leases that one `CloseSession` releases itself.
pub(crate) const CLOSE_LEASES: u32 = 1000;
/// Ranges locked on one inode, by everybody together.
pub(crate) const MAX_LOCKS_OF_INODE: u32 = 2048;
/// Ranges that one session holds locked, on all inodes together.
pub(crate) const MAX_LOCKS_OF_SESSION: u32 = 1 << 16;
/// Files that one session has open.
pub(crate) const MAX_HANDLES_OF_SESSION: u32 = 1 << 18;
/// Handles of one session on one file.
pub(crate) const MAX_HANDLES_OF_INODE: u32 = 1 << 30;
/// Files that one command closes.
pub(crate) const MAX_CLOSED: usize = 1000;
/// Reads that one command notes.
pub(crate) const MAX_NOTED: usize = 1000;
/// Results kept for a session, and operations of a session that may be unanswered.
pub(crate) const RESULT_SLOTS: u64 = 1024;
/// Names of one inode, as on ext4.
pub(crate) const MAX_LINKS: u32 = 65_000;
/// Bytes that a symbolic link leads to.
pub(crate) const MAX_TARGET: usize = 4095;
/// Bytes of a client's, host's, rack's or address's name.
pub(crate) const MAX_TEXT: usize = 255;
pub(crate) const MAX_STORAGES: usize = 256;
/// Jobs under way, and ended ones that are kept. Tests meet the second early.
pub(crate) const MAX_JOBS: usize = 64;
pub(crate) const MAX_JOBS_KEPT: usize = if cfg!(test) { 4 } else { 200 };
/// Of a balance, in a second. With less, a block would take longer than datanodes wait for its bytes.
pub(crate) const MIN_BANDWIDTH: ByteSize = ByteSize::mib(1);
/// Bytes of what is said of a job for people.
pub(crate) const MAX_JOB_TEXT: usize = 1 << 10;
/// Users of the cluster, access keys of one of them, and groups that one is in besides its own. Tests meet the first two early.
pub(crate) const MAX_USERS: usize = if cfg!(test) { 4 } else { 10_000 };
pub(crate) const MAX_USER_KEYS: usize = if cfg!(test) { 3 } else { 1000 };
pub(crate) const MAX_USER_GROUPS: usize = 1024;
/// Datanodes are numbered from here; lower numbers belong to namenodes.
pub(crate) const FIRST_DATANODE: u64 = 100;
