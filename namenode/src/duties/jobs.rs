//! The jobs that somebody asked for: what the leader does for them, and how far they are.
//!
//! 1. What a job is stands in the state; a new leader finds it there and goes on.
//! 2. How far it is, is kept here for whoever asks, and written down once in [`WRITE_DOWN`] if it has changed: a cluster in
//!    which nothing happens writes nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use namespace::command::Command;
use namespace::job::{self, JobOrder, JobPlan, JobRow};
use namespace::repair::drain::Tally;
use namespace::view::ViewError;
use tracing::{debug, info};
use types::{ByteSize, JobId, NodeId};

use super::Duties;
use super::balance::Balance;
use crate::datanodes::Scrubbed;
use crate::raft::wall_clock;

/// Between two entries of the log that say how far a job is.
const WRITE_DOWN: Duration = Duration::from_secs(30);
/// The pace of a job is not known before.
const PACE_AFTER: Duration = Duration::from_secs(2);

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    pub(crate) done: u64,
    pub(crate) total: u64,
    /// What it is at, or waits for.
    pub(crate) note: String,
    pub(crate) eta: Option<Duration>,
}

/// How far the jobs are that run, as the leader knows it. Empty elsewhere.
#[derive(Debug, Default)]
pub(crate) struct JobBoard(Mutex<BTreeMap<JobId, Progress>>);

impl JobBoard {
    fn known(&self) -> MutexGuard<'_, BTreeMap<JobId, Progress>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    pub(super) fn clear(&self) {
        self.known().clear();
    }

    pub(crate) fn progress(&self, job: JobId) -> Option<Progress> {
        self.known().get(&job).cloned()
    }
}

/// The jobs of a term.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    seen: BTreeMap<JobId, Seen>,
    pub(super) balance: Balance,
}

/// What this leader has seen of a job.
#[derive(Debug)]
struct Seen {
    since: Instant,
    done_then: u64,
    written: Instant,
}

/// What became of a job at a look.
pub(super) enum Looked {
    Goes(Progress),
    Ends { failed: bool, result: String, progress: Progress },
}

impl Duties {
    /// Looks at every job that is under way, and goes on with it.
    pub(super) fn look_at_jobs(&self, jobs: &mut Jobs) -> Result<(), ViewError> {
        let under_way = job::under_way(&self.store.state().snapshot())?;
        jobs.seen.retain(|job, _| under_way.iter().any(|(known, _)| known == job));
        self.jobs.known().retain(|job, _| under_way.iter().any(|(known, _)| known == job));
        self.forget_balance(&mut jobs.balance, &under_way);
        let mut orders = Vec::new();
        for (id, row) in &under_way {
            match self.look_at_job(jobs, *id, row) {
                Looked::Goes(progress) => orders.extend(self.goes(jobs, *id, row, progress)),
                Looked::Ends { failed, result, progress: Progress { done, total, .. } } => {
                    info!(job = %id, kind = row.plan.kind(), failed, result, "a job has ended");
                    orders.push(JobOrder::End { job: *id, failed, result, done, total });
                }
            }
        }
        let orders = orders.into_iter().map(|order| Command::Job { order }).collect();
        for outcome in self.propose(orders) {
            if let Err(error) = outcome {
                debug!(%error, "what became of a job is not written down");
            }
        }
        Ok(())
    }

    fn look_at_job(&self, jobs: &mut Jobs, id: JobId, row: &JobRow) -> Looked {
        match row.plan {
            JobPlan::Decommission { node } => Looked::Goes(drained(row, self.redundancy.tally(node))),
            JobPlan::Maintenance { until, .. } => {
                // It ends with the datanode's own state, see `scan`.
                let eta = until.since(wall_clock());
                Looked::Goes(Progress { eta: Some(eta), ..Progress::default() })
            }
            JobPlan::Scrub { node, pass } => {
                let scrubbed = self.datanodes.scrubbed(node, pass);
                self.board.scrub(&scrubbed.waiting, pass);
                scrub(&scrubbed)
            }
            JobPlan::Balance { .. } => self.look_at_balance(&mut jobs.balance, id, row),
        }
    }

    /// Keeps how far a job is, and tells when that is to be written down.
    fn goes(&self, jobs: &mut Jobs, id: JobId, row: &JobRow, mut progress: Progress) -> Option<JobOrder> {
        let now = Instant::now();
        let new = || Seen { since: now, done_then: progress.done, written: now };
        let seen = jobs.seen.entry(id).or_insert_with(new);
        if progress.eta.is_none() {
            progress.eta = eta(&progress, seen.done_then, now - seen.since);
        }
        let (done, total) = (progress.done, progress.total);
        self.jobs.known().insert(id, progress);
        if (done, total) == (row.done, row.total) || now - seen.written < WRITE_DOWN {
            return None;
        }
        seen.written = now;
        Some(JobOrder::Advance { job: id, done, total })
    }
}

