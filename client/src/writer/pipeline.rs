//! One block on its way to its datanodes: moves the bytes between the machine of [`transfer`] and a socket.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use futures::future::BoxFuture;
use proto::v1;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::{info, warn};
use transfer::frame::MAX_DATA;
use transfer::machine::{WriterInput as Input, WriterOutput as Output};
use transfer::{Control, Failed, Frame, Hop, Level, Writer, WriterOptions};
use types::token::Token;
use types::{BlockId, ByteSize, Code, ErrorKind as Kind, GenStamp, InodeId, NodeId, SessionId, StorageId};

use crate::datanode::{DataConnection, LinkError};
use crate::error::Fault;
use crate::memory::Part;
use crate::metadata::{Metadata, Scope};
use crate::store::Client;
use crate::wire::NewBlock;

/// Slices given to the kernel at a time: a few packets.
const SLICES: usize = 24;
/// Room for what the first hop says; control frames are small.
const RECEIVE: usize = 16 << 10;

/// What a pipeline needs to know of its file.
#[derive(Debug, Clone)]
pub(super) struct FileFacts {
    pub(super) inode: InodeId,
    pub(super) session: SessionId,
    pub(super) level: Level,
    pub(super) block_size: ByteSize,
    pub(super) replicas: usize,
    pub(super) min_replicas: usize,
    /// The block has one generation: when its chain fails, its bytes go into another block.
    pub(super) once: bool,
}

/// Why a block cannot go on.
#[derive(Debug)]
pub(super) enum PipelineError {
    /// The chain never came up, or the block is written only once. Another block, without this node, may do better.
    Setup {
        node: Option<NodeId>,
        failed: Failed,
    },
    Fault(Fault),
}

impl From<Fault> for PipelineError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A block that is complete on these storages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FinishedBlock {
    pub(super) block: BlockId,
    pub(super) generation: GenStamp,
    pub(super) length: ByteSize,
    pub(super) replicas: Vec<StorageId>,
}

pub(super) struct Pipeline {
    client: Client,
    memory: Part,
    facts: FileFacts,
    block: BlockId,
    hops: Vec<Hop>,
    machine: Writer,
    started: Instant,
    stream: Option<TcpStream>,
    received: BytesMut,
    outgoing: VecDeque<Bytes>,
    /// Whether the first hop takes nothing any more.
    deaf: bool,
    dialing: Option<BoxFuture<'static, Result<DataConnection, LinkError>>>,
    renewing: Option<BoxFuture<'static, Result<(GenStamp, Token), Fault>>>,
    survivors: Vec<Hop>,
    /// Nodes that the chain lost, and why.
    lost: Vec<(NodeId, Code)>,
    /// Whether a chain was ready once: from then on the machine holds bytes that only this block can take.
    ready: bool,
    next_ticket: u64,
    flushed: Option<u64>,
    finished: Option<(ByteSize, Vec<StorageId>)>,
}

impl Pipeline {
    /// Begins to set the chain up.
    pub(super) fn start(client: Client, facts: FileFacts, new: NewBlock) -> Result<Self, PipelineError> {
        let NewBlock { block, generation, targets, token } = new;
        let memory = client.0.write_memory.join();
        let packet = memory.piece();
        let (wanted, least) = (facts.replicas, facts.min_replicas);
        if targets.len() < wanted {
            warn!(%block, replicas = targets.len(), wanted, "a block begins on fewer datanodes than the file wants");
        }
        let slow_hop_after = client.0.config.slow_hop_after;
        let defaults = WriterOptions::new(block, facts.level, facts.block_size);
        let options = WriterOptions { packet, least, slow_hop_after, ..defaults };
        let machine = Writer::new(options, (generation, token), targets.clone(), client.0.buffers.clone());
        let mut pipeline = Self {
            client,
            memory,
            facts,
            block,
            hops: targets,
            machine,
            started: Instant::now(),
            stream: None,
            received: BytesMut::new(),
            outgoing: VecDeque::new(),
            deaf: false,
            dialing: None,
            renewing: None,
            survivors: Vec::new(),
            lost: Vec::new(),
            ready: false,
            next_ticket: 0,
            flushed: None,
            finished: None,
        };
        pipeline.feed(Input::Start)?;
        Ok(pipeline)
    }

    pub(super) fn block(&self) -> BlockId {
        self.block
    }

    pub(super) fn generation(&self) -> GenStamp {
        self.machine.generation()
    }

    pub(super) fn replicas(&self) -> Vec<StorageId> {
        self.machine.replicas()
    }

    /// How many bytes the block still takes.
    pub(super) fn left(&self) -> u64 {
        self.facts.block_size.get() - self.machine.length().get()
    }

    pub(super) fn length(&self) -> ByteSize {
        self.machine.length()
    }

    /// Whether a hop is lost while the block holds something.
    pub(super) fn is_degraded(&self) -> bool {
        !self.lost.is_empty() && self.ready && self.length() > ByteSize::ZERO
    }

