//! `ashlar admin job`: background work that somebody asked for.

use std::time::Duration;

use client::health::{Facts, leader_first};
use client::{Admin, Config, HeldBlock, HoldReason, Job, JobAction, JobPlan, JobState, StandingJob};
use serde::Serialize;
use types::JobId;

use crate::exit::Failure;
use crate::output::{Align, Output, Sizes, Table, count, local_minutes, rfc3339, thousands};

#[derive(Debug, clap::Args)]
pub(crate) struct JobArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the jobs that are under way, and those that have ended
    Ls {
        /// Only those that have not ended
        #[arg(long)]
        running: bool,
        /// An array of JSON objects
        #[arg(long)]
        json: bool,
    },
    /// List what the leader does unasked, in numbers: since it leads, and what is left
    Standing {
        /// An array of JSON objects
        #[arg(long)]
        json: bool,
    },
    /// Show one job: what it does, for whom and why, how far it is
    Show {
        #[arg(value_parser = number)]
        job: JobId,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Have a job wait; what is on its way is finished
    Pause {
        #[arg(value_parser = number)]
        job: JobId,
    },
    /// Have a job go on
    Resume {
        #[arg(value_parser = number)]
        job: JobId,
    },
    /// End a job for good; a datanode that was to leave, or to be away, is in service again
    Cancel {
        #[arg(value_parser = number)]
        job: JobId,
    },
}

/// `7` or `job_7`.
fn number(text: &str) -> Result<JobId, String> {
    let wrong = || format!("{text:?} is not the number of a job, such as 7");
    text.parse::<u64>().map(JobId::new).or_else(|_| text.parse()).map_err(|_| wrong())
}

pub(crate) async fn run(config: Config, args: JobArgs) -> Result<(), Failure> {
    let leader = Facts::ask_namenodes(&config).await.leader_address();
    let admin = Admin::unconnected(&leader_first(&config, leader));
    let mut out = Output::stdout();
    match args.command {
        Command::Ls { running, json } => {
            let mut jobs = admin.jobs().await?;
            jobs.retain(|job| !running || !job.state.has_ended());
            if json {
                out.json(&jobs.iter().map(Shown::of).collect::<Vec<_>>())?;
            } else if jobs.is_empty() {
                out.line("there is no job")?;
            } else {
                table(&jobs).print(&mut out)?;
            }
        }
        Command::Standing { json } => {
            let background = admin.background().await?;
            if json {
                out.json(&background.standing)?;
            } else if background.standing.is_empty() {
                out.line("nobody leads")?;
            } else {
                let since = Duration::from_secs(background.standing_for.as_secs());
                out.line(format!("since {} ago, when this leader began:", humantime::format_duration(since)))?;
                standing(&background.standing).print(&mut out)?;
            }
        }
        Command::Show { job, json } => {
            let job = admin.job(job).await?;
            if json {
                out.json(&Shown::of(&job))?;
            } else {
                details(&job).print(&mut out)?;
                held_back(&job).into_iter().try_for_each(|line| out.line(line))?;
            }
        }
        Command::Pause { job } => {
            admin.control_job(job, JobAction::Pause).await?;
            out.line(format!("{job} is paused; ashlar admin job resume {} has it go on", job.get()))?;
        }
        Command::Resume { job } => {
            admin.control_job(job, JobAction::Resume).await?;
            out.line(format!("{job} goes on"))?;
        }
        Command::Cancel { job } => {
            admin.control_job(job, JobAction::Cancel).await?;
            out.line(format!("{job} is cancelled"))?;
        }
    }
    out.flush()
}

/// A job as `--json` prints it. The keys are an interface.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    id: u64,
    kind: &'static str,
    plan: Plan,
    owner: &'a str,
    reason: &'a str,
    state: JobState,
    started: String,
    changed: String,
    /// Bytes or blocks, by the unit.
    done: u64,
    total: u64,
    unit: Option<&'static str>,
    eta_ms: Option<u64>,
    note: &'a str,
    result: Option<&'a str>,
    /// Blocks that hold back a datanode that leaves: some of them, and how many there are.
    held: Vec<Block<'a>>,
    held_total: u64,
}

/// A block that holds a datanode back. The keys are an interface.
#[derive(Debug, Serialize)]
struct Block<'a> {
    block: String,
    path: Option<&'a str>,
    length: u64,
    reason: HoldReason,
    why: String,
    last: bool,
    session: Option<u64>,
    client: Option<&'a str>,
    silent: Vec<u64>,
}

