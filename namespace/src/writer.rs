//! A file under a writer's lease, and the one block of it that can change (invariant 5).

use std::collections::BTreeSet;

use types::{BlockId, BlockOffset, ByteSize, GenStamp, InodeId, SessionId};

use crate::apply::Effect;
use crate::command::{BlockDone, Holder, NewBlock, Where};
use crate::error::Error;
use crate::handles;
use crate::home::Home;
use crate::key;
use crate::limits::{MAX_FILE, MAX_REPLICATION};
use crate::resolve;
use crate::row::{BlockLocation, BlockRow, BlockState, Data, ExtentRow, InodeRow, LeaseRow, ShortBlock};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree::{self, Delta};
use crate::view::{View, ViewError};
use crate::xattr;

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
        Ok(Self { row, lease: LeaseRow::new(session), home: Home::Shared, counted })
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
        let (number, start) = match &mut file.data {
            Data::Blocks { next_block, extents } => {
                let number = *next_block;
                *next_block = number.checked_add(1).ok_or(too_large)?;
                *extents += 1;
                (number, file.length.get())
            }
            Data::Inline { next_block, .. } => {
                let number = next_block.unwrap_or(0);
                *next_block = Some(number.checked_add(1).ok_or(too_large)?);
                (number, 0)
            }
        };
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
            recovery: None,
            spread: file.spread,
        };
        txn.put_block(block, &row);
        let extent = ExtentRow { block, length: ByteSize::ZERO, block_offset: BlockOffset::ZERO };
        txn.put(key::extent(inode, start), &extent);
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
        self.check_short(txn)?;
        if written.length > row.length && !self.is_covered_inline(written.length)? {
            self.grow(txn, written, &row)?;
            row.length = written.length;
            row.live = written.length;
            txn.put_block(written.block, &row);
        }
        Ok(())
    }

    /// Whether all of the first `length` bytes of the open block are in the inode row, and shown from there.
    pub(crate) fn is_covered_inline(&self, length: ByteSize) -> Result<bool, ViewError> {
        Ok(match &self.row.need_file()?.data {
            Data::Blocks { .. } => false,
            Data::Inline { content, .. } => length.get() <= content.len() as u64,
        })
    }

    /// Refuses while a block of the file, committed in need, has fewer replicas than promised.
    pub(crate) fn check_short<V: View>(&self, txn: &Transaction<'_, V>) -> Outcome<()> {
        for ShortBlock { number, needed } in self.lease.short.iter().flatten() {
            let block = BlockId::new(self.inode(), *number);
            // It may have been overwritten since.
            let Some(row) = txn.rows.block(block)? else { continue };
            if row.replicas.len() < usize::from((*needed).min(row.wanted)) {
                let (finished, needed) = (count(row.replicas.len()), u32::from(*needed));
                return Err(Error::NotEnoughReplicas { block, finished, needed }.into());
            }
        }
        Ok(())
    }

    /// Commits the block being written as [`Self::finish_block`] does, with fewer replicas if need be: another block goes
    /// on where there are datanodes, while this one is copied. The file cannot be closed before that.
    pub(crate) fn finish_block_in_need<V: View>(
        &mut self,
        txn: &mut Transaction<'_, V>,
        done: &BlockDone,
        min_replicas: u8,
    ) -> Outcome<()> {
        let needed = min_replicas.min(self.row.need_file()?.replication).max(1);
        let finished = done.replicas.iter().collect::<BTreeSet<_>>().len();
        self.finish_block(txn, done, 1)?;
        if finished < usize::from(needed) {
            let short = ShortBlock { number: done.block.number(), needed };
            self.lease.short.get_or_insert_default().push(short);
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

    /// Takes the file from its holder. True: a block was open, and the leader has to recover it before the file is closed.
    pub(crate) fn take_over<V: View>(self, txn: &mut Transaction<'_, V>) -> Result<bool, ViewError> {
        if pass_on(txn, self.inode(), self.lease.clone()) {
            return Ok(true);
        }
        self.close(txn)?;
        Ok(false)
    }

    /// Ends the lease. A file that lost its last name, and that nobody has open, goes with it.
    pub(crate) fn close<V: View>(mut self, txn: &mut Transaction<'_, V>) -> Result<(), ViewError> {
        let inode = self.inode();
        if !self.has_name() && !handles::is_open(&txn.rows, inode)? {
            txn.remove(key::shared(inode));
            txn.remove_lease(inode, self.lease.session);
            xattr::drop_all(txn, &self.row);
            tree::add_file_garbage(txn, inode, self.row.need_file()?, false);
            return Ok(());
        }
        self.row.need_file_mut()?.writing = false;
        self.save(txn)
    }

    /// Commits the open block with the length and the replicas that a recovery agreed on.
    pub(crate) fn finish_recovered<V: View>(
        &mut self,
        txn: &mut Transaction<'_, V>,
        recovered: &BlockDone,
        mut row: BlockRow,
    ) -> Outcome<()> {
        let BlockDone { block, generation, length, .. } = *recovered;
        let (kept, left_out) = Transaction::<V>::split(&row, block, &recovered.replicas)?;
        if kept.is_empty() {
            return Err(Error::NotEnoughReplicas { block, finished: 0, needed: 1 }.into());
        }
        self.grow(txn, recovered, &row)?;
        row.length = length;
        row.live = length;
        row.generation = generation;
        row.recovery = None;
        row.replicas = kept;
        txn.give_up(block, &mut row, generation, left_out);
        Ok(self.commit_block(txn, block, row)?)
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
            txn.schedule_removal(*location, block, row.newest_generation(), txn.now);
        }
        txn.remove(key::block(block));
        let inode = self.inode();
        let start = match &mut self.row.need_file_mut()?.data {
            Data::Blocks { extents, .. } => {
                *extents -= 1;
                None
            }
            Data::Inline { .. } => Some(0),
        };
        let start = start.unwrap_or(self.row.need_file()?.length.get());
        txn.remove(key::extent(inode, start));
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
        let start = match &file.data {
            Data::Blocks { .. } => file.length.get() - row.length.get(),
            Data::Inline { content, .. } if written.length.get() < content.len() as u64 => {
                return Err(Error::BlockVisible { block: written.block, length: file.length }.into());
            }
            Data::Inline { next_block, .. } => {
                let next_block = next_block.expect("the block that repeats the content has a number");
                file.data = Data::Blocks { next_block, extents: 1 };
                0
            }
        };
        let grown = ByteSize::new(start + written.length.get());
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

/// Takes a lease from its holder. True: a block is open, and the lease is the recovery's now.
pub(crate) fn pass_on<V: View>(txn: &mut Transaction<'_, V>, inode: InodeId, mut lease: LeaseRow) -> bool {
    txn.remove_lease(inode, lease.session);
    if lease.block.is_none() {
        return false;
    }
    lease.session = LeaseRow::RECOVERY;
    txn.mark(key::open_file(LeaseRow::RECOVERY, inode));
    txn.put_lease(inode, &lease);
    true
}

/// Refuses to take a lease whose holder was heard not long enough ago.
pub(crate) fn check_soft_limit<V: View>(
    txn: &Transaction<'_, V>,
    place: &Where,
    lease: &LeaseRow,
    holder: Option<Holder>,
) -> Outcome<()> {
    let soft_limit = holder.filter(|holder| holder.session == lease.session).map(|holder| holder.soft_limit);
    match soft_limit {
        Some(end) if end <= txn.now => Ok(()),
        _ => Err(Error::LeaseHeld { place: resolve::show(place), holder: lease.session, soft_limit }.into()),
    }
}

fn count(replicas: usize) -> u32 {
    u32::try_from(replicas).expect("replicas of a block are few")
}
