//! What datanodes say of themselves, and of what they were told to do.

use std::time::Duration;

use namespace::row::{NodeRow, Service};
use proto::{WireError, v1};
use types::{BlockId, ByteSize, Code, GenStamp, NodeId, StorageId, Timestamp};

use super::{MAX_LABEL, MAX_STORAGES, generation, storages, wrong};
use crate::datanodes::{Heartbeat, StorageReport};

/// Sources of one gathering.
const MAX_SOURCES: usize = 4096;
/// Of the path of a datanode's local socket: as long as any file has.
const MAX_SOCKET_PATH: usize = 4095;
/// The longest maintenance: what is away for longer is gone.
const MAX_MAINTENANCE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Reads what a datanode says of itself.
pub(crate) fn node_row(wire: v1::RegisterRequest) -> Result<NodeRow, WireError> {
    let label = |text: String, field| match text.len() {
        1..=MAX_LABEL => Ok(text),
        _ => Err(wrong(field, "is empty or too long")),
    };
    if wire.transfer.parse::<std::net::SocketAddr>().is_err() {
        return Err(wrong("RegisterRequest.transfer", "is not an address such as 127.0.0.1:9866"));
    }
    if wire.storages.is_empty() {
        return Err(wrong("RegisterRequest.storages", "names none"));
    }
    Ok(NodeRow {
        id: NodeId::new(wire.node),
        host: label(wire.host, "RegisterRequest.host")?,
        transfer: wire.transfer,
        rack: label(wire.rack, "RegisterRequest.rack")?,
        storages: storages(&wire.storages, "RegisterRequest.storages")?,
        service: None,
    })
}

/// Reads whether a datanode is to take part.
pub(crate) fn service(wire: &v1::SetServiceRequest, now: Timestamp) -> Result<(NodeId, Service), WireError> {
    let wanted = v1::Service::try_from(wire.service);
    let service = match wanted.map_err(|_| wrong("SetServiceRequest.service", "is not known"))? {
        v1::Service::InService => Service::InService,
        v1::Service::Decommissioning => Service::Decommissioning,
        // That is for the leader to find out.
        v1::Service::Decommissioned => return Err(wrong("SetServiceRequest.service", "cannot be asked for")),
        v1::Service::Maintenance => {
            let time = Duration::from_millis(wire.for_ms);
            if time.is_zero() || time > MAX_MAINTENANCE {
                return Err(wrong("SetServiceRequest.for_ms", "is not more than zero and at most 30 days"));
            }
            Service::Maintenance { until: now.saturating_add(time) }
        }
    };
    Ok((NodeId::new(wire.node), service))
}

/// Reads the part of a heartbeat that describes the node.
pub(crate) fn heartbeat(wire: &v1::HeartbeatRequest) -> Result<Heartbeat, WireError> {
    if wire.storages.len() > MAX_STORAGES {
        return Err(wrong("HeartbeatRequest.storages", "names too many"));
    }
    let storages = wire.storages.iter().map(|report| {
        Ok(StorageReport {
            storage: proto::storage_id(&report.storage, "StorageReport.storage")?,
            capacity: report.capacity,
            used: report.used,
            free: report.free,
            replicas: report.replicas,
            failed: report.failed,
            oldest_unverified_ms: report.oldest_unverified_ms,
            scrub: report.scrub.map(Into::into),
        })
    });
    Ok(Heartbeat {
        node: NodeId::new(wire.node),
        transfer: wire.transfer.clone(),
        storages: storages.collect::<Result<_, WireError>>()?,
        writers: wire.writers,
        local: wire.local.clone().map(local_socket).transpose()?,
        instance: wire.instance,
        reads: wire.reads.unwrap_or_default(),
        writes: wire.writes.unwrap_or_default(),
    })
}

fn local_socket(wire: v1::LocalSocket) -> Result<v1::LocalSocket, WireError> {
    if wire.boot.len() != 16 {
        return Err(wrong("LocalSocket.boot", "does not have 16 bytes"));
    }
    if wire.path.first() != Some(&b'/') || wire.path.len() > MAX_SOCKET_PATH {
        return Err(wrong("LocalSocket.path", "is not absolute, or too long"));
    }
    Ok(wire)
}

/// A replica by its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Replica {
    pub(crate) storage: StorageId,
    pub(crate) block: BlockId,
    pub(crate) generation: GenStamp,
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskOutcome {
    Deleted {
        replica: Replica,
        due: Timestamp,
        error: Option<String>,
    },
    Copied {
        replica: Replica,
        error: Option<String>,
        bad_sources: Vec<StorageId>,
        /// The replica that it was made in place of, if it is to be moved.
        instead_of: Option<StorageId>,
    },
    Gathered {
        replica: Replica,
        /// A checksum over what was made, or why it was not.
        made: Result<u32, String>,
        /// Sources that did not have what they should.
        bad: Vec<Replica>,
    },
    /// The code says what is wrong with the replica, or why it cannot be told.
    Checked {
        replica: Replica,
        error: Option<Code>,
    },
    Offered {
        replica: Replica,
        offered: Result<Offered, String>,
    },
    Ended {
        replica: Replica,
        length: ByteSize,
        error: Option<String>,
    },
    /// The node has begun a pass of its scrubber.
    Scrubs {
        pass: u64,
    },
}

