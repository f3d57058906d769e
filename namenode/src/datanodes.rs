//! What a namenode knows of the datanodes: their rows in the state, and what their heartbeats say.
//!
//! Every member hears every datanode, so that a new leader can choose targets at once.

mod load;
pub(crate) mod racks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use namespace::balance::foreground::{self, Foreground};
use namespace::placement::{self, Candidate, Policy};
use namespace::repair::drain::Tally;
use namespace::repair::stability::{Held, Stability};
use namespace::repair::{Facts, Liveness, Member, Standing};
use namespace::row::{BlockLocation, NodeRow, Service};
use proto::v1;
use tracing::warn;
use types::{ByteSize, ClusterId, NodeId, StorageId};

use crate::raft::wall_clock;
use crate::settings::Settings;
use crate::tokens::Tokens;

use load::Load;
use racks::Racks;

/// A storage as its datanode describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StorageReport {
    pub(crate) storage: StorageId,
    pub(crate) capacity: u64,
    pub(crate) used: u64,
    pub(crate) free: u64,
    pub(crate) replicas: u64,
    pub(crate) failed: bool,
    /// Since the byte was checked that has waited longest.
    pub(crate) oldest_unverified_ms: u64,
    /// The last pass of the scrubber that was asked for.
    pub(crate) scrub: Option<ScrubPass>,
}

/// How far a pass of the scrubber over a storage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScrubPass {
    pub(crate) pass: u64,
    pub(crate) checked: u64,
    pub(crate) bytes: u64,
    pub(crate) bad: u64,
    pub(crate) ended: bool,
}

impl From<v1::ScrubPass> for ScrubPass {
    fn from(v1::ScrubPass { pass, checked, bytes, bad, ended }: v1::ScrubPass) -> Self {
        Self { pass, checked, bytes, bad, ended }
    }
}

impl From<ScrubPass> for v1::ScrubPass {
    fn from(ScrubPass { pass, checked, bytes, bad, ended }: ScrubPass) -> Self {
        Self { pass, checked, bytes, bad, ended }
    }
}

/// What a heartbeat says of its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    pub(crate) node: NodeId,
    /// Where it serves blocks; empty when it does not say.
    pub(crate) transfer: String,
    pub(crate) storages: Vec<StorageReport>,
    pub(crate) writers: u32,
    /// Where readers on its machine get the files of replicas.
    pub(crate) local: Option<v1::LocalSocket>,
    /// Drawn by its process; 0 when it does not say.
    pub(crate) instance: u64,
    /// What clients read and wrote there, in sums.
    pub(crate) reads: v1::Served,
    pub(crate) writes: v1::Served,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    instance: u64,
    stability: Stability,
    load: Load,
    storages: Vec<StorageReport>,
    writers: u32,
    local: Option<v1::LocalSocket>,
}

#[derive(Debug, Default)]
struct Known {
    rows: BTreeMap<NodeId, NodeRow>,
    heard: BTreeMap<NodeId, Heard>,
    /// When any datanode was heard last, and when that was last after a long time of hearing none.
    heard_any: Option<Instant>,
    deaf_until: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Datanodes {
    known: Mutex<Known>,
    /// A node that has not been heard yet counts as heard then.
    started: Instant,
    suspect_after: Duration,
    dead_after: Duration,
    repair_after: Duration,
    pub(crate) tokens: Tokens,
    hold_down: Duration,
    policy: Policy,
    racks: Arc<Racks>,
}

/// How far a pass of the scrubbers is, over the nodes that are asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Scrubbed {
    /// Nodes that live and have not begun it.
    pub(crate) waiting: Vec<NodeId>,
    /// Nodes that live.
    pub(crate) nodes: usize,
    pub(crate) dead: Vec<NodeId>,
    pub(crate) checked: u64,
    pub(crate) bytes: u64,
    pub(crate) bad: u64,
    /// All that live have ended it.
    pub(crate) ended: bool,
}

