//! `ashlar admin report`

use client::health::{Facts, leader_first};
use client::{Admin, Config, DatanodeReport, Liveness, Service};
use serde::Serialize;

use super::service;
use crate::exit::Failure;
use crate::output::{Align, Output, Sizes, Table, rfc3339, thousands};

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Exact sizes instead of KiB, MiB, GiB
    #[arg(long)]
    bytes: bool,
    /// One JSON object, with each volume of each datanode
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(config: Config, args: ReportArgs) -> Result<(), Failure> {
    let leader = Facts::ask_namenodes(&config).await.leader_address();
    let report = Admin::unconnected(&leader_first(&config, leader)).report().await?;
    let mut out = Output::stdout();
    if args.json {
        out.json(&Report { datanodes: report.iter().map(Datanode::of).collect() })?;
    } else if report.is_empty() {
        out.line("no datanode has registered yet")?;
    } else {
        table(&report, Sizes::exact(args.bytes)).print(&mut out)?;
    }
    out.flush()
}

/// The datanodes as `--json` prints them. The keys are an interface.
#[derive(Debug, Serialize)]
struct Report {
    datanodes: Vec<Datanode>,
}

#[derive(Debug, Serialize)]
struct Datanode {
    node: u64,
    host: String,
    rack: String,
    address: String,
    state: Liveness,
    last_heartbeat_ms: u64,
    writers: u32,
    capacity: u64,
    used: u64,
    free: u64,
    replicas: u64,
    /// `in-service`, `decommissioning`, `decommissioned` or `maintenance`.
    service: &'static str,
    /// Of a maintenance.
    maintenance_until: Option<String>,
    /// Blocks that need a datanode that is to leave; told by the leader.
    blocks_left: Option<u64>,
    /// It gets nothing new for so long, because it came and went; 0 as a rule.
    held_ms: u64,
    /// How often it came back within an hour, if it is held.
    returns: u32,
    volumes: Vec<Volume>,
}

#[derive(Debug, Serialize)]
struct Volume {
    storage: String,
    capacity: u64,
    used: u64,
    free: u64,
    replicas: u64,
    failed: bool,
    oldest_unverified_ms: u64,
}

impl Datanode {
    fn of(report: &DatanodeReport) -> Self {
        let volumes: Vec<_> = report
            .storages
            .iter()
            .map(|storage| Volume {
                storage: storage.storage.to_string(),
                capacity: storage.capacity.get(),
                used: storage.used.get(),
                free: storage.free.get(),
                replicas: storage.replicas,
                failed: storage.failed,
                oldest_unverified_ms: storage.oldest_unverified.as_millis() as u64,
            })
            .collect();
        Self {
            node: report.node.get(),
            host: report.host.clone(),
            rack: report.rack.clone(),
            address: report.transfer.clone(),
            state: report.liveness,
            last_heartbeat_ms: report.last_heartbeat.as_millis() as u64,
            writers: report.writers,
            capacity: volumes.iter().map(|volume| volume.capacity).sum(),
            used: volumes.iter().map(|volume| volume.used).sum(),
            free: volumes.iter().map(|volume| volume.free).sum(),
            replicas: volumes.iter().map(|volume| volume.replicas).sum(),
            service: service::word(report.service),
            maintenance_until: match report.service {
                Service::Maintenance { until } => Some(rfc3339(until)),
                Service::InService | Service::Decommissioning | Service::Decommissioned => None,
            },
            blocks_left: report.tally.filter(|_| report.service == Service::Decommissioning).map(|tally| tally.left()),
            held_ms: report.held.map_or(0, |held| held.left.as_millis() as u64),
            returns: report.held.map_or(0, |held| held.returns),
            volumes,
        }
    }
}

fn table(report: &[DatanodeReport], sizes: Sizes) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[Right, Left, Left, Left, Left, Right, Right, Right, Right, Right, Right, Left]);
    table.row([
        "NODE", "HOST", "RACK", "ADDRESS", "STATE", "HEARD", "USED", "FREE", "CAPACITY", "REPLICAS", "CHECKED",
        "VOLUMES",
    ]);
    for report in report {
        let datanode = Datanode::of(report);
        let failed = datanode.volumes.iter().filter(|volume| volume.failed).count();
        let volumes = match failed {
            0 => datanode.volumes.len().to_string(),
            _ => format!("{}, {failed} failed", datanode.volumes.len()),
        };
        let state = match datanode.state {
            Liveness::Alive => "alive",
            Liveness::Suspect => "suspect",
            Liveness::Dead => "dead",
        };
        table.row([
            datanode.node.to_string(),
            datanode.host,
            datanode.rack,
            datanode.address,
            match (report.service, datanode.held_ms) {
                (Service::InService, 0) => state.to_owned(),
                (Service::InService, held) => format!("{state}, held {}s", held.div_ceil(1000)),
                (Service::Decommissioning | Service::Decommissioned | Service::Maintenance { .. }, _) => {
                    format!("{state}, {}", datanode.service)
                }
            },
            format!("{:.1}s ago", datanode.last_heartbeat_ms as f64 / 1000.0),
            sizes.show(datanode.used),
            sizes.show(datanode.free),
            sizes.show(datanode.capacity),
            thousands(datanode.replicas),
            checked(datanode.volumes.iter().map(|volume| volume.oldest_unverified_ms).max().unwrap_or(0)),
            volumes,
        ]);
    }
    table
}

/// Within what time everything was read and checked.
fn checked(oldest_ms: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match oldest_ms.div_ceil(1000) {
        0 => "-".to_owned(),
        seconds if seconds < 2 * MINUTE => format!("{seconds}s"),
        seconds if seconds < 2 * HOUR => format!("{}min", seconds / MINUTE),
        seconds if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        seconds => format!("{}d", seconds / DAY),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use client::Held;

    use super::*;
    use client::health::sample::healthy;

    #[test]
    fn each_datanode_is_a_line() {
        let mut report = healthy().datanodes.expect("they are known");
        report.truncate(2);
        report[1].liveness = Liveness::Dead;
        report[1].storages[0].failed = true;
        report[0].held = Some(Held { left: Duration::from_millis(59_100), returns: 3 });
        assert_eq!(
            table(&report, Sizes::Human).lines(),
            [
                "NODE  HOST  RACK  ADDRESS         STATE               HEARD     USED     FREE  CAPACITY  REPLICAS  CHECKED  VOLUMES",
                "   1  dn1   r1    127.0.0.1:9866  alive, held 60s  0.4s ago  1.00GiB  50.0GiB    100GiB     1,300       3d  1",
                "   2  dn2   r1    127.0.0.1:9867  dead             0.4s ago  1.00GiB  50.0GiB    100GiB     1,300       3d  1, 1 failed",
            ]
        );
    }
}
