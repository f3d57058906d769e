//! What a namenode counts. Made where the process starts, and handed down; numbers that nobody counts as they change are
//! brought up to date by [`Probe::observe`].

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use proto::v1;
use telemetry::{Queue, Queues};
use types::Code;

use crate::audit::Counted;
use crate::deed::{Class, Deed};
use crate::progress::Counters;
use crate::raft::Refusal;
use crate::rpc::{self, Service};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    operation: &'static str,
    /// `ok`, or the name of the refusal's code.
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

/// The queues between the threads.
#[derive(Debug, Default)]
pub(crate) struct ThreadQueues {
    pub(crate) raft: Arc<Queue>,
    pub(crate) log: Arc<Queue>,
    pub(crate) apply: Arc<Queue>,
    pub(crate) readers: Arc<Queue>,
    pub(crate) duties: Arc<Queue>,
    pub(crate) locks: Arc<Queue>,
}

/// What is read when somebody asks.
#[derive(Debug, Default)]
struct Observed {
    term: Gauge,
    leads: Gauge,
    commit: Gauge,
    applied: Gauge,
    persisted: Gauge,
    last_index: Gauge,
    stalled: Gauge,
    safe_mode: Gauge,
    files: Gauge,
    directories: Gauge,
    bytes: Gauge,
    blocks: Gauge,
    sessions: Gauge,
    datanodes: Family<State, Gauge>,
    scanned: Gauge,
    under_replicated: Gauge,
    corrupt: Gauge,
    missing: Gauge,
    pending_copies: Gauge,
    scan_age: Gauge<f64, std::sync::atomic::AtomicU64>,
    tasks: Family<Kind, Gauge>,
    yielding: Gauge,
}

/// The numbers.
pub(crate) struct Metrics {
    pub(crate) log: Counters,
    pub(crate) queues: ThreadQueues,
    pub(crate) streams: Gauge,
    pub(crate) leader_changes: Counter,
    pub(crate) lost_messages: Counter,
    pub(crate) lost_events: Counter,
    pub(crate) refused_duties: Counter,
    pub(crate) installed_snapshots: Counter,
    pub(crate) audit: Counted,
    answered: Family<Answered, Counter>,
    refused: Family<Kind, Counter>,
    updates: Histogram,
    queries: Histogram,
    handed: Family<Kind, Counter>,
    failed_tasks: Family<Kind, Counter>,
    observed: Observed,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            log: Counters::default(),
            queues: ThreadQueues::default(),
            streams: Gauge::default(),
            leader_changes: Counter::default(),
            lost_messages: Counter::default(),
            lost_events: Counter::default(),
            refused_duties: Counter::default(),
            installed_snapshots: Counter::default(),
            audit: Counted::default(),
            answered: Family::default(),
            refused: Family::default(),
            updates: telemetry::latencies(),
            queries: telemetry::latencies(),
            handed: Family::default(),
            failed_tasks: Family::default(),
            observed: Observed::default(),
        }
    }
}

impl Metrics {
    /// New numbers, all zero, that `registry` shows.
    pub(crate) fn new(registry: &mut Registry) -> Arc<Self> {
        let metrics = Self::default();
        metrics.register(registry.sub_registry_with_prefix("ashlar_namenode"));
        Arc::new(metrics)
    }

