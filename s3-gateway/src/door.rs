//! The operations as the S3 library calls them, each handed on to where it is done. What is not here answers
//! `NotImplemented` (invariant 5).

use http::StatusCode;
use s3s::dto::{
    BucketVersioningStatus, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketVersioningInput, GetBucketVersioningOutput, GetObjectInput, GetObjectOutput,
    HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput,
    ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, PutObjectInput, PutObjectOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result};
use types::Path;

use crate::failure;
use crate::identity::{Caller, Identities};
use crate::operations::{bucket, delete, get, list, put};

/// Everything that operations need.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) identities: Identities,
    /// The directory of new buckets.
    pub(crate) root: Path,
    pub(crate) region: String,
}

impl Door {
    async fn caller<T>(&self, request: &S3Request<T>) -> S3Result<Caller> {
        self.identities.caller(request.credentials.as_ref()).await
    }
}

#[async_trait::async_trait]
impl S3 for Door {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let caller = self.caller(&request).await?;
        bucket::create(&caller, &self.root, &self.region, &request.input).await.map(S3Response::new)
    }

    async fn delete_bucket(&self, request: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        let caller = self.caller(&request).await?;
        bucket::delete(&caller, &request.input).await?;
        Ok(S3Response::new(DeleteBucketOutput {}))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        let caller = self.caller(&request).await?;
        bucket::head(&caller, &self.region, &request.input.bucket).await.map(S3Response::new)
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let caller = self.caller(&request).await?;
        bucket::location(&caller, &self.region, &request.input.bucket).await.map(S3Response::new)
    }

    /// There are no versions but the one, which is what S3 says of a bucket that never had any.
    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let caller = self.caller(&request).await?;
        caller.objects.bucket(&request.input.bucket).await.map_err(failure::of)?;
        let status: Option<BucketVersioningStatus> = None;
        Ok(S3Response::new(GetBucketVersioningOutput { status, ..Default::default() }))
    }

    async fn list_buckets(&self, request: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let caller = self.caller(&request).await?;
        bucket::list(&caller).await.map(S3Response::new)
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let caller = self.caller(&request).await?;
        put::object(&caller, request).await.map(S3Response::new)
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let caller = self.caller(&request).await?;
        let output = get::get(&caller, &request.input).await?;
        Ok(partial(output.content_range.is_some(), output))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let caller = self.caller(&request).await?;
        let output = get::head(&caller, &request.input).await?;
        Ok(partial(output.content_range.is_some(), output))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let caller = self.caller(&request).await?;
        delete::one(&caller, request.input).await.map(S3Response::new)
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let caller = self.caller(&request).await?;
        delete::many(&caller, request.input).await.map(S3Response::new)
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        let caller = self.caller(&request).await?;
        list::v1(&caller, request.input).await.map(S3Response::new)
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let caller = self.caller(&request).await?;
        list::v2(&caller, request.input).await.map(S3Response::new)
    }

    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let caller = self.caller(&request).await?;
        list::versions(&caller, request.input).await.map(S3Response::new)
    }
}

/// A part of an object has its own status.
fn partial<T>(is_part: bool, output: T) -> S3Response<T> {
    if is_part { S3Response::with_status(output, StatusCode::PARTIAL_CONTENT) } else { S3Response::new(output) }
}
