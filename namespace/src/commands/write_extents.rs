use types::{BlockOffset, ByteSize};

use crate::command::{BlockDone, Edit, Reply, Where};
use crate::content::{Content, Terms};
use crate::error::Error;
use crate::extents;
use crate::limits::MAX_EDITS;
use crate::pending;
use crate::row::ExtentRow;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// What is written, and how.
pub(crate) struct Writing<'a> {
    /// Blocks of the session that the edits use, each at least once.
    pub(crate) blocks: &'a [BlockDone],
    pub(crate) edits: &'a [Edit],
    /// Offsets count from the end of the file.
    pub(crate) append: bool,
    pub(crate) min_replicas: u8,
    pub(crate) terms: Terms,
    /// What the file must hold inline, if that is given.
    pub(crate) inline: Option<&'a [u8]>,
}

/// Puts new content over the old, in one step: all edits or none.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, place: &Where, writing: &Writing<'_>) -> Outcome<Reply> {
    let mut content = Content::to_change(txn, place)?;
    let length = content.file()?.length.get();
    if let Some(inline) = writing.inline {
        content.check_inline(inline)?;
    }
    let base = if writing.append { length } else { 0 };
    let ranges = check(&content, base, writing)?;
    let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return Err(bad(&content).into()) };
    let (start, end) = (first.0, length.max(last.1));
    if writing.blocks.is_empty() {
        put_bytes(&mut content, writing, &ranges, end)?;
    } else {
        put_blocks(txn, &mut content, writing, &ranges, end)?;
    }
    content.save(txn, &writing.terms, (start, None))
}

/// The ranges of the edits, which must be in order, apart from each other, and of one kind.
fn check(content: &Content, base: u64, writing: &Writing<'_>) -> Outcome<Vec<(u64, u64)>> {
    let mut ranges: Vec<(u64, u64)> = Vec::with_capacity(writing.edits.len().min(MAX_EDITS));
    if writing.edits.len() > MAX_EDITS || writing.blocks.len() > MAX_EDITS {
        return Err(bad(content).into());
    }
    for edit in writing.edits {
        let (offset, length, is_block) = match edit {
            Edit::Block { offset, length, .. } => (*offset, length.get(), true),
            Edit::Bytes { offset, content } => (*offset, content.len() as u64, false),
        };
        let start = content.end(base, offset)?;
        let end = content.end(start, length)?;
        let follows = ranges.last().is_none_or(|(_, before)| *before <= start);
        if length == 0 || !follows || is_block == writing.blocks.is_empty() {
            return Err(bad(content).into());
        }
        ranges.push((start, end));
    }
    Ok(ranges)
}

fn put_bytes(content: &mut Content, writing: &Writing<'_>, ranges: &[(u64, u64)], length: u64) -> Outcome<()> {
    let mut bytes = content.inline_of(length, &writing.terms)?;
    for (edit, (start, end)) in writing.edits.iter().zip(ranges) {
        if let Edit::Bytes { content, .. } = edit {
            let range = *start as usize..*end as usize;
            bytes[range].copy_from_slice(content);
        }
    }
    content.store_inline(bytes)
}

fn put_blocks<V: View>(
    txn: &mut Transaction<'_, V>,
    content: &mut Content,
    writing: &Writing<'_>,
    ranges: &[(u64, u64)],
    length: u64,
) -> Outcome<()> {
    let file = content.file()?;
    let (wanted, min_replicas, longest) = (file.wanted(), writing.min_replicas, file.block_size);
    content.check_can_hold_extents(covered(ranges))?;
    for done in writing.blocks {
        pending::commit(txn, done, &pending::Terms { wanted, min_replicas, longest })?;
    }
    let mut unused: Vec<_> = writing.blocks.iter().map(|done| done.block).collect();
    let mut splice = content.splice(txn, &writing.terms)?;
    for (edit, (start, end)) in writing.edits.iter().zip(ranges) {
        let Edit::Block { block, block_offset, length, .. } = edit else { continue };
        let done = writing.blocks.iter().find(|done| done.block == *block).ok_or_else(|| bad(content))?;
        if !lies_in(*block_offset, *length, done.length) {
            return Err(bad(content).into());
        }
        if splice.clear(txn, *start, *end)? < *end {
            return Err(content.too_many_extents().into());
        }
        extents::hold(txn, *block, *length, wanted)?;
        splice.insert(txn, *start, ExtentRow { block: *block, length: *length, block_offset: *block_offset });
        unused.retain(|other| other != block);
    }
    if !unused.is_empty() {
        return Err(bad(content).into());
    }
    content.store_extents(&splice, length)
}

/// How many bytes from the start of the file the ranges cover without a gap.
fn covered(ranges: &[(u64, u64)]) -> u64 {
    ranges.iter().fold(0, |covered, (start, end)| if *start <= covered { *end } else { covered })
}

fn lies_in(offset: BlockOffset, length: ByteSize, block: ByteSize) -> bool {
    offset.get().checked_add(length.get()).is_some_and(|end| end <= block.get())
}

fn bad(content: &Content) -> Error {
    Error::BadEdits { inode: content.row.inode, limit: MAX_EDITS as u32 }
}
