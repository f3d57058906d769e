//! What `df` shows.

use std::time::{Duration, Instant};

use client::{Client, Liveness};
use tokio::sync::Mutex;

use crate::errno::Failure;

/// Programs ask often; disks fill slowly.
const FRESH: Duration = Duration::from_secs(5);
/// There is no bound on the number of files: this many more fit, whatever there is.
const FILES_FREE: u64 = 1 << 40;

/// In blocks of `unit` bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) blocks: u64,
    pub(crate) free: u64,
    pub(crate) files: u64,
    pub(crate) files_free: u64,
}

/// The room of the cluster, asked for now and then.
#[derive(Debug, Default)]
pub(crate) struct RoomCache(Mutex<Option<(Instant, Room)>>);

impl RoomCache {
    pub(crate) async fn get(&self, client: &Client, unit: u64) -> Result<Room, Failure> {
        let mut cached = self.0.lock().await;
        if let Some((when, room)) = *cached
            && when.elapsed() < FRESH
        {
            return Ok(room);
        }
        let room = ask(client, unit).await?;
        *cached = Some((Instant::now(), room));
        Ok(room)
    }
}

/// What can be written is what the live disks have, divided by the number of copies that each byte gets.
async fn ask(client: &Client, unit: u64) -> Result<Room, Failure> {
    let copies = u64::from(client.defaults().replication.max(1));
    let (mut capacity, mut free) = (0, 0);
    for datanode in client.admin().report().await? {
        if datanode.liveness == Liveness::Alive {
            for storage in datanode.storages.iter().filter(|storage| !storage.failed) {
                capacity += storage.capacity.get();
                free += storage.free.get();
            }
        }
    }
    let usage = client.stat(types::InodeId::ROOT).await?.usage.unwrap_or_default();
    let files = usage.files + usage.directories;
    let in_units = |bytes: u64| bytes / copies / unit;
    Ok(Room { blocks: in_units(capacity), free: in_units(free), files: files + FILES_FREE, files_free: FILES_FREE })
}
