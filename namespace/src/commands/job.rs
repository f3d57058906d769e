//! What is asked of jobs (module `job`).

use types::JobId;

use crate::command::Reply;
use crate::error::Error;
use crate::job::{self, JobOrder, JobPlan, JobRow, JobState, New};
use crate::key;
use crate::limits::MIN_BANDWIDTH;
use crate::row::Service;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

use super::set_service;

pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, order: &JobOrder) -> Outcome<Reply> {
    match order {
        JobOrder::Start { plan, owner, reason, token } => {
            start(txn, &New { plan: *plan, owner, reason, token: *token }).map(|job| Reply::Job { job })
        }
        JobOrder::Pause { job, pause } => set_paused(txn, *job, *pause),
        JobOrder::Cancel { job, by } => cancel(txn, *job, by),
        JobOrder::Advance { job, done, total } => {
            let row = job::need(txn, *job)?;
            if (row.done, row.total) != (*done, *total) {
                txn.put(key::job(*job), &JobRow { done: *done, total: *total, ..row });
            }
            Ok(Reply::Done)
        }
        JobOrder::End { job, failed, result, done, total } => {
            let row = JobRow { done: *done, total: *total, ..job::need(txn, *job)? };
            job::end(txn, *job, &row, if *failed { JobState::Failed } else { JobState::Done }, result);
            Ok(Reply::Done)
        }
    }
}

fn start<V: View>(txn: &mut Transaction<'_, V>, new: &New<'_>) -> Outcome<JobId> {
    if new.token != 0
        && let Some((job, _)) = job::all(&txn.rows)?.into_iter().find(|(_, row)| row.token == new.token)
    {
        return Ok(job);
    }
    let in_the_way = job::in_the_way(txn, &new.plan)?;
    match new.plan {
        JobPlan::Balance { threshold_permille, bandwidth } => {
            if !(1..=1000).contains(&threshold_permille) || bandwidth < MIN_BANDWIDTH {
                return Err(Error::BadBalance { threshold_permille, bandwidth }.into());
            }
            if let Some((job, _)) = in_the_way.first() {
                return Err(Error::JobUnderWay { job: *job, kind: new.plan.kind().to_owned() }.into());
            }
        }
        JobPlan::Scrub { .. } => {
            // A datanode knows of one pass: the last that it was told of.
            for (job, row) in &in_the_way {
                job::end(txn, *job, row, JobState::Cancelled, "another pass was asked for");
            }
        }
        JobPlan::Decommission { .. } | JobPlan::Maintenance { .. } => {
            return Err(Error::JobOfService { kind: new.plan.kind().to_owned() }.into());
        }
    }
    job::check_room(txn)?;
    job::add(txn, new)
}

fn set_paused<V: View>(txn: &mut Transaction<'_, V>, job: JobId, pause: bool) -> Outcome<Reply> {
    let row = job::need(txn, job)?;
    if !matches!(row.plan, JobPlan::Balance { .. }) {
        return Err(Error::JobNeverPauses { job, kind: row.plan.kind().to_owned() }.into());
    }
    let state = if pause { JobState::Paused } else { JobState::Running };
    if row.state != state {
        txn.put(key::job(job), &JobRow { state, changed: txn.now, ..row });
    }
    Ok(Reply::Done)
}

fn cancel<V: View>(txn: &mut Transaction<'_, V>, job: JobId, by: &str) -> Outcome<Reply> {
    let row = job::need(txn, job)?;
    match row.plan {
        JobPlan::Balance { .. } => {
            job::end(txn, job, &row, JobState::Cancelled, &format!("cancelled by {by}"));
            Ok(Reply::Done)
        }
        JobPlan::Decommission { node } | JobPlan::Maintenance { node, .. } => {
            set_service::run(txn, node, Service::InService, None, Some(by))
        }
        JobPlan::Scrub { .. } => Err(Error::JobNeverStops { job, kind: row.plan.kind().to_owned() }.into()),
    }
}
