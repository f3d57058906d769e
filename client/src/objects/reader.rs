//! Reading an object.

use bytes::Bytes;
use proto::v1;
use proto::v1::op::Kind as Op;

use super::{Found, show};
use crate::error::{Error, Fault};
use crate::metadata::{Metadata, Scope};
use crate::reader::FileReader;
use crate::store::Client;
use crate::wire;

/// An object open for reading.
#[derive(Debug)]
pub struct ObjectReader {
    found: Found,
    file: FileReader,
}

impl ObjectReader {
    pub(super) async fn open(client: Client, bucket: &str, key: &[u8], with_parts: bool) -> Result<Self, Error> {
        let shown = show(bucket, key);
        let opened = async {
            let (found, opened) = ask(&client, bucket, key, (u64::MAX, with_parts)).await?;
            let file = FileReader::of_object(client, shown.clone(), found.attributes.clone(), opened)?;
            Ok(Self { found, file })
        };
        opened.await.map_err(|fault| Error::new("open", shown.clone(), fault))
    }

    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Goes on with the bytes from `start` up to `end`, which is at most the length.
    pub fn seek(&mut self, start: u64, end: u64) {
        self.file.limit(end);
        self.file.seek(start);
    }

    /// The next bytes, up to 1 MiB, without copying; none at the end.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.file.next_chunk().await
    }
}

/// The object, and where up to `length` bytes of it are, with what is known of its parts if that is wanted.
pub(super) async fn ask(
    client: &Client,
    bucket: &str,
    key: &[u8],
    (length, with_parts): (u64, bool),
) -> Result<(Found, v1::Opened), Fault> {
    let reader = Some(client.0.config.reader());
    let op = v1::OpenKey { bucket: bucket.to_owned(), key: key.to_vec(), offset: 0, length, with_parts, reader };
    match client.0.metadata.call(Op::OpenKey(op), Scope::Read).await?.0 {
        v1::reply::Result::Object(object) => {
            let v1::Object { attributes, etag, as_given, properties, opened, tags, part_list } = object;
            let attributes = attributes.ok_or_else(|| wire::broken("an object has no attributes"))?;
            let (attributes, opened) = (wire::attributes(attributes)?, opened.unwrap_or_default());
            let is_inline = opened.inline.is_some();
            Ok((Found { attributes, etag, as_given, properties, tags, is_inline, part_list }, opened))
        }
        other => Err(Metadata::unexpected(&other)),
    }
}
