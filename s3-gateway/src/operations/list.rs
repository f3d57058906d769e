//! Listings, in the order of keys as the namenode gives it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use client::Attributes;
use client::objects::{KeyItem, KeyPage, ListKeys, MAX_KEYS};
use s3s::S3Result;
use s3s::dto::{
    CommonPrefix, ETag, EncodingType, ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput,
    ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object, ObjectStorageClass, ObjectVersion,
    ObjectVersionStorageClass,
};

use super::bucket::{owner, timestamp};
use crate::access::Caller;
use crate::failure::{self, invalid};

const STANDARD: &str = "STANDARD";

/// What a listing asks for, whichever version of it.
struct Asked<'a> {
    bucket: &'a str,
    prefix: Option<&'a str>,
    delimiter: Option<&'a str>,
    after: Vec<u8>,
    max: u32,
    encoding: Encoding,
}

/// How keys are written in the answer.
#[derive(Clone, Copy)]
pub(super) enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    pub(super) fn of(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some("url") => Ok(Self::Url),
            Some(other) => Err(invalid(format!("the encoding type {other:?} is not known; write url"))),
        }
    }

    pub(super) fn key(self, key: &[u8]) -> String {
        match self {
            Self::Plain => String::from_utf8_lossy(key).into_owned(),
            Self::Url => encode(key),
        }
    }

    pub(super) fn text(self, text: Option<&str>) -> Option<String> {
        text.map(|text| self.key(text.as_bytes()))
    }
}

/// As S3 does it: letters, digits and a few signs stay, a slash too.
fn encode(key: &[u8]) -> String {
    let mut encoded = String::with_capacity(key.len());
    for byte in key {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'*' => {
                encoded.push(char::from(*byte));
            }
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn max(asked: Option<i32>) -> S3Result<u32> {
    match asked {
        None => Ok(MAX_KEYS),
        Some(asked) => match u32::try_from(asked) {
            Ok(asked) => Ok(asked.min(MAX_KEYS)),
            Err(_) => Err(invalid("max-keys is negative")),
        },
    }
}

async fn ask(caller: &Caller, asked: &Asked<'_>) -> S3Result<KeyPage> {
    let list = ListKeys {
        prefix: asked.prefix.unwrap_or_default().into(),
        delimiter: asked.delimiter.unwrap_or_default().into(),
        after: asked.after.clone(),
        max: asked.max,
    };
    if asked.max == 0 {
        // Asks for nothing, but the bucket must be there.
        caller.objects.bucket(asked.bucket).await.map_err(failure::of)?;
        return Ok(KeyPage { items: Vec::new(), more: false });
    }
    caller.objects.list(asked.bucket, list).await.map_err(failure::of)
}

pub(crate) async fn v2(caller: &Caller, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
    let ListObjectsV2Input {
        bucket,
        prefix,
        delimiter,
        start_after,
        continuation_token,
        max_keys,
        encoding_type,
        fetch_owner,
        ..
    } = input;
    let after = match continuation_token.as_deref() {
        Some(token) => from_token(token)?,
        None => start_after.clone().unwrap_or_default().into_bytes(),
    };
    let encoding = Encoding::of(encoding_type.as_ref())?;
    let asked = Asked {
        bucket: &bucket,
        prefix: prefix.as_deref(),
        delimiter: delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()),
        after,
        max: max(max_keys)?,
        encoding,
    };
    let page = ask(caller, &asked).await?;
    let with_owner = fetch_owner == Some(true);
    let next = page.items.last().filter(|_| page.more).map(|last| to_token(last.name()));
    let count = page.items.len();
    let (contents, prefixes) = split(page, asked.encoding, with_owner);
    Ok(ListObjectsV2Output {
        name: Some(asked.bucket.to_owned()),
        prefix: Some(encoding.text(asked.prefix).unwrap_or_default()),
        delimiter: encoding.text(asked.delimiter),
        max_keys: i32::try_from(asked.max).ok(),
        key_count: i32::try_from(count).ok(),
        is_truncated: Some(next.is_some()),
        continuation_token,
        next_continuation_token: next,
        start_after: encoding.text(start_after.as_deref()),
        encoding_type,
        contents: Some(contents),
        common_prefixes: Some(prefixes),
        ..Default::default()
    })
}

pub(crate) async fn v1(caller: &Caller, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
    let ListObjectsInput { bucket, prefix, delimiter, marker, max_keys, encoding_type, .. } = input;
    let encoding = Encoding::of(encoding_type.as_ref())?;
    let asked = Asked {
        bucket: &bucket,
        prefix: prefix.as_deref(),
        delimiter: delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()),
        after: marker.clone().unwrap_or_default().into_bytes(),
        max: max(max_keys)?,
        encoding,
    };
    let page = ask(caller, &asked).await?;
    let more = page.more;
    // Without a delimiter the last key is the next marker, and S3 does not say it.
    let next = page.items.last().filter(|_| more && asked.delimiter.is_some()).map(|last| encoding.key(last.name()));
    let (contents, prefixes) = split(page, asked.encoding, true);
    Ok(ListObjectsOutput {
        name: Some(asked.bucket.to_owned()),
        prefix: Some(encoding.text(asked.prefix).unwrap_or_default()),
        delimiter: encoding.text(asked.delimiter),
        marker: Some(encoding.text(marker.as_deref()).unwrap_or_default()),
        max_keys: i32::try_from(asked.max).ok(),
        is_truncated: Some(more),
        next_marker: next,
        encoding_type,
        contents: Some(contents),
        common_prefixes: Some(prefixes),
        ..Default::default()
    })
}

