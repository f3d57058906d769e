//! The raft thread: steps the protocol, and hands out what comes of it.

mod cut;
mod snapshots;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use namespace::codec::Batch;
use namespace::command::{Command, Request};
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use raft::{Config, RawNode, ReadOnlyOption, SnapshotStatus, StateRole};
use tokio::sync::watch;
use tracing::{debug, info, warn};
use types::{ClusterId, Timestamp};

use super::apply::{ApplyTask, Committed, Waiter};
use super::log::{LogError, LogStore};
use super::reads::Reads;
use super::snapshot::{Exports, Fetch, Manifest};
use super::storage::Storage;
use super::writer::LogTask;
use super::{
    ENTRY_BYTES, ENTRY_REQUESTS, Input, Leadership, Membership, Outbox, Proposal, RaftError, Readable, Refusal, Status,
};
use crate::progress::Progress;
use crate::store::AppliedState;

/// Inputs taken in before the protocol is stepped on.
const GATHER: usize = 1024;
/// Requests in the log that are not answered yet; past it, proposals are refused as busy.
const WAITING_REQUESTS: usize = 1 << 16;
const HEARTBEAT_TICKS: usize = 2;
const ELECTION_TICKS: usize = 16;
/// Ticks between two looks at what the log may forget.
const TRUNCATE_TICKS: u64 = 100;
/// A pause of so many ticks (a stopped process, a suspended machine) counts as one.
const PAUSE_TICKS: u32 = 8;

pub(super) struct Channels {
    pub(super) inputs: Receiver<Input>,
    pub(super) log: Sender<LogTask>,
    pub(super) apply: Sender<ApplyTask>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) leadership: watch::Sender<Leadership>,
    pub(super) fetches: watch::Sender<Option<Fetch>>,
    pub(super) exports: Arc<Exports>,
}

/// A proposal in the log.
struct Waiting {
    index: u64,
    term: u64,
    waiters: Vec<Waiter>,
    requests: usize,
}

pub(super) struct Driver {
    node: RawNode<Storage>,
    channels: Channels,
    progress: Arc<Progress>,
    cluster: ClusterId,
    tick: Duration,
    ticks: u64,
    truncate_entries: u64,
    log_keep: u64,
    /// A snapshot message whose files are being pulled.
    held: Option<(Message, Manifest)>,
    /// The snapshot whose files are all there, until Raft has seen its message.
    staged: Option<Manifest>,
    proposals: Vec<Proposal>,
    waiting: VecDeque<Waiting>,
    waiting_requests: usize,
    reads: Reads,
    /// When each member was last heard. The library's own flag is cleared at every look at the quorum.
    heard: BTreeMap<u64, Instant>,
    /// The numbers of the last ready that went to the log thread, and of the last at all.
    handed: u64,
    last_ready: u64,
    /// The term that this member leads, as of the last ready.
    leading: Option<u64>,
    /// The term in which the cluster's first command was proposed.
    format_proposed: u64,
}

