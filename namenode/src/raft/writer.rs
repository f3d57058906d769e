//! The log thread: makes durable what Raft hands over, many readies to one sync.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};
use raft::eraftpb::{Entry, HardState, Message};

use super::log::{Append, LogStore};
use super::{Input, Outbox};
use crate::failure::{AbortOnPanic, abort};
use crate::progress::Progress;

/// Tasks that wait. When so many do, the disk has stalled; the raft thread waits with them, and the other members elect
/// a leader whose disk has not.
pub(super) const TASKS: usize = 1024;
/// Bytes of entries that are merged into one write.
const MERGE_BYTES: usize = 16 << 20;

pub(super) enum LogTask {
    Write {
        /// Raft's number of the ready.
        number: u64,
        entries: Vec<Entry>,
        hard_state: Option<HardState>,
        /// Whether anything here must be durable before `messages` leave.
        sync: bool,
        messages: Vec<Message>,
    },
    Truncate {
        index: u64,
        term: u64,
    },
    /// Tell when all before is done.
    Barrier(Sender<()>),
}

pub(super) struct Writer {
    pub(super) tasks: Receiver<LogTask>,
    pub(super) log: Arc<dyn LogStore>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) progress: Arc<Progress>,
    pub(super) wake: Sender<Input>,
}

/// Several readies on their way to one sync.
#[derive(Default)]
struct Merged {
    append: Append,
    bytes: usize,
    sync: bool,
    number: u64,
    messages: Vec<Message>,
}

impl Merged {
    fn add(&mut self, number: u64, entries: Vec<Entry>, hard_state: Option<HardState>, sync: bool) {
        if let Some(first) = entries.first() {
            // Entries may replace ones handed over before that are not written yet.
            while self.append.entries.pop_if(|entry| entry.index >= first.index).is_some() {}
            self.bytes += entries.iter().map(|entry| entry.data.len()).sum::<usize>();
            self.append.entries.extend(entries);
        }
        // The vote and the term count; the commit index alone is not worth a sync, and is found again after a restart.
        if sync && hard_state.is_some() {
            self.append.hard_state = hard_state;
        }
        self.sync |= sync;
        self.number = number;
    }
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
                    LogTask::Write { number, entries, hard_state, sync, messages } => {
                        merged.add(number, entries, hard_state, sync);
                        merged.messages.extend(messages);
                    }
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
            if let Some((index, term)) = truncate
                && let Err(error) = self.log.truncate(index, term)
            {
                abort("log thread", error);
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
            match self.log.append(&merged.append) {
                Ok(bytes) => {
                    let counters = &self.progress.counters;
                    counters.syncs.fetch_add(1, Ordering::Relaxed);
                    counters.entries.fetch_add(entries, Ordering::Relaxed);
                    counters.bytes.fetch_add(bytes, Ordering::Relaxed);
                }
                Err(error) => abort("log thread", error),
            }
        }
        self.progress.written.raise(merged.number);
        // Invariant 1 of the module: only now.
        self.outbox.send(merged.messages);
        // A full inbox needs no waking.
        let _ = self.wake.try_send(Input::Wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new leader's entries may come before those that they replace are written.
    #[test]
    fn entries_on_their_way_to_the_log_are_replaced_from_the_first_new_one_on() {
        let entry = |index, term| Entry { index, term, ..Entry::default() };
        let mut merged = Merged::default();
        merged.add(1, vec![entry(1, 1), entry(2, 1), entry(3, 1)], None, true);
        merged.add(2, vec![entry(2, 4)], Some(HardState { term: 4, ..HardState::default() }), true);
        merged.add(3, vec![], Some(HardState { term: 4, commit: 2, ..HardState::default() }), false);
        assert_eq!(merged.append.entries, [entry(1, 1), entry(2, 4)]);
        assert_eq!((merged.number, merged.sync), (3, true));
        let hard_state = merged.append.hard_state.expect("it must be durable");
        assert_eq!((hard_state.term, hard_state.commit), (4, 0), "the commit index alone is not worth a write");
    }
}
