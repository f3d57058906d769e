//! Objects at keys of buckets, as an object store has them: put whole, read by ranges, listed in the order of keys.
//!
//! An object and a file are the same thing: what is put here is found under the bucket's directory, and back.

mod properties;
mod reader;
mod tags;
mod uploads;
mod writer;

use bytes::Bytes;
use proto::v1;
use proto::v1::op::Kind as Op;
use types::{Code, InodeId, Path, Timestamp};

use crate::config::User;
use crate::error::{Error, Fault};
use crate::metadata::{Metadata, Scope};
use crate::object::Attributes;
use crate::store::Client;
use crate::wire;

pub use crate::writer::StoredPart;
pub use properties::{Algorithm, Checksum, Properties};
pub use reader::ObjectReader;
pub use uploads::{
    Completion, ListUploads, ParseUploadIdError, Part, PartPage, PartWriter, Upload, UploadId, UploadItem, UploadName,
    UploadPage,
};
pub use writer::ObjectWriter;

/// Keys in one page at most.
pub const MAX_KEYS: u32 = 1000;
/// The attribute that holds the tags of an object, as a query string; [`PutOptions::attributes`] may have it.
pub const TAGS: &[u8] = b"user.s3.tags";
/// How often an object that changes meanwhile is looked at anew.
const ATTEMPTS: usize = 8;

/// The objects of a cluster, on behalf of the client's user.
#[derive(Debug, Clone)]
pub struct Objects(Client);

/// What must hold of what is at a key for a change to happen; looked at in the same step as the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    Absent,
    Exists,
    /// It has one of these etags.
    Matches(Vec<String>),
}

/// What must hold at both ends of a rename.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RenameConditions {
    pub from: Option<Condition>,
    pub to: Option<Condition>,
}

/// What is kept with an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutOptions {
    /// Without it, one is made of the inode.
    pub etag: Option<String>,
    /// Given back with the object, and not looked into; at most 64 KiB.
    pub properties: Vec<u8>,
    /// Extended attributes that it gets.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub condition: Option<Condition>,
}

/// An object as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub attributes: Attributes,
    pub etag: String,
}

/// An object as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub attributes: Attributes,
    pub etag: String,
    /// Whether the content is the one that etag and properties were given with, and not changed since by another door.
    pub as_given: bool,
    pub properties: Vec<u8>,
    /// The attribute `user.s3.tags`; empty without it.
    pub tags: Vec<u8>,
    /// Whether the content lives with the inode, and not in blocks.
    pub is_inline: bool,
    /// What is kept about the parts of the object, if that was asked for; empty if it was stored in one piece.
    pub part_list: Vec<u8>,
}

/// An object to copy from, as it was seen. If the key has another one by then, [`types::Code::SourceChanged`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub bucket: String,
    pub key: Vec<u8>,
    pub inode: InodeId,
    pub etag: String,
}

impl Source {
    fn wire(&self) -> v1::Source {
        let Self { bucket, key, inode, etag } = self.clone();
        v1::Source { bucket, key, inode: inode.get(), etag }
    }
}

/// Which keys to list. What is empty does not count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListKeys {
    pub prefix: Vec<u8>,
    /// Keys with this behind the prefix are told as one prefix.
    pub delimiter: Vec<u8>,
    /// Keys and prefixes up to this are left out.
    pub after: Vec<u8>,
    /// At most this many; no more than [`MAX_KEYS`] in any case.
    pub max: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    pub items: Vec<KeyItem>,
    /// Whether there is more behind the last item.
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyItem {
    Object { key: Vec<u8>, attributes: Box<Attributes>, etag: String },
    Prefix(Vec<u8>),
}

impl KeyItem {
    /// The key or the prefix.
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Object { key, .. } | Self::Prefix(key) => key,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub name: String,
    pub created: Timestamp,
    /// Of its directory.
    pub attributes: Attributes,
    /// Told only of one bucket, to its owner and to the superuser.
    pub settings: Vec<(BucketSetting, Vec<u8>)>,
}

