//! One volume: its state, its space, and which blocks are being written on it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::fs::StatVfsMountFlags;
use tokio::sync::Notify;
use tracing::{error, warn};
use types::inventory::Bucket;
use types::{BlockId, ByteSize, ClusterId, GenStamp, NodeId, StorageId};

use super::StoreError;
use super::deleted::Deleted;
use super::directories::{Directories, Fsync, SyncDirectory};
use super::error::{during, is_failing};
use super::inventory::{Inventory, Usage};
use super::scrubbing::{Progress, Scrubbing, recorded};
use super::write::Writing;
use crate::disk::Disk;
use crate::identity::{self, Identity, IdentityError};
use crate::replica::{FINAL, WRITING, final_directory, parse_name, writing_path};

#[derive(Debug)]
pub(crate) struct Volume {
    pub(crate) storage: StorageId,
    pub(crate) root: PathBuf,
    pub(super) cluster: ClusterId,
    pub(crate) disk: Disk,
    pub(super) directories: Directories,
    reserve: ByteSize,
    identity: Identity,
    failure: OnceLock<String>,
    /// Told when the volume fails.
    failed: Arc<Notify>,
    blocks: Mutex<BTreeMap<BlockId, Arc<Mutex<Slot>>>>,
    pub(super) inventory: Inventory,
    pub(super) scrubbing: Scrubbing,
    /// Blocks that are being recovered, and under which generation: no older one writes them any more.
    fences: Mutex<BTreeMap<BlockId, GenStamp>>,
    deleted: Mutex<Deleted>,
    writers: AtomicU32,
}

/// What is known of a block that is being written here. The lock is held for as long as its files are worked on.
#[derive(Debug, Default)]
struct Slot {
    writing: SlotState,
    /// Taken out of the map: look there again.
    removed: bool,
}

#[derive(Debug, Default)]
enum SlotState {
    #[default]
    Empty,
    /// Found at the start, by its name; not looked into so far.
    Unread(GenStamp),
    Writing(Writing),
}

/// How a volume is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) storage: StorageId,
    pub(crate) capacity: u64,
    pub(crate) used: u64,
    pub(crate) free: u64,
    pub(crate) replicas: u64,
    pub(crate) failed: bool,
    pub(crate) scrub: Progress,
}

impl Volume {
    /// Opens a formatted volume. Of the replicas, only the names of those being written are read.
    pub(crate) fn open(
        root: &Path,
        cluster: ClusterId,
        threads: usize,
        reserve: ByteSize,
        failed: Arc<Notify>,
    ) -> Result<Self, IdentityError> {
        Self::open_with(root, cluster, threads, reserve, failed, Box::new(Fsync))
    }

    pub(super) fn open_with(
        root: &Path,
        cluster: ClusterId,
        threads: usize,
        reserve: ByteSize,
        failed: Arc<Notify>,
        sync: Box<dyn SyncDirectory>,
    ) -> Result<Self, IdentityError> {
        let identity = Identity::open(root, cluster)?;
        let io = |reason| IdentityError::Io { path: root.to_owned(), reason };
        let storage = identity.storage;
        let disk = Disk::new(&storage.to_string()[..8], threads, QUEUE).map_err(io)?;
        let remembered = identity::recall_usage(root).unwrap_or_else(|error| {
            warn!(%storage, %error, "what the volume held is not known until it is counted");
            None
        });
        for directory in [WRITING, FINAL] {
            fs::create_dir_all(root.join(directory)).map_err(io)?;
        }
        // Whoever made them may have ended before they were on disk.
        fs::File::open(root).and_then(|root| root.sync_all()).map_err(io)?;
        let mut blocks: BTreeMap<BlockId, GenStamp> = BTreeMap::new();
        for (block, generation) in list(&root.join(WRITING)).map_err(io)? {
            let newest = blocks.entry(block).or_insert(generation);
            *newest = generation.max(*newest);
        }
        let slot = |generation| Arc::new(Mutex::new(Slot { writing: SlotState::Unread(generation), removed: false }));
        Ok(Self {
            storage,
            root: root.to_owned(),
            cluster,
            disk,
            directories: Directories::new(sync),
            reserve,
            identity,
            failure: OnceLock::new(),
            failed,
            blocks: Mutex::new(blocks.into_iter().map(|(block, generation)| (block, slot(generation))).collect()),
            inventory: Inventory::new(remembered),
            scrubbing: Scrubbing::new(recorded(root, storage)),
            fences: Mutex::default(),
            deleted: Mutex::default(),
            writers: AtomicU32::new(0),
        })
    }

