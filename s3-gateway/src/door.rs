//! The operations as the S3 library calls them, each handed on to where it is done. What is not here answers
//! `NotImplemented` (invariant 5).

use client::objects::BucketSetting;
use http::StatusCode;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, BucketVersioningStatus, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteBucketCorsInput, DeleteBucketCorsOutput,
    DeleteBucketInput, DeleteBucketOutput, DeleteBucketPolicyInput, DeleteBucketPolicyOutput, DeleteBucketTaggingInput,
    DeleteBucketTaggingOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectTaggingInput,
    DeleteObjectTaggingOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletePublicAccessBlockInput,
    DeletePublicAccessBlockOutput, GetBucketAclInput, GetBucketAclOutput, GetBucketCorsInput, GetBucketCorsOutput,
    GetBucketLocationInput, GetBucketLocationOutput, GetBucketPolicyInput, GetBucketPolicyOutput,
    GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput, GetBucketTaggingInput, GetBucketTaggingOutput,
    GetBucketVersioningInput, GetBucketVersioningOutput, GetObjectAclInput, GetObjectAclOutput,
    GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectInput, GetObjectOutput, GetObjectTaggingInput,
    GetObjectTaggingOutput, GetPublicAccessBlockInput, GetPublicAccessBlockOutput, HeadBucketInput, HeadBucketOutput,
    HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput,
    ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput, PutBucketAclInput, PutBucketAclOutput,
    PutBucketCorsInput, PutBucketCorsOutput, PutBucketPolicyInput, PutBucketPolicyOutput, PutBucketTaggingInput,
    PutBucketTaggingOutput, PutObjectAclInput, PutObjectAclOutput, PutObjectInput, PutObjectOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, PutPublicAccessBlockInput, PutPublicAccessBlockOutput,
    UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use types::Path;

