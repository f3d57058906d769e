//! A leader that takes every datanode and hands out the tasks that a test gives it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use proto::v1;
use proto::v1::datanodes_server::{Datanodes, DatanodesServer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::bench;

#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) term: u64,
    ids: BTreeMap<Vec<u8>, u64>,
    pub(crate) tasks: BTreeMap<u64, Vec<v1::Task>>,
    pub(crate) results: Vec<v1::TaskResult>,
    pub(crate) bad: Vec<v1::BadReplica>,
    pub(crate) storages: BTreeMap<Vec<u8>, v1::StorageReport>,
    /// Of block tokens.
    pub(crate) keys: Vec<v1::TokenKey>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct State(pub(crate) Arc<Mutex<Seen>>);

#[derive(Debug)]
pub(crate) struct Namenode {
    pub(crate) address: SocketAddr,
    pub(crate) state: State,
    serving: JoinHandle<()>,
}

impl Namenode {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let state = State::default();
        {
            let mut seen = state.0.lock().expect("not poisoned");
            seen.term = 5;
            seen.keys = vec![bench::key(1)];
        }
        let server = tonic::transport::Server::builder().add_service(DatanodesServer::new(state.clone()));
        let serving = tokio::spawn(async move {
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("serves");
        });
        Self { address, state, serving }
    }

    pub(crate) fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.state.0.lock().expect("not poisoned"))
    }
}

impl Drop for Namenode {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tonic::async_trait]
impl Datanodes for State {
    async fn register(&self, request: Request<v1::RegisterRequest>) -> Result<Response<v1::RegisterReply>, Status> {
        let request = request.into_inner();
        let mut seen = self.0.lock().expect("not poisoned");
        let next = seen.ids.len() as u64 + 1;
        let id = *seen.ids.entry(request.storages[0].clone()).or_insert(next);
        Ok(Response::new(v1::RegisterReply { result: Some(v1::register_reply::Result::Node(id)) }))
    }

    async fn heartbeat(&self, request: Request<v1::HeartbeatRequest>) -> Result<Response<v1::HeartbeatReply>, Status> {
        let request = request.into_inner();
        let mut seen = self.0.lock().expect("not poisoned");
        seen.results.extend(request.results);
        let bad = |(storage, delta): (Vec<u8>, v1::ReplicaDelta)| {
            let is_bad = delta.kind == v1::replica_delta::Kind::Bad as i32;
            is_bad.then_some(v1::BadReplica { storage, block: delta.block, generation: delta.generation })
        };
        let deltas = request.deltas.into_iter();
        let deltas = deltas.flat_map(|of| of.deltas.into_iter().map(move |delta| (of.storage.clone(), delta)));
        seen.bad.extend(deltas.filter_map(bad));
        for report in request.storages {
            seen.storages.insert(report.storage.clone(), report);
        }
        let tasks = seen.tasks.remove(&request.node).unwrap_or_default();
        let (term, keys) = (seen.term, seen.keys.clone());
        let now = bench::NOW.nanos();
        Ok(Response::new(v1::HeartbeatReply { term, leader: true, tasks, now, keys, ..Default::default() }))
    }
}
