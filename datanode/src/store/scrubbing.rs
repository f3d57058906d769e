//! What the scrubber of a volume is at, for itself, for whoever has a wish, and for reports.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tracing::warn;
use types::inventory::Bucket;
use types::{BlockId, GenStamp, StorageId, Timestamp};

use super::scrub::{Record, SCRUB_FILE, UnderWay};
use super::volume::Volume;
use crate::identity;

/// Replicas whose turn comes first. More are reached in their order.
const SUSPECTS: usize = 1024;

#[derive(Debug)]
pub(super) struct Scrubbing {
    record: Mutex<Record>,
    suspects: Mutex<VecDeque<(BlockId, GenStamp)>>,
    /// Told when there is something to do at once.
    wishes: Notify,
}

/// How far the bytes of a volume are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// Since the byte was checked, or the volume formatted, that has waited longest. Zero for an empty volume.
    pub(crate) oldest_unverified: Duration,
    pub(crate) asked: Option<Pass>,
}

/// A pass that somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pass {
    pub(crate) pass: u64,
    pub(crate) checked: u64,
    pub(crate) bytes: u64,
    pub(crate) bad: u64,
    pub(crate) ended: bool,
}

/// What was kept of a volume's record; a new one if there is none that can be read.
pub(super) fn recorded(root: &Path, storage: StorageId) -> Record {
    let fresh = || {
        let formatted = identity::formatted_at(root).map_or(Timestamp::EPOCH, timestamp);
        Record::new(storage, formatted)
    };
    match fs::read(root.join(SCRUB_FILE)) {
        Ok(bytes) => Record::decode(&bytes, storage).unwrap_or_else(|error| {
            warn!(%storage, %error, "how far the volume was checked is not known: it is checked from the beginning");
            fresh()
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fresh(),
        Err(error) => {
            warn!(%storage, %error, "how far the volume was checked cannot be read: it is checked from the beginning");
            fresh()
        }
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

impl Scrubbing {
    pub(super) fn new(record: Record) -> Self {
        Self { record: Mutex::new(record), suspects: Mutex::default(), wishes: Notify::new() }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn suspects(&self) -> MutexGuard<'_, VecDeque<(BlockId, GenStamp)>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Volume {
    /// Something was wrong when the replica was read: it is checked before all others.
    pub(crate) fn suspect(&self, block: BlockId, generation: GenStamp) {
        let mut suspects = self.scrubbing.suspects();
        if suspects.len() < SUSPECTS && !suspects.contains(&(block, generation)) {
            suspects.push_back((block, generation));
            self.scrubbing.wishes.notify_one();
        }
    }

    pub(crate) fn next_suspect(&self) -> Option<(BlockId, GenStamp)> {
        self.scrubbing.suspects().pop_front()
    }

    /// Has everything on the volume checked as soon as possible.
    pub(crate) fn scrub_now(&self, pass: u64) {
        if self.scrubbing.record().ask(pass, timestamp(SystemTime::now())) {
            self.scrubbing.wishes.notify_one();
        }
    }

    /// Resolves when somebody has a wish.
    pub(crate) async fn scrub_wished(&self) {
        self.scrubbing.wishes.notified().await;
    }

    pub(crate) fn scrub_next(&self) -> UnderWay {
        self.scrubbing.record().next(timestamp(SystemTime::now()))
    }

    pub(crate) fn scrub_passed(&self, bucket: Bucket, block: BlockId) {
        self.scrubbing.record().passed(bucket, block);
    }

    pub(crate) fn scrub_ended(&self, bucket: Bucket) {
        self.scrubbing.record().ended(bucket);
    }

    pub(crate) fn scrub_found_bad(&self) {
        self.scrubbing.record().found_bad();
    }

    /// Whether a pass that was asked for has not ended.
    pub(crate) fn scrub_is_asked(&self) -> bool {
        let record = self.scrubbing.record();
        !Bucket::all().all(|bucket| record.has_passed(bucket))
    }

    pub(crate) fn scrub_progress(&self) -> Progress {
        let held = self.held();
        let record = self.scrubbing.record();
        let oldest = record.oldest(|bucket| held[bucket.index()].is_none_or(|usage| usage.replicas > 0));
        let asked = record.asked().map(|asked| {
            let bytes_of = |bucket: Bucket| held[bucket.index()].map_or(0, |usage| usage.bytes);
            let passed = || Bucket::all().filter(|bucket| record.has_passed(*bucket));
            Pass {
                pass: asked.pass,
                checked: passed().map(bytes_of).sum(),
                bytes: Bucket::all().map(bytes_of).sum(),
                bad: asked.bad,
                ended: passed().count() == Bucket::all().count(),
            }
        });
        let now = timestamp(SystemTime::now());
        Progress { oldest_unverified: oldest.map_or(Duration::ZERO, |oldest| now.since(oldest)), asked }
    }

    /// Keeps the record over a restart.
    pub(crate) fn remember_scrub(&self) -> io::Result<()> {
        if self.has_failed() {
            return Ok(());
        }
        let bytes = self.scrubbing.record().encode();
        self.check_present()?;
        identity::replace_file(&self.root, SCRUB_FILE, &bytes)
    }
}
