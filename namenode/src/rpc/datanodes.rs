//! What datanodes call.

use std::sync::Arc;
use std::time::Instant;

use namespace::command::{Command, Reply};
use namespace::row::BlockLocation;
use proto::{WireError, v1};
use tonic::{Request, Response, Status};
use tracing::{info, warn};
use types::token::Right;
use types::{Code, GenStamp, NodeId, StorageId, Timestamp};

use super::Service;
use crate::datanodes::racks;
use crate::duties::{CopyBudget, Event};
use crate::raft::{Refusal, wall_clock};
use crate::signs::Told;
use crate::wire;

/// Results and reports of damage in one heartbeat.
const MAX_RESULTS: usize = 10_000;

pub(super) struct Datanodes(pub(super) Arc<Service>);

#[tonic::async_trait]
impl v1::datanodes_server::Datanodes for Datanodes {
    async fn register(&self, request: Request<v1::RegisterRequest>) -> Result<Response<v1::RegisterReply>, Status> {
        let result = match self.registered(request.into_inner()).await {
            Ok(node) => v1::register_reply::Result::Node(node.get()),
            Err(error) => v1::register_reply::Result::Error(error),
        };
        Ok(Response::new(v1::RegisterReply { result: Some(result) }))
    }

    async fn heartbeat(&self, request: Request<v1::HeartbeatRequest>) -> Result<Response<v1::HeartbeatReply>, Status> {
        let leadership = self.0.raft.leadership();
        let mut reply = v1::HeartbeatReply { term: leadership.term, leader: leadership.serving, ..Default::default() };
        let request = request.into_inner();
        let node = NodeId::new(request.node);
        match self.heard(request, leadership.serving, &mut reply.heard) {
            Ok(true) if leadership.serving => {
                (reply.want_digests, reply.want_pages) = self.0.inventories.wanted(node);
                let settings = &self.0.config.settings;
                reply.namenodes = self.0.roster.all().iter().map(ToString::to_string).collect();
                reply.tasks = self.0.board.hand_out(
                    node,
                    CopyBudget {
                        copies: settings.copies_per_node,
                        bytes: settings.copy_bytes_per_node,
                        timeout: settings.copy_timeout,
                    },
                );
                self.0.metrics.hand_out(&reply.tasks);
                reply.tasks.iter_mut().for_each(|task| self.let_copy(task));
                reply.now = wall_clock().nanos();
                reply.keys = self.0.datanodes.tokens.keys();
            }
            Ok(true) => {}
            // A member that follows may only not have got so far yet.
            Ok(false) => reply.unknown = leadership.serving,
            Err(error) => reply.error = Some(error),
        }
        Ok(Response::new(reply))
    }
}

fn invalid(error: WireError) -> v1::Error {
    proto::error(Code::InvalidArgument, error)
}

impl Datanodes {
    /// Puts into a task to copy blocks the right to read them elsewhere.
    fn let_copy(&self, task: &mut v1::Task) {
        let now = wall_clock();
        let sign = |block, generation, field| {
            let block = proto::block_id(block, field).ok()?;
            self.0.datanodes.tokens.sign(block, GenStamp::new(generation), Right::Copy, now)
        };
        match &mut task.kind {
            Some(v1::task::Kind::Copy(copy)) => {
                copy.token = sign(copy.block, copy.generation, "CopyReplica.block");
            }
            Some(v1::task::Kind::Gather(gather)) => {
                for piece in &mut gather.pieces {
                    piece.token = sign(piece.block, piece.generation, "GatherPiece.block");
                }
            }
            _ => {}
        }
    }

    fn check_cluster(&self, cluster: &[u8]) -> Result<(), v1::Error> {
        let ours = self.0.config.cluster;
        if cluster == ours.as_bytes() {
            return Ok(());
        }
        Err(proto::error(Code::Incompatible, format!("this is cluster {ours}, and the datanode belongs to another")))
    }