impl<'a> Block<'a> {
    fn of(held: &'a HeldBlock) -> Self {
        Self {
            block: held.block.to_string(),
            path: held.path.as_deref(),
            length: held.length.get(),
            reason: held.reason,
            why: held.why(),
            last: held.last,
            session: held.session.map(|session| session.get()),
            client: held.client.as_deref(),
            silent: held.silent.iter().map(|node| node.get()).collect(),
        }
    }
}

#[derive(Debug, Default, Serialize)]
struct Plan {
    node: Option<u64>,
    until: Option<String>,
    threshold: Option<f64>,
    bandwidth: Option<u64>,
}

impl<'a> Shown<'a> {
    pub(super) fn of(job: &'a Job) -> Self {
        let plan = match job.plan {
            JobPlan::Balance { threshold_permille, bandwidth } => Plan {
                threshold: Some(f64::from(threshold_permille) / 1000.0),
                bandwidth: Some(bandwidth.get()),
                ..Plan::default()
            },
            JobPlan::Decommission { node } => Plan { node: Some(node.get()), ..Plan::default() },
            JobPlan::Maintenance { node, until } => {
                Plan { node: Some(node.get()), until: Some(rfc3339(until)), ..Plan::default() }
            }
            JobPlan::Scrub { node, .. } => Plan { node: node.map(|node| node.get()), ..Plan::default() },
        };
        Self {
            id: job.id.get(),
            kind: job.plan.kind(),
            plan,
            owner: &job.owner,
            reason: &job.reason,
            state: job.state,
            started: rfc3339(job.started),
            changed: rfc3339(job.changed),
            done: job.done,
            total: job.total,
            unit: unit(&job.plan),
            eta_ms: job.eta.map(|eta| u64::try_from(eta.as_millis()).unwrap_or(u64::MAX)),
            note: &job.note,
            result: job.result.as_deref(),
            held: job.held.iter().map(Block::of).collect(),
            held_total: job.held_total,
        }
    }
}

const fn unit(plan: &JobPlan) -> Option<&'static str> {
    match plan {
        JobPlan::Balance { .. } | JobPlan::Scrub { .. } => Some("bytes"),
        JobPlan::Decommission { .. } => Some("blocks"),
        JobPlan::Maintenance { .. } => None,
    }
}

/// `1.00GiB of 4.00GiB (25%)`
pub(super) fn progress(job: &Job) -> String {
    let Some(unit) = unit(&job.plan) else { return String::new() };
    if job.total == 0 {
        return String::new();
    }
    let show = |number| if unit == "bytes" { Sizes::Human.show(number) } else { thousands(number) };
    let percent = u128::from(job.done) * 100 / u128::from(job.total);
    let what = if unit == "blocks" { " blocks" } else { "" };
    format!("{} of {}{what} ({percent}%)", show(job.done), show(job.total))
}

fn eta(job: &Job) -> String {
    let seconds = |eta: Duration| Duration::from_secs(eta.as_secs());
    job.eta.map_or_else(String::new, |eta| humantime::format_duration(seconds(eta)).to_string())
}

/// What the job is about, besides its kind.
fn about(plan: &JobPlan) -> String {
    match plan {
        JobPlan::Balance { threshold_permille, bandwidth } => {
            let percent = f64::from(*threshold_permille) / 10.0;
            format!("within {percent}%, {} in a second", Sizes::Human.show(bandwidth.get()))
        }
        JobPlan::Decommission { node } => format!("datanode {}", node.get()),
        JobPlan::Maintenance { node, until } => format!("datanode {} until {}", node.get(), local_minutes(*until)),
        JobPlan::Scrub { node, .. } => {
            node.map_or_else(|| "all datanodes".to_owned(), |node| format!("datanode {}", node.get()))
        }
    }
}

fn table(jobs: &[Job]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[Right, Left, Left, Left, Left, Left, Left, Left]);
    table.row(["JOB", "KIND", "ABOUT", "STATE", "OWNER", "STARTED", "DONE", "LEFT"]);
    for job in jobs {
        table.row([
            job.id.get().to_string(),
            job.plan.kind().to_owned(),
            about(&job.plan),
            job.state.word().to_owned(),
            job.owner.clone(),
            local_minutes(job.started),
            progress(job),
            eta(job),
        ]);
    }
    table
}

fn standing(jobs: &[StandingJob]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[Left, Right, Right, Right, Left]);
    table.row(["DUTY", "DONE", "FAILED", "LEFT", "WHAT"]);
    for StandingJob { name, unit, done, failed, left } in jobs {
        table.row([name.clone(), thousands(*done), thousands(*failed), thousands(*left), unit.clone()]);
    }
    table
}