/// What is kept with a bucket for S3. The cluster does not look into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketSetting {
    Policy,
    PublicAccessBlock,
    Cors,
}

impl BucketSetting {
    fn of(kind: v1::BucketSettingKind) -> Option<Self> {
        use v1::BucketSettingKind as Kind;
        match kind {
            Kind::Unspecified => None,
            Kind::Policy => Some(Self::Policy),
            Kind::PublicAccessBlock => Some(Self::PublicAccessBlock),
            Kind::Cors => Some(Self::Cors),
        }
    }

    const fn kind(self) -> v1::BucketSettingKind {
        match self {
            Self::Policy => v1::BucketSettingKind::Policy,
            Self::PublicAccessBlock => v1::BucketSettingKind::PublicAccessBlock,
            Self::Cors => v1::BucketSettingKind::Cors,
        }
    }
}

/// An access key, with its secret as it is stored: encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    pub id: String,
    /// On whose behalf what is signed with it is done: of a key of a user, as that one is now.
    pub user: User,
    /// The user of the cluster that it follows.
    pub name: Option<String>,
    /// It signs nothing: its user is disabled.
    pub disabled: bool,
    pub sealed: Vec<u8>,
    pub created: Timestamp,
}

impl Client {
    /// The same connection on behalf of another user. Only a client of uid 0 can speak for others.
    #[must_use]
    pub fn as_user(&self, user: User) -> Self {
        self.speaking_for(user)
    }

    pub fn objects(&self) -> Objects {
        Objects(self.clone())
    }
}

impl Objects {
    /// Makes the directory at `place` a bucket; it is made if it is not there.
    pub async fn create_bucket(&self, bucket: &str, place: &Path, mode: u32) -> Result<Attributes, Error> {
        let ownership = Some(wire::ownership(&self.0.0.config.user, mode, None, None));
        let op = v1::CreateBucket { bucket: bucket.to_owned(), place: Some(wire::place(&place.into())), ownership };
        let made = self.0.0.metadata.attributes(Op::CreateBucket(op), Scope::Update).await;
        made.map_err(|fault| Error::new("create bucket", bucket, fault))
    }

    /// Removes a bucket that holds no object, and its directory.
    pub async fn delete_bucket(&self, bucket: &str) -> Result<(), Error> {
        let op = Op::DeleteBucket(v1::DeleteBucket { bucket: bucket.to_owned() });
        let done = self.0.0.metadata.call(op, Scope::Update).await;
        done.map(|_| ()).map_err(|fault| Error::new("delete bucket", bucket, fault))
    }

    /// Keeps a setting with a bucket, at most 64 KiB, or takes it away. Only its owner does.
    pub async fn set_bucket_setting(
        &self,
        bucket: &str,
        setting: BucketSetting,
        value: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        let op = v1::SetBucketSetting { bucket: bucket.to_owned(), kind: setting.kind().into(), value };
        let done = self.0.0.metadata.call(Op::SetBucketSetting(op), Scope::Update).await;
        done.map(|_| ()).map_err(|fault| Error::new("change the settings of bucket", bucket, fault))
    }

    pub async fn bucket(&self, bucket: &str) -> Result<Bucket, Error> {
        let kind = v1::find_buckets::Kind::Name(bucket.to_owned());
        let found = self.find_buckets(kind).await.and_then(|found| {
            found.into_iter().next().ok_or_else(|| wire::broken("a bucket was found and is not in the answer"))
        });
        found.map_err(|fault| Error::new("look at bucket", bucket, fault))
    }

