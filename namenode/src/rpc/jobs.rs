//! What operators ask of jobs.

use std::sync::Arc;

use namespace::command::{Command, Reply};
use namespace::job::{self, JobOrder, JobPlan, JobState, Numbered};
use namespace::query;
use namespace::repair::Facts;
use namespace::repair::drain::{self, Hold};
use namespace::row::BlockState;
use namespace::view::{View, ViewError};
use proto::v1;
use tonic::Status;
use tracing::info;
use types::{BlockId, JobId, NodeId, SessionId};

use super::Service;
use crate::duties::Count;
use crate::raft::Refusal;

/// The longest name of who asks.
const MAX_BY: usize = 255;

/// Has the cluster do something, which to say twice is as good as once: the caller asks again when this is aborted.
pub(super) async fn order(service: &Service, command: Command) -> Result<Reply, Status> {
    if !service.raft.leadership().serving {
        return Err(Status::failed_precondition("this member does not lead"));
    }
    match service.propose(vec![command]).await.map(|answers| answers.outcomes.into_iter().next()) {
        Ok(Some(Ok(reply))) => Ok(reply),
        Ok(Some(Err(error))) => Err(Status::failed_precondition(error.to_string())),
        Ok(None) => Err(Status::internal("the proposal has no answer")),
        Err(Refusal::Busy | Refusal::Unknown) => Err(Status::aborted("the cluster is busy; try again")),
        Err(Refusal::NotLeader) => Err(Status::aborted("the lead was lost meanwhile; try again")),
    }
}

/// The name of who asks.
pub(super) fn by(text: String) -> Result<String, Status> {
    if text.len() > MAX_BY {
        return Err(Status::invalid_argument(format!("the name of who asks is longer than {MAX_BY} bytes")));
    }
    Ok(text)
}

pub(super) async fn list(service: &Arc<Service>) -> Result<v1::JobsReply, Status> {
    let leads = service.raft.leadership().serving;
    let reader = service.clone();
    let read = tokio::task::spawn_blocking(move || read(&reader, leads)).await;
    let jobs = read
        .map_err(|error| Status::internal(error.to_string()))?
        .map_err(|error| Status::internal(error.to_string()))?;
    let (since, standing) = service.standing.read().filter(|_| leads).unwrap_or_default();
    let standing = standing.into_iter().map(|(duty, Count { done, failed, left })| v1::StandingJob {
        name: duty.name().to_owned(),
        unit: duty.unit().to_owned(),
        done,
        failed,
        left,
    });
    Ok(v1::JobsReply {
        jobs: jobs.into_iter().map(|(job, held)| v1::Job { held, ..wire(service, leads, job) }).collect(),
        standing: standing.collect(),
        standing_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
    })
}

/// All jobs; from the leader with what holds datanodes back that are to leave.
fn read(service: &Service, leads: bool) -> Result<Vec<(Numbered, Vec<v1::HeldBlock>)>, ViewError> {
    let held = service.store.state();
    let state = held.snapshot();
    let facts = service.datanodes.repair_facts();
    let with_held = |job: Numbered| match job.1.plan {
        JobPlan::Decommission { node } if leads && !job.1.state.has_ended() => {
            let blocks = held_back(&state, service.redundancy.held(node), &facts, node)?;
            Ok((job, blocks))
        }
        _ => Ok((job, Vec::new())),
    };
    job::all(&state)?.into_iter().map(with_held).collect()
}

/// Why each of the blocks holds a node back, if it still does.
fn held_back(
    state: &impl View,
    blocks: Vec<BlockId>,
    facts: &Facts,
    node: NodeId,
) -> Result<Vec<v1::HeldBlock>, ViewError> {
    let mut told = Vec::new();
    for block in blocks {
        let Some(row) = query::block(state, block)? else { continue };
        let Some(why) = drain::explain(block, &row, facts, node) else { continue };
        let writer = if why.hold == Hold::Written { query::writer(state, block.inode())? } else { None };
        let client = writer.map(|session| query::client_of(state, session)).transpose()?.flatten();
        let reason = match why.hold {
            Hold::Written if row.state == BlockState::Pending => v1::HoldReason::Allocated,
            Hold::Written => v1::HoldReason::Written,
            Hold::Waiting => v1::HoldReason::Waiting,
            Hold::NoTarget if why.lacks_room => v1::HoldReason::NoRoom,
            Hold::NoTarget => v1::HoldReason::NoHost,
            Hold::NoSource => v1::HoldReason::NoSource,
        };
        told.push(v1::HeldBlock {
            block: Some(block.into()),
            path: query::path(state, block.inode())?.unwrap_or_default(),
            length: row.length.get(),
            reason: reason.into(),
            last: why.last,
            session: writer.map_or(0, SessionId::get),
            client: client.unwrap_or_default(),
            silent: why.silent.iter().map(|node| node.get()).collect(),
        });
    }
    Ok(told)
}

fn wire(service: &Service, leads: bool, (job, row): Numbered) -> v1::Job {
    use v1::job::Plan;
    let plan = match row.plan {
        JobPlan::Balance { threshold_permille, bandwidth } => {
            Plan::Balance(v1::BalancePlan { threshold_permille, bandwidth: bandwidth.get() })
        }
        JobPlan::Decommission { node } => Plan::Decommission(node.get()),
        JobPlan::Maintenance { node, until } => {
            Plan::Maintenance(v1::MaintenancePlan { node: node.get(), until: until.nanos() })
        }
        JobPlan::Scrub { node, pass } => Plan::Scrub(v1::ScrubPlan { node: node.map_or(0, |node| node.get()), pass }),
    };
    let state = match row.state {
        JobState::Running => v1::JobState::Running,
        JobState::Paused => v1::JobState::Paused,
        JobState::Done => v1::JobState::Done,
        JobState::Failed => v1::JobState::Failed,
        JobState::Cancelled => v1::JobState::Cancelled,
    };
    let live = service.jobs_under_way.progress(job).filter(|_| leads && !row.state.has_ended());
    let (done, total) = live.as_ref().map_or((row.done, row.total), |live| (live.done, live.total));
    let eta = live.as_ref().and_then(|live| live.eta).filter(|_| row.state == JobState::Running);
    let held_total = match row.plan {
        JobPlan::Decommission { node } if leads && !row.state.has_ended() => {
            service.redundancy.tally(node).map_or(0, |tally| tally.left())
        }
        _ => 0,
    };
    v1::Job {
        id: job.get(),
        plan: Some(plan),
        owner: row.owner,
        reason: row.reason,
        state: state.into(),
        started: row.started.nanos(),
        changed: row.changed.nanos(),
        done,
        total,
        eta_ms: eta.map(|eta| u64::try_from(eta.as_millis()).unwrap_or(u64::MAX)),
        note: live.map(|live| live.note).unwrap_or_default(),
        result: row.result.unwrap_or_default(),
        held: Vec::new(),
        held_total,
    }
}

pub(super) async fn control(service: &Service, request: v1::ControlJobRequest) -> Result<(), Status> {
    let action = request.action();
    let (job, by) = (JobId::new(request.job), by(request.by)?);
    let asked = match action {
        v1::JobAction::Pause => JobOrder::Pause { job, pause: true },
        v1::JobAction::Resume => JobOrder::Pause { job, pause: false },
        v1::JobAction::Cancel => JobOrder::Cancel { job, by: by.clone() },
        v1::JobAction::Unspecified => return Err(Status::invalid_argument("ControlJobRequest.action is not known")),
    };
    order(service, Command::Job { order: asked }).await?;
    info!(%job, ?action, by, "an operator has a word with a job");
    Ok(())
}
