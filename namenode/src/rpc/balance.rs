//! Balancing, as operators ask for it: what would be done, or the job that does it.

use std::collections::BTreeMap;

use namespace::balance::{Move, Plan};
use namespace::command::{Command, Reply};
use namespace::job::{JobOrder, JobPlan};
use namespace::repair::Facts;
use namespace::view::ViewError;
use proto::v1;
use tonic::Status;
use types::{ByteSize, NodeId, StorageId};

use super::{Service, jobs};
use crate::duties::{plan_page, weigh_page};
use crate::store::Store;

pub(super) async fn start(service: &Service, request: v1::BalanceRequest) -> Result<v1::BalanceReply, Status> {
    let v1::BalanceRequest { threshold_permille, bandwidth, dry_run, by, token } = request;
    if !service.raft.leadership().serving {
        return Err(Status::failed_precondition("this member does not lead"));
    }
    if dry_run {
        if threshold_permille == 0 || bandwidth == 0 {
            return Err(Status::invalid_argument("the threshold or the bandwidth is zero"));
        }
        let Ok(permit) = service.checks.clone().try_acquire_owned() else {
            return Err(Status::resource_exhausted(
                "another check of all blocks is under way; try again when it is over",
            ));
        };
        let (store, facts) = (service.store.clone(), service.datanodes.repair_facts());
        let planned = tokio::task::spawn_blocking(move || {
            let planned = outline(&store, &facts, threshold_permille, bandwidth);
            drop(permit);
            planned
        });
        let outline = planned
            .await
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::internal(error.to_string()))?;
        return Ok(v1::BalanceReply { job: 0, outline: Some(outline) });
    }
    let plan = JobPlan::Balance { threshold_permille, bandwidth: ByteSize::new(bandwidth) };
    let (owner, reason) = (jobs::by(by)?, "volumes are to be evenly full".to_owned());
    match jobs::order(service, Command::Job { order: JobOrder::Start { plan, owner, reason, token } }).await? {
        Reply::Job { job } => Ok(v1::BalanceReply { job: job.get(), outline: None }),
        other => Err(Status::internal(format!("a balance answered {other:?}"))),
    }
}

/// What a balance would do now.
fn outline(
    store: &Store,
    facts: &Facts,
    threshold_permille: u32,
    bandwidth: u64,
) -> Result<v1::BalanceOutline, ViewError> {
    let mut used: BTreeMap<StorageId, u64> = BTreeMap::new();
    let mut after = None;
    // Each page from a state of its own: nothing is held for long.
    while !weigh_page(&store.state().snapshot(), &mut after, &mut used)? {}
    let mut plan = Plan::new(facts, &used, threshold_permille);
    let mean = plan.mean();
    let (mut after, mut moves, mut bytes) = (None, 0, 0);
    let mut of_node: BTreeMap<(bool, NodeId), u64> = BTreeMap::new();
    let mut take = |step: Move| {
        moves += 1;
        bytes += step.length.get();
        for key in [(false, step.source.node), (true, step.target.node)] {
            *of_node.entry(key).or_default() += step.length.get();
        }
    };
    while !plan_page(&store.state().snapshot(), &mut after, &mut plan, facts, &mut take)? {}
    let busiest = of_node.values().max().copied().unwrap_or(0);
    let volume = |volume: &namespace::balance::Volume| v1::BalanceVolume {
        node: volume.location.node.get(),
        storage: volume.location.storage.as_bytes().to_vec(),
        capacity: volume.capacity,
        used: volume.used_before,
        used_after: volume.used,
        outside: plan.is_outside(volume),
    };
    Ok(v1::BalanceOutline {
        moves,
        bytes,
        eta_ms: u64::try_from(u128::from(busiest) * 1000 / u128::from(bandwidth)).unwrap_or(u64::MAX),
        mean_millionths: mean,
        volumes: plan.volumes().map(volume).collect(),
    })
}
