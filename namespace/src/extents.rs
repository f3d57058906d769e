//! What a file contains: extents over blocks, by offset. What none holds is a hole, and reads as zeros.
//!
//! 1. Extents of a file do not overlap, and none ends behind its length. None is empty but that of a block being written,
//!    whose row knows how much of it is visible.
//! 2. The live bytes of a block are those that extents hold, of all files together. At zero it dies, in the same command.

use types::{BlockId, BlockOffset, ByteSize, InodeId, Timestamp};

use crate::apply::Effect;
use crate::key::{self, Range};
use crate::row::{self, BlockRow, BlockState, ExtentRow, Wanted};
use crate::rows::Rows;
use crate::transaction::Transaction;
use crate::view::{View, ViewError};

/// A change of the extents of one file.
#[derive(Debug)]
pub(crate) struct Splice {
    inode: InodeId,
    /// How many extents the file has.
    pub(crate) extents: u64,
    /// How many bytes they hold.
    pub(crate) held: u64,
    /// When the replicas of a block that dies leave the disks: a reader may have its place still.
    due: Timestamp,
    /// Extents that may be taken out yet.
    left: usize,
}

impl Splice {
    pub(crate) const fn new(inode: InodeId, (extents, held): (u64, u64), due: Timestamp, limit: usize) -> Self {
        Self { inode, extents, held, due, left: limit }
    }

    /// Makes `from..to` a hole, as far as the limit lets it. Gives where it got to.
    pub(crate) fn clear<V: View>(
        &mut self,
        txn: &mut Transaction<'_, V>,
        from: u64,
        to: u64,
    ) -> Result<u64, ViewError> {
        if from >= to {
            return Ok(to);
        }
        self.cut(txn, from)?;
        self.cut(txn, to)?;
        let range = Range { from: key::extent(self.inode, from), to: key::extent(self.inode, to) };
        for (key, value) in txn.rows.page(&range, self.left + 1)? {
            if self.left == 0 {
                return key::offset_of(&key);
            }
            let extent: ExtentRow = row::decode(&key, &value)?;
            txn.remove(key);
            release(txn, &extent, self.due)?;
            self.extents -= 1;
            // Fewer than are there where holes were not counted yet.
            self.held = self.held.saturating_sub(extent.length.get());
            self.left -= 1;
        }
        Ok(to)
    }

    /// Puts an extent where nothing is.
    pub(crate) fn insert<V: View>(&mut self, txn: &mut Transaction<'_, V>, offset: u64, extent: ExtentRow) {
        txn.put(key::extent(self.inode, offset), &extent);
        self.extents += 1;
        self.held += extent.length.get();
    }

    /// Sees to it that no extent lies on both sides of `at`.
    fn cut<V: View>(&mut self, txn: &mut Transaction<'_, V>, at: u64) -> Result<(), ViewError> {
        let Some((offset, extent)) = before(&txn.rows, self.inode, at)? else { return Ok(()) };
        if offset + extent.length.get() <= at {
            return Ok(());
        }
        let head = at - offset;
        self.held = self.held.saturating_sub(extent.length.get() - head);
        txn.put(key::extent(self.inode, offset), &ExtentRow { length: ByteSize::new(head), ..extent });
        self.insert(txn, at, part(&extent, head, extent.length.get()));
        Ok(())
    }
}

/// The bytes `from..to` of an extent.
fn part(extent: &ExtentRow, from: u64, to: u64) -> ExtentRow {
    ExtentRow {
        block: extent.block,
        length: ByteSize::new(to - from),
        block_offset: BlockOffset::new(extent.block_offset.get() + from),
    }
}

/// The last extent that begins before `offset`.
pub(crate) fn before(view: &impl View, inode: InodeId, offset: u64) -> Result<Option<(u64, ExtentRow)>, ViewError> {
    let last = view.last(&key::extent(inode, 0), &key::extent(inode, offset))?;
    last.map(|(key, value)| Ok((key::offset_of(&key)?, row::decode(&key, &value)?))).transpose()
}

/// At most `limit` extents that hold bytes of `from..to`, cut to that range. None of them is of a block being written.
pub(crate) fn within(
    view: &impl View,
    inode: InodeId,
    (from, to): (u64, u64),
    limit: usize,
) -> Result<Vec<(u64, ExtentRow)>, ViewError> {
    let mut found = Vec::new();
    if from >= to || limit == 0 {
        return Ok(found);
    }
    if let Some((offset, extent)) = before(view, inode, from)?
        && offset + extent.length.get() > from
    {
        let end = extent.length.get().min(to - offset);
        found.push((from, part(&extent, from - offset, end)));
    }
    let range = Range { from: key::extent(inode, from), to: key::extent(inode, to) };
    for (key, value) in view.page(&range, limit - found.len())? {
        let offset = key::offset_of(&key)?;
        let extent: ExtentRow = row::decode(&key, &value)?;
        found.push((offset, part(&extent, 0, extent.length.get().min(to - offset))));
    }
    Ok(found)
}

/// A block is held by one more extent, of a file that asks this of it. It never wants less than another file does.
pub(crate) fn hold<V: View>(
    txn: &mut Transaction<'_, V>,
    block: BlockId,
    bytes: ByteSize,
    wanted: Wanted,
) -> Result<(), ViewError> {
    let mut row: BlockRow = txn.rows.need(&key::block(block))?;
    row.live = ByteSize::new(row.live.get() + bytes.get());
    raise(txn, block, &mut row, wanted);
    txn.put_block(block, &row);
    Ok(())
}

/// A block is in a file that asks this of it.
pub(crate) fn raise<V: View>(txn: &mut Transaction<'_, V>, block: BlockId, row: &mut BlockRow, wanted: Wanted) {
    row.set_wanted(row.wanted().and(wanted));
    if row.replicas.len() < usize::from(row.wanted) {
        txn.effect(Effect::ReplicationShort(block));
    }
}

/// An extent is gone: its block dies if nothing else holds bytes of it (invariant 2).
pub(crate) fn release<V: View>(
    txn: &mut Transaction<'_, V>,
    extent: &ExtentRow,
    due: Timestamp,
) -> Result<(), ViewError> {
    let key = key::block(extent.block);
    let mut row: BlockRow = txn.rows.need(&key)?;
    let left = row.live.get().checked_sub(extent.length.get()).ok_or_else(|| ViewError::Row {
        key: key::show(&key),
        reason: format!("{} live bytes are fewer than those of one extent, {}", row.live, extent.length),
    })?;
    if left == 0 || row.state == BlockState::Writing {
        drop_block(txn, extent.block, &row, due);
    } else {
        row.live = ByteSize::new(left);
        txn.put_block(extent.block, &row);
    }
    Ok(())
}

/// A block goes, and its replicas leave the disks at `due`.
pub(crate) fn drop_block<V: View>(txn: &mut Transaction<'_, V>, block: BlockId, row: &BlockRow, due: Timestamp) {
    // Those that are leaving have their removal scheduled already.
    for location in row.replicas.iter().chain(&row.bad) {
        txn.schedule_removal(*location, block, row.newest_generation(), due);
    }
    txn.remove(key::block(block));
    txn.system.blocks -= 1;
}
