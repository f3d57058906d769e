//! What the parts of a datanode share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proto::v1;
use tokio::sync::watch;
use transfer::Buffers;
use types::inventory::Bucket;
use types::{BlockId, ClusterId, GenStamp, NodeId, StorageId, Term};

use crate::connection::Peers;
use crate::foreground::Served;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::settings::Settings;
use crate::store::{Report, Volume};
use crate::throttle::{LongestWait, Throttle};
use crate::tokens::Tokens;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) cluster: ClusterId,
    pub(crate) settings: Settings,
    /// Drawn for this process.
    pub(crate) instance: u64,
    /// Where others reach it.
    pub(crate) address: SocketAddr,
    /// Where readers on this machine get files.
    pub(crate) local: Option<v1::LocalSocket>,
    pub(crate) volumes: BTreeMap<StorageId, Arc<Volume>>,
    pub(crate) buffers: Buffers,
    pub(crate) peers: Peers,
    /// Of copies that have a rate to keep.
    pub(crate) pace: Pace,
    pub(crate) tokens: Tokens,
    /// Changes when the namenodes should hear from this node before the next heartbeat is due.
    pub(crate) news: watch::Sender<u64>,
    pub(crate) metrics: Metrics,
    /// How long what clients write takes to get to the disk.
    pub(crate) stores: LongestWait,
    /// What clients read and write, for the leader.
    pub(crate) client_reads: Served,
    pub(crate) client_writes: Served,
    started: Instant,
    throttle: Mutex<Throttle>,
    /// Of all copies.
    copies: Pace,
    said: Mutex<Said>,
}

#[derive(Debug)]
struct Said {
    id: Option<NodeId>,
    /// When a leader last answered; at first, the start.
    leader_heard: Instant,
    term: Term,
    reports: Vec<Report>,
    results: Queue<v1::TaskResult>,
    pages: Queue<v1::BucketPage>,
    /// Pages that are being read.
    reading: BTreeSet<PageKey>,
}

/// A page that a leader asked for: the bucket of a storage, behind a block.
pub(crate) type PageKey = (StorageId, Bucket, Option<BlockId>);

/// What waits for a leader to hear it, each under a number, oldest first.
#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<(u64, T)>,
    next: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), next: 0 }
    }
}

/// Of each queue, one heartbeat carries this much, and the queue holds this many times more.
const PER_HEARTBEAT: usize = 512;
/// Pages are longer than results.
const PAGES_PER_HEARTBEAT: usize = 16;
const MAX_WAITING: usize = 32 * PER_HEARTBEAT;

impl<T: Clone> Queue<T> {
    /// When nobody has listened for very long, the oldest goes, which is said: whatever it was about is found again by a scan.
    fn push(&mut self, item: T) -> bool {
        let full = self.waiting.len() >= MAX_WAITING;
        if full {
            self.waiting.pop_front();
        }
        self.waiting.push_back((self.next, item));
        self.next += 1;
        full
    }

    fn first(&self, most: usize) -> (Vec<T>, u64) {
        let first = self.waiting.iter().take(most);
        let until = first.clone().last().map_or(0, |(number, _)| number + 1);
        (first.map(|(_, item)| item.clone()).collect(), until)
    }

    fn heard(&mut self, until: u64) {
        while self.waiting.front().is_some_and(|(number, _)| *number < until) {
            self.waiting.pop_front();
        }
    }
}

/// What a heartbeat carries, and what to forget once a leader has it.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) results: Vec<v1::TaskResult>,
    pub(crate) pages: Vec<v1::BucketPage>,
    until: (u64, u64),
}

impl Node {
    pub(crate) fn new(
        cluster: ClusterId,
        settings: Settings,
        address: SocketAddr,
        local: Option<v1::LocalSocket>,
        volumes: BTreeMap<StorageId, Arc<Volume>>,
        id: Option<NodeId>,
        metrics: Metrics,
    ) -> Self {
        // As many as the chains of a busy node have on their way.
        let buffers = Buffers::new(transfer::frame::MAX_BODY, 64);
        let peers = Peers::new(cluster, buffers.clone());
        let said = Mutex::new(Said {
            id,
            leader_heard: Instant::now(),
            term: Term::default(),
            reports: Vec::new(),
            results: Queue::default(),
            pages: Queue::default(),
            reading: BTreeSet::new(),
        });
        let instance = RandomState::new().hash_one(std::process::id());
        let throttle = Mutex::new(Throttle::new(settings.copy_rate.get(), settings.copy_patience));
        Self {
            cluster,
            settings,
            instance,
            address,
            local,
            volumes,
            buffers,
            peers,
            pace: Pace::new(),
            tokens: Tokens::new(cluster),
            news: watch::Sender::new(0),
            metrics,
            stores: LongestWait::default(),
            client_reads: Served::default(),
            client_writes: Served::default(),
            started: Instant::now(),
            throttle,
            copies: Pace::new(),
            said,
        }
    }

