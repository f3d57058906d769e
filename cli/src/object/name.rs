//! How objects and buckets are named on the command line.

use std::str::FromStr;

/// `BUCKET/KEY`, with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectName {
    pub(super) bucket: String,
    pub(super) key: String,
}

/// `BUCKET`, or `BUCKET/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) bucket: String,
    pub(super) prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameError {
    #[error("names no bucket; write BUCKET/KEY")]
    NoBucket,
    #[error("names no object; write BUCKET/KEY")]
    NoKey,
    #[error("is a path; write BUCKET/KEY, or use `ashlar fs`")]
    Path,
}

impl FromStr for Prefix {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix("s3://").unwrap_or(text);
        if text.starts_with('/') {
            return Err(NameError::Path);
        }
        let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
        if bucket.is_empty() {
            return Err(NameError::NoBucket);
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl FromStr for ObjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Prefix { bucket, prefix } = text.parse()?;
        if prefix.is_empty() { Err(NameError::NoKey) } else { Ok(Self { bucket, key: prefix }) }
    }
}

/// A bucket alone.
pub(super) fn bucket(text: &str) -> Result<String, NameError> {
    let Prefix { bucket, prefix } = text.parse()?;
    if prefix.is_empty() { Ok(bucket) } else { Err(NameError::Path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_bucket_and_a_key() {
        let object = |bucket: &str, key: &str| Ok(ObjectName { bucket: bucket.to_owned(), key: key.to_owned() });
        assert_eq!("b/k/x".parse(), object("b", "k/x"));
        assert_eq!("s3://b/k/".parse(), object("b", "k/"));
        assert_eq!("b".parse::<ObjectName>(), Err(NameError::NoKey));
        assert_eq!("s3:///k".parse::<ObjectName>(), Err(NameError::Path));
        assert_eq!("".parse::<Prefix>(), Err(NameError::NoBucket));
        assert_eq!(bucket("s3://b/"), Ok("b".to_owned()));
        assert_eq!(bucket("b/k"), Err(NameError::Path));
    }
}
