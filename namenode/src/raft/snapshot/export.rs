//! The source of snapshots: one checkpoint at a time, made when Raft asks, kept while somebody pulls it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use consensus::{Manifest, ManifestFile, Snapshots};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::{info, warn};

use crate::store::{self, Store, StoreError};

const PREFIX: &str = "state-snapshot-";
/// A checkpoint that nobody has asked for so long is removed: it holds space that the store has given up, and the log.
const EXPIRY: Duration = Duration::from_secs(20);
/// Read at a time for checksums.
const BUFFER: usize = 1 << 20;

/// A checkpoint on disk. The directory goes when the last user lets go of it.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) manifest: Manifest,
    dir: PathBuf,
    used: Mutex<Instant>,
}

impl Export {
    pub(crate) fn open(&self, file: &ManifestFile) -> io::Result<File> {
        File::open(self.dir.join(&file.name))
    }

    /// Notes that somebody still pulls it.
    pub(crate) fn touch(&self) {
        *self.used.lock().expect("no holder of this lock panics") = Instant::now();
    }

    pub(crate) fn idle(&self) -> Duration {
        self.used.lock().expect("no holder of this lock panics").elapsed()
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            warn!(dir = %self.dir.display(), %error, "a snapshot is not removed");
        }
    }
}

#[derive(Debug, Default)]
enum Current {
    #[default]
    None,
    /// The log is not cut meanwhile: invariant 4 of the module.
    Making,
    Made(Arc<Export>),
}

/// The checkpoint that there is, for everyone who asks.
#[derive(Debug)]
pub(crate) struct Exports {
    current: Mutex<Current>,
    /// Nothing when closed.
    orders: Mutex<Option<Sender<()>>>,
    /// For the [`Exporter`].
    taken: Receiver<()>,
}

impl Exports {
    pub(crate) fn new() -> Arc<Self> {
        let (orders, taken) = bounded(1);
        Arc::new(Self { current: Mutex::default(), orders: Mutex::new(Some(orders)), taken })
    }

    /// Takes no orders any more: the exporter ends.
    pub(crate) fn close(&self) {
        self.orders.lock().expect("no holder of this lock panics").take();
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().expect("no holder of this lock panics")
    }

    /// The checkpoint, if it is at `least` or later; else one is ordered.
    pub(crate) fn export_or_order(&self, least: u64) -> Option<Arc<Export>> {
        let mut current = self.current();
        match &*current {
            Current::Made(export) if export.manifest.index >= least => {
                export.touch();
                return Some(export.clone());
            }
            Current::Making => return None,
            Current::Made(_) | Current::None => {}
        }
        let orders = self.orders.lock().expect("no holder of this lock panics");
        let ordered = orders.as_ref().is_some_and(|orders| orders.try_send(()).is_ok());
        // One that is replaced may still be pulled by another member, which keeps its files.
        let before = if ordered { std::mem::replace(&mut *current, Current::Making) } else { Current::None };
        drop((orders, current));
        drop(before);
        None
    }

    /// The checkpoint, if it is the one of `index` and `term`.
    pub(crate) fn get(&self, index: u64, term: u64) -> Option<Arc<Export>> {
        match &*self.current() {
            Current::Made(export) if export.manifest.at() == (index, term) => {
                export.touch();
                Some(export.clone())
            }
            _ => None,
        }
    }

    /// Lets go of a checkpoint that nobody has pulled for `idle`.
    pub(crate) fn expire(&self, idle: Duration) {
        let mut current = self.current();
        if matches!(&*current, Current::Made(export) if export.idle() >= idle) {
            let before = std::mem::take(&mut *current);
            drop(current);
            drop(before);
        }
    }

    fn made(&self, export: Option<Export>) {
        let made = export.map_or(Current::None, |export| Current::Made(Arc::new(export)));
        let before = std::mem::replace(&mut *self.current(), made);
        // Removing files takes its time: not under the lock.
        drop(before);
    }
}

impl Snapshots for Exports {
    fn get_or_order(&self, least: u64) -> Option<Manifest> {
        self.export_or_order(least).map(|export| export.manifest.clone())
    }

    /// Invariant 4 of the module.
    fn hold(&self, truncated: u64) -> Option<u64> {
        match &*self.current() {
            Current::None => None,
            Current::Making => Some(truncated),
            Current::Made(export) => Some(export.manifest.index),
        }
    }

    fn idle(&self) -> Option<Duration> {
        match &*self.current() {
            Current::Made(export) => Some(export.idle()),
            _ => None,
        }
    }
}

/// The thread that makes checkpoints.
pub(crate) struct Exporter {
    home: PathBuf,
    store: Arc<Store>,
    exports: Arc<Exports>,
}

impl Exporter {
    /// Removes what an earlier process left in `home`.
    pub(crate) fn new(home: &Path, store: Arc<Store>, exports: &Arc<Exports>) -> io::Result<Self> {
        for entry in fs::read_dir(home)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self { home: home.to_owned(), store, exports: exports.clone() })
    }

    /// Until nobody can order any more.
    pub(crate) fn run(self) -> Result<(), String> {
        loop {
            match self.exports.taken.recv_timeout(EXPIRY) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => {
                    self.exports.expire(EXPIRY);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let started = Instant::now();
            let made = self.make();
            match &made {
                Ok(export) => {
                    let (index, bytes) = (export.manifest.index, export.manifest.bytes());
                    info!(index, bytes, took = ?started.elapsed(), "a snapshot is ready");
                }
                // A full disk, say. The protocol asks again.
                Err(error) => warn!(%error, "no snapshot can be made"),
            }
            self.exports.made(made.ok());
        }
    }

    pub(super) fn make(&self) -> Result<Export, StoreError> {
        let temporary = self.home.join(format!("{PREFIX}new"));
        let io = |source: io::Error| StoreError::Rocks { action: "make a checkpoint", reason: source.to_string() };
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(io)?;
        }
        self.store.checkpoint(&temporary)?;
        let applied = store::peek(&temporary)?;
        let files = list(&temporary).map_err(io)?;
        let dir = self.home.join(format!("{PREFIX}{}", applied.index));
        if dir.exists() {
            // Of the same index, and still being pulled; it is as good, but belongs to its own export.
            let reason = format!("{} is in use", dir.display());
            return Err(StoreError::Rocks { action: "make a checkpoint", reason });
        }
        fs::rename(&temporary, &dir).map_err(io)?;
        Ok(Export { manifest: Manifest::new(applied, files), dir, used: Mutex::new(Instant::now()) })
    }
}

/// What a checkpoint consists of, with checksums.
fn list(dir: &Path) -> io::Result<Vec<ManifestFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| io::Error::other("a name that is not UTF-8"))?;
        // The library's own log, and its lock, are no part of the state.
        if name == "LOCK" || name.starts_with("LOG") || !entry.file_type()?.is_file() {
            continue;
        }
        let (length, crc) = checksum(&entry.path())?;
        files.push(ManifestFile { name, length, crc });
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

/// Length and CRC-32 of a file.
pub(super) fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; BUFFER];
    let mut length = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((length, hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
        length += read as u64;
    }
}