impl Driver {
    pub(super) fn new(
        membership: &Membership,
        applied: &AppliedState,
        log: &Arc<dyn LogStore>,
        channels: Channels,
        progress: Arc<Progress>,
    ) -> Result<Self, RaftError> {
        let mut contents = log.contents()?;
        if applied.index < contents.truncated.0 {
            return Err(RaftError::Gap { applied: applied.index, cut: contents.truncated.0 });
        }
        if contents.last < applied.index {
            return Err(RaftError::LogShort { applied: applied.index, last: contents.last });
        }
        check_entries(&**log, applied.index + 1, contents.last)?;
        // The commit index is not synced on its own, so the state may be ahead of it; the library panics on that. What
        // is applied was committed, and the log covers it, as just checked.
        contents.hard_state.commit = contents.hard_state.commit.max(applied.index);
        let storage = Storage::new(
            log.clone(),
            contents.hard_state,
            membership.voters.clone(),
            contents.truncated,
            contents.last,
            channels.exports.clone(),
        );
        let config = Config {
            id: membership.node,
            election_tick: ELECTION_TICKS,
            min_election_tick: ELECTION_TICKS,
            max_election_tick: 2 * ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied: applied.index,
            // The default of 0 would mean one entry in each message.
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            read_only_option: ReadOnlyOption::Safe,
            max_uncommitted_size: 64 << 20,
            max_committed_size_per_ready: 16 << 20,
            ..Config::default()
        };
        let library = |error: raft::Error| RaftError::Library(error.to_string());
        let mut node = RawNode::new(&config, storage, &super::logger::logger()).map_err(library)?;
        if membership.voters == [membership.node] {
            // Nobody else can win, and nothing is outstanding yet: there is no reason to wait.
            node.campaign().map_err(library)?;
        }
        Ok(Self {
            node,
            channels,
            progress,
            cluster: membership.cluster,
            tick: membership.tick,
            ticks: 0,
            truncate_entries: membership.truncate_entries,
            log_keep: membership.log_keep,
            held: None,
            staged: None,
            proposals: Vec::new(),
            waiting: VecDeque::new(),
            waiting_requests: 0,
            reads: Reads::default(),
            heard: BTreeMap::new(),
            handed: 0,
            last_ready: 0,
            leading: None,
            format_proposed: 0,
        })
    }

    pub(super) fn run(mut self) -> Result<(), String> {
        let result = self.drive();
        self.refuse_all();
        self.channels.leadership.send_replace(Leadership::default());
        result
    }

    fn drive(&mut self) -> Result<(), String> {
        let mut next_tick = Instant::now() + self.tick;
        loop {
            if !self.gather(next_tick) {
                return Ok(());
            }
            let now = Instant::now();
            if now >= next_tick {
                if now > next_tick + self.tick * PAUSE_TICKS {
                    warn!(pause = ?(now - next_tick), "the raft thread was paused");
                    next_tick = now;
                }
                next_tick += self.tick;
                self.on_tick();
            }
            self.take_progress();
            self.propose();
            self.begin_reads();
            while self.node.has_ready() {
                self.handle_ready()?;
            }
            // If Raft had no use for it, it is of none.
            self.staged = None;
            self.reads.release(self.progress.applied.get());
            self.publish();
        }
    }

    /// Takes in what has arrived, waiting until `deadline` if nothing has. False: stop.
    fn gather(&mut self, deadline: Instant) -> bool {
        let mut next = match self.channels.inputs.recv_deadline(deadline) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        let mut taken = 0;
        while let Some(input) = next {
            if !self.take(input) {
                return false;
            }
            taken += 1;
            next = if taken < GATHER { self.channels.inputs.try_recv().ok() } else { None };
        }
        true
    }

    fn take(&mut self, input: Input) -> bool {
        match input {
            Input::Messages(messages) => messages.iter().for_each(|bytes| self.step(bytes)),
            Input::Proposal(proposal) => self.proposals.push(proposal),
            Input::Read(readable) => self.read(readable),
            Input::Unreachable(node) => {
                self.node.report_unreachable(node);
                // A snapshot on its way to it may be lost. Told again of the same one, it goes on where it is.
                self.node.report_snapshot(node, SnapshotStatus::Failure);
            }
            Input::Fetched { index, term, whole } => self.fetched((index, term), whole),
            Input::Status(answer) => answer(self.status()),
            Input::Wake => {}
            Input::Transfer(to) => self.transfer(to),
            Input::Stop => return false,
        }
        true
    }

