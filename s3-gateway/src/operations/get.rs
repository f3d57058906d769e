//! Reading an object, and looking at one.

use bytes::Bytes;
use client::objects::{Found, ObjectReader};
use futures::stream;
use http::{HeaderMap, StatusCode};
use s3s::dto::{
    ChecksumType, ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Metadata, Range,
    StreamingBlob,
};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::bucket::timestamp;
use crate::access::Caller;
use crate::condition::{Verdict, Wanted};
use crate::failure::{self, not_implemented};
use crate::key;
use crate::properties::{Algorithm, Checksum, Properties};

/// What S3 says of an object that was stored without a type.
const NO_TYPE: &str = "binary/octet-stream";

/// A part of an object, as asked for.
struct Part {
    start: u64,
    end: u64,
    content_range: Option<String>,
}

/// The two answers have the same fields and no type in common.
macro_rules! output {
    ($output:ident, $found:ident, $part:ident, $described:ident) => {{
        let Described { properties, metadata, checksum } = $described;
        let mut output = $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: properties.cache_control,
            content_disposition: properties.content_disposition,
            content_encoding: properties.content_encoding,
            content_language: properties.content_language,
            content_length: i64::try_from($part.end - $part.start).ok(),
            content_range: $part.content_range,
            content_type: Some(properties.content_type.unwrap_or_else(|| NO_TYPE.to_owned())),
            e_tag: Some(ETag::Strong($found.etag)),
            expires: properties.expires,
            last_modified: Some(timestamp($found.attributes.mtime)),
            metadata,
            ..Default::default()
        };
        if let Some(Checksum { algorithm, value }) = checksum {
            output.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
            let value = Some(value);
            match algorithm {
                Algorithm::Crc32 => output.checksum_crc32 = value,
                Algorithm::Crc32c => output.checksum_crc32c = value,
                Algorithm::Crc64Nvme => output.checksum_crc64nvme = value,
                Algorithm::Sha1 => output.checksum_sha1 = value,
                Algorithm::Sha256 => output.checksum_sha256 = value,
            }
        }
        output
    }};
}

pub(crate) async fn get(caller: &Caller, input: &GetObjectInput) -> S3Result<GetObjectOutput> {
    if input.sse_customer_algorithm.is_some() || input.sse_customer_key.is_some() {
        return Err(not_implemented("server-side encryption"));
    }
    key::check(&input.key)?;
    key::check_version(input.version_id.as_deref())?;
    let reader = caller.objects.open(&input.bucket, input.key.as_bytes()).await.map_err(failure::of)?;
    let found = reader.found().clone();
    let wanted = Wanted {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
    };
    check_condition(&wanted, &found)?;
    let part = part(&found, input.range.as_ref(), input.part_number)?;
    let whole = part.content_range.is_none();
    let described = Described::of(&found, whole && is_enabled(input.checksum_mode.as_ref().map(|mode| mode.as_str())));
    let body = Some(body(reader, part.start, part.end));
    Ok(GetObjectOutput { body, ..output!(GetObjectOutput, found, part, described) })
}

pub(crate) async fn head(caller: &Caller, input: &HeadObjectInput) -> S3Result<HeadObjectOutput> {
    if input.sse_customer_algorithm.is_some() || input.sse_customer_key.is_some() {
        return Err(not_implemented("server-side encryption"));
    }
    key::check(&input.key)?;
    key::check_version(input.version_id.as_deref())?;
    let found = caller.objects.head(&input.bucket, input.key.as_bytes()).await.map_err(failure::of)?;
    let wanted = Wanted {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
    };
    check_condition(&wanted, &found)?;
    let part = part(&found, input.range.as_ref(), input.part_number)?;
    let whole = part.content_range.is_none();
    let described = Described::of(&found, whole && is_enabled(input.checksum_mode.as_ref().map(|mode| mode.as_str())));
    Ok(output!(HeadObjectOutput, found, part, described))
}

/// What was kept with an object.
struct Described {
    properties: Properties,
    metadata: Option<Metadata>,
    checksum: Option<Checksum>,
}

impl Described {
    fn of(found: &Found, with_checksum: bool) -> Self {
        let mut properties = Properties::decode(&found.properties);
        // A checksum says nothing of what another door has written since.
        let checksum = properties.checksum.take().filter(|_| with_checksum && found.as_given);
        let metadata = std::mem::take(&mut properties.metadata);
        let metadata = (!metadata.is_empty()).then(|| metadata.into_iter().collect());
        Self { properties, metadata, checksum }
    }
}

fn is_enabled(mode: Option<&str>) -> bool {
    mode == Some("ENABLED")
}

pub(crate) fn check_condition(wanted: &Wanted<'_>, found: &Found) -> S3Result<()> {
    let modified = i64::try_from(found.attributes.mtime.nanos() / 1_000_000_000).unwrap_or(i64::MAX);
    match wanted.judge(&found.etag, modified) {
        Verdict::Holds => Ok(()),
        Verdict::Failed => Err(S3Error::new(S3ErrorCode::PreconditionFailed)),
        Verdict::NotModified => {
            let mut error = S3Error::new(S3ErrorCode::NotModified);
            let mut headers = HeaderMap::new();
            if let Ok(etag) = ETag::Strong(found.etag.clone()).to_http_header() {
                headers.insert(http::header::ETAG, etag);
            }
            error.set_headers(headers);
            Err(error)
        }
    }
}

fn part(found: &Found, range: Option<&Range>, number: Option<i32>) -> S3Result<Part> {
    let length = found.attributes.length.get();
    match (range, number) {
        (Some(_), Some(_)) => Err(S3Error::with_message(
            S3ErrorCode::InvalidRequest,
            "a range and a part number cannot both be asked for",
        )),
        (None, None) => Ok(Part { start: 0, end: length, content_range: None }),
        // An object that was stored in one piece is its own first part.
        (None, Some(1)) => {
            let content_range = (length > 0).then(|| format!("bytes 0-{}/{length}", length - 1));
            Ok(Part { start: 0, end: length, content_range })
        }
        (None, Some(_)) => Err(failure::custom("InvalidPartNumber", StatusCode::RANGE_NOT_SATISFIABLE)),
        (Some(range), None) => {
            let range = range.check(length).map_err(|_| {
                let mut error = S3Error::new(S3ErrorCode::InvalidRange);
                let mut headers = HeaderMap::new();
                if let Ok(value) = format!("bytes */{length}").parse() {
                    headers.insert(http::header::CONTENT_RANGE, value);
                }
                error.set_headers(headers);
                error
            })?;
            let content_range = Some(format!("bytes {}-{}/{length}", range.start, range.end - 1));
            Ok(Part { start: range.start, end: range.end, content_range })
        }
    }
}

/// The bytes of a part, each verified. An error ends the connection: a reader never takes a short body for a whole one.
fn body(mut reader: ObjectReader, start: u64, end: u64) -> StreamingBlob {
    if start == end {
        return StreamingBlob::from_bytes(Bytes::new());
    }
    reader.seek(start, end);
    let chunks = stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next_chunk().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(reader))),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%error, "an object could not be read to its end");
                Some((Err(error), None))
            }
        }
    });
    StreamingBlob::wrap(sync_wrapper::SyncStream::new(chunks))
}
