//! The client end of a chain: cuts what the application writes into packets, keeps them until every hop has
//! acknowledged them, and sends them again when a chain is lost and another takes over.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use types::checksum::{CHUNK, append_words};
use types::token::Token;
use types::{BlockId, BlockOffset, ByteSize, Code, GenStamp, StorageId};

use crate::frame::MAX_DATA;
use crate::message::{Ack, Alive};
use crate::pace::Pace;
use crate::{Buffer, Buffers, Control, Failed, Flags, Frame, Hop, Level, Packet, Resume, STALLED_AFTER, Setup};

/// What stays the same for a block, whatever happens to its chain.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    pub block: BlockId,
    pub level: Level,
    /// The block never grows past this.
    pub max_length: ByteSize,
    /// The data of a full packet: whole chunks, at most [`MAX_DATA`].
    pub packet: usize,
    /// A chain that is no longer than this keeps its slow hops.
    pub least: usize,
    /// A hop that takes ten times as long as the others for so long is left out.
    pub slow_hop_after: Duration,
}

impl WriterOptions {
    /// Packets of 1 MiB; a slow hop is left out as long as another one is there.
    pub fn new(block: BlockId, level: Level, max_length: ByteSize) -> Self {
        let (packet, slow_hop_after) = (MAX_DATA, Duration::from_secs(10));
        Self { block, level, max_length, packet, least: 1, slow_hop_after }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The first input.
    Start,
    /// The connection asked for with [`Output::Connect`] is there, and hellos are exchanged.
    Connected,
    /// A control frame from the first hop.
    Frame(Control),
    /// The connection could not be made, or is lost, or sent rubbish; [`Code::Corrupt`]: which was damaged on its way.
    Disconnected { code: Code, reason: String },
    /// Bytes to append. The shell bounds [`Writer::outstanding`].
    Write(Bytes),
    /// Answered by [`Output::Flushed`] with the same ticket.
    Flush { ticket: u64, sync: bool },
    /// No more bytes follow; answered by [`Output::Finished`].
    Finish,
    /// Go on with these hops, under this generation, which the token is for: the answer to [`Output::Lost`].
    Resume { generation: GenStamp, token: Token, chain: Vec<Hop> },
    /// The time of [`Writer::deadline`] has come.
    Tick,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Connect to this hop and exchange hellos.
    Connect(Hop),
    /// Close the connection; what still arrives from it is not for this machine.
    Disconnect,
    Send(Frame),
    /// Every hop has every byte below this.
    Acked {
        length: ByteSize,
    },
    /// Every byte written before the flush is acknowledged as it asked for.
    Flushed {
        ticket: u64,
        length: ByteSize,
    },
    /// The block is complete on these storages; the connection may serve the next operation.
    Finished {
        length: ByteSize,
        replicas: Vec<StorageId>,
    },
    /// A hop is lost, or something was damaged on its way and all hops survive; the machine waits for
    /// [`Input::Resume`]. Every survivor has at least `acked` bytes.
    Lost {
        failed: Failed,
        survivors: Vec<StorageId>,
        acked: ByteSize,
    },
    /// No hop is left, or another writer took over: this machine is done.
    Broken {
        failed: Failed,
    },
}

/// A hop is not blamed for damage on the way to it before so many tries have got no further.
const DAMAGED_TRIES: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Connecting,
    SettingUp,
    Streaming,
    Lost,
    Finished,
    Broken,
}

#[derive(Debug)]
struct Pending {
    packet: Packet,
    tickets: Vec<u64>,
}

/// The machine. Feed it inputs, do what comes out, call it again when [`Writer::deadline`] has passed.
#[derive(Debug)]
pub struct Writer {
    options: WriterOptions,
    generation: GenStamp,
    token: Token,
    chain: Vec<Hop>,
    /// The generation under which the last chain was ready, and whether a next one has to resume it.
    established: GenStamp,
    resumed: bool,
    phase: Phase,
    /// Cut and not yet acknowledged, oldest first.
    unacked: VecDeque<Pending>,
    next_sequence: u64,
    acked: u64,
    buffers: Buffers,
    /// Not yet cut, from a chunk boundary at `tail_start`; the first `tail_sent` bytes have been in a packet before,
    /// because a flush cut a chunk short.
    tail: Buffer,
    tail_start: u64,
    tail_sent: usize,
    finishing: bool,
    /// When the first hop last said something, or came to owe an answer.
    heard: Duration,
    pace: Pace,
    /// How often something was damaged on its way since the last acknowledgement.
    damaged: u32,
}

