//! A read of one block from one replica.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use transfer::{Read, ReadError, Reader};
use types::{BlockOffset, ByteSize, Code};

use crate::datanode::{Class, DataConnection, LinkError, Pool, UnderWay};
use crate::wire::{LocatedBlock, Replica};

/// Why a replica was left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReplicaError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl ReplicaError {
    /// Whether the replica itself is not what was stored.
    pub(super) fn is_damage(&self, block: &LocatedBlock) -> bool {
        match self {
            Self::Read(ReadError::Corrupt(_)) => true,
            Self::Read(ReadError::Failed(failed)) => failed.code == Code::Corrupt,
            Self::Read(ReadError::Short { .. }) => !block.writing,
            Self::Read(ReadError::Protocol { .. }) | Self::Link(_) => false,
        }
    }

    /// Whether the datanode as a whole is of no use now.
    pub(super) fn is_of_node(&self) -> bool {
        match self {
            Self::Link(_) => true,
            Self::Read(ReadError::Failed(_) | ReadError::Short { .. } | ReadError::Corrupt(_)) => false,
            Self::Read(ReadError::Protocol { .. }) => true,
        }
    }
}

/// What is read of a block: bytes from `offset` on, counted in the block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// A read under way. Dropped before it is done, its connection is closed: what else would come over it is not known.
#[derive(Debug)]
pub(super) struct BlockRead {
    connection: DataConnection,
    reader: Reader,
    load: UnderWay,
    patience: Duration,
    pub(super) replica: Replica,
    pub(super) block: Arc<LocatedBlock>,
}

impl BlockRead {
    /// Asks for bytes and waits for the first of them, which come beside the read.
    pub(super) async fn start(
        pool: Arc<Pool>,
        (block, replica): (Arc<LocatedBlock>, Replica),
        wanted: Wanted,
        patience: Duration,
    ) -> Result<(Self, Bytes), ReplicaError> {
        let load = pool.under_way(replica.hop.address, Class::of(wanted.length));
        let request = Read {
            block: block.block,
            generation: block.generation,
            storage: replica.hop.storage,
            offset: BlockOffset::new(wanted.offset),
            length: ByteSize::new(wanted.length),
            token: block.token.clone(),
        };
        let (connection, reader) = ask(&pool, &replica, request, patience).await?;
        let mut read = Self { connection, reader, load, patience, replica, block };
        match read.next().await? {
            Some(first) => {
                read.load.answered();
                Ok((read, first))
            }
            None => Err(ReadError::Protocol { problem: "a read of some bytes ended without any" }.into()),
        }
    }

    /// The next bytes, verified; none when all were given.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ReplicaError> {
        while !self.reader.is_done() {
            let frame = within(self.patience, self.connection.frame()).await?;
            if let Some(bytes) = self.reader.handle(frame)?.filter(|bytes| !bytes.is_empty()) {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    pub(super) fn is_done(&self) -> bool {
        self.reader.is_done()
    }

    /// Gives the connection back once all bytes were given.
    pub(super) fn finish(self, pool: &Pool) {
        if self.is_done() {
            pool.put_back(self.connection);
        }
    }
}

/// Sends the request, and sees to it that a connection that was closed while idle is not held against the datanode.
async fn ask(
    pool: &Pool,
    replica: &Replica,
    request: Read,
    patience: Duration,
) -> Result<(DataConnection, Reader), ReplicaError> {
    let mut connection = pool.connection(replica.hop.address).await?;
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
            Err(LinkError::Lost(_)) if connection.reused => connection = pool.fresh(replica.hop.address).await?,
            Err(error) => return Err(error.into()),
        }
    }
}

async fn within<T>(patience: Duration, question: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    tokio::time::timeout(patience, question).await.unwrap_or(Err(LinkError::Silent(patience)))
}
