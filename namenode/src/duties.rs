//! What the leader does unasked: it ends silent sessions, recovers the files that their writers left open, removes for good
//! what was in the trash for its time and what is older than its directory allows, frees what was removed, has due replicas
//! deleted, and brings blocks back to their wanted copies. Beside that it goes on with the jobs that somebody asked for.
//!
//! 1. Duties are done only while this member leads, and start from nothing in each term: whatever is lost with a leader
//!    is found again from the state.
//! 2. Every change is a proposal; a duty done twice is harmless.
//! 3. No replica is deleted, and none is given up, in the first time of a term (`delete_holdoff`).
//! 4. A silent session has been silent for its whole time *with this leader*.
//! 5. A replica is damaged when its own datanode says so: what others cannot use may have been damaged on its way to them.

mod audit;
mod balance;
mod board;
mod compaction;
mod expiry;
mod inventories;
mod jobs;
mod recovery;
mod scan;
mod standing;
mod uploads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use namespace::changes::Change;
use namespace::command::{Command, DeletedReplica, Holder, Origin, Reply, Request, Where};
use namespace::inventory::Page;
use namespace::query;
use namespace::row::{BlockLocation, BlockState, NodeRow};
use namespace::token_key::TokenKey;
use tracing::{debug, error, info, warn};
use types::inventory::Bucket;
use types::token::Secret;
use types::{BlockId, ErrorKind, InodeId, NodeId, SessionId, StorageId};

use crate::datanodes::Datanodes;
use crate::effective::Effective;
use crate::locks::LockQueue;
use crate::metrics::Metrics;
use crate::quarantine::Quarantine;
use crate::queue::{self, Receiver, Sender};
use crate::raft::{Group, Handle, Observer, wall_clock};
use crate::roster::Roster;
use crate::sessions::Sessions;
use crate::settings::Settings;
use crate::store::Store;
use crate::tokens;
use crate::watches::Watches;
use crate::wire::{Delta, Replica, TaskOutcome};

pub(crate) use balance::{plan_page, weigh_page};
pub(crate) use board::{Board, CopyBudget, Verified};
pub(crate) use inventories::Inventories;
pub(crate) use jobs::JobBoard;
pub(crate) use recovery::Stuck;
pub(crate) use scan::Redundancy;
pub(crate) use standing::{Count, Duty, Standing};

/// Events that wait; more are lost, and found again by the scans.
const EVENTS: usize = 1 << 16;
/// Events taken in before the other duties have their turn.
const GATHER: usize = 512;
/// Between two rounds of duties when nothing happens.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at sessions and at due deletions.
const LOOK: Duration = Duration::from_secs(1);
/// How long a proposal of a duty may take, before the duty is tried again later.
const PROPOSAL_TIMEOUT: Duration = Duration::from_secs(10);
const SESSIONS_PAGE: usize = 1000;
/// Leases that one command ends; entries and blocks that one command frees.
const STEP: u32 = 1000;
/// Deletions handed to a storage at a time.
const DELETES: usize = 256;

/// What happens elsewhere and is a duty's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Result {
        node: NodeId,
        outcome: TaskOutcome,
    },
    Bad(Replica),
    /// Somebody who is not its datanode could not use it.
    Doubted(Replica),
    /// Something happened to a replica.
    Changed {
        location: BlockLocation,
        delta: Delta,
    },
    /// A page of the listing of a bucket.
    Listed {
        storage: StorageId,
        bucket: Bucket,
        page: Page,
    },
    Garbage,
    Short(BlockId),
    Stop,
}

pub(crate) fn channel(waiting: &Arc<telemetry::Queue>) -> (Sender<Event>, Receiver<Event>) {
    queue::bounded(EVENTS, waiting)
}

/// Passes on what the apply thread sees.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) datanodes: Arc<Datanodes>,
    pub(crate) events: Sender<Event>,
    pub(crate) locks: Arc<LockQueue>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) quarantine: Quarantine,
    pub(crate) watches: Arc<Watches>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Watch {
    fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.metrics.lost_events.inc();
        }
    }
}

impl Observer for Watch {
    fn nodes_changed(&mut self, nodes: Vec<NodeRow>) {
        self.datanodes.load(nodes);
    }

