//! Datanodes in this process, and a client of the transfer protocol on real sockets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use datanode::{Config, Datanode, Settings};
use prometheus_client::registry::Registry;
use proto::v1;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use transfer::machine::{WriterInput as Input, WriterOutput as Output};
use transfer::message::Hello;
use transfer::{Buffers, Control, Frame, Hop, Level, Read, ReadError, Reader, Writer, WriterOptions, frame};
use types::token::{Right, Subject, Token};
use types::{BlockId, BlockOffset, ByteSize, ClusterId, Code, GenStamp, InodeId, NodeId, StorageId, Timestamp};

use crate::namenode::Namenode;

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
pub(crate) const MAX: ByteSize = ByteSize::mib(8);
const PATIENCE: Duration = Duration::from_secs(20);

/// What the namenode says that time it is: nobody's clock.
pub(crate) const NOW: Timestamp = Timestamp::from_nanos(1_000_000_000_000);

/// A key of block tokens, as the namenode tells it.
pub(crate) fn key(id: u32) -> v1::TokenKey {
    v1::TokenKey { id, secret: vec![id as u8; 32] }
}

/// A token that is good for an hour.
pub(crate) fn token(block: BlockId, generation: GenStamp, right: Right) -> Token {
    let subject = Subject { cluster: CLUSTER, block, generation };
    let key = proto::token_key(&key(1)).expect("a key");
    key.sign(&subject, right, NOW.saturating_add(Duration::from_secs(3600)))
}

pub(crate) struct Node {
    pub(crate) running: Option<Datanode>,
    pub(crate) directory: TempDir,
    pub(crate) storage: StorageId,
    pub(crate) address: SocketAddr,
    namenode: SocketAddr,
    scrub_interval: Duration,
}

impl Node {
    pub(crate) async fn start(namenode: &Namenode) -> Self {
        Self::scrubbed_every(namenode, Settings::default().scrub_interval).await
    }

    pub(crate) async fn scrubbed_every(namenode: &Namenode, scrub_interval: Duration) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let storage = datanode::format(directory.path(), CLUSTER).expect("formats");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut node = Self { running: None, directory, storage, address, namenode: namenode.address, scrub_interval };
        node.run().await;
        node
    }

    /// Starts it, and waits until it has heard who may do what.
    pub(crate) async fn run(&mut self) {
        self.launch().await;
        let deadline = Instant::now() + PATIENCE;
        while matches!(read(self, block(u32::MAX), 1, 0, 1).await, Err(ReadError::Failed(failed)) if failed.code == Code::Busy)
        {
            assert!(Instant::now() < deadline, "it hears no keys");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn launch(&mut self) {
        let settings = Settings {
            listen: self.address,
            volumes: vec![self.directory.path().to_owned()],
            heartbeat: Duration::from_millis(50),
            reserve: ByteSize::mib(1),
            scrub_interval: self.scrub_interval,
            ..Settings::default()
        };
        let config = Config { cluster: CLUSTER, namenodes: vec![self.namenode], settings };
        let running = Datanode::start(config, &mut Registry::default()).await.expect("starts");
        self.address = running.address();
        self.running = Some(running);
    }

    pub(crate) async fn stop(&mut self) {
        self.running.take().expect("it runs").shutdown().await;
    }

    pub(crate) fn hop(&self) -> Hop {
        Hop { node: NodeId::new(1), storage: self.storage, address: self.address }
    }

    pub(crate) fn id(&self) -> Option<u64> {
        self.running.as_ref().and_then(Datanode::id).map(NodeId::get)
    }

    /// The files of complete replicas.
    pub(crate) fn complete(&self) -> Vec<PathBuf> {
        fn files(directory: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(directory).expect("lists") {
                let path = entry.expect("an entry").path();
                if path.is_dir() { files(&path, found) } else { found.push(path) }
            }
        }
        let mut found = Vec::new();
        files(&self.directory.path().join("final"), &mut found);
        found
    }
}

pub(crate) fn block(number: u32) -> BlockId {
    BlockId::new(InodeId::new(42), number)
}

pub(crate) fn content(length: usize) -> Bytes {
    (0..length).map(|at| (at / 3 + at / 5000) as u8).collect::<Vec<_>>().into()
}

/// Frames on a socket, as simple as can be.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    received: BytesMut,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr, cluster: ClusterId) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let mut wire = Self { stream, received: BytesMut::new() };
        wire.send(&Frame::Control(Control::Hello(Hello::new(cluster)))).await;
        matches!(wire.next().await?, Frame::Control(Control::HelloAck(_))).then_some(wire)
    }

    /// A socket that takes nothing any more may still have something to say: read on.
    pub(crate) async fn send(&mut self, frame: &Frame) {
        let bytes = match frame {
            Frame::Control(control) => control.to_frame(),
            Frame::Packet(packet) => [&packet.head()[..], &packet.words, &packet.data].concat().into(),
            Frame::Piece(_) => panic!("a client sends no pieces"),
        };
        let _ = self.stream.write_all(&bytes).await;
    }

    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let read = async {
            loop {
                if let Some(frame) = frame::decode(&mut self.received).expect("a frame") {
                    return Some(frame);
                }
                if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        };
        timeout(PATIENCE, read).await.expect("an answer in time")
    }
}