    /// The node that the volume was registered under when it was opened.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.identity.node
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    pub(crate) fn check_alive(&self) -> Result<(), StoreError> {
        match self.failure.get() {
            None => Ok(()),
            Some(reason) => Err(StoreError::Volume { reason: reason.clone() }),
        }
    }

    /// Takes the volume out, for good: its replicas count as lost until somebody has looked at it.
    pub(crate) fn fail(&self, reason: &str) {
        if self.failure.set(reason.to_owned()).is_ok() {
            error!(storage = %self.storage, path = %self.root.display(), reason, "the volume has failed and is taken out");
            self.failed.notify_waiters();
            self.failed.notify_one();
        }
    }

    /// A write that the system refused. A disk that cannot write is taken out.
    pub(super) fn write_failed(&self, action: &'static str, source: io::Error) -> StoreError {
        if is_failing(&source) {
            self.fail(&format!("{action}: {source}"));
        }
        StoreError::Io { action, source }
    }

    /// Refuses a new replica on a volume that is nearly full.
    pub(super) fn check_space(&self) -> Result<(), StoreError> {
        let found = rustix::fs::statvfs(&self.root).map_err(|errno| during("asking for free space")(errno.into()))?;
        let free = ByteSize::new(found.f_bavail * found.f_frsize);
        if free < self.reserve { Err(StoreError::NoSpace { free, reserve: self.reserve }) } else { Ok(()) }
    }

    /// Looks whether the volume is still there and writable, and how full it is.
    pub(crate) fn probe(&self) -> Report {
        let mut report = self.report_failed();
        if self.has_failed() {
            return report;
        }
        if let Err(error) = identity::is_present(&self.root, self.storage) {
            self.fail(&error.to_string());
            return Report { failed: true, ..report };
        }
        match rustix::fs::statvfs(&self.root) {
            Ok(found) if found.f_flag.contains(StatVfsMountFlags::RDONLY) => self.fail("it is mounted read-only"),
            Ok(found) => {
                report.capacity = found.f_blocks * found.f_frsize;
                // The reserve is not for the taking: whoever places replicas must not count on it.
                report.free = (found.f_bavail * found.f_frsize).saturating_sub(self.reserve.get());
            }
            Err(errno) => self.fail(&format!("asking for free space: {errno}")),
        }
        report.failed = self.has_failed();
        report
    }

    /// The report of a volume that cannot be looked at.
    pub(crate) fn report_failed(&self) -> Report {
        let Usage { replicas, bytes } = self.usage();
        Report {
            storage: self.storage,
            capacity: 0,
            used: bytes,
            free: 0,
            replicas,
            failed: true,
            scrub: self.scrub_progress(),
        }
    }

    pub(crate) fn writers(&self) -> u32 {
        self.writers.load(Ordering::Relaxed)
    }

    pub(crate) fn count_writer(&self, change: i32) {
        self.writers.fetch_add(change as u32, Ordering::Relaxed);
    }

    /// Notes what the volume holds, for the next start.
    pub(crate) fn remember_usage(&self) -> io::Result<()> {
        if self.has_failed() {
            return Ok(());
        }
        self.check_present()?;
        identity::record_usage(&self.root, self.usage())
    }

    /// A disk that was taken away leaves its mount point, where nothing is to be written.
    pub(super) fn check_present(&self) -> io::Result<()> {
        identity::is_present(&self.root, self.storage).map_err(io::Error::other)
    }

    /// Ends the disk's threads.
    pub(crate) fn stop(&self) {
        self.disk.stop();
    }

