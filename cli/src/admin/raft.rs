//! `ashlar admin raft`: the Raft group of the namenodes.

use std::time::{Duration, Instant};

use client::health::{Answer, Facts};
use client::{Admin, Config, MemberStatus};
use serde::Serialize;
use types::NodeId;

use crate::exit::Failure;
use crate::output::{Align, Output, Table, thousands};

#[derive(Debug, clap::Args)]
pub(crate) struct RaftArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show who leads, and how far each log is
    Status {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Have another namenode take over the lead
    Transfer {
        /// The namenode's number; without it, the one that has most of the log
        node: Option<u64>,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make a namenode, which `ashlar init --join` made and which is running, a member, and wait until it votes
    Add {
        /// Where it listens
        #[arg(value_name = "IP:PORT")]
        address: String,
    },
    /// Remove a namenode from the cluster for good; its number is not used again
    Remove {
        /// The namenode's number
        node: u64,
    },
    /// Have every namenode bring its state to disk and cut its log
    Snapshot,
}

/// How long a new member may take to get the log before `add` stops waiting for it. It goes on without.
const JOINING: Duration = Duration::from_secs(120);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) async fn run(config: Config, args: RaftArgs) -> Result<(), Failure> {
    let mut out = Output::stdout();
    match args.command {
        Command::Status { json } => {
            let group = Group::of(&Facts::ask_namenodes(&config).await);
            if json { out.json(&group)? } else { group.print(&mut out)? }
        }
        Command::Transfer { node, json } => {
            let (leader, term) = Admin::unconnected(&config).transfer(node.map(NodeId::new)).await?;
            let leader = leader.get();
            if json {
                out.json(&Lead { leader: Some(leader), term })?;
            } else {
                out.line(format!("namenode {leader} leads, term {term}"))?;
            }
        }
        Command::Add { address } => add(&config, &address, &mut out).await?,
        Command::Remove { node } => {
            Admin::unconnected(&known(&config).await).remove_member(NodeId::new(node)).await?;
            out.line(format!("namenode {node} is removed; its directory is of no use any more"))?;
        }
        Command::Snapshot => snapshot(&config, &mut out).await?,
    }
    out.flush()
}

/// The configuration with the addresses of all members, also of those that the file does not list.
async fn known(config: &Config) -> Config {
    let facts = Facts::ask_namenodes(config).await;
    let namenodes = facts.namenodes.into_iter().map(|answer| answer.address).collect();
    Config { namenodes, ..config.clone() }
}

async fn add(config: &Config, address: &str, out: &mut Output) -> Result<(), Failure> {
    let node = Admin::unconnected(&known(config).await).add_member(address).await?.get();
    out.line(format!("namenode {node} at {address} gets the log"))?;
    out.flush()?;
    let start = Instant::now();
    while start.elapsed() < JOINING {
        let facts = Facts::ask_namenodes(config).await;
        let members = facts.leader().map_or(&[][..], |leader| &leader.members);
        if members.iter().any(|member| member.node.get() == node && member.voter) {
            return out.line(format!("namenode {node} votes"));
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(Failure::Failed(format!(
        "namenode {node} has no vote after {JOINING:?}; it gets one when it has the log: see ashlar admin raft status"
    )))
}

async fn snapshot(config: &Config, out: &mut Output) -> Result<(), Failure> {
    let config = known(config).await;
    let mut failed = Vec::new();
    for address in &config.namenodes {
        match Admin::unconnected(&config).snapshot_member(address).await {
            Ok(index) => out.line(format!("{address}: the state is on disk up to log index {index}"))?,
            Err(error) => failed.push(error.to_string()),
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Failed(failed.join("; "))),
    }
}

/// The keys of all of these are an interface.
#[derive(Debug, Serialize)]
struct Lead {
    leader: Option<u64>,
    term: u64,
}

#[derive(Debug, Serialize)]
struct Group {
    #[serde(flatten)]
    lead: Lead,
    members: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    node: Option<u64>,
    address: String,
    leads: bool,
    voter: bool,
    stalled: bool,
    /// Entries that it lacks; told by the leader.
    lag: Option<u64>,
    term: Option<u64>,
    commit: Option<u64>,
    applied: Option<u64>,
    last_index: Option<u64>,
    matched: Option<u64>,
    error: Option<String>,
}

impl Group {
    fn of(facts: &Facts) -> Self {
        let leader = facts.leader();
        let lead =
            Lead { leader: leader.map(|leader| leader.node.get()), term: leader.map_or(0, |leader| leader.term) };
        let mut members: Vec<Line> = facts.namenodes.iter().map(|answer| Line::of(answer, leader)).collect();
        members.sort_by_key(|line| (line.node.is_none(), line.node));
        Self { lead, members }
    }

    fn print(&self, out: &mut Output) -> Result<(), Failure> {
        use Align::{Left, Right};
        let mut table = Table::new(&[Right, Left, Left, Right, Right, Right, Right, Right]);
        table.row(["NODE", "ADDRESS", "ROLE", "TERM", "COMMIT", "APPLIED", "LAST", "MATCHED"]);
        for member in &self.members {
            let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), thousands);
            let role = match (&member.error, member.leads) {
                (Some(_), _) => "unreachable",
                (None, true) => "leader",
                (None, false) if member.stalled => "stalled",
                (None, false) if !member.voter => "learner",
                (None, false) => "follower",
            };
            table.row([
                number(member.node),
                member.address.clone(),
                role.to_owned(),
                number(member.term),
                number(member.commit),
                number(member.applied),
                number(member.last_index),
                number(member.matched),
            ]);
        }
        table.print(out)
    }
}

impl Line {
    fn of(answer: &Answer, leader: Option<&MemberStatus>) -> Self {
        let known = leader.map_or(&[][..], |leader| &leader.members).iter();
        let known = known.clone().find(|member| member.address == answer.address);
        let status = answer.status.as_ref().ok();
        let node = status.map(|status| status.node).or(known.map(|member| member.node));
        Self {
            node: node.map(NodeId::get),
            address: answer.address.clone(),
            leads: node.is_some() && node == leader.map(|leader| leader.node),
            voter: known.is_some_and(|member| member.voter),
            stalled: status.is_some_and(|status| status.stalled),
            lag: known.zip(leader).map(|(member, leader)| leader.last_index.saturating_sub(member.matched)),
            term: status.map(|status| status.term),
            commit: status.map(|status| status.commit),
            applied: status.map(|status| status.applied),
            last_index: status.map(|status| status.last_index),
            matched: known.map(|member| member.matched),
            error: answer.status.as_ref().err().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::health::sample::healthy;

    #[test]
    fn a_silent_member_is_listed_with_what_the_leader_knows_of_it() {
        let mut facts = healthy();
        let group = Group::of(&facts);
        assert!(group.lead.leader.is_some());
        assert_eq!(group.members.iter().filter(|member| member.leads).count(), 1);
        let silent = facts
            .namenodes
            .iter()
            .position(|answer| answer.status.as_ref().is_ok_and(|status| Some(status.node.get()) != group.lead.leader));
        facts.namenodes[silent.expect("a follower")].status = Err("silent".to_owned());
        let group = Group::of(&facts);
        let line = group.members.iter().find(|member| member.error.is_some()).expect("listed");
        assert_eq!((line.leads, line.applied), (false, None));
    }
}
