use crate::access_key::{self, AccessKeyRow};
use crate::command::Reply;
use crate::error::Error;
use crate::key;
use crate::limits::MAX_USER_KEYS;
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::user;
use crate::view::View;

/// Stores an access key under a name that is not taken.
pub(crate) fn put<V: View>(txn: &mut Transaction<'_, V>, id: &str, row: &AccessKeyRow) -> Outcome<Reply> {
    access_key::check_rights(txn.caller, id)?;
    access_key::check(id, row)?;
    if txn.rows.row::<AccessKeyRow>(&key::access_key(id))?.is_some() {
        return Err(Error::Exists { place: format!("access key {id}") }.into());
    }
    let mut row = AccessKeyRow { created: txn.now, ..row.clone() };
    if let Some(name) = &row.user {
        row.principal = user::need(&txn.rows, name)?.principal;
        if txn.rows.page(&key::keys_of_user(name), MAX_USER_KEYS)?.len() >= MAX_USER_KEYS {
            let (name, limit) = (name.clone(), MAX_USER_KEYS as u32);
            return Err(Error::TooManyUserKeys { name, limit }.into());
        }
        txn.mark(key::key_of(name, id));
    }
    txn.put(key::access_key(id), &row);
    Ok(Reply::Done)
}

pub(crate) fn remove<V: View>(txn: &mut Transaction<'_, V>, id: &str) -> Outcome<Reply> {
    access_key::check_rights(txn.caller, id)?;
    let Some(row) = txn.rows.row::<AccessKeyRow>(&key::access_key(id))? else {
        return Err(Error::NotFound { place: format!("access key {id}") }.into());
    };
    if let Some(name) = &row.user {
        txn.remove(key::key_of(name, id));
    }
    txn.remove(key::access_key(id));
    Ok(Reply::Done)
}
