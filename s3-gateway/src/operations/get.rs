//! Reading an object, and looking at one.

use bytes::Bytes;
use client::objects::{Found, ObjectReader};
use futures::stream;
use http::{HeaderMap, StatusCode};
use s3s::dto::{
    ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Metadata, Range, StreamingBlob,
    Timestamp, TimestampFormat,
};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::bucket::timestamp;
use super::complete::checksum_type;
use crate::access::Caller;
use crate::condition::{Verdict, Wanted};
use crate::failure::{self, not_implemented};
use crate::key;
use crate::parts::{Kept as _, PartList};
use crate::properties::{Checksum, Properties, set_checksum};

/// What S3 says of an object that was stored without a type.
const NO_TYPE: &str = "binary/octet-stream";

/// A part of an object, as asked for.
struct Part {
    start: u64,
    end: u64,
    content_range: Option<String>,
    /// Of the parts that the object was made of, if one was asked for.
    count: Option<i32>,
    checksum: Option<Checksum>,
}

/// The two answers have the same fields and no type in common.
macro_rules! output {
    ($output:ident, $input:ident, $found:ident, $part:ident, $described:ident) => {{
        let Described { properties, metadata, checksum } = $described;
        let mut output = $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: $input.response_cache_control.clone().or(properties.cache_control),
            content_disposition: $input.response_content_disposition.clone().or(properties.content_disposition),
            content_encoding: $input.response_content_encoding.clone().or(properties.content_encoding),
            content_language: $input.response_content_language.clone().or(properties.content_language),
            content_length: i64::try_from($part.end - $part.start).ok(),
            content_range: $part.content_range,
            content_type: $input
                .response_content_type
                .clone()
                .or(properties.content_type)
                .or_else(|| Some(NO_TYPE.to_owned())),
            parts_count: $part.count,
            tag_count: super::tags::count(&$found),
            e_tag: Some(ETag::Strong($found.etag)),
            expires: http_date($input.response_expires.as_ref())?.or(properties.expires),
            last_modified: Some(timestamp($found.attributes.mtime)),
            metadata,
            ..Default::default()
        };
        if let Some(checksum) = checksum {
            output.checksum_type = Some(checksum_type(&checksum));
            set_checksum!(output, checksum);
        }
        output
    }};
}

/// Who has signed nothing gets the headers that the object was stored with.
macro_rules! check_overrides {
    ($caller:ident, $input:ident) => {
        let overrides = $input.response_cache_control.is_some()
            || $input.response_content_disposition.is_some()
            || $input.response_content_encoding.is_some()
            || $input.response_content_language.is_some()
            || $input.response_content_type.is_some()
            || $input.response_expires.is_some();
        if overrides && $caller.is_anonymous() {
            let message = "Request specific response headers cannot be used for anonymous GET requests.";
            return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message));
        }
    };
}

pub(crate) async fn get(caller: &Caller, input: &GetObjectInput, headers: &HeaderMap) -> S3Result<GetObjectOutput> {
    check_overrides!(caller, input);
    if input.sse_customer_algorithm.is_some() || input.sse_customer_key.is_some() {
        return Err(not_implemented("server-side encryption"));
    }
    key::check(&input.key)?;
    key::check_version(input.version_id.as_deref())?;
    let (bucket, key) = (&input.bucket, input.key.as_bytes());
    let reader = match input.part_number {
        None => caller.objects.open(bucket, key).await,
        Some(_) => caller.objects.open_with_parts(bucket, key).await,
    };
    let reader = reader.map_err(failure::of)?;
    let found = reader.found().clone();
    let wanted = Wanted {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
    };
    check_condition(&wanted, &found)?;
    let range = input.range.as_ref().filter(|_| is_still_wanted(headers, &found));
    let part = part(&found, range, input.part_number)?;
    let described = Described::of(&found, &part, input.checksum_mode.as_ref().map(|mode| mode.as_str()));
    let body = Some(body(reader, part.start, part.end));
    Ok(GetObjectOutput { body, ..output!(GetObjectOutput, input, found, part, described) })
}