    /// Whether fewer hops are left than the file needs replicas.
    pub(super) fn is_in_need(&self) -> bool {
        self.machine.replicas().len() < self.facts.min_replicas
    }

    /// Nodes that the chain lost so far, and why.
    pub(super) fn lost_nodes(&self) -> &[(NodeId, Code)] {
        &self.lost
    }

    /// Whether it takes more bytes now. One write may go past the window. When nothing is on its way no acknowledgement will make
    /// room: then it takes more however small its part of the memory has become meanwhile.
    pub(super) fn has_room(&self) -> bool {
        self.machine.is_idle() || self.machine.outstanding() < window(&self.client, &self.memory)
    }

    /// Waits for the first chain to come up.
    pub(super) async fn ready(&mut self) -> Result<(), PipelineError> {
        while !self.ready {
            self.turn().await?;
        }
        Ok(())
    }

    /// Appends bytes, of which the block takes at least so many.
    pub(super) fn write(&mut self, bytes: Bytes) -> Result<(), PipelineError> {
        self.machine.set_packet(self.memory.piece());
        self.feed(Input::Write(bytes))
    }

    /// Waits until every byte so far is acknowledged by every hop, on disk if `sync`.
    pub(super) async fn flush(&mut self, sync: bool) -> Result<(), PipelineError> {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.feed(Input::Flush { ticket, sync })?;
        while self.flushed != Some(ticket) {
            self.turn().await?;
        }
        Ok(())
    }

    /// Ends the block and waits until it is complete on every hop.
    pub(super) async fn finish(&mut self) -> Result<FinishedBlock, PipelineError> {
        self.feed(Input::Finish)?;
        loop {
            if let Some((length, replicas)) = self.finished.take() {
                return Ok(FinishedBlock { block: self.block, generation: self.generation(), length, replicas });
            }
            self.turn().await?;
        }
    }

    /// Waits for one thing to happen, and applies it. May be given up at any time.
    pub(super) async fn turn(&mut self) -> Result<(), PipelineError> {
        let deadline = self.machine.deadline().map(|deadline| self.started + deadline);
        tokio::select! {
            biased;
            dialled = async { self.dialing.as_mut().expect("checked by the guard").await }, if self.dialing.is_some() => {
                self.dialing = None;
                self.dialled(dialled)
            }
            renewed = async { self.renewing.as_mut().expect("checked by the guard").await }, if self.renewing.is_some() => {
                self.renewing = None;
                let chain = std::mem::take(&mut self.survivors);
                let (generation, token) = renewed?;
                self.feed(Input::Resume { generation, token, chain })
            }
            () = ready(self.stream.as_ref(), true) => self.receive(),
            () = ready(self.stream.as_ref(), false), if !self.outgoing.is_empty() => self.transmit(),
            () = async { tokio::time::sleep_until(deadline.expect("checked by the guard")).await },
                if deadline.is_some() => self.feed(Input::Tick),
        }
    }

    fn dialled(&mut self, dialled: Result<DataConnection, LinkError>) -> Result<(), PipelineError> {
        match dialled {
            Ok(connection) => {
                let (stream, received) = connection.into_parts();
                self.stream = Some(stream);
                self.deaf = false;
                self.received = received;
                self.feed(Input::Connected)
            }
            Err(error) => self.feed(Input::Disconnected { code: error.code(), reason: error.to_string() }),
        }
    }

    /// Reads what is there, and gives it to the machine frame by frame.
    fn receive(&mut self) -> Result<(), PipelineError> {
        let Some(stream) = &self.stream else { return Ok(()) };
        self.received.reserve(RECEIVE);
        match stream.try_read_buf(&mut self.received) {
            Ok(0) => return self.disconnected("closed by the datanode"),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return self.disconnected(error),
        }
        while self.stream.is_some() {
            match transfer::frame::decode(&mut self.received) {
                Ok(None) => break,
                Ok(Some(Frame::Control(control))) => {
                    self.ready |= control == Control::Ready;
                    self.feed(Input::Frame(control))?;
                }
                Ok(Some(Frame::Packet(_) | Frame::Piece(_))) => {
                    self.disconnected("it sent data up the chain")?;
                }
                Err(error) => self.feed(Input::Disconnected { code: error.code(), reason: error.to_string() })?,
            }
        }
        Ok(())
    }

    fn disconnected(&mut self, reason: impl ToString) -> Result<(), PipelineError> {
        self.feed(Input::Disconnected { code: Code::Io, reason: reason.to_string() })
    }

