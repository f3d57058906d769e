//! The operations as the S3 library calls them, each handed on to where it is done. What is not here answers
//! `NotImplemented` (invariant 5).

use client::objects::BucketSetting;
use http::StatusCode;
use s3s::dto::{
    BucketVersioningStatus, CreateBucketInput, CreateBucketOutput, DeleteBucketCorsInput, DeleteBucketCorsOutput,
    DeleteBucketInput, DeleteBucketOutput, DeleteBucketPolicyInput, DeleteBucketPolicyOutput, DeleteObjectInput,
    DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletePublicAccessBlockInput,
    DeletePublicAccessBlockOutput, GetBucketCorsInput, GetBucketCorsOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketPolicyInput, GetBucketPolicyOutput, GetBucketPolicyStatusInput,
    GetBucketPolicyStatusOutput, GetBucketVersioningInput, GetBucketVersioningOutput, GetObjectInput, GetObjectOutput,
    GetPublicAccessBlockInput, GetPublicAccessBlockOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
    HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListObjectVersionsInput, ListObjectVersionsOutput,
    ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, PutBucketCorsInput,
    PutBucketCorsOutput, PutBucketPolicyInput, PutBucketPolicyOutput, PutObjectInput, PutObjectOutput,
    PutPublicAccessBlockInput, PutPublicAccessBlockOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use types::Path;

use crate::access::Caller;
use crate::buckets::Buckets;
use crate::failure;
use crate::operations::{bucket, delete, get, list, put, settings};

/// Everything that operations need.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) buckets: Buckets,
    /// The directory of new buckets.
    pub(crate) root: Path,
    pub(crate) region: String,
}

impl Door {
    /// Who was found to be allowed to do this, see [`crate::access`].
    async fn caller<T>(&self, request: &S3Request<T>) -> S3Result<Caller> {
        request.extensions.get().cloned().ok_or_else(|| S3Error::new(S3ErrorCode::InternalError))
    }
}

#[async_trait::async_trait]
impl S3 for Door {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let caller = self.caller(&request).await?;
        let created = bucket::create(&caller, &self.root, &self.region, &request.input).await;
        self.buckets.forget(&request.input.bucket);
        created.map(S3Response::new)
    }

    async fn delete_bucket(&self, request: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        let caller = self.caller(&request).await?;
        let deleted = bucket::delete(&caller, &request.input).await;
        self.buckets.forget(&request.input.bucket);
        deleted?;
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

    async fn put_bucket_policy(
        &self,
        request: S3Request<PutBucketPolicyInput>,
    ) -> S3Result<S3Response<PutBucketPolicyOutput>> {
        let caller = self.caller(&request).await?;
        settings::put_policy(&caller, &self.buckets, request.input).await?;
        Ok(S3Response::with_status(PutBucketPolicyOutput {}, StatusCode::NO_CONTENT))
    }

    async fn get_bucket_policy(
        &self,
        request: S3Request<GetBucketPolicyInput>,
    ) -> S3Result<S3Response<GetBucketPolicyOutput>> {
        let caller = self.caller(&request).await?;
        settings::get_policy(&caller, &self.buckets, &request.input.bucket).await.map(S3Response::new)
    }

    async fn get_bucket_policy_status(
        &self,
        request: S3Request<GetBucketPolicyStatusInput>,
    ) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
        let caller = self.caller(&request).await?;
        settings::policy_status(&caller, &self.buckets, &request.input.bucket).await.map(S3Response::new)
    }

    async fn delete_bucket_policy(
        &self,
        request: S3Request<DeleteBucketPolicyInput>,
    ) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
        let caller = self.caller(&request).await?;
        settings::remove(&caller, &self.buckets, &request.input.bucket, BucketSetting::Policy).await?;
        Ok(S3Response::new(DeleteBucketPolicyOutput {}))
    }

    async fn put_public_access_block(
        &self,
        request: S3Request<PutPublicAccessBlockInput>,
    ) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
        let caller = self.caller(&request).await?;
        settings::put_block(&caller, &self.buckets, &request.input).await?;
        Ok(S3Response::new(PutPublicAccessBlockOutput {}))
    }

    async fn get_public_access_block(
        &self,
        request: S3Request<GetPublicAccessBlockInput>,
    ) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
        let caller = self.caller(&request).await?;
        settings::get_block(&caller, &self.buckets, &request.input.bucket).await.map(S3Response::new)
    }

    async fn delete_public_access_block(
        &self,
        request: S3Request<DeletePublicAccessBlockInput>,
    ) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
        let caller = self.caller(&request).await?;
        settings::remove(&caller, &self.buckets, &request.input.bucket, BucketSetting::PublicAccessBlock).await?;
        Ok(S3Response::new(DeletePublicAccessBlockOutput {}))
    }

    async fn put_bucket_cors(
        &self,
        request: S3Request<PutBucketCorsInput>,
    ) -> S3Result<S3Response<PutBucketCorsOutput>> {
        let caller = self.caller(&request).await?;
        settings::put_cors(&caller, &self.buckets, request.input).await?;
        Ok(S3Response::new(PutBucketCorsOutput {}))
    }

    async fn get_bucket_cors(
        &self,
        request: S3Request<GetBucketCorsInput>,
    ) -> S3Result<S3Response<GetBucketCorsOutput>> {
        let caller = self.caller(&request).await?;
        settings::get_cors(&caller, &self.buckets, &request.input.bucket).await.map(S3Response::new)
    }

    async fn delete_bucket_cors(
        &self,
        request: S3Request<DeleteBucketCorsInput>,
    ) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
        let caller = self.caller(&request).await?;
        settings::remove(&caller, &self.buckets, &request.input.bucket, BucketSetting::Cors).await?;
        Ok(S3Response::new(DeleteBucketCorsOutput {}))
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
        let output = get::get(&caller, &request.input).await.map_err(|error| caller.absence(error))?;
        Ok(partial(output.content_range.is_some(), output))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let caller = self.caller(&request).await?;
        let output = get::head(&caller, &request.input).await.map_err(|error| caller.absence(error))?;
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
