//! A cluster that is well.

use std::time::Duration;

use types::{ByteSize, ClusterId, NodeId, StorageId};

use super::{Answer, Facts};
use crate::object::{
    DatanodeReport, Liveness, LogStatistics, Member, MemberStatus, Redundancy, Service, StorageReport,
};

/// What a namenode of it says that believes in this term and leader.
pub fn member(node: u64, term: u64, leader: Option<u64>) -> MemberStatus {
    let members = (1..=3).map(|node| Member {
        node: NodeId::new(node),
        address: format!("127.0.0.1:802{}", node - 1),
        matched: 99,
        voter: true,
    });
    MemberStatus {
        cluster: Some(ClusterId::from_bytes([0xab; 16])),
        node: NodeId::new(node),
        term,
        leader: leader.map(NodeId::new),
        commit: 99,
        applied: 99,
        last_index: 99,
        members: members.collect(),
        files: 1234,
        directories: 5,
        bytes: 3 << 20,
        blocks: 1300,
        sessions: 1,
        redundancy: (leader == Some(node)).then_some(Redundancy {
            scanned_blocks: 1300,
            under_replicated: 0,
            corrupt_replicas: 0,
            missing: 0,
            pending_copies: 0,
            scan_age: Duration::from_secs(3),
        }),
        log: LogStatistics::default(),
        datanodes_alive: 3,
        datanodes_suspect: 0,
        datanodes_dead: 0,
        disk: None,
        founders: Vec::new(),
        removed: Vec::new(),
        stalled: false,
        safe_mode: None,
    }
}

fn datanode(node: u64) -> DatanodeReport {
    DatanodeReport {
        node: NodeId::new(node),
        host: format!("dn{node}"),
        rack: "r1".to_owned(),
        transfer: format!("127.0.0.1:986{}", 5 + node),
        liveness: Liveness::Alive,
        last_heartbeat: Duration::from_millis(400),
        storages: vec![StorageReport {
            storage: StorageId::from_bytes([node as u8; 16]),
            capacity: ByteSize::gib(100),
            used: ByteSize::gib(1),
            free: ByteSize::gib(50),
            replicas: 1300,
            failed: false,
            oldest_unverified: Duration::from_secs(3 * 86_400 + 3600),
            scrub: None,
        }],
        writers: 0,
        service: Service::InService,
        tally: None,
        held: None,
    }
}

/// Three namenodes, the second of which leads, and three datanodes.
pub fn healthy() -> Facts {
    let namenodes = (1..=3)
        .map(|node| Answer { address: format!("127.0.0.1:802{}", node - 1), status: Ok(member(node, 4, Some(2))) });
    Facts { namenodes: namenodes.collect(), datanodes: Ok((1..=3).map(datanode).collect()), replication: Some(3) }
}
