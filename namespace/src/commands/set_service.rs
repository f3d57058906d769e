use types::NodeId;

use crate::command::Reply;
use crate::error::Error;
use crate::key;
use crate::query;
use crate::row::{NodeRow, Service};
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// Says whether a datanode takes part. With `only_if`, nothing changes if it is something else by now: that is how the leader
/// does not undo what an operator asked for meanwhile.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    node: NodeId,
    service: Service,
    only_if: Option<Service>,
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
    let service = (service != Service::InService).then_some(service);
    txn.put(key::node(node), &NodeRow { service, ..row.clone() });
    Ok(Reply::Done)
}