pub(crate) async fn head(caller: &Caller, input: &HeadObjectInput, headers: &HeaderMap) -> S3Result<HeadObjectOutput> {
    check_overrides!(caller, input);
    if input.sse_customer_algorithm.is_some() || input.sse_customer_key.is_some() {
        return Err(not_implemented("server-side encryption"));
    }
    key::check(&input.key)?;
    key::check_version(input.version_id.as_deref())?;
    let (bucket, key) = (&input.bucket, input.key.as_bytes());
    let found = match input.part_number {
        None => caller.objects.head(bucket, key).await,
        Some(_) => caller.objects.head_with_parts(bucket, key).await,
    };
    let found = found.map_err(failure::of)?;
    let wanted = Wanted {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
    };
    check_condition(&wanted, &found)?;
    let range = input.range.as_ref().filter(|_| is_still_wanted(headers, &found));
    let part = part(&found, range, input.part_number)?;
    let described = Described::of(&found, &part, input.checksum_mode.as_ref().map(|mode| mode.as_str()));
    Ok(output!(HeadObjectOutput, input, found, part, described))
}

/// What was kept with an object.
struct Described {
    properties: Properties,
    metadata: Option<Metadata>,
    checksum: Option<Checksum>,
}

impl Described {
    fn of(found: &Found, part: &Part, mode: Option<&str>) -> Self {
        let mut properties = Properties::decode(&found.properties);
        // That of the whole is not that of a part, and says nothing of what another door has written since.
        let whole = properties.checksum.take().filter(|_| part.content_range.is_none() && found.as_given);
        let checksum = part.checksum.clone().or(whole).filter(|_| mode == Some("ENABLED"));
        let metadata = std::mem::take(&mut properties.metadata);
        let metadata = (!metadata.is_empty()).then(|| metadata.into_iter().collect());
        Self { properties, metadata, checksum }
    }
}

/// A time as headers have it.
fn http_date(asked: Option<&Timestamp>) -> S3Result<Option<String>> {
    let write = |at: &Timestamp| {
        let mut text = Vec::new();
        at.format(TimestampFormat::HttpDate, &mut text).map_err(S3Error::internal_error)?;
        String::from_utf8(text).map_err(S3Error::internal_error)
    };
    asked.map(write).transpose()
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
            if let Ok(Some(modified)) = http_date(Some(&timestamp(found.attributes.mtime)))
                && let Ok(modified) = modified.parse()
            {
                headers.insert(http::header::LAST_MODIFIED, modified);
            }
            error.set_headers(headers);
            Err(error)
        }
    }
}

/// Whether the object is the one that the range is of, where `If-Range` names one by its etag or its date: else all of it
/// is wanted. Half of one object is never continued with half of another.
fn is_still_wanted(headers: &HeaderMap, found: &Found) -> bool {
    let Some(named) = headers.get(http::header::IF_RANGE) else { return true };
    let is_etag =
        ETag::parse_http_header(named.as_bytes()).is_ok_and(|etag| etag.as_strong() == Some(found.etag.as_str()));
    let modified = http_date(Some(&timestamp(found.attributes.mtime))).ok().flatten();
    is_etag || modified.is_some_and(|modified| modified.as_bytes() == named.as_bytes())
}

