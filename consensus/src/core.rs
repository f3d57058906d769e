//! The protocol of one member, stepped by inputs.

mod changes;
mod cut;
mod hand_over;
mod proposals;
mod reading;
mod snapshots;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use raft::eraftpb::{EntryType, Message, MessageType};
use raft::{Config, RawNode, ReadOnlyOption, Ready, SnapshotStatus, StateRole};
use tracing::{debug, info, warn};

use crate::dice;
use crate::execute::Committed;
use crate::lease::Lease;
use crate::log::{LogError, LogStore};
use crate::manifest::{AppliedState, Manifest};
use crate::reads::Reads;
use crate::storage::{Snapshots, Storage};
use crate::write::Write;
use crate::{Leadership, Proposal, Refusal, Status};

use hand_over::HandOver;
use proposals::Waiting;
use reading::Asking;

const HEARTBEAT_TICKS: usize = 2;
pub(crate) const ELECTION_TICKS: usize = 16;
/// What the library writes into the request for a vote of a member that was told to take over.
const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";
/// Ticks between two looks at what the log may forget.
const TRUNCATE_TICKS: u64 = 100;
/// Ticks between two looks at who may get a vote.
const CHANGE_TICKS: u64 = 4;
/// A pause of so many ticks (a stopped process, a suspended machine) counts as one.
pub(crate) const PAUSE_TICKS: u32 = 8;

/// What a member needs to take part.
#[derive(Debug, Clone)]
pub struct Settings {
    pub node: u64,
    pub tick: Duration,
    /// Fewer entries are not worth cutting off the log.
    pub truncate_entries: u64,
    /// Bytes of log for members that are away.
    pub log_keep: u64,
    /// For the election timeouts. Members of one cluster must differ in it.
    pub seed: u64,
}

/// How far the stages around the core have come. No number ever gets less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progressed {
    /// The last [`Write::number`] that is durable.
    pub written: u64,
    /// The last log index in the state.
    pub applied: u64,
    /// The last log index in the state on disk.
    pub persisted: u64,
    /// What the leader said of how far logs may be cut.
    pub truncatable: u64,
    /// The namespace has been formatted, as of `applied`.
    pub formatted: bool,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Output<P, R> {
    /// They leave now.
    Send(Vec<Message>),
    /// Append what is to be synced, sync, tell the number as `written`, and then let the messages leave (invariant 1).
    Write(Write),
    /// Forget the front of the log, after the writes before.
    Truncate {
        index: u64,
        term: u64,
    },
    /// Execute these, tell the index as `applied`, and then answer.
    Apply(Vec<Committed<P>>),
    /// Pull this snapshot from a member, then tell by [`Core::fetched`].
    Fetch {
        from: u64,
        manifest: Manifest,
    },
    /// Put the snapshot that was pulled in the place of state and log, after all that was put out before; tell its index
    /// as `applied` and `persisted`, and call [`Core::installed`]. Nothing else comes out before.
    Install(Manifest),
    /// The leader counts on more of the log than there is: entries that were acknowledged are lost. The member must stop,
    /// and never take part again.
    Lost {
        last: u64,
        acknowledged: u64,
    },
    /// All members may cut their logs up to here.
    Truncatable(u64),
    Refused(P, Refusal),
    /// The state may be read, at least as of this index.
    Readable(R, u64),
    ReadRefused(R, Refusal),
}

/// Why a member does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the state is at log index {applied} and the log begins after {cut}: one of them is from another time")]
    Gap { applied: u64, cut: u64 },
    #[error("the state is at log index {applied} and the log ends at {last}: acknowledged entries are lost")]
    LogShort { applied: u64, last: u64 },
    #[error("the raft library: {0}")]
    Library(String),
}

/// One member. `P` and `R` stand for who waits for a proposal and for a read.
pub struct Core<P, R> {
    node: RawNode<Storage>,
    settings: Settings,
    now: Duration,
    next_tick: Duration,
    ticks: u64,
    known: Progressed,
    /// A snapshot message whose files are being pulled.
    held: Option<(Message, Manifest)>,
    /// The snapshot whose files are all there, until Raft has seen its message.
    staged: Option<Manifest>,
    /// A ready that goes on when its snapshot is installed.
    installing: Option<(Ready, Manifest)>,
    proposals: Vec<Proposal<P>>,
    waiting: VecDeque<Waiting<P>>,
    waiting_requests: usize,
    reads: Reads<R>,
    asking: Option<Asking>,
    lease: Lease,
    /// From then on this member votes.
    votes_from: Duration,
    /// When each member was last heard. The library's own flag is cleared at every look at the quorum.
    heard: BTreeMap<u64, Duration>,
    /// The numbers of the last ready that went to the log, and of the last at all.
    handed: u64,
    last_ready: u64,
    /// The term that this member leads, as of the last ready.
    leading: Option<u64>,
    /// The term in which the cluster's first command was proposed.
    format_proposed: u64,
    /// The disk does not finish a write.
    stalled: bool,
    handing_over: Option<HandOver>,
    outputs: Vec<Output<P, R>>,
}

