//! Objects in parts: begun, filled, given up.

use bytes::Bytes;
use client::objects::UploadName;
use http::HeaderMap;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, StreamingBlob, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};

use super::put::{self, Expected};
use super::unsupported::{properties_of, unsupported};
use crate::access::Caller;
use crate::failure::{self, invalid, not_implemented};
use crate::key;
use crate::parts::{Begun, ChecksumKind, Kept as _, PartNotes};
use crate::properties::{Algorithm, given_checksums, set_checksum};

/// As for S3 itself.
const MAX_PARTS: i32 = 10_000;
const MAX_PART: u64 = 5 << 30;

pub(crate) async fn create(
    caller: &Caller,
    input: &CreateMultipartUploadInput,
) -> S3Result<CreateMultipartUploadOutput> {
    key::check(&input.key)?;
    unsupported!(input).refuse()?;
    let algorithm = input.checksum_algorithm.as_ref().map(|named| algorithm(named.as_str())).transpose()?;
    let kind = kind(algorithm, input.checksum_type.as_ref())?;
    let properties = properties_of!(input);
    put::check_metadata(&properties)?;
    put::tags(input.tagging.as_deref())?;
    let tags = input.tagging.clone().filter(|tags| !tags.is_empty());
    let begun = Begun { properties, tags, algorithm, kind };
    let upload = caller.objects.create_upload(&input.bucket, input.key.as_bytes(), begun.to_bytes()).await;
    let upload = upload.map_err(failure::of)?;
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket.clone()),
        key: Some(input.key.clone()),
        upload_id: Some(upload.id.to_string()),
        checksum_algorithm: algorithm.map(|algorithm| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: kind.map(|kind| ChecksumType::from_static(kind.name())),
        ..Default::default()
    })
}

/// An algorithm as a request names it.
pub(super) fn algorithm(name: &str) -> S3Result<Algorithm> {
    Algorithm::of_name(name).ok_or_else(|| match name {
        "SHA512" | "MD5" | "XXHASH3" | "XXHASH64" | "XXHASH128" => not_implemented("this checksum algorithm"),
        _ => S3Error::with_message(
            S3ErrorCode::InvalidRequest,
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
             [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
        ),
    })
}

fn kind(algorithm: Option<Algorithm>, asked: Option<&ChecksumType>) -> S3Result<Option<ChecksumKind>> {
    let refused = |message: String| Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message));
    let asked = match asked.map(ChecksumType::as_str) {
        None => None,
        Some(ChecksumType::COMPOSITE) => Some(ChecksumKind::Composite),
        Some(ChecksumType::FULL_OBJECT) => Some(ChecksumKind::FullObject),
        Some(other) => return refused(format!("{other:?} is no checksum type")),
    };
    match (algorithm, asked) {
        (None, None) => Ok(None),
        (None, Some(_)) => refused("a checksum type needs a checksum algorithm".to_owned()),
        (Some(algorithm), None) => Ok(Some(ChecksumKind::usual(algorithm))),
        (Some(algorithm), Some(kind)) if kind.fits(algorithm) => Ok(Some(kind)),
        (Some(algorithm), Some(kind)) => {
            let (kind, algorithm) = (kind.name(), algorithm.name());
            refused(format!("The {kind} checksum type cannot be used with the {algorithm} checksum algorithm."))
        }
    }
}

/// The upload that a request names. Any text may be said to be an id; no upload has a wrong one.
pub(super) fn name(bucket: &str, key: &str, id: &str) -> S3Result<UploadName> {
    key::check(key)?;
    let id = id.parse().map_err(|_| S3Error::new(S3ErrorCode::NoSuchUpload))?;
    Ok(UploadName { bucket: bucket.to_owned(), key: key.as_bytes().to_vec(), id })
}

pub(super) fn number(number: i32) -> S3Result<u16> {
    match u16::try_from(number) {
        Ok(legal) if (1..=MAX_PARTS).contains(&number) => Ok(legal),
        Ok(_) | Err(_) => Err(invalid(format!("Part number must be an integer between 1 and {MAX_PARTS}, inclusive"))),
    }
}

/// What was said when an upload was begun.
pub(super) async fn begun(caller: &Caller, upload: &UploadName) -> S3Result<Begun> {
    let page = caller.objects.parts(upload, 0, 0).await.map_err(failure::of)?;
    Begun::of_bytes(&page.upload.properties)
}

