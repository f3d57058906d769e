//! `ashlar admin decommission`, `recommission` and `maintenance`: whether a datanode takes part.

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use client::health::{Facts, leader_first};
use client::{Admin, Config, DatanodeReport, HeldBlock, Job, JobPlan, Service, Tally};
use types::NodeId;

use crate::exit::Failure;
use crate::output::{Output, count, local_minutes};

/// Between two looks at what is left.
const LOOK: Duration = Duration::from_secs(1);
/// A new leader looks at all blocks before it knows what depends on a datanode.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The datanode goes on serving, and gets nothing new. When every block on it is safe elsewhere, those that \
are being written included, it is decommissioned, and may be stopped. The command waits for that and shows what is left; \
stopping the command does not stop the datanode from leaving."
)]
pub(crate) struct DecommissionArgs {
    /// Number or host of the datanode, as `admin report` shows them
    node: String,
    /// Do not wait until it has left
    #[arg(long)]
    no_wait: bool,
    /// Do not ask, also where it has the only copies of something
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RecommissionArgs {
    /// Number or host of the datanode, as `admin report` shows them
    node: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct MaintenanceArgs {
    /// Number or host of the datanode, as `admin report` shows them
    node: String,
    /// How long, such as 30min or 2h; at most 30 days
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    time: Duration,
    /// Do not ask, also where it has the only copies of something
    #[arg(short, long)]
    yes: bool,
}

/// What a service is called.
pub(super) const fn word(service: Service) -> &'static str {
    match service {
        Service::InService => "in-service",
        Service::Decommissioning => "decommissioning",
        Service::Decommissioned => "decommissioned",
        Service::Maintenance { .. } => "maintenance",
    }
}

pub(crate) async fn decommission(config: Config, args: DecommissionArgs) -> Result<(), Failure> {
    let config = leading(config).await;
    let datanode = find(&config, &args.node).await?;
    if datanode.service != Service::Decommissioned {
        if !args.yes {
            let last = last_copies(&config, datanode.node).await?;
            let text = "are nowhere else until they are copied: do not stop it before it is decommissioned";
            confirm(&datanode, last, text)?;
        }
        Admin::unconnected(&config).decommission(datanode.node).await?;
    }
    let mut out = Output::stdout();
    if args.no_wait {
        out.line(format!("{} leaves; see ashlar admin report", name(&datanode)))?;
        return out.flush();
    }
    let mut said = String::new();
    let mut named = BTreeSet::new();
    loop {
        let now = find(&config, &datanode.node.get().to_string()).await?;
        let line = match now.service {
            Service::Decommissioned => {
                out.line(format!("{} is decommissioned, and may be stopped", name(&now)))?;
                return out.flush();
            }
            Service::Decommissioning => standing(&now),
            Service::InService | Service::Maintenance { .. } => {
                let text = format!("{}: somebody has set it to {} meanwhile", name(&now), word(now.service));
                return Err(Failure::Failed(text));
            }
        };
        if line != said {
            out.line(&line)?;
            out.flush()?;
            said = line;
        }
        // What only waits for its turn is counted; what does not end by itself is named, once.
        for held in held_back(&config, now.node).await?.iter().filter(|held| !held.reason.passes()) {
            let line = super::job::held_line(held);
            if named.insert(line.clone()) {
                out.line(line)?;
                out.flush()?;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

pub(crate) async fn recommission(config: Config, args: RecommissionArgs) -> Result<(), Failure> {
    let config = leading(config).await;
    let datanode = find(&config, &args.node).await?;
    Admin::unconnected(&config).recommission(datanode.node).await?;
    let mut out = Output::stdout();
    out.line(format!("{} is in service", name(&datanode)))?;
    out.flush()
}

pub(crate) async fn maintenance(config: Config, args: MaintenanceArgs) -> Result<(), Failure> {
    let config = leading(config).await;
    let datanode = find(&config, &args.node).await?;
    if !args.yes {
        let last = last_copies(&config, datanode.node).await?;
        confirm(&datanode, last, "cannot be read while it is away")?;
    }
    Admin::unconnected(&config).maintenance(datanode.node, args.time).await?;
    let now = find(&config, &datanode.node.get().to_string()).await?;
    let mut out = Output::stdout();
    match now.service {
        Service::Maintenance { until } => {
            out.line(format!("{} may be away until {}", name(&now), local_minutes(until)))?;
        }
        Service::InService | Service::Decommissioning | Service::Decommissioned => {
            let text = format!("{}: somebody has set it to {} meanwhile", name(&now), word(now.service));
            return Err(Failure::Failed(text));
        }
    }
    out.flush()
}

/// Blocks that keep a datanode from leaving, as many as the leader names.
async fn held_back(config: &Config, node: NodeId) -> Result<Vec<HeldBlock>, Failure> {
    let jobs = Admin::unconnected(&leading(config.clone()).await).jobs().await?;
    let leaves = |job: &Job| job.plan == JobPlan::Decommission { node } && !job.state.has_ended();
    Ok(jobs.into_iter().find(leaves).map(|job| job.held).unwrap_or_default())
}

/// The configuration with the leader in front, which knows what depends on a datanode.
async fn leading(config: Config) -> Config {
    let leader = Facts::ask_namenodes(&config).await.leader_address();
    leader_first(&config, leader)
}

fn name(datanode: &DatanodeReport) -> String {
    format!("datanode {} ({})", datanode.node.get(), datanode.host)
}

/// The datanode of this number, or else the only one on this host.
async fn find(config: &Config, wanted: &str) -> Result<DatanodeReport, Failure> {
    let report = Admin::unconnected(&leading(config.clone()).await).report().await?;
    choose(report, wanted).map_err(Failure::Failed)
}

fn choose(report: Vec<DatanodeReport>, wanted: &str) -> Result<DatanodeReport, String> {
    let number = wanted.parse().ok().map(NodeId::new);
    let (by_number, others): (Vec<_>, Vec<_>) = report.into_iter().partition(|datanode| Some(datanode.node) == number);
    if let Some(found) = by_number.into_iter().next() {
        return Ok(found);
    }
    let mut on_host = others.into_iter().filter(|datanode| datanode.host == wanted);
    match (on_host.next(), on_host.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => Err(format!("{wanted}: several datanodes are there; name one by its number")),
        (None, _) => Err(format!("there is no datanode {wanted}; see ashlar admin report")),
    }
}

/// Blocks of which no other datanode has a good copy, as soon as a leader knows.
async fn last_copies(config: &Config, node: NodeId) -> Result<u64, Failure> {
    let known = async {
        loop {
            if let Some(Tally { last, .. }) = find(config, &node.get().to_string()).await?.tally {
                return Ok(last);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, known).await.unwrap_or_else(|_| {
        let text = "no leader has looked at all blocks yet, so nobody knows what only this datanode has; \
                    try again, or add --yes";
        Err(Failure::Failed(text.to_owned()))
    })
}

/// Asks where the only copies of something are at stake.
fn confirm(datanode: &DatanodeReport, last: u64, what: &str) -> Result<(), Failure> {
    if last == 0 {
        return Ok(());
    }
    let text = format!("{} has the only good copy of {}, which {what}", name(datanode), count(last, "block", "blocks"));
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Failed(format!("{text}; add --yes to do it")));
    }
    ask(&format!("ashlar: {text}. Go on? [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim().to_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(Failure::Failed("nothing was changed".to_owned())),
    }
}

#[expect(clippy::print_stderr, reason = "a question to a person")]
fn ask(question: &str) {
    eprint!("{question}");
}

/// What is left of a datanode that leaves, and why.
fn standing(datanode: &DatanodeReport) -> String {
    let name = name(datanode);
    let Some(tally) = datanode.tally else { return format!("{name}: the leader has not looked at all blocks yet") };
    let mut parts = Vec::new();
    let mut part = |number: u64, what: &str| {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    };
    part(tally.waiting, "to be copied");
    part(tally.written, "being written, or allocated for a writer");
    part(tally.no_target, "stuck: no other datanode in service has room, or a host without a copy");
    part(tally.no_source, "stuck: no copy can be read, bring back a datanode that has one");
    match tally.left() {
        0 => format!("{name}: no block is left; the leader looks once more"),
        left => format!("{name}: {} left: {}", count(left, "block", "blocks"), parts.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::health::sample::healthy;

    #[test]
    fn datanodes_are_named_by_number_or_host() {
        let report = || healthy().datanodes.expect("they are known");
        let chosen = |wanted: &str| choose(report(), wanted).map(|found| found.node.get());
        assert_eq!((chosen("2"), chosen("dn3")), (Ok(2), Ok(3)));
        assert!(chosen("9").expect_err("unknown").contains("there is no datanode 9"));
        let mut twins = report();
        twins[0].host = "dn2".to_owned();
        assert!(choose(twins, "dn2").expect_err("two of them").contains("several datanodes"));
    }

    #[test]
    fn what_is_left_is_told_with_its_reason() {
        let mut datanode = healthy().datanodes.expect("they are known").remove(0);
        assert!(standing(&datanode).ends_with("has not looked at all blocks yet"));
        datanode.tally = Some(Tally { replicas: 9, waiting: 5, written: 1, no_target: 2, ..Tally::default() });
        assert_eq!(
            standing(&datanode),
            "datanode 1 (dn1): 8 blocks left: 5 to be copied; 1 being written, or allocated for a writer; 2 stuck: no other \
             datanode in service has room, or a host without a copy"
        );
        datanode.tally = Some(Tally::default());
        assert!(standing(&datanode).contains("no block is left"));
    }
}