    fn step(&mut self, bytes: &[u8]) {
        let message = match Message::parse_from_bytes(bytes) {
            Ok(message) => message,
            Err(error) => {
                warn!(%error, "a raft message that cannot be read");
                return;
            }
        };
        if self.node.raft.prs().get(message.from).is_some() {
            self.heard.insert(message.from, Instant::now());
        }
        match message.get_msg_type() {
            // Invariant 2 of the module: other members do not propose or read through this one.
            MessageType::MsgPropose | MessageType::MsgReadIndex => {
                warn!(from = message.from, "a forwarded proposal or read is dropped");
            }
            MessageType::MsgSnapshot => self.take_snapshot(message),
            kind => {
                let from = message.from;
                if let Err(error) = self.node.step(message) {
                    debug!(from, ?kind, %error, "a raft message is refused");
                }
            }
        }
    }

    fn read(&mut self, readable: Readable) {
        if self.is_leader() { self.reads.add(readable) } else { readable(Err(Refusal::NotLeader)) }
    }

    fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    fn on_tick(&mut self) {
        self.ticks += 1;
        // A single voter wins as soon as it campaigns, and the library panics if entries are not durable by then.
        let alone = self.node.raft.prs().is_singleton();
        if self.is_leader() || !alone || self.progress.written.get() >= self.handed {
            self.node.tick();
        }
        if self.ticks.is_multiple_of(TRUNCATE_TICKS) {
            self.truncate();
            self.watch_snapshots();
        }
    }

    fn take_progress(&mut self) {
        let written = self.progress.written.get();
        // A ready that had nothing for the log is durable with the last one before it that had.
        let durable = if written >= self.handed { self.last_ready } else { written };
        if durable > 0 {
            self.node.on_persist_ready(durable);
        }
        // A snapshot is applied before the library knows it to be durable.
        let applied = self.progress.applied.get().min(self.node.raft.raft_log.persisted);
        if applied > self.node.raft.raft_log.applied {
            self.node.advance_apply_to(applied);
        }
        let durable = self.node.raft.raft_log.persisted.min(applied);
        self.node.mut_store().shrink(durable);
    }

    fn propose(&mut self) {
        if self.proposals.is_empty() && !self.format_due() {
            return;
        }
        let mut proposals = std::mem::take(&mut self.proposals);
        if !self.is_leader() {
            proposals.into_iter().for_each(|proposal| (proposal.answered)(Err(Refusal::NotLeader)));
            return;
        }
        if self.format_due() {
            self.format_proposed = self.node.raft.term;
            let cluster = self.cluster;
            // Who runs the namenode owns the root directory, so that somebody can begin without being uid 0.
            let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            let command = Command::Format { cluster, owner: Some(owner) };
            let request = Request { time: wall_clock(), origin: None, command, principal: None };
            info!(%cluster, "formatting the namespace");
            proposals.insert(0, Proposal { requests: vec![request], answered: Box::new(|_| {}) });
        }
        let mut batch = Batch::default();
        let mut bytes = 0;
        let mut waiters = Vec::new();
        for proposal in proposals {
            if self.waiting_requests + batch.requests.len() >= WAITING_REQUESTS {
                (proposal.answered)(Err(Refusal::Busy));
                continue;
            }
            let size = proposal.requests.iter().map(estimate).sum::<usize>();
            let requests = batch.requests.len() + proposal.requests.len();
            if !batch.requests.is_empty() && (requests > ENTRY_REQUESTS || bytes + size > ENTRY_BYTES) {
                self.propose_entry(std::mem::take(&mut batch), std::mem::take(&mut waiters));
                bytes = 0;
            }
            bytes += size;
            waiters.push(Waiter { requests: proposal.requests.len(), answered: proposal.answered });
            batch.requests.extend(proposal.requests);
        }
        if !batch.requests.is_empty() {
            self.propose_entry(batch, waiters);
        }
    }

