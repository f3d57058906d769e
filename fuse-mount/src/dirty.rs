//! Bytes of one file that are not in the cluster yet.
//!
//! What programs write gathers in *runs*: ranges that do not touch each other. To be stored, runs are frozen into a *batch*,
//! and what is written after that lies above it. Batches are stored side by side, and committed in their order.
//!
//! Invariants, cited by tests:
//! 1. A read sees the newest byte of each offset: of the runs, else of the newest batch that has it.
//! 2. A batch never changes. It is let go when the cluster has it, and not before.
//! 3. What is held is counted exactly: each byte of a run or batch once.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

/// A run of this length gets room for the longest. What is not written of that is not memory yet.
const GROWN: usize = 1 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    /// By offset. None overlap or touch, unless the two together would be longer than a run may be.
    runs: BTreeMap<u64, BytesMut>,
    /// Oldest first.
    batches: VecDeque<Batch>,
    next_batch: u64,
    bytes: u64,
}

/// Runs on their way.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) id: u64,
    /// By offset, apart.
    pub(crate) runs: Vec<(u64, Bytes)>,
}

impl Batch {
    pub(crate) fn bytes(&self) -> u64 {
        self.runs.iter().map(|(_, data)| data.len() as u64).sum()
    }

    pub(crate) fn end(&self) -> u64 {
        self.runs.last().map_or(0, |(offset, data)| offset + data.len() as u64)
    }
}

fn end_of(offset: u64, run: &[u8]) -> u64 {
    offset + run.len() as u64
}

impl Dirty {
    /// All that is held, batches included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Where the last byte ends.
    pub(crate) fn end(&self) -> u64 {
        let runs = self.runs.last_key_value().map_or(0, |(offset, run)| end_of(*offset, run));
        self.batches.iter().map(Batch::end).max().unwrap_or(0).max(runs)
    }

    /// Takes in written bytes. A run that would become longer than `longest` begins another.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8], longest: usize) {
        if data.is_empty() {
            return;
        }
        let end = end_of(offset, data);
        self.cut(offset, end);
        self.bytes += data.len() as u64;
        let before = self.runs.range_mut(..offset).next_back();
        let at = match before {
            Some((start, run)) if end_of(*start, run) == offset && run.len() + data.len() <= longest => {
                // A run that got so far is one of a long file: it grows to the end without being copied again and again.
                if run.len() >= GROWN && run.capacity() - run.len() < data.len() {
                    run.reserve(longest - run.len());
                }
                run.extend_from_slice(data);
                *start
            }
            _ => {
                self.runs.insert(offset, BytesMut::from(data));
                offset
            }
        };
        let joined = self.runs[&at].len();
        if let Some(next) = self.runs.get(&end).map(BytesMut::len)
            && joined + next <= longest
        {
            let next = self.runs.remove(&end).expect("just seen");
            self.runs.get_mut(&at).expect("just written").extend_from_slice(&next);
        }
    }

    /// Takes `[from, to)` out of the runs.
    fn cut(&mut self, from: u64, to: u64) {
        let first = self.runs.range(..from).next_back().filter(|(start, run)| end_of(**start, run) > from);
        let first = first.map_or(from, |(start, _)| *start);
        let touched: Vec<u64> = self.runs.range(first..to).map(|(start, _)| *start).collect();
        for start in touched {
            let mut run = self.runs.remove(&start).expect("just listed");
            let end = end_of(start, &run);
            self.bytes -= end.min(to) - start.max(from);
            if end > to {
                self.runs.insert(to, run.split_off(index(to - start)));
            }
            if start < from {
                run.truncate(index(from - start));
                self.runs.insert(start, run);
            }
        }
    }

    /// What is held of a range, to be laid over what the cluster has of it, in this order. It must be taken before the
    /// cluster is asked: a batch may be committed and let go meanwhile.
    pub(crate) fn pieces(&self, offset: u64, length: u64) -> Vec<(u64, Bytes)> {
        let end = offset.saturating_add(length);
        let part = |start: u64, run: &[u8]| {
            let (from, to) = (start.max(offset), end_of(start, run).min(end));
            (from < to).then(|| (from, index(from - start)..index(to - start)))
        };
        let mut pieces = Vec::new();
        for (start, run) in self.batches.iter().flat_map(|batch| &batch.runs) {
            pieces.extend(part(*start, run).map(|(from, range)| (from, run.slice(range))));
        }
        let first = self.runs.range(..=offset).next_back().map_or(offset, |(start, _)| *start);
        for (start, run) in self.runs.range(first..end.max(first)) {
            pieces.extend(part(*start, run).map(|(from, range)| (from, Bytes::copy_from_slice(&run[range]))));
        }
        pieces
    }

    /// Whether every byte of the range is held, so that the cluster need not be asked.
    pub(crate) fn covers(&self, offset: u64, length: u64) -> bool {
        let (mut at, end) = (offset, offset + length);
        while at < end {
            let run =
                self.runs.range(..=at).next_back().map(|(start, run)| end_of(*start, run)).filter(|end| *end > at);
            let batch = || {
                let runs = self.batches.iter().flat_map(|batch| &batch.runs);
                runs.filter(|(start, run)| (*start..end_of(*start, run)).contains(&at))
                    .map(|(start, run)| end_of(*start, run))
                    .max()
            };
            match run.or_else(batch) {
                Some(covered) => at = covered,
                None => return false,
            }
        }
        true
    }

    /// Freezes runs: all of them, or those of at least `shortest` bytes. Nothing if there are none.
    pub(crate) fn freeze(&mut self, shortest: usize) -> Option<Batch> {
        let taken: Vec<u64> = self.runs.iter().filter(|(_, run)| run.len() >= shortest).map(|(at, _)| *at).collect();
        if taken.is_empty() {
            return None;
        }
        let run = |at: u64| (at, self.runs.remove(&at).expect("just listed").freeze());
        let batch = Batch { id: self.next_batch, runs: taken.into_iter().map(run).collect() };
        self.next_batch += 1;
        self.batches.push_back(batch.clone());
        Some(batch)
    }

    /// The cluster has a batch, or never will: it is let go. Tells how many bytes that were.
    pub(crate) fn release(&mut self, id: u64) -> u64 {
        let at = self.batches.iter().position(|batch| batch.id == id).expect("a batch is released once");
        let freed = self.batches.remove(at).expect("just found").bytes();
        self.bytes -= freed;
        freed
    }
}

/// Lays pieces over `buffer`, which begins at `offset` in the file.
pub(crate) fn overlay(pieces: &[(u64, Bytes)], offset: u64, buffer: &mut [u8]) {
    for (start, data) in pieces {
        let at = index(start - offset);
        buffer[at..at + data.len()].copy_from_slice(data);
    }
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("it fits into memory")
}

#[cfg(test)]
mod tests;
