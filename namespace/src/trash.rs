//! What was removed and can be had back for a while: a tree of its own, beside that of the root.
//!
//! 1. An item is what one command moved here: its row under `t`, its mark under `T` and its entry in the directory of the
//!    trash, whose name is its number; all three or none. No two have the same number, ever.
//! 2. What is in the trash is found neither by path nor by inode; only a restore takes it out again. A writer that has it
//!    open goes on, and so does who reads it.
//! 3. It counts in the sums of the directory of the trash and in no other, so in no quota: to remove makes room at once,
//!    and to restore is to add.
//! 4. An item belongs to whom removed it. Only that user and the superuser see it, restore it or remove it for good. What
//!    users removed for good belongs to [`BURIED`], and so to the superuser alone, whatever number a user claims.

use std::time::Duration;

use minicbor::{Decode, Encode};
use types::{InodeId, MAX_PATH, Timestamp, TrashId};

use crate::command::{Ownership, Where};
use crate::error::Error;
use crate::handles;
use crate::key;
use crate::limits::MAX_STEP;
use crate::names;
use crate::resolve::{self, Slot};
use crate::row::{Body, DirectoryRow, InodeRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::{Page, View, ViewError};

/// The name of the directory of the trash, in the directory that has the root too: no path leads there.
const TOP: &[u8] = b"trash";
const TOP_MODE: u32 = 0o700;
/// Whose is what users removed for good: the number that means "no user" on Linux.
pub const BURIED: u32 = u32::MAX;

/// An item in the trash.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TrashRow {
    /// Where it was: its path then, seen from the root. One too long to be named has its directory as the base.
    #[n(0)]
    pub from: Where,
    /// The directory that it was in.
    #[n(1)]
    pub directory: InodeId,
    #[n(2)]
    pub removed: Timestamp,
    /// When it goes for good.
    #[n(3)]
    pub due: Timestamp,
}

/// The directory of the trash, once something was removed.
pub(crate) fn top(view: &impl View) -> Result<Option<InodeId>, ViewError> {
    Ok(view.entry(InodeId::NONE, TOP)?.map(|row| row.inode))
}

fn make_top<V: View>(txn: &mut Transaction<'_, V>) -> Result<InodeId, ViewError> {
    if let Some(top) = top(&txn.rows)? {
        return Ok(top);
    }
    let slot = Slot { directory: InodeId::NONE, name: TOP.to_vec() };
    Ok(tree::add_directory(txn, &slot, Ownership { uid: 0, gid: 0, mode: TOP_MODE, umask: None })?.inode)
}

fn slot_of(top: InodeId, item: TrashId) -> Slot {
    Slot { directory: top, name: item.get().to_string().into_bytes() }
}

