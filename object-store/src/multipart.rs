//! Objects that arrive in parts, which come at the same time and are put one behind the other without being copied.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use client::objects::{Completion, Properties, UploadName};
use futures::FutureExt as _;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use types::InodeId;

use crate::AshlarStore;
use crate::error::{generic, told};

type Kept = Vec<(Vec<u8>, Vec<u8>)>;

/// An upload under way. Dropped without an end, it expires by itself.
#[derive(Debug)]
pub(crate) struct Upload {
    store: AshlarStore,
    location: Path,
    name: UploadName,
    properties: Properties,
    attributes: Kept,
    /// Parts that were begun.
    begun: u16,
    /// Those that are there, by number.
    there: Arc<Mutex<Vec<(u16, InodeId)>>>,
}

impl Upload {
    pub(crate) async fn begin(
        store: &AshlarStore,
        location: &Path,
        properties: Properties,
        attributes: Kept,
    ) -> Result<Self> {
        let key = location.as_ref().as_bytes();
        let name = store.objects.create_upload(&store.bucket, key, Vec::new()).await;
        let name = name.map_err(|error| told(location, error))?;
        let (store, location) = (store.clone(), location.clone());
        Ok(Self { store, location, name, properties, attributes, begun: 0, there: Arc::default() })
    }
}

/// Stores a part; the inode tells it from others that have had its number.
async fn put(
    store: &AshlarStore,
    name: &UploadName,
    number: u16,
    payload: PutPayload,
) -> Result<InodeId, client::Error> {
    let mut writer = store.objects.part_writer(name, number).await?;
    for bytes in payload {
        writer.write(bytes).await?;
    }
    Ok(writer.finish(format!("{}-{number}", name.id), Vec::new()).await?.inode)
}

/// The etag of an object in parts. No other upload has this id, and what is put at the key again has another etag.
fn etag(name: &UploadName, parts: usize) -> String {
    format!("{}-{parts}", name.id)
}

async fn complete(
    store: &AshlarStore,
    location: &Path,
    name: &UploadName,
    mut parts: Vec<(u16, InodeId)>,
    (properties, attributes): (&Properties, &Kept),
) -> Result<PutResult> {
    if parts.is_empty() {
        // An object without content is of one part without content.
        let empty = put(store, name, 1, PutPayload::default()).await.map_err(|error| told(location, error))?;
        parts.push((1, empty));
    }
    let completion = Completion {
        etag: etag(name, parts.len()),
        parts,
        properties: properties.encode(),
        attributes: attributes.clone(),
        condition: None,
        part_list: Vec::new(),
    };
    let stored = store.objects.complete_upload(name, completion).await.map_err(|error| told(location, error))?;
    Ok(PutResult { e_tag: Some(stored.etag), version: None })
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        self.begun = self.begun.saturating_add(1);
        let (store, location, name) = (self.store.clone(), self.location.clone(), self.name.clone());
        let (number, there) = (self.begun, Arc::clone(&self.there));
        async move {
            let inode = put(&store, &name, number, payload).await.map_err(|error| told(&location, error))?;
            there.lock().unwrap_or_else(PoisonError::into_inner).push((number, inode));
            Ok(())
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let mut parts = self.there.lock().unwrap_or_else(PoisonError::into_inner).clone();
        parts.sort_unstable();
        if parts.len() != usize::from(self.begun) {
            return Err(generic(format!(
                "{} of {} parts are not there",
                usize::from(self.begun) - parts.len(),
                self.begun
            )));
        }
        complete(&self.store, &self.location, &self.name, parts, (&self.properties, &self.attributes)).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.objects.abort_upload(&self.name).await.map_err(|error| told(&self.location, error))
    }
}

#[async_trait]
impl MultipartStore for AshlarStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let upload = self.objects.create_upload(&self.bucket, path.as_ref().as_bytes(), Vec::new()).await;
        Ok(upload.map_err(|error| told(path, error))?.id.to_string())
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, part: usize, data: PutPayload) -> Result<PartId> {
        let (name, number) = (self.upload(path, id)?, number(part)?);
        let inode = put(self, &name, number, data).await.map_err(|error| told(path, error))?;
        Ok(PartId { content_id: inode.get().to_string() })
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        let name = self.upload(path, id)?;
        let inode = |(at, part): (usize, PartId)| {
            let inode =
                part.content_id.parse().map_err(|_| generic("the id of a part is not one that was given here"))?;
            Ok((number(at)?, InodeId::new(inode)))
        };
        let parts = parts.into_iter().enumerate().map(inode).collect::<Result<Vec<_>>>()?;
        complete(self, path, &name, parts, (&Properties::default(), &Kept::new())).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.objects.abort_upload(&self.upload(path, id)?).await.map_err(|error| told(path, error))
    }
}

impl AshlarStore {
    fn upload(&self, path: &Path, id: &MultipartId) -> Result<UploadName> {
        let id = id.parse().map_err(generic)?;
        Ok(UploadName { bucket: self.bucket.clone(), key: path.as_ref().as_bytes().to_vec(), id })
    }
}

/// Parts count from 1 in the store.
fn number(at: usize) -> Result<u16> {
    u16::try_from(at + 1).map_err(|_| generic("an object has at most 10,000 parts"))
}
