use crate::command::{Reply, Where};
use crate::key;
use crate::resolve;
use crate::row::{Body, DirectoryRow, Quota};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// Bounds what lies below a directory.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, place: &Where, quota: Quota) -> Outcome<Reply> {
    let (_, row) = resolve::find(&txn.rows, txn.caller, place)?;
    txn.caller.check_superuser(|| resolve::show(place))?;
    if row.body != Body::Directory {
        return Err(resolve::not_a_directory(place, resolve::count(place)?, &row).into());
    }
    let mut directory: DirectoryRow = txn.rows.need(&key::directory(row.inode))?;
    directory.quota = (quota != Quota::default()).then_some(quota);
    directory.ctime = txn.now;
    txn.put_directory(row.inode, &directory);
    Ok(Reply::Attributes { attributes: row.attributes(Some(&directory)) })
}
