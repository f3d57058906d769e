//! What this node tells the namenodes, and what it is told to do.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::v1;
use proto::v1::datanodes_client::DatanodesClient;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tracing::{debug, error, info, warn};
use types::{Code, ErrorKind, NodeId, StorageId, Term, Timestamp};

use crate::identity;
use crate::inventory;
use crate::node::Node;
use crate::store::{Pass, Report, Volume};
use crate::tasks::Tasks;

const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// More namenodes than any cluster ever has.
const NAMENODES: usize = 64;
/// A node without an id, or without keys, asks this often at least: nothing works before it has both.
const REGISTER_EVERY: Duration = Duration::from_millis(250);
/// News come in swarms, such as a thousand deletions: they share heartbeats.
const NEWS_PAUSE: Duration = Duration::from_millis(20);
/// A volume that does not answer a look at it for so long hangs.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// Looks at the volumes until `stop`, once every heartbeat.
pub(crate) async fn probe(node: Arc<Node>, stop: CancellationToken) {
    let mut due = interval(node.settings.heartbeat);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = due.tick() => {}
        }
        let reports = probe_once(&node).await;
        node.set_reports(reports);
    }
}

pub(crate) async fn probe_once(node: &Node) -> Vec<Report> {
    let mut reports = Vec::new();
    for volume in node.volumes.values() {
        let on = Arc::clone(volume);
        let report = match timeout(PROBE_DEADLINE, volume.disk.run(move || on.probe())).await {
            Ok(Ok(report)) => report,
            Ok(Err(_)) => volume.report_failed(),
            Err(_) => {
                volume.fail("it does not answer");
                volume.report_failed()
            }
        };
        reports.push(report);
    }
    reports
}

