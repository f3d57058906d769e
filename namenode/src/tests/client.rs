//! The client and the datanode of the tests: no more than the messages.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proto::v1;
use proto::v1::datanodes_client::DatanodesClient;
use proto::v1::metadata_client::MetadataClient;
use proto::v1::op::Kind;
use proto::v1::reply::Result as Answer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use types::Code;

use super::cluster::{CLUSTER, Cluster, DEADLINE, pause};

pub(crate) struct Client {
    ops: mpsc::Sender<v1::OpBatch>,
    replies: Streaming<v1::ReplyBatch>,
    tag: u64,
    /// Answers that came while another one was awaited.
    early: Vec<v1::Reply>,
    /// What was told meanwhile.
    told: VecDeque<v1::Changes>,
}

/// The first answer of a member to a hello.
pub(crate) async fn hello(address: SocketAddr, hello: v1::Hello) -> Result<v1::ReplyBatch, String> {
    dial(address, hello).await.map(|(batch, _)| batch).map_err(|status| status.to_string())
}

async fn dial(address: SocketAddr, hello: v1::Hello) -> Result<(v1::ReplyBatch, Client), Status> {
    let connected = MetadataClient::connect(format!("http://{address}")).await;
    let mut client = connected.map_err(|error| Status::unavailable(error.to_string()))?;
    let (ops, batches) = mpsc::channel(16);
    ops.send(v1::OpBatch { hello: Some(hello), ops: vec![] }).await.expect("room for one");
    let mut replies = client.stream(ReceiverStream::new(batches)).await?.into_inner();
    let first = replies.message().await?.ok_or_else(|| Status::unavailable("closed"))?;
    Ok((first, Client { ops, replies, tag: 0, early: Vec::new(), told: VecDeque::new() }))
}

fn superuser() -> v1::Hello {
    let principal = Some(v1::Principal { uid: 0, gid: 0, groups: Vec::new() });
    let cluster = CLUSTER.as_bytes().to_vec();
    v1::Hello { protocol: proto::PROTOCOL, cluster, principal, ..Default::default() }
}

impl Client {
    /// Finds the leader.
    pub(crate) async fn connect(cluster: &Cluster, session: u64) -> Self {
        let start = Instant::now();
        let hello = v1::Hello { session, ..superuser() };
        while start.elapsed() < DEADLINE {
            for address in cluster.addresses() {
                if let Ok((batch, client)) = dial(address, hello.clone()).await
                    && batch.welcome.is_some()
                {
                    return client;
                }
            }
            pause().await;
        }
        panic!("no leader within {DEADLINE:?}");
    }

    /// A stream for reads to one member, once it takes it.
    pub(crate) async fn for_reads(cluster: &Cluster, node: u64) -> Self {
        let start = Instant::now();
        let hello = v1::Hello { reads_only: true, ..superuser() };
        while start.elapsed() < DEADLINE {
            if let Ok((batch, client)) = dial(cluster.address(node), hello.clone()).await
                && batch.welcome.is_some()
            {
                return client;
            }
            pause().await;
        }
        panic!("member {node} takes no stream for reads within {DEADLINE:?}");
    }

