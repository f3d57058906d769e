//! What an administrator asks: every namenode for itself, and the leader about the datanodes.

use std::time::{Duration, Instant};

use futures::future::join_all;
use proto::v1;
use proto::v1::admin_client::AdminClient;
use tonic::transport::{Channel, Endpoint};
use types::{Code, NodeId, Path};

use crate::config::Config;
use crate::error::{Error, Fault};
use crate::fsck::Fsck;
use crate::object::{DatanodeReport, MemberStatus};
use crate::store::Client;
use crate::wire;

/// A member that does not answer by then is reported as such.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a change of the members may take.
const CHANGE: Duration = Duration::from_secs(15);
/// A leader is elected within this time, if it can be.
const ELECTION: Duration = Duration::from_secs(5);
/// Between two attempts to make one.
const PAUSE: Duration = Duration::from_millis(100);

/// Questions about the cluster itself.
#[derive(Debug, Clone)]
pub struct Admin {
    config: Config,
    /// Knows the leader, when there is one.
    client: Option<Client>,
    /// Who asks, for people.
    by: String,
}

impl Admin {
    pub(crate) fn new(client: Client) -> Self {
        let config = client.0.config.clone();
        let by = user(&config);
        Self { config, client: Some(client), by }
    }

    /// Asks the configured namenodes without being connected to a leader: also while there is none.
    pub fn unconnected(config: &Config) -> Self {
        Self { config: config.clone(), client: None, by: user(config) }
    }

    /// Names who asks, for those who look at the jobs later; else it is the number of the configured user.
    pub fn on_behalf_of(self, who: impl Into<String>) -> Self {
        Self { by: who.into(), ..self }
    }

    pub(crate) fn by(&self) -> &str {
        &self.by
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
        let asked = |mut member: AdminClient<_>| async move { member.report(v1::ReportRequest {}).await };
        let report = self.ask_leader_first(asked).await;
        let report = report.and_then(|reply| reply.into_inner().datanodes.into_iter().map(wire::datanode).collect());
        report.map_err(|fault| Error::new("get the report on", "the datanodes", fault))
    }

