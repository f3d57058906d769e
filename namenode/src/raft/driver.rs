//! The raft thread: feeds the core, and hands what comes of it to the other threads.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use consensus::{AppliedState, Change, Core, LogStore, Manifest, Output, Progressed, Proposal};
use crossbeam_channel::RecvTimeoutError;
use namespace::command::{Command, Request};
use protobuf::Message as _;
use raft::eraftpb::Message;
use tokio::sync::watch;
use tracing::{info, warn};
use types::{ClusterId, Timestamp};

use super::apply::ApplyTask;
use super::snapshot::{Exports, Fetch};
use super::watchdog::Disk;
use super::writer::LogTask;
use super::{Answered, ChangeFailure, Changed, Input, Leadership, Membership, Outbox, RaftError, Readable};
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::quarantine::Quarantine;
use crate::queue::{Receiver, Sender};
use crate::roster::Roster;

/// Between two looks at whether members listen elsewhere than is recorded.
const RECORD: Duration = Duration::from_millis(250);
/// Inputs taken in before the protocol is stepped on.
const GATHER: usize = 1024;

pub(super) struct Channels {
    pub(super) inputs: Receiver<Input>,
    pub(super) log: Sender<LogTask>,
    pub(super) apply: Sender<ApplyTask>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) leadership: watch::Sender<Leadership>,
    pub(super) fetches: watch::Sender<Option<Fetch>>,
    pub(super) roster: Arc<Roster>,
    pub(super) disk: Arc<Disk>,
    pub(super) quarantine: Quarantine,
    pub(super) metrics: Arc<Metrics>,
}

pub(super) struct Driver {
    core: Core<Answered, Readable>,
    channels: Channels,
    progress: Arc<Progress>,
    cluster: ClusterId,
    clock: Clock,
    next_record: Duration,
    /// Empty between two turns; kept for its memory.
    outputs: Vec<Output<Answered, Readable>>,
}

/// The time of the core.
struct Clock {
    started: Duration,
}

impl Clock {
    fn start() -> Self {
        Self { started: boot_time() }
    }

    fn now(&self) -> Duration {
        boot_time() - self.started
    }
}

/// It goes on while the machine sleeps: whoever led before must not believe afterwards that no time has passed.
fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

impl Driver {
    pub(super) fn new(
        membership: &Membership,
        applied: &AppliedState,
        log: &Arc<dyn LogStore>,
        exports: Arc<Exports>,
        channels: Channels,
        progress: Arc<Progress>,
    ) -> Result<Self, RaftError> {
        let settings = consensus::Settings {
            node: membership.node,
            tick: membership.tick,
            truncate_entries: membership.truncate_entries,
            log_keep: membership.log_keep,
            // Members that start at the same time differ in their ids.
            seed: wall_clock().nanos() ^ membership.node << 48,
        };
        let core = Core::new(settings, Duration::ZERO, applied, log, exports)?;
        let (cluster, clock, outputs) = (membership.cluster, Clock::start(), Vec::new());
        Ok(Self { core, channels, progress, cluster, clock, next_record: RECORD, outputs })
    }

    pub(super) fn run(mut self) -> Result<(), String> {
        let result = self.drive();
        self.core.refuse_all();
        // The threads that are gone need nothing more, and all others are answered.
        let _ = self.carry_out();
        self.channels.leadership.send_replace(Leadership::default());
        result
    }

    fn drive(&mut self) -> Result<(), String> {
        while self.gather() {
            self.advance();
            if self.core.format_due() {
                self.format();
                self.advance();
            }
            self.carry_out()?;
            self.publish();
        }
        Ok(())
    }

    /// Takes in what has arrived, waiting until the core has a tick if nothing has. False: stop.
    fn gather(&mut self) -> bool {
        let mut next = match self.channels.inputs.recv_timeout(self.core.deadline().saturating_sub(self.clock.now())) {
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
            Input::Messages(messages) => {
                let now = self.clock.now();
                messages.iter().for_each(|bytes| self.step(now, bytes));
            }
            Input::Proposal(proposal) => self.core.take(proposal),
            Input::Read(readable) => self.core.read(readable),
            Input::Unreachable(node) => self.core.unreachable(node),
            Input::Fetched { index, term, whole } => self.core.fetched((index, term), whole),
            Input::Status(answer) => answer(self.core.status()),
            Input::Change(change, changed) => self.change(&change, changed),
            Input::Cut => {
                let roster = &self.channels.roster;
                self.core.cut(self.progressed(), |node| roster.persisted(node));
            }
            Input::Wake => {}
            Input::Transfer(to) => self.core.transfer(self.clock.now(), to),
            Input::Stop => return false,
        }
        true
    }

