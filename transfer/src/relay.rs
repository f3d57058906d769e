//! One datanode in a chain: takes packets from the hop above, has them stored, passes them on, and acknowledges what
//! both this hop and every hop below it have.

use std::collections::VecDeque;
use std::time::Duration;

use types::checksum::{CHUNK, word};
use types::{BlockId, ByteSize, Code, StorageId};

use crate::message::{Ack, MAX_CHAIN};
use crate::{ALIVE_EVERY, Alive, Control, Failed, Flags, Packet, STALLED_AFTER, Setup};

/// An own disk that takes longer than this for a packet has failed the replica.
const DISK_STALLED_AFTER: Duration = Duration::from_secs(60);

/// How much of a replica there is: its length, and the word of its last chunk if that is a short one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    pub length: u64,
    pub partial: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// From the hop above, as decoded.
    Packet(Packet),
    /// The own disk has the packet, and did what its flags ask for.
    Stored {
        sequence: u64,
    },
    /// The own disk failed.
    StoreFailed {
        code: Code,
        reason: String,
    },
    /// From the hop below.
    Below(Control),
    /// The hop above sent rubbish; [`Code::Corrupt`]: something that was damaged on its way.
    AboveLost {
        code: Code,
        reason: String,
    },
    /// The connection to the hop below is lost, or it sent rubbish.
    BelowLost {
        code: Code,
        reason: String,
    },
    Tick,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Store this packet; answered by [`Input::Stored`] or [`Input::StoreFailed`]. In the order given.
    Store(Packet),
    /// Send this packet to the hop below.
    Forward(Packet),
    /// Every hop from here on has this much; new readers may see it.
    Acked(Extent),
    /// Send this to the hop above.
    Reply(Control),
    /// The block is complete and acknowledged; both connections may serve the next operation.
    Finished,
    /// The write is over and failed; the hop above was told. Close both connections.
    Stopped,
}

#[derive(Debug)]
struct Pending {
    sequence: u64,
    extent: Extent,
    finish: bool,
    stored: bool,
    since: Duration,
}

/// The machine of one write, from the moment the chain is ready.
#[derive(Debug)]
pub struct Relay {
    block: BlockId,
    storage: StorageId,
    below: Option<StorageId>,
    max_length: u64,
    /// What will be there once every packet taken so far is stored.
    taken: Extent,
    next_sequence: u64,
    finishing: bool,
    over: bool,
    /// Taken and not yet acknowledged upstream, oldest first.
    pending: VecDeque<Pending>,
    /// The hop below has acknowledged every packet before this one.
    below_next: u64,
    /// When the hop below last said something, or came to owe an answer.
    below_heard: Duration,
    /// When the hop above was last told that this one is alive, or came to wait for it.
    told: Duration,
    /// The longest that the own disk took for a packet since then,
    slowest: Duration,
    /// and what the hop below said of itself and those below it.
    slowest_below: Vec<u32>,
}

impl Relay {
    /// A write that `setup` asked for, on a replica of which `start` is there.
    pub fn new(setup: &Setup, start: Extent) -> Self {
        Self {
            block: setup.block,
            storage: setup.storage,
            below: setup.downstream.first().map(|hop| hop.storage),
            max_length: setup.max_length.get(),
            taken: start,
            next_sequence: 0,
            finishing: false,
            over: false,
            pending: VecDeque::new(),
            below_next: 0,
            below_heard: Duration::ZERO,
            told: Duration::ZERO,
            slowest: Duration::ZERO,
            slowest_below: Vec::new(),
        }
    }

    /// How many packets are taken and not yet acknowledged: the shell takes no more than it has room for.
    pub fn outstanding(&self) -> usize {
        self.pending.len()
    }

    /// When [`Input::Tick`] is due, if nothing else happens before.
    pub fn deadline(&self) -> Option<Duration> {
        (!self.over && !self.pending.is_empty()).then(|| {
            let alive = self.told + ALIVE_EVERY;
            if self.below_owes() { alive.min(self.below_heard + STALLED_AFTER) } else { alive }
        })
    }

    pub fn handle(&mut self, now: Duration, input: Input) -> Vec<Output> {
        if self.over {
            return Vec::new();
        }
        let mut out = Vec::new();
        match input {
            Input::Packet(packet) => self.packet(now, packet, &mut out),
            Input::Stored { sequence } => {
                let found = self.pending.iter_mut().find(|pending| pending.sequence == sequence);
                let found = found.expect("what is stored was given to be stored");
                found.stored = true;
                self.slowest = self.slowest.max(now.saturating_sub(found.since));
                self.acknowledge(&mut out);
            }
            Input::StoreFailed { code, reason } => self.fail(self.storage, code, &reason, &mut out),
            Input::Below(control) => self.below(now, control, &mut out),
            Input::AboveLost { code, reason } => self.fail(self.storage, code, &reason, &mut out),
            Input::BelowLost { code, reason } => self.fail_below(code, &reason, &mut out),
            Input::Tick => self.tick(now, &mut out),
        }
        out
    }

    fn below_owes(&self) -> bool {
        self.below.is_some() && self.below_next < self.next_sequence
    }

    fn packet(&mut self, now: Duration, packet: Packet, out: &mut Vec<Output>) {
        let extent = match self.check(&packet) {
            Ok(extent) => extent,
            Err((code, reason)) => return self.fail(self.storage, code, &reason, out),
        };
        if self.pending.is_empty() && self.told + ALIVE_EVERY <= now {
            self.told = now;
        }
        if !self.below_owes() {
            self.below_heard = now;
        }
        self.taken = extent;
        self.next_sequence += 1;
        self.finishing = packet.flags.has(Flags::FINISH);
        self.pending.push_back(Pending {
            sequence: packet.sequence,
            extent,
            finish: self.finishing,
            stored: false,
            since: now,
        });
        if self.below.is_some() {
            out.push(Output::Forward(packet.clone()));
        }
        out.push(Output::Store(packet));
    }

