//! `ashlar admin status`

use std::time::Duration;

use client::{Admin, Client, Config, Liveness, MemberStatus};
use serde::Serialize;

use super::health::{Answer, Facts, Health};
use super::leader_first;
use crate::exit::{Failure, describe};
use crate::output::{Align, Output, Sizes, Table, count, thousands};

/// The cluster's defaults come from its leader, which may be slow to answer or absent.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Exact sizes instead of KiB, MiB, GiB
    #[arg(long)]
    bytes: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(config: Config, args: StatusArgs) -> Result<(), Failure> {
    let status = Status::of(&facts(config).await);
    let mut out = Output::stdout();
    if args.json {
        out.json(&status)?;
    } else {
        status.print(&mut out, Sizes::exact(args.bytes))?;
    }
    out.flush()?;
    match status.health {
        Health::Healthy => Ok(()),
        Health::Degraded | Health::Unavailable => Err(Failure::Unhealthy),
    }
}

/// Asks everyone.
async fn facts(config: Config) -> Facts {
    let mut facts = ask_namenodes(&config).await;
    let reason = |error: client::Error| describe(&error);
    let leader = facts.leader_address();
    let known = leader.is_some();
    let config = Config { op_timeout: PATIENCE, ..leader_first(config, leader) };
    facts.datanodes = Admin::unconnected(&config).report().await.map_err(reason);
    if !known {
        return facts;
    }
    if let Ok(client) = Client::connect(config).await {
        facts.replication = Some(client.defaults().replication);
        if let Err(error) = client.close().await {
            tracing::debug!(%error, "the session was not closed in order");
        }
    }
    facts
}

/// What the namenodes say of themselves.
pub(super) async fn ask_namenodes(config: &Config) -> Facts {
    let mut answers = Admin::unconnected(config).status().await;
    // Members that the configuration does not list are known to those it does.
    let known = answers.iter().filter_map(|(_, status)| status.as_ref().ok()).flat_map(|status| &status.members);
    let mut others: Vec<_> = known.map(|member| member.address.clone()).collect();
    // Of a member that has just been added, others may not know the address yet.
    others.retain(|address| !address.is_empty() && !config.namenodes.contains(address));
    others.sort();
    others.dedup();
    if !others.is_empty() {
        answers.extend(Admin::unconnected(&Config { namenodes: others, ..config.clone() }).status().await);
    }
    let namenodes = answers.into_iter().map(|(address, status)| {
        let status = status.map_err(|error| reason_alone(&describe(&error), &address));
        Answer { address, status }
    });
    let mut facts = Facts { namenodes: namenodes.collect(), datanodes: Err("not asked".to_owned()), replication: None };
    // What is configured and silent may have been removed: the leader knows.
    if let Some(leader) = facts.leader() {
        let members: Vec<String> = leader.members.iter().map(|member| member.address.clone()).collect();
        facts.namenodes.retain(|answer| answer.status.is_ok() || members.contains(&answer.address));
    }
    facts
}

/// What a line about `address` says beside it.
fn reason_alone(line: &str, address: &str) -> String {
    let mut rest = line;
    while let Some(shorter) = rest.strip_prefix(address).filter(|shorter| shorter.len() < rest.len()) {
        rest = shorter.trim_start_matches([':', ' ']);
    }
    rest.split(" (os error").next().unwrap_or(rest).to_owned()
}

/// The cluster as `--json` prints it. The keys are an interface.
#[derive(Debug, Serialize)]
struct Status {
    health: Health,
    reasons: Vec<String>,
    cluster: Option<String>,
    /// The node id of the leading namenode.
    leader: Option<u64>,
    term: u64,
    commit: u64,
    members: Vec<MemberLine>,
    datanodes: Option<Datanodes>,
    space: Option<Space>,
    files: u64,
    directories: u64,
    bytes: u64,
    blocks: u64,
    sessions: u64,
    redundancy: Option<Blocks>,
}

