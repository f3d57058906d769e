//! Dirty data of all files on its way to the cluster: how much there may be, and when it goes.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use fuser::Errno;
use futures::future::join_all;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;
use types::{ByteSize, InodeId};

use crate::errno::Failure;
use crate::file::File;

/// Blocks that are written at once.
const UPLOADS: usize = 8;
/// What is dirty for so long goes, whether or not a program asks for it.
const EXPIRY: Duration = Duration::from_secs(5);
/// Less memory than two of the longest writes would let nobody get on.
const LEAST_MEMORY: ByteSize = ByteSize::mib(8);

#[derive(Debug)]
pub(crate) struct WriteBack {
    /// One permit a byte.
    memory: Semaphore,
    uploads: Semaphore,
    dirty: Mutex<HashMap<InodeId, Weak<File>>>,
    /// Somebody waits for memory.
    pressed: Notify,
    tasks: TaskTracker,
    /// Files of which something was lost that had been written.
    lost: AtomicUsize,
}

impl WriteBack {
    pub(crate) fn new(memory: ByteSize) -> Arc<Self> {
        let permits = usize::try_from(memory.max(LEAST_MEMORY).get()).unwrap_or(Semaphore::MAX_PERMITS);
        let write_back = Arc::new(Self {
            memory: Semaphore::new(permits.min(Semaphore::MAX_PERMITS)),
            uploads: Semaphore::new(UPLOADS),
            dirty: Mutex::default(),
            pressed: Notify::new(),
            tasks: TaskTracker::new(),
            lost: AtomicUsize::new(0),
        });
        tokio::spawn(Self::flusher(Arc::downgrade(&write_back)));
        write_back
    }

    /// Memory for so many bytes that somebody is about to write.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<(), Failure> {
        let bytes = u32::try_from(bytes).map_err(|_| Errno::EFBIG)?;
        let permit = match self.memory.try_acquire_many(bytes) {
            Ok(permit) => permit,
            Err(_) => {
                self.pressed.notify_one();
                self.memory.acquire_many(bytes).await.expect("the semaphore is never closed")
            }
        };
        permit.forget();
        Ok(())
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.memory.add_permits(usize::try_from(bytes).expect("it was in memory"));
    }

    /// The right to store a batch.
    pub(crate) async fn upload(&self) -> SemaphorePermit<'_> {
        self.uploads.acquire().await.expect("the semaphore is never closed")
    }

    /// Remembers that a file is dirty.
    pub(crate) fn note(&self, file: &Arc<File>) {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        dirty.entry(file.inode).or_insert_with(|| Arc::downgrade(file));
    }

    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }

    /// Writes the old and, when memory runs out, everything.
    async fn flusher(write_back: Weak<Self>) {
        let mut look = tokio::time::interval(EXPIRY / 5);
        loop {
            let Some(this) = write_back.upgrade() else { return };
            let pressed = tokio::select! {
                () = this.pressed.notified() => true,
                _ = look.tick() => false,
            };
            for file in this.dirty_files() {
                if pressed || file.dirty_since().is_some_and(|since| since.elapsed() > EXPIRY) {
                    // It reports its failure itself, and to the program that flushes next.
                    this.tasks.spawn(async move { drop(file.flush().await) });
                }
            }
        }
    }

    /// Those that are dirty. The others are forgotten.
    fn dirty_files(&self) -> Vec<Arc<File>> {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = Vec::new();
        dirty.retain(|_, file| {
            let file = file.upgrade().filter(|file| file.dirty_since().is_some());
            let stays = file.is_some();
            files.extend(file);
            stays
        });
        files
    }

    /// Something that was written to a file could not be stored, for the first time.
    pub(crate) fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes everything. Tells of how many files something was lost, ever.
    pub(crate) async fn drain(&self) -> usize {
        // A file whose flush fails counts itself.
        join_all(self.dirty_files().iter().map(File::flush)).await;
        self.lost.load(Ordering::Relaxed)
    }
}
