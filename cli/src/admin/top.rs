//! `ashlar admin top`: what the cluster is doing, again and again.

use std::time::{Duration, Instant};

use client::health::{Facts, leader_first};
use client::{Admin, Config, DatanodeReport, Job, Liveness, MemberStatus};
use serde::Serialize;

use super::job;
use crate::exit::Failure;
use crate::output::{Align, Output, Sizes, Table, thousands};

#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    every: Duration,
    /// Stop after so many looks [default: when interrupted]
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Clears a terminal, and goes to its first line.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(crate) async fn run(config: Config, args: TopArgs) -> Result<(), Failure> {
    let mut out = Output::stdout();
    let mut before: Option<Sample> = None;
    let mut looks = 0;
    // Rates need two looks: the first one shows none.
    while args.count.is_none_or(|count| looks <= count) {
        let begun = Instant::now();
        let facts = Facts::ask(&config).await;
        let admin = Admin::unconnected(&leader_first(&config, facts.leader_address()));
        let jobs = admin.jobs().await.unwrap_or_default();
        let now = Sample::of(&facts, begun);
        let screen = Screen::of(&facts, &jobs, &now, before.as_ref());
        if before.is_some() || args.count.is_none() {
            if args.json {
                out.json(&screen)?;
            } else {
                screen.print(&mut out)?;
            }
            out.flush()?;
        }
        before = Some(now);
        looks += 1;
        tokio::time::sleep(args.every.saturating_sub(begun.elapsed())).await;
    }
    Ok(())
}

/// Counters, and when they were read.
#[derive(Debug, Clone)]
struct Sample {
    at: Instant,
    /// Of the leader's process: they begin again with another one.
    leader: Option<u64>,
    commands: u64,
    syncs: u64,
    log_bytes: u64,
    /// Of each datanode.
    used: Vec<(u64, u64)>,
}

impl Sample {
    fn of(facts: &Facts, at: Instant) -> Self {
        let leader = facts.leader();
        let log = leader.map(|leader| leader.log).unwrap_or_default();
        let used = facts.datanodes.iter().flatten().map(|datanode| (datanode.node.get(), used(datanode)));
        Self {
            at,
            leader: leader.map(|leader| leader.node.get()),
            commands: log.commands,
            syncs: log.syncs,
            log_bytes: log.bytes,
            used: used.collect(),
        }
    }
}

fn used(datanode: &DatanodeReport) -> u64 {
    datanode.storages.iter().map(|storage| storage.used.get()).sum()
}

/// What is shown. The keys are an interface; rates are per second, and absent at the first look and after another leader.
#[derive(Debug, Serialize)]
struct Screen {
    health: &'static str,
    leader: Option<u64>,
    sessions: u64,
    files: u64,
    commands: Option<f64>,
    syncs: Option<f64>,
    log_bytes: Option<f64>,
    pending_copies: Option<u64>,
    datanodes: Vec<Row>,
    jobs: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    node: u64,
    host: String,
    state: Liveness,
    writers: u32,
    used: u64,
    /// Grown by so many bytes in a second; negative: shrunk.
    growth: Option<f64>,
}

/// How much more of something there is in a second; nothing where the counter began again.
fn rate(before: u64, now: u64, time: Duration) -> Option<f64> {
    let more = now.checked_sub(before)?;
    (!time.is_zero()).then(|| more as f64 / time.as_secs_f64())
}

