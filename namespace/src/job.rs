//! Jobs: background work that somebody asked for, as it stands in the state.
//!
//! 1. A job that has ended does not change any more.
//! 2. Of jobs that would get in each other's way at most one is under way: one balance, one for each datanode that leaves or
//!    is in maintenance, one pass of the scrubber over a datanode.
//! 3. The ended ones that are kept are bounded in number: the oldest go. The newest job is always kept, so that a number is
//!    given once.
//!
//! How far a job is changes often and is not worth an entry of the log each time: the leader that does the work knows it, and
//! writes it down now and then, for its successor.

use minicbor::{Decode, Encode};
use types::{ByteSize, JobId, NodeId, Timestamp};

use crate::error::Error;
use crate::key;
use crate::limits::{MAX_JOB_TEXT, MAX_JOBS, MAX_JOBS_KEPT};
use crate::row;
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::{View, ViewError};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum JobPlan {
    /// Move replicas until no volume is fuller or emptier than all together by more than the threshold.
    #[n(0)]
    Balance {
        /// Parts of a thousand of what a volume can hold.
        #[n(0)]
        threshold_permille: u32,
        /// What a datanode may take in, or give away, in a second.
        #[n(1)]
        bandwidth: ByteSize,
    },
    /// Have a datanode leave.
    #[n(1)]
    Decommission {
        #[n(0)]
        node: NodeId,
    },
    /// A datanode may be away until then.
    #[n(2)]
    Maintenance {
        #[n(0)]
        node: NodeId,
        #[n(1)]
        until: Timestamp,
    },
    /// Read and check every replica of a datanode, or of all.
    #[n(3)]
    Scrub {
        #[n(0)]
        node: Option<NodeId>,
        #[n(1)]
        pass: u64,
    },
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

    /// Invariant 2.
    fn is_in_the_way_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Balance { .. }, Self::Balance { .. }) => true,
            (Self::Scrub { node, .. }, Self::Scrub { node: other, .. }) => {
                node.is_none() || other.is_none() || node == other
            }
            (
                Self::Decommission { node } | Self::Maintenance { node, .. },
                Self::Decommission { node: other } | Self::Maintenance { node: other, .. },
            ) => node == other,
            (
                Self::Balance { .. } | Self::Scrub { .. } | Self::Decommission { .. } | Self::Maintenance { .. },
                Self::Balance { .. } | Self::Scrub { .. } | Self::Decommission { .. } | Self::Maintenance { .. },
            ) => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum JobState {
    #[n(0)]
    Running,
    #[n(1)]
    Paused,
    #[n(2)]
    Done,
    #[n(3)]
    Failed,
    #[n(4)]
    Cancelled,
}