    fn propose_entry(&mut self, batch: Batch, waiters: Vec<Waiter>) {
        let requests = batch.requests.len();
        if let Err(error) = self.node.propose(Vec::new(), batch.encode()) {
            // Dropped by the library: too much is uncommitted, or the lead is being handed over.
            debug!(%error, requests, "a proposal is refused");
            waiters.into_iter().for_each(|waiter| (waiter.answered)(Err(Refusal::Busy)));
            return;
        }
        let (index, term) = (self.node.raft.raft_log.last_index(), self.node.raft.term);
        self.waiting_requests += requests;
        self.waiting.push_back(Waiting { index, term, waiters, requests });
    }

    /// The first leader of an empty cluster makes its root.
    fn format_due(&self) -> bool {
        self.is_leader()
            && self.node.raft.apply_to_current_term()
            && !self.progress.formatted.load(Ordering::Acquire)
            && self.format_proposed != self.node.raft.term
    }

    fn begin_reads(&mut self) {
        // Before an entry of its own term is committed, a leader does not know what is; the library would drop the
        // round without a word.
        if self.is_leader()
            && self.node.raft.commit_to_current_term()
            && let Some(context) = self.reads.begin()
        {
            self.node.read_index(context);
        }
    }

    fn handle_ready(&mut self) -> Result<(), String> {
        let mut ready = self.node.ready();
        self.take_role();
        self.channels.outbox.send(ready.take_messages());
        for state in ready.take_read_states() {
            self.reads.prove(&state.request_ctx, state.index);
        }
        if !ready.snapshot().is_empty() {
            let metadata = ready.snapshot().get_metadata();
            let (index, term) = (metadata.index, metadata.term);
            self.install(index, term)?;
        }
        let committed = ready.take_committed_entries();
        if !committed.is_empty() {
            let entries = committed.into_iter().map(|entry| self.with_waiters(entry)).collect();
            self.channels.apply.send(ApplyTask::Entries(entries)).map_err(|_| "the apply thread has ended")?;
        }
        let mut messages = ready.take_persisted_messages();
        let entries = ready.take_entries();
        // The library asks for this before it is told of an advance.
        self.node.mut_store().show(&entries);
        let number = ready.number();
        let (hard_state, sync) = (ready.hs().cloned(), ready.must_sync());
        self.node.advance_append_async(ready);
        self.last_ready = number;
        if !sync {
            let idle = self.progress.written.get() >= self.handed;
            // Invariant 1 of the module. When all before is durable, nothing here waits. Else a heartbeat's answer may
            // still go: it acknowledges neither an entry nor a vote, only that no later leader has been heard of, and
            // the reads of the leader wait for it.
            let (prompt, rest) = messages
                .into_iter()
                .partition(|message| idle || message.get_msg_type() == MessageType::MsgHeartbeatResponse);
            self.channels.outbox.send(prompt);
            messages = rest;
        }
        if sync || !messages.is_empty() {
            self.handed = number;
            if !self.hand_to_log(LogTask::Write { number, entries, hard_state, sync, messages }) {
                return Err("the log thread has ended".to_owned());
            }
        }
        Ok(())
    }

    fn hand_to_log(&self, task: LogTask) -> bool {
        self.channels.log.send(task).is_ok()
    }

    /// Notices that the lead was won or lost.
    fn take_role(&mut self) {
        let leading = self.is_leader().then_some(self.node.raft.term);
        if leading == self.leading {
            return;
        }
        if self.leading.is_some() {
            self.refuse_all();
        }
        match leading {
            Some(term) => info!(term, "this member leads"),
            None => info!(term = self.node.raft.term, "this member follows"),
        }
        self.leading = leading;
    }

    /// Nothing that waits here can be answered any more.
    fn refuse_all(&mut self) {
        for proposal in std::mem::take(&mut self.proposals) {
            (proposal.answered)(Err(Refusal::NotLeader));
        }
        for waiter in std::mem::take(&mut self.waiting).into_iter().flat_map(|waiting| waiting.waiters) {
            (waiter.answered)(Err(Refusal::NotLeader));
        }
        self.waiting_requests = 0;
        self.reads.refuse();
    }

