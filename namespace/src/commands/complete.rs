use types::{InodeId, Timestamp};

use crate::command::{BlockDone, Destination, Reply};
use crate::error::Error;
use crate::key;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::View;
use crate::writer::OpenFile;

/// What closes a file.
pub(crate) struct Closing<'a> {
    pub(crate) last: Option<&'a BlockDone>,
    pub(crate) min_replicas: u8,
    pub(crate) publish: Option<&'a Destination>,
    pub(crate) mtime: Option<Timestamp>,
}

/// Commits the last block, and closes the content as of now.
pub(crate) fn finish_content<V: View>(
    txn: &mut Transaction<'_, V>,
    open: &mut OpenFile,
    last: Option<&BlockDone>,
    min_replicas: u8,
) -> Outcome<()> {
    match (last, open.open_block()) {
        (Some(done), _) => open.finish_block(txn, done, min_replicas)?,
        (None, Some(block)) => return Err(Error::BlockOpen { block }.into()),
        (None, None) => {}
    }
    open.check_short(txn)?;
    let file = open.row.need_file_mut()?;
    file.writing = false;
    file.mtime = txn.now;
    file.ctime = txn.now;
    Ok(())
}

/// Commits the last block, gives up the lease, and names a file that had no name.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, inode: InodeId, closing: &Closing<'_>) -> Outcome<Reply> {
    let mut open = OpenFile::of_session(txn, inode)?;
    finish_content(txn, &mut open, closing.last, closing.min_replicas)?;
    if let Some(mtime) = closing.mtime {
        open.row.need_file_mut()?.mtime = mtime;
    }
    match (open.has_name(), closing.publish) {
        (true, None) => {
            let attributes = open.row.attributes(None);
            open.save(txn)?;
            Ok(Reply::Attributes { attributes })
        }
        (true, Some(_)) => Err(Error::AlreadyNamed { inode }.into()),
        (false, None) => Err(Error::NameNeeded { inode }.into()),
        (false, Some(destination)) => {
            txn.remove(key::shared(inode));
            txn.remove_lease(inode, open.lease.session);
            open.row.names = None;
            tree::place_file(txn, destination, &mut open.row)?;
            Ok(Reply::Attributes { attributes: open.row.attributes(None) })
        }
    }
}
