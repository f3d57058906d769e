//! Questions about buckets, the objects in them, and access keys.

use types::Timestamp;

use super::{Content, MAX_PAGE, Opened, attributes, content};
use crate::access::{self, Caller, Right};
use crate::access_key::{self, AccessKeyRow};
use crate::bucket::{self, BucketRow, BucketSetting, Key};
use crate::error::{Error, QueryError};
use crate::key;
use crate::resolve;
use crate::row::{self, Attributes, Body, DirectoryRow};
use crate::rows::Rows;
use crate::upload;
use crate::user::{self, UserRow};
use crate::view::{View, ViewError};
use crate::xattr;

/// An object as a reader needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedObject {
    pub opened: Opened,
    pub etag: String,
    /// Whether the content is the one that etag and properties were given with.
    pub as_given: bool,
    /// What its writer wanted kept with it; empty if nothing.
    pub properties: Vec<u8>,
    /// Its tags, as the attribute holds them; empty if it has none.
    pub tags: Vec<u8>,
    /// What is known about its parts, if that was asked for and still is so; empty for an object in one piece.
    pub part_list: Vec<u8>,
}

/// An access key with the principal that counts now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundKey {
    pub row: AccessKeyRow,
    /// It signs nothing: its user is disabled.
    pub disabled: bool,
}

/// A bucket, and its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub name: String,
    pub created: Timestamp,
    pub attributes: Attributes,
    /// Only where one bucket is asked for, by its owner.
    pub settings: Vec<(BucketSetting, Vec<u8>)>,
}

/// The object at a key of a bucket, and where the bytes `[offset, offset + length)` of it are, as for [`super::open`]. What is
/// known about its parts is told only if that is asked for.
pub fn open_key(
    view: &impl View,
    caller: Caller<'_>,
    bucket: &str,
    key: &[u8],
    offset: u64,
    length: u64,
    with_parts: bool,
) -> Result<OpenedObject, QueryError> {
    let record = bucket::open(view, caller, bucket)?;
    let key = Key::parse(bucket, key)?;
    let Some((_, row)) = bucket::lookup(view, caller, &record, &key)? else {
        return Err(Error::NotFound { place: key.show() }.into());
    };
    caller.check(&row, Right::Read, || key.show())?;
    let attributes = attributes(view, &row)?;
    let content = match &row.body {
        Body::Directory => Content::Inline(Vec::new()),
        Body::Symlink(_) | Body::Special(_) => return Err(Error::NotAFile { place: key.show() }.into()),
        Body::File(file) => content(view, row.inode, file, (offset, length))?,
    };
    let opened = Opened { attributes, content };
    let (etag, as_given) = (bucket::etag(&row)?, bucket::is_as_given(&row)?);
    let (properties, tags) = (bucket::properties(view, &row)?, xattr::stored(view, &row, bucket::TAGS)?);
    let part_list = if with_parts && as_given { upload::part_list(view, &row)? } else { Vec::new() };
    Ok(OpenedObject { opened, etag, as_given, properties, tags: tags.unwrap_or_default(), part_list })
}

/// A bucket that the caller can get to, with its directory.
pub fn bucket(view: &impl View, caller: Caller<'_>, name: &str) -> Result<Bucket, QueryError> {
    let row = bucket::open(view, caller, name)?;
    let (entry, _) = access::directory_entry(view, row.inode)?;
    let mut bucket = described(view, name.to_owned(), row)?;
    if caller.owns(&entry) {
        for setting in BucketSetting::ALL {
            bucket.settings.extend(xattr::stored(view, &entry, setting.attribute())?.map(|value| (setting, value)));
        }
    }
    Ok(bucket)
}

/// At most `limit` buckets, in the order of their names, that follow `after`.
pub fn buckets(view: &impl View, after: &str, limit: usize) -> Result<Vec<Bucket>, ViewError> {
    let range = key::buckets().after(key::bucket(after));
    let mut buckets = Vec::new();
    for (key, value) in view.page(&range, limit.min(MAX_PAGE))? {
        let row: BucketRow = row::decode(&key, &value)?;
        if resolve::is_attached(view, row.inode)? {
            buckets.push(described(view, key::text_of(&key)?, row)?);
        }
    }
    Ok(buckets)
}

fn described(view: &impl View, name: String, row: BucketRow) -> Result<Bucket, ViewError> {
    let directory: DirectoryRow = view.need(&key::directory(row.inode))?;
    let (entry, _) = access::directory_entry(view, row.inode)?;
    Ok(Bucket { name, created: row.created, attributes: entry.attributes(Some(&directory)), settings: Vec::new() })
}

/// An access key. Only the superuser sees them.
pub fn access_key(view: &impl View, caller: Caller<'_>, id: &str) -> Result<FoundKey, QueryError> {
    access_key::check_rights(caller, id)?;
    let row: Option<AccessKeyRow> = view.row(&key::access_key(id))?;
    let row = row.ok_or_else(|| Error::NotFound { place: format!("access key {id}") })?;
    Ok(of_user(view, row)?)
}

/// The key as its user is now (invariant 3 of module `user`).
fn of_user(view: &impl View, mut row: AccessKeyRow) -> Result<FoundKey, ViewError> {
    let user: Option<UserRow> = match &row.user {
        Some(name) => Some(view.need(&key::user(name))?),
        None => None,
    };
    let disabled = user.as_ref().is_some_and(|user| user.disabled);
    if let Some(user) = user {
        row.principal = user.principal;
    }
    Ok(FoundKey { row, disabled })
}

/// A user of the cluster. Anybody may know.
pub fn user(view: &impl View, name: &str) -> Result<UserRow, QueryError> {
    user::need(view, name)
}

/// At most `limit` users, in the order of their names, that follow `after`.
pub fn users(view: &impl View, after: &str, limit: usize) -> Result<Vec<(String, UserRow)>, ViewError> {
    user::page(view, after, limit.min(MAX_PAGE))
}

/// At most `limit` access keys, in the order of their names, that follow `after`.
pub fn access_keys(
    view: &impl View,
    caller: Caller<'_>,
    after: &str,
    limit: usize,
) -> Result<Vec<(String, FoundKey)>, QueryError> {
    access_key::check_rights(caller, after)?;
    let rows = view.page(&key::access_keys().after(key::access_key(after)), limit.min(MAX_PAGE))?;
    let rows =
        rows.into_iter().map(|(key, value)| Ok((key::text_of(&key)?, of_user(view, row::decode(&key, &value)?)?)));
    Ok(rows.collect::<Result<_, ViewError>>()?)
}
