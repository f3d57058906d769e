//! The apply thread: runs committed requests against the state, and the flush thread, which brings the state to disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use consensus::{AppliedState, Committed, LogStore, Manifest};
use crossbeam_channel::{Receiver as Nudges, RecvTimeoutError, Sender as Nudge};
use namespace::Effect;
use namespace::overlay::Overlay;
use tracing::{debug, info};

use super::snapshot::{self, Home};
use super::watchdog::Disk;
use super::{Answered, Answers, Input, Observer};
use crate::failure::{AbortOnPanic, abort};
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::queue::{Receiver, Sender};
use crate::store::Store;

/// Tasks that wait; past it the raft thread waits too.
pub(super) const TASKS: usize = 1024;
/// Bytes of entries that go into one batch of the store.
const BATCH_BYTES: usize = 4 << 20;

pub(super) enum ApplyTask {
    Entries(Vec<Committed<Answered>>),
    /// Install the snapshot that is staged, then tell. Meanwhile nobody writes the log.
    Install {
        manifest: Manifest,
        installed: Nudge<()>,
    },
}

pub(super) struct Applier {
    pub(super) tasks: Receiver<ApplyTask>,
    pub(super) store: Arc<Store>,
    pub(super) progress: Arc<Progress>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) wake: Sender<Input>,
    pub(super) flush: Nudge<()>,
    pub(super) flush_log: u64,
    pub(super) unflushed: u64,
    pub(super) state: AppliedState,
    pub(super) observer: Box<dyn Observer>,
    pub(super) home: Home,
    pub(super) log: Arc<dyn LogStore>,
    pub(super) disk: Arc<Disk>,
}

impl Applier {
    pub(super) fn run(mut self) -> Result<(), String> {
        let mut next = None;
        while let Some(task) = next.take().or_else(|| self.tasks.recv().ok()) {
            let mut entries = match task {
                ApplyTask::Entries(entries) => entries,
                ApplyTask::Install { manifest, installed } => {
                    self.install(&manifest)?;
                    // The raft thread may have ended.
                    let _ = installed.send(());
                    continue;
                }
            };
            let mut bytes = length(&entries);
            while bytes < BATCH_BYTES
                && let Ok(task) = self.tasks.try_recv()
            {
                match task {
                    ApplyTask::Entries(more) => {
                        bytes += length(&more);
                        entries.extend(more);
                    }
                    install @ ApplyTask::Install { .. } => {
                        next = Some(install);
                        break;
                    }
                }
            }
            self.apply(entries)?;
            self.unflushed += bytes as u64;
            if self.unflushed >= self.flush_log {
                self.unflushed = 0;
                // One nudge waiting is as good as two.
                let _ = self.flush.try_send(());
            }
        }
        Ok(())
    }

    /// Applies entries as one batch of the store, then answers who waits.
    fn apply(&mut self, entries: Vec<Committed<Answered>>) -> Result<(), String> {
        let mut overlay = Overlay::new(&*self.store);
        // Who begins to watch from now on is answered after this batch, which is committed already, and reads its changes.
        let any = self.observer.is_watched();
        let (observer, mut changed) = (&self.observer, Vec::new());
        let executed = consensus::execute_watched(&mut overlay, &mut self.state, entries, |before, request, writes| {
            if any {
                let changes =
                    namespace::changes::changes(before, &request.command, writes, |inode| observer.watches(inode))?;
                if !changes.is_empty() {
                    changed.push((request.origin.map(|origin| origin.session), changes));
                }
            }
            Ok(())
        });
        let executed = executed.map_err(|error| error.to_string())?;
        let writes = overlay.into_writes();
        let write = self.disk.state.begin();
        if let Err(error) = self.store.commit(&writes, &self.state) {
            abort("apply thread", error);
        }
        drop(write);
        self.progress.counters.commands.inc_by(executed.commands);
        if executed.formatted {
            self.progress.formatted.store(true, Ordering::Release);
        }
        self.progress.applied.raise(self.state.index);
        for (by, changes) in changed {
            self.observer.changed(by, changes);
        }
        if executed.regrouped {
            self.observer.regrouped(&self.state.group);
        }
        if executed.nodes_changed {
            let nodes = namespace::query::nodes(&*self.store).map_err(|error| error.to_string())?;
            self.observer.nodes_changed(nodes);
        }
        if executed.keys_changed {
            let keys = namespace::query::token_keys(&*self.store).map_err(|error| error.to_string())?;
            self.observer.keys_changed(keys);
        }
        for consensus::Answered { ticket, outcomes } in executed.answers {
            ticket(Ok(Answers { applied: self.state.index, outcomes }));
        }
        self.observe(executed.effects);
        // A full inbox needs no waking.
        let _ = self.wake.try_send(Input::Wake);
        Ok(())
    }

    /// Puts the staged snapshot in the place of the state.
    fn install(&mut self, manifest: &Manifest) -> Result<(), String> {
        let replaced = self.store.replace(|| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            Ok(snapshot::install(&self.home, manifest, &*self.log)?)
        });
        if let Err(error) = replaced {
            abort("apply thread", error);
        }
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let applied = self.store.applied().map_err(|error| text(&error))?;
        if applied.as_ref() != Some(&manifest.applied()) {
            return Err(format!("the installed state is at {applied:?}, and not at {:?}", manifest.at()));
        }
        self.state = manifest.applied();
        self.unflushed = 0;
        let cluster = namespace::query::cluster(&*self.store).map_err(|error| text(&error))?;
        let nodes = namespace::query::nodes(&*self.store).map_err(|error| text(&error))?;
        let keys = namespace::query::token_keys(&*self.store).map_err(|error| text(&error))?;
        self.progress.formatted.store(cluster.is_some(), Ordering::Release);
        self.progress.persisted.raise(self.state.index);
        self.progress.applied.raise(self.state.index);
        self.observer.nodes_changed(nodes);
        self.observer.keys_changed(keys);
        self.observer.regrouped(&self.state.group);
        self.metrics.installed_snapshots.inc();
        info!(index = self.state.index, "a snapshot is installed");
        Ok(())
    }

    fn observe(&mut self, effects: Vec<Effect>) {
        let mut garbage = false;
        for effect in effects {
            match effect {
                Effect::GarbageAdded => garbage = true,
                Effect::ReplicationShort(block) => self.observer.replication_short(block),
                // The leader looks for due deletions by the clock.
                Effect::ReplicasToDelete(_) => {}
                Effect::LocksReleased(inode) => self.observer.locks_released(inode),
            }
        }
        if garbage {
            self.observer.garbage_added();
        }
    }
}

fn length(entries: &[Committed<Answered>]) -> usize {
    entries.iter().map(|committed| committed.entry.data.len()).sum()
}

pub(super) struct Flusher {
    pub(super) nudges: Nudges<()>,
    pub(super) store: Arc<Store>,
    pub(super) progress: Arc<Progress>,
    pub(super) interval: Duration,
}

impl Flusher {
    /// Flushes on a nudge, at every interval, and once more when the apply thread has ended.
    pub(super) fn run(self) -> Result<(), String> {
        let _abort = AbortOnPanic("flush thread");
        loop {
            let ended = match self.nudges.recv_timeout(self.interval) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            self.flush();
            if ended {
                return Ok(());
            }
        }
    }

    fn flush(&self) {
        if self.progress.applied.get() == self.progress.persisted.get() {
            return;
        }
        match self.store.flush().and_then(|()| self.store.persisted()) {
            Ok(index) => {
                debug!(index, "the state is on disk");
                self.progress.persisted.raise(index);
            }
            Err(error) => abort("flush thread", error),
        }
    }
}
