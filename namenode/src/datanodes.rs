//! What a namenode knows of the datanodes: their rows in the state, and what their heartbeats say.
//!
//! Every member hears every datanode, so that a new leader can choose targets at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use namespace::placement::{self, Candidate};
use namespace::repair::drain::Tally;
use namespace::repair::{Facts, Liveness, Member, Standing};
use namespace::row::{BlockLocation, NodeRow, Service};
use proto::v1;
use types::{ByteSize, ClusterId, NodeId, StorageId};

use crate::raft::wall_clock;
use crate::settings::Settings;
use crate::tokens::Tokens;

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
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    storages: Vec<StorageReport>,
    writers: u32,
    local: Option<v1::LocalSocket>,
}

#[derive(Debug, Default)]
struct Known {
    rows: BTreeMap<NodeId, NodeRow>,
    heard: BTreeMap<NodeId, Heard>,
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

/// A wish for targets.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) replicas: u8,
    pub(crate) least: u8,
    pub(crate) block_size: ByteSize,
    pub(crate) exclude: &'a [u64],
    pub(crate) writer_host: Option<&'a str>,
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
    pub(crate) fn new(cluster: ClusterId, settings: &Settings) -> Self {
        Self {
            known: Mutex::default(),
            started: Instant::now(),
            suspect_after: settings.suspect_after,
            dead_after: settings.dead_after,
            repair_after: settings.repair_after,
            tokens: Tokens::new(cluster, settings),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }

    /// Takes the rows of the state.
    pub(crate) fn load(&self, rows: Vec<NodeRow>) {
        self.known().rows = rows.into_iter().map(|row| (row.id, row)).collect();
    }

    /// Takes in a heartbeat. False: the node is not known as it is now, and the heartbeat not kept. A node that came back
    /// at another address, or with another disk, thus registers again; nobody is sent to where it was.
    pub(crate) fn hear(&self, heartbeat: Heartbeat) -> bool {
        let mut known = self.known();
        let Heartbeat { node, transfer, storages, writers, local } = heartbeat;
        let Some(row) = known.rows.get(&node) else { return false };
        let moved = !transfer.is_empty() && transfer != row.transfer;
        if moved || storages.iter().any(|report| !row.storages.contains(&report.storage)) {
            return false;
        }
        known.heard.insert(node, Heard { at: Instant::now(), storages, writers, local });
        true
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

    fn liveness(&self, silence: Duration, dead_after: Duration) -> Liveness {
        match silence {
            silence if silence > dead_after => Liveness::Dead,
            silence if silence > self.suspect_after => Liveness::Suspect,
            _ => Liveness::Alive,
        }
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

    /// Targets for a new block, best first: as many as wished if there are, fewer down to the least.
    pub(crate) fn targets(&self, wish: &Wish<'_>) -> Result<Vec<BlockLocation>, TooFew> {
        let (known, now) = (self.known(), wall_clock());
        let candidates: Vec<Candidate> = Self::members(&known)
            .filter(|(row, heard, candidate)| {
                heard.is_some()
                    && row.service().standing(now) == Standing::InService
                    && self.liveness(self.silence(*heard), self.dead_after) == Liveness::Alive
                    && !wish.exclude.contains(&row.id.get())
                    && candidate.free >= wish.block_size
            })
            .map(|(_, _, candidate)| candidate)
            .collect();
        drop(known);
        let targets = placement::place(&candidates, usize::from(wish.replicas), wish.writer_host, wish.seed);
        if targets.len() < usize::from(wish.least) {
            let Wish { least, replicas, block_size, .. } = *wish;
            return Err(TooFew { have: targets.len(), least, want: replicas, block_size });
        }
        Ok(targets)
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
            let liveness = self.liveness(self.silence(heard), dead_after);
            (candidate.location.storage, Member { candidate, liveness })
        });
        let now = wall_clock();
        let standings = known.rows.values().map(|row| (row.id, row.service().standing(now)));
        let standings = standings.filter(|(_, standing)| *standing != Standing::InService).collect();
        Facts { members: members.collect(), standings }
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

    /// The same for a reader: live ones first, those on its own host before others.
    pub(crate) fn for_reader(&self, locations: &[BlockLocation], host: &str) -> Vec<v1::Location> {
        let known = self.known();
        let mut ranked: Vec<(Liveness, bool, v1::Location)> = locations
            .iter()
            .filter_map(|location| {
                let heard = known.heard.get(&location.node);
                let liveness = self.liveness(self.silence(heard), self.dead_after);
                let mut wire = wire(&known, location)?;
                wire.silent = liveness != Liveness::Alive;
                let is_near = wire.host == host;
                wire.local = heard.filter(|_| is_near).and_then(|heard| heard.local.clone());
                Some((liveness, !is_near, wire))
            })
            .collect();
        ranked.sort_by_key(|(liveness, away, _)| (*liveness, *away));
        ranked.into_iter().map(|(_, _, wire)| wire).collect()
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
            if self.liveness(self.silence(heard), self.dead_after) == Liveness::Dead {
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
                liveness: match self.liveness(silence, self.dead_after) {
                    Liveness::Alive => v1::Liveness::Alive,
                    Liveness::Suspect => v1::Liveness::Suspect,
                    Liveness::Dead => v1::Liveness::Dead,
                } as i32,
                last_heartbeat_ms: u64::try_from(silence.as_millis()).unwrap_or(u64::MAX),
                storages: heard.map_or_else(Vec::new, |heard| heard.storages.iter().map(storage_state).collect()),
                writers: heard.map_or(0, |heard| heard.writers),
                service: service.into(),
                maintenance_until: until,
                tally: tally(row.id).map(wire_tally),
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
mod tests {
    use types::Timestamp;

    use super::*;

    const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);

    fn storage(node: u64) -> StorageId {
        StorageId::from_bytes([u8::try_from(node).expect("small"); 16])
    }

    fn row(node: u64) -> NodeRow {
        NodeRow {
            id: NodeId::new(node),
            host: format!("host{node}"),
            transfer: format!("127.0.0.1:{node}"),
            rack: "rack".to_owned(),
            storages: vec![storage(node)],
            service: None,
        }
    }

    fn socket() -> v1::LocalSocket {
        v1::LocalSocket { boot: vec![3; 16], path: b"/run/dn".to_vec() }
    }

    fn heartbeat(node: u64, free: u64) -> Heartbeat {
        let report = StorageReport {
            storage: storage(node),
            capacity: 1000,
            used: 0,
            free,
            replicas: 0,
            failed: false,
            oldest_unverified_ms: 0,
            scrub: None,
        };
        Heartbeat {
            node: NodeId::new(node),
            transfer: row(node).transfer,
            storages: vec![report],
            writers: 0,
            local: Some(socket()),
        }
    }

    fn wish(replicas: u8, exclude: &[u64]) -> Wish<'_> {
        Wish { replicas, least: 2, block_size: ByteSize::new(100), exclude, writer_host: None, seed: 1 }
    }

    #[test]
    fn targets_are_alive_have_room_and_are_not_excluded() {
        let datanodes = Datanodes::new(CLUSTER, &Settings::default());
        assert!(!datanodes.hear(heartbeat(1, 500)), "an unknown node is not kept");
        datanodes.load((1..=4).map(row).collect());
        for (node, free) in [(1, 500), (2, 500), (3, 50)] {
            assert!(datanodes.hear(heartbeat(node, free)));
        }
        let chosen = |wish| datanodes.targets(&wish).map(|targets| targets.len());
        assert_eq!(chosen(wish(3, &[])), Ok(2), "one is full and one has not been heard");
        let too_few = TooFew { have: 1, least: 2, want: 3, block_size: ByteSize::new(100) };
        assert_eq!(chosen(wish(3, &[2])), Err(too_few));
    }

    #[test]
    fn nodes_that_leave_or_are_in_maintenance_are_no_targets() {
        let datanodes = Datanodes::new(CLUSTER, &Settings::default());
        let set = |node, service| NodeRow { service: Some(service), ..row(node) };
        let (past, later) = (Timestamp::from_nanos(1), Timestamp::from_nanos(u64::MAX));
        datanodes.load(vec![
            row(1),
            set(2, Service::Decommissioning),
            set(3, Service::Decommissioned),
            set(4, Service::Maintenance { until: later }),
            set(5, Service::Maintenance { until: past }),
        ]);
        for node in 1..=5 {
            assert!(datanodes.hear(heartbeat(node, 500)));
        }
        let chosen = datanodes.targets(&wish(5, &[])).expect("two are in service");
        assert_eq!(chosen.iter().map(|target| target.node.get()).collect::<BTreeSet<_>>(), BTreeSet::from([1, 5]));
        let over = (NodeId::new(5), Service::Maintenance { until: past });
        assert_eq!(datanodes.services(), (BTreeSet::from([NodeId::new(2)]), vec![over]));
    }

    #[test]
    fn a_node_that_moved_or_got_a_disk_must_register_again() {
        let datanodes = Datanodes::new(CLUSTER, &Settings::default());
        datanodes.load(vec![row(1)]);
        assert!(datanodes.hear(heartbeat(1, 500)));
        assert!(!datanodes.hear(Heartbeat { transfer: "127.0.0.1:9".to_owned(), ..heartbeat(1, 500) }));
        assert!(!datanodes.hear(Heartbeat { storages: heartbeat(2, 500).storages, ..heartbeat(1, 500) }));
        assert!(datanodes.hear(Heartbeat { transfer: String::new(), ..heartbeat(1, 500) }), "it does not say");
    }

    #[test]
    fn a_clone_is_refused_as_long_as_the_first_one_speaks() {
        let settings = Settings { suspect_after: Duration::from_secs(3600), ..Settings::default() };
        let mut datanodes = Datanodes::new(CLUSTER, &settings);
        datanodes.load(vec![row(1), row(2)]);
        assert!(datanodes.hear(heartbeat(1, 500)));
        let moved = |row: NodeRow| NodeRow { transfer: "127.0.0.1:9".to_owned(), ..row };
        let first = Some((NodeId::new(1), "127.0.0.1:1".to_owned()));
        assert_eq!(datanodes.speaks_elsewhere(&moved(row(1))), first, "the same node");
        assert_eq!(
            datanodes.speaks_elsewhere(&moved(NodeRow { id: NodeId::new(0), ..row(1) })),
            first,
            "the same disk"
        );
        assert_eq!(datanodes.speaks_elsewhere(&row(1)), None, "it was started again");
        assert_eq!(datanodes.speaks_elsewhere(&moved(row(2))), None, "never heard");
        datanodes.suspect_after = Duration::ZERO;
        assert_eq!(datanodes.speaks_elsewhere(&moved(row(1))), None, "the first is silent");
    }

    #[test]
    fn a_reader_is_sent_to_its_own_host_and_to_suspects_last() {
        let settings = Settings { suspect_after: Duration::from_secs(3600), ..Settings::default() };
        let mut datanodes = Datanodes::new(CLUSTER, &settings);
        datanodes.load((1..=3).map(row).collect());
        // Nodes 2 and 3 were never heard, and the start was long ago.
        datanodes.suspect_after = Duration::ZERO;
        datanodes.hear(heartbeat(1, 1));
        datanodes.suspect_after = datanodes.started.elapsed();
        datanodes.hear(heartbeat(2, 1));
        let all: Vec<BlockLocation> =
            (1..=3).map(|n| BlockLocation { node: NodeId::new(n), storage: storage(n) }).collect();
        let order = datanodes.for_reader(&all, "host2");
        assert_eq!((order[0].node, order[0].silent), (2, false));
        assert_eq!((order[2].node, order[2].silent), (3, true), "never heard, and away");
        let sockets: Vec<_> = order.iter().map(|wire| wire.local.clone()).collect();
        assert_eq!(sockets, [Some(socket()), None, None], "told to those on its host");
        assert_eq!(datanodes.for_reader(&all, "").len(), 3);
    }
}
