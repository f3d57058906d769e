//! A block that is written once, from bytes that are all here: when its chain fails, the bytes go into another block.

use bytes::Bytes;
use proto::v1;
use tokio::time::Instant;
use tracing::info;
use transfer::Level;
use transfer::frame::MAX_DATA;
use transfer::message::MAX_BLOCK;
use types::{ByteSize, NodeId};

use super::file::{NO_TARGETS, SETUPS, setups_within};
use super::pipeline::{FileFacts, FinishedBlock, Pipeline, PipelineError};
use super::spares::Taken;
use crate::directory_policy::Copies;
use crate::error::Fault;
use crate::store::Client;
use crate::wire;

/// A block that is complete on its datanodes and waits for its place in a file. Dropped without one, it is given back.
#[derive(Debug)]
pub struct StoredBlock {
    pub(crate) taken: Taken,
    finished: FinishedBlock,
}

impl StoredBlock {
    pub fn length(&self) -> ByteSize {
        self.finished.length
    }

    pub(crate) fn id(&self) -> types::BlockId {
        self.finished.block
    }

    pub(crate) fn done(&self) -> v1::BlockDone {
        let FinishedBlock { block, generation, length, replicas } = &self.finished;
        wire::block_done(*block, *generation, *length, replicas)
    }
}

/// Writes a block of these bytes, at least one and at most [`MAX_BLOCK`].
pub(crate) async fn store(client: &Client, data: Bytes, copies: Copies, level: Level) -> Result<StoredBlock, Fault> {
    if data.is_empty() || data.len() as u64 > MAX_BLOCK.get() {
        let length = data.len();
        return Err(Fault::Broken(format!("a block holds 1 byte to {MAX_BLOCK}, and not {length}")));
    }
    let min_replicas = usize::from(client.defaults().min_replicas.min(copies.replication).max(1));
    let mut excluded: Vec<NodeId> = Vec::new();
    let (mut chains, mut began) = (0, None);
    loop {
        let taken = client.0.spares.take(client, copies, &excluded).await?;
        let facts = FileFacts {
            inode: taken.new.block.inode(),
            session: taken.session,
            level,
            block_size: MAX_BLOCK,
            replicas: copies.replication.into(),
            min_replicas,
            once: true,
        };
        let (block, targets) = (taken.new.block, taken.new.targets.len());
        match write(Pipeline::start(client.clone(), facts, taken.new.clone()), data.clone()).await {
            Ok(finished) => return Ok(StoredBlock { taken, finished }),
            Err(PipelineError::Fault(fault)) => return Err(fault),
            Err(PipelineError::Setup { node, failed }) => {
                info!(%block, reason = %failed, "a pipeline failed; writing another block");
                chains += 1;
                let began = *began.get_or_insert_with(Instant::now);
                if chains >= SETUPS && began.elapsed() >= setups_within(client) {
                    let (left, reason) = (targets.saturating_sub(1), failed.to_string());
                    return Err(Fault::PipelineLost { block, left, wanted: min_replicas, reason });
                }
                excluded.extend(node);
                if chains >= SETUPS {
                    tokio::time::sleep(NO_TARGETS).await;
                }
            }
        }
    }
}

async fn write(pipeline: Result<Pipeline, PipelineError>, mut data: Bytes) -> Result<FinishedBlock, PipelineError> {
    let mut pipeline = pipeline?;
    pipeline.ready().await?;
    while !data.is_empty() {
        while !pipeline.has_room() {
            pipeline.turn().await?;
        }
        pipeline.write(data.split_to(data.len().min(MAX_DATA)))?;
    }
    pipeline.finish().await
}
