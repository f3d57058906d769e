//! Removing objects.

use futures::{StreamExt as _, stream};
use http::HeaderMap;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition,
    Error, ObjectIdentifier,
};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::access::Caller;
use crate::condition;
use crate::document;
use crate::failure::{self, not_implemented};
use crate::key;
use crate::policy;

/// Objects that one request removes at a time.
const AT_ONCE: usize = 16;
const MAX_OBJECTS: usize = 1000;

pub(crate) async fn one(caller: &Caller, input: DeleteObjectInput) -> S3Result<DeleteObjectOutput> {
    if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
        return Err(not_implemented("a condition on time or size"));
    }
    key::check(&input.key)?;
    key::check_version(input.version_id.as_deref())?;
    let condition = condition::of_change(input.if_match.as_ref(), None)?;
    caller.objects.delete(&input.bucket, input.key.as_bytes(), condition).await.map_err(failure::of)?;
    Ok(DeleteObjectOutput::default())
}

/// A list of what is to be removed must not have lost anything on its way.
pub(crate) fn check_digest(headers: &HeaderMap) -> S3Result<()> {
    if document::has_digest(headers) {
        return Ok(());
    }
    let message = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*";
    Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message))
}

pub(crate) async fn many(caller: &Caller, input: DeleteObjectsInput) -> S3Result<DeleteObjectsOutput> {
    let objects = input.delete.objects;
    if objects.is_empty() || objects.len() > MAX_OBJECTS {
        return Err(S3Error::new(S3ErrorCode::MalformedXML));
    }
    let quiet = input.delete.quiet == Some(true);
    let bucket = input.bucket.as_str();
    let done = stream::iter(objects).map(|object| async move { (remove(caller, bucket, &object).await, object) });
    let done: Vec<_> = done.buffered(AT_ONCE).collect().await;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (result, object) in done {
        let ObjectIdentifier { key, version_id, .. } = object;
        match result {
            Ok(()) if quiet => {}
            Ok(()) => deleted.push(DeletedObject { key: Some(key), version_id, ..Default::default() }),
            Err(error) => errors.push(Error {
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                key: Some(key),
                version_id,
            }),
        }
    }
    Ok(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), ..Default::default() })
}

async fn remove(caller: &Caller, bucket: &str, object: &ObjectIdentifier) -> S3Result<()> {
    if object.last_modified_time.is_some() || object.size.is_some() {
        return Err(not_implemented("a condition on time or size"));
    }
    key::check(&object.key)?;
    key::check_version(object.version_id.as_deref())?;
    let wanted = object.e_tag.clone().map(ETagCondition::ETag);
    let condition = condition::of_change(wanted.as_ref(), None)?;
    let version = object.version_id.as_ref().is_some_and(|version| !version.is_empty());
    let actions = policy::actions("DeleteObject", policy::Extras { version, ..policy::Extras::default() });
    let caller = caller.to_do(&actions, bucket, &object.key).await?;
    caller.objects.delete(bucket, object.key.as_bytes(), condition).await.map_err(failure::of)
}
