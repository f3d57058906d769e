//! What a datanode counts. What nobody counts as it changes is brought up to date by [`Probe::observe`].

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use proto::v1;
use telemetry::Queues;
use types::{ByteSize, Code};

use crate::node::Node;
use crate::store::{Report, Volume};

/// A leader that was not heard for so long is missed.
const SILENCE: Duration = Duration::from_secs(10);
/// A volume with less room than this share of it will soon refuse writes.
const LOW_PERCENT: u64 = 5;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    /// `ok`, or the name of the error's code.
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Task {
    kind: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Place {
    /// The directory.
    volume: String,
    storage: String,
}

/// The numbers.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    pub(crate) copied: Counter,
    pub(crate) scrubbed: Counter,
    pub(crate) scrub_damaged: Counter,
    pub(crate) dropped_tasks: Counter,
    pub(crate) dropped_results: Counter,
    writes: Family<Outcome, Counter>,
    reads: Family<Outcome, Counter>,
    local_opens: Family<Outcome, Counter>,
    heartbeats: Family<Outcome, Counter>,
    tasks: Family<Task, Counter>,
    writers: Gauge,
    waiting_results: Gauge,
    silence: Gauge<f64, AtomicU64>,
    capacity: Family<Place, Gauge>,
    used: Family<Place, Gauge>,
    free: Family<Place, Gauge>,
    replicas: Family<Place, Gauge>,
    failed: Family<Place, Gauge>,
    oldest_unverified: Family<Place, Gauge<f64, AtomicU64>>,
}

impl Metrics {
    /// New numbers, all zero, that `registry` shows.
    pub(crate) fn new<'a>(registry: &mut Registry, volumes: impl Iterator<Item = &'a Arc<Volume>>) -> Self {
        let metrics = Self::default();
        let to = registry.sub_registry_with_prefix("ashlar_datanode");
        to.register("connections", "Connections of the transfer server open", metrics.connections.clone());
        to.register("received_bytes", "Bytes of blocks received from writers", metrics.received.clone());
        to.register("sent_bytes", "Bytes of blocks sent to readers", metrics.sent.clone());
        to.register("copied_bytes", "Bytes of blocks pulled from other datanodes", metrics.copied.clone());
        to.register("scrub_bytes", "Bytes read and checked by the scrubber", metrics.scrubbed.clone());
        to.register("scrub_damaged", "Damaged replicas found by the scrubber", metrics.scrub_damaged.clone());
        to.register(
            "dropped_tasks",
            "Tasks not taken for want of room; they come again",
            metrics.dropped_tasks.clone(),
        );
        let help = "Results dropped because no leader heard them for very long";
        to.register("dropped_results", help, metrics.dropped_results.clone());
        to.register("writes", "Writes of blocks that ended, by their result", metrics.writes.clone());
        to.register("reads", "Reads of blocks that ended, by their result", metrics.reads.clone());
        let help = "Files of replicas asked for by readers on this machine, by the result";
        to.register("local_opens", help, metrics.local_opens.clone());
        to.register("heartbeats", "Heartbeats and registrations, by their result", metrics.heartbeats.clone());
        to.register("tasks", "Tasks of the leader done, by their result", metrics.tasks.clone());
        to.register("writers", "Blocks being written", metrics.writers.clone());
        to.register("waiting_results", "Results that no leader has heard yet", metrics.waiting_results.clone());
        to.register("leader_silence_seconds", "Since a leader last answered", metrics.silence.clone());
        to.register("volume_capacity_bytes", "Size of the volume's file system", metrics.capacity.clone());
        to.register("volume_used_bytes", "Bytes of replicas on the volume", metrics.used.clone());
        to.register("volume_free_bytes", "Bytes left for replicas, the reserve taken off", metrics.free.clone());
        to.register("volume_replicas", "Replicas on the volume", metrics.replicas.clone());
        to.register("volume_failed", "1 for a volume that is out of service", metrics.failed.clone());
        let help = "Since the byte was read and checked that has waited longest";
        to.register("volume_oldest_unverified_seconds", help, metrics.oldest_unverified.clone());
        let mut queues = Queues::default();
        for volume in volumes {
            queues.add(format!("disk {}", volume.root.display()), volume.disk.queue());
        }
        to.register_collector(Box::new(queues));
        metrics
    }

    fn show(&self, volume: String, report: &Report) {
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let &Report { storage, capacity, used, free, replicas, failed, ref scrub } = report;
        let place = Place { volume, storage: storage.to_string() };
        self.capacity.get_or_create(&place).set(gauge(capacity));
        self.used.get_or_create(&place).set(gauge(used));
        self.free.get_or_create(&place).set(gauge(free));
        self.replicas.get_or_create(&place).set(gauge(replicas));
        self.failed.get_or_create(&place).set(i64::from(failed));
        self.oldest_unverified.get_or_create(&place).set(scrub.oldest_unverified.as_secs_f64());
    }

    pub(crate) fn wrote(&self, refused: Option<Code>) {
        self.writes.get_or_create(&outcome(refused)).inc();
    }

    pub(crate) fn read(&self, refused: Option<Code>) {
        self.reads.get_or_create(&outcome(refused)).inc();
    }

    pub(crate) fn opened_locally(&self, refused: Option<Code>) {
        self.local_opens.get_or_create(&outcome(refused)).inc();
    }

    /// `Io` stands for a namenode that cannot be reached.
    pub(crate) fn heartbeat(&self, refused: Option<Code>) {
        self.heartbeats.get_or_create(&outcome(refused)).inc();
    }

    pub(crate) fn did(&self, result: &v1::TaskResult) {
        let kind = match result.task.as_ref().and_then(|task| task.kind.as_ref()) {
            Some(v1::task::Kind::Copy(_)) => "copy",
            Some(v1::task::Kind::Gather(_)) => "gather",
            Some(v1::task::Kind::Delete(_)) => "delete",
            Some(v1::task::Kind::Check(_)) => "check",
            Some(v1::task::Kind::Offer(_)) => "offer",
            Some(v1::task::Kind::End(_)) => "end",
            Some(v1::task::Kind::Scrub(_)) => "scrub",
            None => return,
        };
        let Outcome { result } = outcome(result.error.as_ref().map(v1::Error::typed_code));
        self.tasks.get_or_create(&Task { kind, result }).inc();
    }
}