    fn step(&mut self, now: Duration, bytes: &[u8]) {
        match Message::parse_from_bytes(bytes) {
            Ok(message) => self.core.step(now, message),
            Err(error) => warn!(%error, "a raft message that cannot be read"),
        }
    }

    fn change(&mut self, change: &Change, changed: Changed) {
        let now = self.clock.now();
        let mut changed = Some(changed);
        let proposed = self.core.change(now, change, || {
            let changed = changed.take().expect("asked for once");
            Box::new(move |answer| changed(answer.map(drop).map_err(ChangeFailure::Lost)))
        });
        if let Some((changed, error)) = changed.zip(proposed.err()) {
            changed(Err(ChangeFailure::Refused(error)));
        }
    }

    fn progressed(&self) -> Progressed {
        let progress = &self.progress;
        Progressed {
            written: progress.written.get(),
            applied: progress.applied.get(),
            persisted: progress.persisted.get(),
            truncatable: progress.truncatable.get(),
            formatted: progress.formatted.load(Ordering::Acquire),
        }
    }

    fn advance(&mut self) {
        let progressed = self.progressed();
        let now = self.clock.now();
        let roster = &self.channels.roster;
        self.core.stalled(now, self.channels.disk.stalled());
        if now >= self.next_record {
            self.next_record = now + RECORD;
            self.core.record(now, roster.unrecorded());
        }
        self.core.advance(now, progressed, |node| roster.persisted(node));
    }

    fn format(&mut self) {
        let cluster = self.cluster;
        // Who runs the namenode owns the root directory, so that somebody can begin without being uid 0.
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let command = Command::Format { cluster, owner: Some(owner) };
        let request = Request { time: wall_clock(), origin: None, command, principal: None };
        info!(%cluster, "formatting the namespace");
        self.core.take(Proposal { requests: vec![request], ticket: Box::new(|_| {}) });
    }

    /// Invariant 4 of the core: in their order.
    fn carry_out(&mut self) -> Result<(), String> {
        let mut outputs = std::mem::take(&mut self.outputs);
        loop {
            self.core.take_outputs(&mut outputs);
            if outputs.is_empty() {
                break;
            }
            for output in outputs.drain(..) {
                self.carry_out_one(output)?;
            }
        }
        self.outputs = outputs;
        Ok(())
    }

    fn carry_out_one(&mut self, output: Output<Answered, Readable>) -> Result<(), String> {
        match output {
            Output::Send(messages) => self.channels.outbox.send(messages),
            Output::Write(write) => self.hand_to_log(LogTask::Write(write))?,
            Output::Truncate { index, term } => self.hand_to_log(LogTask::Truncate { index, term })?,
            Output::Apply(entries) => self.hand_to_apply(ApplyTask::Entries(entries))?,
            Output::Fetch { from, manifest } => {
                drop(self.channels.fetches.send_replace(Some(Fetch { from, manifest })))
            }
            Output::Install(manifest) => self.install(manifest)?,
            Output::Lost { last, acknowledged } => {
                let text = format!(
                    "its log ends at {last}, and it has acknowledged {acknowledged}: acknowledged entries are lost"
                );
                self.channels.quarantine.enter(&text);
                return Err(text);
            }
            Output::Truncatable(index) => self.progress.truncatable.raise(index),
            Output::Refused(answered, refusal) => answered(Err(refusal)),
            Output::Readable(readable, applied) => readable(Ok(applied)),
            Output::ReadRefused(readable, refusal) => readable(Err(refusal)),
        }
        Ok(())
    }

    fn hand_to_log(&self, task: LogTask) -> Result<(), String> {
        self.channels.log.send(task).map_err(|_| "the log thread has ended".to_owned())
    }

    fn hand_to_apply(&self, task: ApplyTask) -> Result<(), String> {
        self.channels.apply.send(task).map_err(|_| "the apply thread has ended".to_owned())
    }

    /// Has the snapshot installed, while nothing else happens.
    fn install(&mut self, manifest: Manifest) -> Result<(), String> {
        let (reached, written) = crossbeam_channel::bounded(1);
        self.hand_to_log(LogTask::Barrier(reached))?;
        written.recv().map_err(|_| "the log thread has ended")?;
        let (installed, done) = crossbeam_channel::bounded(1);
        self.hand_to_apply(ApplyTask::Install { manifest, installed })?;
        done.recv().map_err(|_| "the apply thread has ended")?;
        self.core.installed();
        Ok(())
    }

    fn publish(&self) {
        let now = self.core.leadership();
        self.channels.leadership.send_if_modified(|known| {
            let changed = *known != now;
            if known.leader != now.leader {
                self.channels.metrics.leader_changes.inc();
            }
            *known = now;
            changed
        });
    }
}

/// The leader's stamp. Never compared with a clock; `apply` keeps it from running backwards.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.saturating_add(since)
}