    fn transmit(&mut self) -> Result<(), PipelineError> {
        let Some(stream) = &self.stream else { return Ok(()) };
        let slices: Vec<IoSlice<'_>> = self.outgoing.iter().take(SLICES).map(|bytes| IoSlice::new(bytes)).collect();
        match stream.try_write_vectored(&slices) {
            Ok(mut sent) => {
                while sent > 0 {
                    let first = self.outgoing.front_mut().expect("no more is sent than there was");
                    let part = sent.min(first.len());
                    first.advance(part);
                    sent -= part;
                    if first.is_empty() {
                        self.outgoing.pop_front();
                    }
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            // What the datanode said before it went is still to be read: it may name the hop that failed. The end of
            // that shows that the connection is lost.
            Err(_) => {
                self.deaf = true;
                self.outgoing.clear();
                Ok(())
            }
        }
    }

    fn feed(&mut self, input: Input) -> Result<(), PipelineError> {
        for output in self.machine.handle(self.started.elapsed(), input) {
            match output {
                Output::Connect(hop) => {
                    let client = self.client.clone();
                    self.dialing = Some(Box::pin(async move { client.0.datanodes.fresh(hop.address).await }));
                }
                Output::Disconnect => {
                    self.dialing = None;
                    self.stream = None;
                    self.received.clear();
                    self.outgoing.clear();
                }
                Output::Send(frame) => self.queue(frame),
                Output::Acked { .. } => {}
                Output::Flushed { ticket, .. } => self.flushed = Some(ticket),
                Output::Finished { length, replicas } => self.finished = Some((length, replicas)),
                Output::Lost { failed, survivors, .. } => self.lost(failed, &survivors)?,
                Output::Broken { failed } => return Err(self.broken(failed)),
            }
        }
        Ok(())
    }

    fn queue(&mut self, frame: Frame) {
        if self.deaf {
            return;
        }
        match frame {
            Frame::Control(control) => self.outgoing.push_back(control.to_frame()),
            Frame::Packet(packet) => {
                self.outgoing.push_back(Bytes::copy_from_slice(&packet.head()));
                self.outgoing.extend([packet.words, packet.data].into_iter().filter(|bytes| !bytes.is_empty()));
            }
            Frame::Piece(_) => unreachable!("a writer sends no pieces"),
        }
    }

    /// A chain is lost: goes on with the hops that survive, under a new generation.
    fn lost(&mut self, failed: Failed, survivors: &[StorageId]) -> Result<(), PipelineError> {
        let node = self.suspect(&failed);
        if !self.ready || self.facts.once {
            return Err(PipelineError::Setup { node, failed });
        }
        if survivors.contains(&failed.storage) {
            info!(block = %self.block, reason = %failed, "a pipeline sends again what was damaged on its way");
        } else {
            self.lost.extend(node.map(|node| (node, failed.code)));
            warn!(block = %self.block, storage = %failed.storage, reason = %failed, "a pipeline lost a member");
        }
        // One that is left is enough to end the block on: it holds all that was acknowledged.
        self.survivors = self.hops.iter().filter(|hop| survivors.contains(&hop.storage)).cloned().collect();
        self.hops = self.survivors.clone();
        let ask = v1::NextGeneration {
            inode: self.facts.inode.get(),
            block: Some(self.block.into()),
            generation: self.generation().get(),
            survivors: survivors.iter().map(|storage| storage.as_bytes().to_vec()).collect(),
        };
        let client = self.client.clone();
        let scope = Scope::Lease(self.facts.session);
        self.renewing = Some(Box::pin(async move {
            match client.0.metadata.call(v1::op::Kind::NextGeneration(ask), scope).await?.0 {
                v1::reply::Result::Generation(v1::Generation { generation, token }) => {
                    Ok((GenStamp::new(generation), proto::token(token)))
                }
                other => Err(Metadata::unexpected(&other)),
            }
        }));
        Ok(())
    }

    fn broken(&mut self, failed: Failed) -> PipelineError {
        let node = self.suspect(&failed);
        if failed.code.kind() == Kind::Fenced {
            return Fault::Refused { code: failed.code, message: failed.to_string() }.into();
        }
        if !self.ready || self.facts.once {
            return PipelineError::Setup { node, failed };
        }
        self.too_few(0, &failed).into()
    }

    fn too_few(&self, left: usize, failed: &Failed) -> Fault {
        let (block, wanted) = (self.block, self.facts.min_replicas);
        Fault::PipelineLost { block, left, wanted, reason: failed.to_string() }
    }

    /// Notes that the member that failed is not to be read from first. Gives its node.
    fn suspect(&self, failed: &Failed) -> Option<NodeId> {
        let hop = self.hops.iter().find(|hop| hop.storage == failed.storage)?;
        info!(block = %self.block, node = %hop.node, reason = %failed, "a datanode failed in a pipeline");
        self.client.0.datanodes.suspect(hop.address);
        Some(hop.node)
    }
}

/// How many bytes a pipeline may hold now: less than its owner wants when many have one.
fn window(client: &Client, memory: &Part) -> usize {
    memory.bytes().min(client.0.config.window.clamp(1, 256) * MAX_DATA)
}

/// Waits until the socket can be read from, or written to; forever without one.
async fn ready(stream: Option<&TcpStream>, to_read: bool) {
    let Some(stream) = stream else { return poll_fn(|_| std::task::Poll::Pending).await };
    // An error shows in the operation that follows.
    if to_read {
        stream.readable().await.ok();
    } else {
        stream.writable().await.ok();
    }
}
