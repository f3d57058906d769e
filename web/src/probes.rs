//! Questions of machines: `/metrics`, `/healthz`, `/livez`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use client::health::Health;
use futures::future::BoxFuture;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Serialize;

/// How something is, in one word, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub health: Health,
    /// The worst first.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// Of a part that can go on, or not, with these troubles.
    pub fn of(serves: bool, reasons: Vec<String>) -> Self {
        let health = match (serves, reasons.is_empty()) {
            (false, _) => Health::Unavailable,
            (true, false) => Health::Degraded,
            (true, true) => Health::Healthy,
        };
        Self { health, reasons }
    }
}

/// Judges, at the moment it is asked.
pub type Judge = Arc<dyn Fn() -> BoxFuture<'static, Verdict> + Send + Sync>;
/// Brings the numbers that nobody counts as they change up to date.
pub type Observe = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Word {
    verdict: &'static str,
}

pub(crate) struct Probes {
    pub(crate) registry: Registry,
    pub(crate) observe: Observe,
    pub(crate) judge: Judge,
    verdicts: Family<Word, Gauge>,
    reasons: Gauge,
}

impl Probes {
    /// `of` is what the verdict is about: the cluster, or one datanode.
    pub(crate) fn new(mut registry: Registry, of: &str, observe: Observe, judge: Judge) -> Self {
        let (verdicts, reasons) = (Family::default(), Gauge::default());
        let verdict = "1 for the word that says how it is, 0 for the others";
        registry.register(format!("ashlar_{of}_health"), verdict, verdicts.clone());
        registry.register(format!("ashlar_{of}_health_reasons"), "Reasons for the word", reasons.clone());
        Self { registry, observe, judge, verdicts, reasons }
    }

    async fn text(&self) -> String {
        (self.observe)().await;
        let verdict = (self.judge)().await;
        for health in [Health::Healthy, Health::Degraded, Health::Unavailable] {
            let gauge = self.verdicts.get_or_create(&Word { verdict: health.word() });
            gauge.set(i64::from(health == verdict.health));
        }
        self.reasons.set(verdict.reasons.len() as i64);
        telemetry::text(&self.registry)
    }
}

pub(crate) async fn metrics(State(probes): State<Arc<Probes>>) -> Response {
    ([(CONTENT_TYPE, telemetry::MEDIA_TYPE), (CACHE_CONTROL, "no-store")], probes.text().await).into_response()
}

/// A degraded cluster serves: whoever balances load must not take all its members out at once.
pub(crate) async fn health(State(probes): State<Arc<Probes>>) -> Response {
    let verdict = (probes.judge)().await;
    let status = match verdict.health {
        Health::Healthy | Health::Degraded => StatusCode::OK,
        Health::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut text = serde_json::to_string(&verdict).expect("a verdict is plain data");
    text.push('\n');
    (status, [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], text).into_response()
}

/// That this is answered is the answer.
pub(crate) async fn liveness() -> Response {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")], "alive\n").into_response()
}
