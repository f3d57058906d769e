use crate::access::Caller;
use crate::bucket;
use crate::command::{Reply, Where};
use crate::error::Error;
use crate::key;
use crate::key_listing::{self, KeyQuery};
use crate::resolve;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::View;

/// Removes a bucket that has no object, with its directory. Implicit directories that others emptied go with it.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, name: &str) -> Outcome<Reply> {
    let bucket = bucket::open(&txn.rows, txn.caller, name)?;
    let place = Where { base: bucket.inode, path: Vec::new() };
    let (slot, row) = resolve::find(&txn.rows, txn.caller, &place)?;
    tree::check_remove(txn, &place, &slot, &row)?;
    let any = KeyQuery { prefix: b"", delimiter: b"", after: b"", max: 1 };
    let page = key_listing::list(&txn.rows, Caller::SYSTEM, name, &any)?;
    if !page.items.is_empty() || page.resume.is_some() {
        return Err(Error::NotEmpty { place: format!("bucket {name}") }.into());
    }
    tree::detach(txn, &place, &slot, &row, true)?;
    txn.remove(key::bucket(name));
    Ok(Reply::Done)
}
