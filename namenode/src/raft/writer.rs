//! The log thread: makes durable what Raft hands over, many readies to one sync.

use std::sync::Arc;
use std::time::Instant;

use consensus::{LogStore, Merged, Write};
use crossbeam_channel::Sender as Notice;

use super::watchdog::Disk;
use super::{Input, Outbox};
use crate::failure::{AbortOnPanic, abort};
use crate::progress::Progress;
use crate::queue::{Receiver, Sender};

/// Tasks that wait. When so many do, the disk has stalled; the raft thread waits with them, and the other members elect
/// a leader whose disk has not.
pub(super) const TASKS: usize = 1024;
/// Bytes of entries that are merged into one write.
const MERGE_BYTES: usize = 16 << 20;

pub(super) enum LogTask {
    Write(Write),
    Truncate {
        index: u64,
        term: u64,
    },
    /// Tell when all before is done.
    Barrier(Notice<()>),
}

pub(super) struct Writer {
    pub(super) tasks: Receiver<LogTask>,
    pub(super) log: Arc<dyn LogStore>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) progress: Arc<Progress>,
    pub(super) wake: Sender<Input>,
    pub(super) disk: Arc<Disk>,
}

impl Writer {
    pub(super) fn run(self) -> Result<(), String> {
        let _abort = AbortOnPanic("log thread");
        while let Ok(task) = self.tasks.recv() {
            let mut task = Some(task);
            let mut merged = Merged::default();
            let mut truncate = None;
            let mut barrier = None;
            while let Some(next) = task {
                match next {
                    LogTask::Write(write) => merged.add(write),
                    LogTask::Truncate { index, term } => {
                        truncate = Some((index, term));
                        break;
                    }
                    LogTask::Barrier(reached) => {
                        barrier = Some(reached);
                        break;
                    }
                }
                task = if merged.bytes < MERGE_BYTES { self.tasks.try_recv().ok() } else { None };
            }
            self.write(merged);
            if let Some((index, term)) = truncate {
                let _write = self.disk.log.begin();
                if let Err(error) = self.log.truncate(index, term) {
                    abort("log thread", error);
                }
            }
            if let Some(reached) = barrier {
                // The raft thread may have ended.
                let _ = reached.send(());
            }
        }
        Ok(())
    }

    fn write(&self, merged: Merged) {
        if merged.number == 0 {
            return;
        }
        if merged.sync {
            let entries = merged.append.entries.len() as u64;
            let (write, begun) = (self.disk.log.begin(), Instant::now());
            match self.log.append(&merged.append) {
                Ok(bytes) => {
                    let counters = &self.progress.counters;
                    counters.seconds.observe(begun.elapsed().as_secs_f64());
                    counters.syncs.inc();
                    counters.entries.inc_by(entries);
                    counters.bytes.inc_by(bytes);
                }
                Err(error) => abort("log thread", error),
            }
            drop(write);
        }
        self.progress.written.raise(merged.number);
        // Invariant 1 of the core: only now.
        self.outbox.send(merged.messages);
        // A full inbox needs no waking.
        let _ = self.wake.try_send(Input::Wake);
    }
}
