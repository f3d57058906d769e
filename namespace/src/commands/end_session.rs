use types::{InodeId, SessionId};

use crate::command::Reply;
use crate::commands::set_lock;
use crate::handles;
use crate::key;
use crate::limits::{CLOSE_LEASES, MAX_STEP, RESULT_SLOTS};
use crate::pending;
use crate::row::{LeaseRow, SessionRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::{View, ViewError};
use crate::writer::OpenFile;
use crate::xattr;

/// The client leaves in order. What is too much for one step is left to `ExpireSession`.
pub(crate) fn close<V: View>(txn: &mut Transaction<'_, V>, session: SessionId) -> Outcome<Reply> {
    expire(txn, session, CLOSE_LEASES)
}

/// Releases at most `limit` leases, owners of locks, open files and blocks allocated in advance; the session can do
/// nothing from the first step on, and goes with the last.
pub(crate) fn expire<V: View>(txn: &mut Transaction<'_, V>, session: SessionId, limit: u32) -> Outcome<Reply> {
    let Some(row) = txn.rows.session(session)? else { return Ok(Reply::Step { more: false }) };
    let limit = limit.clamp(1, MAX_STEP) as usize;
    let open_files = txn.rows.page(&key::open_files(session), limit + 1)?;
    for (key, _) in open_files.iter().take(limit) {
        release(txn, key::inode_of_session(key)?)?;
    }
    let mut budget = limit - open_files.len().min(limit);
    let unlocked = set_lock::release_session(txn, session, &mut budget)?;
    let closed = handles::close_session(txn, session, &mut budget)?;
    let freed = pending::free_session(txn, session, &mut budget)?;
    if open_files.len() > limit || !unlocked || !closed || !freed {
        if !row.ending {
            txn.put(key::session(session), &SessionRow { ending: true, ..row });
        }
        return Ok(Reply::Step { more: true });
    }
    for (key, _) in txn.rows.page(&key::results(session), RESULT_SLOTS as usize)? {
        txn.remove(key);
    }
    txn.remove(key::session(session));
    txn.system.sessions -= 1;
    Ok(Reply::Step { more: false })
}

/// Closes a file; one with an open block is left to recovery first. A file without a name goes.
fn release<V: View>(txn: &mut Transaction<'_, V>, inode: InodeId) -> Result<(), ViewError> {
    let lease: LeaseRow = txn.rows.need(&key::lease(inode))?;
    let open = OpenFile::load(txn, inode, lease)?;
    if !open.has_name() && !handles::is_open(&txn.rows, inode)? {
        return abandon(txn, &open);
    }
    open.take_over(txn).map(|_| ())
}

/// Removes a file without a name; its blocks become garbage.
pub(crate) fn abandon<V: View>(txn: &mut Transaction<'_, V>, open: &OpenFile) -> Result<(), ViewError> {
    let inode = open.inode();
    txn.remove(key::shared(inode));
    xattr::drop_all(txn, &open.row);
    txn.remove_lease(inode, open.lease.session);
    tree::add_file_garbage(txn, inode, open.row.need_file()?, true);
    Ok(())
}