    pub(crate) async fn open_session(&mut self) -> u64 {
        let open = v1::OpenSession { client: "test".to_owned() };
        match self.read(Kind::OpenSession(open)).await {
            Answer::Session(session) => session.session,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn read(&mut self, kind: Kind) -> Answer {
        self.update(0, kind).await
    }

    pub(crate) async fn update(&mut self, sequence: u64, kind: Kind) -> Answer {
        let tag = self.send(sequence, kind).await;
        self.answer_of(tag).await.expect("the stream goes on")
    }

    /// Sends without waiting; the tag of the answer.
    pub(crate) async fn send(&mut self, sequence: u64, kind: Kind) -> u64 {
        self.tag += 1;
        let op = v1::Op { tag: self.tag, sequence, principal: None, kind: Some(kind) };
        self.ops.send(v1::OpBatch { hello: None, ops: vec![op] }).await.expect("the stream is open");
        self.tag
    }

    /// Asks for reads in one batch, and waits for all their answers.
    pub(crate) async fn read_all(&mut self, kinds: Vec<Kind>) -> Vec<Answer> {
        let op = |(tag, kind)| v1::Op { tag, sequence: 0, principal: None, kind: Some(kind) };
        let ops: Vec<v1::Op> = (self.tag + 1..).zip(kinds).map(op).collect();
        let count = ops.len();
        self.tag += count as u64;
        self.ops.send(v1::OpBatch { hello: None, ops }).await.expect("the stream is open");
        while self.early.len() < count {
            assert!(self.listen().await, "the stream goes on");
        }
        let mut replies = std::mem::take(&mut self.early);
        replies.sort_unstable_by_key(|reply| reply.tag);
        replies.into_iter().map(|reply| reply.result.expect("an answer")).collect()
    }

    /// The answer with this tag; none if the stream ends first.
    pub(crate) async fn answer_of(&mut self, tag: u64) -> Option<Answer> {
        loop {
            if let Some(at) = self.early.iter().position(|reply| reply.tag == tag) {
                return Some(self.early.remove(at).result.expect("an answer"));
            }
            if !self.listen().await {
                return None;
            }
        }
    }

    /// What is told next of what is watched.
    pub(crate) async fn changes(&mut self) -> v1::Changes {
        loop {
            if let Some(changes) = self.told.pop_front() {
                return changes;
            }
            assert!(self.listen().await, "the stream goes on");
        }
    }

    /// Takes in the next batch; false if the stream ends.
    async fn listen(&mut self) -> bool {
        let batch = tokio::time::timeout(DEADLINE, self.replies.message()).await.expect("an answer in time");
        match batch {
            Ok(Some(batch)) if batch.not_leader.is_none() => {
                self.early.extend(batch.replies);
                self.told.extend(batch.changes);
                true
            }
            _ => false,
        }
    }
}

pub(crate) fn code(answer: &Answer) -> Option<Code> {
    match answer {
        Answer::Error(error) => Some(error.typed_code()),
        _ => None,
    }
}

fn place(path: &str) -> Option<v1::Where> {
    Some(v1::Where { base: 0, path: path.as_bytes().to_vec() })
}

pub(crate) fn ownership() -> Option<v1::Ownership> {
    Some(v1::Ownership { uid: 1, gid: 1, mode: 0o755, umask: 0 })
}

pub(crate) fn destination(path: &str) -> Option<v1::Destination> {
    Some(v1::Destination { place: place(path), overwrite: false, parents: false })
}

pub(crate) fn mkdir(path: &str, parents: bool) -> Kind {
    Kind::Mkdir(v1::Mkdir { place: place(path), ownership: ownership(), parents })
}

pub(crate) fn put(path: &str, content: &[u8]) -> Kind {
    Kind::PutInline(v1::PutInline {
        destination: destination(path),
        ownership: ownership(),
        layout: None,
        content: content.to_vec().into(),
        mtime: None,
    })
}

pub(crate) fn create(path: &str) -> Kind {
    Kind::Create(v1::Create {
        destination: destination(path),
        ownership: ownership(),
        with_block: true,
        ..Default::default()
    })
}

pub(crate) fn stat(path: &str) -> Kind {
    Kind::Stat(v1::Stat { place: place(path) })
}

pub(crate) fn open(path: &str) -> Kind {
    Kind::Open(v1::Open { place: place(path), offset: 0, length: u64::MAX, reader: None })
}

pub(crate) fn delete(path: &str) -> Kind {
    Kind::Delete(v1::Delete { place: place(path), recursive: false })
}

/// What a datanode says.
#[derive(Debug, Clone)]
pub(crate) struct NodeClient {
    pub(crate) node: u64,
    pub(crate) host: u8,
}

impl NodeClient {
    pub(crate) async fn register(cluster: &Cluster, host: u8) -> Self {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            for address in cluster.addresses() {
                if let Ok(mut client) = DatanodesClient::connect(format!("http://{address}")).await {
                    let request = v1::RegisterRequest {
                        cluster: CLUSTER.as_bytes().to_vec(),
                        node: 0,
                        host: format!("host{host}"),
                        transfer: format!("127.0.0.1:{}", 10_000 + u16::from(host)),
                        rack: "rack".to_owned(),
                        storages: vec![vec![host; 16]],
                    };
                    if let Ok(reply) = client.register(request).await
                        && let Some(v1::register_reply::Result::Node(node)) = reply.into_inner().result
                    {
                        return Self { node, host };
                    }
                }
            }
            pause().await;
        }
        panic!("not registered within {DEADLINE:?}");
    }

    /// To every member; the tasks that the leader gave.
    pub(crate) async fn heartbeat(&self, cluster: &Cluster, results: Vec<v1::TaskResult>) -> Vec<v1::Task> {
        let mut tasks = Vec::new();
        for member in cluster.running() {
            if let Some(reply) = self.heartbeat_to(cluster, member, results.clone()).await {
                assert!(reply.leader || reply.tasks.is_empty(), "only the leader gives tasks");
                tasks.extend(reply.tasks);
            }
        }
        tasks
    }

    /// Heartbeats and says that every task it is given is done, until there are none. Gives the tasks.
    pub(crate) async fn serve(&self, cluster: &Cluster) -> Vec<v1::Task> {
        let done = |task: &v1::Task| v1::TaskResult {
            task: Some(task.clone()),
            error: None,
            bad_sources: vec![],
            offered: None,
            gathered: None,
        };
        let mut served = Vec::new();
        let mut results = Vec::new();
        loop {
            // The answer to results may bring tasks too.
            let tasks = self.heartbeat(cluster, results).await;
            if tasks.is_empty() {
                return served;
            }
            results = tasks.iter().map(done).collect();
            served.extend(tasks);
        }
    }

    pub(crate) async fn heartbeat_to(
        &self,
        cluster: &Cluster,
        member: u64,
        results: Vec<v1::TaskResult>,
    ) -> Option<v1::HeartbeatReply> {
        let address = cluster.address(member);
        let storage = v1::StorageReport {
            storage: vec![self.host; 16],
            capacity: 1 << 40,
            used: 0,
            free: 1 << 40,
            replicas: 0,
            failed: false,
            oldest_unverified_ms: 0,
            scrub: None,
        };
        let request = v1::HeartbeatRequest {
            cluster: CLUSTER.as_bytes().to_vec(),
            node: self.node,
            storages: vec![storage],
            results,
            ..Default::default()
        };
        self.send(address, request).await
    }

    /// A heartbeat that says what is on the disk, too.
    pub(crate) async fn tell(&self, cluster: &Cluster, member: u64, more: v1::HeartbeatRequest) -> v1::HeartbeatReply {
        let storage = v1::StorageReport { storage: vec![self.host; 16], free: 1 << 40, ..Default::default() };
        let request = v1::HeartbeatRequest {
            cluster: CLUSTER.as_bytes().to_vec(),
            node: self.node,
            storages: vec![storage],
            ..more
        };
        self.send(cluster.address(member), request).await.expect("it answers")
    }

    async fn send(&self, address: SocketAddr, request: v1::HeartbeatRequest) -> Option<v1::HeartbeatReply> {
        let mut client = DatanodesClient::connect(format!("http://{address}")).await.ok()?;
        let reply = tokio::time::timeout(Duration::from_secs(5), client.heartbeat(request)).await;
        reply.expect("an answer in time").ok().map(tonic::Response::into_inner)
    }
}