impl Writer {
    /// A machine for a new block, in a generation that the token is for; `buffers` are at least as large as a packet.
    pub fn new(
        options: WriterOptions,
        (generation, token): (GenStamp, Token),
        chain: Vec<Hop>,
        buffers: Buffers,
    ) -> Self {
        let pace = Pace::new(options.slow_hop_after);
        assert!(!chain.is_empty(), "a chain has at least one hop");
        let packet = options.packet;
        assert!(packet.is_multiple_of(CHUNK) && (CHUNK..=MAX_DATA).contains(&packet), "whole chunks");
        Self {
            options,
            generation,
            token,
            chain,
            established: generation,
            resumed: false,
            phase: Phase::New,
            unacked: VecDeque::new(),
            next_sequence: 0,
            acked: 0,
            tail: buffers.take_for(packet),
            buffers,
            tail_start: 0,
            tail_sent: 0,
            finishing: false,
            heard: Duration::ZERO,
            pace,
            damaged: 0,
        }
    }

    /// From now on packets have so much data: whole chunks, at most [`MAX_DATA`].
    pub fn set_packet(&mut self, packet: usize) {
        assert!(packet.is_multiple_of(CHUNK) && (CHUNK..=MAX_DATA).contains(&packet), "whole chunks");
        self.options.packet = packet;
    }

    /// Whether nothing is on its way. What is held then waits for more bytes, or for the end.
    pub fn is_idle(&self) -> bool {
        self.unacked.is_empty()
    }

    /// Bytes that are held: not cut into packets yet, or not acknowledged. The shell bounds them.
    pub fn outstanding(&self) -> usize {
        let waiting: usize = self.unacked.iter().map(|pending| pending.packet.data.len()).sum();
        waiting + self.tail.len()
    }

    /// The bytes written so far, acknowledged or not.
    pub fn length(&self) -> ByteSize {
        ByteSize::new(self.tail_start + self.tail.len() as u64)
    }

    /// The bytes that every hop has.
    pub fn acked(&self) -> ByteSize {
        ByteSize::new(self.acked)
    }

    pub fn generation(&self) -> GenStamp {
        self.generation
    }

    /// The storages of the current chain.
    pub fn replicas(&self) -> Vec<StorageId> {
        self.chain.iter().map(|hop| hop.storage).collect()
    }

    /// When [`Input::Tick`] is due, if nothing else happens before.
    pub fn deadline(&self) -> Option<Duration> {
        self.is_owed().then(|| self.heard + STALLED_AFTER)
    }

    pub fn handle(&mut self, now: Duration, input: Input) -> Vec<Output> {
        if matches!(self.phase, Phase::Finished | Phase::Broken) {
            return Vec::new();
        }
        let was_owed = self.is_owed();
        let mut out = Vec::new();
        match input {
            Input::Start => self.connect(&mut out),
            Input::Connected => self.connected(now, &mut out),
            Input::Frame(control) => self.frame(now, control, &mut out),
            Input::Disconnected { code, reason } => self.lose_first(code, reason, &mut out),
            Input::Write(bytes) => self.write(bytes, &mut out),
            Input::Flush { ticket, sync } => self.flush(ticket, sync, &mut out),
            Input::Finish => self.finish(&mut out),
            Input::Resume { generation, token, chain } => self.resume(generation, token, chain, &mut out),
            Input::Tick => {
                if self.deadline().is_some_and(|deadline| deadline <= now) {
                    self.lose_first(Code::TimedOut, format!("no answer for {STALLED_AFTER:?}"), &mut out);
                }
            }
        }
        if !was_owed {
            self.heard = now;
        }
        out
    }

    /// Whether the first hop has to say something.
    fn is_owed(&self) -> bool {
        match self.phase {
            Phase::Connecting | Phase::SettingUp => true,
            Phase::Streaming => !self.unacked.is_empty(),
            Phase::New | Phase::Lost | Phase::Finished | Phase::Broken => false,
        }
    }

    fn connect(&mut self, out: &mut Vec<Output>) {
        self.phase = Phase::Connecting;
        out.push(Output::Connect(self.chain[0].clone()));
    }

