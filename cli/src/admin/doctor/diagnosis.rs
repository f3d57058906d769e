//! From what is known of a cluster to what is wrong with it: a pure function.
//!
//! A finding is a cause. What follows from it is told with it and not found again by itself; what no cause explains is told last,
//! as what it is.

use std::collections::BTreeMap;
use std::time::Duration;

use client::health::Facts;
use client::{DatanodeReport, DatanodeSigns, Examined, Liveness, MemberStatus, Service};
use serde::Serialize;
use types::NodeId;

use crate::output::count;

/// Clocks that are further apart than this make times of files and of leases wrong.
const SKEW: Duration = Duration::from_secs(2);
/// A datanode that is so often back in ten minutes comes and goes.
const RETURNS: u32 = 3;
/// A pause between two heartbeats, which come once a second, that is no accident.
const PAUSE: Duration = Duration::from_millis(2500);
/// A volume with less room than this share is as good as full.
const LOW_PERCENT: u64 = 5;
/// The rack of those that were told of none.
const NO_RACK: &str = "/default";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Cause {
    NoMajority,
    SafeMode,
    LostNamenode,
    StalledNamenode,
    ClockSkew,
    DeadDisk,
    FlappingDatanode,
    LostDatanode,
    FullVolume,
    DamagedReplicas,
    SlowDatanode,
    StuckFile,
    VersionSkew,
    WrongRackMap,
    /// A symptom that none of the above explains.
    TooFewReplicas,
}

impl Cause {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NoMajority => "no majority",
            Self::SafeMode => "safe mode",
            Self::LostNamenode => "lost namenode",
            Self::StalledNamenode => "stalled namenode",
            Self::ClockSkew => "clock skew",
            Self::DeadDisk => "dead disk",
            Self::FlappingDatanode => "flapping datanode",
            Self::LostDatanode => "lost datanode",
            Self::FullVolume => "full volume",
            Self::DamagedReplicas => "damaged replicas",
            Self::SlowDatanode => "slow datanode",
            Self::StuckFile => "stuck file",
            Self::VersionSkew => "version skew",
            Self::WrongRackMap => "wrong rack map",
            Self::TooFewReplicas => "too few replicas",
        }
    }

    /// Whether blocks lack replicas because of it.
    const fn takes_replicas(self) -> bool {
        match self {
            Self::DeadDisk
            | Self::FlappingDatanode
            | Self::LostDatanode
            | Self::FullVolume
            | Self::DamagedReplicas
            | Self::SlowDatanode
            | Self::NoMajority
            | Self::SafeMode => true,
            Self::LostNamenode
            | Self::StalledNamenode
            | Self::ClockSkew
            | Self::StuckFile
            | Self::VersionSkew
            | Self::WrongRackMap
            | Self::TooFewReplicas => false,
        }
    }
}

/// What is wrong. The keys are an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) cause: Cause,
    /// The thing, and how it is known.
    pub(super) what: String,
    /// What follows from it.
    pub(super) explains: Vec<String>,
    pub(super) way_out: String,
}

impl Finding {
    fn new(cause: Cause, what: String, way_out: impl Into<String>) -> Self {
        Self { cause, what, explains: Vec::new(), way_out: way_out.into() }
    }
}

/// All that is known.
pub(super) struct Chart<'a> {
    pub(super) facts: &'a Facts,
    pub(super) examined: &'a BTreeMap<String, Result<Examined, String>>,
}