#[derive(Debug, Serialize)]
struct MemberLine {
    node: Option<u64>,
    address: String,
    state: &'static str,
    term: Option<u64>,
    applied: Option<u64>,
    last_index: Option<u64>,
    /// Committed entries that it has not applied yet.
    lag: Option<u64>,
    error: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Datanodes {
    alive: u64,
    suspect: u64,
    dead: u64,
}

/// Sums over all volumes of datanodes that are not dead.
#[derive(Debug, Default, Serialize)]
struct Space {
    capacity: u64,
    used: u64,
    free: u64,
}

#[derive(Debug, Serialize)]
struct Blocks {
    scanned_blocks: u64,
    under_replicated: u64,
    corrupt_replicas: u64,
    missing: u64,
    pending_copies: u64,
    scan_age_ms: u64,
}

impl Status {
    fn of(facts: &Facts) -> Self {
        let (health, reasons) = facts.health();
        let leader = facts.leader();
        let answers = || facts.namenodes.iter().filter_map(|answer| answer.status.as_ref().ok());
        // Without a leader, whoever has seen most speaks for the state.
        let state = leader.or_else(|| answers().max_by_key(|member| member.applied));
        let sum = |value: fn(&MemberStatus) -> u64| state.map_or(0, value);
        let mut status = Self {
            health,
            reasons,
            cluster: state.and_then(|member| member.cluster).map(|cluster| cluster.to_string()),
            leader: leader.map(|leader| leader.node.get()),
            term: answers().map(|member| member.term).max().unwrap_or(0),
            commit: answers().map(|member| member.commit).max().unwrap_or(0),
            members: facts.namenodes.iter().map(|answer| MemberLine::of(answer, state, leader)).collect(),
            datanodes: None,
            space: None,
            files: sum(|member| member.files),
            directories: sum(|member| member.directories),
            bytes: sum(|member| member.bytes),
            blocks: sum(|member| member.blocks),
            sessions: sum(|member| member.sessions),
            redundancy: leader.and_then(|leader| leader.redundancy).map(|redundancy| Blocks {
                scanned_blocks: redundancy.scanned_blocks,
                under_replicated: redundancy.under_replicated,
                corrupt_replicas: redundancy.corrupt_replicas,
                missing: redundancy.missing,
                pending_copies: redundancy.pending_copies,
                scan_age_ms: redundancy.scan_age.as_millis() as u64,
            }),
        };
        status.members.sort_by_key(|member| (member.node.is_none(), member.node));
        if let Ok(reports) = &facts.datanodes {
            let (mut datanodes, mut space) = (Datanodes::default(), Space::default());
            for report in reports {
                match report.liveness {
                    Liveness::Alive => datanodes.alive += 1,
                    Liveness::Suspect => datanodes.suspect += 1,
                    Liveness::Dead => {
                        datanodes.dead += 1;
                        continue;
                    }
                }
                for storage in &report.storages {
                    space.capacity += storage.capacity.get();
                    space.used += storage.used.get();
                    space.free += storage.free.get();
                }
            }
            (status.datanodes, status.space) = (Some(datanodes), Some(space));
        }
        status
    }

    fn print(&self, out: &mut Output, sizes: Sizes) -> Result<(), Failure> {
        self.lines(sizes).into_iter().try_for_each(|line| out.line(line))
    }

    fn lines(&self, sizes: Sizes) -> Vec<String> {
        let mut lines = vec![self.health.word().to_owned()];
        lines.extend(self.reasons.iter().map(|reason| format!("  - {reason}")));
        let mut row = |name: &str, value: String| lines.push(format!("{name:<12}{value}"));
        let none = || "not known".to_owned();
        row("cluster", self.cluster.clone().unwrap_or_else(none));
        row(
            "leader",
            match self.leader {
                Some(leader) => format!("nn{leader}, term {}", self.term),
                None => format!("none, term {}", self.term),
            },
        );
        for (at, line) in self.member_lines().into_iter().enumerate() {
            row(if at == 0 { "namenodes" } else { "" }, line);
        }
        row(
            "datanodes",
            self.datanodes.as_ref().map_or_else(none, |Datanodes { alive, suspect, dead }| {
                format!("{alive} alive, {suspect} suspect, {dead} dead")
            }),
        );
        row(
            "space",
            self.space.as_ref().map_or_else(none, |Space { capacity, used, free }| {
                let (capacity, used, free) = (sizes.show(*capacity), sizes.show(*used), sizes.show(*free));
                format!("{used} used by replicas, {free} free of {capacity}")
            }),
        );
        row(
            "files",
            format!(
                "{}, {}, {} in {}",
                count(self.files, "file", "files"),
                count(self.directories, "directory", "directories"),
                sizes.show(self.bytes),
                count(self.blocks, "block", "blocks")
            ),
        );
        row(
            "redundancy",
            self.redundancy.as_ref().map_or_else(
                || "not scanned yet".to_owned(),
                |blocks| {
                    format!(
                        "{} under-replicated, {} corrupt, {} missing, {} copies under way (scanned {:.0} s ago)",
                        thousands(blocks.under_replicated),
                        thousands(blocks.corrupt_replicas),
                        thousands(blocks.missing),
                        thousands(blocks.pending_copies),
                        blocks.scan_age_ms as f64 / 1000.0
                    )
                },
            ),
        );
        row("sessions", thousands(self.sessions));
        lines
    }

