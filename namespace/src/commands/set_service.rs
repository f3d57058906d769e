use types::NodeId;

use crate::command::Reply;
use crate::error::Error;
use crate::job::{self, JobPlan, JobState, New};
use crate::key;
use crate::query;
use crate::row::{NodeRow, Service};
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// Says whether a datanode takes part. With `only_if`, nothing changes if it is something else by now: that is how the leader
/// does not undo what an operator asked for meanwhile. `by` is who says so; nobody, if it is the leader.
///
/// The job of a datanode that leaves, or may be away, begins and ends here.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    node: NodeId,
    service: Service,
    only_if: Option<Service>,
    by: Option<&str>,
) -> Outcome<Reply> {
    let nodes = query::nodes(&txn.rows)?;
    let row = nodes.iter().find(|row| row.id == node).ok_or(Error::UnknownNode { node })?;
    let had = row.service();
    let stays = had == service || (had, service) == (Service::Decommissioned, Service::Decommissioning);
    if stays || only_if.is_some_and(|expected| expected != had) {
        return Ok(Reply::Done);
    }
    let mut others = nodes.iter().filter(|other| other.id != node);
    if service == Service::Decommissioning && !others.any(|other| other.service() == Service::InService) {
        return Err(Error::LastInService { node }.into());
    }
    txn.put(key::node(node), &NodeRow { service: (service != Service::InService).then_some(service), ..row.clone() });
    end_job(txn, node, service, by)?;
    let (plan, what) = match service {
        Service::Decommissioning => (JobPlan::Decommission { node }, "is to leave"),
        Service::Maintenance { until } => (JobPlan::Maintenance { node, until }, "may be away for a while"),
        Service::InService | Service::Decommissioned => return Ok(Reply::Done),
    };
    // Entries of before there were jobs name nobody, and make none.
    if let Some(owner) = by {
        let reason = format!("datanode {} ({}) {what}", node.get(), row.host);
        job::add(txn, &New { plan, owner, reason: &reason, token: 0 })?;
    }
    Ok(Reply::Done)
}

fn end_job<V: View>(txn: &mut Transaction<'_, V>, node: NodeId, service: Service, by: Option<&str>) -> Outcome<()> {
    for (job, row) in job::in_the_way(txn, &JobPlan::Decommission { node })? {
        let (state, result) = match (service, by) {
            (Service::Decommissioned, _) => {
                (JobState::Done, "nothing needs the datanode any more; it may be stopped".to_owned())
            }
            (Service::InService, None) => (JobState::Done, "its time is over".to_owned()),
            (Service::InService, Some(by)) => (JobState::Cancelled, format!("put in service again by {by}")),
            (Service::Decommissioning | Service::Maintenance { .. }, by) => {
                (JobState::Cancelled, format!("something else was asked for by {}", by.unwrap_or("the leader")))
            }
        };
        job::end(txn, job, &row, state, &result);
    }
    Ok(())
}
