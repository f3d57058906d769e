//! A read of one block from the file of a replica on this machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use transfer::OpenLocal;
use types::{BlockId, GenStamp, StorageId};

use super::attempt::Wanted;
use crate::local::{self, LocalError, LocalReplica, PIECE};
use crate::store::Client;
use crate::wire::{LocatedBlock, Replica};

/// Files kept open for an open file of ours, and failures remembered.
const KEPT: usize = 64;
/// A datanode that is well answers at once; one that does not is not worth more of the reader's time.
const PATIENCE: Duration = Duration::from_millis(500);
/// Where a file could not be had, nobody asks again for so long.
const AVOIDED: Duration = Duration::from_secs(10);

/// The open files of the replicas of one file.
#[derive(Debug, Default)]
pub(super) struct Near(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<(BlockId, GenStamp, StorageId), Arc<LocalReplica>>,
    /// Storages, or single blocks on them, that are read over the network.
    avoided: BTreeMap<(StorageId, Option<BlockId>), Instant>,
}

impl Near {
    /// The open file of a replica, asked for if need be.
    pub(super) async fn open(
        &self,
        client: &Client,
        block: &LocatedBlock,
        replica: &Replica,
    ) -> Result<Arc<LocalReplica>, LocalError> {
        let storage = replica.hop.storage;
        let key = (block.block, block.generation, storage);
        if let Some(known) = self.state().files.get(&key) {
            return Ok(Arc::clone(known));
        }
        let socket = replica.socket.as_ref().ok_or(LocalError::Protocol("it has no local socket"))?;
        let token = block.token.clone();
        let request = OpenLocal { block: block.block, generation: block.generation, storage, token };
        let patience = client.0.config.connect_timeout.min(PATIENCE);
        let opened = Arc::new(local::open(socket, client.0.metadata.cluster(), request, patience).await?);
        let mut state = self.state();
        if state.files.len() >= KEPT {
            state.files.pop_first();
        }
        state.files.insert(key, Arc::clone(&opened));
        Ok(opened)
    }

    /// Whether a replica is worth trying.
    pub(super) fn may_open(&self, block: BlockId, replica: &Replica) -> bool {
        let storage = replica.hop.storage;
        let state = self.state();
        let is_avoided = |block| state.avoided.get(&(storage, block)).is_some_and(|since| since.elapsed() < AVOIDED);
        replica.socket.is_some() && !is_avoided(None) && !is_avoided(Some(block))
    }

    /// Has a replica read over the network for a while: all of its storage, unless only this block was refused.
    pub(super) fn avoid(&self, block: BlockId, replica: &Replica, error: &LocalError) {
        let block = match error {
            LocalError::Refused(_) | LocalError::Corrupt(_) | LocalError::Short { .. } => Some(block),
            LocalError::Socket(_) | LocalError::Silent(_) | LocalError::Protocol(_) | LocalError::Read(_) => None,
        };
        let mut state = self.state();
        state.avoided.retain(|_, since| since.elapsed() < AVOIDED);
        if state.avoided.len() >= KEPT {
            state.avoided.pop_first();
        }
        state.avoided.insert((replica.hop.storage, block), Instant::now());
    }

    /// Lets go of the files: their blocks may not be the file's any more.
    pub(super) fn clear(&self) {
        self.state().files.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A read under way.
#[derive(Debug)]
pub(super) struct NearRead {
    file: Arc<LocalReplica>,
    wanted: Wanted,
    pub(super) replica: Replica,
    pub(super) block: Arc<LocatedBlock>,
}

impl NearRead {
    pub(super) fn new(file: Arc<LocalReplica>, block: Arc<LocatedBlock>, replica: Replica, wanted: Wanted) -> Self {
        Self { file, wanted, replica, block }
    }

    /// The next bytes, verified. There are some.
    pub(super) async fn next(&mut self, client: &Client) -> Result<Bytes, LocalError> {
        let Wanted { offset, length } = self.wanted;
        // Pieces end where pieces of the block do: no chunk is read twice.
        let piece = PIECE as u64;
        let end = (offset + length).min((offset / piece + 1) * piece);
        let bytes = self.file.read(offset, end - offset, client.0.datanodes.near_buffers()).await?;
        self.wanted = Wanted { offset: end, length: offset + length - end };
        Ok(bytes)
    }

    pub(super) fn is_done(&self) -> bool {
        self.wanted.length == 0
    }
}
