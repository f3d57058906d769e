//! What is on the volumes, for the leader: changes as they happen, digests and listings as it asks for them.
//!
//! The volumes are walked all the time, a bucket at a time: at the start as fast as it goes, because nothing can be
//! compared before, and then so that each bucket has its turn once in every `inventory_interval`. The walk reads names,
//! headers and sizes; what the bytes are worth is the scrubber's business.

use std::sync::Arc;
use std::time::Duration;

use proto::v1;
use proto::v1::replica_delta::Kind;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use types::inventory::{BUCKETS, Bucket, Stored};
use types::{BlockId, StorageId};

use crate::node::{Node, PageKey};
use crate::store::{Counted, Delta, StoreError, Volume};

/// Changes that one heartbeat carries, of all volumes together.
const DELTAS: usize = 16_384;
/// Replicas in one page of a listing.
const PAGE: usize = 1000;
/// The size of a volume is noted at most so often.
const REMEMBER: Duration = Duration::from_secs(60);

/// Walks over a volume until `stop`.
pub(crate) async fn walk(node: Arc<Node>, volume: Arc<Volume>, stop: CancellationToken) {
    let mut first = true;
    let mut pace = interval(node.settings.inventory_interval.div_f64(BUCKETS as f64).max(Duration::from_micros(1)));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut remembered, begun) = (Instant::now(), Instant::now());
    loop {
        let mut unsettled = 0;
        for bucket in Bucket::all() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return remember(&volume).await,
                _ = pace.tick(), if !first => {}
                () = tokio::task::yield_now(), if first => {}
            }
            match count(&node, &volume, bucket).await {
                Ok(counted) => unsettled += usize::from(counted.unsettled),
                Err(error) if volume.has_failed() => {
                    return debug!(storage = %volume.storage, %error, "a failed volume is not walked over");
                }
                Err(error) => warn!(storage = %volume.storage, %error, "a part of the volume cannot be listed"),
            }
            if remembered.elapsed() >= REMEMBER {
                remember(&volume).await;
                remembered = Instant::now();
            }
        }
        if first && volume.digests().is_some() {
            first = false;
            remember(&volume).await;
            let usage = volume.usage();
            info!(storage = %volume.storage, replicas = usage.replicas, took = ?begun.elapsed(), "the volume is counted");
        } else if first {
            debug!(storage = %volume.storage, unsettled, "some of the volume is still to be counted");
            pace.reset();
            pace.tick().await;
        }
    }
}

async fn count(node: &Node, volume: &Arc<Volume>, bucket: Bucket) -> Result<Counted, StoreError> {
    let on = Arc::clone(volume);
    let counted = on_disk(volume, move || on.count(bucket)).await?;
    if volume.note_left(bucket) {
        node.wake();
    }
    for (block, generation, reason) in &counted.bad {
        warn!(%block, %generation, storage = %volume.storage, reason, "a file is not the replica that its name says");
        node.add_bad(volume.storage, *block, *generation);
    }
    if counted.strayed {
        warn!(storage = %volume.storage, bucket = bucket.number(), "replicas came or went, and nobody here did it");
        node.wake();
    }
    Ok(counted)
}

async fn remember(volume: &Arc<Volume>) {
    let on = Arc::clone(volume);
    if let Ok(Err(error)) = volume.disk.run(move || on.remember_usage()).await {
        warn!(storage = %volume.storage, %error, "what the volume holds cannot be noted");
    }
}

async fn on_disk<T: Send + 'static>(
    volume: &Arc<Volume>,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let gone = |gone: crate::disk::DiskGone| StoreError::Volume { reason: gone.to_string() };
    volume.disk.run(work).await.map_err(gone)?
}

/// The changes that no leader has heard of. A volume without any says so: the leader sees that it missed none.
pub(crate) fn deltas(node: &Node) -> Vec<v1::StorageDeltas> {
    let mut room = DELTAS;
    let of = |volume: &Arc<Volume>| {
        let (first, deltas) = volume.deltas(room);
        room -= deltas.len();
        let deltas = deltas.into_iter().map(wire).collect();
        v1::StorageDeltas { storage: volume.storage.as_bytes().to_vec(), first, deltas }
    };
    node.volumes.values().map(of).collect()
}

