//! Objects that arrive in parts, in any order and at the same time, and are put together when all are there.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use proto::v1;
use proto::v1::op::Kind as Op;
use types::{InodeId, Timestamp};

use super::writer::{self, FILE_MODE};
use super::{Condition, Objects, Source, Stored, show};
use crate::error::{Error, Fault};
use crate::metadata::{Metadata, Scope};
use crate::object::CreateOptions;
use crate::store::Client;
use crate::wire;
use crate::writer::{FileWriter, StoredPart};

/// Tells an upload from all others. Printed as 16 digits, which other programs may take for any text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(u64);

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Not the id of an upload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of an upload: 16 digits, not all zero")]
pub struct ParseUploadIdError(String);

impl FromStr for UploadId {
    type Err = ParseUploadIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseUploadIdError(text.chars().take(32).collect());
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match u64::from_str_radix(text, 16) {
            Ok(id) if id != 0 && text.len() == 16 && text.bytes().all(digits) => Ok(Self(id)),
            Ok(_) | Err(_) => Err(wrong()),
        }
    }
}

/// An upload, by what it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadName {
    pub bucket: String,
    pub key: Vec<u8>,
    pub id: UploadId,
}

impl UploadName {
    fn wire(&self) -> Option<v1::UploadName> {
        Some(v1::UploadName { bucket: self.bucket.clone(), key: self.key.clone(), id: self.id.0 })
    }

    fn show(&self) -> String {
        format!("{} (upload {})", show(&self.bucket, &self.key), self.id)
    }
}

/// An upload under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub key: Vec<u8>,
    pub id: UploadId,
    pub initiated: Timestamp,
    /// Who began it.
    pub uid: u32,
    pub gid: u32,
    /// What was said when it was begun.
    pub properties: Vec<u8>,
}

/// A part that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub number: u16,
    /// Tells it from others that had the number before or have it since.
    pub inode: InodeId,
    pub length: u64,
    pub modified: Timestamp,
    pub etag: String,
    pub properties: Vec<u8>,
}

/// An upload, and some of its parts in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPage {
    pub upload: Upload,
    pub parts: Vec<Part>,
    pub more: bool,
}

/// Which uploads to list. What is empty does not count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListUploads {
    pub prefix: Vec<u8>,
    /// Uploads to keys with this behind the prefix are told as one prefix.
    pub delimiter: Vec<u8>,
    /// Leaves out keys up to this,
    pub after: Vec<u8>,
    /// but for uploads to this very key with higher ids.
    pub after_id: Option<UploadId>,
    /// At most this many; no more than [`super::MAX_KEYS`] in any case.
    pub max: u32,
}

/// In the byte order of keys; uploads to one key are in that of their beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPage {
    pub items: Vec<UploadItem>,
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadItem {
    Upload(Upload),
    Prefix(Vec<u8>),
}

/// An object to put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Number and inode of each, in the order of the numbers.
    pub parts: Vec<(u16, InodeId)>,
    pub etag: String,
    /// As in [`super::PutOptions`].
    pub properties: Vec<u8>,
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub condition: Option<Condition>,
    /// Kept with the object, and given back when it is asked for; at most 1 MiB.
    pub part_list: Vec<u8>,
}

/// A part being written. Dropped without [`PartWriter::finish`], nothing of it is left.
#[derive(Debug)]
pub struct PartWriter {
    upload: UploadName,
    number: u16,
    file: FileWriter,
}

impl PartWriter {
    /// Appends `data`. Waits while too much is on its way.
    pub async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        self.file.write(data).await
    }

    /// Bytes written so far.
    pub fn position(&self) -> u64 {
        self.file.position()
    }

    /// Adds the part to its upload, as durable as the cluster wants it, in place of one with the same number.
    pub async fn finish(self, etag: String, properties: Vec<u8>) -> Result<StoredPart, Error> {
        let Self { upload, number, file } = self;
        let put = v1::PutPart { upload: upload.wire(), number: number.into(), content: None, etag, properties };
        file.close_as_part(put).await.map_err(|fault| Error::new("put a part of", upload.show(), fault))
    }
}

impl Objects {
    /// Begins an object that arrives in parts. Nothing is seen of it until it is completed. The properties are given back with
    /// the upload, and not looked into; at most 64 KiB.
    pub async fn create_upload(&self, bucket: &str, key: &[u8], properties: Vec<u8>) -> Result<UploadName, Error> {
        let op = v1::CreateUpload { bucket: bucket.to_owned(), key: key.to_vec(), properties };
        let id = match self.client().0.metadata.call(Op::CreateUpload(op), Scope::Update).await {
            Ok((v1::reply::Result::Upload(upload), _)) => Ok(UploadId(upload.id)),
            Ok((other, _)) => Err(Metadata::unexpected(&other)),
            Err(fault) => Err(fault),
        };
        let id = id.map_err(|fault| Error::new("begin an upload to", show(bucket, key), fault))?;
        Ok(UploadName { bucket: bucket.to_owned(), key: key.to_vec(), id })
    }

    /// Begins to write a part, with a number from 1 to 10,000.
    pub async fn part_writer(&self, upload: &UploadName, number: u16) -> Result<PartWriter, Error> {
        // A part is always of blocks: bytes that live with an inode could not be put behind those of other parts.
        let options = CreateOptions { mode: FILE_MODE, size_hint: Some(u64::MAX), ..CreateOptions::default() };
        let object = v1::ObjectName { bucket: upload.bucket.clone(), key: upload.key.clone() };
        let file = FileWriter::unnamed(self.client().clone(), object, upload.show(), options).await?;
        Ok(PartWriter { upload: upload.clone(), number, file })
    }

