//! The tags of an object, kept as a query string in an attribute that the mount shows too.

use s3s::dto::Tag;
use s3s::{S3Error, S3ErrorCode, S3Result};

const MAX_TAGS: usize = 10;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

pub(crate) fn parse(query: &str) -> S3Result<Vec<Tag>> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let read = |text: &str| urlencoding::decode(&text.replace('+', " ")).map(std::borrow::Cow::into_owned);
        let wrong = |_| S3Error::with_message(S3ErrorCode::InvalidArgument, "the tags are not a query string");
        Ok(Tag { key: Some(read(key).map_err(wrong)?), value: Some(read(value).map_err(wrong)?) })
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

/// The limits of S3.
pub(crate) fn check(tags: &[Tag]) -> S3Result<()> {
    let refused = |message: &'static str| Err(S3Error::with_message(S3ErrorCode::InvalidTag, message));
    if tags.len() > MAX_TAGS {
        return Err(S3Error::with_message(S3ErrorCode::InvalidTag, "an object cannot have more than 10 tags"));
    }
    for (at, tag) in tags.iter().enumerate() {
        let (key, value) = (tag.key.as_deref().unwrap_or_default(), tag.value.as_deref().unwrap_or_default());
        if key.is_empty() || key.chars().count() > MAX_KEY {
            return refused("the key of a tag is empty or too long");
        }
        if value.chars().count() > MAX_VALUE {
            return refused("the value of a tag is too long");
        }
        if tags[..at].iter().any(|other| other.key == tag.key) {
            return refused("a key is there twice");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_and_have_limits() {
        let tags = parse("a=1&b%20c=%26&d").expect("legal");
        let tag = |key: &str, value: &str| Tag { key: Some(key.to_owned()), value: Some(value.to_owned()) };
        assert_eq!(tags, [tag("a", "1"), tag("b c", "&"), tag("d", "")]);
        check(&tags).expect("few");
        assert!(check(&parse("a=1&a=2").expect("legal")).is_err());
        assert!(check(&parse(&format!("{}=1", "k".repeat(129))).expect("legal")).is_err());
        let many = (0..11).map(|at| format!("k{at}=v")).collect::<Vec<_>>().join("&");
        assert!(check(&parse(&many).expect("legal")).is_err());
    }
}
