use types::InodeId;

use crate::command::{BlockDone, Reply};
use crate::transaction::{Outcome, Transaction};
use crate::view::View;
use crate::writer::OpenFile;

/// Makes more of the block being written visible to new readers.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, inode: InodeId, written: &BlockDone) -> Outcome<Reply> {
    let mut open = OpenFile::of_session(txn, inode)?;
    open.extend(txn, written)?;
    if !txn.rows.is_empty() {
        open.save(txn)?;
    }
    Ok(Reply::Done)
}
