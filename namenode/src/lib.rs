//! The metadata service of Ashlar: one member of the group that keeps the namespace.
//!
//! What happens to an update: the stream of a client (`rpc`) reads it (`wire`), chooses targets if it needs any
//! (`datanodes`) and proposes it; the threads of `raft` replicate it and run it against the state (`store`); the answer
//! goes back the same way. A query waits for the proof that this member still leads, or for the leader's word how far the
//! state must be, and is answered by `readers`. What nobody asks for and must be done is in `duties`.
//!
//! Invariants, cited by tests:
//! 1. An acknowledged update is on the disks of a majority, and survives any minority of them.
//! 2. An update sent again with its session and sequence number is applied once and answered the same.
//! 3. A query sees every update that was acknowledged before it was sent, whichever member answers.
//! 4. Only the leader gives tasks, and answers clients, but for the queries on a stream that is for reads alone; and only
//!    with the term that it leads.
//! 5. A directory without an identity, or with another's, is refused.

mod audit;
mod datanodes;
mod deed;
mod duties;
mod effective;
mod failure;
mod identity;
mod locks;
mod metrics;
mod progress;
mod quarantine;
mod queue;
mod raft;
mod readers;
mod roster;
mod rpc;
mod sessions;
mod settings;
mod signs;
mod store;
#[cfg(test)]
mod tests;
mod tokens;
mod watches;
mod wire;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::runtime::Handle as Runtime;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle as Task;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::audit::AuditLog;
use crate::datanodes::Datanodes;
use crate::datanodes::racks::{self, Racks};
use crate::duties::{Board, Duties, Event, Inventories, JobBoard, Redundancy, Standing, Stuck, Watch};
use crate::effective::Effective;
use crate::failure::Failures;
use crate::identity::Identity;
use crate::locks::LockQueue;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::quarantine::Quarantine;
use crate::queue::Sender;
use crate::raft::{Exports, Handle, Home, Inbox, Membership, Outbox, Patience, Raft};
use crate::readers::{Job, Readers};
use crate::roster::{Own, Roster};
use crate::rpc::Service;
use crate::sessions::Sessions;
use crate::signs::Signs;
use crate::store::Store;
use crate::watches::Watches;

pub use audit::Audit;
pub use failure::Failure;
pub use identity::{Founder, IdentityError, found, join};
pub use metrics::Probe;
pub use raft::{InstallError, LogError, RaftError};
pub use settings::{Config, Durability, Settings};
pub use store::StoreError;

/// What this program says that it is, so that a cluster of several versions can be told.
pub(crate) const VERSION: &str = concat!("ashlar-", env!("CARGO_PKG_VERSION"));
/// How long a stopping leader waits for another to take over.
const HANDOVER: Duration = Duration::from_secs(1);
/// The log is cut by at least so many entries.
const TRUNCATE_ENTRIES: u64 = 4096;
/// How long streams and connections may take to end.
const PARTING: Duration = Duration::from_secs(5);