fn outcome(refused: Option<Code>) -> Outcome {
    Outcome { result: refused.map_or("ok", Code::name) }
}

/// Looks into a running datanode, and keeps nothing of it alive.
#[derive(Clone)]
pub struct Probe(Weak<Node>);

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}

impl Probe {
    pub(crate) fn of(node: &Arc<Node>) -> Self {
        Self(Arc::downgrade(node))
    }

    /// Brings the numbers up to date.
    pub fn observe(&self) {
        let Some(node) = self.0.upgrade() else { return };
        let metrics = &node.metrics;
        metrics.writers.set(i64::from(node.writers()));
        metrics.waiting_results.set(node.waiting_results() as i64);
        metrics.silence.set(node.leader_silence().as_secs_f64());
        for (volume, report) in volumes(&node) {
            metrics.show(volume, &report);
        }
    }

    /// Whether it can serve at all, and what is wrong, the worst first.
    pub fn complaints(&self) -> (bool, Vec<String>) {
        match self.0.upgrade() {
            Some(node) => complaints(node.id().is_some(), node.leader_silence(), &volumes(&node)),
            None => (false, vec!["this process is stopping".to_owned()]),
        }
    }
}

fn volumes(node: &Node) -> Vec<(String, Report)> {
    let name = |report: &Report| node.volumes.get(&report.storage).map(|volume| volume.root.display().to_string());
    node.reports().into_iter().map(|report| (name(&report).unwrap_or_default(), report)).collect()
}

