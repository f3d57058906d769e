//! What is kept with an object, as the interface and as S3 clients see it: the same.

use client::objects::{Found, Properties, TAGS};
use object_store::{Attribute, AttributeValue, Attributes, Result, TagSet};

use crate::error::not_supported;

const STANDARD: &str = "STANDARD";

pub(crate) fn to_properties(attributes: &Attributes) -> Result<Properties> {
    let mut properties = Properties::default();
    for (attribute, value) in attributes {
        let value = value.as_ref().to_owned();
        match attribute {
            Attribute::ContentType => properties.content_type = Some(value),
            Attribute::CacheControl => properties.cache_control = Some(value),
            Attribute::ContentDisposition => properties.content_disposition = Some(value),
            Attribute::ContentEncoding => properties.content_encoding = Some(value),
            Attribute::ContentLanguage => properties.content_language = Some(value),
            Attribute::Metadata(name) => {
                properties.metadata.insert(name.to_ascii_lowercase(), value);
            }
            Attribute::StorageClass if value == STANDARD => {}
            other => return Err(not_supported(&format!("the attribute {other:?} with the value {value:?}"))),
        }
    }
    Ok(properties)
}

pub(crate) fn of(found: &Found) -> Attributes {
    let properties = Properties::decode(&found.properties);
    let mut attributes = Attributes::new();
    for (attribute, value) in [
        (Attribute::ContentType, properties.content_type),
        (Attribute::CacheControl, properties.cache_control),
        (Attribute::ContentDisposition, properties.content_disposition),
        (Attribute::ContentEncoding, properties.content_encoding),
        (Attribute::ContentLanguage, properties.content_language),
    ] {
        if let Some(value) = value {
            attributes.insert(attribute, AttributeValue::from(value));
        }
    }
    for (name, value) in properties.metadata {
        attributes.insert(Attribute::Metadata(name.into()), AttributeValue::from(value));
    }
    attributes
}

/// Tags as the attribute that keeps them.
pub(crate) fn of_tags(tags: &TagSet) -> Vec<(Vec<u8>, Vec<u8>)> {
    match tags.encoded() {
        "" => Vec::new(),
        encoded => vec![(TAGS.to_vec(), encoded.as_bytes().to_vec())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_place_is_kept_and_what_has_none_is_refused() {
        let kept = Attributes::from_iter([
            (Attribute::ContentType, "text/html"),
            (Attribute::CacheControl, "no-store"),
            (Attribute::ContentEncoding, "gzip"),
            (Attribute::ContentLanguage, "mi"),
            (Attribute::ContentDisposition, "inline"),
            (Attribute::Metadata("key".into()), "value"),
        ]);
        let properties = to_properties(&kept).expect("all have a place");
        assert_eq!(properties.metadata["key"], "value");
        assert_eq!(properties.content_type.as_deref(), Some("text/html"));
        assert!(to_properties(&Attributes::from_iter([(Attribute::StorageClass, "GLACIER")])).is_err());
        assert!(to_properties(&Attributes::from_iter([(Attribute::StorageClass, "STANDARD")])).is_ok());
        let mut tags = TagSet::default();
        assert_eq!(of_tags(&tags), Vec::new());
        tags.push("a b", "1");
        assert_eq!(of_tags(&tags), vec![(TAGS.to_vec(), tags.encoded().as_bytes().to_vec())]);
    }
}
