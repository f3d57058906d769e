use std::time::Duration;

use crate::bucket::{self, Condition, Key};
use crate::command::Reply;
use crate::key;
use crate::row::{Body, DirectoryRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::trash;
use crate::tree;
use crate::view::View;

/// Removes the object at a key, if there is one, and the implicit directories that it leaves empty. To remove what is not
/// there is no error, unless a condition wants something there. The superuser can have it back for `keep_nanos`.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    name: &str,
    key: &[u8],
    condition: Option<&Condition>,
    keep_nanos: u64,
) -> Outcome<Reply> {
    let bucket = bucket::open(&txn.rows, txn.caller, name)?;
    let key = Key::parse(name, key)?;
    let found = bucket::lookup(&txn.rows, txn.caller, &bucket, &key)?;
    bucket::check(condition, found.as_ref().map(|(_, row)| row), &key)?;
    let Some((slot, row)) = found else { return Ok(Reply::Done) };
    let place = key.place(&bucket);
    tree::check_remove(txn, &place, &slot, &row)?;
    let keeps_others =
        row.body == Body::Directory && txn.rows.need::<DirectoryRow>(&key::directory(row.inode))?.usage.entries > 0;
    if keeps_others {
        // The object of the directory goes, the objects in it stay.
        bucket::set_implicit(txn, row.inode, true)?;
    } else {
        trash::bury(txn, &place, &slot, row, false, Duration::from_nanos(keep_nanos))?;
        bucket::prune(txn, bucket.inode, slot.directory)?;
    }
    Ok(Reply::Done)
}
