//! A file under a writer's lease, and the one block of it that can change (invariant 5).

use types::{BlockId, BlockOffset, ByteSize, GenStamp, InodeId, SessionId};

use crate::apply::Effect;
use crate::command::{BlockDone, NewBlock};
use crate::error::Error;
use crate::home::Home;
use crate::key;
use crate::limits::{MAX_FILE, MAX_REPLICATION};
use crate::row::{BlockLocation, BlockRow, BlockState, Data, ExtentRow, InodeRow, LeaseRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree::{self, Delta};
use crate::view::{View, ViewError};

pub(crate) struct OpenFile {
    pub(crate) row: InodeRow,
    pub(crate) lease: LeaseRow,
    pub(crate) home: Home,
    /// The file as its directories have it in their sums.
    counted: Delta,
}

impl OpenFile {
    /// A file that was just made and is in no row yet.
    pub(crate) fn create(row: InodeRow, session: SessionId) -> Result<Self, ViewError> {
        let counted = Delta::file(row.need_file()?);
        Ok(Self { row, lease: LeaseRow { session, block: None }, home: Home::Shared, counted })
    }

    /// The file that the asking session has open for writing.
    pub(crate) fn of_session<V: View>(txn: &Transaction<'_, V>, inode: InodeId) -> Outcome<Self> {
        let session = txn.need_session()?;
        match txn.rows.lease(inode)? {
            Some(lease) if lease.session == session => Ok(Self::load(txn, inode, lease)?),
            _ => Err(Error::LeaseLost { inode }.into()),
        }
    }

    /// The file under a lease that was read already.
    pub(crate) fn load<V: View>(txn: &Transaction<'_, V>, inode: InodeId, lease: LeaseRow) -> Result<Self, ViewError> {
        let (home, row) = Home::need(&txn.rows, inode)?;
        let counted = Delta::file(row.need_file()?);
        Ok(Self { row, lease, home, counted })
    }

    pub(crate) fn has_name(&self) -> bool {
        self.row.links() > 0
    }

    pub(crate) const fn inode(&self) -> InodeId {
        self.row.inode
    }

    /// The block being written.
    pub(crate) fn open_block(&self) -> Option<BlockId> {
        self.lease.block.map(|number| BlockId::new(self.inode(), number))
    }

    /// Writes the file back, and the lease as long as there is one.
    pub(crate) fn save<V: View>(self, txn: &mut Transaction<'_, V>) -> Result<(), ViewError> {
        let file = self.row.need_file()?;
        if file.writing {
            txn.put_lease(self.inode(), &self.lease);
        } else {
            txn.remove_lease(self.inode(), self.lease.session);
        }
        let change = Delta::between(self.counted, Delta::file(file));
        self.home.put(txn, &self.row);
        if let Some(directory) = self.home.counted_in(&txn.rows, self.inode())? {
            tree::account_change(txn, directory, change)?;
        }
        Ok(())
    }

    /// Allocates the next block for these targets.
    pub(crate) fn begin_block<V: View>(
        &mut self,
        txn: &mut Transaction<'_, V>,
        targets: &[BlockLocation],
    ) -> Outcome<NewBlock> {
        if let Some(block) = self.open_block() {
            return Err(Error::BlockOpen { block }.into());
        }
        let inode = self.inode();
        check_targets(inode, targets)?;
        let file = self.row.need_file_mut()?;
        let too_large = Error::FileTooLarge { inode, limit: MAX_FILE };
        let Data::Blocks { next_block, extents } = &mut file.data else { return Err(too_large.into()) };
        let number = *next_block;
        *next_block = number.checked_add(1).ok_or(too_large)?;
        *extents += 1;
        let block = BlockId::new(inode, number);
        let row = BlockRow {
            generation: GenStamp::FIRST,
            length: ByteSize::ZERO,
            state: BlockState::Writing,
            wanted: file.replication,
            replicas: targets.to_vec(),
            bad: Vec::new(),
            leaving: Vec::new(),
            live: ByteSize::ZERO,
        };
        txn.put_block(block, &row);
        let extent = ExtentRow { block, length: ByteSize::ZERO, block_offset: BlockOffset::ZERO };
        txn.put(key::extent(inode, file.length.get()), &extent);
        txn.system.blocks += 1;
        self.lease.block = Some(number);
        Ok(NewBlock { block, generation: row.generation, targets: row.replicas })
    }

    /// The row of the block being written, if that is `block`.
    pub(crate) fn writing_block<V: View>(&self, txn: &Transaction<'_, V>, block: BlockId) -> Outcome<BlockRow> {
        if self.open_block() != Some(block) {
            return Err(Error::NotLastBlock { block }.into());
        }
        Ok(txn.rows.need(&key::block(block))?)
    }

    /// The row of the block being written, if a writer that knows it at `generation` is up to date.
    pub(crate) fn current_block<V: View>(
        &self,
        txn: &Transaction<'_, V>,
        block: BlockId,
        generation: GenStamp,
    ) -> Outcome<BlockRow> {
        let row = self.writing_block(txn, block)?;
        if row.generation != generation {
            return Err(Error::StaleGeneration { block, given: generation, current: row.generation }.into());
        }
        Ok(row)
    }

    /// Makes more of the block being written visible. Less is no error: an earlier flush came late.
    pub(crate) fn extend<V: View>(&mut self, txn: &mut Transaction<'_, V>, written: &BlockDone) -> Outcome<()> {
        let mut row = self.current_block(txn, written.block, written.generation)?;
        let (kept, _) = Transaction::<V>::split(&row, written.block, &written.replicas)?;
        if kept.is_empty() {
            return Err(Error::NotEnoughReplicas { block: written.block, finished: 0, needed: 1 }.into());
        }
        if written.length > row.length {
            self.grow(txn, written, &row)?;
            row.length = written.length;
            row.live = written.length;
            txn.put_block(written.block, &row);
        }
        Ok(())
    }

    /// Commits the block being written as its writer left it, or drops it when nothing was written into it.
    pub(crate) fn finish_block<V: View>(
        &mut self,
        txn: &mut Transaction<'_, V>,
        done: &BlockDone,
        min_replicas: u8,
    ) -> Outcome<()> {
        let block = done.block;
        let mut row = self.current_block(txn, block, done.generation)?;
        if done.length < row.length {
            return Err(Error::BlockVisible { block, length: row.length }.into());
        }
        if done.length == ByteSize::ZERO {
            return Ok(self.drop_block(txn, block, &row)?);
        }
        let (kept, unfinished) = Transaction::<V>::split(&row, block, &done.replicas)?;
        check_finished(block, kept.len(), min_replicas, row.wanted)?;
        self.grow(txn, done, &row)?;
        row.length = done.length;
        row.live = done.length;
        row.replicas = kept;
        let generation = row.generation;
        txn.give_up(block, &mut row, generation, unfinished);
        self.commit_block(txn, block, row)?;
        Ok(())
    }

    /// Ends the block being written at what is visible of it: its writer is gone.
    pub(crate) fn finish_block_as_visible<V: View>(&mut self, txn: &mut Transaction<'_, V>) -> Result<(), ViewError> {
        let Some(block) = self.open_block() else { return Ok(()) };
        let row: BlockRow = txn.rows.need(&key::block(block))?;
        if row.length == ByteSize::ZERO {
            self.drop_block(txn, block, &row)
        } else {
            self.commit_block(txn, block, row)
        }
    }

    /// The block being written goes: nobody has seen a byte of it.
    pub(crate) fn drop_block<V: View>(
        &mut self,
        txn: &mut Transaction<'_, V>,
        block: BlockId,
        row: &BlockRow,
    ) -> Result<(), ViewError> {
        debug_assert_eq!(row.length, ByteSize::ZERO, "visible bytes are never dropped (invariant 5)");
        for location in &row.replicas {
            txn.schedule_removal(*location, block, row.generation, txn.now);
        }
        txn.remove(key::block(block));
        let inode = self.inode();
        let file = self.row.need_file_mut()?;
        txn.remove(key::extent(inode, file.length.get()));
        if let Data::Blocks { extents, .. } = &mut file.data {
            *extents -= 1;
        }
        txn.system.blocks -= 1;
        self.lease.block = None;
        Ok(())
    }

    fn commit_block<V: View>(
        &mut self,
        txn: &mut Transaction<'_, V>,
        block: BlockId,
        mut row: BlockRow,
    ) -> Result<(), ViewError> {
        row.state = BlockState::Committed;
        let start = self.row.need_file()?.length.get() - row.length.get();
        let extent = ExtentRow { block, length: row.length, block_offset: BlockOffset::ZERO };
        txn.put(key::extent(self.inode(), start), &extent);
        txn.put_block(block, &row);
        if row.replicas.len() < usize::from(row.wanted) {
            txn.effect(Effect::ReplicationShort(block));
        }
        self.lease.block = None;
        Ok(())
    }

    /// Lengthens the file to where its last block ends now.
    fn grow<V: View>(&mut self, txn: &Transaction<'_, V>, written: &BlockDone, row: &BlockRow) -> Outcome<()> {
        let inode = self.inode();
        let file = self.row.need_file_mut()?;
        if written.length > file.block_size {
            let (block, length, limit) = (written.block, written.length, file.block_size);
            return Err(Error::BlockLength { block, length, limit }.into());
        }
        let grown = ByteSize::new(file.length.get() + (written.length.get() - row.length.get()));
        if grown > MAX_FILE {
            return Err(Error::FileTooLarge { inode, limit: MAX_FILE }.into());
        }
        if grown != file.length {
            file.length = grown;
            file.changes += 1;
            file.mtime = txn.now;
            file.ctime = txn.now;
        }
        Ok(())
    }
}

/// Refuses a pipeline that names no node, too many, or one twice.
pub(crate) fn check_targets(inode: InodeId, targets: &[BlockLocation]) -> Outcome<()> {
    let distinct = |at: usize| targets[..at].iter().all(|earlier| earlier.node != targets[at].node);
    if targets.is_empty() || targets.len() > usize::from(MAX_REPLICATION) || !(0..targets.len()).all(distinct) {
        return Err(Error::BadTargets { inode, limit: u32::from(MAX_REPLICATION) }.into());
    }
    Ok(())
}

/// Refuses to commit a block with fewer finished replicas than it takes.
pub(crate) fn check_finished(block: BlockId, finished: usize, min_replicas: u8, wanted: u8) -> Outcome<()> {
    let needed = usize::from(min_replicas.min(wanted).max(1));
    if finished < needed {
        let (finished, needed) = (count(finished), count(needed));
        return Err(Error::NotEnoughReplicas { block, finished, needed }.into());
    }
    Ok(())
}

fn count(replicas: usize) -> u32 {
    u32::try_from(replicas).expect("replicas of a block are few")
}