    /// Refuses a writer that a recovery has overtaken. Asked under the lock of the block.
    pub(super) fn check_fence(&self, block: BlockId, generation: GenStamp) -> Result<(), StoreError> {
        let fences = self.fences.lock().unwrap_or_else(PoisonError::into_inner);
        match fences.get(&block) {
            Some(have) if *have > generation => Err(StoreError::Stale { have: *have }),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn raise_fence(&self, block: BlockId, generation: GenStamp) {
        self.fences.lock().unwrap_or_else(PoisonError::into_inner).insert(block, generation);
    }

    /// Forgets a fence at or below a generation: the replica itself says it now, or nobody asks any more.
    pub(super) fn lift_fence(&self, block: BlockId, generation: GenStamp) {
        let mut fences = self.fences.lock().unwrap_or_else(PoisonError::into_inner);
        if fences.get(&block).is_some_and(|fence| *fence <= generation) {
            fences.remove(&block);
        }
    }

    /// Refuses a writer whose replica was deleted before it began. Asked under the lock of the block.
    pub(super) fn check_not_deleted(&self, block: BlockId, generation: GenStamp) -> Result<(), StoreError> {
        match self.deleted.lock().unwrap_or_else(PoisonError::into_inner).has(block, generation) {
            true => Err(StoreError::NoSuchReplica { reason: "it was deleted before" }),
            false => Ok(()),
        }
    }

    pub(super) fn note_deleted(&self, block: BlockId, generation: GenStamp) {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).note(block, generation);
    }

    /// A leader wants a replica of the block here, whatever was deleted before.
    pub(crate) fn forget_deleted(&self, block: BlockId) {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).forget(block);
    }

    /// Works on what is being written of a block, alone. What is left as `None` is forgotten.
    pub(super) fn with_block<T>(&self, block: BlockId, work: impl FnOnce(&mut Option<Writing>) -> T) -> T {
        loop {
            let slot = Arc::clone(self.blocks.lock().unwrap_or_else(PoisonError::into_inner).entry(block).or_default());
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.removed {
                continue;
            }
            let mut writing = match std::mem::take(&mut slot.writing) {
                SlotState::Empty => None,
                SlotState::Writing(writing) => Some(writing),
                SlotState::Unread(generation) => match self.recover(block, generation) {
                    Ok(writing) => Some(writing),
                    Err(error) => {
                        warn!(%block, %generation, storage = %self.storage, %error, "a replica that was being written is of no use");
                        if error.is_damage() {
                            self.remove_useless(block, generation);
                        }
                        None
                    }
                },
            };
            let result = work(&mut writing);
            match writing {
                Some(writing) => slot.writing = SlotState::Writing(writing),
                None => {
                    slot.removed = true;
                    self.blocks.lock().unwrap_or_else(PoisonError::into_inner).remove(&block);
                }
            }
            return result;
        }
    }

    /// A file of `writing/` that tells nothing: nobody can go on with it, and no deletion would find it.
    fn remove_useless(&self, block: BlockId, generation: GenStamp) {
        if let Err(error) = fs::remove_file(writing_path(&self.root, block, generation)) {
            warn!(%block, %generation, storage = %self.storage, %error, "it cannot be removed");
        }
    }

    /// Replicas in a bucket that are not complete, and that nobody writes at this moment.
    pub(super) fn left(&self, bucket: Bucket) -> Vec<(BlockId, GenStamp)> {
        let slots: Vec<(BlockId, Arc<Mutex<Slot>>)> = {
            let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
            let of_bucket = blocks.iter().filter(|(block, _)| Bucket::of(**block) == bucket);
            of_bucket.map(|(block, slot)| (*block, Arc::clone(slot))).collect()
        };
        let left = |(block, slot): (BlockId, Arc<Mutex<Slot>>)| {
            // One that is locked is being worked on.
            let slot = slot.try_lock().ok()?;
            match &slot.writing {
                SlotState::Empty => None,
                SlotState::Unread(generation) => Some((block, *generation)),
                SlotState::Writing(writing) => writing.file.is_none().then_some((block, writing.generation)),
            }
        };
        slots.into_iter().filter_map(left).collect()
    }

    /// The generations of a block below `final/`.
    pub(super) fn finals(&self, block: BlockId) -> Result<Vec<GenStamp>, StoreError> {
        match list(&final_directory(&self.root, block)) {
            Ok(found) => Ok(found.into_iter().filter(|(name, _)| *name == block).map(|(_, found)| found).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.write_failed("listing a directory", error)),
        }
    }
}

/// Jobs that wait for a disk; whoever has more waits with them.
const QUEUE: usize = 256;

/// The replicas in a directory, by their names.
fn list(directory: &Path) -> io::Result<Vec<(BlockId, GenStamp)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        found.extend(entry?.file_name().to_str().and_then(parse_name));
    }
    Ok(found)
}
