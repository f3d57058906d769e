//! The replicated log: three threads around the [`consensus`] core.
//!
//! The *raft thread* feeds the core and does no IO; the *log thread* writes and syncs; the *apply thread* runs what is
//! committed. Many requests share an entry, many entries a sync, many entries a batch of the store.
//!
//! The invariants of the core are kept here as follows, cited by tests and comments:
//! 1. The log thread sends the messages of a write after it is synced.
//! 2. Numbers between the threads only grow: see [`Progress`].
//! 3. A failed write or sync of the log ends the process.
//! 4. Members tell each other with every batch of messages how far their state on disk is, and the leader tells how far
//!    all may cut their logs.
//!
//! The types of the Raft library stay below this module and in the core; its messages leave as bytes.

mod apply;
mod driver;
mod engine;
mod outbox;
mod snapshot;
#[cfg(test)]
mod tests;
mod watchdog;
mod watermark;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use consensus::{AppliedState, StartError};
use crossbeam_channel::{Sender as Notice, TrySendError};
use namespace::command::{Reply, Request};
use telemetry::Queue as Waiting;
use tokio::sync::watch;
use types::{BlockId, ClusterId, InodeId, SessionId};

use crate::failure::Failures;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::quarantine::Quarantine;
use crate::queue::{self, Receiver, Sender};
use crate::roster::Roster;
use crate::store::{Store, StoreError};

pub use consensus::LogError;
pub(crate) use consensus::{Change, ChangeError, Group, LogStore, Member};
pub(crate) use consensus::{ENTRY_BYTES, ENTRY_REQUESTS, Leadership, ManifestFile, Refusal, Status};
pub(crate) use driver::wall_clock;
pub(crate) use outbox::{Opened, Outbox, Queue};
pub use snapshot::InstallError;
pub(crate) use snapshot::{Export, Exports, Fetch, Home, Incoming, Staging, StagingError};
pub(crate) use watchdog::{Disk, Patience};

/// Inputs that wait for the raft thread; each may be a whole batch.
const INPUTS: usize = 8192;

/// How long the raft thread may take to tell how it stands.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a change of the members may take. A leader without a majority steps down sooner.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the requests of one proposal answered, in their order.
#[derive(Debug)]
pub(crate) struct Answers {
    /// The log index of the state that they left.
    pub(crate) applied: u64,
    pub(crate) outcomes: Vec<Result<Reply, namespace::Error>>,
}

/// Called once, on a thread of this module: it must not block.
pub(crate) type Answered = Box<dyn FnOnce(Result<Answers, Refusal>) + Send>;
/// Called once when a change of the members is applied, or is not made.
pub(crate) type Changed = Box<dyn FnOnce(Result<(), ChangeFailure>) + Send>;
/// Called once with the applied index when the state may be read.
pub(crate) type Readable = Box<dyn FnOnce(Result<u64, Refusal>) + Send>;

/// Requests to be applied side by side, and who waits for the answers.
pub(crate) type Proposal = consensus::Proposal<Answered>;

/// What reaches the raft thread.
pub(crate) enum Input {
    /// From a member, in the library's encoding.
    Messages(Vec<Vec<u8>>),
    Proposal(Proposal),
    Read(Readable),
    Unreachable(u64),
    /// The files of a snapshot are there, or cannot be had.
    Fetched {
        index: u64,
        term: u64,
        whole: bool,
    },
    Status(Box<dyn FnOnce(Status) + Send>),
    Change(Change, Changed),
    /// Cut the log as far as it may be.
    Cut,
    /// Look at [`Progress`].
    Wake,
    /// Give the lead to this member; with none, to the one that has most of the log.
    Transfer(Option<u64>),
    Stop,
}

/// Why a change of the members was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChangeFailure {
    #[error(transparent)]
    Refused(#[from] ChangeError),
    /// It may have been made.
    #[error("the answer was lost; look at the status, and try again")]
    Lost(Refusal),
}

