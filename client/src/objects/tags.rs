//! Tags of objects and buckets: an attribute of their inodes, which other doors show too.

use proto::v1;
use proto::v1::op::Kind as Op;
use types::Code;

use super::{ATTEMPTS, Objects, TAGS, show};
use crate::error::{Error, Fault};
use crate::metadata::{Metadata, Scope};

impl Objects {
    /// The tags of a bucket, as they were set; [`Code::NoAttribute`] if it has none.
    pub async fn bucket_tags(&self, bucket: &str) -> Result<Vec<u8>, Error> {
        let directory = self.bucket(bucket).await?.attributes.inode;
        let place = Some(v1::Where { base: directory.get(), path: Vec::new() });
        let op = Op::GetXattr(v1::GetXattr { place, name: TAGS.to_vec() });
        let found = match self.client().0.metadata.call(op, Scope::Read).await {
            Ok((v1::reply::Result::Xattr(xattr), _)) => Ok(xattr.value),
            Ok((other, _)) => Err(Metadata::unexpected(&other)),
            Err(fault) => Err(fault),
        };
        found.map_err(|fault| Error::new("read the tags of", bucket, fault))
    }

    /// Gives an object, or the bucket itself, other tags; takes them away if there are none. It takes the right to write
    /// it.
    pub async fn set_tags(&self, bucket: &str, key: Option<&[u8]>, tags: &[u8]) -> Result<(), Error> {
        let mut attempts = 0;
        loop {
            match self.try_set_tags(bucket, key, tags).await {
                // Another object took its place meanwhile, or none: the next look tells.
                Err(error) if error.code() == Code::NotFound && key.is_some() && attempts < ATTEMPTS => {
                    self.head(bucket, key.unwrap_or_default()).await?;
                    attempts += 1;
                }
                done => return done,
            }
        }
    }

    async fn try_set_tags(&self, bucket: &str, key: Option<&[u8]>, tags: &[u8]) -> Result<(), Error> {
        let base = match key {
            // The object must be one: an implicit directory, or a link, is none.
            Some(key) => self.head(bucket, key).await?.attributes.inode,
            None => self.bucket(bucket).await?.attributes.inode,
        };
        let place = Some(v1::Where { base: base.get(), path: Vec::new() });
        let op = if tags.is_empty() {
            Op::RemoveXattr(v1::RemoveXattr { place, name: TAGS.to_vec() })
        } else {
            let mode = v1::XattrMode::Any as i32;
            Op::SetXattr(v1::SetXattr { place, name: TAGS.to_vec(), value: tags.to_vec(), mode })
        };
        let done = match self.client().0.metadata.call(op, Scope::Update).await {
            Err(fault) if tags.is_empty() && fault.code() == Code::NoAttribute => Ok(()),
            done => done.map(drop),
        };
        done.map_err(|fault: Fault| Error::new("tag", show(bucket, key.unwrap_or_default()), fault))
    }
}
