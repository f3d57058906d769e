use crate::access_key::{self, AccessKeyRow};
use crate::command::Reply;
use crate::error::Error;
use crate::key;
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// Stores an access key under a name that is not taken.
pub(crate) fn put<V: View>(txn: &mut Transaction<'_, V>, id: &str, row: &AccessKeyRow) -> Outcome<Reply> {
    access_key::check_rights(txn.caller, id)?;
    access_key::check(id, row)?;
    if txn.rows.row::<AccessKeyRow>(&key::access_key(id))?.is_some() {
        return Err(Error::Exists { place: format!("access key {id}") }.into());
    }
    txn.put(key::access_key(id), &AccessKeyRow { created: txn.now, ..row.clone() });
    Ok(Reply::Done)
}

pub(crate) fn remove<V: View>(txn: &mut Transaction<'_, V>, id: &str) -> Outcome<Reply> {
    access_key::check_rights(txn.caller, id)?;
    if txn.rows.row::<AccessKeyRow>(&key::access_key(id))?.is_none() {
        return Err(Error::NotFound { place: format!("access key {id}") }.into());
    }
    txn.remove(key::access_key(id));
    Ok(Reply::Done)
}
