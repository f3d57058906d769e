//! Users of the cluster: names for principals, which access keys follow.
//!
//! 1. A name means one user, and no two users have one uid.
//! 2. A key of a user has a mark under `v`. The user is there as long as there is one.
//! 3. Whoever looks such a key up is told what the user is at that moment, and whether it is disabled.

use minicbor::{Decode, Encode};
use types::Timestamp;

use crate::command::Principal;
use crate::error::{Error, QueryError};
use crate::key;
use crate::limits::{MAX_USER_GROUPS, MAX_USERS};
use crate::row;
use crate::rows::Rows;
use crate::transaction::Outcome;
use crate::view::{View, ViewError};

/// Bytes of a name.
const MAX_NAME: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UserRow {
    #[n(0)]
    pub principal: Principal,
    /// Its keys sign nothing.
    #[n(1)]
    pub disabled: bool,
    /// Set when it is stored.
    #[n(2)]
    pub created: Timestamp,
}

/// What is to be done about a user. Only the superuser does.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum UserOrder {
    #[n(0)]
    Add {
        #[n(0)]
        principal: Principal,
    },
    /// What is absent stays.
    #[n(1)]
    Change {
        #[n(0)]
        uid: Option<u32>,
        #[n(1)]
        gid: Option<u32>,
        #[n(2)]
        groups: Option<Vec<u32>>,
        #[n(3)]
        disabled: Option<bool>,
    },
    #[n(2)]
    Remove {
        /// Its keys go with it; else there must be none.
        #[n(0)]
        with_keys: bool,
    },
}

/// Refuses a name that could be taken for a number, or that is awkward to write.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let begins = name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    let legal = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if begins && legal && name.len() <= MAX_NAME {
        return Ok(());
    }
    let reason = format!("choose up to {MAX_NAME} letters, digits and _ - . that begin with a letter or _");
    Err(Error::BadUser { name: name.chars().take(MAX_NAME).collect(), reason })
}

/// Refuses what a user cannot be besides those that are there.
pub(crate) fn check(view: &impl View, name: &str, row: &UserRow) -> Outcome<()> {
    let bad = |reason| Error::BadUser { name: name.to_owned(), reason };
    if row.principal.groups.len() > MAX_USER_GROUPS {
        return Err(bad(format!("a user is in at most {MAX_USER_GROUPS} groups")).into());
    }
    let users = all(view)?;
    if users.len() >= MAX_USERS && users.iter().all(|(other, _)| other != name) {
        return Err(Error::TooManyUsers { limit: MAX_USERS as u32 }.into());
    }
    let uid = row.principal.uid;
    match users.into_iter().find(|(other, row)| other != name && row.principal.uid == uid) {
        Some((other, _)) => Err(bad(format!("uid {uid} is that of {other}")).into()),
        None => Ok(()),
    }
}

fn all(view: &impl View) -> Result<Vec<(String, UserRow)>, ViewError> {
    page(view, "", MAX_USERS)
}

pub(crate) fn page(view: &impl View, after: &str, limit: usize) -> Result<Vec<(String, UserRow)>, ViewError> {
    let mut range = key::users();
    if !after.is_empty() {
        range = range.after(key::user(after));
    }
    let rows = view.page(&range, limit)?;
    rows.into_iter().map(|(key, value)| Ok((key::text_of(&key)?, row::decode(&key, &value)?))).collect()
}

/// A user that must be there.
pub(crate) fn need(view: &impl View, name: &str) -> Result<UserRow, QueryError> {
    let row = view.row(&key::user(name))?;
    Ok(row.ok_or_else(|| Error::NotFound { place: format!("user {name}") })?)
}
