//! Blocks allocated in advance: of a session, written once, and of no file until a command commits them.
//!
//! Such a block has an `a` row under its session. It ends in one of three ways: committed into a file, released, or freed
//! with the session. Nobody has seen a byte of one that is not committed.

use types::{BlockId, ByteSize, GenStamp, SessionId};

use crate::apply::Effect;
use crate::command::{BlockDone, NewBlock};
use crate::error::Error;
use crate::extents;
use crate::key;
use crate::limits::{MAX_ALLOCATED, MAX_PENDING};
use crate::row::{BlockLocation, BlockRow, BlockState, Wanted};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::{View, ViewError};
use crate::writer;

/// Allocates one block for each of the chains. Their ids are those of an inode that no file gets.
pub(crate) fn allocate<V: View>(
    txn: &mut Transaction<'_, V>,
    wanted: u8,
    chains: &[Vec<BlockLocation>],
) -> Outcome<Vec<NewBlock>> {
    let session = txn.need_session()?;
    if chains.is_empty() || chains.len() > MAX_ALLOCATED {
        return Err(Error::BadAllocation { count: clamped(chains.len()), limit: clamped(MAX_ALLOCATED) }.into());
    }
    let held = txn.rows.page(&key::pending_of(session), MAX_PENDING)?.len();
    if held + chains.len() > MAX_PENDING {
        return Err(Error::TooManyPending { session, limit: clamped(MAX_PENDING) }.into());
    }
    let inode = txn.next_inode();
    let mut blocks = Vec::new();
    for (number, targets) in (0..).zip(chains) {
        writer::check_targets(inode, targets)?;
        let block = BlockId::new(inode, number);
        let row = BlockRow {
            generation: GenStamp::FIRST,
            length: ByteSize::ZERO,
            state: BlockState::Pending,
            wanted,
            replicas: targets.clone(),
            bad: Vec::new(),
            leaving: Vec::new(),
            recovery: None,
            live: ByteSize::ZERO,
            spread: None,
        };
        txn.put_block(block, &row);
        txn.mark(key::pending(session, block));
        txn.system.blocks += 1;
        blocks.push(NewBlock { block, generation: row.generation, targets: row.replicas });
    }
    Ok(blocks)
}

/// How a block that becomes part of a file must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) wanted: Wanted,
    pub(crate) min_replicas: u8,
    pub(crate) longest: ByteSize,
}

/// Makes a block of the session one of a file, as it was written. Extents that hold it come in the same command.
pub(crate) fn commit<V: View>(txn: &mut Transaction<'_, V>, done: &BlockDone, terms: &Terms) -> Outcome<()> {
    let block = done.block;
    let (key, mut row) = of_session(txn, block)?;
    if row.generation != done.generation {
        return Err(Error::StaleGeneration { block, given: done.generation, current: row.generation }.into());
    }
    if done.length == ByteSize::ZERO || done.length > terms.longest {
        return Err(Error::BlockLength { block, length: done.length, limit: terms.longest }.into());
    }
    let (kept, unfinished) = Transaction::<V>::split(&row, block, &done.replicas)?;
    writer::check_finished(block, kept.len(), terms.min_replicas, terms.wanted.replicas)?;
    row.state = BlockState::Committed;
    row.length = done.length;
    row.set_wanted(terms.wanted);
    row.replicas = kept;
    let generation = row.generation;
    txn.give_up(block, &mut row, generation, unfinished);
    txn.remove(key);
    txn.put_block(block, &row);
    if row.replicas.len() < usize::from(row.wanted) {
        txn.effect(Effect::ReplicationShort(block));
    }
    Ok(())
}

/// Gives a block back that is not wanted any more.
pub(crate) fn release<V: View>(txn: &mut Transaction<'_, V>, block: BlockId) -> Outcome<()> {
    let (key, row) = of_session(txn, block)?;
    txn.remove(key);
    extents::drop_block(txn, block, &row, txn.now);
    Ok(())
}

/// Frees what is left of an ended session's blocks, at most `budget`. True: none is left.
pub(crate) fn free_session<V: View>(
    txn: &mut Transaction<'_, V>,
    session: SessionId,
    budget: &mut usize,
) -> Result<bool, ViewError> {
    let page = txn.rows.page(&key::pending_of(session), *budget + 1)?;
    let all = page.len() <= *budget;
    for (key, _) in page.into_iter().take(*budget) {
        let block = key::pending_block(&key)?;
        let row: BlockRow = txn.rows.need(&key::block(block))?;
        txn.remove(key);
        extents::drop_block(txn, block, &row, txn.now);
        *budget -= 1;
    }
    Ok(all)
}

fn of_session<V: View>(txn: &Transaction<'_, V>, block: BlockId) -> Outcome<(Vec<u8>, BlockRow)> {
    let key = key::pending(txn.need_session()?, block);
    if txn.rows.get(&key)?.is_none() {
        return Err(Error::NotPending { block }.into());
    }
    Ok((key, txn.rows.need(&key::block(block))?))
}

fn clamped(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
