use crate::command::Reply;
use crate::error::Error;
use crate::key;
use crate::limits::MAX_USER_KEYS;
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::user::{self, UserOrder, UserRow};
use crate::view::View;

/// Adds, changes or removes a user.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, name: &str, order: &UserOrder) -> Outcome<Reply> {
    txn.caller.check_superuser(|| format!("user {name}"))?;
    user::check_name(name)?;
    match order {
        UserOrder::Add { principal } => {
            if txn.rows.row::<UserRow>(&key::user(name))?.is_some() {
                return Err(Error::Exists { place: format!("user {name}") }.into());
            }
            let row = UserRow { principal: principal.clone(), disabled: false, created: txn.now };
            user::check(&txn.rows, name, &row)?;
            txn.put(key::user(name), &row);
        }
        UserOrder::Change { uid, gid, groups, disabled } => {
            let mut row = user::need(&txn.rows, name)?;
            let principal = &mut row.principal;
            principal.uid = uid.unwrap_or(principal.uid);
            principal.gid = gid.unwrap_or(principal.gid);
            if let Some(groups) = groups {
                principal.groups.clone_from(groups);
            }
            row.disabled = disabled.unwrap_or(row.disabled);
            user::check(&txn.rows, name, &row)?;
            txn.put(key::user(name), &row);
        }
        UserOrder::Remove { with_keys } => {
            user::need(&txn.rows, name)?;
            let marks = txn.rows.page(&key::keys_of_user(name), MAX_USER_KEYS)?;
            if !marks.is_empty() && !with_keys {
                let keys = u32::try_from(marks.len()).expect("few");
                return Err(Error::UserHasKeys { name: name.to_owned(), keys }.into());
            }
            for (mark, _) in marks {
                txn.remove(key::access_key(&key::key_of_user(&mark)?));
                txn.remove(mark);
            }
            txn.remove(key::user(name));
        }
    }
    Ok(Reply::Done)
}
