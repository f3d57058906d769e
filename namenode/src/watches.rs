//! Who wants to know of which inode, as this leader knows. Not replicated: a client of another leader, or of another
//! stream, treats everything that it has cached as stale and asks again.
//!
//! 1. A change is told only when it can be read, and each one after the answer to `Watch` is told.
//! 2. A client is not told of what it did itself.
//! 3. What waits for a slow client is bounded: past that it is told that everything may have changed.
//! 4. While nobody watches, a command costs one look at a number.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use namespace::changes::Change;
use tokio::sync::Notify;
use types::{InodeId, SessionId};

/// Inodes that one stream watches.
pub(crate) const WATCHES: usize = 1 << 16;
/// Changes that wait for one stream.
const PENDING: usize = 4096;
/// Changes told at once: names of 255 bytes, all of them, fit a message well.
const TOLD: usize = 1024;

/// What a stream is to tell its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Changes(Vec<Change>),
    Everything,
}

#[derive(Debug)]
struct Stream {
    session: Option<SessionId>,
    inodes: BTreeSet<InodeId>,
    pending: BTreeSet<Change>,
    everything: bool,
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Registry {
    streams: HashMap<u64, Stream>,
    by_inode: HashMap<InodeId, BTreeSet<u64>>,
}

#[derive(Debug, Default)]
pub(crate) struct Watches {
    registry: Mutex<Registry>,
    watching: AtomicUsize,
}

impl Watches {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().expect("no holder of this lock panics")
    }

    /// Whether a change is of interest to anybody.
    pub(crate) fn any(&self) -> bool {
        self.watching.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn has(&self, inode: InodeId) -> bool {
        self.registry().by_inode.contains_key(&inode)
    }

    pub(crate) fn stream_began(&self, stream: u64, wake: Arc<Notify>) {
        let (inodes, pending) = (BTreeSet::new(), BTreeSet::new());
        let fresh = Stream { session: None, inodes, pending, everything: false, wake };
        self.registry().streams.insert(stream, fresh);
    }

    pub(crate) fn adopt(&self, session: SessionId, stream: u64) {
        if let Some(stream) = self.registry().streams.get_mut(&stream) {
            stream.session = Some(session);
        }
    }

    pub(crate) fn stream_ended(&self, stream: u64) {
        let mut registry = self.registry();
        let Some(ended) = registry.streams.remove(&stream) else { return };
        for inode in ended.inodes {
            self.forget(&mut registry, stream, inode);
        }
    }

    fn forget(&self, registry: &mut Registry, stream: u64, inode: InodeId) {
        if let Some(streams) = registry.by_inode.get_mut(&inode) {
            streams.remove(&stream);
            if streams.is_empty() {
                registry.by_inode.remove(&inode);
            }
        }
        self.watching.fetch_sub(1, Ordering::SeqCst);
    }

    /// False: the stream watches too many already.
    pub(crate) fn watch(&self, stream: u64, inode: InodeId) -> bool {
        let mut registry = self.registry();
        let Some(of) = registry.streams.get_mut(&stream) else { return true };
        if of.inodes.contains(&inode) {
            return true;
        }
        if of.inodes.len() >= WATCHES {
            return false;
        }
        of.inodes.insert(inode);
        registry.by_inode.entry(inode).or_default().insert(stream);
        self.watching.fetch_add(1, Ordering::SeqCst);
        true
    }

    pub(crate) fn unwatch(&self, stream: u64, inode: InodeId) {
        let mut registry = self.registry();
        if registry.streams.get_mut(&stream).is_some_and(|of| of.inodes.remove(&inode)) {
            self.forget(&mut registry, stream, inode);
        }
    }

    /// These changes can be read from now on.
    pub(crate) fn changed(&self, by: Option<SessionId>, changes: Vec<Change>) {
        let mut registry = self.registry();
        let Registry { streams, by_inode } = &mut *registry;
        for change in changes {
            for number in by_inode.get(&change.inode).into_iter().flatten() {
                let stream = streams.get_mut(number).expect("a watch belongs to a stream");
                if by.is_some() && stream.session == by || stream.everything {
                    continue;
                }
                stream.pending.insert(change.clone());
                if stream.pending.len() > PENDING {
                    stream.pending.clear();
                    stream.everything = true;
                }
                stream.wake.notify_one();
            }
        }
    }

    /// The next part of what there is to tell.
    pub(crate) fn take(&self, stream: u64) -> Option<Told> {
        let mut registry = self.registry();
        let stream = registry.streams.get_mut(&stream)?;
        if std::mem::take(&mut stream.everything) {
            return Some(Told::Everything);
        }
        let part: Vec<_> = std::iter::from_fn(|| stream.pending.pop_first()).take(TOLD).collect();
        (!part.is_empty()).then_some(Told::Changes(part))
    }
}

#[cfg(test)]
mod tests;
