//! A bucket as an `object_store`: what the interface's own tests ask of a store, and what they do not.

use std::sync::Arc;

use anyhow::{Result, ensure};
use ashlar_object_store::AshlarStore;
use bytes::Bytes;
use client::objects::{Condition, PutOptions as Kept};
use futures::{StreamExt as _, TryStreamExt as _};
use integration_tests::{Cluster, Options};
use object_store::path::Path;
use object_store::{
    Attribute, Error, GetOptions, GetRange, MultipartUpload as _, ObjectStore, ObjectStoreExt as _, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, TagSet, UpdateVersion, integration,
};

const BUCKET: &str = "lake";

async fn store(cluster: &Cluster) -> Result<AshlarStore> {
    let client = cluster.client().await?;
    client.objects().create_bucket(BUCKET, &types::Path::parse(b"/lake")?, 0o700).await?;
    Ok(AshlarStore::new(&client, BUCKET))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_what_the_interface_wants_of_a_store() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, ..Options::default() }).await?;
    let store = store(&cluster).await?;
    integration::put_get_delete_list(&store).await;
    integration::put_get_attributes(&store).await;
    integration::get_opts(&store).await;
    integration::put_opts(&store, true).await;
    integration::list_uses_directories_correctly(&store).await;
    integration::list_with_delimiter(&store).await;
    integration::rename_and_copy(&store).await;
    integration::copy_if_not_exists(&store).await;
    integration::copy_rename_nonexistent_object(&store).await;
    integration::list_with_offset_exclusivity(&store).await;
    integration::list_paginated(&store, &store).await;
    integration::multipart(&store, &store).await;
    integration::multipart_out_of_order(&store).await;
    integration::multipart_race_condition(&store, true).await;
    let all = store.list(None).map_ok(|found| found.location).boxed();
    store.delete_stream(all).try_collect::<Vec<_>>().await?;
    integration::stream_get(&store).await;
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_creates_and_one_of_many_updates_wins() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 1, ..Options::default() }).await?;
    let store = Arc::new(store(&cluster).await?);
    let path = Path::from("table/_delta_log/00000000000000000000.json");
    let race = |mode: PutMode| {
        let (store, path) = (Arc::clone(&store), path.clone());
        futures::future::join_all((0..32_u8).map(move |at| {
            let (store, path, mode) = (Arc::clone(&store), path.clone(), mode.clone());
            // Some live with their inodes, and some in blocks.
            let content = vec![at; 1 + usize::from(at) * 2000];
            tokio::spawn(async move { store.put_opts(&path, content.into(), mode.into()).await })
        }))
    };
    let mut winners = Vec::new();
    for done in race(PutMode::Create).await {
        match done? {
            Ok(put) => winners.push(put),
            Err(error) => ensure!(matches!(error, Error::AlreadyExists { .. }), "{error}"),
        }
    }
    let [first] = &winners[..] else { anyhow::bail!("{} puts have created it", winners.len()) };
    ensure!(store.head(&path).await?.e_tag == first.e_tag);
    let version = UpdateVersion { e_tag: first.e_tag.clone(), version: None };
    let mut updated = Vec::new();
    for done in race(PutMode::Update(version)).await {
        match done? {
            Ok(put) => updated.push(put),
            Err(error) => ensure!(matches!(error, Error::Precondition { .. }), "{error}"),
        }
    }
    let [second] = &updated[..] else { anyhow::bail!("{} updates have happened", updated.len()) };
    let got = store.get(&path).await?;
    ensure!(got.meta.e_tag == second.e_tag && second.e_tag != first.e_tag);
    let content = got.bytes().await?;
    ensure!(content.iter().all(|byte| *byte == content[0]), "a reader was given a mixture");
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_what_other_doors_see_and_what_is_not_is_refused() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 1, ..Options::default() }).await?;
    let store = store(&cluster).await?;
    let path = Path::from("a/b/kept");
    let mut tags = TagSet::default();
    tags.push("team", "data");
    let attributes = [(Attribute::ContentType, "text/x-kept"), (Attribute::Metadata("colour".into()), "blue")];
    let options = PutOptions { tags, attributes: attributes.into_iter().collect(), ..PutOptions::default() };
    store.put_opts(&path, "kept".into(), options).await?;
    let found = store.objects().head(BUCKET, b"a/b/kept").await?;
    ensure!(found.tags == b"team=data", "{:?}", found.tags);
    ensure!(cluster.ashlar(&["fs", "cat", "/lake/a/b/kept"])? == "kept");
    let shown = cluster.ashlar(&["object", "stat", "lake/a/b/kept"])?;
    for told in ["text/x-kept", "x-amz-meta-colour", "team=data"] {
        ensure!(shown.contains(told), "{told} in {shown}");
    }
    // A rename keeps all of it, and a copy too.
    store.rename(&path, &Path::from("moved")).await?;
    store.copy(&Path::from("moved"), &Path::from("copied")).await?;
    for name in ["moved", "copied"] {
        let got = store.get(&Path::from(name)).await?;
        ensure!(got.attributes.get(&Attribute::ContentType).is_some_and(|kind| kind.as_ref() == "text/x-kept"));
        ensure!(store.objects().head(BUCKET, name.as_bytes()).await?.tags == b"team=data");
    }
    ensure!(cluster.ashlar(&["fs", "ls", "/lake"])? == "copied\nmoved\n", "no directory is left");
    let cold = PutOptions::from(object_store::Attributes::from_iter([(Attribute::StorageClass, "GLACIER")]));
    ensure!(matches!(store.put_opts(&path, "x".into(), cold).await, Err(Error::NotSupported { .. })));
    let old = GetOptions::new().with_version(Some("1"));
    ensure!(matches!(store.get_opts(&Path::from("moved"), old).await, Err(Error::NotSupported { .. })));
    // What another door has written has an etag too, and an update that names it.
    let local = cluster.root().join("local");
    std::fs::write(&local, "by the other door")?;
    cluster.ashlar(&["fs", "put", local.to_str().expect("a plain name"), "/lake/other"])?;
    let other = store.get(&Path::from("other")).await?;
    let version = UpdateVersion { e_tag: other.meta.e_tag.clone(), version: None };
    ensure!(other.bytes().await? == "by the other door");
    store.put_opts(&Path::from("other"), "again".into(), PutMode::Update(version).into()).await?;
    // The object of a directory is no object here, and an absent bucket is told as one.
    let kept = Kept { condition: Some(Condition::Absent), ..Kept::default() };
    store.objects().put(BUCKET, b"directory/", Bytes::new(), kept).await?;
    let listed: Vec<_> = store.list(None).map_ok(|found| found.location.to_string()).try_collect().await?;
    ensure!(listed == ["copied", "moved", "other"], "{listed:?}");
    let client = cluster.client().await?;
    let nowhere = AshlarStore::new(&client, "no-such-bucket");
    ensure!(nowhere.list(None).try_collect::<Vec<_>>().await.is_err());
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_and_parts_of_large_objects_are_exact() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, ..Options::default() }).await?;
    let store = store(&cluster).await?;
    let path = Path::from("large");
    let pieces: Vec<Bytes> = (0..5_u8).map(|at| Bytes::from(vec![at; 700_000 + usize::from(at)])).collect();
    let whole = pieces.concat();
    let mut upload = store.put_multipart_opts(&path, PutMultipartOptions::default()).await?;
    // The parts come in the other order.
    let parts: Vec<_> = pieces.iter().map(|piece| upload.put_part(PutPayload::from(piece.clone()))).collect();
    futures::future::try_join_all(parts.into_iter().rev()).await?;
    ensure!(matches!(store.head(&path).await, Err(Error::NotFound { .. })), "nothing is seen of it yet");
    upload.complete().await?;
    ensure!(store.get(&path).await?.bytes().await? == whole);
    let ranges = [0..1, 699_999..700_002, 1_400_000..2_900_000, 3_500_000..3_500_010];
    let got = store.get_ranges(&path, &ranges).await?;
    for (range, got) in ranges.iter().zip(got) {
        ensure!(got == whole[range.start as usize..range.end as usize], "{range:?}");
    }
    let last = store.get_opts(&path, GetOptions::new().with_range(Some(GetRange::Suffix(7)))).await?;
    ensure!(last.range == (3_500_003..3_500_010) && last.bytes().await? == whole[3_500_003..]);
    let beyond = GetOptions::new().with_range(Some(GetRange::Offset(3_500_010)));
    ensure!(store.get_opts(&path, beyond).await.is_err());
    // A part that failed is not passed over.
    let mut gone = store.put_multipart_opts(&path, PutMultipartOptions::default()).await?;
    drop(gone.put_part("never sent".into()));
    ensure!(gone.complete().await.is_err());
    gone.abort().await?;
    ensure!(gone.put_part("late".into()).await.is_err());
    ensure!(store.get(&path).await?.bytes().await? == whole);
    cluster.finish(&[]).await
}
