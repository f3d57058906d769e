//! Copies of objects, and of parts of them: they share blocks with what they were copied from.

use client::objects::{Found, PutOptions, Source, TAGS};
use md5::{Digest as _, Md5};
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, ETag, MetadataDirective,
    TaggingDirective, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Result};
use types::Code;

use super::bucket::timestamp;
use super::complete::checksum_type;
use super::put;
use super::unsupported::{properties_of, unsupported};
use super::upload;
use crate::access::Caller;
use crate::condition::{self, Verdict, Wanted};
use crate::digest::{self, Digested, Digester};
use crate::failure::{self, invalid, not_implemented};
use crate::key;
use crate::parts::{Begun, Kept as _, PartNotes};
use crate::properties::{Algorithm, Checksum, Properties, set_checksum};

/// How often a source that changes meanwhile is looked at anew.
const ATTEMPTS: usize = 8;
/// Of an etag that is the MD5 of the content.
const MD5_DIGITS: usize = 32;

/// Where a copy comes from.
struct From {
    bucket: String,
    key: String,
}

fn from(source: &CopySource) -> S3Result<From> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(not_implemented("a copy from an access point"));
    };
    key::check(key)?;
    key::check_version(version_id.as_deref())?;
    Ok(From { bucket: bucket.to_string(), key: key.to_string() })
}

/// The source as it is now, if it is what the request makes a condition.
async fn look(caller: &Caller, from: &From, wanted: &Wanted<'_>) -> S3Result<(Found, Source)> {
    let found = caller.objects.head(&from.bucket, from.key.as_bytes()).await;
    let found = found.map_err(|error| caller.absence(failure::of(error)))?;
    let modified = i64::try_from(found.attributes.mtime.nanos() / 1_000_000_000).unwrap_or(i64::MAX);
    match wanted.judge(&found.etag, modified) {
        Verdict::Holds => {}
        Verdict::Failed | Verdict::NotModified => return Err(S3Error::new(S3ErrorCode::PreconditionFailed)),
    }
    let (bucket, key) = (from.bucket.clone(), from.key.clone().into_bytes());
    let source = Source { bucket, key, inode: found.attributes.inode, etag: found.etag.clone() };
    Ok((found, source))
}

/// What is kept with the source still belongs to its content.
fn checksum_of(found: &Found) -> Option<Checksum> {
    Properties::decode(&found.properties).checksum.filter(|_| found.as_given)
}

pub(crate) async fn object(caller: &Caller, input: CopyObjectInput) -> S3Result<CopyObjectOutput> {
    key::check(&input.key)?;
    unsupported!(input).refuse()?;
    if input.copy_source_sse_customer_algorithm.is_some() || input.copy_source_sse_customer_key.is_some() {
        return Err(not_implemented("server-side encryption"));
    }
    let from = from(&input.copy_source)?;
    let replaces = replaces_metadata(input.metadata_directive.as_ref())?;
    if from.bucket == input.bucket && from.key == input.key && !replaces {
        let message = "This copy request is illegal because it is trying to copy an object to itself without changing the \
                       object's metadata, storage class, website redirect location or encryption attributes.";
        return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message));
    }
    let condition = condition::of_change(input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let wanted = Wanted {
        if_match: input.copy_source_if_match.as_ref(),
        if_none_match: input.copy_source_if_none_match.as_ref(),
        if_modified_since: input.copy_source_if_modified_since.as_ref(),
        if_unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
    };
    let asked = input.checksum_algorithm.as_ref().map(|named| upload::algorithm(named.as_str())).transpose()?;
    for _ in 0..ATTEMPTS {
        let (found, source) = look(caller, &from, &wanted).await?;
        let mut properties = if replaces { properties_of!(input) } else { Properties::decode(&found.properties) };
        put::check_metadata(&properties)?;
        properties.checksum = checksum_of(&found);
        let mut etag = found.as_given.then(|| found.etag.clone());
        if let Some(algorithm) =
            asked.filter(|asked| properties.checksum.as_ref().is_none_or(|had| had.algorithm != *asked))
        {
            let Some(digested) = digest(caller, &source, None, algorithm).await? else { continue };
            etag = etag.or_else(|| Some(digested.md5_digits()));
            properties.checksum = Some(digested.checksum);
        }
        let checksum = properties.checksum.clone();
        let attributes = tags(&input, &found)?;
        let options = PutOptions { etag, properties: properties.encode(), attributes, condition: condition.clone() };
        let stored = if from.key.ends_with('/') || input.key.ends_with('/') {
            if found.attributes.length.get() > 0 {
                return Err(invalid("a key that ends with a slash is a directory, and takes no content"));
            }
            caller.objects.put(&input.bucket, input.key.as_bytes(), bytes::Bytes::new(), options).await
        } else {
            caller.objects.copy(&source, &input.bucket, input.key.as_bytes(), options).await
        };
        match stored {
            Ok(stored) => {
                let mut result = CopyObjectResult {
                    e_tag: Some(ETag::Strong(stored.etag)),
                    last_modified: Some(timestamp(stored.attributes.mtime)),
                    ..Default::default()
                };
                if let Some(checksum) = checksum {
                    result.checksum_type = Some(checksum_type(&checksum));
                    set_checksum!(result, checksum);
                }
                return Ok(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() });
            }
            Err(error) if error.code() == Code::SourceChanged => {}
            Err(error) => return Err(failure::of(error)),
        }
    }
    Err(S3Error::with_message(S3ErrorCode::OperationAborted, "the source changes all the time"))
}

