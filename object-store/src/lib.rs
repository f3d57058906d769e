//! A bucket of Ashlar as an [`ObjectStore`], without a gateway in between: what DataFusion, delta-rs, Lance and Polars in
//! Rust read and write tables through.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use ashlar_object_store::AshlarStore;
//! use object_store::{ObjectStore, ObjectStoreExt, path::Path};
//!
//! let client = client::Client::connect(client::Config::default()).await?;
//! let store: Arc<dyn ObjectStore> = Arc::new(AshlarStore::new(&client, "lake"));
//! store.put(&Path::from("tables/a"), "rows".into()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! 1. Each operation is one of [`client::objects`], and as atomic: a put is seen whole or not at all, `Create` and `Update`
//!    are decided in the same step as the change, and a rename is one step.
//! 2. What another door has written is seen at once, and the other way round: it is the same bucket that S3 clients use.
//! 3. What cannot be kept is refused, and never dropped.

mod attributes;
mod error;
mod listing;
mod multipart;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use client::Client;
use client::objects::{Condition, Objects, PutOptions as Kept, RenameConditions};
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode,
    Result,
};
use types::Code;

use crate::error::{NAME, not_supported, told};

/// Objects that are deleted at a time.
const AT_ONCE: usize = 10;

/// A bucket.
#[derive(Debug, Clone)]
pub struct AshlarStore {
    objects: Objects,
    bucket: String,
}

impl AshlarStore {
    /// The bucket with this name, on behalf of the client's user. Whether it is there shows with the first operation.
    pub fn new(client: &Client, bucket: impl Into<String>) -> Self {
        Self { objects: client.objects(), bucket: bucket.into() }
    }

    /// The objects of the cluster, for what the interface has no words for.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    pub fn bucket(&self) -> &str {
        &self.bucket
    }
}

impl fmt::Display for AshlarStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}({})", self.bucket)
    }
}

#[async_trait]
impl ObjectStore for AshlarStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let PutOptions { mode, tags, attributes, extensions: _ } = options;
        let condition = match &mode {
            PutMode::Overwrite => None,
            PutMode::Create => Some(Condition::Absent),
            PutMode::Update(version) => {
                let etag = version.e_tag.clone().ok_or_else(|| not_supported("an update without an etag"))?;
                Some(Condition::Matches(vec![etag]))
            }
        };
        let kept = Kept {
            etag: None,
            properties: attributes::to_properties(&attributes)?.encode(),
            attributes: attributes::of_tags(&tags),
            condition,
        };
        let put = async {
            let length = payload.content_length() as u64;
            let mut writer = self.objects.writer(&self.bucket, location.as_ref().as_bytes(), Some(length)).await?;
            for bytes in payload {
                writer.write(bytes).await?;
            }
            writer.finish(kept).await
        };
        match put.await {
            Ok(stored) => Ok(PutResult { e_tag: Some(stored.etag), version: None }),
            Err(error) => Err(match (mode, error.code()) {
                (PutMode::Create, Code::PreconditionFailed) => error::exists(location, error),
                // There is nothing of that version.
                (PutMode::Update(_), Code::NotFound) => error::precondition(location, error),
                (_, _) => told(location, error),
            }),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let PutMultipartOptions { tags, attributes, extensions: _ } = options;
        let properties = attributes::to_properties(&attributes)?;
        let upload = multipart::Upload::begin(self, location, properties, attributes::of_tags(&tags)).await?;
        Ok(Box::new(upload))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.version.is_some() {
            return Err(not_supported("a version of an object"));
        }
        let key = location.as_ref().as_bytes();
        let (found, reader) = if options.head {
            (self.objects.head(&self.bucket, key).await, None)
        } else {
            match self.objects.open(&self.bucket, key).await {
                Ok(reader) => (Ok(reader.found().clone()), Some(reader)),
                Err(error) => (Err(error), None),
            }
        };
        let found = found.map_err(|error| told(location, error))?;
        let meta = meta(location.clone(), &found.attributes, &found.etag);
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            None => 0..meta.size,
            Some(range) => range.as_range(meta.size).map_err(error::generic)?,
        };
        let attributes = attributes::of(&found);
        let bytes = match reader {
            Some(mut reader) if range.start < range.end => {
                reader.seek(range.start, range.end);
                let location = location.clone();
                stream::try_unfold(reader, move |mut reader| {
                    let location = location.clone();
                    async move {
                        let chunk: Option<Bytes> = reader.next_chunk().await.map_err(|error| told(&location, error))?;
                        Ok(chunk.map(|chunk| (chunk, reader)))
                    }
                })
                .boxed()
            }
            Some(_) | None => stream::empty().boxed(),
        };
        Ok(GetResult { payload: GetResultPayload::Stream(bytes), meta, range, attributes })
    }

    /// That nothing is at a location is no error, as with S3.
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                let deleted = store.objects.delete(&store.bucket, location.as_ref().as_bytes(), None).await;
                deleted.map_err(|error| told(&location, error))?;
                Ok(location)
            }
        };
        locations.map(delete).buffered(AT_ONCE).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        listing::objects(self.clone(), prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        listing::objects(self.clone(), prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        listing::directory(self, prefix).await
    }

    /// Blocks are shared: no byte is copied.
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let condition = match options.mode {
            CopyMode::Overwrite => None,
            CopyMode::Create => Some(Condition::Absent),
        };
        let (source, target) = (from.as_ref().as_bytes(), to.as_ref().as_bytes());
        let copied = self.objects.duplicate((&self.bucket, source), (&self.bucket, target), condition).await.map(drop);
        copied.map_err(|error| match error.code() {
            Code::PreconditionFailed => error::exists(to, error),
            _ => told(from, error),
        })
    }

    /// One step: at no moment is the object at both places, or at none.
    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let to_condition = match options.target_mode {
            RenameTargetMode::Overwrite => None,
            RenameTargetMode::Create => Some(Condition::Absent),
        };
        let conditions = RenameConditions { from: None, to: to_condition };
        let (source, target) = (from.as_ref().as_bytes(), to.as_ref().as_bytes());
        let renamed = self.objects.rename(&self.bucket, source, target, conditions).await;
        renamed.map_err(|error| match error.code() {
            Code::PreconditionFailed => error::exists(to, error),
            _ => told(from, error),
        })
    }
}

fn meta(location: Path, attributes: &client::Attributes, etag: &str) -> ObjectMeta {
    let nanos = i64::try_from(attributes.mtime.nanos()).unwrap_or(i64::MAX);
    ObjectMeta {
        location,
        last_modified: DateTime::from_timestamp_nanos(nanos),
        size: attributes.length.get(),
        e_tag: Some(etag.to_owned()),
        version: None,
    }
}