pub(crate) async fn part(caller: &Caller, request: S3Request<UploadPartInput>) -> S3Result<UploadPartOutput> {
    let S3Request { mut input, headers, trailing_headers, .. } = request;
    let body = input.body.take().unwrap_or_else(|| StreamingBlob::from_bytes(Bytes::new()));
    let length = put::length_said(input.content_length, &headers)?;
    check_length(length)?;
    let (upload, number, expected) = prepared(caller, &input, &headers).await?;
    let writer = caller.objects.part_writer(&upload, number).await.map_err(failure::of)?;
    let (writer, digested) = put::receive(writer, body, length, expected.wanted(true)).await?;
    check_length(Some(writer.position()))?;
    expected.check(&digested, trailing_headers.as_ref())?;
    let etag = digested.md5_digits();
    let notes = PartNotes { checksum: Some(digested.checksum.clone()) };
    writer.finish(etag.clone(), notes.to_bytes()).await.map_err(failure::of)?;
    let mut output = UploadPartOutput { e_tag: Some(ETag::Strong(etag)), ..Default::default() };
    set_checksum!(output, digested.checksum);
    Ok(output)
}

/// Which part of which upload it is, and what its bytes are held against.
async fn prepared(
    caller: &Caller,
    input: &UploadPartInput,
    headers: &HeaderMap,
) -> S3Result<(UploadName, u16, Expected)> {
    if input.sse_customer_algorithm.is_some() || input.sse_customer_key.is_some() {
        return Err(not_implemented("server-side encryption"));
    }
    let (upload, number) = (name(&input.bucket, &input.key, &input.upload_id)?, number(input.part_number)?);
    let begun = begun(caller, &upload).await?;
    let mut expected = Expected::read(input.content_md5.as_deref(), given_checksums!(input), headers)?;
    match begun.algorithm {
        Some(algorithm) if !expected.is_given() => expected.algorithm = algorithm,
        Some(algorithm) if algorithm != expected.algorithm => {
            let (wanted, given) = (algorithm.name(), expected.algorithm.name());
            let message = format!(
                "Checksum Type mismatch occurred, expected checksum Type: {wanted}, actual checksum Type: {given}"
            );
            return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message));
        }
        Some(_) | None => {}
    }
    Ok((upload, number, expected))
}

fn check_length(length: Option<u64>) -> S3Result<()> {
    match length {
        Some(length) if length > MAX_PART => Err(S3Error::new(S3ErrorCode::EntityTooLarge)),
        Some(_) | None => Ok(()),
    }
}

pub(crate) async fn abort(caller: &Caller, input: &AbortMultipartUploadInput) -> S3Result<AbortMultipartUploadOutput> {
    if input.if_match_initiated_time.is_some() {
        return Err(not_implemented("a condition on time"));
    }
    let upload = name(&input.bucket, &input.key, &input.upload_id)?;
    caller.objects.abort_upload(&upload).await.map_err(failure::of)?;
    Ok(AbortMultipartUploadOutput::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_and_types_go_together_or_are_refused() {
        let named = |name: &'static str| Some(ChecksumType::from_static(name));
        let kinds = |algorithm, asked: Option<ChecksumType>| kind(algorithm, asked.as_ref()).ok();
        assert_eq!(kinds(None, None), Some(None));
        assert_eq!(kinds(None, named("COMPOSITE")), None);
        assert_eq!(kinds(Some(Algorithm::Crc32), None), Some(Some(ChecksumKind::Composite)));
        assert_eq!(kinds(Some(Algorithm::Crc32), named("FULL_OBJECT")), Some(Some(ChecksumKind::FullObject)));
        assert_eq!(kinds(Some(Algorithm::Crc64Nvme), None), Some(Some(ChecksumKind::FullObject)));
        assert_eq!(kinds(Some(Algorithm::Crc64Nvme), named("COMPOSITE")), None);
        assert_eq!(kinds(Some(Algorithm::Sha256), named("FULL_OBJECT")), None);
        assert_eq!(kinds(Some(Algorithm::Sha1), named("WHOLE")), None);
        assert_eq!(algorithm("CRC32C").ok(), Some(Algorithm::Crc32c));
        assert_eq!(*algorithm("SHA512").expect_err("not there").code(), S3ErrorCode::NotImplemented);
        assert_eq!(*algorithm("CRC7").expect_err("no such").code(), S3ErrorCode::InvalidRequest);
    }

    #[test]
    fn numbers_and_ids_are_checked_before_anything_is_asked() {
        assert_eq!([1, 10_000].map(|legal| number(legal).ok()), [Some(1), Some(10_000)]);
        for wrong in [0, -1, 10_001, i32::MAX] {
            assert_eq!(*number(wrong).expect_err("refused").code(), S3ErrorCode::InvalidArgument, "{wrong}");
        }
        assert!(name("b", "k", "00000000000000ff").is_ok());
        assert_eq!(*name("b", "k", "made-up").expect_err("refused").code(), S3ErrorCode::NoSuchUpload);
        assert!(check_length(Some(MAX_PART)).is_ok() && check_length(Some(MAX_PART + 1)).is_err());
    }
}
