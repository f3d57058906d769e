use types::{BlockId, GenStamp, InodeId, StorageId};

use crate::command::Reply;
use crate::error::Error;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;
use crate::writer::OpenFile;

/// Raises the generation of the block being written for those that still answer; the others' replicas are stale from
/// here on and leave the disks.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    inode: InodeId,
    block: BlockId,
    generation: GenStamp,
    survivors: &[StorageId],
) -> Outcome<Reply> {
    let open = OpenFile::of_session(txn, inode)?;
    let mut row = open.current_block(txn, block, generation)?;
    let (kept, lost) = Transaction::<V>::split(&row, block, survivors)?;
    if kept.is_empty() {
        return Err(Error::NotEnoughReplicas { block, finished: 0, needed: 1 }.into());
    }
    row.replicas = kept;
    row.generation = generation.next();
    txn.give_up(block, &mut row, generation, lost);
    txn.put_block(block, &row);
    Ok(Reply::Generation { generation: row.generation })
}