impl Screen {
    fn of(facts: &Facts, jobs: &[Job], now: &Sample, before: Option<&Sample>) -> Self {
        let leader: Option<&MemberStatus> = facts.leader();
        let same = before.filter(|before| before.leader == now.leader && now.leader.is_some());
        let of = |count: fn(&Sample) -> u64| same.and_then(|then| rate(count(then), count(now), now.at - then.at));
        let datanodes = facts.datanodes.iter().flatten().map(|datanode| {
            let (node, used) = (datanode.node.get(), used(datanode));
            let then = before.and_then(|before| before.used.iter().find(|(known, _)| *known == node));
            let growth = before.zip(then).map(|(before, (_, then))| {
                let seconds = (now.at - before.at).as_secs_f64().max(f64::EPSILON);
                (used as f64 - *then as f64) / seconds
            });
            let (host, state, writers) = (datanode.host.clone(), datanode.liveness, datanode.writers);
            Row { node, host, state, writers, used, growth }
        });
        let running = jobs.iter().filter(|job| !job.state.has_ended());
        Self {
            health: facts.health().0.word(),
            leader: now.leader,
            sessions: leader.map_or(0, |leader| leader.sessions),
            files: leader.map_or(0, |leader| leader.files),
            commands: of(|sample| sample.commands),
            syncs: of(|sample| sample.syncs),
            log_bytes: of(|sample| sample.log_bytes),
            pending_copies: leader.and_then(|leader| leader.redundancy).map(|redundancy| redundancy.pending_copies),
            datanodes: datanodes.collect(),
            jobs: running.map(|job| format!("{} {} {}", job.id, job.plan.kind(), job::progress(job))).collect(),
        }
    }

    fn print(&self, out: &mut Output) -> Result<(), Failure> {
        use Align::{Left, Right};
        if out.is_terminal() {
            out.bytes(CLEAR)?;
        }
        let leader = self.leader.map_or_else(|| "nobody leads".to_owned(), |leader| format!("namenode {leader} leads"));
        let (sessions, files) = (thousands(self.sessions), thousands(self.files));
        out.line(format!("{}; {leader}; {sessions} sessions, {files} files", self.health))?;
        let show = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| thousands(rate.round() as u64));
        let bytes = self.log_bytes.map_or_else(|| "-".to_owned(), |rate| Sizes::Human.show(rate.round() as u64));
        let copies = self.pending_copies.map_or_else(|| "-".to_owned(), thousands);
        out.line(format!(
            "{} changes/s, {} syncs/s, {bytes}/s of log; {copies} copies wait",
            show(self.commands),
            show(self.syncs)
        ))?;
        let mut table = Table::new(&[Right, Left, Left, Right, Right, Right]);
        table.row(["NODE", "HOST", "STATE", "WRITERS", "USED", "GROWTH/s"]);
        for row in &self.datanodes {
            let state = match row.state {
                Liveness::Alive => "alive",
                Liveness::Suspect => "suspect",
                Liveness::Dead => "dead",
            };
            let growth = row.growth.map_or_else(
                || "-".to_owned(),
                |growth| {
                    let sign = if growth < 0.0 { "-" } else { "" };
                    format!("{sign}{}", Sizes::Human.show(growth.abs().round() as u64))
                },
            );
            let used = Sizes::Human.show(row.used);
            table.row([
                row.node.to_string(),
                row.host.clone(),
                state.to_owned(),
                row.writers.to_string(),
                used,
                growth,
            ]);
        }
        table.print(out)?;
        self.jobs.iter().try_for_each(|job| out.line(job))
    }
}

#[cfg(test)]
mod tests {
    use client::health::sample::healthy;
    use types::ByteSize;

    use super::*;

    #[test]
    fn rates_are_differences_by_time_and_begin_again_with_another_leader() {
        let mut facts = healthy();
        let start = Instant::now();
        let before = Sample::of(&facts, start);
        let leader = facts.namenodes[1].status.as_mut().expect("it leads");
        leader.log.commands += 500;
        facts.datanodes.as_mut().expect("they are known")[0].storages[0].used = ByteSize::mib(1004);
        let now = Sample::of(&facts, start + Duration::from_secs(2));
        let screen = Screen::of(&facts, &[], &now, Some(&before));
        assert_eq!((screen.commands, screen.syncs), (Some(250.0), Some(0.0)));
        assert_eq!(screen.datanodes[0].growth, Some(-10.0 * f64::from(1 << 20)));
        assert_eq!(screen.datanodes[1].growth, Some(0.0));
        assert_eq!(Screen::of(&facts, &[], &now, None).commands, None, "the first look");
        let other = Sample { leader: Some(9), ..before.clone() };
        assert_eq!(Screen::of(&facts, &[], &now, Some(&other)).commands, None, "another leader");
        let restarted = Sample { commands: u64::MAX, ..before };
        assert_eq!(Screen::of(&facts, &[], &now, Some(&restarted)).commands, None, "the same one, started again");
    }
}