    fn keys_changed(&mut self, keys: Vec<TokenKey>) {
        self.datanodes.tokens.load(keys);
    }

    fn is_watched(&self) -> bool {
        self.watches.any()
    }

    fn watches(&self, inode: InodeId) -> bool {
        self.watches.has(inode)
    }

    fn changed(&mut self, by: Option<SessionId>, changes: Vec<Change>) {
        self.watches.changed(by, changes);
    }

    fn locks_released(&mut self, inode: InodeId) {
        self.locks.released(inode);
    }

    fn garbage_added(&mut self) {
        // A hint: the scans find what is lost.
        self.tell(Event::Garbage);
    }

    fn regrouped(&mut self, group: &Group) {
        self.roster.changed(group.clone());
        let own = self.roster.own().node;
        if group.removed.contains(&own) {
            self.quarantine.enter(&format!("node {own} was removed from the cluster"));
        }
    }

    fn replication_short(&mut self, block: BlockId) {
        self.tell(Event::Short(block));
    }
}

/// The thread.
pub(crate) struct Duties {
    pub(crate) events: Receiver<Event>,
    pub(crate) raft: Handle,
    pub(crate) store: Arc<Store>,
    pub(crate) datanodes: Arc<Datanodes>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) board: Arc<Board>,
    pub(crate) inventories: Arc<Inventories>,
    pub(crate) redundancy: Arc<Redundancy>,
    pub(crate) jobs: Arc<JobBoard>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) stuck: Arc<Stuck>,
    pub(crate) settings: Settings,
    /// The same with the policies of the cluster.
    pub(crate) effective: Arc<Effective>,
}

/// What belongs to one term.
struct Term {
    term: u64,
    since: Instant,
    garbage: bool,
    /// Items of the trash whose time is over are left.
    expiring: bool,
    ageing: expiry::Ageing,
    look_due: Instant,
    scan: scan::Scan,
    uploads: uploads::Uploads,
    audit: audit::Audit,
    recoveries: recovery::Recoveries,
    compaction: compaction::Compaction,
    jobs: jobs::Jobs,
}

/// What is to be proposed from the events of one round.
#[derive(Default)]
struct Gathered {
    commands: Vec<Command>,
    deleted: BTreeMap<StorageId, Vec<DeletedReplica>>,
    short: BTreeSet<BlockId>,
    recovered: Vec<recovery::Result>,
    made: Vec<compaction::Gathered>,
    moved: Vec<balance::Made>,
    garbage: bool,
    told: audit::Told,
    doubted: Vec<Replica>,
}

impl Term {
    /// Whether something is to be gone on with at once.
    fn is_busy(&self) -> bool {
        self.garbage
            || self.expiring
            || self.ageing.running()
            || self.scan.running()
            || self.audit.running()
            || self.compaction.running()
            || self.jobs.balance.running()
    }
}

impl Duties {
    pub(crate) fn run(self) -> Result<(), String> {
        let mut term: Option<Term> = None;
        loop {
            let mut gathered = Gathered::default();
            let busy = term.as_ref().is_some_and(Term::is_busy) && !self.board.is_held();
            if !self.gather(if busy { Duration::ZERO } else { PAUSE }, &mut gathered) {
                return Ok(());
            }
            let leadership = self.raft.leadership();
            if !leadership.serving {
                if term.take().is_some() {
                    self.board.clear();
                    self.inventories.clear();
                    self.redundancy.clear();
                    self.jobs.clear();
                    self.standing.clear();
                    self.stuck.clear();
                }
                continue;
            }
            if term.as_ref().is_none_or(|term| term.term != leadership.term) {
                term = Some(self.begin(leadership.term));
            }
            let term = term.as_mut().expect("just begun");
            term.garbage |= gathered.garbage;
            self.round(term, gathered).map_err(|error| error.to_string())?;
        }
    }

    fn begin(&self, term: u64) -> Term {
        info!(term, "the leader's duties begin");
        self.board.clear();
        self.inventories.clear();
        self.redundancy.clear();
        self.jobs.clear();
        self.standing.begin();
        self.stuck.clear();
        self.sessions.forget_all();
        let now = Instant::now();
        Term {
            term,
            since: now,
            garbage: true,
            expiring: false,
            ageing: expiry::Ageing::new(now),
            look_due: now,
            scan: scan::Scan::new(now),
            uploads: uploads::Uploads::new(now),
            audit: audit::Audit::new(now, self.settings.digest_interval),
            recoveries: recovery::Recoveries::default(),
            compaction: compaction::Compaction::new(now, self.settings.compaction_interval),
            jobs: jobs::Jobs::default(),
        }
    }

