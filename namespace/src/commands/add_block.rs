use types::InodeId;

use crate::command::{BlockDone, Reply};
use crate::error::Error;
use crate::row::BlockLocation;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;
use crate::writer::OpenFile;

/// Commits the block being written, if any, and begins the next.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    inode: InodeId,
    previous: Option<&BlockDone>,
    targets: &[BlockLocation],
    min_replicas: u8,
) -> Outcome<Reply> {
    let mut open = OpenFile::of_session(txn, inode)?;
    if let Some(done) = previous {
        if done.length.get() == 0 {
            let limit = open.row.need_file()?.block_size;
            return Err(Error::BlockLength { block: done.block, length: done.length, limit }.into());
        }
        open.finish_block_in_need(txn, done, min_replicas)?;
    }
    let block = open.begin_block(txn, targets)?;
    open.save(txn)?;
    Ok(Reply::Block { block })
}
