//! A cluster on one screen: what `ashlar admin status --json` prints and the web page answers. The keys are an interface.

use serde::Serialize;

use super::{Answer, Facts, Health};
use crate::object::{Liveness, MemberStatus};

/// The word, and the numbers behind it.
#[derive(Debug, Serialize)]
pub struct Overview {
    pub health: Health,
    pub reasons: Vec<String>,
    pub cluster: Option<String>,
    /// The node id of the leading namenode.
    pub leader: Option<u64>,
    pub term: u64,
    pub commit: u64,
    pub members: Vec<MemberLine>,
    pub datanodes: Option<Datanodes>,
    pub space: Option<Space>,
    pub files: u64,
    pub directories: u64,
    pub bytes: u64,
    pub blocks: u64,
    pub sessions: u64,
    pub redundancy: Option<Blocks>,
}

#[derive(Debug, Serialize)]
pub struct MemberLine {
    pub node: Option<u64>,
    pub address: String,
    pub state: &'static str,
    pub term: Option<u64>,
    pub applied: Option<u64>,
    pub last_index: Option<u64>,
    /// Committed entries that it has not applied yet.
    pub lag: Option<u64>,
    pub error: Option<String>,
}

#[derive(Debug, Default, Serialize)]
pub struct Datanodes {
    pub alive: u64,
    pub suspect: u64,
    pub dead: u64,
}

/// Sums over all volumes of datanodes that are not dead.
#[derive(Debug, Default, Serialize)]
pub struct Space {
    pub capacity: u64,
    pub used: u64,
    pub free: u64,
}

#[derive(Debug, Serialize)]
pub struct Blocks {
    pub scanned_blocks: u64,
    pub under_replicated: u64,
    pub corrupt_replicas: u64,
    pub missing: u64,
    pub pending_copies: u64,
    pub scan_age_ms: u64,
}

impl Overview {
    pub fn of(facts: &Facts) -> Self {
        let (health, reasons) = facts.health();
        let leader = facts.leader();
        let answers = || facts.namenodes.iter().filter_map(|answer| answer.status.as_ref().ok());
        let state = facts.state();
        let sum = |value: fn(&MemberStatus) -> u64| state.map_or(0, value);
        let mut status = Self {
            health,
            reasons,
            cluster: state.and_then(|member| member.cluster).map(|cluster| cluster.to_string()),
            leader: leader.map(|leader| leader.node.get()),
            term: answers().map(|member| member.term).max().unwrap_or(0),
            commit: answers().map(|member| member.commit).max().unwrap_or(0),
            members: facts.namenodes.iter().map(|answer| MemberLine::of(answer, state, leader)).collect(),
            datanodes: None,
            space: None,
            files: sum(|member| member.files),
            directories: sum(|member| member.directories),
            bytes: sum(|member| member.bytes),
            blocks: sum(|member| member.blocks),
            sessions: sum(|member| member.sessions),
            redundancy: leader.and_then(|leader| leader.redundancy).map(|redundancy| Blocks {
                scanned_blocks: redundancy.scanned_blocks,
                under_replicated: redundancy.under_replicated,
                corrupt_replicas: redundancy.corrupt_replicas,
                missing: redundancy.missing,
                pending_copies: redundancy.pending_copies,
                scan_age_ms: redundancy.scan_age.as_millis() as u64,
            }),
        };
        status.members.sort_by_key(|member| (member.node.is_none(), member.node));
        if let Ok(reports) = &facts.datanodes {
            let (mut datanodes, mut space) = (Datanodes::default(), Space::default());
            for report in reports {
                match report.liveness {
                    Liveness::Alive => datanodes.alive += 1,
                    Liveness::Suspect => datanodes.suspect += 1,
                    Liveness::Dead => {
                        datanodes.dead += 1;
                        continue;
                    }
                }
                for storage in &report.storages {
                    space.capacity += storage.capacity.get();
                    space.used += storage.used.get();
                    space.free += storage.free.get();
                }
            }
            (status.datanodes, status.space) = (Some(datanodes), Some(space));
        }
        status
    }
}

impl MemberLine {
    fn of(answer: &Answer, state: Option<&MemberStatus>, leader: Option<&MemberStatus>) -> Self {
        let address = answer.address.clone();
        match &answer.status {
            Ok(member) => Self {
                node: Some(member.node.get()),
                address,
                state: match leader {
                    Some(leader) if leader.node == member.node => "leader",
                    _ => "follower",
                },
                term: Some(member.term),
                applied: Some(member.applied),
                last_index: Some(member.last_index),
                lag: Some(leader.map_or(0, |leader| leader.commit.saturating_sub(member.applied))),
                error: None,
            },
            Err(error) => {
                let known = state.and_then(|state| state.members.iter().find(|member| member.address == address));
                Self {
                    node: known.map(|member| member.node.get()),
                    address,
                    state: "unreachable",
                    term: None,
                    applied: None,
                    last_index: None,
                    lag: None,
                    error: Some(error.clone()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::healthy;
    use super::*;

    #[test]
    fn json_keys_are_an_interface() {
        let json = serde_json::to_value(Overview::of(&healthy())).expect("it is plain data");
        let keys: Vec<_> = json.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut wanted = vec![
            "health",
            "reasons",
            "cluster",
            "leader",
            "term",
            "commit",
            "members",
            "datanodes",
            "space",
            "files",
            "directories",
            "bytes",
            "blocks",
            "sessions",
            "redundancy",
        ];
        wanted.sort_unstable();
        let mut keys = keys;
        keys.sort_unstable();
        assert_eq!(keys, wanted);
        assert_eq!((json["health"].as_str(), json["leader"].as_u64()), (Some("healthy"), Some(2)));
        assert_eq!(json["members"][1]["state"].as_str(), Some("leader"));
    }
}
