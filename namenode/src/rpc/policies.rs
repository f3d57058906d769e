//! Values for the whole cluster, as operators ask for them.

use namespace::command::Command;
use namespace::policy::{self, Policy};
use proto::v1;
use tonic::Status;
use tracing::info;

use super::{Service, jobs};
use crate::effective::configured;

pub(super) fn list(service: &Service) -> Result<v1::PoliciesReply, Status> {
    let set = policy::all(&*service.store).map_err(|error| Status::internal(error.to_string()))?;
    let wire = |policy: Policy| v1::PolicyState {
        name: policy.name().to_owned(),
        set: set.get(&policy).copied(),
        configured: configured(service.effective.own(), policy),
    };
    Ok(v1::PoliciesReply { policies: Policy::ALL.into_iter().map(wire).collect() })
}

pub(super) async fn set(service: &Service, request: v1::SetPolicyRequest) -> Result<(), Status> {
    let v1::SetPolicyRequest { name, value, by } = request;
    let known = Policy::ALL.into_iter().find(|policy| policy.name() == name);
    let policy = known.ok_or_else(|| Status::invalid_argument(format!("there is no policy {name:?}")))?;
    let by = jobs::by(by)?;
    jobs::order(service, Command::SetPolicy { policy, value, by: Some(by.clone()) }).await?;
    info!(name, ?value, by, "an operator sets a policy");
    Ok(())
}
