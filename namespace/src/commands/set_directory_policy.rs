use crate::command::{Reply, Where};
use crate::directory_policy::{self, DirectorySetting};
use crate::key;
use crate::resolve;
use crate::row::{Body, DirectoryRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::View;

/// Has a directory say how many copies there are of what is made below it, or over which racks.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, place: &Where, setting: DirectorySetting) -> Outcome<Reply> {
    let (_, row) = resolve::find(&txn.rows, txn.caller, place)?;
    txn.caller.check_superuser(|| resolve::show(place))?;
    if row.body != Body::Directory {
        return Err(resolve::not_a_directory(place, resolve::count(place)?, &row).into());
    }
    if let DirectorySetting::Replication { count: Some(count) } = setting {
        tree::check_replication(count)?;
    }
    let mut directory: DirectoryRow = txn.rows.need(&key::directory(row.inode))?;
    directory_policy::set(txn, row.inode, &mut directory, setting);
    Ok(Reply::Attributes { attributes: row.attributes(Some(&directory)) })
}
