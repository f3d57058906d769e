//! `/datanodes`: each with its volumes.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use client::{DatanodeReport, Liveness, Service, StorageReport};
use types::{count, thousands};

use super::Site;
use super::failure::Failure;
use super::page::{Frame, age, moment, ok, percent, size};
use super::session::Session;

#[derive(Template)]
#[template(path = "datanodes.html")]
struct Page {
    frame: Frame,
    datanodes: Vec<Datanode>,
    complaint: Option<String>,
}

struct Datanode {
    number: u64,
    host: String,
    rack: String,
    address: String,
    state: &'static str,
    tone: &'static str,
    /// What an operator said of it, if it does not simply take part.
    service: Option<String>,
    heard: String,
    writers: String,
    volumes: Vec<Volume>,
}

struct Volume {
    storage: String,
    /// Its beginning, which tells volumes apart in all likelihood.
    short: String,
    failed: bool,
    used: String,
    free: String,
    capacity: String,
    used_percent: u64,
    taken_percent: u64,
    replicas: String,
    unverified: String,
    scrub: Option<String>,
}

impl From<&DatanodeReport> for Datanode {
    fn from(report: &DatanodeReport) -> Self {
        let (state, tone) = match report.liveness {
            Liveness::Alive => ("alive", "good"),
            Liveness::Suspect => ("silent", "warn"),
            Liveness::Dead => ("dead", "bad"),
        };
        let service = match report.service {
            Service::InService => None,
            Service::Decommissioning => {
                let left = report.tally.map(|tally| format!(": {} blocks left", thousands(tally.left())));
                Some(format!("leaving{}", left.unwrap_or_default()))
            }
            Service::Decommissioned => Some("has left".to_owned()),
            Service::Maintenance { until } => Some(format!("maintenance until {}", moment(until))),
        };
        Self {
            number: report.node.get(),
            host: report.host.clone(),
            rack: report.rack.clone(),
            address: report.transfer.clone(),
            state,
            tone,
            service,
            heard: match report.last_heartbeat.as_secs() {
                0 => "now".to_owned(),
                _ => format!("{} ago", age(report.last_heartbeat)),
            },
            writers: count(report.writers.into(), "writer", "writers"),
            volumes: report.storages.iter().map(Volume::from).collect(),
        }
    }
}

impl From<&StorageReport> for Volume {
    fn from(report: &StorageReport) -> Self {
        let [capacity, used, free] = [report.capacity, report.used, report.free].map(|size| size.get());
        let used_percent = percent(used, capacity);
        Self {
            short: report.storage.to_string().chars().take(8).collect(),
            storage: report.storage.to_string(),
            failed: report.failed,
            used: size(used),
            free: size(free),
            capacity: size(capacity),
            used_percent,
            taken_percent: percent(capacity.saturating_sub(free), capacity).max(used_percent),
            replicas: thousands(report.replicas),
            unverified: match report.oldest_unverified.is_zero() {
                true => "nothing to check".to_owned(),
                false => age(report.oldest_unverified),
            },
            scrub: report.scrub.filter(|pass| !pass.ended).map(|pass| {
                let percent = percent(pass.checked.get(), pass.bytes.get());
                format!("{percent}% checked, {} damaged", thousands(pass.bad))
            }),
        }
    }
}

pub(super) async fn page(State(site): State<Arc<Site>>, session: Session) -> Response {
    let Some(facts) = site.cluster.facts().await else { return Failure::stopping().page(&session) };
    let (datanodes, complaint) = match &facts.datanodes {
        Ok(reports) => (reports.iter().map(Datanode::from).collect(), None),
        Err(reason) => (Vec::new(), Some(reason.clone())),
    };
    ok(&Page { frame: Frame::new("Datanodes", "datanodes", &session), datanodes, complaint })
}
