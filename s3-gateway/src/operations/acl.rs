//! Access control lists, as of a bucket that has them switched off: the owner may do everything, and nobody can be granted
//! anything by a list. What others may do, modes and policies say.

use s3s::dto::{AccessControlPolicy, Grant, Grantee, Permission, Type};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::bucket::owner;
use super::unsupported::check_acl;
use crate::access::Caller;
use crate::failure;
use crate::key;

/// The owner's rights, which are all that a list tells.
pub(crate) fn grants(uid: u32) -> Vec<Grant> {
    let owner = owner(uid);
    let grantee = Grantee {
        type_: Type::from_static(Type::CANONICAL_USER),
        id: owner.id,
        display_name: owner.display_name,
        email_address: None,
        uri: None,
    };
    vec![Grant { grantee: Some(grantee), permission: Some(Permission::from_static(Permission::FULL_CONTROL)) }]
}

/// Who owns a bucket.
pub(crate) async fn owner_of_bucket(caller: &Caller, bucket: &str) -> S3Result<u32> {
    Ok(caller.objects.bucket(bucket).await.map_err(failure::of)?.attributes.uid)
}

/// Who owns an object.
pub(crate) async fn owner_of_object(caller: &Caller, bucket: &str, key: &str, version: Option<&str>) -> S3Result<u32> {
    key::check(key)?;
    key::check_version(version)?;
    Ok(caller.objects.head(bucket, key.as_bytes()).await.map_err(failure::of)?.attributes.uid)
}

/// What is asked to be granted.
pub(crate) struct Wish<'a> {
    pub(crate) canned: Option<&'a str>,
    /// By headers.
    pub(crate) granted: bool,
    pub(crate) policy: Option<&'a AccessControlPolicy>,
}

/// Takes a list only if it says what holds anyway.
pub(crate) fn check(wish: &Wish<'_>, uid: u32) -> S3Result<()> {
    check_acl(wish.canned, wish.granted)?;
    let Some(policy) = wish.policy else { return Ok(()) };
    let own = owner(uid).id;
    let is_own = |grant: &Grant| {
        let full = grant.permission.as_ref().is_some_and(|right| right.as_str() == Permission::FULL_CONTROL);
        full && grant.grantee.as_ref().is_some_and(|grantee| grantee.id == own)
    };
    match policy.grants.as_deref() {
        Some([grant]) if is_own(grant) => Ok(()),
        Some(_) | None => Err(S3Error::new(S3ErrorCode::AccessControlListNotSupported)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_would_change_something_is_refused() {
        let policy = |grants| AccessControlPolicy { grants: Some(grants), owner: Some(owner(7)) };
        let by_policy = |grants| check(&Wish { canned: None, granted: false, policy: Some(&policy(grants)) }, 7);
        assert!(by_policy(grants(7)).is_ok());
        assert!(by_policy(grants(8)).is_err() && by_policy(Vec::new()).is_err());
        assert!(by_policy([grants(7), grants(8)].concat()).is_err());
        for (canned, legal) in [("private", true), ("bucket-owner-full-control", true), ("public-read", false)] {
            let wish = Wish { canned: Some(canned), granted: false, policy: None };
            assert_eq!(check(&wish, 7).is_ok(), legal, "{canned}");
        }
        assert!(check(&Wish { canned: None, granted: true, policy: None }, 7).is_err());
    }
}