/// Of each object there is one version, whose id is `null`.
pub(crate) async fn versions(caller: &Caller, input: ListObjectVersionsInput) -> S3Result<ListObjectVersionsOutput> {
    let ListObjectVersionsInput {
        bucket,
        prefix,
        delimiter,
        key_marker,
        version_id_marker,
        max_keys,
        encoding_type,
        ..
    } = input;
    let encoding = Encoding::of(encoding_type.as_ref())?;
    let said = |marker: Option<&str>| marker.is_some_and(|marker| !marker.is_empty());
    if said(version_id_marker.as_deref()) && !said(key_marker.as_deref()) {
        return Err(invalid("A version-id marker cannot be specified without a key marker."));
    }
    let asked = Asked {
        bucket: &bucket,
        prefix: prefix.as_deref(),
        delimiter: delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()),
        after: key_marker.clone().unwrap_or_default().into_bytes(),
        max: max(max_keys)?,
        encoding,
    };
    let page = ask(caller, &asked).await?;
    let next = page.items.last().filter(|_| page.more).map(|last| encoding.key(last.name()));
    let (mut versions, mut prefixes) = (Vec::new(), Vec::new());
    for item in page.items {
        match item {
            KeyItem::Prefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(encoding.key(&prefix)) }),
            KeyItem::Object { key, attributes, etag } => versions.push(ObjectVersion {
                key: Some(encoding.key(&key)),
                e_tag: Some(ETag::Strong(etag)),
                is_latest: Some(true),
                last_modified: Some(timestamp(attributes.mtime)),
                owner: Some(owner(attributes.uid)),
                size: Some(size(&attributes)),
                storage_class: Some(ObjectVersionStorageClass::from_static(STANDARD)),
                version_id: Some("null".to_owned()),
                ..Default::default()
            }),
        }
    }
    Ok(ListObjectVersionsOutput {
        name: Some(asked.bucket.to_owned()),
        prefix: Some(encoding.text(asked.prefix).unwrap_or_default()),
        delimiter: encoding.text(asked.delimiter),
        key_marker: Some(encoding.text(key_marker.as_deref()).unwrap_or_default()),
        version_id_marker: Some(version_id_marker.unwrap_or_default()),
        max_keys: i32::try_from(asked.max).ok(),
        is_truncated: Some(next.is_some()),
        next_version_id_marker: next.as_ref().map(|_| "null".to_owned()),
        next_key_marker: next,
        encoding_type,
        versions: Some(versions),
        common_prefixes: Some(prefixes),
        ..Default::default()
    })
}

fn split(page: KeyPage, encoding: Encoding, with_owner: bool) -> (Vec<Object>, Vec<CommonPrefix>) {
    let (mut contents, mut prefixes) = (Vec::new(), Vec::new());
    for item in page.items {
        match item {
            KeyItem::Prefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(encoding.key(&prefix)) }),
            KeyItem::Object { key, attributes, etag } => contents.push(Object {
                key: Some(encoding.key(&key)),
                e_tag: Some(ETag::Strong(etag)),
                last_modified: Some(timestamp(attributes.mtime)),
                owner: with_owner.then(|| owner(attributes.uid)),
                size: Some(size(&attributes)),
                storage_class: Some(ObjectStorageClass::from_static(STANDARD)),
                ..Default::default()
            }),
        }
    }
    (contents, prefixes)
}

fn size(attributes: &Attributes) -> i64 {
    i64::try_from(attributes.length.get()).expect("no file is longer than 2^50 bytes")
}

/// A token is where to go on, in letters that survive a URL.
pub(super) fn to_token(after: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(after)
}

pub(super) fn from_token(token: &str) -> S3Result<Vec<u8>> {
    let wrong = || invalid("the continuation token is not one that was given here");
    let after = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
    if after.is_empty() { Err(wrong()) } else { Ok(after) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_tokens_and_are_encoded_as_urls_are() {
        let key = b"a b/\xff+%".to_vec();
        assert_eq!(from_token(&to_token(&key)).expect("ours"), key);
        assert!(from_token("!").is_err() && from_token("").is_err());
        assert_eq!(encode(&key), "a+b/%FF%2B%25");
        assert_eq!(max(Some(5000)).expect("legal"), 1000);
        assert!(max(Some(-1)).is_err());
    }
}
