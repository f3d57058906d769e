use std::time::Duration;

use crate::ageing;
use crate::command::{Reply, Where};
use crate::error::Error;
use crate::key;
use crate::limits::MIN_TTL;
use crate::resolve;
use crate::row::{Body, DirectoryRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// Gives a directory a time to live, which removes what is below without asking anybody again. So only its owner may, and
/// only one who may remove all that is there now.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, place: &Where, ttl_nanos: Option<u64>) -> Outcome<Reply> {
    let (_, row) = resolve::find(&txn.rows, txn.caller, place)?;
    txn.caller.check_owner(&row, || resolve::show(place))?;
    if row.body != Body::Directory {
        return Err(resolve::not_a_directory(place, resolve::count(place)?, &row).into());
    }
    if let Some(ttl) = ttl_nanos.map(Duration::from_nanos) {
        if ttl < MIN_TTL {
            return Err(Error::BadTtl { place: resolve::show(place), least_nanos: MIN_TTL.as_nanos() as u64 }.into());
        }
        txn.caller.check_remove_below(&txn.rows, &row, &resolve::show(place))?;
    }
    let mut directory: DirectoryRow = txn.rows.need(&key::directory(row.inode))?;
    ageing::set(txn, row.inode, &mut directory, ttl_nanos);
    Ok(Reply::Attributes { attributes: row.attributes(Some(&directory)) })
}
