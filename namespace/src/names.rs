//! The names of what is no directory: one, several, or none left.
//!
//! 1. Each name of an inode with a row under `h` has a back link under `p`, and the row has their number.
//! 2. An inode counts once, in the directory that its `i` row has. When that name goes, another takes over what it counts:
//!    the first in the order of the back links that is still in the tree, else the first.
//! 3. What a name takes over is no growth to a quota: nobody added anything.

use types::InodeId;

use crate::error::Error;
use crate::home::Home;
use crate::key;
use crate::limits::MAX_LINKS;
use crate::resolve::{self, Slot};
use crate::row::{Body, InodeRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree::{self, Delta};
use crate::view::{View, ViewError};
use crate::xattr;

/// Every name of an inode with a row under `h`, in the order of their directories.
pub(crate) fn all(view: &impl View, inode: InodeId) -> Result<Vec<Slot>, ViewError> {
    let page = view.page(&key::back_links(inode), MAX_LINKS as usize)?;
    page.iter().map(|(key, _)| key::back_link_of(key)).collect()
}

/// Gives what is in the tree under `first` another name. The slot is empty, and the sums of its directory are the
/// caller's.
pub(crate) fn add<V: View>(
    txn: &mut Transaction<'_, V>,
    home: &Home,
    row: &mut InodeRow,
    slot: &Slot,
    place: impl FnOnce() -> String,
) -> Outcome<()> {
    if row.links() >= MAX_LINKS {
        return Err(Error::TooManyLinks { place: place(), limit: MAX_LINKS }.into());
    }
    row.names = Some(row.links() + 1);
    row.set_ctime(txn.now);
    if let Home::Entry(first) = home {
        refer(txn, row.inode, first);
    }
    refer(txn, row.inode, slot);
    txn.put_shared(row);
    Ok(())
}

fn refer<V: View>(txn: &mut Transaction<'_, V>, inode: InodeId, slot: &Slot) {
    txn.put(key::entry(slot.directory, &slot.name), &inode);
    txn.mark(key::back_link(inode, slot));
}

/// Writes what was under one name under another, with the way back. Gives what moves between the sums of the two
/// directories, which are the caller's, and so is the old entry.
pub(crate) fn put<V: View>(
    txn: &mut Transaction<'_, V>,
    row: &InodeRow,
    from: &Slot,
    to: &Slot,
) -> Result<Delta, ViewError> {
    if row.names.is_none() {
        txn.put_entry(to.directory, &to.name, row);
        txn.put_link(row.inode, to.directory, &to.name);
        return Ok(Delta::of_one(&row.body));
    }
    txn.remove(key::back_link(row.inode, from));
    refer(txn, row.inode, to);
    txn.put_shared(row);
    if counts_at(txn, row.inode, from)? {
        txn.put_link(row.inode, to.directory, &to.name);
        Ok(Delta::of_one(&row.body))
    } else {
        Ok(Delta::default())
    }
}

/// Takes one name away, and what it stood for with the last. Gives what leaves the sums of the directory; they are the
/// caller's, and so is the entry, which must still be there.
pub(crate) fn drop_one<V: View>(txn: &mut Transaction<'_, V>, slot: &Slot, row: &InodeRow) -> Result<Delta, ViewError> {
    let inode = row.inode;
    if row.names.is_some() {
        txn.remove(key::back_link(inode, slot));
    }
    if row.links() > 1 {
        let mut row = row.clone();
        row.names = Some(row.links() - 1);
        row.set_ctime(txn.now);
        txn.put_shared(&row);
        return hand_over(txn, slot, &row);
    }
    match &row.body {
        Body::File(_) => tree::drop_file(txn, row)?,
        Body::Symlink(_) | Body::Special(_) => {
            txn.remove(key::link(inode));
            if row.names.is_some() {
                txn.remove(key::shared(inode));
            }
            xattr::drop_all(txn, row);
        }
        Body::Directory => {
            let reason = "a directory was taken for one of several names".to_owned();
            return Err(ViewError::Row { key: inode.to_string(), reason });
        }
    }
    Ok(Delta::of_one(&row.body))
}

/// Invariant 2.
fn hand_over<V: View>(txn: &mut Transaction<'_, V>, gone: &Slot, row: &InodeRow) -> Result<Delta, ViewError> {
    let inode = row.inode;
    if !counts_at(txn, inode, gone)? {
        return Ok(Delta::default());
    }
    let names = all(&txn.rows, inode)?;
    let mut heir = None;
    for slot in &names {
        if resolve::is_attached(&txn.rows, slot.directory)? {
            heir = Some(slot);
            break;
        }
    }
    let missing = || ViewError::Row { key: inode.to_string(), reason: "it counts names that are not there".to_owned() };
    let heir = heir.or(names.first()).ok_or_else(missing)?;
    let delta = Delta::of_one(&row.body);
    txn.put_link(inode, heir.directory, &heir.name);
    tree::hand_over(txn, gone.directory, heir.directory, delta)?;
    Ok(delta)
}

fn counts_at<V: View>(txn: &Transaction<'_, V>, inode: InodeId, slot: &Slot) -> Result<bool, ViewError> {
    let link = txn.rows.link(inode)?;
    Ok(link.is_some_and(|link| link.parent == slot.directory && link.name == slot.name))
}