/// What a replica without a writer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) length: ByteSize,
    pub(crate) intact: bool,
}

pub(crate) fn task_outcome(wire: v1::TaskResult) -> Result<TaskOutcome, WireError> {
    use v1::task::Kind;
    let code = wire.error.as_ref().map(v1::Error::typed_code);
    let error = wire.error.map(|error| error.message);
    match wire.task.and_then(|task| task.kind).ok_or(wrong("TaskResult.task", "is missing"))? {
        Kind::Delete(delete) => Ok(TaskOutcome::Deleted {
            replica: replica(&delete.storage, delete.block, delete.generation, "DeleteReplica")?,
            due: Timestamp::from_nanos(delete.due),
            error,
        }),
        Kind::Copy(copy) => Ok(TaskOutcome::Copied {
            replica: replica(&copy.storage, copy.block, copy.generation, "CopyReplica")?,
            error,
            bad_sources: storages(&wire.bad_sources, "TaskResult.bad_sources")?,
            instead_of: match &copy.instead_of[..] {
                [] => None,
                storage => Some(proto::storage_id(storage, "CopyReplica.instead_of")?),
            },
        }),
        Kind::Gather(gather) => {
            let v1::Gathered { checksum, bad } = wire.gathered.ok_or(wrong("TaskResult.gathered", "is missing"))?;
            Ok(TaskOutcome::Gathered {
                replica: replica(&gather.storage, gather.block, gather.generation, "GatherReplica")?,
                made: error.map_or(Ok(checksum), Err),
                bad: bad_replicas(bad)?,
            })
        }
        Kind::Check(check) => Ok(TaskOutcome::Checked {
            replica: replica(&check.storage, check.block, check.generation, "CheckReplica")?,
            error: code,
        }),
        Kind::Offer(offer) => Ok(TaskOutcome::Offered {
            replica: replica(&offer.storage, offer.block, offer.generation, "OfferReplica")?,
            offered: match (error, wire.offered) {
                (Some(error), _) => Err(error),
                (None, Some(v1::Offered { length, intact })) => Ok(Offered { length: ByteSize::new(length), intact }),
                (None, None) => return Err(wrong("TaskResult.offered", "is missing")),
            },
        }),
        Kind::End(end) => Ok(TaskOutcome::Ended {
            replica: replica(&end.storage, end.block, end.generation, "EndReplica")?,
            length: ByteSize::new(end.length),
            error,
        }),
        Kind::Scrub(scrub) => Ok(TaskOutcome::Scrubs { pass: scrub.pass }),
    }
}

fn bad_replicas(wire: Vec<v1::BadReplica>) -> Result<Vec<Replica>, WireError> {
    if wire.len() > MAX_SOURCES {
        return Err(wrong("Gathered.bad", "names too many"));
    }
    wire.into_iter().map(bad_replica).collect()
}

pub(crate) fn bad_replica(wire: v1::BadReplica) -> Result<Replica, WireError> {
    replica(&wire.storage, wire.block, wire.generation, "BadReplica")
}

fn replica(storage: &[u8], block: Option<v1::BlockId>, stamp: u64, field: &'static str) -> Result<Replica, WireError> {
    Ok(Replica {
        storage: proto::storage_id(storage, field)?,
        block: proto::block_id(block, field)?,
        generation: generation(stamp, field)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_about_whether_a_datanode_takes_part_is_refused() {
        let now = Timestamp::from_nanos(5);
        let read = |wanted: i32, for_ms| {
            service(&v1::SetServiceRequest { node: 3, service: wanted, for_ms, by: String::new() }, now).ok()
        };
        let (leave, away) = (v1::Service::Decommissioning.into(), v1::Service::Maintenance.into());
        let until = Timestamp::from_nanos(2_000_005);
        assert_eq!(read(away, 2), Some((NodeId::new(3), Service::Maintenance { until })));
        assert_eq!(read(leave, 0), Some((NodeId::new(3), Service::Decommissioning)));
        let longest = 30 * 24 * 3_600_000;
        assert!(read(away, longest).is_some(), "30 days");
        for (wanted, for_ms) in
            [(away, 0), (away, longest + 1), (away, u64::MAX), (v1::Service::Decommissioned.into(), 0), (4, 0), (-1, 0)]
        {
            assert_eq!(read(wanted, for_ms), None, "{wanted} {for_ms}");
        }
    }
}
