//! The apply thread: runs committed requests against the state, and the flush thread, which brings the state to disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use namespace::Effect;
use namespace::codec::Batch;
use namespace::command::Command;
use namespace::overlay::Overlay;
use raft::eraftpb::{Entry, EntryType};
use tracing::{debug, info};

use super::log::LogStore;
use super::snapshot::{self, Home, Manifest};
use super::{Answered, Answers, Input, Observer};
use crate::failure::{AbortOnPanic, abort};
use crate::progress::Progress;
use crate::store::{AppliedState, Store};

/// Tasks that wait; past it the raft thread waits too.
pub(super) const TASKS: usize = 1024;
/// Bytes of entries that go into one batch of the store.
const BATCH_BYTES: usize = 4 << 20;

/// The requests of one proposal, and who waits for what they answer.
pub(super) struct Waiter {
    pub(super) requests: usize,
    pub(super) answered: Answered,
}

pub(super) struct Committed {
    pub(super) entry: Entry,
    /// In the order of the requests in the entry; empty for one that this member did not propose.
    pub(super) waiters: Vec<Waiter>,
}

pub(super) enum ApplyTask {
    Entries(Vec<Committed>),
    /// Install the snapshot that is staged, then tell. Meanwhile nobody writes the log.
    Install {
        manifest: Manifest,
        installed: Sender<()>,
    },
}

pub(super) struct Applier {
    pub(super) tasks: Receiver<ApplyTask>,
    pub(super) store: Arc<Store>,
    pub(super) progress: Arc<Progress>,
    pub(super) wake: Sender<Input>,
    pub(super) flush: Sender<()>,
    pub(super) flush_log: u64,
    pub(super) unflushed: u64,
    pub(super) state: AppliedState,
    pub(super) observer: Box<dyn Observer>,
    pub(super) home: Home,
    pub(super) log: Arc<dyn LogStore>,
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
    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), String> {
        let mut overlay = Overlay::new(&*self.store);
        let mut answers: Vec<(Answered, Vec<_>)> = Vec::new();
        let mut effects = Vec::new();
        let (mut nodes_changed, mut formatted) = (false, false);
        let mut commands = 0;
        for Committed { entry, waiters } in entries {
            if entry.index != self.state.index + 1 {
                return Err(format!("entry {} follows {} in the committed log", entry.index, self.state.index));
            }
            (self.state.index, self.state.term) = (entry.index, entry.term);
            // The kind is compared rather than guessed from the bytes: a change of members may come back from the
            // library as an empty entry.
            match entry.get_entry_type() {
                EntryType::EntryNormal => {}
                kind => return Err(format!("entry {} is {kind:?}, and members cannot change yet", entry.index)),
            }
            // A new leader's first entry is empty.
            if entry.data.is_empty() {
                continue;
            }
            let batch = Batch::decode(&entry.data).map_err(|error| format!("entry {}: {error}", entry.index))?;
            let mut outcomes = Vec::with_capacity(batch.requests.len());
            for request in &batch.requests {
                nodes_changed |= matches!(request.command, Command::RegisterDatanode { .. });
                formatted |= matches!(request.command, Command::Format { .. });
                let applied = namespace::apply(&overlay, request)
                    .map_err(|error| format!("entry {} cannot be applied: {error}", entry.index))?;
                overlay.absorb(applied.writes);
                effects.extend(applied.effects);
                outcomes.push(applied.reply);
            }
            commands += batch.requests.len() as u64;
            let mut outcomes = outcomes.into_iter();
            for Waiter { requests, answered } in waiters {
                answers.push((answered, outcomes.by_ref().take(requests).collect()));
            }
        }
        let writes = overlay.into_writes();
        if let Err(error) = self.store.commit(&writes, &self.state) {
            abort("apply thread", error);
        }
        self.progress.counters.commands.fetch_add(commands, Ordering::Relaxed);
        if formatted {
            self.progress.formatted.store(true, Ordering::Release);
        }
        self.progress.applied.raise(self.state.index);
        if nodes_changed {
            let nodes = namespace::query::nodes(&*self.store).map_err(|error| error.to_string())?;
            self.observer.nodes_changed(nodes);
        }
        for (answered, outcomes) in answers {
            answered(Ok(Answers { applied: self.state.index, outcomes }));
        }
        self.observe(effects);
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
        self.progress.formatted.store(cluster.is_some(), Ordering::Release);
        self.progress.persisted.raise(self.state.index);
        self.progress.applied.raise(self.state.index);
        self.observer.nodes_changed(nodes);
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
                // Nobody waits for a lock yet: who is refused asks again.
                Effect::LocksReleased(_) => {}
            }
        }
        if garbage {
            self.observer.garbage_added();
        }
    }
}

fn length(entries: &[Committed]) -> usize {
    entries.iter().map(|committed| committed.entry.data.len()).sum()
}

pub(super) struct Flusher {
    pub(super) nudges: Receiver<()>,
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

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;
    use namespace::row::NodeRow;
    use types::{BlockId, ByteSize};

    use super::super::engine::EngineLog;
    use super::*;

    struct Nobody;

    impl Observer for Nobody {
        fn nodes_changed(&mut self, _: Vec<NodeRow>) {}
        fn garbage_added(&mut self) {}
        fn replication_short(&mut self, _: BlockId) {}
    }

    /// The library may answer with an empty entry where a change of members was proposed: its kind tells.
    #[test]
    fn an_entry_that_changes_members_is_not_taken_for_an_empty_one() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = Home::new(dir.path());
        let (wake, _inputs) = bounded(9);
        let (flush, _nudges) = bounded(9);
        let mut applier = Applier {
            tasks: bounded(1).1,
            store: Arc::new(Store::open(&home.state(), ByteSize::mib(8)).expect("opens")),
            progress: Arc::new(Progress::new(1)),
            wake,
            flush,
            flush_log: u64::MAX,
            unflushed: 0,
            state: AppliedState { index: 4, term: 1, voters: vec![1] },
            observer: Box::new(Nobody),
            log: Arc::new(EngineLog::open(&home.log()).expect("opens")),
            home,
        };
        let mut apply = |index, kind| {
            let entry = Entry { entry_type: kind, index, term: 1, ..Entry::default() };
            applier.apply(vec![Committed { entry, waiters: vec![] }])
        };
        assert_eq!(apply(5, EntryType::EntryNormal), Ok(()));
        assert!(apply(7, EntryType::EntryNormal).is_err(), "one is missing");
        assert!(apply(6, EntryType::EntryConfChange).is_err());
        assert!(apply(6, EntryType::EntryConfChangeV2).is_err());
    }
}
