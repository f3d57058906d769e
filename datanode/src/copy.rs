//! Copies a replica from another node: pulls it, checks it, syncs it, reads it back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::{WireError, v1};
use tokio::time::timeout;
use tracing::info;
use transfer::{Flags, Level, Packet, Read, ReadError, Reader};
use types::checksum::{CHUNK, append_words};
use types::token::Token;
use types::{BlockId, BlockOffset, ByteSize, Code, ErrorKind, GenStamp, StorageId};

use crate::connection::{Connection, ConnectionError};
use crate::node::Node;
use crate::store::{Begin, StoreError, Volume};

/// A source that sends nothing for so long is given up.
const SOURCE_DEADLINE: Duration = Duration::from_secs(30);

/// A task, read.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) storage: StorageId,
    pub(crate) block: BlockId,
    pub(crate) generation: GenStamp,
    length: ByteSize,
    sources: Vec<(StorageId, SocketAddr)>,
    /// All copies that have one together take in no more in a second; 0: as fast as it goes.
    rate: u64,
    token: Token,
}

pub(crate) struct Copied {
    pub(crate) result: Result<(), (Code, String)>,
    /// Sources whose bytes did not verify, or that do not have what they should.
    pub(crate) bad_sources: Vec<StorageId>,
}

impl Copy {
    pub(crate) fn read(task: &v1::CopyReplica) -> Result<Self, WireError> {
        let source = |location: &v1::Location| {
            let address = location.transfer.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
            let wrong = WireError { field: "Location.transfer", problem: "is not a loopback address" };
            Ok((proto::location_storage(location)?, address.ok_or(wrong)?))
        };
        let length = ByteSize::new(task.length);
        if length > transfer::message::MAX_BLOCK {
            return Err(WireError { field: "CopyReplica.length", problem: "is longer than any block" });
        }
        Ok(Self {
            storage: proto::storage_id(&task.storage, "CopyReplica.storage")?,
            block: proto::block_id(task.block, "CopyReplica.block")?,
            generation: GenStamp::new(task.generation),
            length,
            sources: task.sources.iter().map(source).collect::<Result<_, _>>()?,
            rate: task.rate,
            token: proto::token(task.token.clone()),
        })
    }
}

pub(crate) async fn run(node: &Node, copy: &Copy) -> Copied {
    let mut bad_sources = Vec::new();
    let result = match node.volumes.get(&copy.storage) {
        Some(volume) => onto(node, volume, copy, &mut bad_sources).await,
        None => Err((Code::NotFound, format!("storage {} is not on this node", copy.storage))),
    };
    Copied { result, bad_sources }
}

async fn onto(
    node: &Node,
    volume: &Arc<Volume>,
    copy: &Copy,
    bad_sources: &mut Vec<StorageId>,
) -> Result<(), (Code, String)> {
    if begin(volume, copy).await? == Begun::AlreadyThere {
        return Ok(());
    }
    let mut pulled = 0;
    let mut last = (Code::NoSuchBlock, "no source is named".to_owned());
    for (storage, address) in &copy.sources {
        match pull(node, volume, copy, *storage, *address, &mut pulled).await {
            Ok(()) => return finish(volume, copy).await,
            Err(PullError::Own(code, reason)) => {
                last = (code, reason);
                break;
            }
            Err(PullError::Source { is_bad, code, reason }) => {
                info!(block = %copy.block, source = %storage, reason, "a source of a copy failed");
                if is_bad {
                    bad_sources.push(*storage);
                }
                last = (code, format!("storage {storage}: {reason}"));
            }
        }
    }
    // Nobody goes on with it: the next attempt may have other sources.
    let Copy { block, generation, .. } = *copy;
    let _ = on_disk(volume, move |volume| volume.delete(block, generation)).await;
    Err(last)
}

#[derive(PartialEq, Eq)]
enum Begun {
    Started,
    AlreadyThere,
}

