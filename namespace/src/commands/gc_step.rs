use std::time::Duration;

use types::{InodeId, Timestamp};

use crate::command::Reply;
use crate::extents;
use crate::key;
use crate::limits::MAX_STEP;
use crate::names;
use crate::resolve::Slot;
use crate::row::{self, Body, ExtentRow, GarbageRow, Kind};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::{View, ViewError};
use crate::xattr;

/// Frees at most `limit` entries and extents of what was removed. Directories below a removed one become
/// garbage of their own, so a step never descends.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, limit: u32, grace_nanos: u64) -> Outcome<Reply> {
    let due = txn.now.saturating_add(Duration::from_nanos(grace_nanos));
    let mut budget = limit.clamp(1, MAX_STEP) as usize;
    // Garbage that appears on the way is met by this step or by the next: the answer says whether one is needed.
    let mut range = key::all_garbage();
    while budget > 0 {
        let page = txn.rows.page(&range, budget)?;
        let Some((last, _)) = page.last() else { break };
        range = range.after(last.clone());
        for (key, value) in page {
            if budget == 0 {
                break;
            }
            let inode = InodeId::new(key::number_of(&key)?);
            let garbage: GarbageRow = row::decode(&key, &value)?;
            match garbage.kind {
                Kind::Directory => free_directory(txn, inode, &mut budget)?,
                Kind::File | Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {
                    let due = if garbage.never_named { txn.now } else { due };
                    free_file(txn, inode, due, &mut budget)?;
                }
            }
        }
    }
    Ok(Reply::Step { more: !txn.rows.page(&key::all_garbage(), 1)?.is_empty() })
}

fn free_directory<V: View>(
    txn: &mut Transaction<'_, V>,
    directory: InodeId,
    budget: &mut usize,
) -> Result<(), ViewError> {
    let asked = *budget;
    let entries = txn.rows.page(&key::entries(directory), asked)?;
    let last_page = entries.len() < asked;
    for (key, value) in entries {
        let row = txn.rows.entry_of(&key, &value)?;
        match &row.body {
            Body::Directory => {
                xattr::drop_all(txn, &row);
                let row_of_its_own = GarbageRow { kind: Kind::Directory, never_named: false };
                tree::add_garbage(txn, row.inode, row_of_its_own);
            }
            // Nothing counts here any more.
            Body::File(_) | Body::Symlink(_) | Body::Special(_) => {
                let name = key::name_of(&key)?.to_vec();
                names::drop_one(txn, &Slot { directory, name }, &row)?;
            }
        }
        txn.remove(key);
        *budget -= 1;
    }
    if last_page {
        txn.remove(key::directory(directory));
        txn.remove(key::garbage(directory));
        *budget -= 1;
    }
    Ok(())
}

fn free_file<V: View>(
    txn: &mut Transaction<'_, V>,
    inode: InodeId,
    due: Timestamp,
    budget: &mut usize,
) -> Result<(), ViewError> {
    let asked = *budget;
    let page = txn.rows.page(&key::extents(inode), asked)?;
    let last_page = page.len() < asked;
    for (key, value) in page {
        let extent: ExtentRow = row::decode(&key, &value)?;
        txn.remove(key);
        extents::release(txn, &extent, due)?;
        *budget -= 1;
    }
    if last_page {
        txn.remove(key::garbage(inode));
        *budget -= 1;
    }
    Ok(())
}
