use crate::bucket::{self, Key};
use crate::command::Reply;
use crate::error::Error;
use crate::key;
use crate::limits::MAX_XATTR_VALUE;
use crate::transaction::{Outcome, Transaction};
use crate::upload::{self, UploadRow};
use crate::view::View;

/// Begins an object that arrives in parts. Nothing is seen of it.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    bucket: &str,
    name: &[u8],
    properties: &[u8],
) -> Outcome<Reply> {
    let record = bucket::open(&txn.rows, txn.caller, bucket)?;
    let key = Key::parse(bucket, name)?;
    upload::check_put(&txn.rows, txn.caller, &record, &key)?;
    if properties.len() > MAX_XATTR_VALUE {
        let (place, name, limit) = (key.show(), "properties".to_owned(), MAX_XATTR_VALUE as u64);
        return Err(Error::XattrTooLarge { place, name, limit }.into());
    }
    let (id, initiated) = (txn.next_inode(), txn.now);
    let (uid, gid) = txn.caller.ids();
    let row = UploadRow { initiated, uid, gid, properties: properties.to_vec() };
    txn.put(key::upload(record.inode, name, id), &row);
    Ok(Reply::Upload { id, initiated })
}
