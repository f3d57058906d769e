//! Storing an object.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use client::objects::{ObjectWriter, PartWriter, PutOptions, Stored, TAGS};
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use s3s::dto::{ChecksumType, ETag, Metadata, PutObjectInput, PutObjectOutput, StreamingBlob, Tag, Tagging};
use s3s::stream::aws_chunked_stream::AwsChunkedStreamError;
use s3s::stream::upload_stream::UploadStreamError;
use s3s::xml::Deserialize as _;
use s3s::{BodySizeLimitExceeded, S3Error, S3ErrorCode, S3Request, S3Result, StdError, TrailingHeaders};

use super::unsupported::{properties_of, unsupported};
use crate::access::Caller;
use crate::condition;
use crate::digest::{Digested, Digester, Wanted};
use crate::failure::{self, invalid, not_implemented};
use crate::key;
use crate::properties::{Algorithm, Checksum, Properties, given_checksums, set_checksum};
use crate::tagging;

/// Of the user's metadata, as S3 has it.
const MAX_METADATA: usize = 2 << 10;
/// Of a body without the framing of its chunks.
const DECODED_LENGTH: &str = "x-amz-decoded-content-length";

pub(crate) async fn object(
    caller: &Caller,
    request: S3Request<PutObjectInput>,
    md5_etags: bool,
) -> S3Result<PutObjectOutput> {
    let S3Request { mut input, headers, trailing_headers, .. } = request;
    key::check(&input.key)?;
    refuse_unsupported(&input)?;
    let condition = condition::of_change(input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let expected = Expected::of(&input, &headers)?;
    let mut properties = properties_of!(input);
    check_metadata(&properties)?;
    let attributes = tags(input.tagging.as_deref())?;
    let length = length_said(input.content_length, &headers)?;
    let body = input.body.take().unwrap_or_else(|| StreamingBlob::from_bytes(Bytes::new()));
    let stored = if input.key.ends_with('/') {
        let digested = digest_empty(body, expected.wanted(false)).await?;
        expected.check(&digested, trailing_headers.as_ref())?;
        let options = PutOptions { etag: None, properties: properties.encode(), attributes, condition };
        let put = caller.objects.put(&input.bucket, input.key.as_bytes(), Bytes::new(), options).await;
        (put.map_err(failure::of)?, digested)
    } else {
        let writer = caller.objects.writer(&input.bucket, input.key.as_bytes(), length).await.map_err(failure::of)?;
        let (writer, digested) = receive(writer, body, length, expected.wanted(md5_etags)).await?;
        expected.check(&digested, trailing_headers.as_ref())?;
        properties.checksum = Some(digested.checksum.clone());
        let etag = Some(etag(&digested, writer.position())?);
        let options = PutOptions { etag, properties: properties.encode(), attributes, condition };
        (writer.finish(options).await.map_err(failure::of)?, digested)
    };
    Ok(answer(&stored.0, &stored.1.checksum))
}

/// The etag of what was put: the MD5 of its content, or else something that nothing else has. It has a dash, so that no client
/// takes it for an MD5.
fn etag(digested: &Digested, length: u64) -> S3Result<String> {
    if let Some(md5) = digested.md5 {
        return Ok(hex::encode(md5));
    }
    let mut drawn = [0; 8];
    getrandom::fill(&mut drawn)
        .map_err(|error| S3Error::with_message(S3ErrorCode::InternalError, error.to_string()))?;
    Ok(format!("{}-{length:x}", hex::encode(drawn)))
}

/// The length of a body as the request says it, which it must; none only for the file of a form, which ends with the form.
pub(super) fn length_said(content_length: Option<i64>, headers: &HeaderMap) -> S3Result<Option<u64>> {
    let decoded = headers.get(DECODED_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    match content_length.and_then(|length| u64::try_from(length).ok()).or(decoded) {
        Some(length) => Ok(Some(length)),
        None if headers.contains_key(http::header::CONTENT_LENGTH) => Ok(None),
        None => Err(S3Error::new(S3ErrorCode::MissingContentLength)),
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
    wanted: Wanted,
) -> S3Result<(S, Digested)> {
    let mut digester = Digester::new(wanted);
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
async fn digest_empty(mut body: StreamingBlob, wanted: Wanted) -> S3Result<Digested> {
    while let Some(chunk) = body.next().await {
        if !chunk.map_err(broken_body)?.is_empty() {
            return Err(invalid("a key that ends with a slash is a directory, and takes no content"));
        }
    }
    Digester::new(wanted).finish().await.map_err(S3Error::internal_error)
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
    // A form brings them as the document that is put otherwise.
    let tags = if header.starts_with('<') { of_document(header)? } else { tagging::parse(header)? };
    tagging::check(&tags, tagging::Limits::OBJECT)?;
    Ok(if tags.is_empty() { Vec::new() } else { vec![(TAGS.to_vec(), tagging::query(&tags))] })
}

fn of_document(xml: &str) -> S3Result<Vec<Tag>> {
    let mut deserializer = s3s::xml::Deserializer::new(xml.as_bytes());
    let read = Tagging::deserialize(&mut deserializer).and_then(|read| deserializer.expect_eof().map(|()| read));
    read.map(|read| read.tag_set).map_err(|_| S3Error::new(S3ErrorCode::MalformedXML))
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

const MD5: &str = "content-md5";
/// The headers of checksums.
pub(crate) const HEADERS: [(Algorithm, &str); 5] = [
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

    /// As for a request that is not read by the S3 library.
    pub(crate) fn of_headers(headers: &HeaderMap) -> S3Result<Self> {
        let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let given = HEADERS.map(|(algorithm, name)| (algorithm, text(name)));
        let given = given.each_ref().map(|(algorithm, value)| (*algorithm, value));
        Self::read(text(MD5).as_deref(), given, headers)
    }

    /// What is to be computed for the comparison, and besides it the MD5 if that is wanted.
    pub(crate) fn wanted(&self, md5: bool) -> Wanted {
        Wanted { algorithm: self.algorithm, md5: md5 || self.md5.is_some() }
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
        // The library passes over a header without a value.
        let md5 = md5.or_else(|| headers.get(MD5).filter(|value| value.is_empty()).map(|_| ""));
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
        if self.md5.as_ref().is_some_and(|md5| digested.md5.is_none_or(|found| md5.as_slice() != found)) {
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

    #[tokio::test]
    async fn without_an_md5_no_two_objects_have_one_etag() {
        let wanted = Wanted { algorithm: Algorithm::Crc32, md5: false };
        let digested = Digester::new(wanted).finish().await.expect("here");
        let (one, other) = (etag(&digested, 255).expect("drawn"), etag(&digested, 255).expect("drawn"));
        assert!(one.len() == 19 && one.ends_with("-ff") && one != other, "{one} {other}");
        let digested = Digester::new(Wanted { md5: true, ..wanted }).finish().await.expect("here");
        assert_eq!(etag(&digested, 0).expect("computed"), "d41d8cd98f00b204e9800998ecf8427e");
        let given = Expected { algorithm: Algorithm::Crc32, md5: Some(vec![0; 16]), value: None, in_trailer: false };
        assert!(given.wanted(false).md5, "what came with the body is compared in any case");
    }

    #[test]
    fn a_length_is_said_or_the_body_is_refused() {
        let with = |name: &'static str| {
            let headers: HeaderMap =
                [(name.parse().expect("legal"), "7".parse().expect("legal"))].into_iter().collect();
            move |length| length_said(length, &headers).map_err(|error| error.code().clone())
        };
        assert_eq!(with("content-length")(Some(7)), Ok(Some(7)));
        assert_eq!(with(DECODED_LENGTH)(None), Ok(Some(7)));
        assert_eq!(with("content-length")(None), Ok(None), "a form");
        assert_eq!(with("x-other")(None), Err(S3ErrorCode::MissingContentLength));
    }

    #[test]
    fn tags_come_as_a_query_or_as_a_document() {
        let document = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1</Value></Tag></TagSet></Tagging>";
        let kept = vec![(TAGS.to_vec(), b"a%20b=1".to_vec())];
        assert_eq!(
            [tags(Some("a%20b=1")), tags(Some(document))].map(|tags| tags.ok()),
            [Some(kept.clone()), Some(kept)]
        );
        assert_eq!(tags(Some("<Tagging>")).expect_err("refused").code(), &S3ErrorCode::MalformedXML);
        assert_eq!(tags(None).ok(), Some(Vec::new()));
    }

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
        let mut digester = Digester::new(Wanted { algorithm: Algorithm::Crc32, md5: true });
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
        let empty = [(http::header::HeaderName::from_static(MD5), "".parse().expect("legal"))].into_iter().collect();
        assert_eq!(*Expected::read(None, none, &empty).expect_err("refused").code(), S3ErrorCode::InvalidDigest);
    }
}
