//! Raft messages between members: one stream in each direction, made anew when it breaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::v1;
use proto::v1::raft_client::RaftClient;
use proto::v1::raft_server;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::{debug, info, warn};
use types::DiskId;

use super::{CONNECTION_WINDOW, STREAM_WINDOW, Service};
use crate::raft::{Opened, Queue};
use crate::roster::{Greeting, Refused};

/// Messages in one batch, and their bytes: past either, the next batch begins.
const BATCH_MESSAGES: usize = 64;
const BATCH_BYTES: usize = 2 << 20;
/// Between two attempts to connect. An election takes longer, so this adds little to a failover.
const RECONNECT: Duration = Duration::from_millis(100);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// While the raft thread has no room.
const BACK_OFF: Duration = Duration::from_millis(1);

/// Connects to each member that there is a message for.
pub(super) async fn connect(service: Arc<Service>, mut opened: Opened) {
    let stop = service.stop.clone();
    loop {
        let (node, queue) = tokio::select! {
            () = stop.cancelled() => return,
            opened = opened.recv() => match opened {
                Some(opened) => opened,
                None => return,
            },
        };
        service.tasks.spawn(Peer { service: service.clone(), node, queue, attempts: 0 }.run());
    }
}

/// The way to one member.
struct Peer {
    service: Arc<Service>,
    node: u64,
    queue: Queue,
    /// In vain, since the last connection.
    attempts: usize,
}

/// Why there is no connection (any more).
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("no address of it is known")]
    Nowhere,
    #[error("{}", crate::rpc::chain(.0))]
    Transport(#[from] tonic::transport::Error),
    #[error("{}", .0.message())]
    Status(Box<Status>),
    #[error("the stream broke")]
    Stream,
}

impl Peer {
    async fn run(mut self) {
        let stop = self.service.stop.clone();
        let mut connected = true;
        while self.service.roster.knows(self.node) {
            let candidates = self.service.roster.addresses(self.node);
            let address = candidates.get(self.attempts % candidates.len().max(1)).copied();
            let result = tokio::select! {
                () = stop.cancelled() => return,
                result = self.connection(address) => result,
            };
            match &result {
                Err(Broken::Status(status)) if status.code() == Code::FailedPrecondition => {
                    self.service.quarantine.enter(status.message());
                    return;
                }
                Err(error) if connected => info!(node = self.node, ?address, %error, "member not reached"),
                Err(error) => debug!(node = self.node, ?address, %error, "member not reached"),
                Ok(()) => info!(node = self.node, "the stream to a member has ended"),
            }
            connected = result.is_ok();
            self.attempts = if connected { 0 } else { self.attempts.wrapping_add(1) };
            // What waited is too old to be of use; the protocol sends it anew.
            self.queue.clear();
            self.service.raft.unreachable(self.node);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RECONNECT) => {}
            }
        }
        debug!(node = self.node, "no member any more");
    }

    /// Carries messages until the connection breaks.
    async fn connection(&mut self, address: Option<SocketAddr>) -> Result<(), Broken> {
        let address = address.ok_or(Broken::Nowhere)?;
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5))
            .connect()
            .await?;
        let (batches, stream) = mpsc::channel(4);
        let mut client = RaftClient::new(channel).max_encoding_message_size(proto::MAX_MESSAGE);
        let call = client.send(ReceiverStream::new(stream));
        tokio::pin!(call);
        let refused = |status: Status| Broken::Status(Box::new(status));
        let mut messages = Vec::new();
        let mut first = true;
        loop {
            tokio::select! {
                // The other side ends the call only when it stops or refuses.
                result = &mut call => return result.map(drop).map_err(refused),
                count = self.queue.take(&mut messages, BATCH_MESSAGES) => {
                    if count == 0 {
                        return Ok(());
                    }
                }
            }
            for batch in self.pack(&mut messages, &mut first) {
                tokio::select! {
                    result = &mut call => return result.map(drop).map_err(refused),
                    sent = batches.send(batch) => sent.map_err(|_| Broken::Stream)?,
                }
            }
        }
    }

    fn pack(&self, messages: &mut Vec<Vec<u8>>, first: &mut bool) -> Vec<v1::RaftBatch> {
        let mut batches: Vec<v1::RaftBatch> = Vec::new();
        let mut bytes = 0;
        for message in messages.drain(..) {
            if batches.is_empty() || bytes + message.len() > BATCH_BYTES {
                let first = std::mem::take(first);
                batches.push(v1::RaftBatch {
                    cluster: if first { self.service.config.cluster.as_bytes().to_vec() } else { Vec::new() },
                    from: self.service.config.settings.node,
                    messages: Vec::new(),
                    persisted: self.service.progress.persisted.get(),
                    truncatable: self.service.progress.truncatable.get(),
                    hello: first.then(|| hello(&self.service, self.node)),
                });
                bytes = 0;
            }
            bytes += message.len();
            batches.last_mut().expect("just made").messages.push(message);
        }
        batches
    }
}

