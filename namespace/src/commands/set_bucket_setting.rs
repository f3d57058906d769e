use crate::bucket::{self, BucketSetting};
use crate::command::{Reply, Where};
use crate::commands::set_xattr;
use crate::error::Error;
use crate::limits::MAX_XATTR_VALUE;
use crate::resolve;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;
use crate::xattr;

/// Keeps a setting with the directory of a bucket, or takes it away. To take away what is not there is no error.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    name: &str,
    setting: BucketSetting,
    value: Option<&[u8]>,
) -> Outcome<Reply> {
    let bucket = bucket::open(&txn.rows, txn.caller, name)?;
    let (home, mut row) = resolve::find_inode(&txn.rows, txn.caller, &Where { base: bucket.inode, path: Vec::new() })?;
    txn.caller.check_owner(&row, || format!("bucket {name}"))?;
    let attribute = setting.attribute();
    match value {
        Some(value) if value.len() > MAX_XATTR_VALUE => {
            let (place, name) = (format!("bucket {name}"), String::from_utf8_lossy(attribute).into_owned());
            return Err(Error::XattrTooLarge { place, name, limit: MAX_XATTR_VALUE as u64 }.into());
        }
        Some(value) => xattr::put(txn, &mut row, attribute, value),
        None if !xattr::take(txn, &mut row, attribute) => return Ok(Reply::Done),
        None => {}
    }
    set_xattr::save(txn, &home, row)?;
    Ok(Reply::Done)
}
