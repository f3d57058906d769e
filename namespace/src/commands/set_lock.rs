use types::{InodeId, SessionId};

use crate::access::Right;
use crate::apply::Effect;
use crate::command::{Reply, Where};
use crate::error::Error;
use crate::key;
use crate::limits::{MAX_LOCKS_OF_INODE, MAX_LOCKS_OF_SESSION};
use crate::lock::{LockFamily, LockKind, LockOwner, LockRange, LockTable, LockWish, LocksRow};
use crate::resolve;
use crate::row::SessionRow;
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::{View, ViewError};

/// Locks or unlocks a range for an owner of the session; a conflict is an answer, never a wait. Unlocking asks nothing of
/// the inode, which may be gone.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, inode: InodeId, wish: &LockWish) -> Outcome<Reply> {
    let session = txn.need_session()?;
    let owner = LockOwner { session, owner: wish.owner };
    let range = match wish.family {
        LockFamily::Ranges => wish.range,
        LockFamily::Whole => LockRange::ALL,
    };
    if range.first > range.last {
        return Err(Error::BadLockRange { range }.into());
    }
    let wish = LockWish { range, ..*wish };
    if let Some(kind) = wish.kind {
        check_right(txn, inode, wish.family, kind)?;
    }
    let mut table = LockTable::load(&txn.rows, inode, wish.family)?;
    if let Some(kind) = wish.kind
        && let Some(held) = table.conflicts(owner, range, kind).next()
    {
        return Err(Error::LockConflict { inode, held }.into());
    }
    let of_owner = |table: &LockTable| table.row_of(owner).map_or(0, |row| row.held.len());
    let (had, before) = (of_owner(&table), table.len());
    let weaker = table.set(owner, &wish);
    let has = of_owner(&table);
    if has > had {
        if table.len() > MAX_LOCKS_OF_INODE as usize && table.len() > before {
            return Err(Error::TooManyLocks { inode, limit: MAX_LOCKS_OF_INODE }.into());
        }
        let row: SessionRow = txn.rows.need(&key::session(session))?;
        if row.locks as usize + (has - had) > MAX_LOCKS_OF_SESSION as usize {
            return Err(Error::TooManyLocksHeld { session, limit: MAX_LOCKS_OF_SESSION }.into());
        }
    }
    let row = table.row_of(owner).cloned().unwrap_or_default();
    put(txn, inode, wish.family, owner, &row)?;
    count(txn, owner, has as i64 - had as i64)?;
    if weaker {
        txn.effect(Effect::LocksReleased(inode));
    }
    Ok(Reply::Done)
}

/// Takes away everything that an owner of the session holds on an inode, of both families.
pub(crate) fn release<V: View>(txn: &mut Transaction<'_, V>, inode: InodeId, owner: u64) -> Outcome<Reply> {
    let owner = LockOwner { session: txn.need_session()?, owner };
    let mut released = 0;
    for family in [LockFamily::Ranges, LockFamily::Whole] {
        let row: Option<LocksRow> = txn.rows.row(&key::lock(inode, family, owner))?;
        if let Some(row) = row {
            released += row.held.len();
            put(txn, inode, family, owner, &LocksRow::default())?;
        }
    }
    if released > 0 {
        count(txn, owner, -(released as i64))?;
        txn.effect(Effect::LocksReleased(inode));
    }
    Ok(Reply::Done)
}

/// Takes away what is left of an ended session's locks, at most `budget` owners on inodes. True: none is left.
pub(crate) fn release_session<V: View>(
    txn: &mut Transaction<'_, V>,
    session: SessionId,
    budget: &mut usize,
) -> Result<bool, ViewError> {
    while *budget > 0 {
        let Some((marked, _)) = txn.rows.page(&key::locked_inodes(session), 1)?.pop() else { return Ok(true) };
        let inode = key::inode_of_session(&marked)?;
        let rows = txn.rows.page(&key::locks_of_session(inode, session), *budget + 1)?;
        let all = rows.len() <= *budget;
        for (key, _) in rows.into_iter().take(*budget) {
            txn.remove(key);
            *budget -= 1;
        }
        txn.effect(Effect::LocksReleased(inode));
        if all {
            txn.remove(marked);
        }
    }
    Ok(txn.rows.page(&key::locked_inodes(session), 1)?.is_empty())
}

/// Writes what an owner holds, and whether its session holds anything on that inode.
fn put<V: View>(
    txn: &mut Transaction<'_, V>,
    inode: InodeId,
    family: LockFamily,
    owner: LockOwner,
    row: &LocksRow,
) -> Result<(), ViewError> {
    let (key, mark) = (key::lock(inode, family, owner), key::locked_inode(owner.session, inode));
    if row.held.is_empty() {
        txn.remove(key);
        if txn.rows.page(&key::locks_of_session(inode, owner.session), 1)?.is_empty() {
            txn.remove(mark);
        }
    } else {
        txn.put(key, row);
        txn.mark(mark);
    }
    Ok(())
}

fn count<V: View>(txn: &mut Transaction<'_, V>, owner: LockOwner, change: i64) -> Result<(), ViewError> {
    if change != 0 {
        let key = key::session(owner.session);
        let mut row: SessionRow = txn.rows.need(&key)?;
        row.locks = row.locks.saturating_add_signed(i32::try_from(change).expect("limits keep it small"));
        txn.put(key, &row);
    }
    Ok(())
}

/// Refuses a lock that the caller could not have opened the file for.
fn check_right<V: View>(txn: &Transaction<'_, V>, inode: InodeId, family: LockFamily, kind: LockKind) -> Outcome<()> {
    let place = Where { base: inode, path: Vec::new() };
    let (_, row) = resolve::find_inode(&txn.rows, txn.caller, &place)?;
    let check = |right| txn.caller.check(&row, right, || inode.to_string());
    match (family, kind) {
        (LockFamily::Ranges, LockKind::Read) => check(Right::Read)?,
        (LockFamily::Ranges, LockKind::Write) => check(Right::Write)?,
        // flock(2) asks for nothing but an open file.
        (LockFamily::Whole, _) => check(Right::Read).or_else(|_| check(Right::Write))?,
    }
    Ok(())
}
