//! Values for the whole cluster.

use proto::v1;
use serde::Serialize;

use crate::admin::Admin;
use crate::error::Error;

/// A value that may be set for the whole cluster. Sizes are in bytes, times in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyState {
    /// As it is called in configurations.
    pub name: String,
    /// For the whole cluster.
    pub set: Option<u64>,
    /// Of the namenode that was asked, the leader if there is one; this holds if nothing is set.
    pub configured: u64,
}

impl Admin {
    /// All policies.
    pub async fn policies(&self) -> Result<Vec<PolicyState>, Error> {
        let asked =
            |mut member: v1::admin_client::AdminClient<_>| async move { member.policies(v1::PoliciesRequest {}).await };
        let answer = self.ask_leader_first(asked).await.map_err(|fault| Error::new("list", "the policies", fault))?;
        let policies = answer.into_inner().policies.into_iter();
        Ok(policies.map(|v1::PolicyState { name, set, configured }| PolicyState { name, set, configured }).collect())
    }

    /// Sets a value for the whole cluster, at once and for what is made from then on; none leaves it to the configuration
    /// of the namenode that leads.
    pub async fn set_policy(&self, name: &str, value: Option<u64>) -> Result<(), Error> {
        let request = v1::SetPolicyRequest { name: name.to_owned(), value, by: self.by().to_owned() };
        let answer = self.ask_leader(|mut leader| {
            let request = request.clone();
            async move { leader.set_policy(request).await }
        });
        answer.await.map(drop).map_err(|fault| Error::new("set", name, fault))
    }
}
