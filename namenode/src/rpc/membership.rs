//! How an operator changes who the members are.

use std::net::SocketAddr;
use std::time::Duration;

use proto::v1;
use proto::v1::admin_client::AdminClient;
use tonic::Status;
use tonic::transport::Endpoint;
use types::DiskId;

use super::Service;
use crate::failure::abort;
use crate::raft::{Change, ChangeError, ChangeFailure, Member};

/// How long the namenode that is to be added may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the second half of a change may take.
const SETTLE: Duration = Duration::from_secs(10);

/// Makes the namenode at `address` a member: its number.
pub(super) async fn add(service: &Service, address: &str) -> Result<u64, Status> {
    let address: SocketAddr =
        address.parse().map_err(|_| Status::invalid_argument(format!("{address:?} is not an address: IP:PORT")))?;
    if !address.ip().is_loopback() {
        let text = format!("{address} is not a loopback address, and TLS is not supported yet");
        return Err(Status::invalid_argument(text));
    }
    // Before it is asked who it is: what is refused has no effect.
    if !service.raft.leadership().serving {
        return Err(refused(&ChangeError::NotLeader.into()));
    }
    let unreachable = |reason: String| {
        Status::unavailable(format!("no namenode answers at {address} ({reason}); start it first: ashlar namenode"))
    };
    let asked = tokio::time::timeout(PATIENCE, ask(address)).await;
    let status = asked.map_err(|_| unreachable("it is silent".to_owned()))?.map_err(unreachable)?;
    if status.cluster != service.config.cluster.as_bytes() {
        return Err(Status::invalid_argument(format!("the namenode at {address} belongs to another cluster")));
    }
    let Ok(disk) = <[u8; 16]>::try_from(status.disk.as_slice()) else {
        let text =
            format!("the directory of the namenode at {address} has no disk id; make it with ashlar init --join");
        return Err(Status::invalid_argument(text));
    };
    let member = Member { node: status.node, address: address.to_string(), disk: Some(DiskId::from_bytes(disk)) };
    let known = service.roster.group();
    if known.member(member.node) != Some(&member) {
        service.raft.change(Change::Add(member)).await.map_err(|failure| refused(&failure))?;
    }
    Ok(status.node)
}

async fn ask(address: SocketAddr) -> Result<v1::StatusReply, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| super::chain(&error))?;
    let channel = endpoint.connect_timeout(PATIENCE).connect().await.map_err(|error| super::chain(&error))?;
    let mut client = AdminClient::new(channel).max_decoding_message_size(proto::MAX_MESSAGE);
    let reply = client.status(v1::StatusRequest {}).await.map_err(|status| status.message().to_owned())?;
    Ok(reply.into_inner())
}

/// Removes a member for good. Harmless when it has been removed.
pub(super) async fn remove(service: &Service, node: u64) -> Result<(), Status> {
    if !(service.raft.leadership().serving && service.roster.group().removed.contains(&node)) {
        service.raft.change(Change::Remove(node)).await.map_err(|failure| refused(&failure))?;
    }
    let settled = tokio::time::timeout(SETTLE, service.roster.settled()).await;
    settled.map_err(|_| Status::unknown(format!("the removal of node {node} is not finished yet; look at the status")))
}

/// Brings the state to disk and cuts the log: the index that the state on disk is at.
pub(super) async fn snapshot(service: &Service) -> Result<u64, Status> {
    let store = service.store.clone();
    let flush = move || match store.flush().and_then(|()| store.persisted()) {
        Ok(index) => index,
        // As when the flush thread does it: a failed sync is not tried again.
        Err(error) => abort("flush", error),
    };
    let flushed = tokio::task::spawn_blocking(flush).await;
    let index = flushed.map_err(|error| Status::internal(error.to_string()))?;
    service.progress.persisted.raise(index);
    service.raft.cut();
    Ok(index)
}

fn refused(failure: &ChangeFailure) -> Status {
    let text = failure.to_string();
    match failure {
        ChangeFailure::Refused(error) => match error {
            ChangeError::Taken(_) | ChangeError::Removed(_) => Status::already_exists(text),
            ChangeError::Stranger(_) => Status::not_found(text),
            ChangeError::Full => Status::resource_exhausted(text),
            ChangeError::Pending => Status::aborted(text),
            ChangeError::NotLeader | ChangeError::Leads(_) | ChangeError::NoQuorum { .. } => {
                Status::failed_precondition(text)
            }
        },
        ChangeFailure::Lost(_) => Status::unknown(text),
    }
}
