//! Writing an object: a file without a name until it is finished, and then at its key with all that belongs to it.

use bytes::Bytes;
use proto::v1;
use proto::v1::op::Kind as Op;
use proto::v1::publish::Content;

use super::{Condition, PutOptions, Stored, show};
use crate::error::{Error, Fault};
use crate::metadata::{Metadata, Scope};
use crate::object::CreateOptions;
use crate::store::Client;
use crate::wire;
use crate::writer::{Closed, FileWriter};

pub(super) const FILE_MODE: u32 = 0o644;
pub(super) const DIRECTORY_MODE: u32 = 0o755;

/// An object being written. Dropped without [`ObjectWriter::finish`], nothing of it is left.
#[derive(Debug)]
pub struct ObjectWriter {
    bucket: String,
    key: Vec<u8>,
    file: FileWriter,
}

impl ObjectWriter {
    pub(super) async fn create(
        client: Client,
        bucket: &str,
        key: &[u8],
        size_hint: Option<u64>,
    ) -> Result<Self, Error> {
        let options = CreateOptions { mode: FILE_MODE, size_hint, ..CreateOptions::default() };
        let object = v1::ObjectName { bucket: bucket.to_owned(), key: key.to_vec() };
        let file = FileWriter::unnamed(client, object, show(bucket, key), options).await?;
        Ok(Self { bucket: bucket.to_owned(), key: key.to_vec(), file })
    }

    /// Appends `data`. Waits while too much is on its way.
    pub async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        self.file.write(data).await
    }

    /// Bytes written so far.
    pub fn position(&self) -> u64 {
        self.file.position()
    }

    /// Puts the object at its key, as durable as the cluster wants it.
    pub async fn finish(self, options: PutOptions) -> Result<Stored, Error> {
        let Self { bucket, key, file } = self;
        let stored = match file.close_as(publish(&bucket, &key, None, options)).await {
            Ok(Closed::Object { attributes, etag }) => Ok(Stored { attributes, etag }),
            Ok(Closed::File(_) | Closed::Part(_)) => Err(wire::broken("an object became something else")),
            Err(fault) => Err(fault),
        };
        stored.map_err(|fault| Error::new("put", show(&bucket, &key), fault))
    }

    /// Gives up; nothing of it is left.
    pub async fn abort(self) -> Result<(), Error> {
        self.file.abort().await
    }
}

pub(super) fn publish(bucket: &str, key: &[u8], content: Option<Content>, options: PutOptions) -> v1::Publish {
    let PutOptions { etag, properties, attributes, condition } = options;
    v1::Publish {
        bucket: bucket.to_owned(),
        key: key.to_vec(),
        content,
        etag,
        properties,
        attributes: attributes.into_iter().map(|(name, value)| v1::Attribute { name, value }).collect(),
        condition: condition.map(self::condition),
    }
}

pub(super) fn condition(condition: Condition) -> v1::Condition {
    use v1::condition::Kind;
    let kind = match condition {
        Condition::Absent => Kind::Absent(true),
        Condition::Exists => Kind::Exists(true),
        Condition::Matches(etags) => Kind::Matches(v1::Etags { etags }),
    };
    v1::Condition { kind: Some(kind) }
}

/// What is answered with an object as it was stored.
pub(super) async fn stored(client: &Client, op: Op, scope: Scope) -> Result<Stored, Fault> {
    match client.0.metadata.call(op, scope).await?.0 {
        v1::reply::Result::Object(v1::Object { attributes: Some(attributes), etag, .. }) => {
            Ok(Stored { attributes: wire::attributes(attributes)?, etag })
        }
        other => Err(Metadata::unexpected(&other)),
    }
}
