use types::InodeId;

use crate::command::{Reply, UploadName};
use crate::key;
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::upload::{self, UploadRow};
use crate::view::View;

/// Gives an upload up.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, name: &UploadName) -> Outcome<Reply> {
    let (bucket, key, row) = upload::find(&txn.rows, txn.caller, name)?;
    upload::check_manage(&txn.rows, txn.caller, &bucket, &key, &row)?;
    upload::end(txn, key::upload(bucket.inode, &name.key, name.id), name.id)?;
    Ok(Reply::Done)
}

/// The leader's: the same for one that nobody goes on with. That it is over already is no error.
pub(crate) fn expire<V: View>(
    txn: &mut Transaction<'_, V>,
    directory: InodeId,
    name: &[u8],
    id: InodeId,
) -> Outcome<Reply> {
    let upload_key = key::upload(directory, name, id);
    if txn.rows.row::<UploadRow>(&upload_key)?.is_some() {
        upload::end(txn, upload_key, id)?;
    }
    Ok(Reply::Done)
}
