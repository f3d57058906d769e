//! The bytes of a range of a file, in order, from whichever replicas give them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::v1;
use tracing::{info, warn};
use transfer::frame::MAX_DATA;
use transfer::{Hop, Read, ReadError, Reader};
use types::{BlockOffset, ByteSize, Code, StorageId};

use super::blocks::{OpenFile, Piece};
use crate::datanode::{DataConnection, LinkError};
use crate::error::Fault;
use crate::metadata::Scope;
use crate::wire::LocatedBlock;

/// When no replica of a block is left, the map is asked for again, after these pauses.
const REFRESHES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2)];
/// A report of damage holds a reader up no longer than this.
const REPORTING: Duration = Duration::from_secs(2);

/// What a hole reads as, a packet's worth at a time.
static ZEROS: [u8; MAX_DATA] = [0; MAX_DATA];

/// Why a replica was left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum ReplicaError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl ReplicaError {
    /// Whether the replica itself is not what was stored.
    fn is_damage(&self, block: &LocatedBlock) -> bool {
        match self {
            Self::Read(ReadError::Corrupt(_)) => true,
            Self::Read(ReadError::Failed(failed)) => failed.code == Code::Corrupt,
            Self::Read(ReadError::Short { .. }) => !block.writing,
            Self::Read(ReadError::Protocol { .. }) | Self::Link(_) => false,
        }
    }

    /// Whether the datanode as a whole is of no use now.
    fn is_of_node(&self) -> bool {
        match self {
            Self::Link(_) => true,
            Self::Read(ReadError::Failed(_) | ReadError::Short { .. } | ReadError::Corrupt(_)) => false,
            Self::Read(ReadError::Protocol { .. }) => true,
        }
    }
}

/// A read of one block from one replica, under way.
#[derive(Debug)]
struct BlockRead {
    connection: DataConnection,
    reader: Reader,
    replica: Hop,
    block: LocatedBlock,
}

/// The bytes from `position` to `end`.
#[derive(Debug)]
pub(super) struct Range {
    file: Arc<OpenFile>,
    position: u64,
    end: u64,
    current: Option<BlockRead>,
    /// The end of the hole that `position` is in, if it is in one.
    hole: u64,
    /// Replicas of the block at `position` that were of no use, and why.
    tried: Vec<(StorageId, String)>,
    refreshed: usize,
    damaged: bool,
}

impl Range {
    pub(super) fn new(file: Arc<OpenFile>, position: u64, end: u64) -> Self {
        Self { file, position, end, current: None, hole: 0, tried: Vec::new(), refreshed: 0, damaged: false }
    }

