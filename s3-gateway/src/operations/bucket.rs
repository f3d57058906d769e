//! Buckets.

use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    GetBucketLocationOutput, HeadBucketOutput, ListBucketsOutput, Owner, Timestamp,
};
use s3s::{S3Error, S3ErrorCode, S3Result};
use types::{Code, Path};

use crate::access::Caller;
use crate::failure::{self, not_implemented};

/// Others have no right in a bucket unless its owner gives it, by mode or by policy.
const BUCKET_MODE: u32 = 0o700;
/// The one region whose name S3 does not say.
const UNNAMED_REGION: &str = "us-east-1";

pub(crate) async fn create(
    caller: &Caller,
    root: &Path,
    region: &str,
    input: &CreateBucketInput,
) -> S3Result<CreateBucketOutput> {
    if input.object_lock_enabled_for_bucket == Some(true) {
        return Err(not_implemented("object lock"));
    }
    let acl = input.acl.as_ref().map(|acl| acl.as_str());
    if !matches!(acl, None | Some("private")) || input.grant_full_control.is_some() || input.grant_read.is_some() {
        return Err(S3Error::new(S3ErrorCode::AccessControlListNotSupported));
    }
    let name = types::Name::new(input.bucket.as_bytes());
    let place = name.and_then(|name| root.join(name)).map_err(|_| S3Error::new(S3ErrorCode::InvalidBucketName))?;
    match caller.objects.create_bucket(&input.bucket, &place, BUCKET_MODE).await {
        Ok(_) => Ok(created(&input.bucket)),
        Err(error) if error.code() == Code::Exists => match caller.objects.bucket(&input.bucket).await {
            // As S3 itself: in its oldest region making one's own bucket again is no error.
            Ok(there) if there.attributes.uid == caller.user.uid && region == UNNAMED_REGION => {
                Ok(created(&input.bucket))
            }
            Ok(there) if there.attributes.uid == caller.user.uid => {
                Err(S3Error::new(S3ErrorCode::BucketAlreadyOwnedByYou))
            }
            Ok(_) | Err(_) => Err(S3Error::new(S3ErrorCode::BucketAlreadyExists)),
        },
        Err(error) if error.code() == Code::InvalidArgument => Err(S3Error::new(S3ErrorCode::InvalidBucketName)),
        Err(error) if error.code() == Code::NotPermitted => Err(S3Error::new(S3ErrorCode::BucketAlreadyExists)),
        Err(error) => Err(failure::of(error)),
    }
}

fn created(bucket: &str) -> CreateBucketOutput {
    CreateBucketOutput { location: Some(format!("/{bucket}")), ..Default::default() }
}

pub(crate) async fn delete(caller: &Caller, input: &DeleteBucketInput) -> S3Result<()> {
    caller.objects.delete_bucket(&input.bucket).await.map_err(failure::of)
}

pub(crate) async fn head(caller: &Caller, region: &str, bucket: &str) -> S3Result<HeadBucketOutput> {
    caller.objects.bucket(bucket).await.map_err(failure::of)?;
    Ok(HeadBucketOutput { bucket_region: Some(region.to_owned()), ..Default::default() })
}

pub(crate) async fn location(caller: &Caller, region: &str, bucket: &str) -> S3Result<GetBucketLocationOutput> {
    caller.objects.bucket(bucket).await.map_err(failure::of)?;
    let named = (region != UNNAMED_REGION).then(|| BucketLocationConstraint::from(region.to_owned()));
    Ok(GetBucketLocationOutput { location_constraint: named })
}

/// The buckets of the caller; the superuser's are all.
pub(crate) async fn list(caller: &Caller) -> S3Result<ListBucketsOutput> {
    let all = caller.objects.buckets().await.map_err(failure::of)?;
    let own = all.into_iter().filter(|bucket| caller.user.uid == 0 || bucket.attributes.uid == caller.user.uid);
    let buckets = own.map(|bucket| Bucket {
        name: Some(bucket.name),
        creation_date: Some(timestamp(bucket.created)),
        ..Default::default()
    });
    Ok(ListBucketsOutput {
        buckets: Some(buckets.collect()),
        owner: Some(owner(caller.user.uid)),
        ..Default::default()
    })
}

/// An owner as S3 names one.
pub(crate) fn owner(uid: u32) -> Owner {
    Owner { id: Some(uid.to_string()), display_name: Some(format!("uid-{uid}")) }
}

pub(crate) fn timestamp(at: types::Timestamp) -> Timestamp {
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.nanos()));
    Timestamp::from(at.unwrap_or(time::OffsetDateTime::UNIX_EPOCH))
}
