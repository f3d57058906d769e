//! `/jobs`: background work, to be paused and ended.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use client::{Job, JobAction, JobPlan, JobState};
use serde::Deserialize;
use types::{JobId, thousands};

use super::Site;
use super::failure::Failure;
use super::page::{Frame, age, moment, ok, percent, shown, size};
use super::session::Session;

#[derive(Template)]
#[template(path = "jobs.html")]
struct Page {
    frame: Frame,
    running: Vec<Shown>,
    ended: Vec<Shown>,
    /// Whether the user may pause and end them.
    may: bool,
}

struct Shown {
    number: u64,
    what: String,
    who: String,
    why: String,
    state: &'static str,
    tone: &'static str,
    paused: bool,
    percent: u64,
    progress: String,
    eta: Option<String>,
    note: String,
    started: String,
    ended: String,
    result: String,
    /// What holds a datanode back: a name and a reason each.
    held: Vec<(String, String)>,
    more_held: u64,
}

fn what(plan: &JobPlan) -> String {
    match plan {
        JobPlan::Balance { threshold_permille, bandwidth } => {
            let percent = f64::from(*threshold_permille) / 10.0;
            format!("balance within {percent}%, {} in a second", bandwidth.human())
        }
        JobPlan::Decommission { node } => format!("decommission datanode {}", node.get()),
        JobPlan::Maintenance { node, until } => {
            format!("maintenance of datanode {} until {}", node.get(), moment(*until))
        }
        JobPlan::Scrub { node: Some(node), .. } => format!("scrub datanode {}", node.get()),
        JobPlan::Scrub { node: None, .. } => "scrub all datanodes".to_owned(),
    }
}

/// How far it is, in its unit.
fn progress(job: &Job) -> String {
    if job.total == 0 {
        return String::new();
    }
    match job.plan {
        JobPlan::Balance { .. } | JobPlan::Scrub { .. } => format!("{} of {}", size(job.done), size(job.total)),
        JobPlan::Decommission { .. } => format!("{} of {} blocks", thousands(job.done), thousands(job.total)),
        JobPlan::Maintenance { .. } => String::new(),
    }
}

impl From<&Job> for Shown {
    fn from(job: &Job) -> Self {
        Self {
            number: job.id.get(),
            what: what(&job.plan),
            who: job.owner.clone(),
            why: job.reason.clone(),
            state: job.state.word(),
            tone: match job.state {
                JobState::Running => "lead",
                JobState::Paused => "warn",
                JobState::Done => "good",
                JobState::Failed => "bad",
                JobState::Cancelled => "",
            },
            paused: job.state == JobState::Paused,
            percent: percent(job.done, job.total),
            progress: progress(job),
            eta: job.eta.map(age),
            note: job.note.clone(),
            started: moment(job.started),
            ended: moment(job.changed),
            result: job.result.clone().unwrap_or_default(),
            held: job.held.iter().map(|held| (shown(held.name().as_bytes()), held.why())).collect(),
            more_held: job.held_total.saturating_sub(job.held.len() as u64),
        }
    }
}

impl Site {
    pub(super) async fn jobs(&self) -> Result<Vec<Job>, Failure> {
        Ok(self.superuser().await?.admin().jobs().await?)
    }
}

pub(super) async fn page(State(site): State<Arc<Site>>, session: Session) -> Response {
    let jobs = match site.jobs().await {
        Ok(jobs) => jobs,
        Err(failure) => return failure.page(&session),
    };
    let (ended, running): (Vec<&Job>, Vec<&Job>) = jobs.iter().partition(|job| job.state.has_ended());
    ok(&Page {
        frame: Frame::new("Jobs", "jobs", &session),
        running: running.into_iter().map(Shown::from).collect(),
        // The newest first.
        ended: ended.into_iter().rev().map(Shown::from).collect(),
        may: session.superuser,
    })
}

#[derive(Deserialize)]
pub(super) struct Wish {
    form_token: String,
    job: u64,
    action: String,
}

pub(super) async fn control(State(site): State<Arc<Site>>, session: Session, Form(wish): Form<Wish>) -> Response {
    if !session.vouches_for(&wish.form_token) {
        return Failure::forged().page(&session);
    }
    if !session.superuser {
        return Failure::superusers_only().page(&session);
    }
    let action = match wish.action.as_str() {
        "pause" => JobAction::Pause,
        "resume" => JobAction::Resume,
        "cancel" => JobAction::Cancel,
        other => {
            return Failure::new(StatusCode::BAD_REQUEST, format!("a job cannot be asked to {other:?}")).page(&session);
        }
    };
    let done = async {
        let admin = site.superuser().await?.admin();
        let who = format!("uid {} ({})", session.user.uid, session.access_key);
        admin.on_behalf_of(who).control_job(JobId::new(wish.job), action).await
    };
    match done.await {
        Ok(()) => Redirect::to("/jobs").into_response(),
        Err(error) => Failure::from(error).page(&session),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use types::{ByteSize, NodeId, Timestamp};

    use super::*;

    #[test]
    fn a_job_is_told_with_its_progress() {
        let job = Job {
            id: JobId::new(7),
            plan: JobPlan::Balance { threshold_permille: 25, bandwidth: ByteSize::mib(100) },
            owner: "root".to_owned(),
            reason: "a test".to_owned(),
            state: JobState::Running,
            started: Timestamp::EPOCH,
            changed: Timestamp::EPOCH,
            done: 1 << 20,
            total: 4 << 20,
            eta: Some(Duration::from_secs(61)),
            note: String::new(),
            result: None,
            held: Vec::new(),
            held_total: 0,
        };
        let shown = Shown::from(&job);
        assert_eq!(shown.what, "balance within 2.5%, 100MiB in a second");
        assert_eq!(
            (shown.percent, shown.progress.as_str(), shown.eta.as_deref()),
            (25, "1.00MiB of 4.00MiB", Some("61 s"))
        );
        let leaving = Job { plan: JobPlan::Decommission { node: NodeId::new(3) }, done: 1000, total: 0, ..job };
        let shown = Shown::from(&leaving);
        assert_eq!((shown.what.as_str(), shown.percent, shown.progress.as_str()), ("decommission datanode 3", 0, ""));
    }
}
