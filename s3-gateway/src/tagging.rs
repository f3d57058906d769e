//! Tags as they are kept: a query string, in an attribute that the mount shows too.

use s3s::dto::Tag;
use s3s::{S3Error, S3ErrorCode, S3Result};

/// How many there may be, and of what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    tags: usize,
    of: &'static str,
}

impl Limits {
    pub(crate) const OBJECT: Self = Self { tags: 10, of: "an object" };
    pub(crate) const BUCKET: Self = Self { tags: 50, of: "a bucket" };
}

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

/// The other way round.
pub(crate) fn query(tags: &[Tag]) -> Vec<u8> {
    let pair = |tag: &Tag| {
        let write = |text: Option<&str>| urlencoding::encode(text.unwrap_or_default()).into_owned();
        format!("{}={}", write(tag.key.as_deref()), write(tag.value.as_deref()))
    };
    tags.iter().map(pair).collect::<Vec<_>>().join("&").into_bytes()
}

/// The limits of S3.
pub(crate) fn check(tags: &[Tag], limits: Limits) -> S3Result<()> {
    let refused = |message: &'static str| Err(S3Error::with_message(S3ErrorCode::InvalidTag, message));
    if tags.len() > limits.tags {
        let message = format!("{} cannot have more than {} tags", limits.of, limits.tags);
        return Err(S3Error::with_message(S3ErrorCode::InvalidTag, message));
    }
    for (at, tag) in tags.iter().enumerate() {
        let (key, value) = (tag.key.as_deref().unwrap_or_default(), tag.value.as_deref().unwrap_or_default());
        if key.is_empty() || key.chars().count() > MAX_KEY {
            return refused("the key of a tag is empty or too long");
        }
        if value.chars().count() > MAX_VALUE {
            return refused("the value of a tag is too long");
        }
        if key.starts_with("aws:") {
            return refused("the key of a tag does not begin with aws:");
        }
        if !key.chars().chain(value.chars()).all(is_legal) {
            return refused("a tag holds letters, digits, spaces and + - = . _ : / @");
        }
        if tags[..at].iter().any(|other| other.key == tag.key) {
            return refused("a key is there twice");
        }
    }
    Ok(())
}

fn is_legal(letter: char) -> bool {
    letter.is_alphanumeric() || " +-=._:/@".contains(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_and_have_limits() {
        let tags = parse("a=1&b%20c=%2B&d").expect("legal");
        let tag = |key: &str, value: &str| Tag { key: Some(key.to_owned()), value: Some(value.to_owned()) };
        assert_eq!(tags, [tag("a", "1"), tag("b c", "+"), tag("d", "")]);
        assert_eq!(query(&tags), b"a=1&b%20c=%2B&d=");
        check(&tags, Limits::OBJECT).expect("few");
        for wrong in
            ["a=1&a=2", &format!("{}=1", "k".repeat(129)), &format!("k={}", "v".repeat(257)), "=1", "aws:x=1", "a=%26"]
        {
            let refused = check(&parse(wrong).expect("legal"), Limits::OBJECT).expect_err("refused");
            assert_eq!(*refused.code(), S3ErrorCode::InvalidTag, "{wrong}");
        }
        let many = (0..11).map(|at| format!("k{at}=v")).collect::<Vec<_>>().join("&");
        let many = parse(&many).expect("legal");
        assert_eq!(*check(&many, Limits::OBJECT).expect_err("refused").code(), S3ErrorCode::InvalidTag);
        check(&many, Limits::BUCKET).expect("a bucket may have them");
    }
}
