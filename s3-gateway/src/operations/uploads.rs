//! Which uploads are under way, and which parts they have.

use client::objects::{ListUploads, MAX_KEYS, Upload, UploadId, UploadItem};
use s3s::S3Result;
use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, CommonPrefix, ETag, Initiator, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Part, StorageClass,
};

use super::bucket::{owner, timestamp};
use super::list::Encoding;
use super::upload;
use crate::access::Caller;
use crate::failure::{self, invalid};
use crate::parts::{Begun, Kept as _, PartNotes};
use crate::properties::set_checksum;

const STANDARD: &str = "STANDARD";
/// No part has a higher number.
const MAX_NUMBER: u16 = u16::MAX - 1;

/// How many are asked for.
fn max(asked: Option<i32>, what: &str) -> S3Result<u32> {
    let wrong = || invalid(format!("{what} is negative"));
    asked.map_or(Ok(MAX_KEYS), |asked| u32::try_from(asked).map(|asked| asked.min(MAX_KEYS)).map_err(|_| wrong()))
}

fn initiator(uid: u32) -> Initiator {
    let owner = owner(uid);
    Initiator { id: owner.id, display_name: owner.display_name }
}

pub(crate) async fn parts(caller: &Caller, input: ListPartsInput) -> S3Result<ListPartsOutput> {
    let upload = upload::name(&input.bucket, &input.key, &input.upload_id)?;
    let max = max(input.max_parts, "max-parts")?;
    let marker = input.part_number_marker.unwrap_or(0);
    let after =
        u16::try_from(marker.min(i32::from(MAX_NUMBER))).map_err(|_| invalid("part-number-marker is negative"))?;
    let page = caller.objects.parts(&upload, after, max).await.map_err(failure::of)?;
    let begun = Begun::of_bytes(&page.upload.properties)?;
    let truncated = page.more && max > 0;
    let next = page.parts.last().filter(|_| truncated).map(|last| i32::from(last.number));
    let parts: S3Result<Vec<Part>> = page.parts.into_iter().map(part).collect();
    let uid = page.upload.uid;
    Ok(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        part_number_marker: Some(marker),
        next_part_number_marker: next,
        max_parts: i32::try_from(max).ok(),
        is_truncated: Some(truncated),
        parts: Some(parts?),
        initiator: Some(initiator(uid)),
        owner: Some(owner(uid)),
        storage_class: Some(StorageClass::from_static(STANDARD)),
        checksum_algorithm: begun.algorithm.map(|algorithm| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: begun.kind.map(|kind| ChecksumType::from_static(kind.name())),
        ..Default::default()
    })
}

fn part(part: client::objects::Part) -> S3Result<Part> {
    let mut listed = Part {
        part_number: Some(i32::from(part.number)),
        e_tag: Some(ETag::Strong(part.etag)),
        last_modified: Some(timestamp(part.modified)),
        size: i64::try_from(part.length).ok(),
        ..Default::default()
    };
    if let Some(checksum) = PartNotes::of_bytes(&part.properties)?.checksum {
        set_checksum!(listed, checksum);
    }
    Ok(listed)
}

pub(crate) async fn uploads(caller: &Caller, input: ListMultipartUploadsInput) -> S3Result<ListMultipartUploadsOutput> {
    let ListMultipartUploadsInput {
        bucket,
        prefix,
        delimiter,
        key_marker,
        upload_id_marker,
        max_uploads,
        encoding_type,
        ..
    } = input;
    let encoding = Encoding::of(encoding_type.as_ref())?;
    let max = max(max_uploads, "max-uploads")?;
    let after = key_marker.clone().unwrap_or_default();
    // Without a key it means nothing.
    let marker = upload_id_marker.as_deref().filter(|marker| !marker.is_empty() && !after.is_empty());
    let after_id: Option<UploadId> =
        marker.map(|id| id.parse().map_err(|_| invalid("upload-id-marker is not the id of an upload"))).transpose()?;
    let list = ListUploads {
        prefix: prefix.clone().unwrap_or_default().into(),
        delimiter: delimiter.clone().unwrap_or_default().into(),
        after: after.into(),
        after_id,
        max,
    };
    let page = caller.objects.uploads(&bucket, list).await.map_err(failure::of)?;
    let next = page.items.last().filter(|_| page.more).map(|last| match last {
        UploadItem::Upload(upload) => (encoding.key(&upload.key), upload.id.to_string()),
        UploadItem::Prefix(prefix) => (encoding.key(prefix), String::new()),
    });
    let (mut found, mut prefixes) = (Vec::new(), Vec::new());
    for item in page.items {
        match item {
            UploadItem::Upload(upload) => found.push(listed(upload, encoding)?),
            UploadItem::Prefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(encoding.key(&prefix)) }),
        }
    }
    let (next_key, next_id) = next.unzip();
    Ok(ListMultipartUploadsOutput {
        bucket: Some(bucket),
        prefix: Some(encoding.text(prefix.as_deref()).unwrap_or_default()),
        delimiter: encoding.text(delimiter.as_deref()),
        key_marker: Some(encoding.text(key_marker.as_deref()).unwrap_or_default()),
        upload_id_marker: Some(upload_id_marker.unwrap_or_default()),
        next_key_marker: next_key,
        next_upload_id_marker: next_id,
        max_uploads: i32::try_from(max).ok(),
        is_truncated: Some(page.more),
        encoding_type,
        uploads: Some(found),
        common_prefixes: Some(prefixes),
        ..Default::default()
    })
}

fn listed(upload: Upload, encoding: Encoding) -> S3Result<MultipartUpload> {
    let begun = Begun::of_bytes(&upload.properties)?;
    Ok(MultipartUpload {
        key: Some(encoding.key(&upload.key)),
        upload_id: Some(upload.id.to_string()),
        initiated: Some(timestamp(upload.initiated)),
        initiator: Some(initiator(upload.uid)),
        owner: Some(owner(upload.uid)),
        storage_class: Some(StorageClass::from_static(STANDARD)),
        checksum_algorithm: begun.algorithm.map(|algorithm| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: begun.kind.map(|kind| ChecksumType::from_static(kind.name())),
    })
}