/// Whether a directory lies in the trash.
pub(crate) fn holds(view: &impl View, directory: InodeId) -> Result<bool, ViewError> {
    let Some(top) = top(view)? else { return Ok(false) };
    let mut at = directory;
    while at != top {
        match view.directory(at)? {
            Some(row) => at = row.parent,
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Whether a file has other names in the tree: then the one that goes takes nothing with it that is worth keeping.
pub(crate) fn has_other_names(view: &impl View, slot: &Slot, row: &InodeRow) -> Result<bool, ViewError> {
    if row.links() < 2 || row.body == Body::Directory {
        return Ok(false);
    }
    for other in names::all(view, row.inode)? {
        if other != *slot && resolve::is_attached(view, other.directory)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Moves what is in a slot to the trash of the caller: O(depth), whatever is below.
pub(crate) fn put<V: View>(
    txn: &mut Transaction<'_, V>,
    slot: &Slot,
    row: InodeRow,
    keep: Duration,
) -> Outcome<(TrashId, Timestamp)> {
    let uid = txn.caller.uid();
    put_for(txn, uid, slot, row, keep)
}

/// Takes what is in a slot out of the tree for good, as far as users can tell: what has content is kept for a while. What
/// somebody writes, or has open, or finds under another name, is treated as ever: its life does not end here.
pub(crate) fn bury<V: View>(
    txn: &mut Transaction<'_, V>,
    place: &Where,
    slot: &Slot,
    row: InodeRow,
    recursive: bool,
    keep: Duration,
) -> Outcome<()> {
    let is_kept = !keep.is_zero()
        && match &row.body {
            Body::Directory => {
                recursive && txn.rows.need::<DirectoryRow>(&key::directory(row.inode))?.usage.entries > 0
            }
            Body::File(file) => {
                file.length.get() > 0 && !file.writing && row.links() < 2 && !handles::is_open(&txn.rows, row.inode)?
            }
            Body::Symlink(_) | Body::Special(_) => false,
        };
    if is_kept {
        put_for(txn, BURIED, slot, row, keep)?;
        return Ok(());
    }
    tree::detach(txn, place, slot, &row, recursive)
}

fn put_for<V: View>(
    txn: &mut Transaction<'_, V>,
    uid: u32,
    slot: &Slot,
    mut row: InodeRow,
    keep: Duration,
) -> Outcome<(TrashId, Timestamp)> {
    let from = origin(&txn.rows, slot)?;
    let top = make_top(txn)?;
    // Numbers of inodes are handed out once, and so is this one.
    let item = TrashId::new(txn.next_inode().get());
    tree::relocate(txn, &mut row, slot, &slot_of(top, item))?;
    let due = txn.now.saturating_add(keep);
    let kept = TrashRow { from, directory: slot.directory, removed: txn.now, due };
    txn.put(key::trash_item(uid, item), &kept);
    txn.mark(key::trash_due(due, uid, item));
    Ok((item, due))
}

/// The path of a slot in the tree.
fn origin(view: &impl View, slot: &Slot) -> Result<Where, ViewError> {
    let mut names = vec![slot.name.clone()];
    let mut length = slot.name.len() + 1;
    let mut at = slot.directory;
    while at != InodeId::ROOT {
        let row: DirectoryRow = view.need(&key::directory(at))?;
        length += row.name.len() + 1;
        if length > MAX_PATH {
            return Ok(Where { base: slot.directory, path: slot.name.clone() });
        }
        names.push(row.name);
        at = row.parent;
    }
    let path = names.iter().rev().flat_map(|name| [b"/", name.as_slice()].concat()).collect();
    Ok(Where { base: InodeId::ROOT, path })
}

/// Takes an item back into the tree, to where it was or to `to`. Nothing may be there.
pub(crate) fn restore<V: View>(
    txn: &mut Transaction<'_, V>,
    (uid, item): (u32, TrashId),
    to: Option<&Where>,
    parents: bool,
) -> Outcome<InodeRow> {
    check_owner(txn, uid)?;
    let (from, mut row, kept) = find(txn, uid, item)?;
    let place = to.unwrap_or(&kept.from);
    let slot = if parents {
        let owner = txn.caller.ownership(Ownership { uid: row.uid, gid: row.gid, mode: 0, umask: None });
        tree::slot_with_parents(txn, place, (owner.uid, owner.gid))?
    } else {
        resolve::slot(&txn.rows, txn.caller, place)?
    };
    if slot.is_root() {
        return Err(Error::RootFixed.into());
    }
    if txn.rows.entry(slot.directory, &slot.name)?.is_some() {
        return Err(Error::Exists { place: resolve::show(place) }.into());
    }
    tree::check_add(txn, place, &slot)?;
    if slot.directory != kept.directory {
        tree::check_other_parent(txn, place, &row)?;
    }
    tree::relocate(txn, &mut row, &from, &slot)?;
    forget(txn, uid, item, &kept);
    Ok(row)
}

/// Removes for good what a user has here, one item or the first few. True: there is more.
pub(crate) fn empty<V: View>(
    txn: &mut Transaction<'_, V>,
    uid: u32,
    item: Option<TrashId>,
    limit: u32,
) -> Outcome<bool> {
    check_owner(txn, uid)?;
    if let Some(item) = item {
        purge(txn, uid, item)?;
        return Ok(false);
    }
    let range = key::trash_of(uid);
    let page = txn.rows.page(&range, bounded(limit))?;
    purge_all(txn, &page, key::trash_of_key)?;
    Ok(!txn.rows.page(&range, 1)?.is_empty())
}

/// Removes for good what is due. True: there is more.
pub(crate) fn expire<V: View>(txn: &mut Transaction<'_, V>, limit: u32) -> Outcome<bool> {
    let range = key::trash_due_by(txn.now);
    let page = txn.rows.page(&range, bounded(limit))?;
    purge_all(txn, &page, key::trash_of_due)?;
    Ok(!txn.rows.page(&range, 1)?.is_empty())
}

fn bounded(limit: u32) -> usize {
    limit.clamp(1, MAX_STEP) as usize
}

fn purge_all<V: View>(
    txn: &mut Transaction<'_, V>,
    page: &Page,
    item_of: impl Fn(&[u8]) -> Result<(u32, TrashId), ViewError>,
) -> Outcome<()> {
    page.iter().try_for_each(|(key, _)| {
        let (uid, item) = item_of(key)?;
        purge(txn, uid, item)
    })
}

fn purge<V: View>(txn: &mut Transaction<'_, V>, uid: u32, item: TrashId) -> Outcome<()> {
    let (slot, row, kept) = find(txn, uid, item)?;
    tree::detach(txn, &kept.from, &slot, &row, true)?;
    forget(txn, uid, item, &kept);
    Ok(())
}

fn find<V: View>(txn: &Transaction<'_, V>, uid: u32, item: TrashId) -> Outcome<(Slot, InodeRow, TrashRow)> {
    let Some(kept) = txn.rows.row::<TrashRow>(&key::trash_item(uid, item))? else {
        return Err(Error::NoSuchTrash { uid, item }.into());
    };
    let (slot, row) = entry_of(&txn.rows, item)?;
    Ok((slot, row, kept))
}

/// What an item is.
pub(crate) fn entry_of(view: &impl View, item: TrashId) -> Result<(Slot, InodeRow), ViewError> {
    let missing = || ViewError::Row { key: item.to_string(), reason: "it is not in the trash".to_owned() };
    let slot = slot_of(top(view)?.ok_or_else(missing)?, item);
    let row = view.entry(slot.directory, &slot.name)?.ok_or_else(missing)?;
    Ok((slot, row))
}

fn forget<V: View>(txn: &mut Transaction<'_, V>, uid: u32, item: TrashId, kept: &TrashRow) {
    txn.remove(key::trash_item(uid, item));
    txn.remove(key::trash_due(kept.due, uid, item));
}

/// Invariant 4.
fn check_owner<V: View>(txn: &Transaction<'_, V>, uid: u32) -> Result<(), Error> {
    if uid != BURIED && txn.caller.uid() == uid {
        Ok(())
    } else {
        txn.caller.check_superuser(|| format!("the trash of uid {uid}"))
    }
}
