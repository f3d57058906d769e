use types::{BlockId, ByteSize};

use crate::command::{BlockDone, Reply};
use crate::error::Error;
use crate::row::{BlockRow, LeaseRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;
use crate::writer::OpenFile;

/// A new attempt, which fences all before it.
pub(crate) fn begin<V: View>(txn: &mut Transaction<'_, V>, block: BlockId) -> Outcome<Reply> {
    let (_, mut row) = recovering(txn, block)?;
    let generation = row.newest_generation().next();
    row.recovery = Some(generation);
    txn.put_block(block, &row);
    Ok(Reply::Generation { generation })
}

/// Ends the block as the attempt found it, and closes the file.
pub(crate) fn commit<V: View>(txn: &mut Transaction<'_, V>, recovered: &BlockDone) -> Outcome<Reply> {
    let BlockDone { block, generation: given, length, .. } = *recovered;
    let (mut open, row) = recovering(txn, block)?;
    if row.recovery != Some(given) {
        return Err(Error::StaleGeneration { block, given, current: row.newest_generation() }.into());
    }
    if length < row.length {
        return Err(Error::BlockVisible { block, length: row.length }.into());
    }
    if length == ByteSize::ZERO || open.is_covered_inline(length)? {
        open.drop_block(txn, block, &row)?;
    } else {
        open.finish_recovered(txn, recovered, row)?;
    }
    open.close(txn)?;
    Ok(Reply::Done)
}

fn recovering<V: View>(txn: &Transaction<'_, V>, block: BlockId) -> Outcome<(OpenFile, BlockRow)> {
    let lease: Option<LeaseRow> = txn.rows.lease(block.inode())?;
    let Some(lease) = lease.filter(LeaseRow::is_recovering) else {
        return Err(Error::LeaseLost { inode: block.inode() }.into());
    };
    let open = OpenFile::load(txn, block.inode(), lease)?;
    let row = open.writing_block(txn, block)?;
    Ok((open, row))
}
