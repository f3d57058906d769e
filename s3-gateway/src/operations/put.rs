//! Storing an object.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use client::objects::{ObjectWriter, PartWriter, PutOptions, Stored};
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use s3s::dto::{ChecksumType, ETag, Metadata, PutObjectInput, PutObjectOutput, StreamingBlob};
use s3s::stream::aws_chunked_stream::AwsChunkedStreamError;
use s3s::stream::upload_stream::UploadStreamError;
use s3s::{BodySizeLimitExceeded, S3Error, S3ErrorCode, S3Request, S3Result, StdError, TrailingHeaders};

use super::unsupported::{properties_of, unsupported};
use crate::access::Caller;
use crate::condition;
use crate::digest::{Digested, Digester};
use crate::failure::{self, invalid, not_implemented};
use crate::key;
use crate::properties::{Algorithm, Checksum, Properties, given_checksums, set_checksum};

/// Of the user's metadata, as S3 has it.
const MAX_METADATA: usize = 2 << 10;
/// Of a body that is not wanted.
const DRAINED: usize = 1 << 20;
/// The attribute that holds the tags of an object, as a query string.
pub(crate) const TAGS: &[u8] = b"user.s3.tags";

pub(crate) async fn object(caller: &Caller, request: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
    let S3Request { mut input, headers, trailing_headers, .. } = request;
    key::check(&input.key)?;
    refuse_unsupported(&input)?;
    let condition = condition::of_change(input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let expected = Expected::of(&input, &headers)?;
    let mut properties = properties_of!(input);
    check_metadata(&properties)?;
    let attributes = tags(input.tagging.as_deref())?;
    let length = input.content_length.and_then(|length| u64::try_from(length).ok());
    let body = input.body.take().unwrap_or_else(|| StreamingBlob::from_bytes(Bytes::new()));
    let stored = if input.key.ends_with('/') {
        let digested = digest_empty(body, expected.algorithm).await?;
        expected.check(&digested, trailing_headers.as_ref())?;
        let options = PutOptions { etag: None, properties: properties.encode(), attributes, condition };
        let put = caller.objects.put(&input.bucket, input.key.as_bytes(), Bytes::new(), options).await;
        (put.map_err(failure::of)?, digested)
    } else {
        let writer = caller.objects.writer(&input.bucket, input.key.as_bytes(), length).await.map_err(failure::of)?;
        let (writer, digested) = receive(writer, body, length, expected.algorithm).await?;
        expected.check(&digested, trailing_headers.as_ref())?;
        properties.checksum = Some(digested.checksum.clone());
        let etag = Some(hex::encode(digested.md5));
        let options = PutOptions { etag, properties: properties.encode(), attributes, condition };
        (writer.finish(options).await.map_err(failure::of)?, digested)
    };
    Ok(answer(&stored.0, &stored.1.checksum))
}

/// Takes in what is left of a short body that nobody wants, so that the client can use the connection again.
pub(crate) async fn drain(mut body: StreamingBlob) {
    let mut taken = 0;
    while taken < DRAINED
        && let Some(Ok(chunk)) = body.next().await
    {
        taken += chunk.len();
    }
}

fn answer(stored: &Stored, checksum: &Checksum) -> PutObjectOutput {
    let mut output = PutObjectOutput { e_tag: Some(ETag::Strong(stored.etag.clone())), ..Default::default() };
    output.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
    set_checksum!(output, checksum.clone());
    output
}

/// Where a body goes.
pub(crate) trait Sink: Send {
    fn write(&mut self, data: Bytes) -> impl Future<Output = Result<(), client::Error>> + Send;
    fn position(&self) -> u64;
}

impl Sink for ObjectWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), client::Error> {
        Self::write(self, data).await
    }

    fn position(&self) -> u64 {
        Self::position(self)
    }
}

impl Sink for PartWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), client::Error> {
        Self::write(self, data).await
    }

    fn position(&self) -> u64 {
        Self::position(self)
    }
}

/// Takes the body in, through the digests, into the file. What is half-sent leaves nothing (invariant 2).
pub(crate) async fn receive<S: Sink>(
    mut writer: S,
    mut body: StreamingBlob,
    length: Option<u64>,
    algorithm: Algorithm,
) -> S3Result<(S, Digested)> {
    let mut digester = Digester::new(algorithm);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(broken_body)?;
        digester.update(chunk.clone()).await.map_err(S3Error::internal_error)?;
        writer.write(chunk).await.map_err(failure::of)?;
    }
    if length.is_some_and(|length| length != writer.position()) {
        return Err(S3Error::new(S3ErrorCode::IncompleteBody));
    }
    let digested = digester.finish().await.map_err(S3Error::internal_error)?;
    Ok((writer, digested))
}