/// What is left takes as long as its like did.
fn eta(progress: &Progress, done_then: u64, took: Duration) -> Option<Duration> {
    let made = progress.done.checked_sub(done_then).filter(|made| *made > 0)?;
    if took < PACE_AFTER {
        return None;
    }
    let left = progress.total.saturating_sub(progress.done);
    let millis = took.as_millis() * u128::from(left) / u128::from(made);
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

/// How far a datanode is that is to leave.
fn drained(row: &JobRow, tally: Option<Tally>) -> Progress {
    let Some(tally) = tally else {
        let note = "the leader has not looked at all blocks yet".to_owned();
        return Progress { done: row.done, total: row.total, note, eta: None };
    };
    let left = tally.left();
    // It grows while blocks are written to the datanode that were allocated before.
    let total = row.total.max(left).max(row.done + left);
    let mut parts = Vec::new();
    for (number, what) in [
        (tally.waiting, "to be copied"),
        (tally.written, "being written, or allocated for a writer"),
        (tally.no_target, "stuck: no other datanode in service has room, or a host without a copy"),
        (tally.no_source, "stuck: no copy can be read, bring back a datanode that has one"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    let note = if left == 0 { "no block is left; the leader looks once more".to_owned() } else { parts.join("; ") };
    Progress { done: total - left, total, note, eta: None }
}

/// How far a pass of the scrubbers is.
fn scrub(scrubbed: &Scrubbed) -> Looked {
    let Scrubbed { waiting, nodes, dead, checked, bytes, bad, ended } = scrubbed;
    let progress = |note| Progress { done: *checked, total: *bytes, note, eta: None };
    let missed = match dead[..] {
        [] => String::new(),
        _ => format!("; not checked, because dead: {}", list(dead)),
    };
    let found = format!("{bad} damaged replicas found on {nodes} datanodes{missed}");
    if *nodes == 0 {
        return Looked::Ends {
            failed: true,
            result: format!("nothing was checked{missed}"),
            progress: progress(String::new()),
        };
    }
    if *ended {
        let result = format!("{} checked, {found}", ByteSize::new(*checked).human());
        return Looked::Ends { failed: false, result, progress: progress(String::new()) };
    }
    let waits = if waiting.is_empty() { String::new() } else { format!("; not begun: {}", list(waiting)) };
    Looked::Goes(progress(format!("{found}{waits}")))
}

/// `101, 102`
fn list(nodes: &[NodeId]) -> String {
    let names: Vec<String> = nodes.iter().map(|node| node.get().to_string()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use namespace::job::JobState;
    use types::Timestamp;

    use super::*;

    fn leaving(done: u64, total: u64) -> JobRow {
        JobRow {
            plan: JobPlan::Decommission { node: NodeId::new(100) },
            owner: "root".to_owned(),
            reason: String::new(),
            state: JobState::Running,
            started: Timestamp::EPOCH,
            changed: Timestamp::EPOCH,
            done,
            total,
            result: None,
            token: 0,
        }
    }

    #[test]
    fn a_datanode_that_leaves_is_as_far_as_its_blocks() {
        let unknown = drained(&leaving(2, 9), None);
        assert_eq!((unknown.done, unknown.total), (2, 9), "what was written down holds until the leader knows better");
        let tally = Tally { waiting: 5, no_target: 2, ..Tally::default() };
        let begun = drained(&leaving(0, 0), Some(tally));
        assert_eq!((begun.done, begun.total), (0, 7));
        assert!(begun.note.starts_with("5 to be copied; 2 stuck: no other datanode"), "{}", begun.note);
        let later = drained(&leaving(3, 9), Some(Tally { written: 1, ..Tally::default() }));
        assert_eq!(
            (later.done, later.total, later.note.as_str()),
            (8, 9, "1 being written, or allocated for a writer")
        );
        let ended = drained(&leaving(3, 9), Some(Tally::default()));
        assert_eq!((ended.done, ended.total), (9, 9));
    }

    #[test]
    fn what_is_left_takes_as_long_as_its_like_did() {
        let progress = |done| Progress { done, total: 100, ..Progress::default() };
        assert_eq!(eta(&progress(50), 30, Duration::from_secs(4)), Some(Duration::from_secs(10)));
        assert_eq!(eta(&progress(50), 50, Duration::from_secs(4)), None, "nothing was done yet");
        assert_eq!(eta(&progress(50), 60, Duration::from_secs(4)), None, "there is more to do than there was");
        assert_eq!(eta(&progress(50), 30, Duration::from_millis(1)), None);
        assert_eq!(eta(&progress(100), 30, Duration::from_secs(4)), Some(Duration::ZERO));
    }

    #[test]
    fn a_pass_ends_when_all_that_live_have_ended_it() {
        let going = Scrubbed { nodes: 2, checked: 5, bytes: 9, waiting: vec![NodeId::new(101)], ..Scrubbed::default() };
        let Looked::Goes(progress) = scrub(&going) else { panic!("one has not begun") };
        assert_eq!((progress.done, progress.total), (5, 9));
        assert!(progress.note.ends_with("not begun: 101"), "{}", progress.note);
        let over = Scrubbed { waiting: vec![], dead: vec![NodeId::new(102)], checked: 9, ended: true, ..going };
        let Looked::Ends { failed: false, result, .. } = scrub(&over) else { panic!("it is over") };
        assert_eq!(result, "9B checked, 0 damaged replicas found on 2 datanodes; not checked, because dead: 102");
        let nobody = Scrubbed { nodes: 0, ..over };
        assert!(matches!(scrub(&nobody), Looked::Ends { failed: true, .. }));
    }
}
