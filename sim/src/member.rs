//! One member: its disk, and while it runs its core and the queues of the threads around it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use consensus::{Change, Committed, Core, LogStore, Manifest, Merged, Output, Progressed, Settings, Snapshots, Write};
use namespace::query;
use types::Timestamp;

use crate::device::{Device, Record};
use crate::exports::Exports;
use crate::network::{Call, Parcel, Place};
use crate::plan::Plan;
use crate::state::{Files, StateStore};

/// The wall clocks begin here.
const EPOCH: u64 = 1_700_000_000_000_000_000;

/// A read, and what had been answered when it was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) call: Call,
    pub(crate) asked_at: u64,
}

pub(crate) type MemberOutput = Output<Call, Reading>;

/// What waits for the raft thread.
#[derive(Debug)]
pub(crate) enum Input {
    Parcel(Place, Box<Parcel>),
    Fetched { at: (u64, u64), whole: bool },
    Transfer,
    Change(Change),
}

#[derive(Debug)]
pub(crate) enum LogTask {
    Write(Write),
    Truncate { index: u64, term: u64 },
    Barrier,
}

/// What the log thread is doing.
#[derive(Debug)]
pub(crate) struct LogJob {
    pub(crate) merged: Merged,
    pub(crate) truncate: Option<(u64, u64)>,
    pub(crate) barrier: bool,
}

/// A snapshot that is being pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pull {
    pub(crate) from: u64,
    pub(crate) at: (u64, u64),
    pub(crate) tries: u64,
}

/// An installation, and whether the log thread has come to it.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) manifest: Manifest,
    pub(crate) log_idle: bool,
    pub(crate) begun: bool,
}

#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) core: Core<Call, Reading>,
    pub(crate) progressed: Progressed,
    pub(crate) exports: Arc<Exports>,
    pub(crate) inbox: VecDeque<Input>,
    /// When the raft thread goes on.
    pub(crate) turn_at: Option<Duration>,
    pub(crate) persisted_by: BTreeMap<u64, u64>,
    pub(crate) log_queue: VecDeque<LogTask>,
    pub(crate) log_job: Option<LogJob>,
    pub(crate) apply_queue: VecDeque<Committed<Call>>,
    pub(crate) applying: bool,
    pub(crate) installation: Option<Installation>,
    pub(crate) pull: Option<Pull>,
    /// Counts the directories that were swapped: a flush of the old one means nothing.
    pub(crate) store_generation: u64,
}

impl Running {
    /// What the log thread does next: as many writes as wait, up to something else.
    pub(crate) fn next_job(&mut self) -> Option<LogJob> {
        if self.log_queue.is_empty() {
            return None;
        }
        let mut job = LogJob { merged: Merged::default(), truncate: None, barrier: false };
        while let Some(task) = self.log_queue.pop_front() {
            match task {
                LogTask::Write(write) => job.merged.add(write),
                LogTask::Truncate { index, term } => {
                    job.truncate = Some((index, term));
                    break;
                }
                LogTask::Barrier => {
                    job.barrier = true;
                    break;
                }
            }
        }
        Some(job)
    }
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: u64,
    /// Counts the starts: what an earlier process began does not end in a later one.
    pub(crate) incarnation: u64,
    pub(crate) paused_until: Duration,
    pub(crate) slow_until: Duration,
    /// Of the wall clock, in nanoseconds.
    pub(crate) wall_offset: i64,
    pub(crate) device: Arc<Device>,
    pub(crate) store: StateStore,
    /// The marker of an installation.
    pub(crate) marker: Option<Manifest>,
    /// The files of a snapshot that are there.
    pub(crate) staging: Option<Files>,
    pub(crate) running: Option<Running>,
    /// It never starts again: its disk is lost, or it was removed and knows it.
    pub(crate) retired: bool,
}

impl Member {
    pub(crate) fn new(id: u64, voters: &[u64]) -> Self {
        Self {
            id,
            incarnation: 0,
            paused_until: Duration::ZERO,
            slow_until: Duration::ZERO,
            wall_offset: 0,
            device: Arc::default(),
            store: StateStore::new(voters),
            marker: None,
            staging: None,
            running: None,
            retired: false,
        }
    }

    pub(crate) fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("events of a process that has ended are dropped")
    }

    /// Whether it would answer reads without asking others, were it to go on now.
    pub(crate) fn has_lease(&self, now: Duration) -> bool {
        let until = self.running.as_ref().and_then(|running| running.core.lease());
        until.is_some_and(|until| until > now)
    }

    pub(crate) fn wall_clock(&self, now: Duration) -> Timestamp {
        let nanos = EPOCH.saturating_add_signed(self.wall_offset) + now.as_nanos() as u64;
        Timestamp::from_nanos(nanos)
    }

    /// The steps of an installation behind its marker. Each is harmless when it has been done.
    pub(crate) fn install_step(&mut self, step: u8) {
        let manifest = self.marker.clone();
        match step {
            0 => {
                let staged = self.staging.as_ref().expect("it was pulled");
                assert!(staged.missing().is_none(), "it was pulled whole");
                self.marker = Some(staged.manifest.clone());
            }
            1 => {
                if let Some(staged) = self.staging.take() {
                    self.store.replace(&staged);
                }
            }
            2 => {
                let (index, term) = manifest.expect("marked").at();
                self.device.write(Record::Reset { index, term });
            }
            3 => self.device.sync(),
            4 => self.marker = None,
            _ => unreachable!("there are five steps"),
        }
    }

    /// Starts a process on what is on the disk.
    pub(crate) fn start(&mut self, now: Duration, plan: &Plan, seed: u64) {
        self.incarnation += 1;
        if self.marker.is_some() {
            (1..5).for_each(|step| self.install_step(step));
        }
        let exports = Arc::new(Exports::default());
        exports.at(now, plan.snapshot_expiry);
        let settings = Settings {
            node: self.id,
            tick: plan.tick,
            truncate_entries: plan.truncate_entries,
            log_keep: plan.log_keep,
            seed: seed ^ self.id << 48 ^ self.incarnation << 32,
        };
        let log: Arc<dyn LogStore> = self.device.clone();
        let snapshots: Arc<dyn Snapshots> = exports.clone();
        let core = Core::new(settings, now, self.store.applied(), &log, snapshots);
        let core = core.expect("a member starts on what a crash leaves");
        let applied = self.store.applied().index;
        self.running = Some(Running {
            core,
            progressed: Progressed {
                applied,
                persisted: applied,
                formatted: self.formatted(),
                ..Progressed::default()
            },
            exports,
            inbox: VecDeque::new(),
            turn_at: None,
            persisted_by: BTreeMap::new(),
            log_queue: VecDeque::new(),
            log_job: None,
            apply_queue: VecDeque::new(),
            applying: false,
            installation: None,
            pull: None,
            store_generation: 0,
        });
    }

    pub(crate) fn formatted(&self) -> bool {
        query::cluster(self.store.state()).expect("readable").is_some()
    }
}
