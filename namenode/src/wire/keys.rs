//! Objects at keys, buckets and access keys, between RPC messages and what the state machine speaks.

use namespace::access_key::AccessKeyRow;
use namespace::bucket::{BucketSetting, Condition};
use namespace::command::{Attribute, Command, Content, KeyRename, Publication};
use namespace::key_listing::{KeyItem, KeyPage, MAX_KEYS};
use namespace::query::{Bucket, FoundKey, OpenedObject};
use namespace::row::Attributes;
use proto::{WireError, v1};
use types::{Code, MAX_PATH, Timestamp};

use super::reply::{attributes, opened_parts};
use super::trash;
use super::{
    FEW, MAX_LABEL, MAX_XATTR, Query, Refused, block_done, inline_content, inode, layout, ownership, place, principal,
    wrong, xattr_name,
};
use crate::datanodes::Datanodes;
use crate::settings::Settings;

type Answer = v1::reply::Result;

/// Of attributes that come with an object, in all.
const MAX_ATTRIBUTES: usize = 64 << 10;
/// Of an access key's sealed secret.
const MAX_SEALED: usize = 1024;

pub(super) fn publish(wire: v1::Publish, settings: &Settings) -> Result<Command, Refused> {
    use v1::publish::Content as Wire;
    let content = match wire.content.ok_or(wrong("Publish.content", "is missing"))? {
        Wire::Inline(put) => Content::Inline {
            ownership: ownership(put.ownership)?,
            layout: layout(put.layout, settings)?,
            content: inline_content(put.content, settings)?,
        },
        Wire::Written(complete) => Content::Written {
            inode: inode(complete.inode, "Publish.written")?,
            last: complete.last.map(|wire| block_done(wire, "Publish.written")).transpose()?,
            min_replicas: settings.min_replicas,
        },
        Wire::Copied(copy) => Content::Copied {
            ownership: ownership(copy.ownership)?,
            layout: layout(copy.layout, settings)?,
            source: super::uploads::source(copy.source)?,
        },
        Wire::Directory(wire) => Content::Directory { ownership: ownership(Some(wire))? },
    };
    let attributes = kept(&wire.properties, wire.attributes)?;
    let publication = Publication {
        bucket: label(wire.bucket, "Publish.bucket")?,
        key: key(wire.key, "Publish.key")?,
        content,
        etag: wire.etag.map(|etag| label(etag, "Publish.etag")).transpose()?,
        properties: wire.properties,
        attributes,
        condition: wire.condition.map(condition).transpose()?,
    };
    Ok(Command::Publish { publication })
}

/// The attributes that come with an object, if they and what else is kept with it are not too long.
pub(super) fn kept(properties: &[u8], attributes: Vec<v1::Attribute>) -> Result<Vec<Attribute>, Refused> {
    let size: usize = attributes.iter().map(|attribute| attribute.name.len() + attribute.value.len()).sum();
    if properties.len() > MAX_XATTR || attributes.len() > FEW || size > MAX_ATTRIBUTES {
        return Err(too_long());
    }
    let attribute = |wire: v1::Attribute| Ok(Attribute { name: xattr_name(wire.name)?, value: wire.value });
    Ok(attributes.into_iter().map(attribute).collect::<Result<_, WireError>>()?)
}

pub(super) fn too_long() -> Refused {
    let message = "what is to be kept with the object is longer than 64 KiB".to_owned();
    Refused { code: Code::TooLarge, message }
}

pub(super) fn delete_key(wire: v1::DeleteKey, settings: &Settings) -> Result<Command, WireError> {
    Ok(Command::BuryKey {
        bucket: label(wire.bucket, "DeleteKey.bucket")?,
        key: key(wire.key, "DeleteKey.key")?,
        condition: wire.condition.map(condition).transpose()?,
        keep_nanos: trash::nanos(settings.delete_grace),
    })
}

pub(super) fn rename_key(wire: v1::RenameKey) -> Result<Command, WireError> {
    let rename = KeyRename {
        bucket: label(wire.bucket, "RenameKey.bucket")?,
        from: key(wire.from, "RenameKey.from")?,
        to: key(wire.to, "RenameKey.to")?,
        from_condition: wire.from_condition.map(condition).transpose()?,
        to_condition: wire.to_condition.map(condition).transpose()?,
    };
    Ok(Command::RenameKey { rename })
}

pub(super) fn create_bucket(wire: v1::CreateBucket) -> Result<Command, WireError> {
    Ok(Command::CreateBucket {
        bucket: label(wire.bucket, "CreateBucket.bucket")?,
        place: place(wire.place, "CreateBucket.place")?,
        ownership: ownership(wire.ownership)?,
    })
}

pub(super) fn delete_bucket(wire: v1::DeleteBucket) -> Result<Command, WireError> {
    Ok(Command::DeleteBucket { bucket: label(wire.bucket, "DeleteBucket.bucket")? })
}

