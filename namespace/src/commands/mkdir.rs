use crate::bucket;
use crate::command::{Ownership, Reply, Where};
use crate::error::Error;
use crate::key;
use crate::resolve;
use crate::row::{Body, DirectoryRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::View;

/// A new directory; with `parents`, whatever of the path is missing, down to nothing.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    place: &Where,
    ownership: Ownership,
    parents: bool,
) -> Outcome<Reply> {
    tree::check_mode(ownership.mode)?;
    let ownership = txn.caller.ownership(ownership);
    let slot = if parents {
        tree::slot_with_parents(txn, place, (ownership.uid, ownership.gid))?
    } else {
        resolve::slot(&txn.rows, txn.caller, place)?
    };
    let row = match txn.rows.entry(slot.directory, &slot.name)? {
        None => {
            tree::check_add(txn, place, &slot)?;
            tree::add_directory(txn, &slot, ownership)?
        }
        Some(row) if parents && row.body == Body::Directory => {
            // Whoever asks for it wants it to stay.
            bucket::set_implicit(txn, row.inode, false)?;
            row
        }
        Some(row) if parents && matches!(row.body, Body::Symlink(_)) => {
            return Err(resolve::not_a_directory(place, resolve::count(place)?, &row).into());
        }
        Some(_) => return Err(Error::Exists { place: resolve::show(place) }.into()),
    };
    let directory: DirectoryRow = txn.rows.need(&key::directory(row.inode))?;
    Ok(Reply::Attributes { attributes: row.attributes(Some(&directory)) })
}