fn replaces_metadata(directive: Option<&MetadataDirective>) -> S3Result<bool> {
    match directive.map(MetadataDirective::as_str) {
        None | Some(MetadataDirective::COPY) => Ok(false),
        Some(MetadataDirective::REPLACE) => Ok(true),
        Some(_) => Err(invalid("Unknown metadata directive.")),
    }
}

/// The tags of the copy: those of the source, unless others are to take their place.
fn tags(input: &CopyObjectInput, found: &Found) -> S3Result<Vec<(Vec<u8>, Vec<u8>)>> {
    match input.tagging_directive.as_ref().map(TaggingDirective::as_str) {
        None | Some(TaggingDirective::COPY) if found.tags.is_empty() => Ok(Vec::new()),
        None | Some(TaggingDirective::COPY) => Ok(vec![(TAGS.to_vec(), found.tags.clone())]),
        Some(TaggingDirective::REPLACE) => put::tags(input.tagging.as_deref()),
        Some(_) => Err(invalid("Unknown tagging directive.")),
    }
}

/// Reads the source, or a range of it, for its digests; none if it has changed.
async fn digest(
    caller: &Caller,
    source: &Source,
    range: Option<(u64, u64)>,
    algorithm: Algorithm,
) -> S3Result<Option<Digested>> {
    let mut reader = caller.objects.open(&source.bucket, &source.key).await.map_err(failure::of)?;
    if reader.found().attributes.inode != source.inode || reader.found().etag != source.etag {
        return Ok(None);
    }
    if let Some((start, end)) = range {
        reader.seek(start, end);
    }
    let mut digester = Digester::new(digest::Wanted { algorithm, md5: true });
    while let Some(chunk) = reader.next_chunk().await.map_err(failure::of)? {
        digester.update(chunk).await.map_err(S3Error::internal_error)?;
    }
    digester.finish().await.map(Some).map_err(S3Error::internal_error)
}

pub(crate) async fn part(caller: &Caller, input: UploadPartCopyInput) -> S3Result<UploadPartCopyOutput> {
    if input.sse_customer_algorithm.is_some() || input.copy_source_sse_customer_algorithm.is_some() {
        return Err(not_implemented("server-side encryption"));
    }
    let name = upload::name(&input.bucket, &input.key, &input.upload_id)?;
    let number = upload::number(input.part_number)?;
    let from = from(&input.copy_source)?;
    let asked = input.copy_source_range.as_deref().map(range).transpose()?;
    let begun = upload::begun(caller, &name).await?;
    let wanted = Wanted {
        if_match: input.copy_source_if_match.as_ref(),
        if_none_match: input.copy_source_if_none_match.as_ref(),
        if_modified_since: input.copy_source_if_modified_since.as_ref(),
        if_unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
    };
    for _ in 0..ATTEMPTS {
        let (found, source) = look(caller, &from, &wanted).await?;
        let length = found.attributes.length.get();
        let (start, end) = match asked {
            None => (0, length),
            Some((first, last)) if last < length => (first, last + 1),
            Some(_) => {
                let message = format!("Range specified is not valid for source object of size: {length}");
                return Err(S3Error::with_message(S3ErrorCode::InvalidRange, message));
            }
        };
        let copied = if found.is_inline {
            write(caller, &name, number, &source, (start, end), begun.algorithm).await?
        } else {
            share(caller, (&name, number), &begun, &found, &source, (start, end)).await?
        };
        if let Some((etag, checksum, modified)) = copied {
            let last_modified = Some(timestamp(modified));
            let mut result = CopyPartResult { e_tag: Some(ETag::Strong(etag)), last_modified, ..Default::default() };
            if let Some(checksum) = checksum {
                set_checksum!(result, checksum);
            }
            return Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() });
        }
    }
    Err(S3Error::with_message(S3ErrorCode::OperationAborted, "the source changes all the time"))
}

