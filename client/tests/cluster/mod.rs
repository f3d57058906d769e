//! A namenode and datanodes that do what a test tells them, on real sockets.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "shared by several test binaries")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use client::{Client, Config};
use proto::v1;
use proto::v1::metadata_server::{Metadata, MetadataServer};
use proto::v1::op::Kind as Op;
use proto::v1::reply::Result as Answer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use transfer::message::HelloAck;
use transfer::{Control, Frame};
use types::{ClusterId, Code, StorageId};

pub const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
pub const SESSION: u64 = 41;

/// What the namenode does with one operation.
#[expect(clippy::large_enum_variant, reason = "a script has few of them")]
pub enum Act {
    Answer(Answer),
    Refuse(Code),
    /// Answers that it is done, and tells of changes.
    Tell(v1::Changes),
    /// Takes it and says nothing.
    Silent,
    /// Closes the stream.
    Break,
    /// "I do not lead any more; that one does."
    Redirect(String),
}

/// An operation as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrived {
    /// Counted from 0.
    pub stream: usize,
    /// What the stream's hello said.
    pub hello_session: u64,
    pub sequence: u64,
    pub op: Op,
}

type Script = dyn Fn(&Arrived) -> Act + Send + Sync;

pub struct Namenode {
    pub address: String,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    server: tokio::task::JoinHandle<()>,
}

struct Service {
    script: Arc<Script>,
    /// Greets with this redirect instead of a welcome.
    points_to: Option<String>,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    streams: Arc<Mutex<usize>>,
}

impl Namenode {
    /// A leader that opens session [`SESSION`], keeps it alive, and asks `script` about everything else.
    pub async fn lead(script: impl Fn(&Arrived) -> Act + Send + Sync + 'static) -> Self {
        Self::serve(None, Arc::new(script)).await
    }

    /// A follower that knows the leader.
    pub async fn follow(leader: &str) -> Self {
        Self::serve(Some(leader.to_owned()), Arc::new(|_: &Arrived| Act::Refuse(Code::NotLeader))).await
    }

    async fn serve(points_to: Option<String>, script: Arc<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let service = Service { script, points_to, arrived: Arc::clone(&arrived), streams: Arc::default() };
        let server = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(MetadataServer::new(service))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .expect("the server runs");
        });
        Self { address, arrived, server }
    }

    /// Operations that arrived so far, without the keeping of the session.
    pub fn arrived(&self) -> Vec<Arrived> {
        let arrived = self.arrived.lock().expect("not poisoned").clone();
        arrived.into_iter().filter(|arrived| !matches!(arrived.op, Op::OpenSession(_) | Op::KeepAlive(_))).collect()
    }
}

impl Drop for Namenode {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tonic::async_trait]
impl Metadata for Service {
    type StreamStream = ReceiverStream<Result<v1::ReplyBatch, Status>>;

