//! Replicas of a block that is written to its end: those that count, the damaged, and those on their way out.

use types::{BlockId, GenStamp, StorageId};

use crate::error::Error;
use crate::row::{BlockLocation, BlockRow, BlockState};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// The row of a committed block, if the caller knows its generation.
pub(crate) fn committed<V: View>(txn: &Transaction<'_, V>, block: BlockId, generation: GenStamp) -> Outcome<BlockRow> {
    let row = txn.rows.block(block)?.ok_or(Error::NoSuchBlock { block })?;
    if row.generation != generation {
        return Err(Error::StaleGeneration { block, given: generation, current: row.generation }.into());
    }
    match row.state {
        BlockState::Committed => Ok(row),
        BlockState::Writing | BlockState::Pending => Err(Error::BlockOpen { block }.into()),
    }
}

/// Takes the replica on a storage out of a list.
pub(crate) fn take(list: &mut Vec<BlockLocation>, storage: StorageId) -> Option<BlockLocation> {
    let at = list.iter().position(|location| location.storage == storage)?;
    Some(list.remove(at))
}

/// Sends damaged replicas off once enough good ones exist.
pub(crate) fn drop_bad_if_enough<V: View>(txn: &mut Transaction<'_, V>, block: BlockId, row: &mut BlockRow) {
    if row.replicas.len() >= usize::from(row.wanted) && !row.replicas.is_empty() {
        let bad = std::mem::take(&mut row.bad);
        txn.give_up(block, row, row.generation, bad);
    }
}
