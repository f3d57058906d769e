//! What a command answers. Stored with the session, as the commands are in the log.

use minicbor::{Decode, Encode};
use types::{BlockId, ByteSize, GenStamp, InodeId, JobId, NodeId, SessionId, Timestamp, TrashId};

use crate::row::{Attributes, BlockLocation};

/// What a command answers when it succeeds. Stored with the session, so that a retry gets the same.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    #[n(0)]
    Done,
    #[n(1)]
    Session {
        #[n(0)]
        session: SessionId,
    },
    #[n(2)]
    Attributes {
        #[n(0)]
        attributes: Attributes,
    },
    /// A file open for writing, and its first block if targets were given.
    #[n(3)]
    Created {
        #[n(0)]
        attributes: Attributes,
        #[n(1)]
        block: Option<NewBlock>,
    },
    #[n(4)]
    Block {
        #[n(0)]
        block: NewBlock,
    },
    #[n(5)]
    Generation {
        #[n(0)]
        generation: GenStamp,
    },
    /// A bounded step: whether another one is needed.
    #[n(6)]
    Step {
        #[n(0)]
        more: bool,
    },
    #[n(7)]
    Node {
        #[n(0)]
        node: NodeId,
    },
    #[n(240)]
    Job {
        #[n(0)]
        job: JobId,
    },
    /// An object at its key.
    #[n(30)]
    Object {
        #[n(0)]
        attributes: Attributes,
        #[n(1)]
        etag: String,
    },
    /// An upload was begun.
    #[n(49)]
    Upload {
        #[n(0)]
        id: InodeId,
        #[n(1)]
        initiated: Timestamp,
    },
    /// A part as it was stored.
    #[n(50)]
    Part {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        length: ByteSize,
        #[n(2)]
        modified: Timestamp,
    },
    /// Blocks allocated in advance.
    #[n(15)]
    Blocks {
        #[n(0)]
        blocks: Vec<NewBlock>,
    },
    /// The content of a file was changed.
    #[n(16)]
    Written {
        #[n(0)]
        attributes: Attributes,
        /// Where the change begins in the file.
        #[n(1)]
        offset: u64,
        /// Where to go on, if the change was too much for one step.
        #[n(2)]
        next: Option<u64>,
    },
    /// What was removed is in the trash, and goes for good at `due`.
    #[n(43)]
    Trashed {
        #[n(0)]
        item: TrashId,
        #[n(1)]
        due: Timestamp,
    },
    /// Things are gone from the trash: whether there are more.
    #[n(44)]
    Emptied {
        #[n(0)]
        more: bool,
    },
    /// Nobody writes the file any more; it may still be recovered, and is closed when that has ended.
    #[n(25)]
    Lease {
        #[n(0)]
        recovering: bool,
    },
}

/// A block just allocated. Targets are those of the command.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewBlock {
    #[n(0)]
    pub block: BlockId,
    #[n(1)]
    pub generation: GenStamp,
    #[n(2)]
    pub targets: Vec<BlockLocation>,
}