    /// Whether the packet is the next one of this block, undamaged, and leaves what is there as it is.
    fn check(&self, packet: &Packet) -> Result<Extent, (Code, String)> {
        let invalid = |reason: String| Err((Code::InvalidArgument, reason));
        if self.finishing {
            return invalid("a packet behind the end of the block".to_owned());
        }
        if packet.sequence != self.next_sequence {
            return invalid(format!("packet {} where {} is due", packet.sequence, self.next_sequence));
        }
        let Extent { length, partial } = self.taken;
        let offset = packet.offset.get();
        if packet.data.is_empty() {
            return if offset == length { Ok(self.taken) } else { invalid(format!("an empty packet at {offset}")) };
        }
        let short = (length % CHUNK as u64) as usize;
        if offset != length - short as u64 || packet.data.len() < short {
            return invalid(format!("a packet of {} bytes at {offset}, and {length} are there", packet.data.len()));
        }
        if packet.end() > self.max_length {
            return Err((Code::TooLarge, format!("the block ends at {}, not at {}", self.max_length, packet.end())));
        }
        packet.verify(self.block).map_err(|mismatch| (Code::Corrupt, mismatch.to_string()))?;
        if partial.is_some_and(|known| known != word(self.block, offset / CHUNK as u64, &packet.data[..short])) {
            return invalid(format!("the packet changes bytes below {length}"));
        }
        let partial = (!packet.data.len().is_multiple_of(CHUNK)).then(|| {
            let last = packet.words.last_chunk().expect("a packet with data has words");
            u32::from_le_bytes(*last)
        });
        Ok(Extent { length: packet.end(), partial })
    }

    fn below(&mut self, now: Duration, control: Control, out: &mut Vec<Output>) {
        match control {
            Control::Alive(alive) => {
                self.below_heard = now;
                self.hear(&alive);
            }
            Control::Ack(ack) => {
                if !(self.below_next..self.next_sequence).contains(&ack.sequence) {
                    return self.fail_below(Code::Incompatible, &format!("{ack:?} fits no packet"), out);
                }
                self.below_heard = now;
                self.below_next = ack.sequence + 1;
                self.acknowledge(out);
            }
            Control::Failed(failed) => {
                self.over = true;
                out.extend([Output::Reply(Control::Failed(failed)), Output::Stopped]);
            }
            Control::Hello(_)
            | Control::HelloAck(_)
            | Control::Setup(_)
            | Control::Ready
            | Control::Read(_)
            | Control::ReadReply(_)
            | Control::OpenLocal(_)
            | Control::OpenedLocal(_) => self.fail_below(Code::Incompatible, "an answer to nothing", out),
        }
    }

    /// Acknowledges what is complete (invariant 2).
    fn acknowledge(&mut self, out: &mut Vec<Output>) {
        let below_next = if self.below.is_some() { self.below_next } else { self.next_sequence };
        let mut last = None;
        while let Some(done) = self.pending.pop_front_if(|first| first.stored && first.sequence < below_next) {
            last = Some(done);
        }
        let Some(last) = last else { return };
        out.push(Output::Acked(last.extent));
        let ack = Ack { sequence: last.sequence, length: ByteSize::new(last.extent.length) };
        out.push(Output::Reply(Control::Ack(ack)));
        if last.finish {
            self.over = true;
            out.push(Output::Finished);
        }
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        if self.below_owes() && self.below_heard + STALLED_AFTER <= now {
            return self.fail_below(Code::TimedOut, &format!("no answer for {STALLED_AFTER:?}"), out);
        }
        let stuck = self.pending.iter().find(|pending| !pending.stored);
        if stuck.is_some_and(|pending| pending.since + DISK_STALLED_AFTER <= now) {
            let reason = format!("the disk took longer than {DISK_STALLED_AFTER:?}");
            return self.fail(self.storage, Code::TimedOut, &reason, out);
        }
        if !self.pending.is_empty() && self.told + ALIVE_EVERY <= now {
            self.told = now;
            out.push(Output::Reply(Control::Alive(self.alive(now))));
        }
    }

    /// Takes in what the hop below says of itself; it may say so twice before this hop speaks.
    fn hear(&mut self, alive: &Alive) {
        for (at, time) in alive.store_times.iter().take(MAX_CHAIN - 1).enumerate() {
            match self.slowest_below.get_mut(at) {
                Some(known) => *known = (*known).max(*time),
                None => self.slowest_below.push(*time),
            }
        }
    }

    fn alive(&mut self, now: Duration) -> Alive {
        let at_it = self.pending.iter().find(|pending| !pending.stored);
        let at_it = at_it.map_or(Duration::ZERO, |pending| now.saturating_sub(pending.since));
        let own = std::mem::take(&mut self.slowest).max(at_it);
        let mut store_times = vec![u32::try_from(own.as_micros()).unwrap_or(u32::MAX)];
        store_times.append(&mut self.slowest_below);
        Alive { store_times }
    }

    fn fail_below(&mut self, code: Code, reason: &str, out: &mut Vec<Output>) {
        let storage = self.below.expect("only a chain with a hop below hears of it");
        self.fail(storage, code, reason, out);
    }

    fn fail(&mut self, storage: StorageId, code: Code, reason: &str, out: &mut Vec<Output>) {
        self.over = true;
        out.push(Output::Reply(Control::Failed(Failed::new(storage, code, reason))));
        out.push(Output::Stopped);
    }
}

#[cfg(test)]
mod tests;