use crate::access::Caller;
use crate::buckets::Buckets;
use crate::failure;
use crate::operations::{
    acl, attributes, bucket, complete, copy, delete, get, list, put, settings, tags, upload, uploads,
};

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

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let caller = self.caller(&request).await?;
        upload::create(&caller, &request.input).await.map(S3Response::new)
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let caller = self.caller(&request).await?;
        upload::part(&caller, request).await.map(S3Response::new)
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let caller = self.caller(&request).await?;
        copy::part(&caller, request.input).await.map(S3Response::new)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let caller = self.caller(&request).await?;
        complete::complete(&caller, request.input).await.map(S3Response::new)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let caller = self.caller(&request).await?;
        upload::abort(&caller, &request.input).await.map(S3Response::new)
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let caller = self.caller(&request).await?;
        uploads::parts(&caller, request.input).await.map(S3Response::new)
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let caller = self.caller(&request).await?;
        uploads::uploads(&caller, request.input).await.map(S3Response::new)
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let caller = self.caller(&request).await?;
        copy::object(&caller, request.input).await.map(S3Response::new)
    }

    async fn get_object_attributes(
        &self,
        request: S3Request<GetObjectAttributesInput>,
    ) -> S3Result<S3Response<GetObjectAttributesOutput>> {
        let caller = self.caller(&request).await?;
        let output = attributes::get(&caller, &request.input).await.map_err(|error| caller.absence(error))?;
        Ok(S3Response::new(output))
    }

    async fn get_object_tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let caller = self.caller(&request).await?;
        let input = &request.input;
        let tagged = tags::Tagged { bucket: &input.bucket, key: &input.key, version: input.version_id.as_deref() };
        let tag_set = tagged.get(&caller).await.map_err(|error| caller.absence(error))?;
        Ok(S3Response::new(GetObjectTaggingOutput { tag_set, ..Default::default() }))
    }

    async fn put_object_tagging(
        &self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        let caller = self.caller(&request).await?;
        let input = &request.input;
        let tagged = tags::Tagged { bucket: &input.bucket, key: &input.key, version: input.version_id.as_deref() };
        tagged.put(&caller, &input.tagging).await?;
        Ok(S3Response::new(PutObjectTaggingOutput::default()))
    }

    async fn delete_object_tagging(
        &self,
        request: S3Request<DeleteObjectTaggingInput>,
    ) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
        let caller = self.caller(&request).await?;
        let input = &request.input;
        let tagged = tags::Tagged { bucket: &input.bucket, key: &input.key, version: input.version_id.as_deref() };
        tagged.delete(&caller).await?;
        Ok(S3Response::new(DeleteObjectTaggingOutput::default()))
    }

    async fn get_bucket_tagging(
        &self,
        request: S3Request<GetBucketTaggingInput>,
    ) -> S3Result<S3Response<GetBucketTaggingOutput>> {
        let caller = self.caller(&request).await?;
        let tag_set = tags::of_bucket(&caller, &request.input.bucket).await?;
        Ok(S3Response::new(GetBucketTaggingOutput { tag_set }))
    }

    async fn put_bucket_tagging(
        &self,
        request: S3Request<PutBucketTaggingInput>,
    ) -> S3Result<S3Response<PutBucketTaggingOutput>> {
        let caller = self.caller(&request).await?;
        tags::set_of_bucket(&caller, &request.input.bucket, &request.input.tagging.tag_set).await?;
        Ok(S3Response::new(PutBucketTaggingOutput {}))
    }

    async fn delete_bucket_tagging(
        &self,
        request: S3Request<DeleteBucketTaggingInput>,
    ) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
        let caller = self.caller(&request).await?;
        tags::set_of_bucket(&caller, &request.input.bucket, &[]).await?;
        Ok(S3Response::new(DeleteBucketTaggingOutput {}))
    }

    async fn get_bucket_acl(&self, request: S3Request<GetBucketAclInput>) -> S3Result<S3Response<GetBucketAclOutput>> {
        let caller = self.caller(&request).await?;
        let uid = acl::owner_of_bucket(&caller, &request.input.bucket).await?;
        let (grants, owner) = (Some(acl::grants(uid)), Some(bucket::owner(uid)));
        Ok(S3Response::new(GetBucketAclOutput { grants, owner }))
    }

    async fn get_object_acl(&self, request: S3Request<GetObjectAclInput>) -> S3Result<S3Response<GetObjectAclOutput>> {
        let caller = self.caller(&request).await?;
        let GetObjectAclInput { bucket, key, version_id, .. } = &request.input;
        let uid = acl::owner_of_object(&caller, bucket, key, version_id.as_deref()).await;
        let uid = uid.map_err(|error| caller.absence(error))?;
        let (grants, owner) = (Some(acl::grants(uid)), Some(bucket::owner(uid)));
        Ok(S3Response::new(GetObjectAclOutput { grants, owner, ..Default::default() }))
    }

    async fn put_bucket_acl(&self, request: S3Request<PutBucketAclInput>) -> S3Result<S3Response<PutBucketAclOutput>> {
        let caller = self.caller(&request).await?;
        let input = &request.input;
        let wish = acl::Wish {
            canned: input.acl.as_ref().map(|acl| acl.as_str()),
            granted: input.grant_full_control.is_some()
                || input.grant_read.is_some()
                || input.grant_read_acp.is_some()
                || input.grant_write.is_some()
                || input.grant_write_acp.is_some(),
            policy: input.access_control_policy.as_ref(),
        };
        acl::check(&wish, acl::owner_of_bucket(&caller, &input.bucket).await?)?;
        Ok(S3Response::new(PutBucketAclOutput {}))
    }

    async fn put_object_acl(&self, request: S3Request<PutObjectAclInput>) -> S3Result<S3Response<PutObjectAclOutput>> {
        let caller = self.caller(&request).await?;
        let input = &request.input;
        let wish = acl::Wish {
            canned: input.acl.as_ref().map(|acl| acl.as_str()),
            granted: input.grant_full_control.is_some()
                || input.grant_read.is_some()
                || input.grant_read_acp.is_some()
                || input.grant_write.is_some()
                || input.grant_write_acp.is_some(),
            policy: input.access_control_policy.as_ref(),
        };
        let uid = acl::owner_of_object(&caller, &input.bucket, &input.key, input.version_id.as_deref()).await?;
        acl::check(&wish, uid)?;
        Ok(S3Response::new(PutObjectAclOutput::default()))
    }
}

/// A part of an object has its own status.
fn partial<T>(is_part: bool, output: T) -> S3Response<T> {
    if is_part { S3Response::with_status(output, StatusCode::PARTIAL_CONTENT) } else { S3Response::new(output) }
}
