//! Tags of objects and of buckets: attributes that the mount shows too.

use client::objects::Found;
use s3s::dto::{Tag, Tagging};
use s3s::{S3Error, S3ErrorCode, S3Result};
use types::Code;

use crate::access::Caller;
use crate::failure;
use crate::key;
use crate::tagging::{self, Limits};

/// An object's, by bucket and key.
pub(crate) struct Tagged<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) version: Option<&'a str>,
}

impl Tagged<'_> {
    fn check(&self) -> S3Result<()> {
        key::check(self.key)?;
        key::check_version(self.version)
    }

    pub(crate) async fn get(&self, caller: &Caller) -> S3Result<Vec<Tag>> {
        self.check()?;
        let found = caller.objects.head(self.bucket, self.key.as_bytes()).await.map_err(failure::of)?;
        of(&found)
    }

    pub(crate) async fn put(&self, caller: &Caller, tagging: &Tagging) -> S3Result<()> {
        self.check()?;
        tagging::check(&tagging.tag_set, Limits::OBJECT)?;
        let tags = tagging::query(&tagging.tag_set);
        caller.objects.set_tags(self.bucket, Some(self.key.as_bytes()), &tags).await.map_err(failure::of)
    }

    pub(crate) async fn delete(&self, caller: &Caller) -> S3Result<()> {
        self.check()?;
        caller.objects.set_tags(self.bucket, Some(self.key.as_bytes()), b"").await.map_err(failure::of)
    }
}

/// The tags of an object that was found.
pub(crate) fn of(found: &Found) -> S3Result<Vec<Tag>> {
    tagging::parse(&String::from_utf8_lossy(&found.tags))
}

/// How many there are, if any.
pub(crate) fn count(found: &Found) -> Option<i32> {
    let tags = of(found).ok().filter(|tags| !tags.is_empty())?;
    i32::try_from(tags.len()).ok()
}

pub(crate) async fn of_bucket(caller: &Caller, bucket: &str) -> S3Result<Vec<Tag>> {
    match caller.objects.bucket_tags(bucket).await {
        Ok(tags) if !tags.is_empty() => tagging::parse(&String::from_utf8_lossy(&tags)),
        Ok(_) => Err(S3Error::new(S3ErrorCode::NoSuchTagSet)),
        Err(error) if error.code() == Code::NoAttribute => Err(S3Error::new(S3ErrorCode::NoSuchTagSet)),
        Err(error) => Err(failure::of(error)),
    }
}

pub(crate) async fn set_of_bucket(caller: &Caller, bucket: &str, tags: &[Tag]) -> S3Result<()> {
    tagging::check(tags, Limits::BUCKET)?;
    caller.objects.set_tags(bucket, None, &tagging::query(tags)).await.map_err(failure::of)
}