    /// Waits until so many bytes may be copied.
    pub(crate) async fn throttle(&self, bytes: u64) {
        let longest_wait = || {
            let disks = self.volumes.values().map(|volume| volume.disk.longest_wait.take());
            disks.max().unwrap_or_default().max(self.stores.take())
        };
        let rate = {
            let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
            throttle.rate(self.started.elapsed(), longest_wait)
        };
        self.copies.wait(bytes, rate).await;
    }

    pub(crate) fn id(&self) -> Option<NodeId> {
        self.said().id
    }

    /// Whether a leader has told it all that it needs to serve.
    pub(crate) fn is_useful(&self) -> bool {
        self.id().is_some() && self.tokens.are_known()
    }

    pub(crate) fn set_id(&self, id: NodeId) {
        self.said().id = Some(id);
        self.wake();
    }

    pub(crate) fn reports(&self) -> Vec<Report> {
        self.said().reports.clone()
    }

    pub(crate) fn set_reports(&self, reports: Vec<Report>) {
        self.said().reports = reports;
    }

    /// Remembers the highest term; says whether this one is not below it.
    pub(crate) fn is_current(&self, term: Term) -> bool {
        let mut said = self.said();
        said.term = said.term.max(term);
        said.term == term
    }

    /// A leader has answered.
    pub(crate) fn hear_leader(&self) {
        self.said().leader_heard = Instant::now();
    }

    pub(crate) fn leader_silence(&self) -> Duration {
        self.said().leader_heard.elapsed()
    }

    /// Results that no leader has heard yet.
    pub(crate) fn waiting_results(&self) -> usize {
        self.said().results.waiting.len()
    }

    pub(crate) fn writers(&self) -> u32 {
        self.volumes.values().map(|volume| volume.writers()).sum()
    }

    pub(crate) fn add_result(&self, result: v1::TaskResult) {
        self.metrics.did(&result);
        if self.said().results.push(result) {
            self.metrics.dropped_results.inc();
        }
        self.wake();
    }

    /// A replica that does not hold what it should.
    pub(crate) fn add_bad(&self, storage: StorageId, block: BlockId, generation: GenStamp) {
        if let Some(volume) = self.volumes.get(&storage) {
            volume.note_bad(block, generation);
            self.wake();
        }
    }

    /// Whether a page is to be read: it is not being read already.
    pub(crate) fn begin_page(&self, page: PageKey) -> bool {
        let mut said = self.said();
        said.reading.len() < PAGES_PER_HEARTBEAT && said.reading.insert(page)
    }

    /// A page that was begun has been read, or cannot be.
    pub(crate) fn end_page(&self, key: &PageKey, page: Option<v1::BucketPage>) {
        let mut said = self.said();
        said.reading.remove(key);
        let read = page.is_some();
        if let Some(page) = page {
            said.pages.push(page);
        }
        drop(said);
        if read {
            self.wake();
        }
    }

    pub(crate) fn news(&self) -> News {
        let said = self.said();
        let (results, results_until) = said.results.first(PER_HEARTBEAT);
        let (pages, pages_until) = said.pages.first(PAGES_PER_HEARTBEAT);
        News { results, pages, until: (results_until, pages_until) }
    }

    /// A leader has heard them.
    pub(crate) fn heard(&self, news: &News) {
        let mut said = self.said();
        said.results.heard(news.until.0);
        said.pages.heard(news.until.1);
    }

    /// Has the namenodes hear from this node soon.
    pub(crate) fn wake(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_leader_heard_is_forgotten_and_the_rest_is_not() {
        let mut queue = Queue::default();
        for item in 0..PER_HEARTBEAT + 1 {
            queue.push(item);
        }
        let (first, until) = queue.first(PER_HEARTBEAT);
        assert_eq!(first.len(), PER_HEARTBEAT);
        queue.push(7777);
        queue.heard(until);
        assert_eq!(queue.first(PER_HEARTBEAT).0, [PER_HEARTBEAT, 7777]);
    }
}