/// Becomes the writer of the replica. What an earlier attempt left is good, or goes.
async fn begin(volume: &Arc<Volume>, copy: &Copy) -> Result<Begun, (Code, String)> {
    let Copy { block, generation, length, .. } = *copy;
    on_disk(volume, move |volume| {
        let max_length = length.max(ByteSize::new(1));
        let begin = Begin { block, generation, level: Level::Close, max_length, resume: None };
        volume.forget_deleted(block);
        match volume.begin(&begin) {
            Err(StoreError::Stale { have }) if have == generation => {
                if volume.verify(block, generation, length).is_ok() {
                    // An attempt that was killed may have named it and not synced the name.
                    volume.sync_final(block, generation)?;
                    return Ok(Begun::AlreadyThere);
                }
                volume.delete(block, generation)?;
                volume.forget_deleted(block);
                volume.begin(&begin).map(|_| Begun::Started)
            }
            begun => begun.map(|_| Begun::Started),
        }
    })
    .await
}

enum PullError {
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

/// Pulls what is missing from one source; `pulled` says how much is there, whole chunks until the end.
async fn pull(
    node: &Node,
    volume: &Arc<Volume>,
    copy: &Copy,
    source: StorageId,
    address: SocketAddr,
    pulled: &mut u64,
) -> Result<(), PullError> {
    if *pulled == copy.length.get() {
        return Ok(());
    }
    let mut reader = Reader::new(Read {
        block: copy.block,
        generation: copy.generation,
        storage: source,
        offset: BlockOffset::new(*pulled),
        length: ByteSize::new(copy.length.get() - *pulled),
        token: copy.token.clone(),
    });
    let mut connection = node.peers.open(address).await?;
    connection.writer.send(&reader.request()).await?;
    while !reader.is_done() {
        let Some(bytes) = reader.handle(next(&mut connection).await?)? else { continue };
        let length = bytes.len() as u64;
        node.pace.wait(length, copy.rate).await;
        node.throttle(length).await;
        append(volume, copy, packet(copy.block, *pulled, bytes)).await?;
        *pulled += length;
        node.metrics.copied.inc_by(length);
    }
    node.peers.keep(address, connection);
    Ok(())
}

async fn next(connection: &mut Connection) -> Result<transfer::Frame, ConnectionError> {
    let frame = timeout(SOURCE_DEADLINE, connection.reader.next()).await;
    frame.map_err(|_| ConnectionError::TimedOut { what: "reading from a source" })??.ok_or(ConnectionError::Closed)
}

/// The checksums are made anew: the last chunk may be cut shorter than the source has it.
fn packet(block: BlockId, offset: u64, data: Bytes) -> Packet {
    let mut words = Vec::with_capacity(4 * data.len().div_ceil(CHUNK));
    append_words(block, offset / CHUNK as u64, &data, &mut words);
    Packet { sequence: 0, offset: BlockOffset::new(offset), flags: Flags::NONE, words: words.into(), data }
}

async fn append(volume: &Arc<Volume>, copy: &Copy, packet: Packet) -> Result<(), PullError> {
    let Copy { block, generation, .. } = *copy;
    let appended = on_disk(volume, move |volume| volume.append(block, generation, &[packet])).await;
    appended.map_err(|(code, reason)| PullError::Own(code, reason))
}

async fn finish(volume: &Arc<Volume>, copy: &Copy) -> Result<(), (Code, String)> {
    let Copy { block, generation, length, .. } = *copy;
    on_disk(volume, move |volume| {
        let end = Packet { flags: Flags::FINISH, ..packet(block, length.get(), Bytes::new()) };
        volume.append(block, generation, &[end])?;
        volume.verify(block, generation, length)
    })
    .await
}

async fn on_disk<T: Send + 'static>(
    volume: &Arc<Volume>,
    work: impl FnOnce(&Volume) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, (Code, String)> {
    let on = Arc::clone(volume);
    match volume.disk.run(move || work(&on)).await {
        Ok(result) => result.map_err(|error| (error.code(), error.to_string())),
        Err(gone) => Err((Code::Io, gone.to_string())),
    }
}