    fn connected(&mut self, now: Duration, out: &mut Vec<Output>) {
        if self.phase != Phase::Connecting {
            return;
        }
        self.heard = now;
        self.phase = Phase::SettingUp;
        let resume =
            self.resumed.then_some(Resume { from_generation: self.established, offset: BlockOffset::new(self.acked) });
        out.push(Output::Send(Frame::Control(Control::Setup(Setup {
            block: self.options.block,
            generation: self.generation,
            storage: self.chain[0].storage,
            downstream: self.chain[1..].to_vec(),
            level: self.options.level,
            max_length: self.options.max_length,
            resume,
            token: self.token.clone(),
        }))));
    }

    fn frame(&mut self, now: Duration, control: Control, out: &mut Vec<Output>) {
        if self.phase == Phase::Lost {
            return;
        }
        self.heard = now;
        match control {
            Control::Alive(alive) => self.alive(now, &alive, out),
            Control::Ready if self.phase == Phase::SettingUp => {
                self.phase = Phase::Streaming;
                self.established = self.generation;
                out.extend(self.unacked.iter().map(|pending| Output::Send(Frame::Packet(pending.packet.clone()))));
            }
            Control::Ack(ack) if self.phase == Phase::Streaming => self.ack(ack, out),
            Control::Failed(failed) => self.lose(failed, out),
            Control::Ready
            | Control::Ack(_)
            | Control::Hello(_)
            | Control::HelloAck(_)
            | Control::Setup(_)
            | Control::Read(_)
            | Control::ReadReply(_)
            | Control::OpenLocal(_)
            | Control::OpenedLocal(_) => self.lose_first(Code::Incompatible, "an answer to nothing".to_owned(), out),
        }
    }

    /// A hop whose disk is much slower than the others' holds up all of them: it counts as lost.
    fn alive(&mut self, now: Duration, alive: &Alive, out: &mut Vec<Output>) {
        if self.phase != Phase::Streaming || self.chain.len() <= self.options.least {
            return;
        }
        let times: Vec<_> = alive.store_times.iter().map(|time| Duration::from_micros((*time).into())).collect();
        let slow = self.pace.report(now, self.chain.iter().map(|hop| hop.storage), &times);
        if let Some((storage, time, others)) = slow {
            let reason = format!("it is slow: {time:?} for a packet, and {others:?} at most on the others");
            self.lose(Failed::new(storage, Code::TimedOut, reason), out);
        }
    }

    fn ack(&mut self, ack: Ack, out: &mut Vec<Output>) {
        let found = self.unacked.iter().position(|pending| pending.packet.sequence == ack.sequence);
        let Some(at) = found.filter(|at| self.unacked[*at].packet.end() == ack.length.get()) else {
            return self.lose_first(Code::Incompatible, format!("{ack:?} fits no packet"), out);
        };
        self.acked = ack.length.get();
        self.damaged = 0;
        out.push(Output::Acked { length: ack.length });
        let mut finished = false;
        for pending in self.unacked.drain(..=at) {
            finished |= pending.packet.flags.has(Flags::FINISH);
            let length = ByteSize::new(pending.packet.end());
            out.extend(pending.tickets.into_iter().map(|ticket| Output::Flushed { ticket, length }));
        }
        if finished {
            self.phase = Phase::Finished;
            out.push(Output::Finished { length: ack.length, replicas: self.replicas() });
        }
    }

    fn write(&mut self, mut bytes: Bytes, out: &mut Vec<Output>) {
        assert!(!self.finishing, "nothing is written behind the end");
        let room = self.options.max_length.get() - self.length().get();
        assert!(bytes.len() as u64 <= room, "{} takes {room} more bytes, not {}", self.options.block, bytes.len());
        while !bytes.is_empty() {
            if self.tail.is_empty() && bytes.len() >= self.options.packet {
                let data = bytes.split_to(self.options.packet);
                self.cut(data, Flags::NONE, None, out);
                continue;
            }
            // Packets may have become shorter than what is there.
            let taken = bytes.split_to(bytes.len().min(self.options.packet.saturating_sub(self.tail.len())));
            self.tail.bytes_mut().extend_from_slice(&taken);
            if self.tail.len() >= self.options.packet {
                self.cut_tail(Flags::NONE, None, out);
            }
        }
    }