/// How far a replica is from its reader: on the same host, in the same rack, elsewhere.
const ON_HOST: u32 = 0;
const IN_RACK: u32 = 2;
const ELSEWHERE: u32 = 4;

/// A wish for targets.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) replicas: u8,
    pub(crate) least: u8,
    pub(crate) block_size: ByteSize,
    pub(crate) exclude: &'a [u64],
    pub(crate) writer_host: Option<&'a str>,
    /// How they are spread over racks; absent: as the configuration says.
    pub(crate) spread: Option<Policy>,
    pub(crate) seed: u64,
}

/// Too few targets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{have} datanodes can take a block of {block_size} and {least} are needed ({want} wanted); start more, or free space"
)]
pub(crate) struct TooFew {
    pub(crate) have: usize,
    pub(crate) least: u8,
    pub(crate) want: u8,
    pub(crate) block_size: ByteSize,
}

impl Datanodes {
    pub(crate) fn new(cluster: ClusterId, settings: &Settings, racks: Arc<Racks>) -> Self {
        Self {
            known: Mutex::default(),
            started: Instant::now(),
            suspect_after: settings.suspect_after,
            dead_after: settings.dead_after,
            repair_after: settings.repair_after,
            tokens: Tokens::new(cluster, settings),
            hold_down: settings.hold_down,
            policy: settings.placement.policy(),
            racks,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }

    /// Takes the rows of the state.
    pub(crate) fn load(&self, rows: Vec<NodeRow>) {
        self.known().rows = rows.into_iter().map(|row| (row.id, row)).collect();
    }

    /// Takes in a heartbeat. False: the node is not known as it is now, and is to register again. One that came back at
    /// another address, or with another disk, is not kept, so that nobody is sent to where it was; one that stands in
    /// another rack than its row says is.
    pub(crate) fn hear(&self, heartbeat: Heartbeat) -> bool {
        let mut known = self.known();
        let Heartbeat { node, transfer, storages, writers, local, instance, reads, writes } = heartbeat;
        let Known { rows, heard, heard_any, deaf_until } = &mut *known;
        let Some(row) = rows.get(&node) else { return false };
        let moved = !transfer.is_empty() && transfer != row.transfer;
        if moved || storages.iter().any(|report| !row.storages.contains(&report.storage)) {
            return false;
        }
        let at = Instant::now();
        if heard_any.replace(at).is_some_and(|before| at - before > self.suspect_after) {
            *deaf_until = Some(at);
        }
        let before = heard.remove(&node);
        let is_back = before.as_ref().is_some_and(|before| {
            // Who was not heard while this namenode heard nobody may have spoken all the time.
            let was_silent = at - before.at > self.suspect_after && deaf_until.is_none_or(|deaf| deaf <= before.at);
            before.instance != instance || was_silent
        });
        let same = before.as_ref().is_some_and(|before| before.instance == instance);
        let (mut stability, load) = before.map(|before| (before.stability, before.load)).unwrap_or_default();
        // Another process counts anew.
        let mut load = if same { load } else { Load::default() };
        load.hear(at, reads, writes);
        if is_back {
            stability.returned(at - self.started, self.hold_down);
            if let Some(Held { left, returns }) = stability.held(at - self.started) {
                warn!(%node, returns, ?left, "a datanode comes and goes, and gets nothing new for a while");
            }
        }
        heard.insert(node, Heard { at, instance, stability, load, storages, writers, local });
        self.racks.of(&row.host, racks::ip_of(&row.transfer)).is_none_or(|rack| rack == row.rack)
    }

    /// Datanodes on which clients suffer, or did lately: what a balance may do there.
    pub(crate) fn yielding(&self) -> BTreeMap<NodeId, Foreground> {
        let known = self.known();
        let heard = known.heard.iter().map(|(node, heard)| (*node, heard.load.foreground.clone()));
        heard.filter(|(_, foreground)| foreground.share() < foreground::WHOLE).collect()
    }

    fn held(&self, heard: &Heard) -> Option<Held> {
        heard.stability.held(self.started.elapsed())
    }

    /// What is to be thought of a node, if it is lost after `dead_after`.
    fn liveness(&self, heard: Option<&Heard>, dead_after: Duration) -> Liveness {
        match self.silence(heard) {
            silence if silence > dead_after => Liveness::Dead,
            silence if silence > self.suspect_after => Liveness::Suspect,
            _ if heard.is_some_and(|heard| self.held(heard).is_some()) => Liveness::Held,
            _ => Liveness::Alive,
        }
    }

    /// Where the datanode that a registration is for speaks from, if that is elsewhere: two processes would be one node.
    /// A process that was started again has the address of the old one, or finds it silent.
    pub(crate) fn speaks_elsewhere(&self, registration: &NodeRow) -> Option<(NodeId, String)> {
        let known = self.known();
        let is_same = |row: &&NodeRow| {
            row.id == registration.id || row.storages.iter().any(|storage| registration.storages.contains(storage))
        };
        let speaks =
            |row: &&NodeRow| known.heard.get(&row.id).is_some_and(|heard| heard.at.elapsed() < self.suspect_after);
        let elsewhere =
            known.rows.values().filter(is_same).filter(speaks).find(|row| row.transfer != registration.transfer);
        elsewhere.map(|row| (row.id, row.transfer.clone()))
    }

    fn silence(&self, heard: Option<&Heard>) -> Duration {
        heard.map_or(self.started, |heard| heard.at).elapsed()
    }

    /// The storages that are not failed, by what is known of their nodes.
    fn members(known: &Known) -> impl Iterator<Item = (&NodeRow, Option<&Heard>, Candidate)> {
        known.rows.values().flat_map(|row| {
            let heard = known.heard.get(&row.id);
            row.storages.iter().filter_map(move |storage| {
                let report = heard.and_then(|heard| heard.storages.iter().find(|report| report.storage == *storage));
                // A datanode that speaks and does not name a storage has lost it.
                if heard.is_some() && report.is_none_or(|report| report.failed) {
                    return None;
                }
                let candidate = Candidate {
                    location: BlockLocation { node: row.id, storage: *storage },
                    host: row.host.clone(),
                    rack: row.rack.clone(),
                    capacity: ByteSize::new(report.map_or(0, |report| report.capacity)),
                    free: ByteSize::new(report.map_or(0, |report| report.free)),
                    writers: heard.map_or(0, |heard| heard.writers),
                };
                Some((row, heard, candidate))
            })
        })
    }

    /// Targets for a new block, best first: as many as wished if there are, fewer down to the least. Those that
    /// come and go, and suspects, are chosen only if there would be too few without them.
    pub(crate) fn targets(&self, wish: &Wish<'_>) -> Result<Vec<BlockLocation>, TooFew> {
        let mut targets = Vec::new();
        for at_least in [Liveness::Alive, Liveness::Held, Liveness::Suspect] {
            if targets.len() < usize::from(wish.least) {
                targets = self.place(wish, at_least);
            }
        }
        if targets.len() < usize::from(wish.least) {
            let Wish { least, replicas, block_size, .. } = *wish;
            return Err(TooFew { have: targets.len(), least, want: replicas, block_size });
        }
        Ok(targets)
    }

    /// Targets among the nodes that are at least so lively.
    fn place(&self, wish: &Wish<'_>, at_least: Liveness) -> Vec<BlockLocation> {
        let (known, now) = (self.known(), wall_clock());
        let candidates: Vec<Candidate> = Self::members(&known)
            .filter(|(row, heard, candidate)| {
                heard.is_some()
                    && row.service().standing(now) == Standing::InService
                    && self.liveness(*heard, self.dead_after) <= at_least
                    && !wish.exclude.contains(&row.id.get())
                    && candidate.free >= wish.block_size
            })
            .map(|(_, _, candidate)| candidate)
            .collect();
        drop(known);
        placement::place(
            &candidates,
            usize::from(wish.replicas),
            wish.writer_host,
            wish.spread.unwrap_or(self.policy),
            wish.seed,
        )
    }

    /// What the repair planner works from: a node is lost when it has been silent for `repair_after`.
    pub(crate) fn repair_facts(&self) -> Facts {
        self.facts(self.repair_after)
    }

    /// What redundancy is counted from: a node does not count when it has been silent for `dead_after`.
    pub(crate) fn health_facts(&self) -> Facts {
        self.facts(self.dead_after)
    }

    fn facts(&self, dead_after: Duration) -> Facts {
        let known = self.known();
        let members = Self::members(&known).map(|(_, heard, candidate)| {
            let liveness = self.liveness(heard, dead_after);
            (candidate.location.storage, Member { candidate, liveness })
        });
        let now = wall_clock();
        let standings = known.rows.values().map(|row| (row.id, row.service().standing(now)));
        let standings = standings.filter(|(_, standing)| *standing != Standing::InService).collect();
        Facts { members: members.collect(), standings, policy: self.policy }
    }

    /// The nodes that are to leave, and those whose maintenance has ended, with what they were set to.
    pub(crate) fn services(&self) -> (BTreeSet<NodeId>, Vec<(NodeId, Service)>) {
        let (known, now) = (self.known(), wall_clock());
        let services = || known.rows.values().map(|row| (row.id, row.service()));
        let leaving = services().filter(|(_, service)| *service == Service::Decommissioning).map(|(node, _)| node);
        let is_over = |service: &Service| matches!(service, Service::Maintenance { until } if *until <= now);
        (leaving.collect(), services().filter(|(_, service)| is_over(service)).collect())
    }

    /// Locations for the wire, in the order given; one whose node is not known is left out.
    pub(crate) fn locations(&self, locations: &[BlockLocation]) -> Vec<v1::Location> {
        let known = self.known();
        locations.iter().filter_map(|location| wire(&known, location)).collect()
    }

    /// The same for a reader, with how far each is from it: live ones first, near ones before others. Its machine is the one
    /// of the same boot id, whatever the two call it: several datanodes of one machine have names of their own.
    pub(crate) fn for_reader(&self, locations: &[BlockLocation], reader: &v1::Reader) -> Vec<v1::Location> {
        let known = self.known();
        let v1::Reader { host, boot } = reader;
        let neighbour = known.rows.values().find(|row| row.host == *host).map(|row| row.rack.clone());
        let rack = neighbour.or_else(|| self.racks.of(host, None));
        let mut ranked: Vec<(Liveness, v1::Location)> = locations
            .iter()
            .filter_map(|location| {
                let heard = known.heard.get(&location.node);
                let liveness = self.liveness(heard, self.dead_after);
                let row = known.rows.get(&location.node)?;
                let local = heard.and_then(|heard| heard.local.clone()).filter(|local| local.boot == *boot);
                let distance = match &rack {
                    _ if local.is_some() || row.host == *host => ON_HOST,
                    Some(rack) if row.rack == *rack => IN_RACK,
                    Some(_) | None => ELSEWHERE,
                };
                let silent = matches!(liveness, Liveness::Suspect | Liveness::Dead);
                Some((liveness, v1::Location { distance, silent, local, ..wire(&known, location)? }))
            })
            .collect();
        ranked.sort_by_key(|(liveness, wire)| (*liveness, wire.distance));
        ranked.into_iter().map(|(_, wire)| wire).collect()
    }

    /// The storages of the nodes that are not dead.
    pub(crate) fn live_storages(&self) -> Vec<BlockLocation> {
        let known = self.known();
        Self::members(&known)
            .filter(|(_, heard, _)| heard.is_some() && self.silence(*heard) <= self.dead_after)
            .map(|(_, _, candidate)| candidate.location)
            .collect()
    }

    /// Every datanode that ever registered.
    pub(crate) fn registered(&self) -> Vec<NodeId> {
        self.known().rows.keys().copied().collect()
    }

    /// How far a pass of the scrubber of `node` is, or of all.
    pub(crate) fn scrubbed(&self, node: Option<NodeId>, pass: u64) -> Scrubbed {
        let known = self.known();
        let mut scrubbed = Scrubbed { ended: true, ..Scrubbed::default() };
        for id in known.rows.keys().filter(|id| node.is_none_or(|node| node == **id)) {
            let heard = known.heard.get(id);
            if self.liveness(heard, self.dead_after) == Liveness::Dead {
                scrubbed.dead.push(*id);
                continue;
            }
            scrubbed.nodes += 1;
            let volumes = || heard.into_iter().flat_map(|heard| &heard.storages).filter(|storage| !storage.failed);
            let passes: Vec<ScrubPass> =
                volumes().filter_map(|storage| storage.scrub.filter(|scrub| scrub.pass == pass)).collect();
            if heard.is_none() || passes.len() < volumes().count() {
                scrubbed.waiting.push(*id);
            }
            scrubbed.ended &= passes.iter().all(|scrub| scrub.ended);
            for ScrubPass { checked, bytes, bad, .. } in passes {
                scrubbed.checked += checked;
                scrubbed.bytes += bytes;
                scrubbed.bad += bad;
            }
        }
        scrubbed.ended &= scrubbed.waiting.is_empty();
        scrubbed
    }

    /// What is known of each; `tally` is what the leader's last scan counted.
    pub(crate) fn report(&self, tally: impl Fn(NodeId) -> Option<Tally>) -> Vec<v1::DatanodeReport> {
        let known = self.known();
        let report = |row: &NodeRow| {
            let heard = known.heard.get(&row.id);
            let silence = self.silence(heard);
            let held = heard.and_then(|heard| self.held(heard));
            let (service, until) = match row.service() {
                Service::InService => (v1::Service::InService, 0),
                Service::Decommissioning => (v1::Service::Decommissioning, 0),
                Service::Decommissioned => (v1::Service::Decommissioned, 0),
                Service::Maintenance { until } => (v1::Service::Maintenance, until.nanos()),
            };
            v1::DatanodeReport {
                node: row.id.get(),
                host: row.host.clone(),
                rack: row.rack.clone(),
                transfer: row.transfer.clone(),
                liveness: match self.liveness(heard, self.dead_after) {
                    Liveness::Alive | Liveness::Held => v1::Liveness::Alive,
                    Liveness::Suspect => v1::Liveness::Suspect,
                    Liveness::Dead => v1::Liveness::Dead,
                } as i32,
                last_heartbeat_ms: u64::try_from(silence.as_millis()).unwrap_or(u64::MAX),
                storages: heard.map_or_else(Vec::new, |heard| heard.storages.iter().map(storage_state).collect()),
                writers: heard.map_or(0, |heard| heard.writers),
                service: service.into(),
                maintenance_until: until,
                tally: tally(row.id).map(wire_tally),
                held_ms: held.map_or(0, |held| u64::try_from(held.left.as_millis()).unwrap_or(u64::MAX)),
                returns: held.map_or(0, |held| u32::try_from(held.returns).unwrap_or(u32::MAX)),
            }
        };
        known.rows.values().map(report).collect()
    }
}

fn wire(known: &Known, location: &BlockLocation) -> Option<v1::Location> {
    let row = known.rows.get(&location.node)?;
    Some(v1::Location {
        node: location.node.get(),
        storage: location.storage.as_bytes().to_vec(),
        transfer: row.transfer.clone(),
        host: row.host.clone(),
        silent: false,
        local: None,
        distance: ELSEWHERE,
    })
}

fn wire_tally(tally: Tally) -> v1::Tally {
    let Tally { replicas, last, written, waiting, no_target, no_source } = tally;
    v1::Tally { replicas, last, written, waiting, no_target, no_source }
}

fn storage_state(report: &StorageReport) -> v1::StorageState {
    v1::StorageState {
        storage: report.storage.as_bytes().to_vec(),
        capacity: report.capacity,
        used: report.used,
        free: report.free,
        replicas: report.replicas,
        failed: report.failed,
        oldest_unverified_ms: report.oldest_unverified_ms,
        scrub: report.scrub.map(Into::into),
    }
}

#[cfg(test)]
mod tests;