    /// Adds a part that shares a range of an object, which is stored in blocks: [`types::Code::StoredOtherwise`] else.
    pub async fn share_part(
        &self,
        upload: &UploadName,
        number: u16,
        source: &Source,
        (offset, length): (u64, u64),
        etag: String,
        properties: Vec<u8>,
    ) -> Result<StoredPart, Error> {
        let range = v1::put_part::Range { source: Some(source.wire()), offset, length, replication: 0 };
        let content = Some(v1::put_part::Content::Shared(range));
        let put = v1::PutPart { upload: upload.wire(), number: number.into(), content, etag, properties };
        let stored = match self.client().0.metadata.call(Op::PutPart(put), Scope::Update).await {
            Ok((v1::reply::Result::Part(part), _)) => Ok(StoredPart::of(&part)),
            Ok((other, _)) => Err(Metadata::unexpected(&other)),
            Err(fault) => Err(fault),
        };
        stored.map_err(|fault| Error::new("copy a part of", upload.show(), fault))
    }

    /// Puts the object at its key, of parts that are there; the others go. Done again, it answers as before, as long as the
    /// object is there as it was made.
    pub async fn complete_upload(&self, upload: &UploadName, completion: Completion) -> Result<Stored, Error> {
        let client = self.client();
        let Completion { parts, etag, properties, attributes, condition, part_list } = completion;
        let part = |(number, inode): (u16, InodeId)| v1::PartName { number: number.into(), inode: inode.get() };
        let op = v1::CompleteUpload {
            upload: upload.wire(),
            parts: parts.into_iter().map(part).collect(),
            ownership: Some(wire::ownership(&client.0.config.user, FILE_MODE, None, None)),
            layout: None,
            etag,
            properties,
            attributes: attributes.into_iter().map(|(name, value)| v1::Attribute { name, value }).collect(),
            condition: condition.map(writer::condition),
            part_list,
        };
        let stored = writer::stored(client, Op::CompleteUpload(op), Scope::Update).await;
        stored.map_err(|fault| Error::new("complete", upload.show(), fault))
    }

    /// Gives an upload up; its parts go.
    pub async fn abort_upload(&self, upload: &UploadName) -> Result<(), Error> {
        let op = Op::AbortUpload(v1::AbortUpload { upload: upload.wire() });
        let done = self.client().0.metadata.call(op, Scope::Update).await;
        done.map(drop).map_err(|fault| Error::new("abort", upload.show(), fault))
    }

    /// An upload, and at most `max` of its parts that follow the number `after`; no more than [`super::MAX_KEYS`] at a time.
    pub async fn parts(&self, upload: &UploadName, after: u16, max: u32) -> Result<PartPage, Error> {
        let query = v1::PartQuery { upload: upload.wire(), after: after.into(), max };
        let found = find(self.client(), v1::find_uploads::Kind::Parts(query)).await.and_then(|found| {
            let upload = found.upload.ok_or_else(|| wire::broken("an upload was found and is not in the answer"))?;
            let parts = found.parts.into_iter().map(part).collect::<Result<_, _>>()?;
            Ok(PartPage { upload: self::upload(upload), parts, more: found.more })
        });
        found.map_err(|fault| Error::new("list the parts of", upload.show(), fault))
    }

    /// One page of the uploads of a bucket. It may be short where much was said of the uploads, and more follow.
    pub async fn uploads(&self, bucket: &str, list: ListUploads) -> Result<UploadPage, Error> {
        let ListUploads { prefix, delimiter, after, after_id, max } = list;
        let after_id = after_id.map_or(0, |id| id.0);
        let query = v1::UploadQuery { bucket: bucket.to_owned(), prefix, delimiter, after, after_id, max };
        let found = find(self.client(), v1::find_uploads::Kind::Uploads(query)).await.and_then(|found| {
            let items = found.items.into_iter().map(item).collect::<Result<_, _>>()?;
            Ok(UploadPage { items, more: found.more })
        });
        found.map_err(|fault| Error::new("list the uploads of", bucket, fault))
    }
}

async fn find(client: &Client, kind: v1::find_uploads::Kind) -> Result<v1::FoundUploads, Fault> {
    match client.0.metadata.call(Op::FindUploads(v1::FindUploads { kind: Some(kind) }), Scope::Read).await?.0 {
        v1::reply::Result::FoundUploads(found) => Ok(found),
        other => Err(Metadata::unexpected(&other)),
    }
}

fn upload(wire: v1::Upload) -> Upload {
    let v1::Upload { id, initiated, key, uid, gid, properties } = wire;
    Upload { key, id: UploadId(id), initiated: Timestamp::from_nanos(initiated), uid, gid, properties }
}

fn item(wire: v1::UploadItem) -> Result<UploadItem, Fault> {
    use v1::upload_item::Kind;
    match wire.kind.ok_or_else(|| wire::broken("a listed upload is empty"))? {
        Kind::Upload(found) => Ok(UploadItem::Upload(upload(found))),
        Kind::Prefix(prefix) => Ok(UploadItem::Prefix(prefix)),
    }
}

fn part(wire: v1::Part) -> Result<Part, Fault> {
    let v1::Part { number, inode, length, modified, etag, properties } = wire;
    let number = u16::try_from(number).map_err(|_| wire::broken("a part has no legal number"))?;
    let (inode, modified) = (InodeId::new(inode), Timestamp::from_nanos(modified));
    Ok(Part { number, inode, length, modified, etag, properties })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_uploads_read_back_and_nothing_else_does() {
        let id = UploadId(0xabc);
        assert_eq!(id.to_string(), "0000000000000abc");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "0", "0000000000000000", "000000000000ABC1", "+000000000000abc", "0000000000000abcd", "x"] {
            assert!(text.parse::<UploadId>().is_err(), "{text}");
        }
    }
}