/// What a member needs to take part.
pub(crate) struct Membership {
    pub(crate) cluster: ClusterId,
    pub(crate) node: u64,
    /// With whom the cluster began.
    pub(crate) founders: Group,
    pub(crate) tick: Duration,
    pub(crate) flush_interval: Duration,
    pub(crate) flush_log: u64,
    /// Fewer entries are not worth cutting off the log.
    pub(crate) truncate_entries: u64,
    /// Bytes of log for members that are away.
    pub(crate) log_keep: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum RaftError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("a snapshot is not installed: {0}")]
    Install(#[from] InstallError),
    #[error("a thread does not start: {0}")]
    Thread(#[from] std::io::Error),
}

/// The way in, for every part of the service.
#[derive(Clone)]
pub(crate) struct Handle {
    inputs: Sender<Input>,
    disk: Arc<Disk>,
    leadership: watch::Receiver<Leadership>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("leadership", &*self.leadership.borrow()).finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) fn leadership(&self) -> Leadership {
        *self.leadership.borrow()
    }

    /// Whether the disk of this member does not finish a write.
    pub(crate) fn stalled(&self) -> bool {
        self.disk.stalled()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    pub(crate) fn propose(&self, requests: Vec<Request>, answered: Answered) {
        match self.inputs.try_send(Input::Proposal(Proposal { requests, ticket: answered })) {
            Ok(()) => {}
            Err(TrySendError::Full(Input::Proposal(proposal))) => (proposal.ticket)(Err(Refusal::Busy)),
            Err(TrySendError::Disconnected(Input::Proposal(proposal))) => (proposal.ticket)(Err(Refusal::NotLeader)),
            Err(_) => unreachable!("what is refused is what was sent"),
        }
    }

    pub(crate) fn read(&self, readable: Readable) {
        match self.inputs.try_send(Input::Read(readable)) {
            Ok(()) => {}
            Err(TrySendError::Full(Input::Read(readable))) => readable(Err(Refusal::Busy)),
            Err(TrySendError::Disconnected(Input::Read(readable))) => readable(Err(Refusal::NotLeader)),
            Err(_) => unreachable!("what is refused is what was sent"),
        }
    }

    /// Hands over messages of a member; gives them back when there is no room.
    pub(crate) fn messages(&self, messages: Vec<Vec<u8>>) -> Result<(), Vec<Vec<u8>>> {
        match self.inputs.try_send(Input::Messages(messages)) {
            Err(TrySendError::Full(Input::Messages(messages))) => Err(messages),
            // A thread that has ended takes no messages; whoever sends them learns by its own timeouts.
            _ => Ok(()),
        }
    }

    /// Answers nothing when the raft thread has ended, or waits for a disk that has stalled.
    pub(crate) async fn status(&self) -> Option<Status> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let answer = Box::new(move |status| drop(sender.send(status)));
        self.inputs.try_send(Input::Status(answer)).ok()?;
        tokio::time::timeout(STATUS_TIMEOUT, receiver).await.ok()?.ok()
    }

    /// Gives the lead away, if this member has it and another can take it.
    pub(crate) fn transfer(&self, to: Option<u64>) {
        // Without room, the members find a new leader by timeout.
        let _ = self.inputs.try_send(Input::Transfer(to));
    }

    /// Gives the lead to `to`, or to whoever has most of the log, and waits until another leads. Answers the new
    /// leadership; nothing when no other took over in `patience`, or when this member did not lead.
    pub(crate) async fn hand_over(&self, to: Option<u64>, patience: Duration) -> Option<Leadership> {
        let before = self.leadership();
        if !before.serving {
            return None;
        }
        self.transfer(to);
        let mut leadership = self.watch();
        let changed = leadership.wait_for(|now| now.leader != before.leader && now.leader != 0);
        tokio::time::timeout(patience, changed).await.ok()?.ok().map(|now| *now)
    }

    /// Tells that the files of a snapshot are there, or cannot be had. False: there is no room, tell again.
    pub(crate) fn fetched(&self, index: u64, term: u64, whole: bool) -> bool {
        !matches!(self.inputs.try_send(Input::Fetched { index, term, whole }), Err(TrySendError::Full(_)))
    }

    /// Makes a change of the members, if this member leads, and waits until it is applied here.
    pub(crate) async fn change(&self, change: Change) -> Result<(), ChangeFailure> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let changed = Box::new(move |answer| drop(sender.send(answer)));
        if self.inputs.try_send(Input::Change(change, changed)).is_err() {
            return Err(ChangeError::Pending.into());
        }
        let lost = ChangeFailure::Lost(Refusal::Unknown);
        tokio::time::timeout(CHANGE_TIMEOUT, receiver).await.ok().and_then(Result::ok).unwrap_or(Err(lost))
    }

    /// Has the log cut as far as it may be.
    pub(crate) fn cut(&self) {
        // Without room, it is cut later.
        let _ = self.inputs.try_send(Input::Cut);
    }

    /// Notes that a member is not reached.
    pub(crate) fn unreachable(&self, node: u64) {
        // Without room, the protocol finds out by itself.
        let _ = self.inputs.try_send(Input::Unreachable(node));
    }

    /// Blocks until the raft thread has taken the notice.
    fn stop(&self) {
        // Disconnected: it has ended already.
        let _ = self.inputs.send(Input::Stop);
    }
}