    fn member_lines(&self) -> Vec<String> {
        let mut table = Table::new(&[Align::Left; 4]);
        for member in &self.members {
            let detail = match (&member.error, member.applied, member.lag) {
                (Some(error), ..) => error.clone(),
                (None, Some(applied), Some(0)) => format!("applied {}", thousands(applied)),
                (None, Some(applied), Some(lag)) => {
                    format!("applied {}, {} behind", thousands(applied), thousands(lag))
                }
                (None, ..) => String::new(),
            };
            let name = member.node.map_or_else(|| "?".to_owned(), |node| format!("nn{node}"));
            table.row([name, member.address.clone(), member.state.to_owned(), detail]);
        }
        table.lines()
    }
}

impl MemberLine {
    fn of(answer: &Answer, state: Option<&MemberStatus>, leader: Option<&MemberStatus>) -> Self {
        let address = answer.address.clone();
        match &answer.status {
            Ok(member) => Self {
                node: Some(member.node.get()),
                address,
                state: match leader {
                    Some(leader) if leader.node == member.node => "leader",
                    _ => "follower",
                },
                term: Some(member.term),
                applied: Some(member.applied),
                last_index: Some(member.last_index),
                lag: Some(leader.map_or(0, |leader| leader.commit.saturating_sub(member.applied))),
                error: None,
            },
            Err(error) => {
                let known = state.and_then(|state| state.members.iter().find(|member| member.address == address));
                Self {
                    node: known.map(|member| member.node.get()),
                    address,
                    state: "unreachable",
                    term: None,
                    applied: None,
                    last_index: None,
                    lag: None,
                    error: Some(error.clone()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::health::tests::healthy;
    use super::*;

    #[test]
    fn one_screen_tells_all() {
        let mut facts = healthy();
        facts.namenodes[2].status = Err("it is silent".into());
        let status = Status::of(&facts);
        assert_eq!(
            status.lines(Sizes::Human),
            [
                "degraded",
                "  - namenode 127.0.0.1:8022 does not answer",
                "cluster     abababababababababababababababab",
                "leader      nn2, term 4",
                "namenodes   nn1  127.0.0.1:8020  follower     applied 99",
                "            nn2  127.0.0.1:8021  leader       applied 99",
                "            nn3  127.0.0.1:8022  unreachable  it is silent",
                "datanodes   3 alive, 0 suspect, 0 dead",
                "space       3.00GiB used by replicas, 150GiB free of 300GiB",
                "files       1,234 files, 5 directories, 3.00MiB in 1,300 blocks",
                "redundancy  0 under-replicated, 0 corrupt, 0 missing, 0 copies under way (scanned 3 s ago)",
                "sessions    1",
            ]
        );
    }

    #[test]
    fn an_address_is_not_said_again_beside_itself() {
        let line = "a:1: a:1 cannot be reached: tcp connect error: Connection refused (os error 111)";
        assert_eq!(reason_alone(line, "a:1"), "cannot be reached: tcp connect error: Connection refused");
        assert_eq!(reason_alone("it is silent", ""), "it is silent", "of a member whose address nobody knows yet");
    }

    #[test]
    fn json_keys_are_an_interface() {
        let json = serde_json::to_value(Status::of(&healthy())).expect("it is plain data");
        let keys: Vec<_> = json.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut wanted = vec![
            "health",
            "reasons",
            "cluster",
            "leader",
            "term",
            "commit",
            "members",
            "datanodes",
            "space",
            "files",
            "directories",
            "bytes",
            "blocks",
            "sessions",
            "redundancy",
        ];
        wanted.sort_unstable();
        let mut keys = keys;
        keys.sort_unstable();
        assert_eq!(keys, wanted);
        assert_eq!((json["health"].as_str(), json["leader"].as_u64()), (Some("healthy"), Some(2)));
        assert_eq!(json["members"][1]["state"].as_str(), Some("leader"));
    }
}