/// Why a namenode did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the configuration is wrong: {0}")]
    Config(String),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("{address} cannot be listened on: {source}; is another process there?")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Raft(#[from] RaftError),
    #[error("a part of the process does not start: {0}")]
    Io(#[from] std::io::Error),
}

/// A running namenode. Stop it with [`Namenode::shutdown`]; dropped without, it closes its streams and leaves its threads
/// to the end of the process.
#[derive(Debug)]
pub struct Namenode {
    address: SocketAddr,
    probe: Probe,
    failures: Failures,
    stop: DropGuard,
    tasks: TaskTracker,
    server: Task<()>,
    threads: Threads,
}

/// The threads behind the services.
#[derive(Debug)]
struct Threads {
    raft: Raft,
    readers: Readers,
    jobs: Sender<Job>,
    duties: JoinHandle<()>,
    events: Sender<Event>,
    fetching: JoinHandle<()>,
    locks: Arc<LockQueue>,
    lock_thread: JoinHandle<()>,
    audit: Arc<AuditLog>,
    audit_thread: JoinHandle<()>,
}

impl Threads {
    fn stop(self) {
        // No duty is left waiting for an answer that cannot come.
        self.raft.stop();
        // The thread has ended already if nobody receives.
        let _ = self.events.send(Event::Stop);
        // A panic has been reported as a failure already.
        let _ = self.duties.join();
        let _ = self.fetching.join();
        self.locks.stop();
        let _ = self.lock_thread.join();
        self.readers.stop(&self.jobs);
        self.audit.stop();
        let _ = self.audit_thread.join();
    }
}

impl Namenode {
    /// Opens the stores in the directory of `config` and serves at this member's address. What happens is counted,
    /// and shown by `registry`.
    pub async fn start(config: Config, registry: &mut Registry) -> Result<Self, StartError> {
        config.check().map_err(StartError::Config)?;
        let identity = identity::admit(&config.settings.dir, config.cluster, config.settings.node)?;
        let address = config.address();
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|source| StartError::Bind { address, source })?;
        let metrics = Metrics::new(registry);
        let failures = Failures::new();
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let opening = {
            let (failures, stop, tasks) = (failures.clone(), stop.clone(), tasks.clone());
            let (runtime, (opened, opening)) = (Runtime::current(), oneshot::channel());
            // Opening the stores may replay and recover, which takes its time. The thread is a new one: the log library
            // keeps a block that it read for each thread, and takes it for one of another member's log if that has been
            // opened there before.
            std::thread::Builder::new().name("opening".to_owned()).spawn(move || {
                // The caller may have given up.
                let _ = opened.send(open(config, identity, metrics, stop, tasks, &failures, &runtime));
            })?;
            opening
        };
        let (service, threads, queues) = opening.await.map_err(std::io::Error::other)??;
        rpc::connect(&service, queues);
        tasks.spawn(racks::refresh(Arc::clone(&service.racks), service.config.settings.rack_interval, stop.clone()));
        let (node, cluster) = (service.config.settings.node, service.config.cluster);
        let (reporter, probe) = (failures.clone(), Probe::of(&service));
        let server = tokio::spawn(async move {
            if let Err(error) = rpc::serve(service, listener).await {
                reporter.report("rpc server", error);
            }
        });
        info!(node, %cluster, %address, "namenode serves");
        Ok(Self { address, probe, failures, stop: stop.drop_guard(), tasks, server, threads })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Brings its numbers up to date, for as long as it runs.
    pub fn probe(&self) -> Probe {
        self.probe.clone()
    }

    /// Resolves when the service had to stop.
    pub fn failed(&self) -> impl Future<Output = Failure> + Send + 'static {
        self.failures.clone().first()
    }

    /// Stops in order: hands over the lead, ends the streams, then the threads; the state is flushed.
    pub async fn shutdown(self) {
        let Self { address, stop, tasks, server, threads, .. } = self;
        hand_over(&threads.raft.handle()).await;
        stop.disarm().cancel();
        tasks.close();
        if tokio::time::timeout(PARTING, tasks.wait()).await.is_err() {
            warn!("some streams do not end");
        }
        let aborted = server.abort_handle();
        if tokio::time::timeout(PARTING, server).await.is_err() {
            warn!("some connections do not end");
            aborted.abort();
        }
        if let Err(error) = tokio::task::spawn_blocking(move || threads.stop()).await {
            warn!(%error, "the threads did not end well");
        }
        info!(%address, "namenode has stopped");
    }
}

/// Tells this process from another one with the same directory.
fn draw_instance() -> Result<u64, StartError> {
    getrandom::u64().map_err(|error| StartError::Io(std::io::Error::other(error.to_string())))
}

async fn hand_over(raft: &Handle) {
    let alone = raft.status().await.is_none_or(|status| status.matched.len() < 2);
    if alone || !raft.leadership().serving {
        return;
    }
    match raft.hand_over(None, HANDOVER).await {
        Some(now) => info!(term = now.term, leader = now.leader, "another member leads"),
        None => warn!("no other member took over the lead"),
    }
}

type Opened = (Arc<Service>, Threads, raft::Opened);

