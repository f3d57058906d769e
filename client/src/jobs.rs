//! Background work that somebody asked for, as an administrator sees it.

use std::time::Duration;

use proto::v1;
use serde::Serialize;
use types::{BlockId, ByteSize, Code, JobId, NodeId, SessionId, Timestamp};

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
    /// Of a datanode that leaves, some of the blocks that hold it back, what does not end by itself first; `held_total` is
    /// how many do.
    pub held: Vec<HeldBlock>,
    pub held_total: u64,
}

/// A block that holds back a datanode that is to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldBlock {
    pub block: BlockId,
    /// Of the file, by one of its names; what is not UTF-8 in it is replaced.
    pub path: Option<String>,
    pub length: ByteSize,
    pub reason: HoldReason,
    /// No other datanode has a good copy that can be read.
    pub last: bool,
    /// Who writes it, and what that client says that it is.
    pub session: Option<SessionId>,
    pub client: Option<String>,
    /// Where no copy can be read: datanodes that had good ones when they were heard last.
    pub silent: Vec<NodeId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldReason {
    /// It is being written.
    Written,
    /// It is allocated for a writer, and of no file yet.
    Allocated,
    /// It is copied, or waits for its turn.
    Waiting,
    /// Every host in service has a copy.
    NoHost,
    /// Datanodes without a copy have too little room.
    NoRoom,
    /// No copy can be read.
    NoSource,
}

impl HoldReason {
    /// Whether it ends without anybody's doing.
    pub const fn passes(self) -> bool {
        match self {
            Self::Waiting => true,
            Self::Written | Self::Allocated | Self::NoHost | Self::NoRoom | Self::NoSource => false,
        }
    }
}

impl HeldBlock {
    /// Why it holds the datanode back, and what would help.
    pub fn why(&self) -> String {
        let mut why = match self.reason {
            HoldReason::Written => match self.session {
                Some(session) => {
                    let client = self.client.as_ref().map(|client| format!(" ({client})")).unwrap_or_default();
                    format!("being written by session {}{client}", session.get())
                }
                None => "its writer is lost; the file is closed by itself".to_owned(),
            },
            HoldReason::Allocated => "allocated for a writer that has not committed it yet".to_owned(),
            HoldReason::Waiting => "to be copied".to_owned(),
            HoldReason::NoHost => {
                "every host in service has a copy: add a datanode, or lower its replication".to_owned()
            }
            HoldReason::NoRoom => {
                format!("no datanode without a copy has room for {}: add one, or free space", self.length.human())
            }
            HoldReason::NoSource => {
                let silent: Vec<String> = self.silent.iter().map(|node| node.get().to_string()).collect();
                match silent[..] {
                    [] => "no good copy is left".to_owned(),
                    _ => format!("no copy can be read: bring back datanode {}", silent.join(" or ")),
                }
            }
        };
        if self.last {
            why.push_str("; the last good copy is here");
        }
        why
    }

    /// The block and its file, if it is in one.
    pub fn name(&self) -> String {
        match &self.path {
            Some(path) => format!("{path} ({})", self.block),
            None => self.block.to_string(),
        }
    }
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

fn held(wire: v1::HeldBlock) -> Result<HeldBlock, Fault> {
    let reason = match wire.reason() {
        v1::HoldReason::Written => HoldReason::Written,
        v1::HoldReason::Allocated => HoldReason::Allocated,
        v1::HoldReason::Waiting => HoldReason::Waiting,
        v1::HoldReason::NoHost => HoldReason::NoHost,
        v1::HoldReason::NoRoom => HoldReason::NoRoom,
        v1::HoldReason::NoSource => HoldReason::NoSource,
        v1::HoldReason::Unspecified => return Err(broken("a block holds a datanode back for no reason")),
    };
    Ok(HeldBlock {
        block: proto::block_id(wire.block, "HeldBlock.block")?,
        path: (!wire.path.is_empty()).then(|| String::from_utf8_lossy(&wire.path).into_owned()),
        length: ByteSize::new(wire.length),
        reason,
        last: wire.last,
        session: (wire.session != 0).then(|| SessionId::new(wire.session)),
        client: (!wire.client.is_empty()).then_some(wire.client),
        silent: wire.silent.into_iter().map(NodeId::new).collect(),
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
        held: wire.held.into_iter().map(held).collect::<Result<_, _>>()?,
        held_total: wire.held_total,
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
    fn a_block_that_holds_a_datanode_back_says_why_and_what_helps() {
        let wire = |reason: v1::HoldReason| v1::HeldBlock {
            block: Some(v1::BlockId { inode: 17, number: 2 }),
            path: b"/a/b".to_vec(),
            length: 1 << 20,
            reason: reason.into(),
            session: 5,
            client: "web".to_owned(),
            silent: vec![101, 103],
            ..Default::default()
        };
        let why = |wire| held(wire).expect("it makes sense").why();
        assert_eq!(why(wire(v1::HoldReason::Written)), "being written by session 5 (web)");
        let lost = v1::HeldBlock { session: 0, client: String::new(), ..wire(v1::HoldReason::Written) };
        assert!(why(lost).contains("its writer is lost"));
        assert!(why(wire(v1::HoldReason::NoRoom)).contains("has room for 1.00MiB"));
        assert_eq!(why(wire(v1::HoldReason::NoSource)), "no copy can be read: bring back datanode 101 or 103");
        let last = v1::HeldBlock { last: true, ..wire(v1::HoldReason::Waiting) };
        assert_eq!(why(last), "to be copied; the last good copy is here");
        assert_eq!(held(wire(v1::HoldReason::NoHost)).expect("it makes sense").name(), "/a/b (blk_17.2)");
        assert!(held(wire(v1::HoldReason::Unspecified)).is_err(), "of a later version");
        assert!(held(v1::HeldBlock { block: None, ..wire(v1::HoldReason::NoHost) }).is_err());
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
