//! How a cluster is, in one word, with the reasons. A pure function of what its members say: whoever shows it, the
//! command line, the web page or a metric, says the same.

mod look;
mod overview;
/// For the tests of whatever shows a cluster.
#[doc(hidden)]
pub mod sample;

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use types::{Timestamp, count};

use crate::object::{DatanodeReport, Held, Liveness, MemberStatus, SafeMode, Service};

pub use look::leader_first;
pub use overview::{Blocks, Datanodes, MemberLine, Overview, Space};

/// A member that lags further behind than this has trouble to keep up.
const LAG: u64 = 10_000;
/// A volume with less room than this share will soon refuse writes.
const LOW_PERCENT: u64 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nothing is wrong.
    Healthy,
    /// It serves, with less redundancy or room than it should have, or does less than it should because an operator said so.
    Degraded,
    /// It cannot take writes, or nobody can tell.
    Unavailable,
}

impl Health {
    /// As it is told everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What one namenode says, or why it says nothing.
#[derive(Debug, Clone)]
pub struct Answer {
    pub address: String,
    /// Or the reason, which does not name the address again.
    pub status: Result<MemberStatus, String>,
}

/// All that is known.
#[derive(Debug, Clone)]
pub struct Facts {
    pub namenodes: Vec<Answer>,
    pub datanodes: Result<Vec<DatanodeReport>, String>,
    /// Copies of a block that the cluster keeps by default, if a leader told.
    pub replication: Option<u8>,
}

impl Facts {
    /// The member that leads, as a majority of the members agrees.
    pub fn leader(&self) -> Option<&MemberStatus> {
        let answers = || self.namenodes.iter().filter_map(|answer| answer.status.as_ref().ok());
        let leader = answers().filter(|member| member.leader == Some(member.node)).max_by_key(|member| member.term)?;
        let agree = answers().filter(|member| member.term == leader.term && member.leader == leader.leader).count();
        let voters = leader.members.iter().filter(|member| member.voter).count().max(1);
        (agree > voters / 2).then_some(leader)
    }

    /// Where it listens, as it was asked.
    pub fn leader_address(&self) -> Option<String> {
        let leader = self.leader()?.node;
        let leads = |answer: &&Answer| answer.status.as_ref().is_ok_and(|status| status.node == leader);
        self.namenodes.iter().find(leads).map(|answer| answer.address.clone())
    }

    /// The member that speaks for the state: the leader, or without one whoever has seen most of it.
    pub fn state(&self) -> Option<&MemberStatus> {
        let answers = || self.namenodes.iter().filter_map(|answer| answer.status.as_ref().ok());
        self.leader().or_else(|| answers().max_by_key(|member| member.applied))
    }

    /// The word, and every reason for it, the worst first.
    pub fn health(&self) -> (Health, Vec<String>) {
        let mut reasons = Vec::new();
        self.judge_namenodes(&mut reasons);
        self.judge_orders(&mut reasons);
        self.judge_datanodes(&mut reasons);
        self.judge_blocks(&mut reasons);
        reasons.sort_by_key(|(health, _)| std::cmp::Reverse(*health));
        let worst = reasons.first().map_or(Health::Healthy, |(health, _)| *health);
        (worst, reasons.into_iter().map(|(_, reason)| reason).collect())
    }

    fn judge_namenodes(&self, reasons: &mut Vec<(Health, String)>) {
        let leader = self.leader();
        if leader.is_none() {
            let answering = self.namenodes.iter().filter(|answer| answer.status.is_ok()).count();
            let reason = format!("no leader: {answering} of {} answer", count_of_namenodes(self.namenodes.len()));
            reasons.push((Health::Unavailable, reason));
        }
        for Answer { address, status } in &self.namenodes {
            match (status, leader) {
                (Err(_), _) => reasons.push((Health::Degraded, format!("namenode {address} does not answer"))),
                (Ok(member), Some(leader)) => {
                    let lag = leader.commit.saturating_sub(member.applied);
                    if lag > LAG {
                        let lag = count(lag, "entry", "entries");
                        reasons.push((Health::Degraded, format!("namenode {address} is {lag} behind")));
                    }
                }
                (Ok(_), None) => {}
            }
        }
    }

