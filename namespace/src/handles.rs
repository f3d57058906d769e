//! Files that sessions have open, counted, so that a file which loses its last name lives on until it is closed.
//!
//! 1. A file without a name is under `h` with no link, and lives as long as a session has it open or holds its lease.
//! 2. The last close of a file without a name makes it garbage; so does the end of the last session that had it open.
//! 3. An open file in a removed tree is found by its number alone. Garbage collection takes it out of the tree when it
//!    comes by.

use types::{InodeId, SessionId};

use crate::command::ClosedHandles;
use crate::error::Error;
use crate::key;
use crate::limits::{MAX_HANDLES_OF_INODE, MAX_HANDLES_OF_SESSION};
use crate::row::{HandlesRow, InodeRow, SessionRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::{View, ViewError};
use crate::writer;
use crate::xattr;

/// Whether any session has the file open.
pub(crate) fn is_open(view: &impl View, inode: InodeId) -> Result<bool, ViewError> {
    Ok(!view.page(&key::handles(inode), 1)?.is_empty())
}

/// One more handle of a session.
pub(crate) fn open<V: View>(txn: &mut Transaction<'_, V>, session: SessionId, inode: InodeId) -> Outcome<()> {
    let key = key::handle(inode, session);
    let count = match txn.rows.row::<HandlesRow>(&key)? {
        Some(row) => row.count,
        None => {
            let mut row: SessionRow = txn.rows.need(&key::session(session))?;
            if row.open_files >= MAX_HANDLES_OF_SESSION {
                return Err(Error::TooManyOpen { session, limit: MAX_HANDLES_OF_SESSION }.into());
            }
            row.open_files += 1;
            txn.put(key::session(session), &row);
            txn.mark(key::opened_inode(session, inode));
            0
        }
    };
    if count >= MAX_HANDLES_OF_INODE {
        return Err(Error::TooManyOpen { session, limit: MAX_HANDLES_OF_INODE }.into());
    }
    txn.put(key, &HandlesRow { count: count + 1 });
    Ok(())
}

/// So many handles of a session fewer.
pub(crate) fn close<V: View>(
    txn: &mut Transaction<'_, V>,
    session: SessionId,
    ClosedHandles { inode, count }: ClosedHandles,
) -> Outcome<()> {
    let key = key::handle(inode, session);
    let held = txn.rows.row::<HandlesRow>(&key)?.map_or(0, |row| row.count);
    match held.checked_sub(count) {
        None => Err(Error::NotOpen { session, inode }.into()),
        Some(0) => {
            let mut row: SessionRow = txn.rows.need(&key::session(session))?;
            row.open_files = row.open_files.saturating_sub(1);
            txn.put(key::session(session), &row);
            Ok(forget(txn, session, inode)?)
        }
        Some(left) => {
            txn.put(key, &HandlesRow { count: left });
            Ok(())
        }
    }
}

/// Closes what is left of an ended session's files, at most `budget`. True: none is left.
pub(crate) fn close_session<V: View>(
    txn: &mut Transaction<'_, V>,
    session: SessionId,
    budget: &mut usize,
) -> Result<bool, ViewError> {
    let opened = txn.rows.page(&key::opened_inodes(session), *budget + 1)?;
    let all = opened.len() <= *budget;
    for (key, _) in opened.into_iter().take(*budget) {
        forget(txn, session, key::inode_of_session(&key)?)?;
        *budget -= 1;
    }
    Ok(all)
}

/// The session has the file open no more (invariant 2).
fn forget<V: View>(txn: &mut Transaction<'_, V>, session: SessionId, inode: InodeId) -> Result<(), ViewError> {
    txn.remove(key::handle(inode, session));
    txn.remove(key::opened_inode(session, inode));
    if is_open(&txn.rows, inode)? {
        return Ok(());
    }
    let Some(row) = txn.rows.shared(inode)?.filter(|row| row.links() == 0) else { return Ok(()) };
    let file = row.need_file()?;
    // With a lease, its end decides.
    if !file.writing {
        txn.remove(key::shared(inode));
        xattr::drop_all(txn, &row);
        tree::add_file_garbage(txn, inode, file, false);
    }
    Ok(())
}

/// Keeps a file that loses its last name, if a session has it open. A writer under a lease loses that all the same; an
/// open block is left to recovery. The rows of the name are the caller's, and must still be there.
pub(crate) fn keep<V: View>(txn: &mut Transaction<'_, V>, row: &InodeRow) -> Result<bool, ViewError> {
    let inode = row.inode;
    if !is_open(&txn.rows, inode)? {
        return Ok(false);
    }
    let mut row = row.clone();
    let lease = txn.rows.lease(inode)?;
    let recovering = lease.is_some_and(|lease| writer::pass_on(txn, inode, lease));
    let now = txn.now;
    let file = row.need_file_mut()?;
    file.writing = recovering;
    file.ctime = now;
    row.names = Some(0);
    txn.put_shared(&row);
    Ok(true)
}