    async fn registered(&self, request: v1::RegisterRequest) -> Result<NodeId, v1::Error> {
        self.check_cluster(&request.cluster)?;
        if !self.0.raft.leadership().serving {
            let leader = self.0.not_leader().leader;
            return Err(proto::error(Code::NotLeader, format!("the leader is at {leader:?}")));
        }
        let mut node = wire::node_row(request).map_err(invalid)?;
        node.rack = racks::of_datanode(&self.0.racks, &node.host, &node.transfer, node.rack).await;
        let (host, transfer) = (node.host.clone(), node.transfer.clone());
        if let Some((id, address)) = self.0.datanodes.speaks_elsewhere(&node) {
            let reason =
                format!("{id} speaks from {address}: is this a copy of its disk? If not, it may register soon");
            warn!(host, transfer, reason, "a datanode is refused for now");
            return Err(proto::error(Code::Busy, reason));
        }
        match self.0.propose(vec![Command::RegisterDatanode { node }]).await {
            Ok(answers) => match answers.outcomes.into_iter().next() {
                Some(Ok(Reply::Node { node })) => {
                    info!(%node, host, transfer, "a datanode registered");
                    Ok(node)
                }
                Some(Err(error)) => {
                    warn!(host, transfer, %error, "a datanode is refused");
                    Err(proto::error(error.code(), error))
                }
                other => Err(proto::error(Code::Io, format!("the registration answered {other:?}"))),
            },
            Err(Refusal::NotLeader) => Err(proto::error(Code::NotLeader, "the lead was lost meanwhile")),
            Err(Refusal::Busy) => Err(proto::error(Code::Busy, "too much is under way")),
            Err(Refusal::Unknown) => Err(proto::error(Code::Unknown, "the leader changed meanwhile")),
        }
    }

    /// Takes in a heartbeat. False: the node is not known.
    fn heard(
        &self,
        request: v1::HeartbeatRequest,
        leader: bool,
        changes: &mut Vec<v1::StorageHeard>,
    ) -> Result<bool, v1::Error> {
        self.check_cluster(&request.cluster)?;
        if request.results.len() + request.bad.len() > MAX_RESULTS {
            return Err(proto::error(Code::TooLarge, "too many results in one heartbeat"));
        }
        let heartbeat = wire::heartbeat(&request).map_err(invalid)?;
        let node = heartbeat.node;
        let results = request.results.into_iter().map(wire::task_outcome).collect::<Result<Vec<_>, _>>();
        let results = results.map_err(invalid)?;
        let bad = request.bad.into_iter().map(wire::bad_replica).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        let told = wire::deltas(request.deltas, request.instance).map_err(invalid)?;
        let digests = request.digests.iter().map(wire::digests).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        let pages = request.pages.into_iter().map(wire::page).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        let clock = (request.clock != 0).then(|| Timestamp::from_nanos(request.clock));
        let (version, instance) = (request.version, request.instance);
        let named: Vec<StorageId> = heartbeat.storages.iter().map(|report| report.storage).collect();
        let own = |storage: &StorageId| named.contains(storage);
        if !self.0.datanodes.hear(heartbeat) {
            return Ok(false);
        }
        self.0.signs.hear(node, Told { instance, clock, version: &version }, Instant::now(), wall_clock());
        if leader {
            let results = results.into_iter().map(|outcome| Event::Result { node, outcome });
            for event in results.chain(bad.into_iter().map(Event::Bad)) {
                // Without room it is lost, and the scanner finds the duty again.
                if self.0.events.try_send(event).is_err() {
                    self.0.metrics.lost_events.inc();
                }
            }
            for told in told.iter().filter(|told| own(&told.storage)) {
                let location = BlockLocation { node, storage: told.storage };
                let take = |delta| self.0.events.try_send(Event::Changed { location, delta }).is_ok();
                let next = self.0.inventories.changed(node, told, take);
                changes.push(v1::StorageHeard { storage: told.storage.as_bytes().to_vec(), next });
            }
            for (storage, digests) in digests.into_iter().filter(|(storage, _)| own(storage)) {
                self.0.inventories.summed(storage, digests);
            }
            for ((storage, bucket), page) in pages.into_iter().filter(|((storage, _), _)| own(storage)) {
                // Without room it is asked for again.
                let _ = self.0.events.try_send(Event::Listed { storage, bucket, page });
            }
        }
        Ok(true)
    }
}
