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
    DeletePublicAccessBlockOutput, GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput,
    GetBucketAclInput, GetBucketAclOutput, GetBucketCorsInput, GetBucketCorsOutput, GetBucketEncryptionInput,
    GetBucketEncryptionOutput, GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput,
    GetBucketLocationInput, GetBucketLocationOutput, GetBucketLoggingInput, GetBucketLoggingOutput,
    GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput, GetBucketOwnershipControlsInput,
    GetBucketOwnershipControlsOutput, GetBucketPolicyInput, GetBucketPolicyOutput, GetBucketPolicyStatusInput,
    GetBucketPolicyStatusOutput, GetBucketReplicationInput, GetBucketReplicationOutput, GetBucketRequestPaymentInput,
    GetBucketRequestPaymentOutput, GetBucketTaggingInput, GetBucketTaggingOutput, GetBucketVersioningInput,
    GetBucketVersioningOutput, GetBucketWebsiteInput, GetBucketWebsiteOutput, GetObjectAclInput, GetObjectAclOutput,
    GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectInput, GetObjectLockConfigurationInput,
    GetObjectLockConfigurationOutput, GetObjectOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    GetPublicAccessBlockInput, GetPublicAccessBlockOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
    HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, ListPartsInput, ListPartsOutput, Payer, PutBucketAclInput, PutBucketAclOutput,
    PutBucketCorsInput, PutBucketCorsOutput, PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput,
    PutBucketPolicyInput, PutBucketPolicyOutput, PutBucketRequestPaymentInput, PutBucketRequestPaymentOutput,
    PutBucketTaggingInput, PutBucketTaggingOutput, PutObjectAclInput, PutObjectAclOutput, PutObjectInput,
    PutObjectOutput, PutObjectTaggingInput, PutObjectTaggingOutput, PutPublicAccessBlockInput,
    PutPublicAccessBlockOutput, RenameObjectInput, RenameObjectOutput, UploadPartCopyInput, UploadPartCopyOutput,
    UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use types::Path;

use crate::access::Caller;
use crate::buckets::Buckets;
use crate::failure;
use crate::operations::unsupported::grants;
use crate::operations::{
    acl, attributes, bucket, complete, copy, defaults, delete, get, list, put, rename, settings, tags, upload, uploads,
};

