//! How a batch gets into the cluster: first its bytes, side by side with other batches, and then, in its turn, one commit.

use bytes::{Bytes, BytesMut};
use client::{Attributes, Client, ContentOptions, Copies, Edit, StoredBlock};
use futures::future::try_join_all;
use types::{Code, InodeId};

use crate::dirty::Batch;
use crate::errno::Failure;

/// Edits of one commit; the namenode takes as many.
const EDITS: usize = 1024;
/// Short runs share a block of up to so many bytes.
const SHARED: usize = 16 << 20;

/// The file that a batch is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    inode: InodeId,
    /// As it was last told.
    length: u64,
    copies: Copies,
    block_size: usize,
}

impl Target {
    pub(crate) fn of(attributes: &Attributes) -> Self {
        let block_size = usize::try_from(attributes.block_size.get()).unwrap_or(usize::MAX);
        let (inode, length) = (attributes.inode, attributes.length.get());
        Self { inode, length, copies: attributes.copies(), block_size }
    }
}

/// A batch on its way.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// So little that it may live with the inode: the commit decides.
    Few(Vec<(u64, Bytes)>),
    /// One commit each.
    Blocks(Vec<(Vec<StoredBlock>, Vec<Edit>)>),
}

/// Stores the bytes, unless they are few.
pub(crate) async fn prepare(client: &Client, target: Target, batch: &Batch) -> Result<Prepared, Failure> {
    let inline_max = client.defaults().inline_max.get();
    if batch.end() <= inline_max && target.length <= inline_max && batch.runs.len() <= EDITS {
        return Ok(Prepared::Few(batch.runs.clone()));
    }
    store(client, target, &batch.runs).await.map(Prepared::Blocks)
}

async fn store(
    client: &Client,
    target: Target,
    runs: &[(u64, Bytes)],
) -> Result<Vec<(Vec<StoredBlock>, Vec<Edit>)>, Failure> {
    let commits = runs.chunks(EDITS).map(async |runs| {
        let packed = pack(runs, SHARED.min(target.block_size));
        let blocks = packed.blocks.into_iter().map(|data| client.store_block(data, target.copies, None));
        Ok::<_, Failure>((try_join_all(blocks).await?, packed.edits))
    });
    try_join_all(commits).await
}

/// Runs as blocks.
#[derive(Debug, PartialEq, Eq)]
struct Packed {
    blocks: Vec<Bytes>,
    edits: Vec<Edit>,
}

/// Puts short runs together into blocks of up to `longest` bytes; a run that fills one goes as it is. What is longer
/// becomes several.
fn pack(runs: &[(u64, Bytes)], longest: usize) -> Packed {
    let longest = longest.max(1);
    let (mut blocks, mut edits): (Vec<Bytes>, Vec<Edit>) = (Vec::new(), Vec::new());
    let mut open = BytesMut::new();
    for (offset, data) in runs {
        let mut offset = *offset;
        let mut data = data.clone();
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(longest));
            if open.len() + piece.len() > longest {
                blocks.push(open.split().freeze());
            }
            // The open block comes next.
            let (length, block, block_offset) = (piece.len() as u64, blocks.len(), open.len() as u64);
            edits.push(Edit::Block { offset, length, block, block_offset });
            if open.is_empty() && (piece.len() == longest || runs.len() == 1) {
                blocks.push(piece);
            } else {
                open.extend_from_slice(&piece);
            }
            offset += length;
        }
    }
    if !open.is_empty() {
        blocks.push(open.freeze());
    }
    Packed { blocks, edits }
}

pub(crate) async fn commit(
    client: &Client,
    target: Target,
    prepared: Prepared,
    options: ContentOptions,
) -> Result<Attributes, Failure> {
    let commits = match prepared {
        Prepared::Blocks(commits) => commits,
        Prepared::Few(runs) => {
            let edit = |(offset, content): &(u64, Bytes)| Edit::Bytes { offset: *offset, content: content.clone() };
            let edits: Vec<_> = runs.iter().map(edit).collect();
            match client.commit(target.inode, Vec::new(), &edits, false, options).await {
                // It is longer than it was, or holds blocks.
                Err(error) if matches!(error.code(), Code::StoredOtherwise | Code::TooLarge) => {
                    store(client, target, &runs).await?
                }
                done => return Ok(done?.attributes),
            }
        }
    };
    let mut attributes = None;
    for (blocks, edits) in commits {
        attributes = Some(client.commit(target.inode, blocks, &edits, false, options).await?.attributes);
    }
    Ok(attributes.expect("a batch is never empty"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The oracle: the file, written byte by byte.
        #[test]
        fn packed_runs_are_what_was_written(
            lengths in proptest::collection::vec((0_u64..9, 1_usize..40), 1..20),
            longest in 1_usize..32,
        ) {
            let mut at = 0;
            let mut next = 0_u8;
            let mut wanted = Vec::new();
            let mut runs = Vec::new();
            for (gap, length) in lengths {
                at += gap;
                let data: Vec<u8> = (0..length).map(|_| { next = next.wrapping_add(1); next }).collect();
                wanted.extend(data.iter().enumerate().map(|(index, byte)| (at + index as u64, *byte)));
                runs.push((at, Bytes::from(data)));
                at += length as u64;
            }
            let Packed { blocks, edits } = pack(&runs, longest);
            prop_assert!(blocks.iter().all(|block| !block.is_empty() && block.len() <= longest));
            let mut found = Vec::new();
            let mut used = std::collections::BTreeSet::new();
            for edit in edits {
                let Edit::Block { offset, length, block, block_offset } = edit else { panic!("only blocks") };
                used.insert(block);
                let bytes = &blocks[block][block_offset as usize..(block_offset + length) as usize];
                found.extend(bytes.iter().enumerate().map(|(index, byte)| (offset + index as u64, *byte)));
            }
            prop_assert_eq!(found, wanted);
            prop_assert_eq!(used.len(), blocks.len(), "every block is used");
        }
    }
}