    /// The next bytes; none when all were given.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        if let Some(content) = self.file.inline() {
            let bytes = content.slice(self.position as usize..self.end as usize);
            self.position = self.end;
            return Ok((!bytes.is_empty()).then_some(bytes));
        }
        while self.position < self.end {
            if self.position < self.hole {
                let length = (self.hole.min(self.end) - self.position).min(MAX_DATA as u64);
                self.position += length;
                return Ok(Some(Bytes::from_static(&ZEROS[..length as usize])));
            }
            let Some(read) = &mut self.current else {
                self.start().await?;
                continue;
            };
            match next_bytes(read, self.file.client.0.config.read_timeout).await {
                Ok(Some(bytes)) => {
                    self.position += bytes.len() as u64;
                    self.release_if_done();
                    return Ok(Some(bytes));
                }
                Ok(None) => self.release_if_done(),
                Err(error) => {
                    let read = self.current.take().expect("it was just used");
                    self.leave(&read.block, &read.replica, error).await;
                }
            }
        }
        Ok(None)
    }

    /// Keeps the connection of a read that has given all its bytes.
    fn release_if_done(&mut self) {
        if let Some(read) = self.current.take_if(|read| read.reader.is_done()) {
            self.file.client.0.datanodes.put_back(read.connection);
            self.tried.clear();
            self.refreshed = 0;
        }
    }

    /// Starts to read the block at `position` from the best replica left.
    async fn start(&mut self) -> Result<(), Fault> {
        let file = Arc::clone(&self.file);
        let block = match file.locate(self.position).await? {
            Piece::Block(block) => block,
            Piece::Hole { end } => {
                self.hole = end;
                return Ok(());
            }
        };
        let datanodes = &file.client.0.datanodes;
        let left = block.replicas.iter().filter(|hop| self.tried.iter().all(|(storage, _)| *storage != hop.storage));
        let Some(replica) = left.min_by_key(|hop| datanodes.is_suspect(hop.address)).cloned() else {
            return self.refresh(&block).await;
        };
        let request = Read {
            block: block.block,
            generation: block.generation,
            storage: replica.storage,
            offset: BlockOffset::new(block.block_offset + (self.position - block.offset)),
            length: ByteSize::new(self.end.min(block.offset + block.length) - self.position),
        };
        match self.ask(&replica, &request).await {
            Ok((connection, reader)) => self.current = Some(BlockRead { connection, reader, replica, block }),
            Err(error) => self.leave(&block, &replica, error).await,
        }
        Ok(())
    }

    /// Sends the request, and sees to it that a connection that was closed while idle is not held against the datanode.
    async fn ask(&self, replica: &Hop, request: &Read) -> Result<(DataConnection, Reader), ReplicaError> {
        let patience = self.file.client.0.config.read_timeout;
        let datanodes = &self.file.client.0.datanodes;
        let mut connection = datanodes.connection(replica.address).await?;
        loop {
            let mut reader = Reader::new(request.clone());
            let asked = async {
                connection.send(&reader.request().to_frame()).await?;
                connection.frame().await
            };
            match within(patience, asked).await {
                Ok(frame) => {
                    // Nothing but the reply comes first: no bytes are lost here.
                    reader.handle(frame)?;
                    return Ok((connection, reader));
                }
                Err(LinkError::Lost(_)) if connection.reused => {
                    connection = datanodes.fresh(replica.address).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks the namenode again when no replica is left, a few times.
    async fn refresh(&mut self, block: &LocatedBlock) -> Result<(), Fault> {
        let Some(pause) = REFRESHES.get(self.refreshed) else {
            let mut tried: Vec<String> = self.tried.iter().map(|(storage, why)| format!("{storage}: {why}")).collect();
            if tried.is_empty() {
                tried.push("the namenode knows of none".to_owned());
            }
            let (damaged, tried) = (self.damaged, tried.join("; "));
            return Err(Fault::NoReplica { block: block.block, offset: self.position, damaged, tried });
        };
        self.refreshed += 1;
        tokio::time::sleep(*pause).await;
        self.file.refresh(self.position).await?;
        // If nothing new is known, the reasons from before are still those to tell.
        match self.file.locate(self.position).await? {
            Piece::Block(known) if known.replicas.is_empty() => {}
            Piece::Block(_) | Piece::Hole { .. } => self.tried.clear(),
        }
        Ok(())
    }

    /// Goes on without a replica.
    async fn leave(&mut self, block: &LocatedBlock, replica: &Hop, error: ReplicaError) {
        let (id, storage, address) = (block.block, replica.storage, replica.address);
        self.tried.push((storage, error.to_string()));
        if error.is_of_node() {
            info!(block = %id, %storage, %address, %error, "reading from another replica");
            self.file.client.0.datanodes.suspect(address);
        }
        if error.is_damage(block) {
            warn!(block = %id, %storage, %address, %error, "a replica is damaged");
            self.damaged = true;
            self.report(block, storage).await;
        }
    }

    async fn report(&self, block: &LocatedBlock, storage: StorageId) {
        let report = v1::ReportBadReplica {
            block: Some(block.block.into()),
            generation: block.generation.get(),
            storage: storage.as_bytes().to_vec(),
        };
        let told = self.file.client.0.metadata.call(v1::op::Kind::ReportBadReplica(report), Scope::Update);
        match tokio::time::timeout(REPORTING, told).await {
            Ok(Ok(_)) => {}
            Ok(Err(fault)) => warn!(block = %block.block, %storage, %fault, "the damage could not be reported"),
            Err(_) => warn!(block = %block.block, %storage, "the damage could not be reported in time"),
        }
    }
}

async fn within<T>(patience: Duration, question: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    tokio::time::timeout(patience, question).await.unwrap_or(Err(LinkError::Silent(patience)))
}

/// The next bytes of a read, verified; none if a frame held none.
async fn next_bytes(read: &mut BlockRead, patience: Duration) -> Result<Option<Bytes>, ReplicaError> {
    if read.reader.is_done() {
        return Ok(None);
    }
    let frame = within(patience, read.connection.frame()).await?;
    Ok(read.reader.handle(frame)?.filter(|bytes| !bytes.is_empty()))
}
