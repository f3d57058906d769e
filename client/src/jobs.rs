//! Background work that somebody asked for, as an administrator sees it.

use std::time::Duration;

use proto::v1;
use serde::Serialize;
use types::{ByteSize, Code, JobId, NodeId, Timestamp};

use crate::admin::Admin;
use crate::error::{Error, Fault};
use crate::wire::broken;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum JobPlan {
    /// Moves replicas until no volume is fuller or emptier than all together by more than the threshold.
    Balance {
        threshold_permille: u32,
        /// Of each datanode, in a second.
        bandwidth: ByteSize,
    },
    /// Has a datanode leave.
    Decommission { node: NodeId },
    /// A datanode may be away until then.
    Maintenance { node: NodeId, until: Timestamp },
    /// Has every replica of a datanode, or of all, read and checked.
    Scrub { node: Option<NodeId>, pass: u64 },
}

impl JobPlan {
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Balance { .. } => "balance",
            Self::Decommission { .. } => "decommission",
            Self::Maintenance { .. } => "maintenance",
            Self::Scrub { .. } => "scrub",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Running,
    Paused,
    Done,
    Failed,
    Cancelled,
}

impl JobState {
    pub const fn has_ended(self) -> bool {
        match self {
            Self::Running | Self::Paused => false,
            Self::Done | Self::Failed | Self::Cancelled => true,
        }
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Job {
    pub id: JobId,
    pub plan: JobPlan,
    /// Who asked for it, for people.
    pub owner: String,
    /// Why, for people.
    pub reason: String,
    pub state: JobState,
    pub started: Timestamp,
    /// When the state became what it is.
    pub changed: Timestamp,
    /// So much is done of so much: bytes of a balance or of a pass of the scrubber, blocks of a datanode that leaves. A
    /// total of 0 is not known yet.
    pub done: u64,
    pub total: u64,
    /// By the pace so far.
    pub eta: Option<Duration>,
    /// What it is at, or waits for.
    pub note: String,
    /// How it ended.
    pub result: Option<String>,
}

/// What the leader does unasked, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StandingJob {
    pub name: String,
    /// What is counted, in words.
    pub unit: String,
    pub done: u64,
    /// And tried again.
    pub failed: u64,
    pub left: u64,
}

/// Everything that is done in the background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Background {
    /// The jobs that are kept, the oldest first.
    pub jobs: Vec<Job>,
    /// Empty while nobody leads.
    pub standing: Vec<StandingJob>,
    /// For how long the leader has counted.
    pub standing_for: Duration,
}

/// What is asked of a job that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobAction {
    Pause,
    Resume,
    /// For good. A datanode that was to leave, or to be away, is in service again.
    Cancel,
}

impl Admin {
    /// The jobs that are kept, the oldest first. The leader knows how far those are that run; while there is none, what a
    /// member has is answered.
    pub async fn jobs(&self) -> Result<Vec<Job>, Error> {
        Ok(self.background().await?.jobs)
    }

    /// As [`jobs`](Self::jobs), with what the leader does unasked.
    pub async fn background(&self) -> Result<Background, Error> {
        let asked = |mut member: v1::admin_client::AdminClient<_>| async move { member.jobs(v1::JobsRequest {}).await };
        let answer = self.ask_leader_first(asked).await;
        answer.and_then(|reply| background(reply.into_inner())).map_err(|fault| Error::new("list", "the jobs", fault))
    }

    /// One job.
    pub async fn job(&self, job: JobId) -> Result<Job, Error> {
        let found = self.jobs().await?.into_iter().find(|known| known.id == job);
        found.ok_or_else(|| {
            let message = format!("there is no {job}; see ashlar admin job ls");
            Error::new("show", job, Fault::Refused { code: Code::NotFound, message })
        })
    }

    /// Pauses a job, has it go on, or ends it for good.
    pub async fn control_job(&self, job: JobId, action: JobAction) -> Result<(), Error> {
        let (action, what) = match action {
            JobAction::Pause => (v1::JobAction::Pause, "pause"),
            JobAction::Resume => (v1::JobAction::Resume, "resume"),
            JobAction::Cancel => (v1::JobAction::Cancel, "cancel"),
        };
        let request = v1::ControlJobRequest { job: job.get(), action: action.into(), by: self.by().to_owned() };
        let answer = self
            .ask_leader(|mut leader| {
                let request = request.clone();
                async move { leader.control_job(request).await }
            })
            .await;
        answer.map(drop).map_err(|fault| Error::new(what, job, fault))
    }
}

fn background(wire: v1::JobsReply) -> Result<Background, Fault> {
    let standing = wire.standing.into_iter().map(|v1::StandingJob { name, unit, done, failed, left }| StandingJob {
        name,
        unit,
        done,
        failed,
        left,
    });
    Ok(Background {
        jobs: wire.jobs.into_iter().map(job).collect::<Result<_, _>>()?,
        standing: standing.collect(),
        standing_for: Duration::from_millis(wire.standing_ms),
    })
}

fn job(wire: v1::Job) -> Result<Job, Fault> {
    let state = match wire.state() {
        v1::JobState::Running => JobState::Running,
        v1::JobState::Paused => JobState::Paused,
        v1::JobState::Done => JobState::Done,
        v1::JobState::Failed => JobState::Failed,
        v1::JobState::Cancelled => JobState::Cancelled,
        v1::JobState::Unspecified => return Err(broken("a job is in no state")),
    };
    let node = |node| (node != 0).then(|| NodeId::new(node));
    let plan = match wire.plan.ok_or_else(|| broken("a job is of an unknown kind"))? {
        v1::job::Plan::Balance(v1::BalancePlan { threshold_permille, bandwidth }) => {
            JobPlan::Balance { threshold_permille, bandwidth: ByteSize::new(bandwidth) }
        }
        v1::job::Plan::Decommission(node) => JobPlan::Decommission { node: NodeId::new(node) },
        v1::job::Plan::Maintenance(v1::MaintenancePlan { node, until }) => {
            JobPlan::Maintenance { node: NodeId::new(node), until: Timestamp::from_nanos(until) }
        }
        v1::job::Plan::Scrub(v1::ScrubPlan { node: of, pass }) => JobPlan::Scrub { node: node(of), pass },
    };
    Ok(Job {
        id: JobId::new(wire.id),
        plan,
        owner: wire.owner,
        reason: wire.reason,
        state,
        started: Timestamp::from_nanos(wire.started),
        changed: Timestamp::from_nanos(wire.changed),
        done: wire.done,
        total: wire.total,
        eta: wire.eta_ms.map(Duration::from_millis),
        note: wire.note,
        result: (!wire.result.is_empty()).then_some(wire.result),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> v1::Job {
        let plan = Some(v1::job::Plan::Scrub(v1::ScrubPlan { node: 0, pass: 7 }));
        v1::Job { id: 3, plan, state: v1::JobState::Running.into(), eta_ms: Some(1500), ..Default::default() }
    }

    #[test]
    fn a_job_that_makes_no_sense_is_refused() {
        let read = job(wire()).expect("it makes sense");
        assert_eq!((read.id, read.plan), (JobId::new(3), JobPlan::Scrub { node: None, pass: 7 }));
        assert_eq!((read.eta, read.result), (Some(Duration::from_millis(1500)), None));
        assert!(job(v1::Job { plan: None, ..wire() }).is_err());
        assert!(job(v1::Job { state: 0, ..wire() }).is_err());
        assert!(job(v1::Job { state: 99, ..wire() }).is_err(), "of a later version");
    }
}