fn details(job: &Job) -> Table {
    let mut table = Table::new(&[Align::Left, Align::Left]);
    let state = format!("{} since {}", job.state.word(), local_minutes(job.changed));
    let rows = [
        ("job", job.id.get().to_string()),
        ("kind", format!("{}: {}", job.plan.kind(), about(&job.plan))),
        ("owner", job.owner.clone()),
        ("reason", job.reason.clone()),
        ("started", local_minutes(job.started)),
        ("state", state),
        ("done", progress(job)),
        ("left", eta(job)),
        ("now", job.note.clone()),
        ("result", job.result.clone().unwrap_or_default()),
    ];
    for (name, value) in rows {
        if !value.is_empty() {
            table.row([name.to_owned(), value]);
        }
    }
    table
}

/// The blocks that hold a datanode back, each with its reason.
fn held_back(job: &Job) -> Vec<String> {
    let mut lines: Vec<String> = job.held.iter().map(held_line).collect();
    let more = job.held_total.saturating_sub(job.held.len() as u64);
    if more > 0 && !job.held.is_empty() {
        lines.push(format!("  and {}", count(more, "more block", "more blocks")));
    }
    lines
}

/// `  /a/b (blk_17.0): to be copied`
pub(super) fn held_line(held: &HeldBlock) -> String {
    format!("  {}: {}", printable(&held.name()), held.why())
}

/// Names are chosen by users: what would move the cursor is escaped.
fn printable(name: &str) -> String {
    name.chars()
        .flat_map(|letter| if letter.is_control() { letter.escape_default().collect() } else { vec![letter] })
        .collect()
}

#[cfg(test)]
mod tests {
    use types::{ByteSize, NodeId, Timestamp};

    use super::*;

    fn job(plan: JobPlan) -> Job {
        Job {
            id: JobId::new(7),
            plan,
            owner: "root".to_owned(),
            reason: "a test".to_owned(),
            state: JobState::Running,
            started: Timestamp::from_nanos(1_000_000_000),
            changed: Timestamp::from_nanos(1_000_000_000),
            done: 1 << 20,
            total: 4 << 20,
            eta: Some(Duration::from_millis(61_900)),
            note: String::new(),
            result: None,
            held: Vec::new(),
            held_total: 0,
        }
    }

    #[test]
    fn jobs_are_named_by_number_or_id() {
        assert_eq!((number("7"), number("job_7")), (Ok(JobId::new(7)), Ok(JobId::new(7))));
        assert!(number("seven").is_err() && number("-1").is_err() && number("").is_err());
    }

    #[test]
    fn a_job_is_shown_with_what_it_is_about() {
        let balance = JobPlan::Balance { threshold_permille: 25, bandwidth: ByteSize::mib(100) };
        let lines = table(&[job(balance), job(JobPlan::Scrub { node: None, pass: 3 })]).lines();
        assert!(lines[1].contains("within 2.5%, 100MiB in a second"), "{lines:?}");
        assert!(lines[1].ends_with("1.00MiB of 4.00MiB (25%)  1m 1s"), "{lines:?}");
        assert!(lines[2].contains("scrub    all datanodes"), "{lines:?}");
        let leaving = Job { total: 0, ..job(JobPlan::Decommission { node: NodeId::new(101) }) };
        let json = serde_json::to_value(Shown::of(&leaving)).expect("plain values");
        assert_eq!((&json["kind"], &json["plan"]["node"]), (&"decommission".into(), &101.into()));
        assert_eq!(
            (&json["state"], &json["unit"], &json["eta_ms"]),
            (&"running".into(), &"blocks".into(), &61900.into())
        );
        assert_eq!(json["started"], "1970-01-01T00:00:01Z");
        let held = HeldBlock {
            block: types::BlockId::new(types::InodeId::new(17), 0),
            path: Some("/a\u{1b}b".to_owned()),
            length: ByteSize::mib(1),
            reason: HoldReason::NoSource,
            last: false,
            session: None,
            client: None,
            silent: vec![NodeId::new(103)],
        };
        let stuck = Job { held: vec![held], held_total: 3, ..leaving.clone() };
        let line = "  /a\\u{1b}b (blk_17.0): no copy can be read: bring back datanode 103";
        assert_eq!(held_back(&stuck), [line, "  and 2 more blocks"]);
        let json = serde_json::to_value(Shown::of(&stuck)).expect("plain values");
        assert_eq!((&json["held"][0]["reason"], &json["held_total"]), (&"no-source".into(), &3.into()));
        assert!(!details(&leaving).lines().iter().any(|line| line.starts_with("done")), "nobody knows yet");
    }
}
