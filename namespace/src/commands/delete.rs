use crate::command::{Reply, Where};
use crate::error::Error;
use crate::resolve::{self, Slot};
use crate::row::{Body, InodeRow};
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::View;

/// Takes an object out of the tree. A writer of it, or of anything below, loses its lease, at the latest when garbage
/// collection gets there; until then what it writes goes nowhere.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, place: &Where, recursive: bool) -> Outcome<Reply> {
    let (slot, row) = removable(txn, place, recursive)?;
    tree::detach(txn, place, &slot, &row, recursive)?;
    Ok(Reply::Done)
}

/// What is at a place, if the caller may remove it.
pub(crate) fn removable<V: View>(
    txn: &Transaction<'_, V>,
    place: &Where,
    recursive: bool,
) -> Outcome<(Slot, InodeRow)> {
    let (slot, row) = resolve::find(&txn.rows, txn.caller, place)?;
    if slot.is_root() {
        return Err(Error::RootFixed.into());
    }
    tree::check_remove(txn, place, &slot, &row)?;
    if recursive && row.body == Body::Directory {
        txn.caller.check_remove_below(&txn.rows, &row, &resolve::show(place))?;
    }
    Ok((slot, row))
}
