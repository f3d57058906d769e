//! What is kept with buckets: policy, public access block, CORS rules.

use client::objects::BucketSetting;
use s3s::dto::{
    GetBucketCorsOutput, GetBucketPolicyOutput, GetBucketPolicyStatusOutput, GetPublicAccessBlockOutput, PolicyStatus,
    PutBucketCorsInput, PutBucketPolicyInput, PutPublicAccessBlockInput,
};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::access::Caller;
use crate::buckets::{Bucket, BucketPolicy, Buckets};
use crate::cors::Rules;
use crate::failure;
use crate::policy::Record;
use crate::public_access::PublicAccessBlock;
use crate::users;

/// The bucket as it is now, for its owner.
async fn own(caller: &Caller, buckets: &Buckets, name: &str) -> S3Result<std::sync::Arc<Bucket>> {
    let bucket = buckets.look_up(name).await?;
    if [0, bucket.owner.uid].contains(&caller.user.uid) {
        Ok(bucket)
    } else {
        Err(S3Error::new(S3ErrorCode::AccessDenied))
    }
}

async fn keep(
    caller: &Caller,
    buckets: &Buckets,
    name: &str,
    setting: BucketSetting,
    value: Option<Vec<u8>>,
) -> S3Result<()> {
    let done = caller.objects.set_bucket_setting(name, setting, value).await;
    // Also when it is not known whether it was done.
    buckets.forget(name);
    done.map_err(failure::of)
}

pub(crate) async fn put_policy(caller: &Caller, buckets: &Buckets, input: PutBucketPolicyInput) -> S3Result<()> {
    let bucket = own(caller, buckets, &input.bucket).await?;
    let malformed =
        |error: crate::policy::Malformed| S3Error::with_message(S3ErrorCode::MalformedPolicy, error.to_string());
    let (record, policy) = Record::make(input.policy, &input.bucket, users::find).map_err(malformed)?;
    if bucket.block.is_some_and(|block| block.block_public_policy) && policy.is_public() {
        let message = "the policy is public, and the public access block of the bucket does not let it be";
        return Err(S3Error::with_message(S3ErrorCode::AccessDenied, message));
    }
    keep(caller, buckets, &input.bucket, BucketSetting::Policy, Some(record.encode())).await
}

pub(crate) async fn get_policy(caller: &Caller, buckets: &Buckets, name: &str) -> S3Result<GetBucketPolicyOutput> {
    match &own(caller, buckets, name).await?.policy {
        BucketPolicy::Absent => Err(S3Error::new(S3ErrorCode::NoSuchBucketPolicy)),
        BucketPolicy::Known { record, .. } => Ok(GetBucketPolicyOutput { policy: Some(record.text.clone()) }),
        BucketPolicy::Unreadable => Err(unreadable()),
    }
}

pub(crate) async fn policy_status(
    caller: &Caller,
    buckets: &Buckets,
    name: &str,
) -> S3Result<GetBucketPolicyStatusOutput> {
    let is_public = match &own(caller, buckets, name).await?.policy {
        BucketPolicy::Absent => return Err(S3Error::new(S3ErrorCode::NoSuchBucketPolicy)),
        BucketPolicy::Known { policy, .. } => policy.is_public(),
        BucketPolicy::Unreadable => return Err(unreadable()),
    };
    Ok(GetBucketPolicyStatusOutput { policy_status: Some(PolicyStatus { is_public: Some(is_public) }) })
}

fn unreadable() -> S3Error {
    S3Error::with_message(
        S3ErrorCode::InternalError,
        "the policy of the bucket does not read; put another, or remove it",
    )
}

pub(crate) async fn put_block(caller: &Caller, buckets: &Buckets, input: &PutPublicAccessBlockInput) -> S3Result<()> {
    own(caller, buckets, &input.bucket).await?;
    let block = PublicAccessBlock::read(&input.public_access_block_configuration);
    keep(caller, buckets, &input.bucket, BucketSetting::PublicAccessBlock, Some(block.encode())).await
}

pub(crate) async fn get_block(caller: &Caller, buckets: &Buckets, name: &str) -> S3Result<GetPublicAccessBlockOutput> {
    match own(caller, buckets, name).await?.block {
        Some(block) => Ok(GetPublicAccessBlockOutput { public_access_block_configuration: Some(block.show()) }),
        None => Err(failure::custom("NoSuchPublicAccessBlockConfiguration", http::StatusCode::NOT_FOUND)),
    }
}

pub(crate) async fn put_cors(caller: &Caller, buckets: &Buckets, input: PutBucketCorsInput) -> S3Result<()> {
    own(caller, buckets, &input.bucket).await?;
    let rules = Rules::read(input.cors_configuration)?.encode()?;
    keep(caller, buckets, &input.bucket, BucketSetting::Cors, Some(rules)).await
}

pub(crate) async fn get_cors(caller: &Caller, buckets: &Buckets, name: &str) -> S3Result<GetBucketCorsOutput> {
    match &own(caller, buckets, name).await?.cors {
        Some(rules) => Ok(GetBucketCorsOutput { cors_rules: Some(rules.show()) }),
        None => Err(S3Error::new(S3ErrorCode::NoSuchCORSConfiguration)),
    }
}

pub(crate) async fn remove(caller: &Caller, buckets: &Buckets, name: &str, setting: BucketSetting) -> S3Result<()> {
    own(caller, buckets, name).await?;
    keep(caller, buckets, name, setting, None).await
}
