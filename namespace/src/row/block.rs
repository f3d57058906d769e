//! Blocks and their replicas, the extents that hold them, and the right to write them.

use minicbor::{Decode, Encode};
use types::{BlockId, BlockOffset, ByteSize, GenStamp, NodeId, SessionId, StorageId};

use crate::placement;

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
    /// How the replicas are spread over racks; absent: as the cluster does it, and in rows of before.
    #[n(9)]
    pub spread: Option<placement::Policy>,
}

/// What a file asks of the blocks that hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub replicas: u8,
    /// Absent: as the cluster does it.
    pub spread: Option<placement::Policy>,
}

impl Wanted {
    /// What does for both. That of the cluster may be either rule, so it does for two racks.
    pub(crate) fn and(self, other: Self) -> Self {
        let strictness = |spread: &Option<placement::Policy>| match spread {
            Some(placement::Policy::TwoRacks) => 0,
            None => 1,
            Some(placement::Policy::Spread) => 2,
        };
        let spread = std::cmp::max_by_key(self.spread, other.spread, strictness);
        Self { replicas: self.replicas.max(other.replicas), spread }
    }

    /// Whether this does for `other` too.
    pub(crate) fn covers(self, other: Self) -> bool {
        self.and(other) == self
    }
}

impl BlockRow {
    pub(crate) const fn wanted(&self) -> Wanted {
        Wanted { replicas: self.wanted, spread: self.spread }
    }

    pub(crate) const fn set_wanted(&mut self, Wanted { replicas, spread }: Wanted) {
        self.wanted = replicas;
        self.spread = spread;
    }

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