/// The running threads.
#[derive(Debug)]
pub(crate) struct Raft {
    handle: Handle,
    exports: Arc<Exports>,
    threads: Vec<JoinHandle<()>>,
    watchdog: Option<JoinHandle<()>>,
    /// The watchdog ends when this is dropped.
    watched: Notice<()>,
}

/// What is made before the threads start, because others need it.
pub(crate) struct Inbox {
    sender: Sender<Input>,
    receiver: Receiver<Input>,
}

impl Inbox {
    pub(crate) fn new(waiting: &Arc<Waiting>) -> Self {
        let (sender, receiver) = queue::bounded(INPUTS, waiting);
        Self { sender, receiver }
    }

    pub(crate) fn sender(&self) -> Sender<Input> {
        self.sender.clone()
    }
}

/// What others made before, and use too.
pub(crate) struct Parts {
    pub(crate) store: Arc<Store>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) exports: Arc<Exports>,
    /// Where the raft thread says what snapshot it needs.
    pub(crate) fetches: watch::Sender<Option<Fetch>>,
    pub(crate) patience: Patience,
    pub(crate) roster: Arc<Roster>,
    pub(crate) quarantine: Quarantine,
    pub(crate) metrics: Arc<Metrics>,
}

/// Finishes the installation of a snapshot that was cut short. Before the store is opened.
pub(crate) fn finish_install(home: &Home) -> Result<(), RaftError> {
    Ok(snapshot::finish(home, engine::EngineLog::open)?)
}

/// Opens the log in `home`, or makes it.
pub(crate) fn open_log(home: &Home) -> Result<Arc<dyn LogStore>, RaftError> {
    Ok(Arc::new(engine::EngineLog::open(&home.log())?))
}

/// What a member's duties want to know of applied entries.
pub(crate) trait Observer: Send + 'static {
    /// Datanodes were registered.
    fn nodes_changed(&mut self, nodes: Vec<namespace::row::NodeRow>);
    /// The keys of block tokens are others.
    fn keys_changed(&mut self, keys: Vec<namespace::token_key::TokenKey>);
    fn garbage_added(&mut self);
    fn locks_released(&mut self, inode: InodeId);
    /// The members are others, or listen elsewhere.
    fn regrouped(&mut self, group: &Group);
    /// Whether anybody wants to know of changes.
    fn is_watched(&self) -> bool;
    /// Whether anybody wants to know of changes of this inode.
    fn watches(&self, inode: InodeId) -> bool;
    /// What a request changed can be read by now.
    fn changed(&mut self, by: Option<SessionId>, changes: Vec<namespace::changes::Change>);
    fn replication_short(&mut self, block: BlockId);
}

