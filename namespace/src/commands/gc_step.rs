use std::time::Duration;

use types::{InodeId, Timestamp};

use crate::ageing;
use crate::command::Reply;
use crate::directory_policy;
use crate::extents;
use crate::key;
use crate::limits::MAX_STEP;
use crate::names;
use crate::resolve::Slot;
use crate::row::{self, Body, DirectoryRow, ExtentRow, GarbageRow, Kind};
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
                Kind::Directory => free_directory(txn, inode, garbage, &mut budget)?,
                Kind::File | Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {
                    let due = if garbage.never_named { txn.now } else { due };
                    free_file(txn, inode, due, &mut budget)?;
                }
            }
        }
    }
    Ok(Reply::Step { more: !txn.rows.page(&key::all_garbage(), 1)?.is_empty() })
}

/// Goes on behind the last name that was freed. Only when none follows are the names before it looked at once more: a
/// removed directory may still be known to somebody by its inode.
fn free_directory<V: View>(
    txn: &mut Transaction<'_, V>,
    directory: InodeId,
    mut garbage: GarbageRow,
    budget: &mut usize,
) -> Result<(), ViewError> {
    let asked = *budget;
    let all = key::entries(directory);
    let left = match &garbage.freed {
        Some(name) => all.after(key::entry(directory, name)),
        None => all,
    };
    let entries = txn.rows.page(&left, asked)?;
    let last_page = entries.len() < asked;
    let first_page = garbage.freed.is_none();
    if let Some((key, _)) = entries.last() {
        garbage.freed = Some(key::name_of(key)?.to_vec());
    }
    for (key, value) in entries {
        let row = txn.rows.entry_of(&key, &value)?;
        match &row.body {
            Body::Directory => {
                xattr::drop_all(txn, &row);
                tree::add_garbage(txn, row.inode, GarbageRow::DIRECTORY);
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
    match (last_page, first_page) {
        (true, true) => {
            let row: DirectoryRow = txn.rows.need(&key::directory(directory))?;
            ageing::forget(txn, directory, &row);
            directory_policy::forget(txn, &row);
            txn.remove(key::directory(directory));
            txn.remove(key::garbage(directory));
            *budget -= 1;
        }
        (true, false) => {
            txn.put(key::garbage(directory), &GarbageRow::DIRECTORY);
            *budget -= 1;
        }
        (false, _) => txn.put(key::garbage(directory), &garbage),
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
