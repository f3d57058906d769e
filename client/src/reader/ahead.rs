//! Reading ahead of the application: several parts of the file at once, across the borders of blocks, each from the replica
//! that is the best then. They are handed out in order.
//!
//! 1. Never more than `read_ahead` bytes are under way or wait, whatever the file is like; less when many read at once, but
//!    a part of [`LEAST`].
//! 2. A reader that stops early has dragged little: what is read ahead begins small, and doubles with what is taken.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use transfer::frame::MAX_DATA;

use super::blocks::OpenFile;
use super::range::Range;
use crate::error::Fault;
use crate::memory::Part;

/// Parts that are asked for at the same time, if there is room for as many.
const PARTS: u64 = 4;
/// The shortest part of which a window is made.
const LEAST: u64 = 128 << 10;
/// The longest part.
const LONGEST: u64 = 4 << 20;
/// Bytes of one part come in pieces of up to this.
const PIECE: u64 = MAX_DATA as u64;

/// Which parts to ask for: the decisions alone.
#[derive(Debug)]
struct Plan {
    next: u64,
    end: u64,
    /// Bytes that may be under way or wait now, and at most.
    window: u64,
    most: u64,
    /// Bytes that are under way or wait.
    ahead: u64,
}

impl Plan {
    fn new(position: u64, end: u64, read_ahead: u64) -> Self {
        let mut plan = Self { next: position, end, window: PIECE, most: PIECE, ahead: 0 };
        plan.limit(read_ahead);
        plan
    }

    /// From now on no more than so many bytes may be under way or wait.
    fn limit(&mut self, most: u64) {
        self.most = (most - most % LEAST).max(LEAST);
        self.window = self.window.min(self.most);
    }

    /// The next part to ask for, if there is room for it.
    fn next(&mut self) -> Option<(u64, u64)> {
        let room = self.window.saturating_sub(self.ahead);
        let length = (self.window / PARTS).clamp(PIECE.min(self.window), LONGEST);
        if self.next == self.end || room < length {
            return None;
        }
        let part = (self.next, self.end.min(self.next + length));
        self.next = part.1;
        self.ahead += part.1 - part.0;
        Some(part)
    }

    /// The application has so many bytes.
    fn taken(&mut self, length: u64) {
        self.ahead -= length;
    }

    /// The application has taken a whole part, and will probably go on.
    fn grow(&mut self) {
        self.window = (2 * self.window).min(self.most);
    }
}

/// The tasks that read ahead of the application.
#[derive(Debug)]
pub(super) struct Ahead {
    file: Arc<OpenFile>,
    memory: Part,
    plan: Plan,
    /// In the order of the file.
    parts: VecDeque<Stretch>,
}

#[derive(Debug)]
struct Stretch {
    left: u64,
    pieces: mpsc::Receiver<Result<Bytes, Fault>>,
    _task: AbortOnDropHandle<()>,
}

impl Ahead {
    pub(super) fn new(file: Arc<OpenFile>, position: u64, end: u64) -> Self {
        let memory = file.client.0.read_memory.join();
        let plan = Plan::new(position, end, file.client.0.config.read_ahead.get());
        Self { file, memory, plan, parts: VecDeque::new() }
    }

    /// The next bytes; none at the end. Of no use after an error.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.plan.limit(self.file.client.0.config.read_ahead.get().min(self.memory.bytes() as u64));
        loop {
            while let Some((from, to)) = self.plan.next() {
                self.parts.push_back(Stretch::start(Arc::clone(&self.file), from, to));
            }
            let Some(part) = self.parts.front_mut() else { return Ok(None) };
            if part.left == 0 {
                self.plan.grow();
                self.parts.pop_front();
                continue;
            }
            let Some(piece) = part.pieces.recv().await else {
                return Err(Fault::Broken("reading ahead ended too early".to_owned()));
            };
            let piece = piece?;
            part.left -= piece.len() as u64;
            self.plan.taken(piece.len() as u64);
            return Ok(Some(piece));
        }
    }
}

impl Stretch {
    /// The task ends with its bytes, with an error, or with its owner.
    fn start(file: Arc<OpenFile>, from: u64, to: u64) -> Self {
        let length = to - from;
        let (sender, pieces) = mpsc::channel(length.div_ceil(PIECE) as usize);
        let task = tokio::spawn(async move {
            let mut range = Range::new(file, from, to);
            while let Some(next) = range.next().await.transpose() {
                let ends = next.is_err();
                if sender.send(next).await.is_err() || ends {
                    return;
                }
            }
        });
        Self { left: length, pieces, _task: AbortOnDropHandle::new(task) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// The parts that are asked for at once, one after the other.
    fn asked(plan: &mut Plan) -> Vec<u64> {
        std::iter::from_fn(|| plan.next()).map(|(from, to)| (to - from) / MIB).collect()
    }

    /// Invariant 2.
    #[test]
    fn what_is_read_ahead_begins_small_and_doubles_up_to_the_most() {
        let mut plan = Plan::new(0, 100 * MIB, 8 * MIB);
        let mut taken = |mib| {
            let before = asked(&mut plan);
            plan.taken(mib * MIB);
            plan.grow();
            before
        };
        assert_eq!(taken(1), [1]);
        assert_eq!(taken(1), [1, 1]);
        assert_eq!(taken(1), [1, 1, 1]);
        assert_eq!(taken(2), [2, 2]);
        assert_eq!(taken(2), [2]);
    }

    /// Invariant 1.
    #[test]
    fn no_more_is_ahead_than_allowed_and_everything_is_asked_for_once() {
        for read_ahead in [0, 400 << 10, MIB, 3 * MIB, 8 * MIB, 100 * MIB] {
            let (begin, end) = (12_345, 50 * MIB + 678);
            let mut plan = Plan::new(begin, end, read_ahead);
            let (mut waiting, mut position) = (VecDeque::new(), begin);
            loop {
                waiting.extend(std::iter::from_fn(|| plan.next()));
                let ahead: u64 = waiting.iter().map(|(from, to)| to - from).sum();
                assert!(ahead <= read_ahead.max(LEAST), "{ahead} of {read_ahead}");
                let Some((from, to)) = waiting.pop_front() else { break };
                assert_eq!(from, position);
                position = to;
                plan.taken(to - from);
                plan.grow();
            }
            assert_eq!(position, end);
        }
    }
}