/// The receiving side.
pub(super) struct Raft(pub(super) Arc<Service>);

#[tonic::async_trait]
impl raft_server::Raft for Raft {
    type ReadSnapshotStream = ReceiverStream<Result<v1::SnapshotChunk, Status>>;

    async fn read_snapshot(
        &self,
        request: Request<v1::SnapshotRead>,
    ) -> Result<Response<Self::ReadSnapshotStream>, Status> {
        let mut request = request.into_inner();
        let hello = request.hello.take();
        let persisted = self.0.roster.persisted(request.from);
        let greeting = greeting(&request.cluster, request.from, hello, persisted)?;
        self.0.roster.admit(&greeting, Instant::now()).map_err(|refused| refuse(&greeting, refused))?;
        super::snapshots::read(&self.0, request).map(Response::new)
    }

    async fn send(&self, request: Request<Streaming<v1::RaftBatch>>) -> Result<Response<v1::RaftClosed>, Status> {
        let mut batches = request.into_inner();
        let mut member = None;
        let result = self.receive(&mut batches, &mut member).await;
        if let Some(Greeting { from, instance, .. }) = member {
            self.0.roster.left(from, instance);
        }
        result
    }
}

impl Raft {
    /// Until the stream ends. `member`: who sends, from its first batch on.
    async fn receive(
        &self,
        batches: &mut Streaming<v1::RaftBatch>,
        member: &mut Option<Greeting>,
    ) -> Result<Response<v1::RaftClosed>, Status> {
        loop {
            let batch = tokio::select! {
                () = self.0.stop.cancelled() => break,
                batch = batches.message() => batch?,
            };
            let Some(batch) = batch else { break };
            let from = match member {
                None => member.insert(greeting(&batch.cluster, batch.from, batch.hello, batch.persisted)?),
                Some(greeting) if greeting.from == batch.from => greeting,
                Some(_) => return Err(Status::invalid_argument("the sender changed within a stream")),
            };
            from.persisted = batch.persisted;
            // With every batch: it may have been removed meanwhile.
            self.0.roster.admit(from, Instant::now()).map_err(|refused| refuse(from, refused))?;
            self.0.progress.truncatable.raise(batch.truncatable);
            let mut messages = batch.messages;
            while let Err(refused) = self.0.raft.messages(messages) {
                messages = refused;
                tokio::time::sleep(BACK_OFF).await;
            }
        }
        Ok(Response::new(v1::RaftClosed {}))
    }
}

/// What this member says of itself to `to`.
pub(super) fn hello(service: &Service, to: u64) -> v1::RaftHello {
    let own = service.roster.own();
    v1::RaftHello {
        to,
        disk: own.disk.map_or_else(Vec::new, |disk| disk.as_bytes().to_vec()),
        instance: own.instance,
        address: own.address.to_string(),
    }
}

/// What a caller says of itself.
fn greeting(cluster: &[u8], from: u64, hello: Option<v1::RaftHello>, persisted: u64) -> Result<Greeting, Status> {
    let hello = hello.ok_or_else(|| Status::invalid_argument("the sender does not say who it is"))?;
    let disk = match <[u8; 16]>::try_from(hello.disk.as_slice()) {
        Ok(disk) => Some(DiskId::from_bytes(disk)),
        Err(_) if hello.disk.is_empty() => None,
        Err(_) => return Err(Status::invalid_argument("a disk id has 16 bytes")),
    };
    // Without TLS, nothing but loopback is ever connected to.
    let address = hello.address.parse().ok().filter(|address: &SocketAddr| address.ip().is_loopback());
    let (cluster, to, instance) = (cluster.to_vec(), hello.to, hello.instance);
    Ok(Greeting { cluster, from, to, disk, instance, address, persisted })
}

fn refuse(greeting: &Greeting, refused: Refused) -> Status {
    if matches!(refused, Refused::Misdirected(_)) {
        debug!(from = greeting.from, to = greeting.to, "a member looks for another one here");
    } else {
        warn!(from = greeting.from, %refused, "a member is refused");
    }
    if refused.is_final() {
        Status::failed_precondition(refused.to_string())
    } else {
        Status::permission_denied(refused.to_string())
    }
}