/// The shell of a writer.
pub(crate) struct Chain {
    pub(crate) writer: Writer,
    wire: Option<Wire>,
    begun: Instant,
}

impl Chain {
    pub(crate) async fn open(block: BlockId, level: Level, hops: Vec<Hop>) -> Self {
        let options = WriterOptions { packet: 64 << 10, ..WriterOptions::new(block, level, MAX) };
        let writer = Writer::new(
            options,
            (GenStamp::FIRST, token(block, GenStamp::FIRST, Right::Write)),
            hops,
            Buffers::new(64 << 10, 8),
        );
        let mut chain = Self { writer, wire: None, begun: Instant::now() };
        assert_eq!(chain.give(Input::Start).await, []);
        chain
    }

    /// Hands an input in, does what comes out, and gives what is for the application.
    pub(crate) async fn give(&mut self, input: Input) -> Vec<Output> {
        let mut inputs = vec![input];
        let mut told = Vec::new();
        while let Some(input) = inputs.pop() {
            for output in self.writer.handle(self.begun.elapsed(), input) {
                match output {
                    Output::Connect(hop) => {
                        self.wire = Wire::connect(hop.address, CLUSTER).await;
                        inputs.push(match self.wire {
                            Some(_) => Input::Connected,
                            None => Input::Disconnected { code: Code::Io, reason: "no connection".to_owned() },
                        });
                    }
                    Output::Disconnect => self.wire = None,
                    Output::Send(frame) => {
                        if let Some(wire) = &mut self.wire {
                            wire.send(&frame).await;
                        }
                    }
                    Output::Acked { .. } => {}
                    Output::Flushed { .. } | Output::Finished { .. } | Output::Lost { .. } | Output::Broken { .. } => {
                        told.push(output);
                    }
                }
            }
        }
        told
    }

    /// The next thing that the application is told.
    pub(crate) async fn next(&mut self) -> Output {
        loop {
            let wire = self.wire.as_mut().expect("connected");
            let input = match wire.next().await {
                Some(Frame::Control(control)) => Input::Frame(control),
                Some(_) => panic!("data for a writer"),
                None => Input::Disconnected { code: Code::Io, reason: "closed".to_owned() },
            };
            if let Some(output) = self.give(input).await.pop() {
                return output;
            }
        }
    }

    pub(crate) async fn flush(&mut self, sync: bool) {
        let told = self.give(Input::Flush { ticket: 1, sync }).await;
        let length = self.writer.length();
        let told = if told.is_empty() { vec![self.next().await] } else { told };
        assert_eq!(told, [Output::Flushed { ticket: 1, length }]);
    }

    pub(crate) async fn finish(&mut self) -> Output {
        assert_eq!(self.give(Input::Finish).await, []);
        self.next().await
    }
}

/// Writes a whole block.
pub(crate) async fn write(block: BlockId, level: Level, hops: Vec<Hop>, content: &Bytes) {
    let replicas = hops.iter().map(|hop| hop.storage).collect();
    let mut chain = Chain::open(block, level, hops).await;
    chain.give(Input::Write(content.clone())).await;
    let length = ByteSize::new(content.len() as u64);
    assert_eq!(chain.finish().await, Output::Finished { length, replicas });
}

pub(crate) async fn read(
    node: &Node,
    block: BlockId,
    generation: u64,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>, ReadError> {
    let mut wire = Wire::connect(node.address, CLUSTER).await.expect("connects");
    read_on(&mut wire, node, block, generation, offset, length).await
}

pub(crate) async fn read_on(
    wire: &mut Wire,
    node: &Node,
    block: BlockId,
    generation: u64,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>, ReadError> {
    let mut reader = Reader::new(Read {
        block,
        generation: GenStamp::new(generation),
        storage: node.storage,
        offset: BlockOffset::new(offset),
        length: ByteSize::new(length),
        token: token(block, GenStamp::new(generation), Right::Read),
    });
    wire.send(&Frame::Control(reader.request())).await;
    let mut bytes = Vec::new();
    while !reader.is_done() {
        let frame = wire.next().await.ok_or(ReadError::Protocol { problem: "closed" })?;
        bytes.extend(reader.handle(frame)?.unwrap_or_default());
    }
    Ok(bytes)
}

/// Waits for a condition that the nodes bring about by themselves.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