/// The object of a directory has no content.
async fn digest_empty(mut body: StreamingBlob, algorithm: Algorithm) -> S3Result<Digested> {
    while let Some(chunk) = body.next().await {
        if !chunk.map_err(broken_body)?.is_empty() {
            return Err(invalid("a key that ends with a slash is a directory, and takes no content"));
        }
    }
    Digester::new(algorithm).finish().await.map_err(S3Error::internal_error)
}

fn broken_body(error: StdError) -> S3Error {
    if error.downcast_ref::<BodySizeLimitExceeded>().is_some() {
        return S3Error::new(S3ErrorCode::EntityTooLarge);
    }
    if let Some(UploadStreamError::Sha256Mismatch) = error.downcast_ref::<UploadStreamError>() {
        return failure::custom("XAmzContentSHA256Mismatch", StatusCode::BAD_REQUEST);
    }
    match error.downcast_ref::<AwsChunkedStreamError>() {
        Some(AwsChunkedStreamError::SignatureMismatch) => S3Error::new(S3ErrorCode::SignatureDoesNotMatch),
        Some(AwsChunkedStreamError::ChunkDataTooLarge(..)) => S3Error::new(S3ErrorCode::EntityTooLarge),
        Some(_) | None => S3Error::with_message(S3ErrorCode::IncompleteBody, error.to_string()),
    }
}

fn refuse_unsupported(input: &PutObjectInput) -> S3Result<()> {
    unsupported!(input).refuse()?;
    let other_sums = input.checksum_sha512.is_some()
        || input.checksum_md5.is_some()
        || input.checksum_xxhash3.is_some()
        || input.checksum_xxhash64.is_some()
        || input.checksum_xxhash128.is_some();
    if other_sums {
        return Err(not_implemented("this checksum algorithm"));
    }
    if input.write_offset_bytes.is_some() {
        return Err(not_implemented("appending at an offset"));
    }
    Ok(())
}

pub(crate) fn check_metadata(properties: &Properties) -> S3Result<()> {
    if properties.metadata_size() > MAX_METADATA {
        return Err(S3Error::new(S3ErrorCode::MetadataTooLarge));
    }
    Ok(())
}

pub(crate) fn metadata(metadata: Option<&Metadata>) -> BTreeMap<String, String> {
    metadata.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// `aws-chunked` says how the request is framed and nothing of the object.
pub(crate) fn without_framing(encoding: &str) -> Option<String> {
    let others: Vec<&str> =
        encoding.split(',').map(str::trim).filter(|one| !one.is_empty() && *one != "aws-chunked").collect();
    (!others.is_empty()).then(|| others.join(","))
}

/// Tags as an attribute; none for no tags.
pub(crate) fn tags(header: Option<&str>) -> S3Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let Some(header) = header.filter(|header| !header.is_empty()) else { return Ok(Vec::new()) };
    crate::tagging::check(&crate::tagging::parse(header)?, crate::tagging::Limits::OBJECT)?;
    Ok(vec![(TAGS.to_vec(), header.as_bytes().to_vec())])
}

/// What came with the body for it to be held against.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) algorithm: Algorithm,
    md5: Option<Vec<u8>>,
    /// In a header.
    value: Option<String>,
    /// Or promised behind the body.
    in_trailer: bool,
}

/// The headers of checksums.
const HEADERS: [(Algorithm, &str); 5] = [
    (Algorithm::Crc32, "x-amz-checksum-crc32"),
    (Algorithm::Crc32c, "x-amz-checksum-crc32c"),
    (Algorithm::Crc64Nvme, "x-amz-checksum-crc64nvme"),
    (Algorithm::Sha1, "x-amz-checksum-sha1"),
    (Algorithm::Sha256, "x-amz-checksum-sha256"),
];

fn header_of(algorithm: Algorithm) -> &'static str {
    HEADERS.iter().find(|(other, _)| *other == algorithm).map(|(_, name)| *name).expect("each has one")
}

impl Expected {
    fn of(input: &PutObjectInput, headers: &HeaderMap) -> S3Result<Self> {
        Self::read(input.content_md5.as_deref(), given_checksums!(input), headers)
    }

    /// Whether there is a checksum to compare with, besides the MD5.
    pub(crate) fn is_given(&self) -> bool {
        self.value.is_some() || self.in_trailer
    }

