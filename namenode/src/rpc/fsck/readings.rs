//! Replicas that datanodes read for a check, and the blocks that wait for what they say.
//!
//! At most [`MOST`] replicas are asked for at a time, however large the tree.

use std::collections::BTreeMap;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use namespace::fsck::{Looked, Told};
use namespace::repair::{Facts, Liveness};
use namespace::row::{BlockLocation, BlockRow};
use tonic::Status;
use types::{BlockId, ErrorKind};

use super::{Batches, LOOK, PULSE, Service, batch, lead, send};
use crate::duties::Verified;

/// Replicas that are asked for at a time.
const MOST: usize = 1000;

/// What reading the replicas of a block has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// Their bytes are not what they should be, or not there.
    pub(super) bad: Vec<BlockLocation>,
    /// They could not be read just now.
    pub(super) unknown: Vec<BlockLocation>,
}

#[derive(Debug)]
struct Reading {
    told: Told,
    asked: Vec<BlockLocation>,
    read: Read,
}

#[derive(Debug)]
pub(super) struct Readings {
    waiting: BTreeMap<u64, Reading>,
    /// A block that several files share is read with each.
    next: u64,
    asked: BTreeMap<u64, (Receiver<Verified>, usize)>,
    ended: Vec<(Told, Read)>,
}

impl Readings {
    pub(super) const fn new() -> Self {
        Self { waiting: BTreeMap::new(), next: 0, asked: BTreeMap::new(), ended: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn are_many(&self) -> bool {
        self.waiting.values().map(|reading| reading.asked.len()).sum::<usize>() >= MOST
    }

    pub(super) fn ended(&mut self) -> Vec<(Told, Read)> {
        std::mem::take(&mut self.ended)
    }

    /// Has every good replica of a block read. What does not answer is not asked.
    pub(super) fn begin(&mut self, service: &Service, facts: &Facts, block: BlockId, row: BlockRow, told: Told) {
        let (sender, receiver): (Sender<Verified>, _) = unbounded();
        let is_live = |location: &BlockLocation| {
            facts.members.get(&location.storage).is_some_and(|member| member.liveness != Liveness::Dead)
        };
        let (asked, unknown): (Vec<_>, Vec<_>) = row.replicas.iter().copied().partition(is_live);
        for location in &asked {
            service.board.verify(*location, block, &row, sender.clone());
        }
        let number = self.next;
        self.next += 1;
        self.asked.insert(number, (receiver, asked.len()));
        self.waiting.insert(number, Reading { told, asked, read: Read { bad: Vec::new(), unknown } });
    }

    /// Waits for the oldest block to be read, or a moment; tells who asked that the check goes on.
    pub(super) fn wait(
        &mut self,
        service: &Service,
        batches: &Batches,
        looked: Looked,
        last: &mut Instant,
    ) -> Result<(), Status> {
        lead(service)?;
        let Some((number, (receiver, left))) = self.asked.first_key_value() else { return Ok(()) };
        let (number, left) = (*number, *left);
        let heard = if left == 0 { Err(RecvTimeoutError::Disconnected) } else { receiver.recv_timeout(LOOK) };
        match heard {
            Ok(verified) => self.hear(number, verified),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.end(number),
        }
        if last.elapsed() >= PULSE {
            *last = Instant::now();
            send(service, batches, batch(Vec::new(), looked, false))?;
        }
        Ok(())
    }

    fn hear(&mut self, number: u64, verified: Verified) {
        let Some(reading) = self.waiting.get_mut(&number) else { return };
        let Some(at) = reading.asked.iter().position(|location| location.storage == verified.storage) else { return };
        let location = reading.asked.swap_remove(at);
        match verified.error.map(types::Code::kind) {
            None => {}
            Some(ErrorKind::Corrupt | ErrorKind::NotFound) => reading.read.bad.push(location),
            Some(
                ErrorKind::Invalid
                | ErrorKind::Exists
                | ErrorKind::Denied
                | ErrorKind::Retry
                | ErrorKind::Fenced
                | ErrorKind::Full,
            ) => reading.read.unknown.push(location),
        }
        if reading.asked.is_empty() {
            self.end(number);
        }
    }

    /// Nobody says anything more of a block: what was not read is not known.
    fn end(&mut self, number: u64) {
        self.asked.remove(&number);
        if let Some(Reading { told, asked, mut read }) = self.waiting.remove(&number) {
            read.unknown.extend(asked);
            self.ended.push((told, read));
        }
    }
}