/// Everything that operations need.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) buckets: Buckets,
    /// The directory of new buckets.
    pub(crate) root: Path,
    pub(crate) region: String,
    /// Whether the etag of what is put is the MD5 of its content.
    pub(crate) md5_etags: bool,
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
        bucket::list(&caller, &self.region, request.input).await.map(S3Response::new)
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let caller = self.caller(&request).await?;
        put::object(&caller, request, self.md5_etags).await.map(S3Response::new)
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let caller = self.caller(&request).await?;
        let output =
            get::get(&caller, &request.input, &request.headers).await.map_err(|error| caller.absence(error))?;
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let caller = self.caller(&request).await?;
        let output =
            get::head(&caller, &request.input, &request.headers).await.map_err(|error| caller.absence(error))?;
        Ok(S3Response::new(output))
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
        delete::check_digest(&request.headers)?;
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
            granted: grants!(input),
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
            granted: grants!(input),
            policy: input.access_control_policy.as_ref(),
        };
        let uid = acl::owner_of_object(&caller, &input.bucket, &input.key, input.version_id.as_deref()).await?;
        acl::check(&wish, uid)?;
        Ok(S3Response::new(PutObjectAclOutput::default()))
    }

    async fn rename_object(&self, request: S3Request<RenameObjectInput>) -> S3Result<S3Response<RenameObjectOutput>> {
        let caller = self.caller(&request).await?;
        rename::rename(&caller, &request.input).await?;
        Ok(S3Response::new(RenameObjectOutput {}))
    }

    async fn get_bucket_ownership_controls(
        &self,
        request: S3Request<GetBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
        let caller = self.caller(&request).await?;
        defaults::check(&caller, &request.input.bucket).await?;
        let ownership_controls = Some(defaults::ownership());
        Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls }))
    }

    async fn put_bucket_ownership_controls(
        &self,
        request: S3Request<PutBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
        let caller = self.caller(&request).await?;
        defaults::put_ownership(&caller, &request.input).await?;
        Ok(S3Response::new(PutBucketOwnershipControlsOutput {}))
    }

    async fn get_bucket_request_payment(
        &self,
        request: S3Request<GetBucketRequestPaymentInput>,
    ) -> S3Result<S3Response<GetBucketRequestPaymentOutput>> {
        let caller = self.caller(&request).await?;
        defaults::check(&caller, &request.input.bucket).await?;
        let payer = Some(Payer::from_static(Payer::BUCKET_OWNER));
        Ok(S3Response::new(GetBucketRequestPaymentOutput { payer }))
    }

    async fn put_bucket_request_payment(
        &self,
        request: S3Request<PutBucketRequestPaymentInput>,
    ) -> S3Result<S3Response<PutBucketRequestPaymentOutput>> {
        let caller = self.caller(&request).await?;
        defaults::check_payer(&request.input.request_payment_configuration.payer)?;
        defaults::check(&caller, &request.input.bucket).await?;
        Ok(S3Response::new(PutBucketRequestPaymentOutput {}))
    }

    async fn get_bucket_logging(
        &self,
        request: S3Request<GetBucketLoggingInput>,
    ) -> S3Result<S3Response<GetBucketLoggingOutput>> {
        let caller = self.caller(&request).await?;
        defaults::check(&caller, &request.input.bucket).await?;
        Ok(S3Response::new(GetBucketLoggingOutput::default()))
    }

    async fn get_bucket_notification_configuration(
        &self,
        request: S3Request<GetBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
        let caller = self.caller(&request).await?;
        defaults::check(&caller, &request.input.bucket).await?;
        Ok(S3Response::new(GetBucketNotificationConfigurationOutput::default()))
    }

    async fn get_bucket_accelerate_configuration(
        &self,
        request: S3Request<GetBucketAccelerateConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketAccelerateConfigurationOutput>> {
        let caller = self.caller(&request).await?;
        defaults::check(&caller, &request.input.bucket).await?;
        Ok(S3Response::new(GetBucketAccelerateConfigurationOutput::default()))
    }

    async fn get_bucket_lifecycle_configuration(
        &self,
        request: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        let caller = self.caller(&request).await?;
        Err(defaults::absent(&caller, &request.input.bucket, S3ErrorCode::NoSuchLifecycleConfiguration).await)
    }

    async fn get_bucket_website(
        &self,
        request: S3Request<GetBucketWebsiteInput>,
    ) -> S3Result<S3Response<GetBucketWebsiteOutput>> {
        let caller = self.caller(&request).await?;
        Err(defaults::absent(&caller, &request.input.bucket, S3ErrorCode::NoSuchWebsiteConfiguration).await)
    }

    async fn get_bucket_replication(
        &self,
        request: S3Request<GetBucketReplicationInput>,
    ) -> S3Result<S3Response<GetBucketReplicationOutput>> {
        let caller = self.caller(&request).await?;
        let code = S3ErrorCode::ReplicationConfigurationNotFoundError;
        Err(defaults::absent(&caller, &request.input.bucket, code).await)
    }

    async fn get_bucket_encryption(
        &self,
        request: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        let caller = self.caller(&request).await?;
        let code = S3ErrorCode::ServerSideEncryptionConfigurationNotFoundError;
        Err(defaults::absent(&caller, &request.input.bucket, code).await)
    }

    async fn get_object_lock_configuration(
        &self,
        request: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        let caller = self.caller(&request).await?;
        let code = S3ErrorCode::ObjectLockConfigurationNotFoundError;
        Err(defaults::absent(&caller, &request.input.bucket, code).await)
    }
}