fn part(found: &Found, range: Option<&Range>, number: Option<i32>) -> S3Result<Part> {
    let length = found.attributes.length.get();
    match (range, number) {
        (Some(_), Some(_)) => Err(S3Error::with_message(
            S3ErrorCode::InvalidRequest,
            "a range and a part number cannot both be asked for",
        )),
        (None, None) => Ok(Part { start: 0, end: length, content_range: None, count: None, checksum: None }),
        (None, Some(number)) => numbered(found, number),
        (Some(range), None) => {
            // The library takes the last bytes of nothing for a range, and there are none.
            let range =
                range.check(length).ok().filter(|range| !range.is_empty()).ok_or_else(|| out_of_range(length))?;
            let content_range = Some(format!("bytes {}-{}/{length}", range.start, range.end - 1));
            Ok(Part { start: range.start, end: range.end, content_range, count: None, checksum: None })
        }
    }
}

fn out_of_range(length: u64) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::InvalidRange);
    let mut headers = HeaderMap::new();
    if let Ok(value) = format!("bytes */{length}").parse() {
        headers.insert(http::header::CONTENT_RANGE, value);
    }
    error.set_headers(headers);
    error
}

/// One of the parts that the object was made of.
fn numbered(found: &Found, number: i32) -> S3Result<Part> {
    let length = found.attributes.length.get();
    let number = usize::from(super::upload::number(number)?);
    let list = PartList::of_bytes(&found.part_list)?;
    let (start, end) = match list.range(number) {
        Some(range) => range,
        // An object that was stored in one piece is its own first part.
        None if list.lengths.is_empty() && number == 1 => (0, length),
        None => return Err(failure::custom("InvalidPartNumber", StatusCode::RANGE_NOT_SATISFIABLE)),
    };
    let content_range = (end > start).then(|| format!("bytes {start}-{}/{length}", end - 1));
    let count = i32::try_from(list.lengths.len()).ok().filter(|count| *count > 0);
    Ok(Part { start, end, content_range, count, checksum: list.checksum(number) })
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

#[cfg(test)]
mod tests {
    use client::Attributes;

    use super::*;

    #[test]
    fn a_range_of_nothing_is_not_satisfiable() {
        for range in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"] {
            let range = Range::parse(range).expect("legal");
            let refused = part(&found(0), Some(&range), None).err().expect("there is no byte");
            assert_eq!(*refused.code(), S3ErrorCode::InvalidRange, "{range:?}");
            assert_eq!(refused.headers().expect("told")["content-range"], "bytes */0");
        }
        let last = part(&found(10), Some(&Range::parse("bytes=-3").expect("legal")), None).expect("there");
        assert_eq!((last.start, last.end, last.content_range.as_deref()), (7, 10, Some("bytes 7-9/10")));
    }

    #[test]
    fn a_range_of_another_object_is_not_wanted() {
        let object = found(10);
        let wanted = |named: &str| {
            let headers = [(http::header::IF_RANGE, named.parse().expect("legal"))].into_iter().collect();
            is_still_wanted(&headers, &object)
        };
        assert!(is_still_wanted(&HeaderMap::new(), &object));
        assert!(wanted("\"e\"") && wanted("Thu, 01 Jan 1970 00:00:07 GMT"));
        assert!(!wanted("\"f\"") && !wanted("W/\"e\"") && !wanted("Thu, 01 Jan 1970 00:00:06 GMT") && !wanted("x"));
    }

    fn found(length: u64) -> Found {
        let (etag, properties, tags, part_list) = ("e".to_owned(), Vec::new(), Vec::new(), Vec::new());
        let mtime = types::Timestamp::from_nanos(7_000_000_000);
        let attributes = Attributes {
            inode: types::InodeId::new(42),
            kind: client::Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            length: types::ByteSize::new(length),
            holes: types::ByteSize::ZERO,
            spread: None,
            policy: None,
            no_xattrs: true,
            atime: mtime,
            mtime,
            ctime: mtime,
            links: 1,
            replication: 3,
            block_size: types::ByteSize::new(1 << 20),
            writing: false,
            usage: None,
            quota: None,
            ttl: None,
            device: None,
            target: None,
            access_acl: false,
            default_acl: false,
        };
        Found { attributes, etag, as_given: true, properties, tags, is_inline: true, part_list }
    }
}
