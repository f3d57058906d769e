//! What listens: the services that clients, datanodes, operators and the other members call.
//!
//! Only a leader gives tasks, and answers clients, but for their reads. Whoever calls another member is told who leads, if that is known.

mod admin;
mod balance;
mod datanodes;
mod examine;
mod fsck;
mod jobs;
mod membership;
mod metadata;
mod peers;
mod policies;
mod snapshots;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use namespace::command::{Command, Request};
use proto::v1;
use proto::v1::admin_server::AdminServer;
use proto::v1::datanodes_server::DatanodesServer;
use proto::v1::metadata_server::MetadataServer;
use proto::v1::raft_server::RaftServer;
use tokio::net::TcpListener;
use tokio::runtime::Handle as Runtime;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;

use crate::audit::AuditLog;
use crate::datanodes::Datanodes;
use crate::datanodes::racks::Racks;
use crate::duties::{Board, Event, Inventories, JobBoard, Redundancy, Standing, Stuck};
use crate::effective::Effective;
use crate::failure::Failures;
use crate::identity::Founder;
use crate::locks::LockQueue;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::quarantine::Quarantine;
use crate::queue::Sender;
use crate::raft::{Answers, Exports, Fetch, Handle, Opened, Refusal, wall_clock};
use crate::readers::Job;
use crate::roster::Roster;
use crate::sessions::Sessions;
use crate::settings::Config;
use crate::signs::Signs;
use crate::store::Store;
use crate::watches::Watches;

pub(crate) use admin::status;

/// How much a peer may send before it must wait, for a stream and for a connection.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Streams that one connection may hold open.
const STREAMS: u32 = 1024;

/// How long a registration may take. A leader without a majority steps down sooner.
const PROPOSAL_TIMEOUT: Duration = Duration::from_secs(10);

/// What the services work with.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) config: Config,
    pub(crate) raft: Handle,
    pub(crate) progress: Arc<Progress>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) store: Arc<Store>,
    /// The settings that hold, policies of the cluster included.
    pub(crate) effective: Arc<Effective>,
    pub(crate) datanodes: Arc<Datanodes>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) locks: Arc<LockQueue>,
    pub(crate) watches: Arc<Watches>,
    pub(crate) racks: Arc<Racks>,
    /// Numbers the streams of clients.
    pub(crate) next_stream: AtomicU64,
    pub(crate) jobs: Sender<Job>,
    pub(crate) board: Arc<Board>,
    pub(crate) inventories: Arc<Inventories>,
    pub(crate) redundancy: Arc<Redundancy>,
    pub(crate) jobs_under_way: Arc<JobBoard>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) stuck: Arc<Stuck>,
    pub(crate) signs: Signs,
    pub(crate) events: Sender<Event>,
    /// Makes each choice of targets another one.
    pub(crate) seed: AtomicU64,
    /// Ends every stream.
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) exports: Arc<Exports>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) quarantine: Quarantine,
    /// One `fsck` at a time.
    pub(crate) checks: Arc<Semaphore>,
    /// With whom the cluster began.
    pub(crate) founders: Vec<Founder>,
}

impl Service {
    fn next_seed(&self) -> u64 {
        self.seed.fetch_add(1, Ordering::Relaxed)
    }

    fn not_leader(&self) -> v1::NotLeader {
        let leadership = self.raft.leadership();
        // A member that leads but does not serve yet is asked again, not pointed to.
        let leader = if leadership.leader == self.config.settings.node { 0 } else { leadership.leader };
        let address = self.roster.address(leader).map(|address| address.to_string());
        v1::NotLeader { term: leadership.term, leader: address.unwrap_or_default() }
    }

    /// Proposes the leader's own commands and waits for their answers.
    async fn propose(&self, commands: Vec<Command>) -> Result<Answers, Refusal> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let time = wall_clock();
        let requests =
            commands.into_iter().map(|command| Request { time, origin: None, command, principal: None }).collect();
        self.raft.propose(requests, Box::new(move |answer| drop(sender.send(answer))));
        match tokio::time::timeout(PROPOSAL_TIMEOUT, receiver).await {
            Ok(answer) => answer.unwrap_or(Err(Refusal::NotLeader)),
            Err(_) => Err(Refusal::Unknown),
        }
    }
}

/// Serves until `stop`, and until every stream has ended.
pub(crate) async fn serve(service: Arc<Service>, listener: TcpListener) -> Result<(), tonic::transport::Error> {
    let stop = service.stop.clone();
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let limit = proto::MAX_MESSAGE;
    let metadata = MetadataServer::new(metadata::Metadata(service.clone()))
        .max_decoding_message_size(limit)
        .max_encoding_message_size(limit);
    let raft = RaftServer::new(peers::Raft(service.clone())).max_decoding_message_size(limit);
    let datanodes = DatanodesServer::new(datanodes::Datanodes(service.clone()))
        .max_decoding_message_size(limit)
        .max_encoding_message_size(limit);
    let admin = AdminServer::new(admin::Admin(service)).max_encoding_message_size(limit);
    Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .add_service(metadata)
        .add_service(raft)
        .add_service(datanodes)
        .add_service(admin)
        .serve_with_incoming_shutdown(incoming, async move { stop.cancelled().await })
        .await
}

/// Starts the task that connects to other members.
pub(crate) fn connect(service: &Arc<Service>, opened: Opened) {
    service.tasks.spawn(peers::connect(service.clone(), opened));
}

/// A library error with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Starts the thread that pulls snapshots, until `stop`. It waits for the network and for the disk, so it is no task.
pub(crate) fn fetch(
    service: &Arc<Service>,
    runtime: &Runtime,
    fetches: watch::Receiver<Option<Fetch>>,
    failures: &Failures,
) -> std::io::Result<JoinHandle<()>> {
    let fetcher = snapshots::Fetcher { service: service.clone(), fetches };
    let runtime = runtime.clone();
    failures.thread("fetch thread", move || {
        runtime.block_on(fetcher.run());
        Ok(())
    })
}
