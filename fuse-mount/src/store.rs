//! How a batch gets into the cluster: first its bytes, side by side, and then, in its turn, one commit.

use bytes::Bytes;
use client::{Attributes, Client, ContentOptions, Edit, StoredBlock};
use futures::future::try_join_all;
use types::InodeId;

use crate::dirty::Batch;
use crate::errno::Failure;

/// A batch on its way.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// So little that it may live with the inode: the commit decides.
    Few(Vec<(u64, Bytes)>),
    Blocks(Vec<StoredBlock>, Vec<Edit>),
}

/// Stores the bytes, unless they are few.
pub(crate) async fn prepare(client: &Client, replication: u8, batch: &Batch) -> Result<Prepared, Failure> {
    if batch.end() <= client.defaults().inline_max.get() {
        return Ok(Prepared::Few(batch.runs.clone()));
    }
    let blocks = batch.runs.iter().map(|(_, data)| client.store_block(data.clone(), replication, None));
    let blocks = try_join_all(blocks).await?;
    let edits = batch.runs.iter().enumerate().map(|(block, (offset, data))| Edit::Block {
        offset: *offset,
        length: data.len() as u64,
        block,
        block_offset: 0,
    });
    Ok(Prepared::Blocks(blocks, edits.collect()))
}

pub(crate) async fn commit(
    client: &Client,
    inode: InodeId,
    prepared: Prepared,
    options: ContentOptions,
) -> Result<Attributes, Failure> {
    match prepared {
        Prepared::Blocks(blocks, edits) => Ok(client.commit(inode, blocks, &edits, false, options).await?.attributes),
        Prepared::Few(runs) => {
            let mut attributes = None;
            for (offset, data) in runs {
                attributes = Some(client.write_at(inode, offset, data, options).await?.attributes);
            }
            Ok(attributes.expect("a batch is never empty"))
        }
    }
}