/// Reports to these namenodes, and to those that a leader tells of, until `stop`.
pub(crate) async fn report_to_all(node: Arc<Node>, namenodes: Vec<SocketAddr>, tasks: Tasks, stop: CancellationToken) {
    let (told, mut known) = mpsc::channel(NAMENODES);
    let mut reporters = JoinSet::new();
    let mut addresses = BTreeSet::new();
    let mut next: Vec<SocketAddr> = namenodes;
    loop {
        for namenode in next.drain(..) {
            if addresses.len() < NAMENODES && addresses.insert(namenode) {
                let told = told.clone();
                reporters.spawn(report(Arc::clone(&node), namenode, tasks.clone(), told, stop.clone()));
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            more = known.recv() => next.extend(more),
        }
    }
    while reporters.join_next().await.is_some() {}
}

/// Tells one namenode how this node is doing, until `stop`.
async fn report(
    node: Arc<Node>,
    namenode: SocketAddr,
    tasks: Tasks,
    told: mpsc::Sender<SocketAddr>,
    stop: CancellationToken,
) {
    let endpoint = Endpoint::from_shared(format!("http://{namenode}")).expect("an address makes a URL");
    let channel = endpoint.connect_timeout(CONNECT_DEADLINE).timeout(CALL_DEADLINE).tcp_nodelay(true).connect_lazy();
    let mut reporter = Reporter {
        client: DatanodesClient::new(channel).max_decoding_message_size(proto::MAX_MESSAGE),
        node,
        namenode,
        tasks,
        told,
        reachable: true,
        refused: None,
        leads: false,
        digests: Vec::new(),
    };
    let mut news = reporter.node.news.subscribe();
    loop {
        news.mark_unchanged();
        let begun = Instant::now();
        let every = reporter.node.settings.heartbeat;
        let every = tokio::select! {
            () = stop.cancelled() => break,
            () = reporter.beat() => if reporter.node.is_useful() { every } else { every.min(REGISTER_EVERY) },
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep_until(begun + every) => {}
            changed = news.changed() => {
                changed.expect("the node holds the sender");
                sleep_until(begun + NEWS_PAUSE).await;
            }
        }
    }
    reporter.tell_the_end().await;
}

struct Reporter {
    client: DatanodesClient<Channel>,
    node: Arc<Node>,
    namenode: SocketAddr,
    tasks: Tasks,
    /// Where other namenodes go that a leader tells of.
    told: mpsc::Sender<SocketAddr>,
    /// Whether the last call arrived: a change is logged, every failure is not.
    reachable: bool,
    /// Why this node was last refused: told once, too.
    refused: Option<String>,
    /// Whether it led when it last answered: what changed on the disks is told to the leader only.
    leads: bool,
    /// The storages whose digests it asked for.
    digests: Vec<StorageId>,
}

impl Reporter {
    /// A node that ends because its last disk has failed tells why, or it would be taken for one that was lost.
    async fn tell_the_end(&mut self) {
        if self.node.volumes.values().all(|volume| volume.has_failed()) {
            self.node.set_reports(self.node.volumes.values().map(|volume| volume.report_failed()).collect());
            self.beat().await;
        }
    }

    async fn beat(&mut self) {
        let Some(id) = self.node.id() else {
            return self.register().await;
        };
        let news = self.node.news();
        let storages = self.node.reports().into_iter().map(storage_report).collect();
        let request = v1::HeartbeatRequest {
            cluster: self.node.cluster.as_bytes().to_vec(),
            node: id.get(),
            storages,
            writers: self.node.writers(),
            results: news.results.clone(),
            bad: Vec::new(),
            transfer: self.node.address.to_string(),
            instance: self.node.instance,
            deltas: if self.leads { inventory::deltas(&self.node) } else { Vec::new() },
            digests: inventory::digests(&self.node, &std::mem::take(&mut self.digests)),
            pages: if self.leads { news.pages.clone() } else { Vec::new() },
            local: self.node.local.clone(),
            clock: wall_clock(),
            version: crate::VERSION.to_owned(),
            reads: Some(self.node.client_reads.wire()),
            writes: Some(self.node.client_writes.wire()),
        };
        let answered = self.client.heartbeat(request).await;
        let told = self.leads;
        self.leads = false;
        let Some(reply) = self.arrived(answered) else { return };
        if let Some(error) = &reply.error {
            self.node.metrics.heartbeat(Some(error.typed_code()));
            warn!(namenode = %self.namenode, code = %error.typed_code(), reason = error.message, "a heartbeat is refused");
            return;
        }
        self.node.metrics.heartbeat(None);
        let term = Term::new(reply.term);
        if !reply.leader || !self.node.is_current(term) {
            return;
        }
        if reply.unknown {
            return self.register().await;
        }
        for address in reply.namenodes.iter().filter_map(|text| text.parse().ok()) {
            let address: SocketAddr = address;
            // Without TLS, nothing but loopback is ever connected to. Without room, the next heartbeat tells it.
            if address.ip().is_loopback() {
                let _ = self.told.try_send(address);
            }
        }
        self.leads = true;
        self.node.hear_leader();
        self.node.tokens.hear(Timestamp::from_nanos(reply.now), &reply.keys);
        if told {
            self.node.heard(&news);
        }
        inventory::heard(&self.node, &reply.heard);
        self.digests = inventory::wanted_digests(&reply.want_digests);
        inventory::read_pages(&self.node, &reply.want_pages);
        for task in reply.tasks {
            match task.kind {
                Some(v1::task::Kind::Scrub(scrub)) => self.scrub(scrub),
                kind => {
                    if !self.tasks.add(term, v1::Task { kind }) {
                        self.node.metrics.dropped_tasks.inc();
                    }
                }
            }
        }
    }

    /// Nothing to wait for: the pass goes on by itself, and how far it is comes with every heartbeat.
    fn scrub(&self, scrub: v1::Scrub) {
        info!(pass = scrub.pass, "everything is to be checked");
        self.node.volumes.values().for_each(|volume| volume.scrub_now(scrub.pass));
        let task = Some(v1::Task { kind: Some(v1::task::Kind::Scrub(scrub)) });
        self.node.add_result(v1::TaskResult {
            task,
            error: None,
            bad_sources: Vec::new(),
            offered: None,
            gathered: None,
        });
    }

    async fn register(&mut self) {
        let node = &self.node;
        let request = v1::RegisterRequest {
            cluster: node.cluster.as_bytes().to_vec(),
            node: node.id().map_or(0, NodeId::get),
            host: node.settings.host_name(),
            transfer: node.address.to_string(),
            rack: node.settings.rack.clone(),
            storages: node.volumes.keys().map(|storage| storage.as_bytes().to_vec()).collect(),
        };
        let answered = self.client.register(request).await;
        let Some(reply) = self.arrived(answered) else { return };
        match reply.result {
            Some(v1::register_reply::Result::Node(id)) if id > 0 => {
                self.node.metrics.heartbeat(None);
                self.node.hear_leader();
                self.refused = None;
                self.registered(NodeId::new(id)).await;
            }
            Some(v1::register_reply::Result::Error(refused)) if may_pass(refused.typed_code()) => {
                debug!(namenode = %self.namenode, reason = refused.message, "not registered yet");
            }
            Some(v1::register_reply::Result::Error(refused)) if self.refused.as_ref() != Some(&refused.message) => {
                error!(namenode = %self.namenode, code = %refused.typed_code(), reason = refused.message, "this node is refused");
                self.refused = Some(refused.message);
            }
            Some(v1::register_reply::Result::Error(_)) => {}
            Some(v1::register_reply::Result::Node(_)) | None => {
                warn!(namenode = %self.namenode, "an answer to a registration makes no sense");
            }
        }
    }

    async fn registered(&self, id: NodeId) {
        if self.node.id() == Some(id) {
            return;
        }
        info!(node = %id, "registered");
        for volume in self.node.volumes.values() {
            let on = Arc::clone(volume);
            let noted = volume.disk.run(move || note_node(&on, id)).await;
            if let Ok(Err(error)) = noted {
                volume.fail(&format!("noting the node id: {error}"));
            }
        }
        self.node.set_id(id);
    }

    fn arrived<T>(&mut self, answered: Result<tonic::Response<T>, tonic::Status>) -> Option<T> {
        let now = answered.is_ok();
        if !now {
            self.node.metrics.heartbeat(Some(Code::Io));
        }
        match (&answered, self.reachable) {
            (Err(status), true) => info!(namenode = %self.namenode, reason = %status, "the namenode cannot be reached"),
            (Err(status), false) => debug!(namenode = %self.namenode, reason = %status, "still cannot be reached"),
            (Ok(_), false) => info!(namenode = %self.namenode, "the namenode can be reached again"),
            (Ok(_), true) => {}
        }
        self.reachable = now;
        answered.ok().map(tonic::Response::into_inner)
    }
}

/// Nanoseconds since 1970.
fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Refusals that are over once there is a leader with time.
fn may_pass(code: Code) -> bool {
    code.kind() == ErrorKind::Retry
}

fn note_node(volume: &Volume, id: NodeId) -> std::io::Result<()> {
    if volume.has_failed() { Ok(()) } else { identity::record_node(&volume.root, id) }
}

fn storage_report(report: Report) -> v1::StorageReport {
    let Report { storage, capacity, used, free, replicas, failed, scrub } = report;
    let storage = storage.as_bytes().to_vec();
    // Zero says that there is nothing to check.
    let age = u64::try_from(scrub.oldest_unverified.as_millis()).unwrap_or(u64::MAX);
    let oldest_unverified_ms = if scrub.oldest_unverified.is_zero() { 0 } else { age.max(1) };
    let scrub =
        scrub.asked.map(|Pass { pass, checked, bytes, bad, ended }| v1::ScrubPass { pass, checked, bytes, bad, ended });
    v1::StorageReport { storage, capacity, used, free, replicas, failed, oldest_unverified_ms, scrub }
}