impl<P, R> std::fmt::Debug for Core<P, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("settings", &self.settings).field("known", &self.known).finish_non_exhaustive()
    }
}

impl<P, R> Core<P, R> {
    /// Goes on from a log and a state at `applied`. `now` is of any clock that never runs backwards.
    pub fn new(
        settings: Settings,
        now: Duration,
        applied: &AppliedState,
        log: &Arc<dyn LogStore>,
        snapshots: Arc<dyn Snapshots>,
    ) -> Result<Self, StartError> {
        let mut contents = log.contents()?;
        if applied.index < contents.truncated.0 {
            return Err(StartError::Gap { applied: applied.index, cut: contents.truncated.0 });
        }
        if contents.last < applied.index {
            return Err(StartError::LogShort { applied: applied.index, last: contents.last });
        }
        check_entries(&**log, applied.index + 1, contents.last)?;
        // The commit index is not synced on its own, so the state may be ahead of it; the library panics on that. What
        // is applied was committed, and the log covers it, as just checked.
        contents.hard_state.commit = contents.hard_state.commit.max(applied.index);
        let storage = Storage::new(
            log.clone(),
            contents.hard_state,
            applied.group.clone(),
            contents.truncated,
            contents.last,
            snapshots,
        );
        let library = |error: raft::Error| StartError::Library(error.to_string());
        let config = config(settings.node, applied.index);
        let mut node = RawNode::new(&config, storage, &crate::logger::logger()).map_err(library)?;
        if applied.group.voters == [settings.node] && applied.group.outgoing.is_empty() {
            // Nobody else can win, and nothing is outstanding yet: there is no reason to wait.
            node.campaign().map_err(library)?;
        }
        let votes_from = now + settings.tick * ELECTION_TICKS as u32;
        Ok(Self {
            node,
            now,
            next_tick: now + settings.tick,
            reads: Reads::new(settings.node, settings.seed),
            asking: None,
            settings,
            ticks: 0,
            known: Progressed::default(),
            held: None,
            staged: None,
            installing: None,
            proposals: Vec::new(),
            waiting: VecDeque::new(),
            waiting_requests: 0,
            lease: Lease::default(),
            votes_from,
            heard: BTreeMap::new(),
            handed: 0,
            last_ready: 0,
            leading: None,
            format_proposed: 0,
            stalled: false,
            handing_over: None,
            outputs: Vec::new(),
        })
    }

    /// When [`advance`](Self::advance) is to be called, if nothing happens before.
    pub const fn deadline(&self) -> Duration {
        self.next_tick
    }

    /// Moves what is to be done to the end of `outputs`.
    pub fn take_outputs(&mut self, outputs: &mut Vec<Output<P, R>>) {
        outputs.append(&mut self.outputs);
    }

    /// Lets the protocol go on after inputs, or because time has passed. `persisted_by` tells what each member last said
    /// of how far its state on disk is; 0 when it said nothing.
    pub fn advance(&mut self, now: Duration, progressed: Progressed, persisted_by: impl Fn(u64) -> u64) {
        self.now = now;
        self.known = progressed;
        if now >= self.next_tick {
            if now > self.next_tick + self.settings.tick * PAUSE_TICKS {
                warn!(pause = ?(now - self.next_tick), "the member was paused");
                self.next_tick = now;
            }
            self.next_tick += self.settings.tick;
            self.on_tick(persisted_by);
        }
        self.take_progress();
        self.propose();
        self.begin_reads();
        self.handle_readies();
    }

    fn handle_readies(&mut self) {
        while self.installing.is_none() && self.node.has_ready() {
            self.handle_ready();
        }
        if self.installing.is_none() {
            // If Raft had no use for it, it is of none.
            self.staged = None;
            while let Some(reads) = self.reads.release(self.known.applied) {
                let applied = self.known.applied;
                self.outputs.extend(reads.into_iter().map(|ticket| Output::Readable(ticket, applied)));
            }
        }
    }