    /// Takes in what has happened, waiting for at most `pause`. False: stop.
    fn gather(&self, pause: Duration, gathered: &mut Gathered) -> bool {
        let mut next = match self.events.recv_timeout(pause) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        let mut taken = 0;
        while let Some(event) = next {
            match event {
                Event::Stop => return false,
                Event::Garbage => gathered.garbage = true,
                Event::Short(block) => drop(gathered.short.insert(block)),
                Event::Bad(Replica { storage, block, generation }) => {
                    warn!(%block, %storage, "a replica is damaged");
                    gathered.commands.push(Command::ReportBadReplica { block, generation, storage });
                }
                Event::Doubted(replica) => gathered.doubted.push(replica),
                Event::Changed { location, delta } => {
                    if let Delta::Bad { block, generation } = delta {
                        let storage = location.storage;
                        warn!(%block, %storage, "a replica is damaged");
                        gathered.commands.push(Command::ReportBadReplica { block, generation, storage });
                    }
                    gathered.told.changes.push((location, delta));
                }
                Event::Listed { storage, bucket, page } => gathered.told.pages.push(((storage, bucket), page)),
                Event::Result { node, outcome } => self.result(node, outcome, gathered),
            }
            taken += 1;
            next = if taken < GATHER { self.events.try_recv().ok() } else { None };
        }
        true
    }

    fn result(&self, node: NodeId, outcome: TaskOutcome, gathered: &mut Gathered) {
        match outcome {
            TaskOutcome::Deleted { replica, due, error: None } => {
                let Replica { storage, block, generation } = replica;
                gathered.deleted.entry(storage).or_default().push(DeletedReplica { due, block, generation });
            }
            TaskOutcome::Deleted { replica, error: Some(error), .. } => {
                // Handed out again when its time has passed.
                self.metrics.task_failed("delete");
                warn!(%node, block = %replica.block, error, "a replica was not deleted");
            }
            TaskOutcome::Checked { replica: Replica { storage, block, generation }, error } => {
                self.board.checked(storage, block, generation, error);
                if let Some(code) = error.filter(|code| matches!(code.kind(), ErrorKind::Corrupt | ErrorKind::NotFound))
                {
                    warn!(%node, %block, %storage, %code, "a replica is lost");
                    gathered.commands.push(Command::ReportBadReplica { block, generation, storage });
                }
            }
            TaskOutcome::Scrubs { pass } => self.board.scrubs(node, pass),
            TaskOutcome::Offered { replica, offered } => {
                gathered.recovered.push(recovery::Result { replica, done: offered.map(recovery::Done::Offered) });
            }
            TaskOutcome::Ended { replica, length, error } => {
                let done = error.map_or(Ok(recovery::Done::Ended(length)), Err);
                gathered.recovered.push(recovery::Result { replica, done });
            }
            TaskOutcome::Gathered { replica: Replica { storage, block, .. }, made, bad } => {
                for source in &bad {
                    warn!(block = %source.block, storage = %source.storage, "a join could not use its source");
                }
                gathered.doubted.extend(bad);
                gathered.made.push(compaction::Gathered { block, storage, made });
            }
            TaskOutcome::Copied { replica, error, bad_sources, instead_of } => {
                let Replica { storage, block, generation } = replica;
                self.board.copied(block);
                for source in bad_sources {
                    warn!(%block, storage = %source, "a copy could not use its source");
                    gathered.doubted.push(Replica { storage: source, block, generation });
                }
                let location = BlockLocation { node, storage };
                match (error, instead_of) {
                    (None, Some(source)) => {
                        debug!(%node, %block, "a copy was made in place of another");
                        gathered.moved.push(balance::Made { block, generation, source, target: location });
                    }
                    (None, None) => {
                        info!(%node, %block, "a copy was made");
                        self.standing.done(Duty::Repair, 1);
                        gathered.commands.push(Command::AddReplica { block, generation, location });
                    }
                    (Some(error), _) => {
                        self.metrics.task_failed("copy");
                        warn!(%node, %block, error, "a copy failed; it is planned again");
                        self.standing.failed(Duty::Repair);
                    }
                }
            }
        }
    }