impl Raft {
    /// Starts the threads around the log of `home`.
    pub(crate) fn start(
        home: &Home,
        log: Arc<dyn LogStore>,
        membership: Membership,
        parts: Parts,
        observer: impl Observer,
        failures: &Failures,
    ) -> Result<Self, RaftError> {
        let Parts { store, progress, inbox, outbox, exports, fetches, patience, roster, quarantine, metrics } = parts;
        let applied = known_group(&store, &membership)?;
        roster.changed(applied.group.clone());
        progress.applied.raise(applied.index);
        progress.persisted.raise(store.persisted()?);
        let cluster = namespace::query::cluster(&*store);
        let cluster = cluster.map_err(|error| StoreError::Rocks { action: "read", reason: error.to_string() })?;
        progress.formatted.store(cluster.is_some(), Ordering::Release);

        let (log_sender, log_receiver) = queue::bounded(writer::TASKS, &metrics.queues.log);
        let (apply_sender, apply_receiver) = queue::bounded(apply::TASKS, &metrics.queues.apply);
        let (flush_sender, flush_receiver) = crossbeam_channel::bounded(1);
        let (leadership_sender, leadership) = watch::channel(Leadership::default());
        let disk = Arc::new(Disk::default());
        let handle = Handle { inputs: inbox.sender.clone(), disk: disk.clone(), leadership };

        let driver = driver::Driver::new(
            &membership,
            &applied,
            &log,
            exports.clone(),
            driver::Channels {
                inputs: inbox.receiver,
                log: log_sender,
                apply: apply_sender,
                outbox: outbox.clone(),
                leadership: leadership_sender,
                fetches,
                roster,
                disk: disk.clone(),
                quarantine,
                metrics: metrics.clone(),
            },
            progress.clone(),
        )?;
        let (watched, running) = crossbeam_channel::bounded(0);
        let watchdog = watchdog::Watchdog { disk: disk.clone(), patience, dir: home.dir().to_owned(), running };
        let exporter = snapshot::Exporter::new(home.dir(), store.clone(), &exports)?;
        let writer = writer::Writer {
            tasks: log_receiver,
            log: log.clone(),
            outbox,
            progress: progress.clone(),
            wake: inbox.sender.clone(),
            disk: disk.clone(),
        };
        let applier = apply::Applier {
            tasks: apply_receiver,
            store: store.clone(),
            progress: progress.clone(),
            metrics,
            wake: inbox.sender,
            flush: flush_sender,
            flush_log: membership.flush_log,
            unflushed: 0,
            state: applied,
            observer: Box::new(observer),
            home: home.clone(),
            log,
            disk: disk.clone(),
        };
        let flusher = apply::Flusher { nudges: flush_receiver, store, progress, interval: membership.flush_interval };

        let watchdog = Some(failures.thread("watchdog", move || watchdog.run())?);
        let mut raft = Self { handle, exports, threads: Vec::new(), watchdog, watched };
        let started = raft.spawn(failures, driver, writer, applier, flusher, exporter);
        if let Err(error) = started {
            raft.stop();
            return Err(error.into());
        }
        Ok(raft)
    }

    fn spawn(
        &mut self,
        failures: &Failures,
        driver: driver::Driver,
        writer: writer::Writer,
        applier: apply::Applier,
        flusher: apply::Flusher,
        exporter: snapshot::Exporter,
    ) -> std::io::Result<()> {
        self.threads.push(failures.thread("snapshot thread", move || exporter.run())?);
        self.threads.push(failures.thread("flush thread", move || flusher.run())?);
        self.threads.push(failures.thread("apply thread", move || applier.run())?);
        self.threads.push(failures.thread("log thread", move || writer.run())?);
        self.threads.push(failures.thread("raft thread", move || driver.run())?);
        Ok(())
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends the threads: what was handed to the log is written, what was committed is applied and flushed.
    pub(crate) fn stop(self) {
        self.handle.stop();
        self.exports.close();
        // Each thread ends when the one before it has let go of their channel. The watchdog looks on until the last.
        for thread in self.threads.into_iter().rev() {
            // A panic has been reported as a failure already.
            let _ = thread.join();
        }
        drop(self.watched);
        let _ = self.watchdog.map(JoinHandle::join);
    }
}

/// The applied state; that of a new cluster or a new member has the members that the cluster began with.
fn known_group(store: &Store, membership: &Membership) -> Result<AppliedState, RaftError> {
    let new = || AppliedState { index: 0, term: 0, group: membership.founders.clone() };
    Ok(store.applied()?.unwrap_or_else(new))
}
