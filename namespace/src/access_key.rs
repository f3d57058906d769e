//! Access keys: the names under which S3 clients sign, and whose requests they are.

use minicbor::{Decode, Encode};
use types::Timestamp;

use crate::access::Caller;
use crate::command::Principal;
use crate::error::Error;

/// Bytes of an access key's name: AWS has 16 to 128, and people bring short ones along.
const ID_LENGTH: std::ops::RangeInclusive<usize> = 3..=128;
/// Of the sealed secret.
const MAX_SEALED: usize = 1024;
const MAX_GROUPS: usize = 1024;

/// An access key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AccessKeyRow {
    /// On whose behalf everything signed with it is done.
    #[n(0)]
    pub principal: Principal,
    /// The secret, encrypted under a key that the namenodes do not have.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
    /// Set when it is stored.
    #[n(2)]
    pub created: Timestamp,
    /// The user that it follows, whose principal at the moment counts then; absent for a key of a principal.
    #[n(3)]
    pub user: Option<String>,
}

pub(crate) fn check(id: &str, row: &AccessKeyRow) -> Result<(), Error> {
    let legal = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if !legal || !ID_LENGTH.contains(&id.len()) || row.sealed.len() > MAX_SEALED {
        return Err(Error::BadAccessKey { id: id.chars().take(*ID_LENGTH.end()).collect() });
    }
    if row.principal.groups.len() > MAX_GROUPS {
        return Err(Error::BadAccessKey { id: id.to_owned() });
    }
    Ok(())
}

/// Keys are the superuser's to give, take and read: who has the sealed secret and its key can be its user.
pub(crate) fn check_rights(caller: Caller<'_>, id: &str) -> Result<(), Error> {
    caller.check_superuser(|| format!("access key {id}"))
}
