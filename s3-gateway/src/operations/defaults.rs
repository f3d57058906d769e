//! What S3 says of settings that a bucket never had. They cannot be had here either: to put one is not supported.

use http::StatusCode;
use s3s::dto::{ObjectOwnership, OwnershipControls, OwnershipControlsRule, Payer, PutBucketOwnershipControlsInput};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::access::Caller;
use crate::failure::{self, not_implemented};

/// The bucket must be there, and the caller may look at it.
pub(crate) async fn check(caller: &Caller, bucket: &str) -> S3Result<()> {
    caller.objects.bucket(bucket).await.map(drop).map_err(failure::of)
}

/// A setting that the bucket does not have: 404, as Amazon answers, also where its list of codes says 400 (and s3s does).
pub(crate) async fn absent(caller: &Caller, bucket: &str, code: S3ErrorCode) -> S3Error {
    check(caller, bucket).await.err().unwrap_or_else(|| {
        let mut absent = S3Error::new(code);
        absent.set_status_code(StatusCode::NOT_FOUND);
        absent
    })
}

/// Rights come from modes and policies, and from no list: what S3 calls the bucket owner's enforced.
pub(crate) fn ownership() -> OwnershipControls {
    let object_ownership = ObjectOwnership::from_static(ObjectOwnership::BUCKET_OWNER_ENFORCED);
    OwnershipControls { rules: vec![OwnershipControlsRule { object_ownership }] }
}

/// The one ownership that there is may be asked for.
pub(crate) fn check_ownership(asked: &str) -> S3Result<()> {
    match asked {
        ObjectOwnership::BUCKET_OWNER_ENFORCED => Ok(()),
        ObjectOwnership::BUCKET_OWNER_PREFERRED | ObjectOwnership::OBJECT_WRITER => {
            Err(not_implemented("an ownership with access control lists"))
        }
        _ => Err(S3Error::new(S3ErrorCode::MalformedXML)),
    }
}

pub(crate) async fn put_ownership(caller: &Caller, input: &PutBucketOwnershipControlsInput) -> S3Result<()> {
    let [rule] = &input.ownership_controls.rules[..] else { return Err(S3Error::new(S3ErrorCode::MalformedXML)) };
    check_ownership(rule.object_ownership.as_str())?;
    check(caller, &input.bucket).await
}

pub(crate) fn check_payer(payer: &Payer) -> S3Result<()> {
    match payer.as_str() {
        Payer::BUCKET_OWNER => Ok(()),
        Payer::REQUESTER => Err(not_implemented("a requester who pays")),
        _ => Err(S3Error::new(S3ErrorCode::MalformedXML)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_anyway_may_be_asked_for_and_nothing_else() {
        let code = |judged: S3Result<()>| judged.err().map(|error| error.code().clone());
        assert_eq!(code(check_ownership("BucketOwnerEnforced")), None);
        assert_eq!(code(check_ownership("ObjectWriter")), Some(S3ErrorCode::NotImplemented));
        assert_eq!(code(check_ownership("Mine")), Some(S3ErrorCode::MalformedXML));
        assert_eq!(code(check_payer(&Payer::from_static("BucketOwner"))), None);
        assert_eq!(code(check_payer(&Payer::from_static("Requester"))), Some(S3ErrorCode::NotImplemented));
    }
}
