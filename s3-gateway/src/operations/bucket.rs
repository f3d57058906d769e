//! Buckets.

use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    GetBucketLocationOutput, HeadBucketOutput, ListBucketsInput, ListBucketsOutput, Owner, Tag, Timestamp,
};
use s3s::{S3Error, S3ErrorCode, S3Result};
use types::{Code, Path};

use super::defaults;
use super::list::{from_token, to_token};
use super::unsupported::grants;
use crate::access::Caller;
use crate::failure::{self, invalid, not_implemented};
use crate::tagging;

/// Others have no right in a bucket unless its owner gives it, by mode or by policy.
const BUCKET_MODE: u32 = 0o700;
/// Told of in one answer at most.
const MAX_BUCKETS: usize = 10_000;
/// The one region whose name S3 does not say.
const UNNAMED_REGION: &str = "us-east-1";

pub(crate) async fn create(
    caller: &Caller,
    root: &Path,
    region: &str,
    input: &CreateBucketInput,
) -> S3Result<CreateBucketOutput> {
    let tags = check_wish(region, input)?;
    let name = types::Name::new(input.bucket.as_bytes());
    let place = name.and_then(|name| root.join(name)).map_err(|_| S3Error::new(S3ErrorCode::InvalidBucketName))?;
    match caller.objects.create_bucket(&input.bucket, &place, BUCKET_MODE).await {
        Ok(_) => {
            if !tags.is_empty() {
                super::tags::set_of_bucket(caller, &input.bucket, tags).await?;
            }
            Ok(created(&input.bucket))
        }
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

/// Refuses what a bucket cannot be; its tags, if it is to have some.
fn check_wish<'a>(region: &str, input: &'a CreateBucketInput) -> S3Result<&'a [Tag]> {
    if input.object_lock_enabled_for_bucket == Some(true) {
        return Err(not_implemented("object lock"));
    }
    if input.bucket_namespace.as_ref().is_some_and(|namespace| namespace.as_str() != "global") {
        return Err(not_implemented("a namespace of buckets"));
    }
    let acl = input.acl.as_ref().map(|acl| acl.as_str());
    if let Some(ownership) = &input.object_ownership {
        defaults::check_ownership(ownership.as_str())?;
        if acl.is_some_and(|acl| acl != "private") || grants!(input) {
            return Err(S3Error::new(S3ErrorCode::InvalidBucketAclWithObjectOwnership));
        }
    }
    if !matches!(acl, None | Some("private")) || grants!(input) {
        return Err(S3Error::new(S3ErrorCode::AccessControlListNotSupported));
    }
    let Some(wish) = &input.create_bucket_configuration else { return Ok(&[]) };
    if wish.bucket.is_some() || wish.location.is_some() {
        return Err(not_implemented("a directory bucket"));
    }
    let there = wish.location_constraint.as_ref().map(|there| there.as_str()).filter(|there| !there.is_empty());
    if there.is_some_and(|there| there != region) {
        let message = format!("The specified location-constraint is not valid; buckets are in {region} here");
        return Err(S3Error::with_message(S3ErrorCode::InvalidLocationConstraint, message));
    }
    let tags = wish.tags.as_deref().unwrap_or_default();
    tagging::check(tags, tagging::Limits::BUCKET)?;
    Ok(tags)
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
pub(crate) async fn list(caller: &Caller, region: &str, input: ListBucketsInput) -> S3Result<ListBucketsOutput> {
    let ListBucketsInput { bucket_region, continuation_token, max_buckets, prefix } = input;
    let max = match max_buckets {
        None => MAX_BUCKETS,
        Some(max) if (1..=MAX_BUCKETS as i32).contains(&max) => max as usize,
        Some(_) => return Err(invalid(format!("max-buckets is a number from 1 to {MAX_BUCKETS}"))),
    };
    let after = continuation_token.as_deref().map(from_token).transpose()?.unwrap_or_default();
    let all = caller.objects.buckets().await.map_err(failure::of)?;
    let is_here = bucket_region.is_none_or(|asked| asked == region);
    let mut wanted = all.into_iter().filter(|bucket| {
        let is_own = caller.user.uid == 0 || bucket.attributes.uid == caller.user.uid;
        let is_asked = is_here && prefix.as_ref().is_none_or(|prefix| bucket.name.starts_with(prefix));
        is_own && is_asked && bucket.name.as_bytes() > after.as_slice()
    });
    let page: Vec<_> = wanted.by_ref().take(max).collect();
    let next = page.last().filter(|_| wanted.next().is_some()).map(|last| to_token(last.name.as_bytes()));
    let buckets = page.into_iter().map(|bucket| Bucket {
        name: Some(bucket.name),
        creation_date: Some(timestamp(bucket.created)),
        ..Default::default()
    });
    Ok(ListBucketsOutput {
        buckets: Some(buckets.collect()),
        continuation_token: next,
        owner: Some(owner(caller.user.uid)),
        prefix,
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