fn wire(delta: Delta) -> v1::ReplicaDelta {
    let of = |kind: Kind, block: BlockId, generation: types::GenStamp| v1::ReplicaDelta {
        kind: kind as i32,
        block: Some(block.into()),
        generation: generation.get(),
        ..Default::default()
    };
    match delta {
        Delta::Stored(Stored { block, generation, length }) => {
            v1::ReplicaDelta { length: length.get(), ..of(Kind::Stored, block, generation) }
        }
        Delta::Deleted { block, generation } => of(Kind::Deleted, block, generation),
        Delta::Bad { block, generation } => of(Kind::Bad, block, generation),
        Delta::Left { block, generation } => of(Kind::Left, block, generation),
        Delta::Strayed(bucket) => {
            v1::ReplicaDelta { kind: Kind::Strayed as i32, bucket: bucket.number(), ..Default::default() }
        }
    }
}

/// A leader has heard of these changes.
pub(crate) fn heard(node: &Node, heard: &[v1::StorageHeard]) {
    for heard in heard {
        let storage = proto::storage_id(&heard.storage, "StorageHeard.storage");
        if let Some(volume) = storage.ok().and_then(|storage| node.volumes.get(&storage)) {
            volume.deltas_heard(heard.next);
        }
    }
}

pub(crate) fn wanted_digests(wanted: &[Vec<u8>]) -> Vec<StorageId> {
    wanted.iter().filter_map(|storage| proto::storage_id(storage, "HeartbeatReply.want_digests").ok()).collect()
}

/// The digests of these storages. One that is not counted yet has none, and is asked for again.
pub(crate) fn digests(node: &Node, wanted: &[StorageId]) -> Vec<v1::StorageDigests> {
    let volumes = wanted.iter().filter_map(|storage| node.volumes.get(storage));
    let counted = volumes.filter_map(|volume| Some((volume.storage, volume.digests()?)));
    counted
        .map(|(storage, digests)| v1::StorageDigests {
            storage: storage.as_bytes().to_vec(),
            digests: digests.iter().flat_map(|digest| digest.get().to_le_bytes()).collect(),
        })
        .collect()
}

/// Reads the pages that the leader asked for, beside everything else.
pub(crate) fn read_pages(node: &Arc<Node>, wanted: &[v1::PageRequest]) {
    for request in wanted {
        let Some((key, volume)) = page_key(node, request) else {
            debug!(?request, "a request for a page makes no sense here");
            continue;
        };
        if !node.begin_page(key) {
            continue;
        }
        let node = Arc::clone(node);
        tokio::spawn(async move {
            let on = Arc::clone(&volume);
            let read = on_disk(&volume, move || page(&on, key)).await;
            if let Err(error) = &read {
                warn!(storage = %volume.storage, %error, "a part of the volume cannot be listed");
            }
            node.end_page(&key, read.ok());
        });
    }
}

fn page_key(node: &Node, request: &v1::PageRequest) -> Option<(PageKey, Arc<Volume>)> {
    let storage = proto::storage_id(&request.storage, "PageRequest.storage").ok()?;
    let after = match request.after {
        None => None,
        after => Some(proto::block_id(after, "PageRequest.after").ok()?),
    };
    let key = (storage, Bucket::new(request.bucket)?, after);
    Some((key, Arc::clone(node.volumes.get(&storage)?)))
}

/// The next replicas of a bucket. What is not whole is not listed; the walk reports it.
fn page(volume: &Volume, (storage, bucket, after): PageKey) -> Result<v1::BucketPage, StoreError> {
    let mut names = volume.names(bucket)?;
    // Of several generations of a block, only the newest is anything.
    names.reverse();
    names.dedup_by_key(|(block, _)| *block);
    names.reverse();
    names.retain(|(block, _)| after.is_none_or(|after| *block > after));
    let until = if names.len() > PAGE { Some(names[PAGE - 1].0) } else { None };
    names.truncate(PAGE);
    let mut replicas = Vec::with_capacity(names.len());
    for (block, generation) in names {
        match volume.look(block, generation) {
            Ok(Some((stored, _))) => replicas.push(v1::StoredReplica {
                block: Some(stored.block.into()),
                generation: stored.generation.get(),
                length: stored.length.get(),
            }),
            Ok(None) => {}
            Err(error) if error.is_damage() => debug!(%block, %generation, %error, "not listed"),
            Err(error) => return Err(error),
        }
    }
    Ok(v1::BucketPage {
        storage: storage.as_bytes().to_vec(),
        bucket: bucket.number(),
        after: after.map(Into::into),
        replicas,
        until: until.map(Into::into),
    })
}
