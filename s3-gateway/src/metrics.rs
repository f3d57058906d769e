//! What a gateway counts, in the text format of Prometheus.

use std::fmt;
use std::time::Duration;

use http_listener::Connections;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    operation: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: String,
}

pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Operation, Histogram, fn() -> Histogram>,
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    pub(crate) in_flight: Gauge,
    pub(crate) connections: Connections,
    pub(crate) unlogged: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("ashlar_s3"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(telemetry::latencies),
            received: Counter::default(),
            sent: Counter::default(),
            in_flight: Gauge::default(),
            connections: Connections::default(),
            unlogged: Counter::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("requests", "Requests answered", metrics.requests.clone());
        registry.register(
            "request_duration_seconds",
            "From the head of a request to the last byte of its answer",
            metrics.seconds.clone(),
        );
        registry.register("received_bytes", "Bytes of bodies received", metrics.received.clone());
        registry.register("sent_bytes", "Bytes of bodies sent", metrics.sent.clone());
        registry.register("requests_in_flight", "Requests being answered", metrics.in_flight.clone());
        metrics.connections.register(registry);
        registry.register(
            "access_log_lost_lines",
            "Requests that the access log could not take up",
            metrics.unlogged.clone(),
        );
        metrics
    }

    pub(crate) fn answered(&self, operation: &str, status: u16, took: Duration) {
        self.requests.get_or_create(&Request { operation: operation.to_owned(), status }).inc();
        self.seconds.get_or_create(&Operation { operation: operation.to_owned() }).observe(took.as_secs_f64());
    }

    pub(crate) fn text(&self) -> String {
        telemetry::text(&self.registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_that_rules_and_dashboards_name_exists() {
        let metrics = Metrics::new();
        metrics.answered("GetObject", 200, Duration::ZERO);
        let told = metrics.text();
        let known = telemetry::names_in(&told, "ashlar_s3_");
        for text in
            [include_str!("../../docs/operations/alerts.yml"), include_str!("../../docs/operations/grafana.json")]
        {
            assert!(telemetry::names_in(text, "ashlar_s3_").is_subset(&known));
        }
    }

    #[test]
    fn what_was_counted_is_told() {
        let metrics = Metrics::new();
        metrics.answered("GetObject", 200, Duration::from_millis(3));
        metrics.answered("GetObject", 404, Duration::from_millis(3));
        metrics.sent.inc_by(7);
        let text = metrics.text();
        for line in [
            "ashlar_s3_requests_total{operation=\"GetObject\",status=\"404\"} 1",
            "ashlar_s3_request_duration_seconds_bucket{le=\"0.005\",operation=\"GetObject\"} 2",
            "ashlar_s3_request_duration_seconds_bucket{le=\"0.0025\",operation=\"GetObject\"} 0",
            "ashlar_s3_sent_bytes_total 7",
            "ashlar_s3_requests_in_flight 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