    fn flush(&mut self, ticket: u64, sync: bool, out: &mut Vec<Output>) {
        assert!(!self.finishing, "nothing is flushed behind the end");
        let sync = sync || self.options.level == Level::Always;
        let flags = if sync { Flags::FLUSH.with(Flags::SYNC) } else { Flags::FLUSH };
        if self.tail.len() > self.tail_sent || sync {
            self.cut_tail(flags, Some(ticket), out);
        } else if let Some(last) = self.unacked.back_mut() {
            last.tickets.push(ticket);
        } else {
            out.push(Output::Flushed { ticket, length: self.length() });
        }
    }

    fn finish(&mut self, out: &mut Vec<Output>) {
        assert!(!self.finishing, "a block ends once");
        self.finishing = true;
        self.cut_tail(Flags::FINISH, None, out);
    }

    /// Makes a packet of the tail; without new bytes in it, an empty one that carries the flags.
    fn cut_tail(&mut self, flags: Flags, ticket: Option<u64>, out: &mut Vec<Output>) {
        if self.tail.len() == self.tail_sent {
            let offset = BlockOffset::new(self.length().get());
            return self.push(offset, Bytes::new(), flags, ticket, out);
        }
        let data = std::mem::replace(&mut self.tail, self.buffers.take_for(self.options.packet)).freeze();
        self.cut(data, flags, ticket, out);
    }

    /// Makes a packet of `data`, which starts at the tail. A last, short chunk stays in the tail: more bytes of it may
    /// come, and the packet that brings them starts at the chunk.
    fn cut(&mut self, data: Bytes, flags: Flags, ticket: Option<u64>, out: &mut Vec<Output>) {
        let offset = BlockOffset::new(self.tail_start);
        self.tail_sent = data.len() % CHUNK;
        self.tail_start += (data.len() - self.tail_sent) as u64;
        self.tail.bytes_mut().extend_from_slice(&data[data.len() - self.tail_sent..]);
        self.push(offset, data, flags, ticket, out);
    }

    fn push(&mut self, offset: BlockOffset, data: Bytes, flags: Flags, ticket: Option<u64>, out: &mut Vec<Output>) {
        let mut words = Vec::with_capacity(4 * data.len().div_ceil(CHUNK));
        append_words(self.options.block, offset.get() / CHUNK as u64, &data, &mut words);
        let packet = Packet { sequence: self.next_sequence, offset, flags, words: words.into(), data };
        self.next_sequence += 1;
        if self.phase == Phase::Streaming {
            out.push(Output::Send(Frame::Packet(packet.clone())));
        }
        self.unacked.push_back(Pending { packet, tickets: ticket.into_iter().collect() });
    }

    fn resume(&mut self, generation: GenStamp, token: Token, chain: Vec<Hop>, out: &mut Vec<Output>) {
        assert!(self.phase == Phase::Lost && !chain.is_empty(), "only a lost chain is replaced, by another");
        assert!(generation > self.generation, "every chain has its own generation");
        self.generation = generation;
        self.token = token;
        self.chain = chain;
        self.pace = Pace::new(self.options.slow_hop_after);
        self.resumed = true;
        self.next_sequence = 0;
        for pending in &mut self.unacked {
            pending.packet.sequence = self.next_sequence;
            self.next_sequence += 1;
        }
        self.connect(out);
    }

    fn lose_first(&mut self, code: Code, reason: String, out: &mut Vec<Output>) {
        self.lose(Failed::new(self.chain[0].storage, code, reason), out);
    }

    fn lose(&mut self, mut failed: Failed, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::New | Phase::Lost) {
            return;
        }
        out.push(Output::Disconnect);
        if !self.chain.iter().any(|hop| hop.storage == failed.storage) {
            // It names a stranger: whoever sent it cannot be relied on.
            failed.storage = self.chain[0].storage;
        }
        let mut survivors = self.replicas();
        self.damaged += u32::from(failed.code == Code::Corrupt);
        if failed.code != Code::Corrupt || self.damaged == DAMAGED_TRIES {
            survivors.retain(|storage| *storage != failed.storage);
            self.damaged = 0;
        }
        let fenced = failed.code.kind() == types::ErrorKind::Fenced;
        if survivors.is_empty() || fenced {
            self.phase = Phase::Broken;
            out.push(Output::Broken { failed });
        } else {
            self.phase = Phase::Lost;
            out.push(Output::Lost { failed, survivors, acked: self.acked() });
        }
    }
}

#[cfg(test)]
mod tests;