    /// Takes in a message of another member.
    pub fn step(&mut self, now: Duration, message: Message) {
        if self.node.raft.prs().get(message.from).is_some() {
            self.heard.insert(message.from, now);
        }
        match message.get_msg_type() {
            // Invariant 2: other members do not propose through this one.
            MessageType::MsgPropose => warn!(from = message.from, "a forwarded proposal is dropped"),
            MessageType::MsgReadIndex => self.asked(&message),
            MessageType::MsgReadIndexResp => self.told(&message),
            MessageType::MsgSnapshot => self.take_snapshot(message),
            MessageType::MsgTimeoutNow if self.settles() => debug!("it takes no lead before its snapshot is durable"),
            // It may have heard of a leader just before it stopped, and that one may count on it (see `lease`). A leader
            // that hands over counts on nothing.
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
                if now < self.votes_from && message.context.as_ref() != CAMPAIGN_TRANSFER =>
            {
                debug!(from = message.from, "too early after the start to vote");
            }
            MessageType::MsgHeartbeat if self.is_behind(&message) => {
                let (last, acknowledged) = (self.node.raft.raft_log.last_index(), message.commit);
                self.outputs.push(Output::Lost { last, acknowledged });
            }
            MessageType::MsgTimeoutNow if self.stalled => {
                info!(from = message.from, "the lead is not taken over: the disk has stalled");
            }
            kind => {
                let from = message.from;
                if let Err(error) = self.node.step(message) {
                    debug!(from, ?kind, %error, "a raft message is refused");
                }
            }
        }
    }

    /// A leader counts on no more of this member's log than it has acknowledged in the same term. With less, entries are
    /// lost; the library panics on that.
    fn is_behind(&self, heartbeat: &Message) -> bool {
        let raft = &self.node.raft;
        heartbeat.term >= raft.term && heartbeat.commit > raft.raft_log.last_index()
    }

    /// Messages to this member are being lost.
    pub fn unreachable(&mut self, node: u64) {
        self.node.report_unreachable(node);
        // A snapshot on its way to it may be lost. Told again of the same one, it goes on where it is.
        self.node.report_snapshot(node, SnapshotStatus::Failure);
    }

    /// Tells whether the disk of this member has stalled. Such a member gives the lead away, and does not ask for it.
    pub fn stalled(&mut self, now: Duration, stalled: bool) {
        self.stalled = stalled;
        if stalled && self.is_leader() && self.handing_over.is_none() {
            self.transfer(now, None);
        }
    }

    fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// A snapshot is in the place of the log, and the library does not know it to be durable yet. Until then it counts as
    /// applied what was so before, and panics when it looks at what follows, as it does to campaign.
    fn settles(&self) -> bool {
        self.node.raft.raft_log.applied < self.node.store().truncated()
    }

    fn on_tick(&mut self, persisted_by: impl Fn(u64) -> u64) {
        self.ticks += 1;
        // Invariant 7. The library draws a timeout with every change of its role; only a tick looks at it.
        let timeout = match self.stalled {
            false => dice::election_timeout(self.settings.seed, self.node.raft.term, ELECTION_TICKS),
            true => 2 * ELECTION_TICKS - 1,
        };
        self.node.raft.set_randomized_election_timeout(timeout);
        // A single voter wins as soon as it campaigns, and the library panics if entries are not durable by then.
        let alone = self.node.raft.prs().is_singleton();
        let durable = !alone || self.known.written >= self.handed;
        // One whose disk has stalled could not vote for itself. Its time stops short of campaigning, and not before: until
        // some of it has passed, it would refuse its vote to others.
        let campaigns = self.stalled && self.node.raft.election_elapsed + 1 >= timeout;
        if self.is_leader() || (durable && !campaigns && !self.settles()) {
            self.node.tick();
        }
        self.go_on_handing_over();
        if self.ticks.is_multiple_of(CHANGE_TICKS) {
            self.promote();
        }
        if self.ticks.is_multiple_of(TRUNCATE_TICKS) {
            self.truncate(persisted_by, self.settings.truncate_entries);
            self.watch_snapshots();
        }
    }

    fn take_progress(&mut self) {
        let written = self.known.written;
        // A ready that had nothing for the log is durable with the last one before it that had.
        let durable = if written >= self.handed { self.last_ready } else { written };
        if durable > 0 {
            self.node.on_persist_ready(durable);
        }
        // A snapshot is applied before the library knows it to be durable.
        let applied = self.known.applied.min(self.node.raft.raft_log.persisted);
        if applied > self.node.raft.raft_log.applied {
            self.node.advance_apply_to(applied);
        }
        let durable = self.node.raft.raft_log.persisted.min(applied);
        self.node.mut_store().shrink(durable);
    }

