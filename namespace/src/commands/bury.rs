use std::time::Duration;

use super::delete;
use crate::command::{Reply, Where};
use crate::transaction::{Outcome, Transaction};
use crate::trash;
use crate::view::View;

/// Removes an object as [`delete::run`] does. The superuser can have it back for a while.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    place: &Where,
    recursive: bool,
    keep_nanos: u64,
) -> Outcome<Reply> {
    let (slot, row) = delete::removable(txn, place, recursive)?;
    trash::bury(txn, place, &slot, row, recursive, Duration::from_nanos(keep_nanos))?;
    Ok(Reply::Done)
}