/// What a copied part came to; none if the source has changed.
type Copied = Option<(String, Option<Checksum>, types::Timestamp)>;

/// A part that shares the blocks of the source. Its bytes are read only where the upload is to have a checksum that is not
/// known of them.
async fn share(
    caller: &Caller,
    (upload, number): (&client::objects::UploadName, u16),
    begun: &Begun,
    found: &Found,
    source: &Source,
    (start, end): (u64, u64),
) -> S3Result<Copied> {
    let is_whole = start == 0 && end == found.attributes.length.get();
    let known = checksum_of(found).filter(|checksum| is_whole && !checksum.is_composite());
    let mut checksum = match begun.algorithm {
        None => known,
        Some(algorithm) => known.filter(|checksum| checksum.algorithm == algorithm),
    };
    let mut etag = if is_whole && found.as_given && is_md5(&found.etag) {
        found.etag.clone()
    } else {
        // Without the bytes there is no MD5 of them. This names them as exactly, and is as long.
        hex::encode(Md5::digest(format!("{} {} {start}-{end}", source.inode, found.etag)))
    };
    if let (Some(algorithm), None) = (begun.algorithm, &checksum) {
        let Some(digested) = digest(caller, source, Some((start, end)), algorithm).await? else { return Ok(None) };
        etag = digested.md5_digits();
        checksum = Some(digested.checksum);
    }
    let notes = PartNotes { checksum: checksum.clone() }.to_bytes();
    let shared = caller.objects.share_part(upload, number, source, (start, end - start), etag.clone(), notes).await;
    match shared {
        Ok(stored) => Ok(Some((etag, checksum, stored.modified))),
        Err(error) if matches!(error.code(), Code::SourceChanged | Code::StoredOtherwise) => Ok(None),
        Err(error) => Err(failure::of(error)),
    }
}

/// A part from an object that lives with its inode: it has no blocks to share, and few bytes.
async fn write(
    caller: &Caller,
    upload: &client::objects::UploadName,
    number: u16,
    source: &Source,
    (start, end): (u64, u64),
    algorithm: Option<Algorithm>,
) -> S3Result<Copied> {
    let mut reader = caller.objects.open(&source.bucket, &source.key).await.map_err(failure::of)?;
    if reader.found().attributes.inode != source.inode || reader.found().etag != source.etag {
        return Ok(None);
    }
    let mut digester =
        Digester::new(digest::Wanted { algorithm: algorithm.unwrap_or(Algorithm::Crc64Nvme), md5: true });
    let mut writer = caller.objects.part_writer(upload, number).await.map_err(failure::of)?;
    if start < end {
        reader.seek(start, end);
        while let Some(chunk) = reader.next_chunk().await.map_err(failure::of)? {
            digester.update(chunk.clone()).await.map_err(S3Error::internal_error)?;
            writer.write(chunk).await.map_err(failure::of)?;
        }
    }
    let digested = digester.finish().await.map_err(S3Error::internal_error)?;
    let (etag, checksum) = (digested.md5_digits(), Some(digested.checksum));
    let notes = PartNotes { checksum: checksum.clone() }.to_bytes();
    let stored = writer.finish(etag.clone(), notes).await.map_err(failure::of)?;
    Ok(Some((etag, checksum, stored.modified)))
}

fn is_md5(etag: &str) -> bool {
    etag.len() == MD5_DIGITS && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// First and last byte, both of which must be said.
fn range(text: &str) -> S3Result<(u64, u64)> {
    let wrong = || {
        invalid(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )
    };
    let (first, last) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(wrong)?;
    let number = |digits: &str| {
        let legal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| legal)
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        (Some(_) | None, _) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_to_copy_says_both_ends() {
        assert_eq!(range("bytes=0-0").expect("legal"), (0, 0));
        assert_eq!(range("bytes=5-10").expect("legal"), (5, 10));
        for wrong in
            ["", "0-1", "bytes=-5", "bytes=5-", "bytes=5", "bytes=6-5", "bytes=0-1,3-4", "bytes=+1-2", "bytes=a-b"]
        {
            assert_eq!(*range(wrong).expect_err("refused").code(), S3ErrorCode::InvalidArgument, "{wrong}");
        }
    }

    #[test]
    fn directives_are_known_or_refused() {
        let directive = |name: &'static str| replaces_metadata(Some(&MetadataDirective::from_static(name)));
        assert!(!replaces_metadata(None).expect("legal") && !directive("COPY").expect("legal"));
        assert!(directive("REPLACE").expect("legal") && directive("copy").is_err());
        assert!(is_md5("0cc175b9c0f1b6a831c399e269772661") && !is_md5("0cc175b9c0f1b6a831c399e269772661-2"));
    }
}
