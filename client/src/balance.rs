//! Evening out how full the datanodes are.

use std::time::Duration;

use proto::v1;
use serde::Serialize;
use types::{ByteSize, JobId, NodeId, StorageId};

use crate::admin::Admin;
use crate::error::{Error, Fault};
use crate::wire::broken;

/// How even the volumes are to be, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalanceOptions {
    /// Parts of a thousand of its capacity that a volume may be away from the mean.
    pub threshold_permille: u32,
    /// What a datanode takes in, or gives away, in a second at most.
    pub bandwidth: ByteSize,
}

impl Default for BalanceOptions {
    fn default() -> Self {
        Self { threshold_permille: 50, bandwidth: ByteSize::mib(100) }
    }
}

/// What a balance would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BalanceOutline {
    pub moves: u64,
    pub bytes: ByteSize,
    /// At the full bandwidth of the busiest datanode.
    pub eta: Duration,
    /// How full all volumes are together, in parts of a million.
    pub mean_millionths: u64,
    pub volumes: Vec<BalanceVolume>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BalanceVolume {
    pub node: NodeId,
    pub storage: StorageId,
    pub capacity: ByteSize,
    /// By replicas.
    pub used: ByteSize,
    pub used_after: ByteSize,
    /// Still further away than the threshold afterwards.
    pub outside: bool,
}

impl Admin {
    /// What [`balance`](Self::balance) would do now.
    pub async fn plan_balance(&self, options: BalanceOptions) -> Result<BalanceOutline, Error> {
        let answer = self.ask_balance(self.balance_request(options, true, 0)).await;
        let read = answer.and_then(|reply| outline(reply.outline.ok_or_else(|| broken("a plan is missing"))?));
        read.map_err(|fault| Error::new("plan", "a balance", fault))
    }

    /// Has replicas moved until no volume is further from the mean than the threshold. `token` is a number that was not used
    /// before; the same one may be asked for twice, and is one job.
    pub async fn balance(&self, options: BalanceOptions, token: u64) -> Result<JobId, Error> {
        let answer = self.ask_balance(self.balance_request(options, false, token)).await;
        answer.map(|reply| JobId::new(reply.job)).map_err(|fault| Error::new("begin", "a balance", fault))
    }

    fn balance_request(&self, options: BalanceOptions, dry_run: bool, token: u64) -> v1::BalanceRequest {
        let BalanceOptions { threshold_permille, bandwidth } = options;
        v1::BalanceRequest { threshold_permille, bandwidth: bandwidth.get(), dry_run, by: self.by().to_owned(), token }
    }

    async fn ask_balance(&self, request: v1::BalanceRequest) -> Result<v1::BalanceReply, Fault> {
        let answer = self
            .ask_leader(|mut leader| {
                let request = request.clone();
                async move { leader.balance(request).await }
            })
            .await?;
        Ok(answer.into_inner())
    }
}

fn outline(wire: v1::BalanceOutline) -> Result<BalanceOutline, Fault> {
    let volume = |volume: v1::BalanceVolume| {
        Ok(BalanceVolume {
            node: NodeId::new(volume.node),
            storage: proto::storage_id(&volume.storage, "BalanceVolume.storage")?,
            capacity: ByteSize::new(volume.capacity),
            used: ByteSize::new(volume.used),
            used_after: ByteSize::new(volume.used_after),
            outside: volume.outside,
        })
    };
    Ok(BalanceOutline {
        moves: wire.moves,
        bytes: ByteSize::new(wire.bytes),
        eta: Duration::from_millis(wire.eta_ms),
        mean_millionths: wire.mean_millionths,
        volumes: wire.volumes.into_iter().map(volume).collect::<Result<_, Fault>>()?,
    })
}