    fn round(&self, term: &mut Term, gathered: Gathered) -> Result<(), namespace::view::ViewError> {
        let safe = self.effective.is_safe();
        self.board.hold(safe);
        for replica in gathered.doubted {
            self.doubt(&replica)?;
        }
        let mut commands = gathered.commands;
        for (storage, replicas) in gathered.deleted {
            commands.push(Command::ReplicasDeleted { storage, replicas });
        }
        for (command, outcome) in commands.iter().zip(self.propose(commands.clone())) {
            if let Command::ReplicasDeleted { storage, replicas } = command
                && outcome.is_ok()
            {
                self.board.deleted(*storage, replicas);
                self.standing.done(Duty::Deletion, replicas.len());
            }
            if let Err(error) = outcome {
                debug!(%error, "a duty's command is refused");
            }
        }
        if Instant::now() >= term.look_due {
            term.look_due = Instant::now() + LOOK;
            // Hints may be lost, and steps refused: what is left is found here.
            term.garbage |= query::garbage_pending(&self.store.state().snapshot())?;
            term.expiring |= self.trash_is_due()?;
            self.renew_token_keys();
            if !safe {
                self.expire_sessions()?;
                self.look_for_recoveries(&mut term.recoveries)?;
                self.expire_uploads(&mut term.uploads)?;
            }
            self.look_at_jobs(&mut term.jobs)?;
            self.standing.left(Duty::Repair, self.board.copies());
            if self.may_delete(term) {
                self.offer_deletions()?;
            }
        }
        if !safe {
            self.recover(&mut term.recoveries, gathered.recovered);
            self.compact(&mut term.compaction, gathered.made)?;
            self.age(&mut term.ageing)?;
            if term.expiring {
                term.expiring = self.expire_trash();
            }
            if term.garbage {
                term.garbage = self.free_garbage()?;
            }
        }
        let may_delete = self.may_delete(term);
        self.finish_moves(&mut term.jobs.balance, gathered.moved, may_delete)?;
        self.balance(&mut term.jobs.balance, may_delete)?;
        self.audit(&mut term.audit, gathered.told, may_delete)?;
        self.scan(&mut term.scan, &gathered.short, may_delete)
    }

    /// Invariant 5.
    fn doubt(&self, replica: &Replica) -> Result<(), namespace::view::ViewError> {
        let Replica { storage, block, generation } = *replica;
        let Some(row) = query::block(&self.store.state().snapshot(), block)? else { return Ok(()) };
        let location = row.replicas.iter().find(|location| location.storage == storage);
        if let Some(location) = location.filter(|_| row.state == BlockState::Committed && row.generation == generation)
        {
            info!(%block, %storage, "a replica could not be used; its datanode is to look at it");
            self.board.check(*location, block, generation, row.length);
        }
        Ok(())
    }

    /// Invariant 3; and nothing is deleted in safe mode.
    fn may_delete(&self, term: &Term) -> bool {
        !self.board.is_held() && term.since.elapsed() >= self.settings.delete_holdoff
    }

    /// Proposes commands and waits for their answers; empty when they were refused or took too long.
    fn propose(&self, commands: Vec<Command>) -> Vec<Result<Reply, namespace::Error>> {
        self.propose_of(None, commands)
    }

    fn propose_of(&self, origin: Option<Origin>, commands: Vec<Command>) -> Vec<Result<Reply, namespace::Error>> {
        if commands.is_empty() {
            return Vec::new();
        }
        let (sender, receiver) = bounded(1);
        let time = wall_clock();
        let requests = commands.into_iter().map(|command| Request { time, origin, command, principal: None }).collect();
        self.raft.propose(requests, Box::new(move |result| drop(sender.send(result))));
        match receiver.recv_timeout(PROPOSAL_TIMEOUT) {
            Ok(Ok(answers)) => answers.outcomes,
            Ok(Err(refusal)) => {
                self.metrics.refused_duties.inc();
                debug!(?refusal, "a duty's proposal is refused");
                Vec::new()
            }
            Err(error) => {
                self.metrics.refused_duties.inc();
                warn!(%error, "a duty's proposal got no answer");
                Vec::new()
            }
        }
    }

