//! Giving an object another key: one step of the metadata, as for a file.

use client::objects::RenameConditions;
use s3s::S3Result;
use s3s::dto::{ETagCondition, RenameObjectInput};

use crate::access::Caller;
use crate::condition;
use crate::failure::{self, invalid, not_implemented};
use crate::key;

/// The key that is renamed. It may come with its bucket in front, which is then that of the request.
pub(crate) fn source(bucket: &str, header: &str) -> S3Result<String> {
    let decoded = urlencoding::decode(header).map_err(|_| invalid("x-amz-rename-source is not encoded as a URL"))?;
    let key = match decoded.strip_prefix('/') {
        None => &*decoded,
        Some(rest) => rest.strip_prefix(bucket).and_then(|rest| rest.strip_prefix('/')).unwrap_or(rest),
    };
    key::check(key)?;
    Ok(key.to_owned())
}

pub(crate) async fn rename(caller: &Caller, input: &RenameObjectInput) -> S3Result<()> {
    key::check(&input.key)?;
    let from = source(&input.bucket, &input.rename_source)?;
    let dates = input.source_if_modified_since.is_some()
        || input.source_if_unmodified_since.is_some()
        || input.destination_if_modified_since.is_some()
        || input.destination_if_unmodified_since.is_some();
    if dates || input.source_if_none_match.is_some() {
        return Err(not_implemented("a rename that depends on dates, or on what the source is not"));
    }
    let condition = |text: &String| {
        ETagCondition::parse_http_header(text.as_bytes())
            .map_err(|_| invalid("x-amz-rename-source-if-match is no etag"))
    };
    let source_if_match = input.source_if_match.as_ref().map(condition).transpose()?;
    let conditions = RenameConditions {
        from: condition::of_change(source_if_match.as_ref(), None)?,
        to: condition::of_change(input.destination_if_match.as_ref(), input.destination_if_none_match.as_ref())?,
    };
    let renamed = caller.objects.rename(&input.bucket, from.as_bytes(), input.key.as_bytes(), conditions).await;
    renamed.map_err(|error| caller.absence(failure::of(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_a_key_with_or_without_its_bucket() {
        for (header, key) in [
            ("a/b", "a/b"),
            ("/b/a%20b", "a b"),
            ("b/a", "b/a"),
            ("/b/b/a", "b/a"),
            ("/other/a", "other/a"),
            ("a+b", "a+b"),
        ] {
            assert_eq!(source("b", header).expect("legal"), key, "{header}");
        }
        assert!(source("b", "").is_err() && source("b", "/b/").is_err() && source("b", "%ff").is_err());
    }
}
