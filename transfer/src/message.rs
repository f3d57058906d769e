//! What control frames say: CBOR arrays by field number. Decoders ignore fields that they do not know, so fields may be
//! added behind the last one; a new meaning needs a new number.

use std::net::SocketAddr;

use minicbor::{Decode, Encode};
use types::token::Token;
use types::{BlockId, BlockOffset, ByteSize, ClusterId, Code, GenStamp, NodeId, StorageId};

/// The first bytes of every [`Hello`].
pub const MAGIC: [u8; 4] = *b"ASHT";
/// The version of the protocol that this code speaks: since 2, requests carry tokens.
pub const VERSION: u32 = 2;
/// No chain is longer, the first hop included.
pub const MAX_CHAIN: usize = 16;
/// No block is longer: this bounds the checksum table in front of a replica (4 MiB).
pub const MAX_BLOCK: ByteSize = ByteSize::gib(4);
/// The message of a [`Failed`] is cut to this many bytes.
pub const MAX_REASON: usize = 1024;

/// Everything that is said in control frames.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Control {
    /// The first frame of a connection.
    #[n(0)]
    Hello(#[n(0)] Hello),
    /// The answer to a hello of a version and a cluster that fit.
    #[n(1)]
    HelloAck(#[n(0)] HelloAck),
    /// Starts a write; answered by [`Control::Ready`] or [`Control::Failed`].
    #[n(2)]
    Setup(#[n(0)] Setup),
    /// This hop and every hop below it take packets.
    #[n(3)]
    Ready,
    /// What was asked for failed, and where.
    #[n(4)]
    Failed(#[n(0)] Failed),
    /// Cumulative: every packet up to this one is stored by this hop and every hop below.
    #[n(5)]
    Ack(#[n(0)] Ack),
    /// The sender works on what it was asked for, and watches the hop below it.
    #[n(6)]
    Alive(#[cbor(n(0), default)] Alive),
    /// Asks for bytes; answered by [`Control::ReadReply`] and pieces, or by [`Control::Failed`].
    #[n(7)]
    Read(#[n(0)] Read),
    #[n(8)]
    ReadReply(#[n(0)] ReadReply),
    /// On a local socket: asks for the open file of a replica; answered by [`Control::OpenedLocal`] or [`Control::Failed`].
    #[n(9)]
    OpenLocal(#[n(0)] OpenLocal),
    /// With the first byte of this frame comes the descriptor.
    #[n(10)]
    OpenedLocal(#[n(0)] OpenedLocal),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub magic: [u8; 4],
    #[n(1)]
    pub version: u32,
    #[n(2)]
    pub cluster: ClusterId,
}

impl Hello {
    pub const fn new(cluster: ClusterId) -> Self {
        Self { magic: MAGIC, version: VERSION, cluster }
    }

    /// Checks a peer's hello against our own cluster; the text is for the peer.
    pub fn check(&self, cluster: ClusterId) -> Result<(), String> {
        if self.magic != MAGIC {
            Err("this is the block transfer port, and the peer speaks something else".to_owned())
        } else if self.version != VERSION {
            Err(format!("the transfer protocol has version {VERSION} here, not {}", self.version))
        } else if self.cluster != cluster {
            Err(format!("this node belongs to cluster {cluster}, not {}", self.cluster))
        } else {
            Ok(())
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HelloAck {
    #[n(0)]
    pub version: u32,
}

/// How durable an acknowledged close is, and what a flush means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Level {
    /// In the memory of every hop; nothing is synced.
    #[n(0)]
    Memory,
    /// On disk once the block is finished.
    #[n(1)]
    Close,
    /// As [`Level::Close`], and every flush is a sync.
    #[n(2)]
    Always,
}

/// One datanode of a chain, as the hop above it needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hop {
    #[n(0)]
    pub node: NodeId,
    #[n(1)]
    pub storage: StorageId,
    #[n(2)]
    pub address: SocketAddr,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Setup {
    #[n(0)]
    pub block: BlockId,
    #[n(1)]
    pub generation: GenStamp,
    /// The storage of the hop that reads this.
    #[n(2)]
    pub storage: StorageId,
    /// The hops below it, next one first.
    #[n(3)]
    pub downstream: Vec<Hop>,
    #[n(4)]
    pub level: Level,
    /// The block never grows past this.
    #[n(5)]
    pub max_length: ByteSize,
    /// Continue a replica rather than start one.
    #[n(6)]
    pub resume: Option<Resume>,
    /// Lets the writer write the block in this generation, on every hop.
    #[n(7)]
    pub token: Token,
}

/// Continue a replica whose chain was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Resume {
    /// The generation under which the last byte was acknowledged. Replicas of this one, or of one that was tried since,
    /// hold every acknowledged byte; older ones do not.
    #[n(0)]
    pub from_generation: GenStamp,
    /// Every byte below was acknowledged and stays; every byte behind it goes.
    #[n(1)]
    pub offset: BlockOffset,
}

/// Something went wrong, at one hop of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("storage {storage}: {code}: {message}")]
pub struct Failed {
    /// Whose fault it is, as far as the sender can tell.
    #[n(0)]
    pub storage: StorageId,
    #[n(1)]
    pub code: Code,
    #[n(2)]
    pub message: String,
}

impl Failed {
    /// `message` is cut to [`MAX_REASON`] bytes.
    pub fn new(storage: StorageId, code: Code, message: impl std::fmt::Display) -> Self {
        let mut message = message.to_string();
        if message.len() > MAX_REASON {
            let end = (0..=MAX_REASON).rev().find(|at| message.is_char_boundary(*at)).expect("0 is a boundary");
            message.truncate(end);
        }
        Self { storage, code, message }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Ack {
    #[n(0)]
    pub sequence: u64,
    /// The length of the block with this packet.
    #[n(1)]
    pub length: ByteSize,
}

/// How the hops of a chain are doing, once a second while packets are on their way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Alive {
    /// In microseconds, the longest time that the own disk took for a packet since this was said last, or has been at one:
    /// of the sender, then of each hop below it, as far as it has heard of them. At most [`MAX_CHAIN`].
    #[n(0)]
    pub store_times: Vec<u32>,
}

/// Asks one replica for bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Read {
    #[n(0)]
    pub block: BlockId,
    #[n(1)]
    pub generation: GenStamp,
    #[n(2)]
    pub storage: StorageId,
    #[n(3)]
    pub offset: BlockOffset,
    #[n(4)]
    pub length: ByteSize,
    /// Lets the reader read the block in this generation.
    #[n(5)]
    pub token: Token,
}

/// What follows: pieces that cover `[offset, offset + length)`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReadReply {
    /// The start of the first chunk that was asked for.
    #[n(0)]
    pub offset: BlockOffset,
    /// To the end of the last chunk that was asked for, or the end of what may be read.
    #[n(1)]
    pub length: ByteSize,
    /// How many bytes of the replica may be read.
    #[n(2)]
    pub total: ByteSize,
    /// Whether the replica will not grow any more.
    #[n(3)]
    pub complete: bool,
}

/// Asks for the open file of a complete replica, to read it without the datanode.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OpenLocal {
    #[n(0)]
    pub block: BlockId,
    #[n(1)]
    pub generation: GenStamp,
    #[n(2)]
    pub storage: StorageId,
    /// Lets the reader read the block in this generation.
    #[n(3)]
    pub token: Token,
}

/// Where in the file of a replica things are. Nothing in it changes any more; it goes on to exist while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct OpenedLocal {
    /// How many bytes the block has.
    #[n(0)]
    pub length: ByteSize,
    /// Where its first byte is.
    #[n(1)]
    pub data: u64,
    /// Where the word of its first chunk is.
    #[n(2)]
    pub words: u64,
}