    /// Adds a key of block tokens when the newest is old, or when there is none.
    fn renew_token_keys(&self) {
        let Some(tokens::Due { after, unused_since }) = self.datanodes.tokens.due(wall_clock()) else { return };
        let mut secret = [0; 32];
        if let Err(error) = getrandom::fill(&mut secret) {
            return error!(%error, "no key of block tokens can be made: the system gives no random bytes");
        }
        let secret = Secret::from_bytes(secret);
        for outcome in self.propose(vec![Command::AddTokenKey { secret, after, unused_since }]) {
            match outcome {
                Ok(_) => info!(after, "a key of block tokens is added"),
                Err(error) => debug!(%error, "no key of block tokens is added"),
            }
        }
    }

    /// Invariant 4.
    fn expire_sessions(&self) -> Result<(), namespace::view::ViewError> {
        let held = self.store.state();
        let state = held.snapshot();
        let mut existing = Vec::new();
        let mut silent = Vec::new();
        let mut overdue = Vec::new();
        loop {
            let page = query::sessions(&state, existing.last().copied(), SESSIONS_PAGE)?;
            silent.extend(self.sessions.silent(&page, self.settings.session_timeout));
            overdue.extend(self.sessions.silent(&page, self.settings.lease_hard_limit));
            existing.extend_from_slice(&page);
            if page.len() < SESSIONS_PAGE {
                break;
            }
        }
        overdue.retain(|session| !silent.contains(session));
        let mut leases = Vec::new();
        for session in overdue {
            let files = query::open_files(&state, session, None, STEP as usize)?;
            leases.extend(files.into_iter().map(|inode| (session, inode)));
        }
        drop(state);
        drop(held);
        self.sessions.retain(&existing);
        self.end_leases(leases);
        // What does not fit one proposal is still silent at the next look.
        silent.truncate(GATHER);
        let commands: Vec<Command> = silent
            .into_iter()
            .map(|session| {
                info!(%session, "a silent session ends");
                Command::ExpireSession { session, limit: STEP }
            })
            .collect();
        for outcome in self.propose(commands) {
            if let Err(error) = outcome {
                debug!(%error, "a session does not end");
            }
        }
        Ok(())
    }

    /// Takes files from sessions whose hard limit has passed. Those without a name go with the session.
    fn end_leases(&self, mut leases: Vec<(SessionId, InodeId)>) {
        leases.truncate(GATHER);
        let soft_limit = wall_clock();
        let end = |(session, inode)| Command::RecoverLease {
            place: Where { base: inode, path: Vec::new() },
            force: false,
            holder: Some(Holder { session, soft_limit }),
        };
        for outcome in self.propose(leases.into_iter().map(end).collect()) {
            match outcome {
                Ok(_) => info!("the hard limit of a lease has passed"),
                Err(error) => debug!(%error, "a lease does not end"),
            }
        }
    }

    /// Frees one step of what was removed. True: there is more. A step that is refused is tried again at the next look.
    fn free_garbage(&self) -> Result<bool, namespace::view::ViewError> {
        if !query::garbage_pending(&self.store.state().snapshot())? {
            return Ok(false);
        }
        let grace_nanos = u64::try_from(self.effective.now().delete_grace.as_nanos()).unwrap_or(u64::MAX);
        match self.propose(vec![Command::GcStep { limit: STEP, grace_nanos }]).first() {
            Some(Ok(Reply::Step { more })) => {
                self.standing.done(Duty::Garbage, 1);
                self.standing.left(Duty::Garbage, usize::from(*more));
                Ok(*more)
            }
            _ => Ok(false),
        }
    }

    fn offer_deletions(&self) -> Result<(), namespace::view::ViewError> {
        let now = wall_clock();
        for location in self.datanodes.live_storages() {
            let room = self.board.deletion_room(location.storage, DELETES);
            if room == 0 {
                continue;
            }
            let due = query::due_deletes(&self.store.state().snapshot(), location.storage, now, DELETES)?;
            self.board.offer_deletions(location, &due, room);
        }
        Ok(())
    }
}