    async fn stream(&self, request: Request<Streaming<v1::OpBatch>>) -> Result<Response<Self::StreamStream>, Status> {
        let mut batches = request.into_inner();
        let stream = {
            let mut streams = self.streams.lock().expect("not poisoned");
            *streams += 1;
            *streams - 1
        };
        let (replies, receiver) = mpsc::channel(64);
        let (script, arrived, points_to) =
            (Arc::clone(&self.script), Arc::clone(&self.arrived), self.points_to.clone());
        tokio::spawn(async move {
            let mut hello_session = 0;
            while let Ok(Some(batch)) = batches.message().await {
                if let Some(hello) = batch.hello {
                    hello_session = hello.session;
                    replies.send(Ok(greeting(points_to.as_deref()))).await.ok();
                }
                for op in batch.ops {
                    let (tag, sequence) = (op.tag, op.sequence);
                    let op = Arrived { stream, hello_session, sequence, op: op.kind.expect("the client sends kinds") };
                    arrived.lock().expect("not poisoned").push(op.clone());
                    let act = match &op.op {
                        Op::OpenSession(_) => Act::Answer(Answer::Session(v1::Session { session: SESSION })),
                        Op::KeepAlive(_) | Op::CloseSession(_) => Act::Answer(Answer::Done(v1::Done {})),
                        _ => script(&op),
                    };
                    let mut batch = v1::ReplyBatch::default();
                    match act {
                        Act::Answer(result) => {
                            batch.replies.push(v1::Reply { tag, applied: 1, result: Some(result) });
                        }
                        Act::Refuse(code) => {
                            let result = Some(Answer::Error(proto::error(code, format!("refused with {code:?}"))));
                            batch.replies.push(v1::Reply { tag, applied: 1, result });
                        }
                        Act::Tell(changes) => {
                            let result = Some(Answer::Done(v1::Done {}));
                            let reply = v1::Reply { tag, applied: 1, result };
                            replies.send(Ok(v1::ReplyBatch { replies: vec![reply], ..batch })).await.ok();
                            batch = v1::ReplyBatch { changes: Some(changes), ..Default::default() };
                        }
                        Act::Silent => continue,
                        Act::Break => return,
                        Act::Redirect(leader) => batch.not_leader = Some(v1::NotLeader { term: 2, leader }),
                    }
                    replies.send(Ok(batch)).await.ok();
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

fn greeting(points_to: Option<&str>) -> v1::ReplyBatch {
    if let Some(leader) = points_to {
        let not_leader = Some(v1::NotLeader { term: 1, leader: leader.to_owned() });
        return v1::ReplyBatch { not_leader, ..Default::default() };
    }
    let defaults = v1::Defaults {
        replication: 3,
        block_size: 4 << 20,
        inline_max: 16 << 10,
        min_replicas: 2,
        session_timeout_ms: 30_000,
        durability: "close".to_owned(),
        trash_ms: 0,
        spread: v1::Spread::Unspecified.into(),
    };
    let welcome = v1::Welcome { cluster: CLUSTER.as_bytes().to_vec(), term: 1, defaults: Some(defaults) };
    v1::ReplyBatch { welcome: Some(welcome), ..Default::default() }
}

pub fn config(namenodes: &[&str]) -> Config {
    Config {
        namenodes: namenodes.iter().map(|address| (*address).to_owned()).collect(),
        op_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(1),
        ..Config::default()
    }
}

pub async fn connect(namenode: &Namenode) -> Client {
    Client::connect(config(&[&namenode.address])).await.expect("the namenode answers")
}

pub fn done() -> Act {
    Act::Answer(Answer::Done(v1::Done {}))
}

pub fn file(length: u64) -> v1::Attributes {
    v1::Attributes {
        inode: 9,
        kind: v1::Kind::File.into(),
        length,
        replication: 3,
        block_size: 4 << 20,
        links: 1,
        ..Default::default()
    }
}

pub fn storage(number: u8) -> StorageId {
    StorageId::from_bytes([number; 16])
}

pub fn location(number: u8, address: SocketAddr) -> v1::Location {
    v1::Location {
        node: u64::from(number),
        storage: storage(number).as_bytes().to_vec(),
        transfer: address.to_string(),
        host: format!("host{number}"),
        silent: false,
        local: None,
        // The first is near the reader, and is read first.
        distance: if number == 1 { 0 } else { 4 },
    }
}

pub fn path(text: &str) -> types::Path {
    types::Path::parse(text.as_bytes()).expect("legal")
}

/// One greeted connection to a fake datanode.
pub struct Peer {
    stream: TcpStream,
    received: BytesMut,
}

impl Peer {
    /// The next frame; none when the client has closed the connection.
    pub async fn receive(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = transfer::frame::decode(&mut self.received).expect("the client sends frames") {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.received).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub async fn say(&mut self, control: Control) {
        self.send(&control.to_frame()).await;
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // The client may have left; the test sees that elsewhere.
        self.stream.write_all(bytes).await.ok();
    }
}

pub struct Datanode {
    pub address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Datanode {
    /// Greets each connection, then lets `serve` have it.
    pub async fn start<F, W>(serve: F) -> Self
    where
        F: Fn(Peer) -> W + Send + Sync + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let serve = Arc::new(serve);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("a fresh socket");
                let serve = Arc::clone(&serve);
                tokio::spawn(async move {
                    let mut peer = Peer { stream, received: BytesMut::new() };
                    match peer.receive().await {
                        Some(Frame::Control(Control::Hello(hello))) => assert_eq!(hello.check(CLUSTER), Ok(())),
                        other => panic!("a hello comes first, not {other:?}"),
                    }
                    peer.say(Control::HelloAck(HelloAck { version: transfer::message::VERSION })).await;
                    serve(peer).await;
                });
            }
        });
        Self { address, server }
    }
}

impl Drop for Datanode {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Bytes that differ from place to place.
pub fn content(length: usize) -> Bytes {
    (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect::<Vec<_>>().into()
}
