//! Raft messages between members: one stream in each direction, made anew when it breaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::v1;
use proto::v1::raft_client::RaftClient;
use proto::v1::raft_server;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use super::{CONNECTION_WINDOW, STREAM_WINDOW, Service};
use crate::raft::Queue;

/// Messages in one batch, and their bytes: past either, the next batch begins.
const BATCH_MESSAGES: usize = 64;
const BATCH_BYTES: usize = 2 << 20;
/// Between two attempts to connect. An election takes longer, so this adds little to a failover.
const RECONNECT: Duration = Duration::from_millis(100);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// While the raft thread has no room.
const BACK_OFF: Duration = Duration::from_millis(1);

/// The way to one member.
pub(super) struct Peer {
    pub(super) service: Arc<Service>,
    pub(super) node: u64,
    pub(super) address: SocketAddr,
    pub(super) queue: Queue,
}

impl Peer {
    pub(super) async fn run(mut self) {
        let stop = self.service.stop.clone();
        let mut connected = true;
        loop {
            let result = tokio::select! {
                () = stop.cancelled() => return,
                result = self.connection() => result,
            };
            match &result {
                Err(error) if connected => {
                    info!(node = self.node, address = %self.address, error, "member not reached")
                }
                Err(error) => debug!(node = self.node, error, "member not reached"),
                Ok(()) => info!(node = self.node, "the stream to a member has ended"),
            }
            connected = result.is_ok();
            // What waited is too old to be of use; the protocol sends it anew.
            self.queue.clear();
            self.service.raft.unreachable(self.node);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RECONNECT) => {}
            }
        }
    }

    /// Carries messages until the connection breaks.
    async fn connection(&mut self) -> Result<(), String> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).map_err(|error| error.to_string())?;
        let channel = endpoint
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5))
            .connect()
            .await
            .map_err(|error| error.to_string())?;
        let (batches, stream) = mpsc::channel(4);
        let mut client = RaftClient::new(channel).max_encoding_message_size(proto::MAX_MESSAGE);
        let call = client.send(ReceiverStream::new(stream));
        tokio::pin!(call);
        let mut messages = Vec::new();
        let mut first = true;
        loop {
            tokio::select! {
                // The other side ends the call only when it stops or refuses.
                result = &mut call => return result.map(drop).map_err(|status| status.message().to_owned()),
                count = self.queue.take(&mut messages, BATCH_MESSAGES) => {
                    if count == 0 {
                        return Ok(());
                    }
                }
            }
            for batch in self.pack(&mut messages, &mut first) {
                tokio::select! {
                    result = &mut call => return result.map(drop).map_err(|status| status.message().to_owned()),
                    sent = batches.send(batch) => sent.map_err(|_| "the stream broke".to_owned())?,
                }
            }
        }
    }

    fn pack(&self, messages: &mut Vec<Vec<u8>>, first: &mut bool) -> Vec<v1::RaftBatch> {
        let mut batches: Vec<v1::RaftBatch> = Vec::new();
        let mut bytes = 0;
        for message in messages.drain(..) {
            if batches.is_empty() || bytes + message.len() > BATCH_BYTES {
                batches.push(v1::RaftBatch {
                    cluster: if std::mem::take(first) {
                        self.service.config.cluster.as_bytes().to_vec()
                    } else {
                        vec![]
                    },
                    from: self.service.config.settings.node,
                    messages: Vec::new(),
                    persisted: self.service.progress.persisted.get(),
                    truncatable: self.service.progress.truncatable.get(),
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
        let request = request.into_inner();
        self.check(&request.cluster, request.from)?;
        super::snapshots::read(&self.0, request).map(Response::new)
    }

    async fn send(&self, request: Request<Streaming<v1::RaftBatch>>) -> Result<Response<v1::RaftClosed>, Status> {
        let mut batches = request.into_inner();
        let mut member = None;
        loop {
            let batch = tokio::select! {
                () = self.0.stop.cancelled() => break,
                batch = batches.message() => batch?,
            };
            let Some(batch) = batch else { break };
            let from = match member {
                None => *member.insert(self.check(&batch.cluster, batch.from)?),
                Some(member) if member == batch.from => member,
                Some(_) => return Err(Status::invalid_argument("the sender changed within a stream")),
            };
            self.0.progress.members[from as usize - 1].raise(batch.persisted);
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

impl Raft {
    /// The member that calls, from the first message of a stream.
    fn check(&self, cluster: &[u8], from: u64) -> Result<u64, Status> {
        if cluster != self.0.config.cluster.as_bytes() {
            warn!(from, "raft messages of another cluster are refused");
            return Err(Status::permission_denied(format!("this is cluster {}", self.0.config.cluster)));
        }
        let own = self.0.config.settings.node;
        if from == own || self.0.config.address_of(from).is_none() {
            warn!(from, "raft messages of a stranger are refused");
            return Err(Status::permission_denied(format!("node {from} is no other member here")));
        }
        Ok(from)
    }
}