    fn register(&self, to: &mut Registry) {
        to.register("operations", "Operations of clients answered, by their result", self.answered.clone());
        to.register("update_duration_seconds", "From an update's arrival to its answer", self.updates.clone());
        to.register("query_duration_seconds", "From a query's arrival to its answer", self.queries.clone());
        to.register("streams", "Streams of clients open", self.streams.clone());
        to.register("refusals", "Operations that clients must send again, by the reason", self.refused.clone());
        to.register("log_syncs", "Syncs of the Raft log", self.log.syncs.clone());
        to.register("log_sync_duration_seconds", "How long a write and sync of the log took", self.log.seconds.clone());
        to.register("log_entries", "Entries written to the log", self.log.entries.clone());
        to.register("log_bytes", "Bytes written to the log", self.log.bytes.clone());
        to.register("commands", "Commands applied to the state", self.log.commands.clone());
        to.register(
            "leader_changes",
            "Times that this member saw another leader, or none",
            self.leader_changes.clone(),
        );
        to.register("lost_messages", "Messages to other members dropped for want of room", self.lost_messages.clone());
        to.register("lost_events", "Reports for the duties dropped for want of room", self.lost_events.clone());
        to.register("refused_duties", "Proposals of duties refused or not answered", self.refused_duties.clone());
        to.register("installed_snapshots", "Snapshots put in place of the state", self.installed_snapshots.clone());
        to.register("audit_lines", "Lines written to the audit log", self.audit.lines.clone());
        to.register("audit_lost_lines", "Lines that the audit log could not take up", self.audit.lost.clone());
        to.register("tasks_handed_out", "Tasks given to datanodes, repetitions included", self.handed.clone());
        to.register("tasks_failed", "Tasks that datanodes could not do", self.failed_tasks.clone());
        let observed = &self.observed;
        to.register("term", "The Raft term", observed.term.clone());
        to.register("leads", "1 while this member leads and serves", observed.leads.clone());
        to.register("commit_index", "The last log index known to be committed", observed.commit.clone());
        to.register("applied_index", "The last log index in the state", observed.applied.clone());
        to.register("persisted_index", "The last log index in the state on disk", observed.persisted.clone());
        to.register("last_index", "The last log index", observed.last_index.clone());
        to.register("stalled", "1 while the disk does not finish a write", observed.stalled.clone());
        to.register("safe_mode", "1 while nothing is changed, because an operator said so", observed.safe_mode.clone());
        to.register("files", "Files in the namespace", observed.files.clone());
        to.register("directories", "Directories in the namespace", observed.directories.clone());
        to.register("file_bytes", "Lengths of all files", observed.bytes.clone());
        to.register("blocks", "Blocks of all files", observed.blocks.clone());
        to.register("sessions", "Sessions of clients", observed.sessions.clone());
        to.register("datanodes", "Datanodes, as this member sees them", observed.datanodes.clone());
        to.register("scanned_blocks", "Blocks looked at by the last whole scan (leader)", observed.scanned.clone());
        let help = "Blocks with fewer good replicas than they should have (leader)";
        to.register("under_replicated_blocks", help, observed.under_replicated.clone());
        to.register("corrupt_replicas", "Replicas known to be damaged (leader)", observed.corrupt.clone());
        to.register("missing_blocks", "Blocks without any good replica (leader)", observed.missing.clone());
        to.register("pending_copies", "Copies planned or under way (leader)", observed.pending_copies.clone());
        to.register("scan_age_seconds", "Since the last whole scan ended (leader)", observed.scan_age.clone());
        to.register("tasks", "Tasks for datanodes that wait or run (leader)", observed.tasks.clone());
        let help = "Datanodes on which a balance yields to clients that suffer (leader)";
        to.register("yielding_datanodes", help, observed.yielding.clone());
        let mut queues = Queues::default();
        let ThreadQueues { raft, log, apply, readers, duties, locks } = &self.queues;
        for (name, queue) in
            [("raft", raft), ("log", log), ("apply", apply), ("readers", readers), ("duties", duties), ("locks", locks)]
        {
            queues.add(name, queue);
        }
        to.register_collector(Box::new(queues));
    }

    /// An operation has its answer.
    pub(crate) fn answered(&self, deed: &Deed, refused: Option<Code>, took: Duration) {
        let result = refused.map_or("ok", Code::name);
        self.answered.get_or_create(&Answered { operation: deed.operation, result }).inc();
        match deed.class {
            Class::Read => self.queries.observe(took.as_secs_f64()),
            Class::Change => self.updates.observe(took.as_secs_f64()),
            // Locks that are waited for would tell of patience, not of speed.
            Class::Inner => {}
        }
    }

    /// Operations that were not decided, and are to be sent again.
    pub(crate) fn refuse(&self, refusal: Refusal, operations: usize) {
        let kind = match refusal {
            Refusal::NotLeader => "not_leader",
            Refusal::Busy => "busy",
            Refusal::Unknown => "unknown",
        };
        self.refused.get_or_create(&Kind { kind }).inc_by(operations as u64);
    }

    pub(crate) fn hand_out(&self, tasks: &[v1::Task]) {
        for task in tasks {
            let kind = match &task.kind {
                Some(v1::task::Kind::Copy(_)) => "copy",
                Some(v1::task::Kind::Gather(_)) => "gather",
                Some(v1::task::Kind::Delete(_)) => "delete",
                Some(v1::task::Kind::Check(_)) => "check",
                Some(v1::task::Kind::Offer(_)) => "offer",
                Some(v1::task::Kind::End(_)) => "end",
                Some(v1::task::Kind::Scrub(_)) => "scrub",
                None => continue,
            };
            self.handed.get_or_create(&Kind { kind }).inc();
        }
    }

    pub(crate) fn task_failed(&self, kind: &'static str) {
        self.failed_tasks.get_or_create(&Kind { kind }).inc();
    }