fn open(
    config: Config,
    identity: Identity,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    tasks: TaskTracker,
    failures: &Failures,
    runtime: &Runtime,
) -> Result<Opened, StartError> {
    let settings = config.settings.clone();
    let home = Home::new(&settings.dir);
    raft::finish_install(&home)?;
    let store = Arc::new(Store::open(&home.state(), settings.cache)?);
    let progress = Arc::new(Progress::counting(metrics.log.clone()));
    let racks = Arc::new(Racks::open(&settings).map_err(StartError::Config)?);
    let datanodes = Arc::new(Datanodes::new(config.cluster, &settings, Arc::clone(&racks)));
    let rows = namespace::query::nodes(&*store);
    let unreadable =
        |error: namespace::view::ViewError| StoreError::Rocks { action: "read", reason: error.to_string() };
    datanodes.load(rows.map_err(unreadable)?);
    datanodes.tokens.load(namespace::query::token_keys(&*store).map_err(unreadable)?);

    let founders = identity.founders(config.namenodes.len());
    let own = Own {
        cluster: config.cluster,
        node: settings.node,
        disk: identity.disk,
        instance: draw_instance()?,
        address: config.address(),
    };
    let roster = Arc::new(Roster::new(own, config.namenodes.clone(), founders.clone()));
    let quarantine = Quarantine::new(&settings.dir, failures);
    let inbox = Inbox::new(&metrics.queues.raft);
    let (outbox, queues) = Outbox::new(inbox.sender(), metrics.lost_messages.clone());
    let (events, received) = duties::channel(&metrics.queues.duties);
    let membership = Membership {
        cluster: config.cluster,
        node: settings.node,
        founders,
        tick: settings.tick,
        flush_interval: settings.flush_interval,
        flush_log: settings.flush_log.get(),
        truncate_entries: TRUNCATE_ENTRIES,
        log_keep: settings.log_keep.get(),
    };
    let watches = Arc::new(Watches::default());
    let (readers, jobs) = Readers::start(&store, &progress, &datanodes, &watches, &metrics.queues.readers, failures)?;
    let (locks, lock_thread) = LockQueue::new(&metrics.queues.locks);
    let watch = Watch {
        datanodes: datanodes.clone(),
        events: events.clone(),
        locks: locks.clone(),
        roster: roster.clone(),
        quarantine: quarantine.clone(),
        watches: watches.clone(),
        metrics: metrics.clone(),
    };
    let exports = Exports::new();
    let (fetches, fetched) = watch::channel(None);
    let outbox = Arc::new(outbox);
    let parts = raft::Parts {
        store: store.clone(),
        progress: progress.clone(),
        inbox,
        outbox,
        exports: exports.clone(),
        fetches,
        patience: Patience { hand_over: settings.stall_hand_over, abort: settings.stall_abort },
        roster: roster.clone(),
        quarantine: quarantine.clone(),
        metrics: metrics.clone(),
    };
    let log = raft::open_log(&home)?;
    identity::begin(&settings.dir, &identity)?;
    let raft = Raft::start(&home, log, membership, parts, watch, failures)?;
    locks.connect(raft.handle());
    let lock_thread = {
        let (locks, store) = (locks.clone(), store.clone());
        failures.thread("locks", move || lock_thread.run(&locks, &store))?
    };

    let (audit, audit_thread) =
        AuditLog::start(settings.audit, settings.audit_target(), &store, metrics.audit.clone(), failures)?;
    let audit = Arc::new(audit);
    let sessions = Arc::new(Sessions::default());
    let board = Arc::new(Board::default());
    let inventories = Arc::new(Inventories::default());
    let redundancy = Arc::new(Redundancy::default());
    let jobs_under_way = Arc::new(JobBoard::default());
    let standing = Arc::new(Standing::default());
    let stuck = Arc::new(Stuck::default());
    let signs = Signs::new(settings.suspect_after);
    let effective = Arc::new(Effective::new(settings.clone(), store.clone()));
    let duties = Duties {
        effective: effective.clone(),
        events: received,
        raft: raft.handle(),
        store: store.clone(),
        datanodes: datanodes.clone(),
        sessions: sessions.clone(),
        board: board.clone(),
        inventories: inventories.clone(),
        redundancy: redundancy.clone(),
        jobs: jobs_under_way.clone(),
        metrics: metrics.clone(),
        standing: standing.clone(),
        stuck: stuck.clone(),
        settings,
    };
    let duties = failures.thread("duties", move || duties.run())?;
    let service = Arc::new(Service {
        raft: raft.handle(),
        progress,
        metrics,
        audit: audit.clone(),
        store,
        effective,
        datanodes,
        sessions,
        locks: locks.clone(),
        watches,
        racks,
        next_stream: AtomicU64::new(1),
        jobs: jobs.clone(),
        board,
        inventories,
        redundancy,
        jobs_under_way,
        standing,
        stuck,
        signs,
        events: events.clone(),
        // Two leaders in a row should not make the same choices.
        seed: AtomicU64::new(raft::wall_clock().nanos()),
        stop,
        tasks,
        exports,
        roster,
        quarantine,
        checks: Arc::new(Semaphore::new(1)),
        founders: identity.founders,
        config,
    });
    let fetching = rpc::fetch(&service, runtime, fetched, failures)?;
    Ok((
        service,
        Threads { raft, readers, jobs, duties, events, fetching, locks, lock_thread, audit, audit_thread },
        queues,
    ))
}
