//! What is known of an object besides its content, as `GetObjectAttributes` tells it.

use client::objects::Found;
use s3s::S3Result;
use s3s::dto::{
    Checksum as Sums, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts, ObjectAttributes,
    ObjectPart, StorageClass,
};

use super::bucket::timestamp;
use super::complete::checksum_type;
use crate::access::Caller;
use crate::failure::{self, invalid, not_implemented};
use crate::key;
use crate::parts::{Kept as _, PartList};
use crate::properties::{Properties, set_checksum};

/// Parts of one answer.
const MAX_PARTS: usize = 1000;

pub(crate) async fn get(caller: &Caller, input: &GetObjectAttributesInput) -> S3Result<GetObjectAttributesOutput> {
    if input.sse_customer_algorithm.is_some() || input.sse_customer_key.is_some() {
        return Err(not_implemented("server-side encryption"));
    }
    key::check(&input.key)?;
    key::check_version(input.version_id.as_deref())?;
    // One header may name several, or several one each.
    let named = input.object_attributes.iter().map(ObjectAttributes::as_str);
    let asked: Vec<&str> = named.flat_map(|names| names.split(',')).map(str::trim).collect();
    let known = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
    if asked.is_empty() || asked.iter().any(|name| !known.contains(name)) {
        return Err(invalid("Invalid attribute name specified."));
    }
    let found = caller.objects.head_with_parts(&input.bucket, input.key.as_bytes()).await.map_err(failure::of)?;
    let asks = |name: &str| asked.contains(&name);
    let mut output = GetObjectAttributesOutput {
        last_modified: Some(timestamp(found.attributes.mtime)),
        e_tag: asks("ETag").then(|| s3s::dto::ETag::Strong(found.etag.clone())),
        object_size: asks("ObjectSize").then(|| i64::try_from(found.attributes.length.get()).unwrap_or(i64::MAX)),
        storage_class: asks("StorageClass").then(|| StorageClass::from_static("STANDARD")),
        ..Default::default()
    };
    let checksum = Properties::decode(&found.properties).checksum.filter(|_| asks("Checksum") && found.as_given);
    if let Some(checksum) = checksum {
        let mut sums = Sums { checksum_type: Some(checksum_type(&checksum)), ..Default::default() };
        set_checksum!(sums, checksum);
        output.checksum = Some(sums);
    }
    if asks("ObjectParts") {
        output.object_parts = parts(&found, input.max_parts, input.part_number_marker)?;
    }
    Ok(output)
}

/// The parts of an object that was made of some. Each is told of only where its checksum is known, as S3 does.
fn parts(found: &Found, max: Option<i32>, marker: Option<i32>) -> S3Result<Option<GetObjectAttributesParts>> {
    let list = PartList::of_bytes(&found.part_list)?;
    if list.lengths.is_empty() {
        return Ok(None);
    }
    let negative = |_| invalid("max-parts and part-number-marker are not negative");
    let max = max.map_or(Ok(MAX_PARTS), usize::try_from).map_err(negative)?.min(MAX_PARTS);
    let after = marker.map_or(Ok(0), usize::try_from).map_err(negative)?;
    let total = list.lengths.len();
    let mut parts = GetObjectAttributesParts { total_parts_count: i32::try_from(total).ok(), ..Default::default() };
    if list.checksum(1).is_none() {
        return Ok(Some(parts));
    }
    let numbers = (after + 1..=total).take(max);
    let last = numbers.clone().last().unwrap_or(after);
    let part = |number: usize| {
        let (start, end) = list.range(number)?;
        let mut part = ObjectPart {
            part_number: i32::try_from(number).ok(),
            size: i64::try_from(end - start).ok(),
            ..Default::default()
        };
        if let Some(checksum) = list.checksum(number) {
            set_checksum!(part, checksum);
        }
        Some(part)
    };
    parts.parts = Some(numbers.filter_map(part).collect());
    parts.max_parts = i32::try_from(max).ok();
    parts.part_number_marker = i32::try_from(after).ok();
    parts.is_truncated = Some(last < total && max > 0);
    parts.next_part_number_marker = i32::try_from(last).ok();
    Ok(Some(parts))
}