    fn handle_ready(&mut self) {
        let mut ready = self.node.ready();
        self.take_role();
        self.send(ready.take_messages());
        for state in ready.take_read_states() {
            self.lead_proven(&state.request_ctx, state.index);
        }
        if ready.snapshot().is_empty() { self.take_ready(ready) } else { self.install(ready) }
    }

    /// What is left of a ready when its snapshot, if it had one, is installed.
    fn take_ready(&mut self, mut ready: Ready) {
        let committed = ready.take_committed_entries();
        if !committed.is_empty() {
            let entries = committed.into_iter().map(|entry| self.give_out(entry)).collect();
            self.outputs.push(Output::Apply(entries));
        }
        let mut messages = ready.take_persisted_messages();
        let entries = ready.take_entries();
        // The library asks for this before it is told of an advance.
        self.node.mut_store().show(&entries);
        let number = ready.number();
        let (mut hard_state, sync) = (ready.hs().cloned(), ready.must_sync());
        if entries.iter().any(|entry| entry.get_entry_type() != EntryType::EntryNormal) {
            // Invariant 9. The change before it is committed by now, here too; the library has that synced with nothing.
            hard_state = Some(self.node.raft.hard_state());
        }
        self.node.advance_append_async(ready);
        self.last_ready = number;
        if !sync {
            let idle = self.known.written >= self.handed;
            // Invariant 1. When all before is durable, nothing here waits. Else a heartbeat's answer may still go: it
            // acknowledges neither an entry nor a vote, only that no later leader has been heard of, and the reads of
            // the leader wait for it.
            let (prompt, rest) = messages
                .into_iter()
                .partition(|message| idle || message.get_msg_type() == MessageType::MsgHeartbeatResponse);
            self.send(prompt);
            messages = rest;
        }
        if sync || !messages.is_empty() {
            self.handed = number;
            self.outputs.push(Output::Write(Write { number, entries, hard_state, sync, messages }));
        }
    }

    fn send(&mut self, messages: Vec<Message>) {
        if !messages.is_empty() {
            self.outputs.push(Output::Send(messages));
        }
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
        self.lease.end();
        match leading {
            Some(term) => {
                // What it asked its predecessor for, it proves itself.
                self.reads.give_up_round();
                info!(term, "this member leads");
            }
            None => info!(term = self.node.raft.term, "this member follows"),
        }
        self.leading = leading;
    }

    /// Refuses all that waits: the lead is lost, or the member stops.
    pub fn refuse_all(&mut self) {
        self.refuse_proposals();
        self.refuse_reads();
    }

    /// Until when this member answers reads without asking others, if it does. No two members ever do at once.
    pub fn lease(&self) -> Option<Duration> {
        self.lease.until().filter(|_| self.is_leader())
    }

    /// Who leads, as of the last [`advance`](Self::advance).
    pub fn leadership(&self) -> Leadership {
        let raft = &self.node.raft;
        let serving = self.is_leader() && raft.apply_to_current_term() && self.known.formatted;
        Leadership { term: raft.term, leader: raft.leader_id, serving }
    }

    pub fn status(&self) -> Status {
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
            group: self.node.store().group().clone(),
        }
    }

    /// Whether a member was heard lately.
    fn lives(&self, now: Duration, node: u64) -> bool {
        self.heard_within(now, node, ELECTION_TICKS as u32)
    }

    fn heard_within(&self, now: Duration, node: u64, ticks: u32) -> bool {
        let patience = self.settings.tick * ticks;
        node == self.settings.node || self.heard.get(&node).is_some_and(|heard| now.saturating_sub(*heard) < patience)
    }
}

fn config(node: u64, applied: u64) -> Config {
    Config {
        id: node,
        election_tick: ELECTION_TICKS,
        min_election_tick: ELECTION_TICKS,
        max_election_tick: 2 * ELECTION_TICKS,
        heartbeat_tick: HEARTBEAT_TICKS,
        applied,
        // The default of 0 would mean one entry in each message.
        max_size_per_msg: 1 << 20,
        max_inflight_msgs: 256,
        check_quorum: true,
        pre_vote: true,
        // It would save messages, and mixes up entries: see the test `entries_sent_again_do_not_pass_for_later_ones`.
        batch_append: false,
        read_only_option: ReadOnlyOption::Safe,
        max_uncommitted_size: 64 << 20,
        max_committed_size_per_ready: 16 << 20,
        ..Config::default()
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