pub(super) fn set_bucket_setting(wire: v1::SetBucketSetting) -> Result<Command, Refused> {
    use v1::BucketSettingKind as Kind;
    let setting = match wire.kind() {
        Kind::Unspecified => return Err(wrong("SetBucketSetting.kind", "is missing or unknown").into()),
        Kind::Policy => BucketSetting::Policy,
        Kind::PublicAccessBlock => BucketSetting::PublicAccessBlock,
        Kind::Cors => BucketSetting::Cors,
    };
    if wire.value.as_ref().is_some_and(|value| value.len() > MAX_XATTR) {
        let message = "what is to be kept with the bucket is longer than 64 KiB".to_owned();
        return Err(Refused { code: Code::TooLarge, message });
    }
    Ok(Command::SetBucketSetting { bucket: label(wire.bucket, "SetBucketSetting.bucket")?, setting, value: wire.value })
}

pub(super) fn put_access_key(wire: v1::PutAccessKey) -> Result<Command, WireError> {
    let wire = wire.key.ok_or(wrong("PutAccessKey.key", "is missing"))?;
    if wire.sealed.len() > MAX_SEALED {
        return Err(wrong("AccessKey.sealed", "is too long"));
    }
    let user = Some(label(wire.user, "AccessKey.user")?).filter(|user| !user.is_empty());
    // That of a user is filled in by the command.
    let named = wire.principal.or_else(|| user.as_ref().map(|_| v1::Principal::default()));
    let principal = principal(named.ok_or(wrong("AccessKey.principal", "is missing"))?)?;
    let row = AccessKeyRow { principal, sealed: wire.sealed, created: Timestamp::EPOCH, user };
    Ok(Command::PutAccessKey { id: label(wire.id, "AccessKey.id")?, row })
}

pub(super) fn remove_access_key(wire: v1::RemoveAccessKey) -> Result<Command, WireError> {
    Ok(Command::RemoveAccessKey { id: label(wire.id, "RemoveAccessKey.id")? })
}

pub(super) fn open_key(wire: v1::OpenKey) -> Result<Query, WireError> {
    let v1::OpenKey { bucket, key: name, offset, length, with_parts, reader } = wire;
    let (bucket, key) = (label(bucket, "OpenKey.bucket")?, key(name, "OpenKey.key")?);
    Ok(Query::OpenKey { bucket, key, offset, length, reader: super::reader(reader)?, with_parts })
}

pub(super) fn list_keys(wire: v1::ListKeys) -> Result<Query, WireError> {
    Ok(Query::Keys {
        bucket: label(wire.bucket, "ListKeys.bucket")?,
        prefix: key(wire.prefix, "ListKeys.prefix")?,
        delimiter: key(wire.delimiter, "ListKeys.delimiter")?,
        after: key(wire.after, "ListKeys.after")?,
        max: (wire.max as usize).min(MAX_KEYS),
    })
}

pub(super) fn find_buckets(wire: v1::FindBuckets) -> Result<Query, WireError> {
    use v1::find_buckets::Kind;
    Ok(match wire.kind.ok_or(wrong("FindBuckets.kind", "is missing"))? {
        Kind::Name(name) => Query::Bucket(label(name, "FindBuckets.name")?),
        Kind::After(after) => Query::Buckets { after: label(after, "FindBuckets.after")? },
    })
}

pub(super) fn find_access_keys(wire: v1::FindAccessKeys) -> Result<Query, WireError> {
    use v1::find_access_keys::Kind;
    Ok(match wire.kind.ok_or(wrong("FindAccessKeys.kind", "is missing"))? {
        Kind::Id(id) => Query::AccessKey(label(id, "FindAccessKeys.id")?),
        Kind::After(after) => Query::AccessKeys { after: label(after, "FindAccessKeys.after")? },
    })
}

pub(super) fn condition(wire: v1::Condition) -> Result<Condition, WireError> {
    use v1::condition::Kind;
    match wire.kind.ok_or(wrong("Condition.kind", "is missing"))? {
        Kind::Absent(_) => Ok(Condition::Absent),
        Kind::Exists(_) => Ok(Condition::Exists),
        Kind::Matches(v1::Etags { etags }) if etags.len() <= FEW => {
            let etags = etags.into_iter().map(|etag| label(etag, "Condition.matches"));
            Ok(Condition::Matches { etags: etags.collect::<Result<_, _>>()? })
        }
        Kind::Matches(_) => Err(wrong("Condition.matches", "names too many")),
    }
}

pub(super) fn label(text: String, field: &'static str) -> Result<String, WireError> {
    if text.len() > MAX_LABEL { Err(wrong(field, "is too long")) } else { Ok(text) }
}

/// Whether it is a legal key is decided with the rest; this only keeps rubbish out of the log.
pub(super) fn key(bytes: Vec<u8>, field: &'static str) -> Result<Vec<u8>, WireError> {
    if bytes.len() > 2 * MAX_PATH { Err(wrong(field, "is too long")) } else { Ok(bytes) }
}

pub(super) fn object(row: &Attributes, etag: String) -> Answer {
    let attributes = Some(attributes(row));
    Answer::Object(v1::Object { attributes, etag, as_given: true, ..Default::default() })
}

