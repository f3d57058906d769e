use types::{BlockId, ByteSize, InodeId};

use crate::command::Reply;
use crate::error::Error;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;
use crate::writer::OpenFile;

/// Drops the block being written, as long as nobody was told of a byte in it.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, inode: InodeId, block: BlockId) -> Outcome<Reply> {
    let mut open = OpenFile::of_session(txn, inode)?;
    let row = open.writing_block(txn, block)?;
    if row.length > ByteSize::ZERO {
        return Err(Error::BlockVisible { block, length: row.length }.into());
    }
    open.drop_block(txn, block, &row)?;
    open.save(txn)?;
    Ok(Reply::Done)
}