    pub(crate) fn read(
        md5: Option<&str>,
        given: [(Algorithm, &Option<String>); 5],
        headers: &HeaderMap,
    ) -> S3Result<Self> {
        let md5 = md5.map(|text| match BASE64_STANDARD.decode(text) {
            Ok(bytes) if bytes.len() == 16 => Ok(bytes),
            Ok(_) | Err(_) => Err(S3Error::new(S3ErrorCode::InvalidDigest)),
        });
        let md5 = md5.transpose()?;
        let mut found =
            given.into_iter().filter_map(|(algorithm, value)| value.clone().map(|value| (algorithm, value)));
        let first = found.next();
        if found.next().is_some() {
            return Err(S3Error::with_message(
                S3ErrorCode::InvalidRequest,
                "expecting a single x-amz-checksum- header",
            ));
        }
        let trailer = Self::trailer(headers)?;
        Ok(match (first, trailer) {
            (Some((algorithm, value)), _) => Self { algorithm, md5, value: Some(value), in_trailer: false },
            (None, Some(algorithm)) => Self { algorithm, md5, value: None, in_trailer: true },
            // As S3 itself, which computes this one where none is brought.
            (None, None) => Self { algorithm: Algorithm::Crc64Nvme, md5, value: None, in_trailer: false },
        })
    }

    /// The checksum that is promised behind the body.
    fn trailer(headers: &HeaderMap) -> S3Result<Option<Algorithm>> {
        let named = headers.get_all("x-amz-trailer").iter().filter_map(|value| value.to_str().ok());
        for name in named.flat_map(|value| value.split(',')).map(str::trim) {
            if let Some((algorithm, _)) = HEADERS.iter().find(|(_, header)| name.eq_ignore_ascii_case(header)) {
                return Ok(Some(*algorithm));
            }
            if name.to_ascii_lowercase().starts_with("x-amz-checksum-") {
                return Err(not_implemented("this checksum algorithm"));
            }
        }
        Ok(None)
    }

    /// Refuses bytes that are not those that were meant (invariant 4).
    pub(crate) fn check(&self, digested: &Digested, trailers: Option<&TrailingHeaders>) -> S3Result<()> {
        if self.md5.as_ref().is_some_and(|md5| md5.as_slice() != digested.md5) {
            return Err(S3Error::new(S3ErrorCode::BadDigest));
        }
        let promised = if self.in_trailer {
            let name = header_of(self.algorithm);
            let found = trailers.and_then(|trailers| {
                trailers.read(|headers| headers.get(name).and_then(|value| value.to_str().ok().map(str::to_owned)))
            });
            let missing = || failure::custom("MalformedTrailerError", StatusCode::BAD_REQUEST);
            Some(found.flatten().ok_or_else(missing)?)
        } else {
            self.value.clone()
        };
        match promised {
            Some(value) if value != digested.checksum.value => {
                let name = header_of(self.algorithm);
                Err(S3Error::with_message(S3ErrorCode::BadDigest, format!("the body does not match its {name}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_is_no_encoding_of_the_object() {
        assert_eq!(without_framing("aws-chunked"), None);
        assert_eq!(without_framing("gzip,aws-chunked"), Some("gzip".to_owned()));
        assert_eq!(without_framing("gzip, br"), Some("gzip,br".to_owned()));
    }

    #[tokio::test]
    async fn a_body_that_is_not_what_was_meant_is_refused() {
        let none = || None;
        let given =
            |value: Option<String>| Expected { algorithm: Algorithm::Crc32, md5: None, value, in_trailer: false };
        let mut digester = Digester::new(Algorithm::Crc32);
        digester.update(Bytes::from_static(b"123456789")).await.expect("here");
        let digested = digester.finish().await.expect("here");
        let right = BASE64_STANDARD.encode([0xcb, 0xf4, 0x39, 0x26]);
        assert!(given(Some(right)).check(&digested, None).is_ok());
        let wrong = given(Some("AAAAAA==".to_owned())).check(&digested, None);
        assert_eq!(*wrong.expect_err("refused").code(), S3ErrorCode::BadDigest);
        let promised = Expected { in_trailer: true, ..given(none()) };
        assert_eq!(promised.check(&digested, None).expect_err("refused").code().as_str(), "MalformedTrailerError");
        let md5 = Expected { md5: Some(vec![0; 16]), ..given(none()) };
        assert_eq!(*md5.check(&digested, None).expect_err("refused").code(), S3ErrorCode::BadDigest);
        let headers = HeaderMap::new();
        let nothing = None;
        let none = [(Algorithm::Crc32, &nothing); 5];
        assert_eq!(*Expected::read(Some("x"), none, &headers).expect_err("refused").code(), S3ErrorCode::InvalidDigest);
    }
}
