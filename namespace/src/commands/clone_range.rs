use crate::command::{Reply, Where};
use crate::content::{Content, Terms};
use crate::error::Error;
use crate::extents;
use crate::limits::MAX_CLONED;
use crate::row::Data;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// A range of one file, and where it goes in another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cloning<'a> {
    pub(crate) from: &'a Where,
    pub(crate) offset: u64,
    /// As far as the source goes.
    pub(crate) length: u64,
    pub(crate) to: &'a Where,
    pub(crate) to_offset: u64,
    pub(crate) terms: Terms,
}

/// Has a file share a range of another in place of what it held there; holes are cloned as holes. Where the range has
/// more extents than one step takes, the answer says where to go on.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, cloning: &Cloning<'_>) -> Outcome<Reply> {
    let Cloning { from, offset, to, to_offset, ref terms, .. } = *cloning;
    let source = Content::to_share(txn, from)?;
    let mut target = Content::to_change(txn, to)?;
    let end = offset.saturating_add(cloning.length).min(source.file()?.length.get());
    let length = end.saturating_sub(offset);
    let to_end = target.end(to_offset, length)?;
    let overlap = offset < to_end && to_offset < end;
    if source.row.inode == target.row.inode && length > 0 && overlap {
        return Err(Error::RangesOverlap { inode: source.row.inode }.into());
    }
    if length == 0 {
        return target.save(txn, terms, (to_offset, None));
    }
    if let Data::Inline { content, .. } = &source.file()?.data {
        let bytes = &content[offset as usize..end as usize];
        clone_bytes(&mut target, bytes, (to_offset, to_end), terms)?;
        return target.save(txn, terms, (to_offset, None));
    }
    // Inline content gives way as a whole: what takes its place is one step. There is at most an extent for each byte.
    let inline = target.inline()?.map_or(0, <[u8]>::len);
    let most = if to_offset == 0 { MAX_CLONED.max(inline) } else { MAX_CLONED };
    let mut found = extents::within(&txn.rows, source.row.inode, (offset, end), most + 1)?;
    // Where this step ends in the target.
    let step = match found.get(most) {
        Some((next, _)) => to_offset + (next - offset),
        None => to_end,
    };
    found.truncate(most);
    target.check_can_hold_extents(if to_offset == 0 { step } else { 0 })?;
    let mut splice = target.splice(txn, terms)?;
    let reached = splice.clear(txn, to_offset, step)?;
    let wanted = target.file()?.wanted();
    for (at, extent) in found {
        let at = to_offset + (at - offset);
        if at + extent.length.get() > reached {
            // The rest is for the next step, which finds the same extent again.
            return finish(txn, target, &splice, terms, (to_offset, at.min(reached), to_end));
        }
        extents::hold(txn, extent.block, extent.length, wanted)?;
        splice.insert(txn, at, extent);
    }
    finish(txn, target, &splice, terms, (to_offset, reached, to_end))
}

fn finish<V: View>(
    txn: &mut Transaction<'_, V>,
    mut target: Content,
    splice: &extents::Splice,
    terms: &Terms,
    (offset, reached, end): (u64, u64, u64),
) -> Outcome<Reply> {
    let length = target.file()?.length.get().max(reached);
    target.store_extents(splice, length)?;
    target.save(txn, terms, (offset, (reached < end).then_some(reached)))
}

fn clone_bytes(target: &mut Content, bytes: &[u8], (start, end): (u64, u64), terms: &Terms) -> Outcome<()> {
    let length = target.file()?.length.get().max(end);
    let mut content = target.inline_of(length, terms)?;
    content[start as usize..end as usize].copy_from_slice(bytes);
    target.store_inline(content)
}
