//! What operators call. Every member answers for itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use namespace::QueryError;
use namespace::command::{Command, Where};
use namespace::job::{JobOrder, JobPlan};
use namespace::policy;
use namespace::query;
use namespace::view::ViewError;
use proto::v1;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::info;
use types::{Code, InodeId, NodeId, Timestamp};

use super::Service;
use crate::audit::Entry;
use crate::deed::{Class, Deed, Subject};
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

    async fn audit(&self, request: Request<v1::AuditRequest>) -> Result<Response<v1::AuditReply>, Status> {
        let most = match request.into_inner().limit {
            0 => usize::MAX,
            limit => limit as usize,
        };
        Ok(Response::new(v1::AuditReply { entries: self.0.audit.recent(most) }))
    }

    async fn raft_transfer(
        &self,
        request: Request<v1::RaftTransferRequest>,
    ) -> Result<Response<v1::RaftTransferReply>, Status> {
        let (from, request) = (request.remote_addr(), request.into_inner());
        let (what, by) = (format!("namenode {}", request.node), String::new());
        let done = self.raft_transfer_now(request).await;
        self.noted(from, by, "RaftTransfer", what, done).await.map(Response::new)
    }

    async fn raft_add(&self, request: Request<v1::RaftAddRequest>) -> Result<Response<v1::RaftAddReply>, Status> {
        let (from, request) = (request.remote_addr(), request.into_inner());
        let (what, by) = (request.address.clone(), String::new());
        let done = self.raft_add_now(request).await;
        self.noted(from, by, "RaftAdd", what, done).await.map(Response::new)
    }

    async fn raft_remove(
        &self,
        request: Request<v1::RaftRemoveRequest>,
    ) -> Result<Response<v1::RaftRemoveReply>, Status> {
        let (from, request) = (request.remote_addr(), request.into_inner());
        let (what, by) = (format!("namenode {}", request.node), String::new());
        let done = self.raft_remove_now(request).await;
        self.noted(from, by, "RaftRemove", what, done).await.map(Response::new)
    }

    async fn raft_snapshot(
        &self,
        _: Request<v1::RaftSnapshotRequest>,
    ) -> Result<Response<v1::RaftSnapshotReply>, Status> {
        let index = super::membership::snapshot(&self.0).await?;
        Ok(Response::new(v1::RaftSnapshotReply { index }))
    }

    async fn scrub(&self, request: Request<v1::ScrubRequest>) -> Result<Response<v1::ScrubReply>, Status> {
        let (from, request) = (request.remote_addr(), request.into_inner());
        let (what, by) = (datanode_or_all(request.node), request.by.clone());
        let done = self.scrub_now(request).await;
        self.noted(from, by, "Scrub", what, done).await.map(Response::new)
    }

    async fn policies(&self, _: Request<v1::PoliciesRequest>) -> Result<Response<v1::PoliciesReply>, Status> {
        super::policies::list(&self.0).map(Response::new)
    }

    async fn set_policy(&self, request: Request<v1::SetPolicyRequest>) -> Result<Response<v1::SetPolicyReply>, Status> {
        let (from, request) = (request.remote_addr(), request.into_inner());
        let value = request.value.map_or_else(|| "as configured".to_owned(), |value| value.to_string());
        let (what, by) = (format!("{}: {value}", request.name), request.by.clone());
        let done = super::policies::set(&self.0, request).await.map(|()| v1::SetPolicyReply {});
        self.noted(from, by, "SetPolicy", what, done).await.map(Response::new)
    }

    async fn examine(&self, _: Request<v1::ExamineRequest>) -> Result<Response<v1::ExamineReply>, Status> {
        super::examine::run(&self.0).await.map(Response::new)
    }

    async fn jobs(&self, _: Request<v1::JobsRequest>) -> Result<Response<v1::JobsReply>, Status> {
        super::jobs::list(&self.0).await.map(Response::new)
    }

    async fn balance(&self, request: Request<v1::BalanceRequest>) -> Result<Response<v1::BalanceReply>, Status> {
        let (from, request) = (request.remote_addr(), request.into_inner());
        let by = request.by.clone();
        let done = super::balance::start(&self.0, request).await;
        self.noted(from, by, "Balance", "all datanodes".to_owned(), done).await.map(Response::new)
    }

    async fn control_job(
        &self,
        request: Request<v1::ControlJobRequest>,
    ) -> Result<Response<v1::ControlJobReply>, Status> {
        let (from, request) = (request.remote_addr(), request.into_inner());
        let (what, by) = (format!("job {}: {}", request.job, request.action().as_str_name()), request.by.clone());
        let done = self.control_job_now(request).await;
        self.noted(from, by, "ControlJob", what, done).await.map(Response::new)
    }

    async fn report(&self, _: Request<v1::ReportRequest>) -> Result<Response<v1::ReportReply>, Status> {
        let tally = |node| self.0.redundancy.tally(node).filter(|_| self.0.raft.leadership().serving);
        Ok(Response::new(v1::ReportReply { datanodes: self.0.datanodes.report(tally) }))
    }

    async fn set_service(
        &self,
        request: Request<v1::SetServiceRequest>,
    ) -> Result<Response<v1::SetServiceReply>, Status> {
        let (from, request) = (request.remote_addr(), request.into_inner());
        let (what, by) =
            (format!("datanode {}: {}", request.node, request.service().as_str_name()), request.by.clone());
        let done = self.set_service_now(request).await;
        self.noted(from, by, "SetService", what, done).await.map(Response::new)
    }
}