pub(crate) fn opened_object(object: OpenedObject, reader: &v1::Reader, datanodes: &Datanodes) -> Answer {
    let OpenedObject { opened, etag, as_given, properties, tags, part_list } = object;
    let mut opened = opened_parts(opened, reader, datanodes);
    Answer::Object(v1::Object {
        attributes: opened.attributes.take(),
        etag,
        as_given,
        properties,
        opened: Some(opened),
        tags,
        part_list,
    })
}

pub(crate) fn key_page(page: KeyPage) -> Answer {
    use v1::key_item::Kind;
    let item = |item| {
        let kind = match item {
            KeyItem::Object { key, attributes: row, etag } => {
                Kind::Key(v1::Key { key, attributes: Some(attributes(&row)), etag })
            }
            KeyItem::Prefix(prefix) => Kind::Prefix(prefix),
        };
        v1::KeyItem { kind: Some(kind) }
    };
    Answer::KeyPage(v1::KeyPage { items: page.items.into_iter().map(item).collect(), resume: page.resume })
}

pub(crate) fn buckets(found: Vec<Bucket>) -> Answer {
    let bucket = |bucket: Bucket| v1::Bucket {
        name: bucket.name,
        created: bucket.created.nanos(),
        attributes: Some(attributes(&bucket.attributes)),
        settings: bucket.settings.into_iter().map(bucket_setting).collect(),
    };
    Answer::Buckets(v1::Buckets { buckets: found.into_iter().map(bucket).collect() })
}

fn bucket_setting((setting, value): (BucketSetting, Vec<u8>)) -> v1::BucketSetting {
    let kind = match setting {
        BucketSetting::Policy => v1::BucketSettingKind::Policy,
        BucketSetting::PublicAccessBlock => v1::BucketSettingKind::PublicAccessBlock,
        BucketSetting::Cors => v1::BucketSettingKind::Cors,
    };
    v1::BucketSetting { kind: kind.into(), value }
}

pub(crate) fn access_keys(found: Vec<(String, FoundKey)>) -> Answer {
    let key = |(id, FoundKey { row, disabled }): (String, FoundKey)| {
        let namespace::command::Principal { uid, gid, groups } = row.principal;
        let principal = Some(v1::Principal { uid, gid, groups });
        let user = row.user.unwrap_or_default();
        v1::AccessKey { id, principal, sealed: row.sealed, created: row.created.nanos(), user, disabled }
    };
    Answer::AccessKeys(v1::AccessKeys { keys: found.into_iter().map(key).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_about_keys_is_refused_before_the_log() {
        let settings = Settings::default();
        let wire = |content| v1::Publish { bucket: "b".to_owned(), key: b"k".to_vec(), content, ..Default::default() };
        assert!(publish(wire(None), &settings).is_err());
        let owner = || Some(v1::publish::Content::Directory(v1::Ownership::default()));
        assert!(publish(wire(owner()), &settings).is_ok());
        let long = v1::Publish { properties: vec![0; MAX_XATTR + 1], ..wire(owner()) };
        assert_eq!(publish(long, &settings).expect_err("too long").code, Code::TooLarge);
        let many = v1::Publish { attributes: vec![v1::Attribute::default(); FEW + 1], ..wire(owner()) };
        assert_eq!(publish(many, &settings).expect_err("too many").code, Code::TooLarge);
        let matches = v1::condition::Kind::Matches(v1::Etags { etags: vec![String::new(); FEW + 1] });
        assert!(condition(v1::Condition { kind: Some(matches) }).is_err());
        assert!(condition(v1::Condition { kind: None }).is_err());
        let too_long = v1::DeleteKey { key: vec![b'k'; 2 * MAX_PATH + 1], ..Default::default() };
        assert!(delete_key(too_long, &Settings::default()).is_err());
        let far = v1::RenameKey { to: vec![b'k'; 2 * MAX_PATH + 1], ..Default::default() };
        let (empty, both) = (v1::Condition { kind: None }, v1::RenameKey::default());
        assert!(rename_key(far).is_err() && rename_key(both.clone()).is_ok());
        assert!(rename_key(v1::RenameKey { to_condition: Some(empty), ..both }).is_err());
        assert!(put_access_key(v1::PutAccessKey { key: Some(v1::AccessKey::default()) }).is_err());
        assert!(find_buckets(v1::FindBuckets { kind: None }).is_err());
        let set = |kind, length| v1::SetBucketSetting { bucket: "b".to_owned(), kind, value: Some(vec![0; length]) };
        assert!(set_bucket_setting(set(1, MAX_XATTR)).is_ok());
        assert_eq!(set_bucket_setting(set(0, 1)).expect_err("no kind").code, Code::InvalidArgument);
        assert_eq!(set_bucket_setting(set(99, 1)).expect_err("no kind").code, Code::InvalidArgument);
        assert_eq!(set_bucket_setting(set(1, MAX_XATTR + 1)).expect_err("too long").code, Code::TooLarge);
    }
}
