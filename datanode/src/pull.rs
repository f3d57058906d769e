//! Pulls bytes of a replica from another node.

use std::net::SocketAddr;
use std::time::Duration;

use proto::{WireError, v1};
use tokio::time::timeout;
use transfer::{Read, ReadError, Reader};
use types::token::Token;
use types::{BlockId, BlockOffset, ByteSize, Code, ErrorKind, GenStamp, StorageId};

use crate::connection::{Connection, ConnectionError};
use crate::making::Making;
use crate::node::Node;

/// A source that sends nothing for so long is given up.
const SOURCE_DEADLINE: Duration = Duration::from_secs(30);

/// Bytes of a block that several nodes have.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) block: BlockId,
    pub(crate) generation: GenStamp,
    pub(crate) offset: u64,
    pub(crate) length: ByteSize,
    pub(crate) sources: Vec<Source>,
    pub(crate) token: Token,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    storage: StorageId,
    address: SocketAddr,
}

impl Source {
    pub(crate) fn read(location: &v1::Location) -> Result<Self, WireError> {
        let address = location.transfer.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
        let wrong = WireError { field: "Location.transfer", problem: "is not a loopback address" };
        Ok(Self { storage: proto::location_storage(location)?, address: address.ok_or(wrong)? })
    }
}

/// Why a part could not be pulled, and the sources whose bytes did not verify, or that do not have what they should.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) result: Result<(), (Code, String)>,
    pub(crate) bad_sources: Vec<StorageId>,
}

pub(crate) enum PullError {
    Source {
        is_bad: bool,
        code: Code,
        reason: String,
    },
    /// Another source would not help.
    Own(Code, String),
}

impl From<ConnectionError> for PullError {
    fn from(error: ConnectionError) -> Self {
        Self::Source { is_bad: false, code: Code::Io, reason: error.to_string() }
    }
}

impl From<ReadError> for PullError {
    fn from(error: ReadError) -> Self {
        let (is_bad, code) = match &error {
            ReadError::Corrupt(_) => (true, Code::Corrupt),
            ReadError::Short { .. } => (true, Code::NoSuchBlock),
            ReadError::Failed(failed) => {
                (matches!(failed.code.kind(), ErrorKind::Corrupt | ErrorKind::NotFound), failed.code)
            }
            ReadError::Protocol { .. } => (false, Code::Incompatible),
        };
        Self::Source { is_bad, code, reason: error.to_string() }
    }
}

/// Puts a part behind what was made already, from the first source that has it; the next one goes on where one failed. All
/// that pull at a `rate` together take in no more in a second; 0: as fast as it goes.
pub(crate) async fn pull(node: &Node, part: &Part, rate: u64, making: &mut Making) -> Pulled {
    let mut bad_sources = Vec::new();
    let mut pulled = 0;
    let mut last = (Code::NoSuchBlock, format!("no source of {} is named", part.block));
    for source in &part.sources {
        match pull_from(node, part, *source, rate, &mut pulled, making).await {
            Ok(()) => return Pulled { result: Ok(()), bad_sources },
            Err(PullError::Own(code, reason)) => {
                last = (code, reason);
                break;
            }
            Err(PullError::Source { is_bad, code, reason }) => {
                let storage = source.storage;
                tracing::info!(block = %part.block, source = %storage, reason, "a source failed");
                if is_bad {
                    bad_sources.push(storage);
                }
                last = (code, format!("storage {storage}: {reason}"));
            }
        }
    }
    Pulled { result: Err(last), bad_sources }
}

async fn pull_from(
    node: &Node,
    part: &Part,
    source: Source,
    rate: u64,
    pulled: &mut u64,
    making: &mut Making,
) -> Result<(), PullError> {
    if *pulled == part.length.get() {
        return Ok(());
    }
    let mut reader = Reader::new(Read {
        block: part.block,
        generation: part.generation,
        storage: source.storage,
        offset: BlockOffset::new(part.offset + *pulled),
        length: ByteSize::new(part.length.get() - *pulled),
        token: part.token.clone(),
    });
    let mut connection = node.peers.open(source.address).await?;
    connection.writer.send(&reader.request()).await?;
    while !reader.is_done() {
        let Some(bytes) = reader.handle(next(&mut connection).await?)? else { continue };
        let length = bytes.len() as u64;
        node.pace.wait(length, rate).await;
        node.throttle(length).await;
        making.append(bytes).await.map_err(|(code, reason)| PullError::Own(code, reason))?;
        *pulled += length;
        node.metrics.copied.inc_by(length);
    }
    node.peers.keep(source.address, connection);
    Ok(())
}

async fn next(connection: &mut Connection) -> Result<transfer::Frame, ConnectionError> {
    let frame = timeout(SOURCE_DEADLINE, connection.reader.next()).await;
    frame.map_err(|_| ConnectionError::TimedOut { what: "reading from a source" })??.ok_or(ConnectionError::Closed)
}