/// The judgement: a pure function of what is known.
fn complaints(registered: bool, silence: Duration, volumes: &[(String, Report)]) -> (bool, Vec<String>) {
    let mut reasons = Vec::new();
    let serves = volumes.iter().any(|(_, report)| !report.failed);
    if !serves {
        reasons.push("no volume works".to_owned());
    }
    if !registered {
        reasons.push("no leader has registered this datanode yet".to_owned());
    } else if silence > SILENCE {
        reasons.push(format!("no leader has answered for {} s", silence.as_secs()));
    }
    for (volume, report) in volumes {
        if report.failed {
            reasons.push(format!("volume {volume} has failed"));
        } else if report.free < report.capacity / 100 * LOW_PERCENT {
            let free = ByteSize::new(report.free).human();
            reasons.push(format!("volume {volume} has only {free} left"));
        }
    }
    (serves, reasons)
}

#[cfg(test)]
mod tests {
    use types::StorageId;

    use super::*;

    const DOCS: [&str; 4] = [
        include_str!("../../docs/operations/alerts.yml"),
        include_str!("../../docs/operations/grafana.json"),
        include_str!("../../docs/operations/monitoring.md"),
        include_str!("../../docs/operations/runbook.md"),
    ];

    /// Metrics that the documents name and that nobody tells.
    fn unknown<'a>(told: &str, prefix: &str) -> Vec<&'a str> {
        let known = telemetry::names_in(told, prefix);
        DOCS.iter().flat_map(|text| telemetry::names_in(text, prefix)).filter(|name| !known.contains(name)).collect()
    }

    fn report(free: u64, failed: bool) -> (String, Report) {
        let storage = StorageId::from_bytes([1; 16]);
        let (capacity, used, replicas, scrub) = (1000, 10, 1, Default::default());
        ("/d".to_owned(), Report { storage, capacity, used, free, replicas, failed, scrub })
    }

    #[test]
    fn a_datanode_says_what_is_wrong_with_it() {
        let moment = Duration::from_secs(1);
        assert_eq!(complaints(true, moment, &[report(500, false)]), (true, vec![]));
        let (serves, reasons) = complaints(true, Duration::from_secs(60), &[report(5, false), report(500, true)]);
        assert!(serves, "one volume works");
        assert_eq!(reasons, ["no leader has answered for 60 s", "volume /d has only 5B left", "volume /d has failed"]);
        let (serves, reasons) = complaints(false, moment, &[report(500, true)]);
        assert!(!serves);
        assert_eq!(reasons[..2], ["no volume works", "no leader has registered this datanode yet"]);
    }

    #[test]
    fn every_metric_that_rules_and_dashboards_name_exists() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry, std::iter::empty());
        // A family shows itself with its first member.
        metrics.wrote(None);
        metrics.read(None);
        metrics.opened_locally(None);
        metrics.heartbeat(None);
        let task = Some(v1::Task { kind: Some(v1::task::Kind::Scrub(v1::Scrub::default())) });
        metrics.did(&v1::TaskResult { task, error: None, bad_sources: Vec::new(), offered: None, gathered: None });
        let (volume, report) = report(1, false);
        metrics.show(volume, &report);
        let mut told = telemetry::text(&registry);
        // The queues are those of the disks, and the verdict is the door's.
        told += " ashlar_datanode_queue_depth ashlar_datanode_queue_oldest_seconds ashlar_datanode_health";
        told += " ashlar_datanode_health_reasons";
        assert_eq!(unknown(&told, "ashlar_datanode_"), Vec::<&str>::new());
    }

    #[test]
    fn what_was_counted_is_told_under_its_name() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry, std::iter::empty());
        metrics.scrubbed.inc_by(7);
        metrics.wrote(None);
        metrics.read(Some(Code::NoSuchBlock));
        let task = Some(v1::Task { kind: Some(v1::task::Kind::Delete(v1::DeleteReplica::default())) });
        metrics.did(&v1::TaskResult { task, error: None, bad_sources: Vec::new(), offered: None, gathered: None });
        let text = telemetry::text(&registry);
        for line in [
            "ashlar_datanode_scrub_bytes_total 7",
            "ashlar_datanode_writes_total{result=\"ok\"} 1",
            "ashlar_datanode_reads_total{result=\"NoSuchBlock\"} 1",
            "ashlar_datanode_tasks_total{kind=\"delete\",result=\"ok\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
