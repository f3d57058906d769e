use std::time::Duration;

use types::{BlockOffset, ByteSize};

use crate::command::{BlockDone, Joined, Reply, Where};
use crate::content::Content;
use crate::error::Error;
use crate::extents::{self, Splice};
use crate::limits::{MAX_EXTENTS, MAX_JOINED};
use crate::pending;
use crate::row::ExtentRow;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;
use types::InodeId;

pub(crate) struct Join<'a> {
    /// Of the session; it holds the bytes of the pieces, one after the other.
    pub(crate) block: &'a BlockDone,
    pub(crate) pieces: &'a [Joined],
    pub(crate) min_replicas: u8,
    pub(crate) grace_nanos: u64,
}

/// Puts one block in place of what is left of the pieces. Blocks never change, so the same part of the same block is still
/// the same bytes, whatever else was done to the file since they were read.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, inode: InodeId, join: &Join<'_>) -> Outcome<Reply> {
    let mut content = Content::to_change(txn, &Where { base: inode, path: Vec::new() })?;
    check(inode, join)?;
    let left = left(txn, inode, join.pieces)?;
    let bytes: u64 = left.iter().map(|(_, length, _)| length).sum();
    // Less would leave more waste than it joins.
    if bytes.saturating_mul(2) < join.block.length.get() {
        return Err(Error::ExtentsReplaced { inode }.into());
    }
    let file = content.file()?;
    let (wanted, longest, length) = (file.wanted(), file.block_size, file.length.get());
    pending::commit(txn, join.block, &pending::Terms { wanted, min_replicas: join.min_replicas, longest })?;
    let mut splice = content.splice_after(txn, Duration::from_nanos(join.grace_nanos))?;
    for (offset, length, block_offset) in left {
        replace(txn, &content, &mut splice, offset, extent(join.block, length, block_offset))?;
        extents::hold(txn, join.block.block, ByteSize::new(length), wanted)?;
    }
    content.store_extents(&splice, length)?;
    content.save_unchanged(txn);
    Ok(Reply::Done)
}

/// One behind the other, as long as the block.
fn check(inode: InodeId, join: &Join<'_>) -> Outcome<()> {
    let bad = || Error::BadJoin { inode, limit: MAX_JOINED as u32 };
    let mut end = join.pieces.first().filter(|_| join.pieces.len() <= MAX_JOINED).ok_or_else(bad)?.offset;
    let start = end;
    for piece in join.pieces {
        if piece.offset != end || piece.length == ByteSize::ZERO {
            return Err(bad().into());
        }
        end = end.checked_add(piece.length.get()).ok_or_else(bad)?;
    }
    if end - start != join.block.length.get() {
        return Err(bad().into());
    }
    Ok(())
}

/// What is as it was: where in the file, how long, where in the new block. Neighbours are one.
fn left<V: View>(txn: &Transaction<'_, V>, inode: InodeId, pieces: &[Joined]) -> Outcome<Vec<(u64, u64, u64)>> {
    let mut left: Vec<(u64, u64, u64)> = Vec::new();
    let mut at = 0;
    for piece in pieces {
        let end = piece.offset + piece.length.get();
        for (offset, extent) in extents::within(&txn.rows, inode, (piece.offset, end), MAX_EXTENTS as usize)? {
            let into = offset - piece.offset;
            if extent.block != piece.block || extent.block_offset.get() != piece.block_offset.get() + into {
                continue;
            }
            match left.last_mut() {
                Some((before, length, _)) if *before + *length == offset => *length += extent.length.get(),
                _ => left.push((offset, extent.length.get(), at + into)),
            }
        }
        at += piece.length.get();
    }
    Ok(left)
}

fn extent(block: &BlockDone, length: u64, block_offset: u64) -> ExtentRow {
    ExtentRow { block: block.block, length: ByteSize::new(length), block_offset: BlockOffset::new(block_offset) }
}

fn replace<V: View>(
    txn: &mut Transaction<'_, V>,
    content: &Content,
    splice: &mut Splice,
    offset: u64,
    extent: ExtentRow,
) -> Outcome<()> {
    let end = offset + extent.length.get();
    if splice.clear(txn, offset, end)? < end {
        return Err(content.too_many_extents().into());
    }
    splice.insert(txn, offset, extent);
    Ok(())
}