impl Chart<'_> {
    /// The causes, the worst first.
    pub(super) fn diagnose(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        self.look_at_namenodes(&mut found);
        self.look_at_orders(&mut found);
        self.look_at_clocks(&mut found);
        self.look_at_versions(&mut found);
        for datanode in self.datanodes() {
            self.look_at_datanode(datanode, &mut found);
        }
        self.look_at_racks(&mut found);
        self.look_at_files(&mut found);
        found.sort_by_key(|finding| finding.cause);
        self.look_at_blocks(&mut found);
        found
    }

    fn datanodes(&self) -> impl Iterator<Item = &DatanodeReport> {
        self.facts.datanodes.iter().flatten()
    }

    fn members(&self) -> impl Iterator<Item = (&str, &MemberStatus)> {
        self.facts.namenodes.iter().filter_map(|answer| Some((answer.address.as_str(), answer.status.as_ref().ok()?)))
    }

    /// What the leader sees; another member, while there is none.
    fn observer(&self) -> Option<&Examined> {
        let of = |address: &String| self.examined.get(address)?.as_ref().ok();
        let leader = self.facts.leader_address();
        leader.as_ref().and_then(of).or_else(|| self.examined.values().find_map(|examined| examined.as_ref().ok()))
    }

    fn signs(&self, node: NodeId) -> Option<&DatanodeSigns> {
        self.observer()?.datanodes.iter().find(|signs| signs.node == node)
    }

    fn look_at_namenodes(&self, found: &mut Vec<Finding>) {
        let leads = self.facts.leader().is_some();
        let all = self.facts.namenodes.len();
        for answer in &self.facts.namenodes {
            if let Err(reason) = &answer.status {
                let what = format!("namenode {} does not answer: {reason}", answer.address);
                let way_out = "start it again, or replace it: docs/operations/namenodes.md";
                let mut finding = Finding::new(Cause::LostNamenode, what, way_out);
                if leads {
                    let living = self.members().count();
                    // A group of that size goes on without so many more.
                    let spare = living.saturating_sub(all / 2 + 1);
                    finding.explains.push(match spare {
                        0 => "one more lost namenode stops the cluster".to_owned(),
                        spare => {
                            format!("{} more may be lost before the cluster stops", count(spare as u64, "one", "ones"))
                        }
                    });
                }
                found.push(finding);
            }
        }
        if !leads {
            let what = format!("{} of {all} namenodes answer, and they have no leader", self.members().count());
            let way_out = "bring back namenodes until most of them run; their logs say why they stopped";
            let mut finding = Finding::new(Cause::NoMajority, what, way_out);
            finding.explains.push("nothing can be written, and nothing is repaired".to_owned());
            found.push(finding);
        }
        for (address, member) in self.members().filter(|(_, member)| member.stalled) {
            let what = format!(
                "namenode {} ({address}) has a write on its way to the disk that does not end",
                member.node.get()
            );
            found.push(Finding::new(Cause::StalledNamenode, what, "look at its disk; it does not lead meanwhile"));
        }
    }

    /// What operators said that keeps the cluster from its work.
    fn look_at_orders(&self, found: &mut Vec<Finding>) {
        if let Some(safe_mode) = self.facts.state().and_then(|member| member.safe_mode.as_ref()) {
            let way_out = "ashlar admin safemode leave, when what it was for is over";
            let mut finding = Finding::new(Cause::SafeMode, safe_mode.to_string(), way_out);
            finding.explains.push("clients are refused what would change something; nothing is repaired".to_owned());
            found.push(finding);
        }
    }

    /// Everybody is compared with the middle one, so that the odd one is found whoever leads.
    fn look_at_clocks(&self, found: &mut Vec<Finding>) {
        let members = self.facts.namenodes.iter().filter_map(|answer| {
            let examined = self.examined.get(&answer.address)?.as_ref().ok()?;
            Some((format!("namenode {}", answer.address), examined.skew, examined.took / 2))
        });
        let observed = self.observer().map(|observer| observer.skew);
        let datanodes =
            self.datanodes().filter(|datanode| datanode.liveness != Liveness::Dead).filter_map(|datanode| {
                let skew = self.signs(datanode.node)?.skew?;
                Some((name(datanode), skew.saturating_add(observed?), Duration::ZERO))
            });
        let clocks: Vec<(String, i64, Duration)> = members.chain(datanodes).collect();
        let mut skews: Vec<i64> = clocks.iter().map(|(_, skew, _)| *skew).collect();
        skews.sort_unstable();
        let Some(middle) = skews.get(skews.len() / 2) else { return };
        for (who, skew, doubt) in &clocks {
            let apart = Duration::from_nanos(skew.abs_diff(*middle));
            if apart > SKEW + *doubt {
                let way = if skew > middle { "ahead of" } else { "behind" };
                let apart = humantime::format_duration(Duration::from_millis(
                    u64::try_from(apart.as_millis()).unwrap_or(u64::MAX),
                ));
                let what = format!("the clock of {who} is {apart} {way} the others");
                let mut finding =
                    Finding::new(Cause::ClockSkew, what, "have its clock set by NTP, as on the other hosts");
                if who.starts_with("namenode") {
                    finding
                        .explains
                        .push("times of files jump, and what is due goes too early or late, when it leads".to_owned());
                }
                found.push(finding);
            }
        }
    }

    fn look_at_versions(&self, found: &mut Vec<Finding>) {
        let members = self.facts.namenodes.iter().filter_map(|answer| {
            let examined = self.examined.get(&answer.address)?.as_ref().ok()?;
            Some((format!("namenode {}", answer.address), examined.version.clone()))
        });
        let datanodes = self
            .datanodes()
            .filter(|datanode| datanode.liveness != Liveness::Dead)
            .filter_map(|datanode| Some((name(datanode), self.signs(datanode.node)?.version.clone())));
        let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (who, version) in members.chain(datanodes) {
            versions.entry(version).or_default().push(who);
        }
        let Some((most, _)) = versions.iter().max_by_key(|(version, who)| (who.len(), (*version).clone())) else {
            return;
        };
        let most = most.clone();
        for (version, who) in versions.iter().filter(|(version, _)| **version != most) {
            let version = if version.is_empty() { "a version that does not say so" } else { version };
            let what = format!(
                "{} {} {version}, the others {most}",
                who.join(", "),
                if who.len() == 1 { "runs" } else { "run" }
            );
            found.push(Finding::new(Cause::VersionSkew, what, "bring all to one version"));
        }
    }

    fn look_at_datanode(&self, datanode: &DatanodeReport, found: &mut Vec<Finding>) {
        let who = name(datanode);
        for volume in datanode.storages.iter().filter(|volume| volume.failed) {
            let what = format!("volume {} of {who} has failed", volume.storage);
            let way_out =
                "its log says why; replace the disk, and restart the datanode with an empty volume in its place";
            found.push(Finding::new(Cause::DeadDisk, what, way_out));
        }
        let is_away = matches!(datanode.service, Service::Decommissioned | Service::Maintenance { .. });
        let signs = self.signs(datanode.node);
        let returns = signs.map_or(0, |signs| signs.returns);
        if returns >= RETURNS && !is_away {
            let what = format!("{who} came back {returns} times in ten minutes, after silences or as another process");
            let way_out = "its log says why it stops; until it stays: ashlar admin maintenance, or decommission";
            found.push(Finding::new(Cause::FlappingDatanode, what, way_out));
        } else if datanode.liveness != Liveness::Alive && !is_away {
            let silent = humantime::format_duration(Duration::from_secs(datanode.last_heartbeat.as_secs()));
            let what = format!("{who} is silent since {silent}");
            let way_out = "start it again; else do nothing, and its replicas are made anew elsewhere";
            found.push(Finding::new(Cause::LostDatanode, what, way_out));
        } else if let Some(signs) = signs.filter(|signs| signs.pause > PAUSE && !is_away) {
            let what = format!("{who} stops for up to {:.1} s between two heartbeats", signs.pause.as_secs_f64());
            let way_out = "look at the load, the memory and the network of its host";
            let mut finding = Finding::new(Cause::SlowDatanode, what, way_out);
            finding.explains.push("writes and reads that go through it are slow".to_owned());
            found.push(finding);
        }
        for volume in datanode.storages.iter().filter(|volume| !volume.failed) {
            if volume.free.get() < volume.capacity.get() / 100 * LOW_PERCENT {
                let (free, capacity) = (volume.free.human(), volume.capacity.human());
                let what = format!("volume {} of {who} has {free} of {capacity} left", volume.storage);
                let way_out = "ashlar admin balance, if others have room; else add a datanode, or remove something";
                found.push(Finding::new(Cause::FullVolume, what, way_out));
            }
            if let Some(pass) = volume.scrub.filter(|pass| pass.bad > 0) {
                let replicas = count(pass.bad, "damaged replica", "damaged replicas");
                let what = format!("the scrubber of {who} found {replicas} on volume {}", volume.storage);
                let way_out = "they are replaced from good ones; look at that disk and at the memory of its host, and scrub again";
                found.push(Finding::new(Cause::DamagedReplicas, what, way_out));
            }
        }
    }

    fn look_at_racks(&self, found: &mut Vec<Finding>) {
        let mut racks: BTreeMap<&str, Vec<&DatanodeReport>> = BTreeMap::new();
        let mut hosts: BTreeMap<&str, Vec<&DatanodeReport>> = BTreeMap::new();
        for datanode in self.datanodes().filter(|datanode| datanode.service != Service::Decommissioned) {
            racks.entry(&datanode.rack).or_default().push(datanode);
            hosts.entry(&datanode.host).or_default().push(datanode);
        }
        if let Some(lost) = racks.get(NO_RACK).filter(|_| racks.len() > 1) {
            let who: Vec<String> = lost.iter().map(|datanode| name(datanode)).collect();
            let stand = if who.len() == 1 { "stands" } else { "stand" };
            let what = format!("{} {stand} in no rack ({NO_RACK}), while others have one", who.join(", "));
            let mut finding = Finding::new(Cause::WrongRackMap, what, "say where they are, with `rack` in [datanode]");
            finding.explains.push("the loss of one rack may take more replicas than it seems".to_owned());
            found.push(finding);
        }
        for (host, nodes) in hosts {
            if nodes.iter().any(|datanode| datanode.rack != nodes[0].rack) {
                let racks: Vec<&str> = nodes.iter().map(|datanode| datanode.rack.as_str()).collect();
                let what =
                    format!("the datanodes of host {host} say that it is in several racks: {}", racks.join(", "));
                found.push(Finding::new(Cause::WrongRackMap, what, "give all datanodes of a host the same `rack`"));
            }
        }
    }

    fn look_at_files(&self, found: &mut Vec<Finding>) {
        for file in self.observer().into_iter().flat_map(|observer| &observer.stuck) {
            let path = if file.path.is_empty() {
                format!("inode {}", file.inode.get())
            } else {
                String::from_utf8_lossy(&file.path).into_owned()
            };
            let since = humantime::format_duration(Duration::from_secs(file.since.as_secs()));
            let nodes: Vec<String> = file.nodes.iter().map(|node| node.get().to_string()).collect();
            let (what, way_out) = if file.recovering {
                let what = format!(
                    "{path} cannot be closed since {since}: what its lost writer wrote last is on datanodes {} only, which do not answer",
                    nodes.join(", ")
                );
                (what, "bring one of them back".to_owned())
            } else {
                let what = format!("{path} is held by a writer that is silent since {since}: {}", file.writer);
                (what, format!("it is taken from the writer by itself; at once: ashlar fs recover -f {path}"))
            };
            let mut finding = Finding::new(Cause::StuckFile, what, way_out);
            finding.explains.push("nobody else can write it, and what was written last is not visible yet".to_owned());
            found.push(finding);
        }
    }

    /// What is short of replicas is a symptom, as long as there is a cause for it.
    fn look_at_blocks(&self, found: &mut Vec<Finding>) {
        let Some(redundancy) = self.facts.leader().and_then(|leader| leader.redundancy) else { return };
        let mut symptoms = Vec::new();
        for (number, what) in [
            (redundancy.missing, "without any good replica: their files cannot be read"),
            (redundancy.under_replicated, "with too few replicas"),
        ] {
            if number > 0 {
                symptoms.push(format!("{} {what}", count(number, "block", "blocks")));
            }
        }
        if redundancy.corrupt_replicas > 0 {
            let replicas = count(redundancy.corrupt_replicas, "damaged replica is", "damaged replicas are");
            symptoms.push(format!("{replicas} kept until good ones replace them"));
        }
        if symptoms.is_empty() {
            return;
        }
        if let Some(cause) = found.iter_mut().find(|finding| finding.cause.takes_replicas()) {
            cause.explains.append(&mut symptoms);
        } else {
            let way_out = "they are copied by themselves; ashlar admin fsck names the files";
            found.push(Finding::new(Cause::TooFewReplicas, symptoms.join("; "), way_out));
        }
    }
}

fn name(datanode: &DatanodeReport) -> String {
    format!("datanode {} ({})", datanode.node.get(), datanode.host)
}

#[cfg(test)]
mod tests;