    /// Every bucket, whoever owns it, in the order of their names.
    pub async fn buckets(&self) -> Result<Vec<Bucket>, Error> {
        let mut all: Vec<Bucket> = Vec::new();
        loop {
            let after = all.last().map(|last| last.name.clone()).unwrap_or_default();
            let page = self.find_buckets(v1::find_buckets::Kind::After(after)).await;
            let page = page.map_err(|fault| Error::new("list", "the buckets", fault))?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    async fn find_buckets(&self, kind: v1::find_buckets::Kind) -> Result<Vec<Bucket>, Fault> {
        let op = Op::FindBuckets(v1::FindBuckets { kind: Some(kind) });
        match self.0.0.metadata.call(op, Scope::Read).await?.0 {
            v1::reply::Result::Buckets(found) => found.buckets.into_iter().map(bucket).collect(),
            other => Err(Metadata::unexpected(&other)),
        }
    }

    /// Stores an object: it appears whole or not at all, in place of one that is there unless the condition says
    /// otherwise. A key that ends with a slash is a directory, and has no content.
    pub async fn put(&self, bucket: &str, key: &[u8], content: Bytes, options: PutOptions) -> Result<Stored, Error> {
        if key.ends_with(b"/") && content.is_empty() {
            let ownership = wire::ownership(&self.0.0.config.user, writer::DIRECTORY_MODE, None, None);
            let publish = writer::publish(bucket, key, Some(v1::publish::Content::Directory(ownership)), options);
            let stored = writer::stored(&self.0, Op::Publish(publish), Scope::Update).await;
            return stored.map_err(|fault| Error::new("put", show(bucket, key), fault));
        }
        let mut writer = self.writer(bucket, key, Some(content.len() as u64)).await?;
        writer.write(content).await?;
        writer.finish(options).await
    }

    /// Begins to write an object. Nothing is seen of it until it is finished.
    pub async fn writer(&self, bucket: &str, key: &[u8], size_hint: Option<u64>) -> Result<ObjectWriter, Error> {
        ObjectWriter::create(self.0.clone(), bucket, key, size_hint).await
    }

    /// Stores a copy of an object, which shares its blocks, in one step. What is kept with the source does not come with it
    /// but for what is known of its parts.
    pub async fn copy(&self, from: &Source, bucket: &str, key: &[u8], options: PutOptions) -> Result<Stored, Error> {
        let ownership = Some(wire::ownership(&self.0.0.config.user, writer::FILE_MODE, None, None));
        let copy = v1::CopyOf { source: Some(from.wire()), ownership, layout: None };
        let publish = writer::publish(bucket, key, Some(v1::publish::Content::Copied(copy)), options);
        let stored = writer::stored(&self.0, Op::Publish(publish), Scope::Update).await;
        stored.map_err(|fault| Error::new("copy to", show(bucket, key), fault))
    }

    /// Stores a copy of an object with all that belongs to it, in one step.
    pub async fn duplicate(
        &self,
        (from_bucket, from): (&str, &[u8]),
        (bucket, key): (&str, &[u8]),
        condition: Option<Condition>,
    ) -> Result<Stored, Error> {
        let mut attempts = 0;
        loop {
            let found = self.head(from_bucket, from).await?;
            let (inode, etag) = (found.attributes.inode, found.etag.clone());
            let source = Source { bucket: from_bucket.to_owned(), key: from.to_vec(), inode, etag };
            let attributes = match found.tags {
                tags if tags.is_empty() => Vec::new(),
                tags => vec![(TAGS.to_vec(), tags)],
            };
            // What was said of another content says nothing of this one.
            let mut properties = Properties::decode(&found.properties);
            properties.checksum = properties.checksum.filter(|_| found.as_given);
            let etag = found.as_given.then_some(found.etag);
            let condition = condition.clone();
            let options = PutOptions { etag, properties: properties.encode(), attributes, condition };
            match self.copy(&source, bucket, key, options).await {
                Err(error) if error.code() == Code::SourceChanged && attempts < ATTEMPTS => attempts += 1,
                stored => return stored,
            }
        }
    }

    fn client(&self) -> &Client {
        &self.0
    }

    /// An object, open for reading: it has the content that it has now, whatever is put at the key meanwhile.
    pub async fn open(&self, bucket: &str, key: &[u8]) -> Result<ObjectReader, Error> {
        ObjectReader::open(self.0.clone(), bucket, key, false).await
    }

    /// As [`Self::open`], with what is known about the parts.
    pub async fn open_with_parts(&self, bucket: &str, key: &[u8]) -> Result<ObjectReader, Error> {
        ObjectReader::open(self.0.clone(), bucket, key, true).await
    }

    pub async fn head(&self, bucket: &str, key: &[u8]) -> Result<Found, Error> {
        self.look(bucket, key, false).await
    }

    /// As [`Self::head`], with what is known about the parts.
    pub async fn head_with_parts(&self, bucket: &str, key: &[u8]) -> Result<Found, Error> {
        self.look(bucket, key, true).await
    }

    async fn look(&self, bucket: &str, key: &[u8], with_parts: bool) -> Result<Found, Error> {
        let found = reader::ask(&self.0, bucket, key, (0, with_parts)).await.map(|(found, _)| found);
        found.map_err(|fault| Error::new("look at", show(bucket, key), fault))
    }

    /// Removes an object. That nothing is there is no error, unless the condition wants something there.
    pub async fn delete(&self, bucket: &str, key: &[u8], condition: Option<Condition>) -> Result<(), Error> {
        let condition = condition.map(writer::condition);
        let op = v1::DeleteKey { bucket: bucket.to_owned(), key: key.to_vec(), condition };
        let done = self.0.0.metadata.call(Op::DeleteKey(op), Scope::Update).await;
        done.map(|_| ()).map_err(|fault| Error::new("delete", show(bucket, key), fault))
    }

    /// Moves an object to another key of its bucket in one step, in place of what is there. It keeps what belongs to it.
    pub async fn rename(
        &self,
        bucket: &str,
        from: &[u8],
        to: &[u8],
        conditions: RenameConditions,
    ) -> Result<(), Error> {
        let RenameConditions { from: from_condition, to: to_condition } = conditions;
        let op = v1::RenameKey {
            bucket: bucket.to_owned(),
            from: from.to_vec(),
            to: to.to_vec(),
            from_condition: from_condition.map(writer::condition),
            to_condition: to_condition.map(writer::condition),
        };
        let done = self.0.0.metadata.call(Op::RenameKey(op), Scope::Update).await;
        done.map(|_| ()).map_err(|fault| Error::new("rename", show(bucket, from), fault))
    }

    /// One page of keys, in the byte order of whole keys. Full unless there are no more.
    pub async fn list(&self, bucket: &str, list: ListKeys) -> Result<KeyPage, Error> {
        let mut items = Vec::new();
        let ListKeys { prefix, delimiter, mut after, max } = list;
        let max = max.min(MAX_KEYS);
        loop {
            let left = max - u32::try_from(items.len()).unwrap_or(max);
            let op = v1::ListKeys {
                bucket: bucket.to_owned(),
                prefix: prefix.clone(),
                delimiter: delimiter.clone(),
                after,
                max: left,
            };
            let page = match self.0.0.metadata.call(Op::ListKeys(op), Scope::Read).await {
                Ok((v1::reply::Result::KeyPage(page), _)) => Ok(page),
                Ok((other, _)) => Err(Metadata::unexpected(&other)),
                Err(fault) => Err(fault),
            };
            let page = page.map_err(|fault| Error::new("list", bucket, fault))?;
            let read: Result<Vec<KeyItem>, Fault> = page.items.into_iter().map(item).collect();
            items.extend(read.map_err(|fault| Error::new("list", bucket, fault))?);
            match page.resume {
                Some(resume) if (items.len() as u64) < u64::from(max) => after = resume,
                resume => return Ok(KeyPage { items, more: resume.is_some() }),
            }
        }
    }

    /// Stores an access key. Only the superuser does.
    pub async fn put_access_key(&self, id: &str, user: &User, sealed: Vec<u8>) -> Result<(), Error> {
        let principal = Some(wire::principal(user));
        self.put_key(v1::AccessKey { id: id.to_owned(), principal, sealed, ..Default::default() }).await
    }

    /// Stores an access key that follows a user of the cluster. Only the superuser does.
    pub async fn put_access_key_of(&self, id: &str, name: &str, sealed: Vec<u8>) -> Result<(), Error> {
        let (id, user) = (id.to_owned(), name.to_owned());
        self.put_key(v1::AccessKey { id, user, sealed, ..Default::default() }).await
    }

    async fn put_key(&self, key: v1::AccessKey) -> Result<(), Error> {
        let id = key.id.clone();
        let put = Op::PutAccessKey(v1::PutAccessKey { key: Some(key) });
        let done = self.0.0.metadata.call(put, Scope::Update).await;
        done.map(|_| ()).map_err(|fault| Error::new("store access key", id, fault))
    }

    pub async fn remove_access_key(&self, id: &str) -> Result<(), Error> {
        let op = Op::RemoveAccessKey(v1::RemoveAccessKey { id: id.to_owned() });
        let done = self.0.0.metadata.call(op, Scope::Update).await;
        done.map(|_| ()).map_err(|fault| Error::new("remove access key", id, fault))
    }

    pub async fn access_key(&self, id: &str) -> Result<AccessKey, Error> {
        let found = self.find_access_keys(v1::find_access_keys::Kind::Id(id.to_owned())).await.and_then(|found| {
            found.into_iter().next().ok_or_else(|| wire::broken("an access key was found and is not in the answer"))
        });
        found.map_err(|fault| Error::new("look up access key", id, fault))
    }

    /// Every access key, in the order of their names.
    pub async fn access_keys(&self) -> Result<Vec<AccessKey>, Error> {
        let mut all: Vec<AccessKey> = Vec::new();
        loop {
            let after = all.last().map(|last| last.id.clone()).unwrap_or_default();
            let page = self.find_access_keys(v1::find_access_keys::Kind::After(after)).await;
            let page = page.map_err(|fault| Error::new("list", "the access keys", fault))?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    async fn find_access_keys(&self, kind: v1::find_access_keys::Kind) -> Result<Vec<AccessKey>, Fault> {
        let op = Op::FindAccessKeys(v1::FindAccessKeys { kind: Some(kind) });
        match self.0.0.metadata.call(op, Scope::Read).await?.0 {
            v1::reply::Result::AccessKeys(found) => found.keys.into_iter().map(access_key).collect(),
            other => Err(Metadata::unexpected(&other)),
        }
    }
}

fn bucket(wire: v1::Bucket) -> Result<Bucket, Fault> {
    let attributes = wire.attributes.ok_or_else(|| wire::broken("a bucket has no attributes"))?;
    let created = Timestamp::from_nanos(wire.created);
    // A kind of a later version is not for this one.
    let setting = |setting: v1::BucketSetting| Some((BucketSetting::of(setting.kind())?, setting.value));
    let settings = wire.settings.into_iter().filter_map(setting).collect();
    Ok(Bucket { name: wire.name, created, attributes: wire::attributes(attributes)?, settings })
}

fn access_key(wire: v1::AccessKey) -> Result<AccessKey, Fault> {
    let v1::Principal { uid, gid, groups } =
        wire.principal.ok_or_else(|| wire::broken("an access key has no principal"))?;
    let created = Timestamp::from_nanos(wire.created);
    let name = Some(wire.user).filter(|name| !name.is_empty());
    let user = User { uid, gid, groups };
    Ok(AccessKey { id: wire.id, user, name, disabled: wire.disabled, sealed: wire.sealed, created })
}

fn item(wire: v1::KeyItem) -> Result<KeyItem, Fault> {
    match wire.kind.ok_or_else(|| wire::broken("a listed key is empty"))? {
        v1::key_item::Kind::Prefix(prefix) => Ok(KeyItem::Prefix(prefix)),
        v1::key_item::Kind::Key(v1::Key { key, attributes, etag }) => {
            let attributes = attributes.ok_or_else(|| wire::broken("a listed key has no attributes"))?;
            Ok(KeyItem::Object { key, attributes: Box::new(wire::attributes(attributes)?), etag })
        }
    }
}

fn show(bucket: &str, key: &[u8]) -> String {
    format!("{bucket}/{}", String::from_utf8_lossy(key))
}