    /// Asks one namenode.
    pub(crate) async fn ask_one<T, F>(
        &self,
        address: &str,
        question: impl FnOnce(AdminClient<Channel>) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, tonic::Status>>,
    {
        let asked = async { question(dial(address).await?).await.map_err(|status| failed(&status)) };
        within(self.patience(), asked).await
    }

    /// Asks the leader if it is known, and the others in their order as long as none answers.
    pub(crate) async fn ask_leader_first<T, F>(&self, question: impl Fn(AdminClient<Channel>) -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, tonic::Status>>,
    {
        let mut addresses = self.config.namenodes.clone();
        if let Some(leader) = self.client.as_ref().and_then(|client| client.0.metadata.leader()) {
            addresses.retain(|address| *address != leader);
            addresses.insert(0, leader);
        }
        let mut unanswered = Fault::Configuration("no namenode is configured".to_owned());
        for address in addresses {
            match self.ask_one(&address, &question).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => unanswered = fault,
            }
        }
        Err(unanswered)
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

    /// Makes the namenode at `address`, which must be running, a member: its number. It gets the log first, and a vote
    /// once it has it; see [`status`](Self::status).
    pub async fn add_member(&self, address: &str) -> Result<NodeId, Error> {
        let request = v1::RaftAddRequest { address: address.to_owned() };
        let answer = self.ask_leader(|mut leader| {
            let request = request.clone();
            async move { leader.raft_add(request).await }
        });
        let answer = answer.await.map_err(|fault| Error::new("add", address, fault))?;
        Ok(NodeId::new(answer.into_inner().node))
    }

    /// Removes a member for good. One that leads hands over the lead first.
    pub async fn remove_member(&self, node: NodeId) -> Result<(), Error> {
        let statuses = self.status().await;
        if statuses.iter().any(|(_, status)| status.as_ref().is_ok_and(|s| s.node == node && s.leader == Some(node))) {
            self.transfer(None).await?;
        }
        let request = v1::RaftRemoveRequest { node: node.get() };
        let answer = self.ask_leader(|mut leader| async move { leader.raft_remove(request).await });
        answer.await.map(drop).map_err(|fault| Error::new("remove", format!("namenode {}", node.get()), fault))
    }

    /// Has datanodes read and check everything that they have: `node`, or all. How far they are is in the
    /// [`report`](Self::report). `pass` is a number that was not used before; the same one may be asked for twice.
    pub async fn scrub(&self, node: Option<NodeId>, pass: u64) -> Result<Vec<NodeId>, Error> {
        let request = v1::ScrubRequest { node: node.map_or(0, NodeId::get), pass, by: self.by.clone() };
        let answer = self.ask_leader(|mut leader| {
            let request = request.clone();
            async move { leader.scrub(request).await }
        });
        let answer = answer.await.map_err(|fault| Error::new("scrub", "the datanodes", fault))?;
        Ok(answer.into_inner().nodes.into_iter().map(NodeId::new).collect())
    }

    /// Has the namenode at `address` bring its state to disk and cut its log: the log index that the state is at.
    pub async fn snapshot_member(&self, address: &str) -> Result<u64, Error> {
        let asked = async {
            let request = v1::RaftSnapshotRequest {};
            let answer = dial(address).await?.raft_snapshot(request).await.map_err(|status| failed(&status))?;
            Ok(answer.into_inner().index)
        };
        within(CHANGE, asked).await.map_err(|fault| Error::new("make a snapshot of", address, fault))
    }

    /// Checks what is at `path` and below: the invariants of the namespace, and each block against its replicas. `blocks`
    /// tells of every block, not only of those that are not well. `verify` has datanodes read every replica: damage that they find
    /// is repaired. Nothing else is changed, and the check sees one state.
    pub async fn fsck(&self, path: &Path, blocks: bool, verify: bool) -> Result<Fsck, Error> {
        let request = v1::FsckRequest { path: path.to_bytes(), blocks, verify };
        let answer = self.ask_leader(|mut leader| {
            let request = request.clone();
            async move { leader.fsck(request).await }
        });
        let stream = answer.await.map_err(|fault| Error::new("check", path, fault))?;
        Ok(Fsck::new(path.clone(), stream.into_inner()))
    }

    /// Has a datanode leave: it gets nothing new, and what it has is copied to others. When nothing needs it any more the
    /// leader says so, see [`report`](Self::report). Asked of one that has left, this changes nothing.
    pub async fn decommission(&self, node: NodeId) -> Result<(), Error> {
        let changed = self.set_service(node, v1::Service::Decommissioning, Duration::ZERO).await;
        changed.map_err(|fault| Error::new("decommission", format!("datanode {}", node.get()), fault))
    }

    /// Has a datanode take part again, whatever it was set to.
    pub async fn recommission(&self, node: NodeId) -> Result<(), Error> {
        let changed = self.set_service(node, v1::Service::InService, Duration::ZERO).await;
        changed.map_err(|fault| Error::new("recommission", format!("datanode {}", node.get()), fault))
    }

    /// Announces that a datanode may be away for a while, at most 30 days. It gets nothing new, and nothing is copied because
    /// it is away.
    pub async fn maintenance(&self, node: NodeId, time: Duration) -> Result<(), Error> {
        let changed = self.set_service(node, v1::Service::Maintenance, time).await;
        changed.map_err(|fault| Error::new("announce maintenance of", format!("datanode {}", node.get()), fault))
    }

    async fn set_service(&self, node: NodeId, service: v1::Service, time: Duration) -> Result<(), Fault> {
        let for_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let request = v1::SetServiceRequest { node: node.get(), service: service.into(), for_ms, by: self.by.clone() };
        self.ask_leader(|mut leader| {
            let request = request.clone();
            async move { leader.set_service(request).await }
        })
        .await
        .map(drop)
    }

    /// Asks the leader. While another change is under way, or the leader is new, it says so and is asked again; when the
    /// leader has just died, the next one is waited for.
    pub(crate) async fn ask_leader<T, F>(&self, question: impl Fn(AdminClient<Channel>) -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, tonic::Status>>,
    {
        let begun = Instant::now();
        let asked = async {
            loop {
                let leader = match self.leader().await? {
                    Ok(leader) => dial(&leader).await,
                    Err(none) => Err(none),
                };
                match leader {
                    Ok(leader) => match question(leader).await {
                        Err(status) if status.code() == tonic::Code::Aborted => {}
                        answer => return answer.map_err(|status| failed(&status)),
                    },
                    // Nothing was asked yet.
                    Err(fault) if begun.elapsed() >= ELECTION => return Err(fault),
                    Err(_) => {}
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        within(CHANGE, asked).await
    }

    /// Where the leader listens, by what the namenodes say; or that none leads. Fails if none of them says anything.
    async fn leader(&self) -> Result<Result<String, Fault>, Fault> {
        let statuses = self.status().await;
        let known = || statuses.iter().filter_map(|(_, status)| status.as_ref().ok());
        if known().next().is_none() {
            let why = statuses.iter().find_map(|(_, status)| status.as_ref().err());
            let why = why.map_or_else(|| "none is configured".to_owned(), ToString::to_string);
            return Err(Fault::Refused { code: Code::Io, message: format!("no namenode answers: {why}") });
        }
        // One that the configuration does not list is known to those that it does.
        let told = known().filter(|status| status.leader.is_some()).max_by_key(|status| status.term);
        let leader = told.and_then(|told| told.members.iter().find(|member| Some(member.node) == told.leader));
        Ok(leader.map(|leader| leader.address.clone()).ok_or_else(|| {
            let message = "no namenode leads; see the status".to_owned();
            Fault::Refused { code: Code::NotLeader, message }
        }))
    }

    pub(crate) fn namenodes(&self) -> &[String] {
        &self.config.namenodes
    }

    pub(crate) fn patience(&self) -> Duration {
        self.config.op_timeout.min(PATIENCE)
    }
}

pub(crate) async fn within<T>(
    patience: Duration,
    question: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(patience, question).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::NoAnswer { after: patience, reason: "it is silent".to_owned() }),
    }
}

pub(crate) async fn dial(address: &str) -> Result<AdminClient<Channel>, Fault> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| Fault::Configuration(format!("{address:?} is not an address: {error}")))?;
    let channel = endpoint.connect().await.map_err(|error| Fault::Refused {
        code: Code::Io,
        message: format!("{address} cannot be reached: {}", crate::metadata::chain(&error)),
    })?;
    Ok(AdminClient::new(channel).max_decoding_message_size(proto::MAX_MESSAGE))
}

pub(crate) fn failed(status: &tonic::Status) -> Fault {
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

fn user(config: &Config) -> String {
    format!("uid {}", config.user.uid)
}