    /// Invariant 3 of the module.
    fn with_waiters(&mut self, entry: raft::eraftpb::Entry) -> Committed {
        let mut waiters = Vec::new();
        while self.waiting.front().is_some_and(|waiting| waiting.index <= entry.index) {
            let waiting = self.waiting.pop_front().expect("just seen");
            self.waiting_requests -= waiting.requests;
            if (waiting.index, waiting.term) == (entry.index, entry.term) {
                waiters = waiting.waiters;
            } else {
                waiting.waiters.into_iter().for_each(|waiter| (waiter.answered)(Err(Refusal::Unknown)));
            }
        }
        Committed { entry, waiters }
    }

    fn publish(&self) {
        let raft = &self.node.raft;
        let formatted = self.progress.formatted.load(Ordering::Acquire);
        let serving = self.is_leader() && raft.apply_to_current_term() && formatted;
        let now = Leadership { term: raft.term, leader: raft.leader_id, serving };
        self.channels.leadership.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
    }

    fn status(&self) -> Status {
        let raft = &self.node.raft;
        let leading = self.is_leader();
        let mut matched: Vec<(u64, u64)> =
            raft.prs().iter().map(|(node, progress)| (*node, if leading { progress.matched } else { 0 })).collect();
        matched.sort_unstable();
        Status {
            term: raft.term,
            leader: raft.leader_id,
            commit: raft.raft_log.committed,
            first: raft.raft_log.first_index(),
            last: raft.raft_log.last_index(),
            matched,
        }
    }

    fn transfer(&mut self, to: Option<u64>) {
        let me = self.node.raft.id;
        let patience = self.tick * ELECTION_TICKS as u32;
        let lives = |node: u64| self.heard.get(&node).is_some_and(|heard| heard.elapsed() < patience);
        let others = self.node.raft.prs().iter();
        let others = others.filter(|(node, _)| **node != me && lives(**node) && to.is_none_or(|to| **node == to));
        let best = others.max_by_key(|(_, progress)| progress.matched).map(|(node, _)| *node);
        if let Some(node) = best.filter(|_| self.is_leader()) {
            info!(node, "handing over the lead");
            self.node.transfer_leader(node);
        }
    }
}

/// Reads the entries that are to be replayed, so that damage shows before this member takes part.
fn check_entries(log: &dyn LogStore, first: u64, last: u64) -> Result<(), LogError> {
    const BYTES: u64 = 8 << 20;
    let mut next = first;
    while next <= last {
        let entries = log.entries(next, last + 1, BYTES)?;
        let found = entries.first().zip(entries.last()).map(|(first, last)| (first.index, last.index));
        match found {
            Some((first, end)) if first == next => next = end + 1,
            _ => return Err(LogError::Damaged(format!("entry {next} of {last} is missing"))),
        }
    }
    Ok(())
}

/// About how many bytes a request takes in an entry; only contents and paths are of a size that matters.
fn estimate(request: &Request) -> usize {
    const REST: usize = 160;
    let groups = request.principal.as_ref().map_or(0, |principal| 5 * principal.groups.len());
    REST + groups
        + match &request.command {
            Command::PutInline { content, destination, .. } => content.len() + destination.place.path.len(),
            Command::Mkdir { place, .. }
            | Command::Delete { place, .. }
            | Command::SetAttr { place, .. }
            | Command::SetQuota { place, .. } => place.path.len(),
            Command::Rename { from, to, .. } | Command::Exchange { first: from, second: to } => {
                from.path.len() + to.path.len()
            }
            Command::SetXattr { place, name, value, .. } => place.path.len() + name.len() + value.len(),
            Command::RemoveXattr { place, name } => place.path.len() + name.len(),
            Command::ReplicasDeleted { replicas, .. } => 32 * replicas.len(),
            _ => 0,
        }
}

/// The leader's stamp. Never compared with a clock; `apply` keeps it from running backwards.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.saturating_add(since)
}
