use std::time::Duration;

use super::delete;
use crate::command::{Reply, Where};
use crate::error::Error;
use crate::key;
use crate::resolve;
use crate::row::{Body, DirectoryRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::trash;
use crate::tree;
use crate::view::View;

/// Moves an object to the trash of the caller. A name goes for good where nothing is lost with it: when the file has
/// others in the tree.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    place: &Where,
    recursive: bool,
    keep_nanos: u64,
) -> Outcome<Reply> {
    let (slot, row) = delete::removable(txn, place, recursive)?;
    if keep_nanos == 0 || trash::has_other_names(&txn.rows, &slot, &row)? {
        tree::detach(txn, place, &slot, &row, recursive)?;
        return Ok(Reply::Done);
    }
    if !recursive && row.body == Body::Directory {
        let directory: DirectoryRow = txn.rows.need(&key::directory(row.inode))?;
        if directory.usage.entries > 0 {
            return Err(Error::NotEmpty { place: resolve::show(place) }.into());
        }
    }
    let (item, due) = trash::put(txn, &slot, row, Duration::from_nanos(keep_nanos))?;
    Ok(Reply::Trashed { item, due })
}