    /// What operators said that keeps the cluster from its work.
    fn judge_orders(&self, reasons: &mut Vec<(Health, String)>) {
        if let Some(safe_mode) = self.state().and_then(|member| member.safe_mode.as_ref()) {
            let reason = format!("{safe_mode}: nothing is changed or repaired; ashlar admin safemode leave ends it");
            reasons.push((Health::Degraded, reason));
        }
    }

    fn judge_datanodes(&self, reasons: &mut Vec<(Health, String)>) {
        let datanodes = match &self.datanodes {
            Ok(datanodes) => datanodes,
            // Without a namenode that answers this is no news.
            Err(_) if self.namenodes.iter().all(|answer| answer.status.is_err()) => return,
            Err(reason) => return reasons.push((Health::Unavailable, format!("datanodes are not known: {reason}"))),
        };
        let serves =
            |datanode: &&DatanodeReport| datanode.liveness == Liveness::Alive && datanode.service == Service::InService;
        let alive = datanodes.iter().filter(serves).count();
        if alive == 0 {
            reasons.push((Health::Unavailable, "no datanode is alive and in service".to_owned()));
        } else if let Some(replication) = self.replication.filter(|replication| alive < usize::from(*replication)) {
            let alive = count(alive as u64, "datanode is alive", "datanodes are alive");
            reasons.push((Health::Degraded, format!("{alive}, files want {replication} replicas")));
        }
        for datanode in datanodes {
            let DatanodeReport { node, host, liveness, storages, service, held, .. } = datanode;
            let name = format!("datanode {} ({host})", node.get());
            match liveness {
                Liveness::Alive => {}
                // It was announced to be away, or has left.
                Liveness::Suspect | Liveness::Dead
                    if matches!(service, Service::Decommissioned | Service::Maintenance { .. }) => {}
                Liveness::Suspect => reasons.push((Health::Degraded, format!("{name} is silent"))),
                Liveness::Dead => reasons.push((Health::Degraded, format!("{name} is dead"))),
            }
            if let Some(Held { left, returns }) = held {
                let seconds = left.as_secs().max(1);
                let reason =
                    format!("{name} came back {returns} times within an hour; it gets nothing new for {seconds}s");
                reasons.push((Health::Degraded, reason));
            }
            for storage in storages {
                if storage.failed {
                    reasons.push((Health::Degraded, format!("{name}: volume {} has failed", storage.storage)));
                } else if storage.free.get() < storage.capacity.get() / 100 * LOW_PERCENT {
                    let free = storage.free.human();
                    reasons
                        .push((Health::Degraded, format!("{name}: volume {} has only {free} left", storage.storage)));
                }
            }
        }
    }

    fn judge_blocks(&self, reasons: &mut Vec<(Health, String)>) {
        let Some(redundancy) = self.leader().and_then(|leader| leader.redundancy) else { return };
        let blocks = |number, what: &str| (Health::Degraded, format!("{} {what}", count(number, "block", "blocks")));
        if redundancy.missing > 0 {
            reasons.push(blocks(redundancy.missing, "without any good replica: their files cannot be read"));
        }
        if redundancy.corrupt_replicas > 0 {
            let replicas = count(redundancy.corrupt_replicas, "damaged replica", "damaged replicas");
            reasons.push((Health::Degraded, format!("{replicas}, kept until good ones replace them")));
        }
        if redundancy.under_replicated > 0 {
            reasons.push(blocks(redundancy.under_replicated, "with too few replicas"));
        }
    }
}

impl fmt::Display for SafeMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("safe mode is on")?;
        if let Some(since) = self.since {
            write!(f, " since {}", moment(since))?;
        }
        match &self.by {
            Some(by) => write!(f, ", by {by}"),
            None => Ok(()),
        }
    }
}

/// `2026-05-14 09:30:21 UTC`
fn moment(time: Timestamp) -> String {
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(time.nanos())).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

fn count_of_namenodes(number: usize) -> String {
    count(number as u64, "namenode", "namenodes")
}

#[cfg(test)]
mod tests;