    fn set(&self, status: &v1::StatusReply, persisted: u64, leads: bool, tasks: &[(&'static str, usize)]) {
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let observed = &self.observed;
        observed.term.set(gauge(status.term));
        observed.leads.set(i64::from(leads));
        observed.commit.set(gauge(status.commit));
        observed.applied.set(gauge(status.applied));
        observed.persisted.set(gauge(persisted));
        observed.last_index.set(gauge(status.last_index));
        observed.stalled.set(i64::from(status.stalled));
        observed.safe_mode.set(i64::from(status.safe_mode.is_some()));
        observed.files.set(gauge(status.files));
        observed.directories.set(gauge(status.directories));
        observed.bytes.set(gauge(status.bytes));
        observed.blocks.set(gauge(status.blocks));
        observed.sessions.set(gauge(status.sessions));
        for (state, number) in
            [("alive", status.datanodes_alive), ("suspect", status.datanodes_suspect), ("dead", status.datanodes_dead)]
        {
            observed.datanodes.get_or_create(&State { state }).set(i64::from(number));
        }
        // What only a leader knows is not told by one that has ceased to lead.
        let redundancy = status.redundancy.unwrap_or_default();
        observed.scanned.set(gauge(redundancy.scanned_blocks));
        observed.under_replicated.set(gauge(redundancy.under_replicated));
        observed.corrupt.set(gauge(redundancy.corrupt_replicas));
        observed.missing.set(gauge(redundancy.missing));
        observed.pending_copies.set(gauge(redundancy.pending_copies));
        observed.scan_age.set(redundancy.scan_age_ms as f64 / 1000.0);
        for (kind, number) in tasks {
            observed.tasks.get_or_create(&Kind { kind }).set(gauge(*number as u64));
        }
    }
}

/// Looks into a running namenode, and keeps nothing of it alive.
#[derive(Debug, Clone)]
pub struct Probe(Weak<Service>);

impl Probe {
    pub(crate) fn of(service: &Arc<Service>) -> Self {
        Self(Arc::downgrade(service))
    }

    /// Brings the numbers up to date. What cannot be read keeps its last value, and is in the log.
    pub async fn observe(&self) {
        let Some(service) = self.0.upgrade() else { return };
        match rpc::status(&service).await {
            Ok(status) => {
                let leads = service.raft.leadership().serving;
                let yielding = if leads { service.datanodes.yielding().len() } else { 0 };
                service.metrics.observed.yielding.set(i64::try_from(yielding).unwrap_or(i64::MAX));
                service.metrics.set(&status, service.progress.persisted.get(), leads, &service.board.counts());
            }
            Err(status) => tracing::warn!(%status, "the numbers of this namenode cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn every_metric_that_rules_and_dashboards_name_exists() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        // A family shows itself with its first member.
        metrics.answered(&Deed::new("Mkdir", Class::Change), None, Duration::ZERO);
        metrics.refuse(Refusal::Busy, 1);
        metrics.hand_out(&[v1::Task { kind: Some(v1::task::Kind::Scrub(v1::Scrub::default())) }]);
        metrics.task_failed("copy");
        metrics.set(&v1::StatusReply::default(), 0, false, &[("copy", 0)]);
        assert_eq!(unknown(&telemetry::text(&registry), "ashlar_namenode_"), Vec::<&str>::new());
    }

    #[test]
    fn what_was_counted_is_told_under_its_name() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let (mkdir, stat) = (Deed::new("Mkdir", Class::Change), Deed::new("Stat", Class::Read));
        metrics.answered(&mkdir, None, Duration::from_millis(2));
        metrics.answered(&mkdir, Some(Code::Exists), Duration::from_millis(2));
        metrics.answered(&stat, Some(Code::Denied), Duration::from_millis(2));
        metrics.refuse(Refusal::Busy, 3);
        let status = v1::StatusReply { files: 7, term: 2, stalled: true, datanodes_dead: 1, ..Default::default() };
        let status = v1::StatusReply { safe_mode: Some(v1::SafeMode::default()), ..status };
        metrics.set(&status, 5, true, &[("copy", 4)]);
        let _waits = metrics.queues.apply.enter();
        let text = telemetry::text(&registry);
        for line in [
            "ashlar_namenode_operations_total{operation=\"Mkdir\",result=\"ok\"} 1",
            "ashlar_namenode_operations_total{operation=\"Mkdir\",result=\"Exists\"} 1",
            "ashlar_namenode_operations_total{operation=\"Stat\",result=\"Denied\"} 1",
            "ashlar_namenode_update_duration_seconds_bucket{le=\"0.0025\"} 2",
            "ashlar_namenode_refusals_total{kind=\"busy\"} 3",
            "ashlar_namenode_files 7",
            "ashlar_namenode_leads 1",
            "ashlar_namenode_safe_mode 1",
            "ashlar_namenode_datanodes{state=\"dead\"} 1",
            "ashlar_namenode_tasks{kind=\"copy\"} 4",
            "ashlar_namenode_queue_depth{queue=\"apply\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
