//! What operators call. Every member answers for itself.

use std::sync::Arc;
use std::time::Duration;

use namespace::QueryError;
use namespace::command::{Command, Where};
use namespace::job::{JobOrder, JobPlan};
use namespace::query;
use namespace::view::ViewError;
use proto::v1;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::info;
use types::{InodeId, NodeId};

use super::Service;
use crate::identity::Founder;
use crate::raft::wall_clock;
use crate::store::Store;
use crate::wire;

/// How long another member may take to lead. The library gives a transfer up after an election timeout.
const TRANSFER: Duration = Duration::from_secs(3);
/// Sessions counted; more are told as this many.
const MAX_SESSIONS: usize = 100_000;

pub(super) struct Admin(pub(super) Arc<Service>);

#[tonic::async_trait]
impl v1::admin_server::Admin for Admin {
    type FsckStream = ReceiverStream<Result<v1::FsckBatch, Status>>;

    async fn fsck(&self, request: Request<v1::FsckRequest>) -> Result<Response<Self::FsckStream>, Status> {
        super::fsck::start(&self.0, request.into_inner()).map(Response::new)
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        status(&self.0).await.map(Response::new)
    }

    async fn raft_transfer(
        &self,
        request: Request<v1::RaftTransferRequest>,
    ) -> Result<Response<v1::RaftTransferReply>, Status> {
        let (service, node) = (&self.0, request.into_inner().node);
        let leadership = service.raft.leadership();
        if !leadership.serving {
            return Err(Status::failed_precondition("this member does not lead"));
        }
        if node == service.config.settings.node {
            let reply = v1::RaftTransferReply { term: leadership.term, leader: node };
            return Ok(Response::new(reply));
        }
        if node != 0 && service.roster.group().member(node).is_none() {
            return Err(Status::invalid_argument(format!("namenode {node} is not a member")));
        }
        match service.raft.hand_over((node != 0).then_some(node), TRANSFER).await {
            Some(now) => Ok(Response::new(v1::RaftTransferReply { term: now.term, leader: now.leader })),
            None => Err(Status::unavailable("no other member took over: is it running, and up to date?")),
        }
    }

    async fn raft_add(&self, request: Request<v1::RaftAddRequest>) -> Result<Response<v1::RaftAddReply>, Status> {
        let address = request.into_inner().address;
        let node = super::membership::add(&self.0, &address).await?;
        Ok(Response::new(v1::RaftAddReply { node }))
    }

    async fn raft_remove(
        &self,
        request: Request<v1::RaftRemoveRequest>,
    ) -> Result<Response<v1::RaftRemoveReply>, Status> {
        super::membership::remove(&self.0, request.into_inner().node).await?;
        Ok(Response::new(v1::RaftRemoveReply {}))
    }

    async fn raft_snapshot(
        &self,
        _: Request<v1::RaftSnapshotRequest>,
    ) -> Result<Response<v1::RaftSnapshotReply>, Status> {
        let index = super::membership::snapshot(&self.0).await?;
        Ok(Response::new(v1::RaftSnapshotReply { index }))
    }

    async fn scrub(&self, request: Request<v1::ScrubRequest>) -> Result<Response<v1::ScrubReply>, Status> {
        let (service, v1::ScrubRequest { node, pass, by }) = (&self.0, request.into_inner());
        if pass == 0 {
            return Err(Status::invalid_argument("ScrubRequest.pass is 0"));
        }
        let mut nodes = service.datanodes.registered();
        if node != 0 {
            nodes.retain(|registered| registered.get() == node);
            if nodes.is_empty() {
                return Err(Status::not_found(format!("no datanode {node} has registered")));
            }
        }
        let plan = JobPlan::Scrub { node: (node != 0).then(|| NodeId::new(node)), pass };
        let (owner, reason) = (super::jobs::by(by)?, "everything is to be read and checked".to_owned());
        // The duties tell the datanodes.
        super::jobs::order(service, Command::Job { order: JobOrder::Start { plan, owner, reason, token: pass } })
            .await?;
        Ok(Response::new(v1::ScrubReply { nodes: nodes.iter().map(|node| node.get()).collect() }))
    }

    async fn jobs(&self, _: Request<v1::JobsRequest>) -> Result<Response<v1::JobsReply>, Status> {
        super::jobs::list(&self.0).await.map(Response::new)
    }

