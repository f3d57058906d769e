//! What an administrator asks: every namenode for itself, and the leader about the datanodes.

use std::time::Duration;

use futures::future::join_all;
use proto::v1;
use proto::v1::admin_client::AdminClient;
use tonic::transport::{Channel, Endpoint};
use types::{Code, NodeId};

use crate::config::Config;
use crate::error::{Error, Fault};
use crate::object::{DatanodeReport, MemberStatus};
use crate::store::Client;
use crate::wire;

/// A member that does not answer by then is reported as such.
const PATIENCE: Duration = Duration::from_secs(5);

/// Questions about the cluster itself.
#[derive(Debug, Clone)]
pub struct Admin {
    config: Config,
    /// Knows the leader, when there is one.
    client: Option<Client>,
}

impl Admin {
    pub(crate) fn new(client: Client) -> Self {
        Self { config: client.0.config.clone(), client: Some(client) }
    }

    /// Asks the configured namenodes without being connected to a leader: also while there is none.
    pub fn unconnected(config: &Config) -> Self {
        Self { config: config.clone(), client: None }
    }

    /// Every configured namenode, by its address, with what it says of itself or why it does not.
    pub async fn status(&self) -> Vec<(String, Result<MemberStatus, Error>)> {
        let asked = self.config.namenodes.iter().map(|address| async move {
            let answer = within(self.patience(), member_status(address)).await;
            (address.clone(), answer.map_err(|fault| Error::new("get the status of", address, fault)))
        });
        join_all(asked).await
    }

    /// The datanodes, as the leader sees them; as the first of the other members that answers while none is known.
    pub async fn report(&self) -> Result<Vec<DatanodeReport>, Error> {
        let mut addresses = self.config.namenodes.clone();
        if let Some(leader) = self.client.as_ref().and_then(|client| client.0.metadata.leader()) {
            addresses.retain(|address| *address != leader);
            addresses.insert(0, leader);
        }
        let mut failed = Fault::Configuration("no namenode is configured".to_owned());
        for address in addresses {
            match within(self.patience(), report(&address)).await {
                Ok(report) => return Ok(report),
                Err(fault) => failed = fault,
            }
        }
        Err(Error::new("get the report on", "the datanodes", failed))
    }

    /// Has another namenode take over the lead: `node`, or the one that has most of the log. Answers the leader and its
    /// term.
    pub async fn transfer(&self, node: Option<NodeId>) -> Result<(NodeId, u64), Error> {
        let statuses = self.status().await;
        let known = statuses.iter().filter_map(|(_, status)| status.as_ref().ok());
        let leading = known.filter(|status| status.leader == Some(status.node)).max_by_key(|status| status.term);
        let answer = match leading.and_then(|leader| leader.members.iter().find(|member| member.node == leader.node)) {
            Some(leader) => within(self.patience(), transfer(&leader.address, node)).await,
            None => {
                let message = "no namenode leads; see the status".to_owned();
                Err(Fault::Refused { code: Code::NotLeader, message })
            }
        };
        answer.map_err(|fault| Error::new("hand over", "the lead", fault))
    }

    fn patience(&self) -> Duration {
        self.config.op_timeout.min(PATIENCE)
    }
}

async fn within<T>(patience: Duration, question: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match tokio::time::timeout(patience, question).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::NoAnswer { after: patience, reason: "it is silent".to_owned() }),
    }
}

async fn dial(address: &str) -> Result<AdminClient<Channel>, Fault> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| Fault::Configuration(format!("{address:?} is not an address: {error}")))?;
    let channel = endpoint.connect().await.map_err(|error| Fault::Refused {
        code: Code::Io,
        message: format!("{address} cannot be reached: {}", crate::metadata::chain(&error)),
    })?;
    Ok(AdminClient::new(channel).max_decoding_message_size(proto::MAX_MESSAGE))
}

fn failed(status: &tonic::Status) -> Fault {
    Fault::Refused { code: Code::Io, message: status.message().to_owned() }
}

async fn member_status(address: &str) -> Result<MemberStatus, Fault> {
    let answer = dial(address).await?.status(v1::StatusRequest {}).await.map_err(|status| failed(&status))?;
    wire::status(answer.into_inner())
}

async fn transfer(address: &str, node: Option<NodeId>) -> Result<(NodeId, u64), Fault> {
    let request = v1::RaftTransferRequest { node: node.map_or(0, NodeId::get) };
    let answer = dial(address).await?.raft_transfer(request).await.map_err(|status| failed(&status))?.into_inner();
    Ok((NodeId::new(answer.leader), answer.term))
}

async fn report(address: &str) -> Result<Vec<DatanodeReport>, Fault> {
    let answer = dial(address).await?.report(v1::ReportRequest {}).await.map_err(|status| failed(&status))?;
    answer.into_inner().datanodes.into_iter().map(wire::datanode).collect()
}