impl Admin {
    /// Writes a line of what an operator did into the audit log. Nobody proves who it is: the name is what it calls itself.
    async fn noted<T>(
        &self,
        from: Option<SocketAddr>,
        by: String,
        operation: &'static str,
        what: String,
        done: Result<T, Status>,
    ) -> Result<T, Status> {
        let refused = done.as_ref().err().map(|status| match status.code() {
            tonic::Code::InvalidArgument => Code::InvalidArgument,
            tonic::Code::NotFound => Code::NotFound,
            tonic::Code::FailedPrecondition => Code::PreconditionFailed,
            tonic::Code::Aborted | tonic::Code::Unavailable => Code::Busy,
            _ => Code::Io,
        });
        if self.0.audit.takes(Class::Change, refused) {
            let deed = Deed::new(operation, Class::Change).on(Subject::Text(what));
            let from = from.map_or_else(String::new, |address| address.to_string()).into();
            let entry = Entry { at: SystemTime::now(), deed, principal: None, by, from, session: None, refused };
            self.0.audit.write(vec![entry]).await;
        }
        done
    }

    async fn raft_transfer_now(&self, request: v1::RaftTransferRequest) -> Result<v1::RaftTransferReply, Status> {
        let (service, node) = (&self.0, request.node);
        let leadership = service.raft.leadership();
        if !leadership.serving {
            return Err(Status::failed_precondition("this member does not lead"));
        }
        if node == service.config.settings.node {
            let reply = v1::RaftTransferReply { term: leadership.term, leader: node };
            return Ok(reply);
        }
        if node != 0 && service.roster.group().member(node).is_none() {
            return Err(Status::invalid_argument(format!("namenode {node} is not a member")));
        }
        match service.raft.hand_over((node != 0).then_some(node), TRANSFER).await {
            Some(now) => Ok(v1::RaftTransferReply { term: now.term, leader: now.leader }),
            None => Err(Status::unavailable("no other member took over: is it running, and up to date?")),
        }
    }

    async fn raft_add_now(&self, request: v1::RaftAddRequest) -> Result<v1::RaftAddReply, Status> {
        let node = super::membership::add(&self.0, &request.address).await?;
        Ok(v1::RaftAddReply { node })
    }

    async fn raft_remove_now(&self, request: v1::RaftRemoveRequest) -> Result<v1::RaftRemoveReply, Status> {
        super::membership::remove(&self.0, request.node).await?;
        Ok(v1::RaftRemoveReply {})
    }

    async fn scrub_now(&self, request: v1::ScrubRequest) -> Result<v1::ScrubReply, Status> {
        let (service, v1::ScrubRequest { node, pass, by }) = (&self.0, request);
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
        Ok(v1::ScrubReply { nodes: nodes.iter().map(|node| node.get()).collect() })
    }

    async fn control_job_now(&self, request: v1::ControlJobRequest) -> Result<v1::ControlJobReply, Status> {
        super::jobs::control(&self.0, request).await?;
        Ok(v1::ControlJobReply {})
    }

    async fn set_service_now(&self, request: v1::SetServiceRequest) -> Result<v1::SetServiceReply, Status> {
        let service = wire::service(&request, wall_clock());
        let (node, service) = service.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let by = super::jobs::by(request.by)?;
        let command = Command::SetService { node, service, only_if: None, by: Some(by.clone()) };
        super::jobs::order(&self.0, command).await?;
        info!(%node, ?service, by, "an operator says whether a datanode takes part");
        Ok(v1::SetServiceReply {})
    }
}

fn datanode_or_all(node: u64) -> String {
    if node == 0 { "all datanodes".to_owned() } else { format!("datanode {node}") }
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
        safe_mode: counted.safe_mode,
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
    safe_mode: Option<v1::SafeMode>,
}

fn count(store: &Store) -> Result<Counted, ViewError> {
    let held = store.state();
    let state = held.snapshot();
    let root = Where { base: InodeId::ROOT, path: Vec::new() };
    let safe_mode = policy::safe_mode(&state)?
        .map(|on| v1::SafeMode { since: on.since.map_or(0, Timestamp::nanos), by: on.by.unwrap_or_default() });
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
        safe_mode,
    })
}
