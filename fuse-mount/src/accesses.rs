//! Access times: what programs read through this mount, told to the cluster now and then.
//!
//! As with `relatime` on a local disk, a time is kept up only as far as programs look at it: it is told when it is not behind the
//! last change, or is a day old. Until the cluster has it, [`Accesses::seen`] shows it here.
//!
//! 1. A time that a program sets is not overtaken by a read before that.
//! 2. What is gathered is bounded: past that, reads are not noted. They are hints, and nothing waits for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use client::{Attributes, Client};
use tracing::debug;
use types::{InodeId, Timestamp};

/// What was read is told so often.
const GATHER: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Reads that are gathered at once.
const MOST: usize = 1 << 16;

#[derive(Debug)]
pub(crate) struct Accesses {
    client: Client,
    noted: Mutex<HashMap<InodeId, Timestamp>>,
    /// Held while the cluster is told (invariant 1).
    telling: tokio::sync::Mutex<()>,
}

impl Accesses {
    /// Must be called on a runtime.
    pub(crate) fn new(client: Client) -> Arc<Self> {
        let accesses = Arc::new(Self { client, noted: Mutex::default(), telling: tokio::sync::Mutex::default() });
        tokio::spawn(Self::teller(Arc::downgrade(&accesses)));
        accesses
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InodeId, Timestamp>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something with these attributes is read now. Gives the new access time, if it changes.
    pub(crate) fn note(&self, attributes: &Attributes) -> Option<Timestamp> {
        let last = attributes.mtime.max(attributes.ctime);
        let now = Timestamp::from(SystemTime::now());
        let mut noted = self.lock();
        // What was noted by an earlier open is not in the cluster yet.
        let access = noted.get(&attributes.inode).map_or(attributes.atime, |read| attributes.atime.max(*read));
        if access > last && now.since(access) < DAY {
            return None;
        }
        if noted.len() >= MOST && !noted.contains_key(&attributes.inode) {
            return None;
        }
        noted.insert(attributes.inode, now);
        Some(now)
    }

    /// `attributes` as the cluster told them, with what was read here on top.
    pub(crate) fn seen(&self, mut attributes: Attributes) -> Attributes {
        if let Some(read) = self.lock().get(&attributes.inode) {
            attributes.atime = attributes.atime.max(*read);
        }
        attributes
    }

    /// A program sets the time of an inode: what was read before does not count.
    pub(crate) async fn forget(&self, inode: InodeId) {
        let _telling = self.telling.lock().await;
        self.lock().remove(&inode);
    }

    async fn teller(accesses: Weak<Self>) {
        let mut look = tokio::time::interval(GATHER);
        loop {
            look.tick().await;
            let Some(accesses) = accesses.upgrade() else { return };
            accesses.tell().await;
        }
    }

    /// Tells the cluster everything that is noted.
    pub(crate) async fn tell(&self) {
        let _telling = self.telling.lock().await;
        let reads: Vec<(InodeId, Timestamp)> = self.lock().iter().map(|(inode, at)| (*inode, *at)).collect();
        if reads.is_empty() {
            return;
        }
        if let Err(error) = self.client.note_reads(&reads).await {
            debug!(%error, reads = reads.len(), "access times are not kept");
        }
        let mut noted = self.lock();
        for (inode, at) in reads {
            // Read once more meanwhile: that is told next.
            if noted.get(&inode) == Some(&at) {
                noted.remove(&inode);
            }
        }
    }
}