impl JobState {
    pub const fn has_ended(self) -> bool {
        match self {
            Self::Running | Self::Paused => false,
            Self::Done | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JobRow {
    #[n(0)]
    pub plan: JobPlan,
    /// Who asked for it, for people.
    #[n(1)]
    pub owner: String,
    /// Why, for people.
    #[n(2)]
    pub reason: String,
    #[n(3)]
    pub state: JobState,
    #[n(4)]
    pub started: Timestamp,
    /// When the state became what it is.
    #[n(5)]
    pub changed: Timestamp,
    /// So much is done of so much, as it was written down last. In bytes or blocks, as the kind has it.
    #[n(6)]
    pub done: u64,
    #[n(7)]
    pub total: u64,
    /// How it ended.
    #[n(8)]
    pub result: Option<String>,
    /// Chosen by who asked: asked again with the same, the same job is answered. Zero: none.
    #[n(9)]
    pub token: u64,
}

/// What is asked of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum JobOrder {
    /// Begins a balance or a pass of the scrubber. The jobs of datanodes that leave begin with `SetService`.
    #[n(0)]
    Start {
        #[n(0)]
        plan: JobPlan,
        #[n(1)]
        owner: String,
        #[n(2)]
        reason: String,
        #[n(3)]
        token: u64,
    },
    #[n(1)]
    Pause {
        #[n(0)]
        job: JobId,
        /// Or go on.
        #[n(1)]
        pause: bool,
    },
    /// Ends it for good. A datanode that was to leave, or to be away, is in service again.
    #[n(2)]
    Cancel {
        #[n(0)]
        job: JobId,
        /// Who says so, for people.
        #[n(1)]
        by: String,
    },
    /// The leader's: writes down how far it is.
    #[n(3)]
    Advance {
        #[n(0)]
        job: JobId,
        #[n(1)]
        done: u64,
        #[n(2)]
        total: u64,
    },
    /// The leader's: it is done, or cannot be.
    #[n(4)]
    End {
        #[n(0)]
        job: JobId,
        #[n(1)]
        failed: bool,
        #[n(2)]
        result: String,
        /// Of `total`, which it has by then.
        #[n(3)]
        done: u64,
        #[n(4)]
        total: u64,
    },
}

/// A job with its number.
pub type Numbered = (JobId, JobRow);

/// All jobs that are kept, the oldest first: at most `MAX_JOBS` and `MAX_JOBS_KEPT`, and one for each datanode.
pub fn all(view: &impl View) -> Result<Vec<Numbered>, ViewError> {
    /// Rows read at a time.
    const PAGE: usize = 256;
    let mut range = key::jobs();
    let mut found = Vec::new();
    loop {
        let page = view.page(&range, PAGE)?;
        for (key, value) in &page {
            found.push((JobId::new(key::number_of(key)?), row::decode(key, value)?));
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
            _ => return Ok(found),
        }
    }
}

/// Those that have not ended.
pub fn under_way(view: &impl View) -> Result<Vec<Numbered>, ViewError> {
    let mut jobs = all(view)?;
    jobs.retain(|(_, row)| !row.state.has_ended());
    Ok(jobs)
}

pub fn get(view: &impl View, job: JobId) -> Result<Option<JobRow>, ViewError> {
    view.row(&key::job(job))
}

/// A job that is under way.
pub(crate) fn need<V: View>(txn: &Transaction<'_, V>, job: JobId) -> Outcome<JobRow> {
    let row = get(&txn.rows, job)?.ok_or(Error::UnknownJob { job })?;
    // Invariant 1.
    if row.state.has_ended() { Err(Error::JobEnded { job }.into()) } else { Ok(row) }
}

/// What a new job is told with.
pub(crate) struct New<'a> {
    pub(crate) plan: JobPlan,
    pub(crate) owner: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) token: u64,
}

/// Begins a job. Those in its way have ended, or the caller has looked.
pub(crate) fn add<V: View>(txn: &mut Transaction<'_, V>, new: &New<'_>) -> Outcome<JobId> {
    let jobs = all(&txn.rows)?;
    // Invariant 3.
    let job = jobs.last().map_or(JobId::new(1), |(last, _)| last.next());
    let ended: Vec<JobId> = jobs.iter().filter(|(_, row)| row.state.has_ended()).map(|(job, _)| *job).collect();
    for old in ended.iter().take((ended.len() + 1).saturating_sub(MAX_JOBS_KEPT)) {
        txn.remove(key::job(*old));
    }
    let row = JobRow {
        plan: new.plan,
        owner: text(new.owner),
        reason: text(new.reason),
        state: JobState::Running,
        started: txn.now,
        changed: txn.now,
        done: 0,
        total: 0,
        result: None,
        token: new.token,
    };
    txn.put(key::job(job), &row);
    Ok(job)
}

/// Ends a job.
pub(crate) fn end<V: View>(txn: &mut Transaction<'_, V>, job: JobId, row: &JobRow, state: JobState, result: &str) {
    let row = JobRow { state, changed: txn.now, result: Some(text(result)), ..row.clone() };
    txn.put(key::job(job), &row);
}

/// The jobs under way that a new one would get in the way of.
pub(crate) fn in_the_way<V: View>(txn: &Transaction<'_, V>, plan: &JobPlan) -> Result<Vec<Numbered>, ViewError> {
    let mut jobs = under_way(&txn.rows)?;
    jobs.retain(|(_, row)| row.plan.is_in_the_way_of(plan));
    Ok(jobs)
}

/// Refuses one more when too many are under way.
pub(crate) fn check_room<V: View>(txn: &Transaction<'_, V>) -> Outcome<()> {
    if under_way(&txn.rows)?.len() < MAX_JOBS {
        return Ok(());
    }
    Err(Error::TooManyJobs { limit: u32::try_from(MAX_JOBS).expect("it is small") }.into())
}

/// The beginning of what is too long.
fn text(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_JOB_TEXT)].to_owned()
}