    async fn balance(&self, request: Request<v1::BalanceRequest>) -> Result<Response<v1::BalanceReply>, Status> {
        super::balance::start(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn control_job(
        &self,
        request: Request<v1::ControlJobRequest>,
    ) -> Result<Response<v1::ControlJobReply>, Status> {
        super::jobs::control(&self.0, request.into_inner()).await?;
        Ok(Response::new(v1::ControlJobReply {}))
    }

    async fn report(&self, _: Request<v1::ReportRequest>) -> Result<Response<v1::ReportReply>, Status> {
        let tally = |node| self.0.redundancy.tally(node).filter(|_| self.0.raft.leadership().serving);
        Ok(Response::new(v1::ReportReply { datanodes: self.0.datanodes.report(tally) }))
    }

    async fn set_service(
        &self,
        request: Request<v1::SetServiceRequest>,
    ) -> Result<Response<v1::SetServiceReply>, Status> {
        let request = request.into_inner();
        let service = wire::service(&request, wall_clock());
        let (node, service) = service.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let by = super::jobs::by(request.by)?;
        let command = Command::SetService { node, service, only_if: None, by: Some(by.clone()) };
        super::jobs::order(&self.0, command).await?;
        info!(%node, ?service, by, "an operator says whether a datanode takes part");
        Ok(Response::new(v1::SetServiceReply {}))
    }
}

/// What this member says of itself.
pub(crate) async fn status(service: &Service) -> Result<v1::StatusReply, Status> {
    let raft = service.raft.status().await;
    let raft = raft.ok_or_else(|| Status::unavailable("the raft thread does not answer"))?;
    let store = service.store.clone();
    let counted = tokio::task::spawn_blocking(move || count(&store)).await;
    let counted = counted
        .map_err(|error| Status::internal(error.to_string()))?
        .map_err(|error| Status::internal(error.to_string()))?;
    let members = raft.matched.iter().map(|&(node, matched)| v1::Member {
        node,
        address: service.roster.address(node).map(|address| address.to_string()).unwrap_or_default(),
        matched,
        voter: raft.group.votes(node),
    });
    let report = service.datanodes.report(|_| None);
    let alive = |liveness: v1::Liveness| {
        u32::try_from(report.iter().filter(|node| node.liveness == liveness as i32).count()).unwrap_or(u32::MAX)
    };
    let counters = &service.progress.counters;
    let leads = service.raft.leadership().serving;
    Ok(v1::StatusReply {
        cluster: service.config.cluster.as_bytes().to_vec(),
        node: service.config.settings.node,
        term: raft.term,
        leader: raft.leader,
        commit: raft.commit,
        applied: service.progress.applied.get(),
        first_index: raft.first,
        last_index: raft.last,
        members: members.collect(),
        files: counted.files,
        directories: counted.directories,
        bytes: counted.bytes,
        blocks: counted.blocks,
        sessions: counted.sessions,
        redundancy: if leads { service.redundancy.wire() } else { None },
        log: Some(v1::LogStatistics {
            syncs: counters.syncs.get(),
            entries: counters.entries.get(),
            commands: counters.commands.get(),
            bytes: counters.bytes.get(),
        }),
        datanodes_alive: alive(v1::Liveness::Alive),
        datanodes_suspect: alive(v1::Liveness::Suspect),
        datanodes_dead: alive(v1::Liveness::Dead),
        disk: service.roster.own().disk.map_or_else(Vec::new, |disk| disk.as_bytes().to_vec()),
        founders: service.founders.iter().map(founder).collect(),
        removed: raft.group.removed,
        stalled: service.raft.stalled(),
    })
}

fn founder(founder: &Founder) -> v1::Founder {
    v1::Founder { node: founder.node, disk: founder.disk.as_bytes().to_vec() }
}

#[derive(Default)]
struct Counted {
    files: u64,
    directories: u64,
    bytes: u64,
    blocks: u64,
    sessions: u64,
}

fn count(store: &Store) -> Result<Counted, ViewError> {
    let held = store.state();
    let state = held.snapshot();
    let root = Where { base: InodeId::ROOT, path: Vec::new() };
    let usage = match query::stat(&state, namespace::Caller::SYSTEM, &root) {
        Ok(row) => row.usage.unwrap_or_default(),
        // Not formatted yet.
        Err(QueryError::Refused(_)) => return Ok(Counted::default()),
        Err(QueryError::View(error)) => return Err(error),
    };
    Ok(Counted {
        files: usage.files,
        directories: usage.directories,
        bytes: usage.bytes,
        blocks: query::totals(&state)?.blocks,
        sessions: query::sessions(&state, None, MAX_SESSIONS)?.len() as u64,
    })
}
