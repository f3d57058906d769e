//! `ashlar admin policy`: values for the whole cluster.

use std::time::Duration;

use client::health::{Facts, leader_first};
use client::{Admin, Config, PolicyState};
use serde::Serialize;
use types::ByteSize;

use crate::exit::Failure;
use crate::output::{Align, Output, Table};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "replication and block_size are for new files that do not ask for others; trash_expiry for what is removed from \
now on; delete_grace for what is freed from now on. A policy holds at once, on every namenode, whatever its configuration says."
)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Name {
    /// Copies of a block
    Replication,
    /// The longest block
    BlockSize,
    /// How long what users remove can be had back
    TrashExpiry,
    /// How long the copies of what is gone stay on the disks
    DeleteGrace,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show every policy: what holds, and who says so
    Ls {
        /// An array of JSON objects
        #[arg(long)]
        json: bool,
    },
    /// Set a value for the whole cluster
    Set {
        name: Name,
        /// A number, a size such as 128MiB, or a time such as 24h
        value: String,
    },
    /// Leave a value to the configuration of the namenode that leads
    Unset { name: Name },
}

impl Name {
    const fn text(self) -> &'static str {
        match self {
            Self::Replication => "replication",
            Self::BlockSize => "block_size",
            Self::TrashExpiry => "trash_expiry",
            Self::DeleteGrace => "delete_grace",
        }
    }

    fn read(self, text: &str) -> Result<u64, Failure> {
        let wrong = |what: &str| Failure::Usage(format!("{}: {text:?} is not {what}", self.text()));
        match self {
            Self::Replication => text.parse().map_err(|_| wrong("a number such as 3")),
            Self::BlockSize => text.parse::<ByteSize>().map(ByteSize::get).map_err(|_| wrong("a size such as 128MiB")),
            Self::TrashExpiry | Self::DeleteGrace => {
                let time = humantime::parse_duration(text).map_err(|_| wrong("a time such as 24h, or 0s"))?;
                u64::try_from(time.as_nanos()).map_err(|_| wrong("a time that anybody lives to see"))
            }
        }
    }
}

/// A value as people read it.
fn show(name: &str, value: u64) -> String {
    match name {
        "block_size" => ByteSize::new(value).human(),
        "safe_mode" if value == 0 => "off".to_owned(),
        "safe_mode" => "on".to_owned(),
        "trash_expiry" | "delete_grace" => humantime::format_duration(Duration::from_nanos(value)).to_string(),
        _ => value.to_string(),
    }
}

/// The keys are an interface.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    /// What holds: bytes, or nanoseconds.
    value: u64,
    set: Option<u64>,
    configured: u64,
}

impl<'a> Shown<'a> {
    fn of(PolicyState { name, set, configured }: &'a PolicyState) -> Self {
        Self { name, value: set.unwrap_or(*configured), set: *set, configured: *configured }
    }
}

pub(crate) async fn run(config: Config, args: PolicyArgs) -> Result<(), Failure> {
    let leader = Facts::ask_namenodes(&config).await.leader_address();
    let admin = Admin::unconnected(&leader_first(&config, leader));
    let mut out = Output::stdout();
    match args.command {
        Command::Ls { json } => {
            let policies = admin.policies().await?;
            if json {
                out.json(&policies.iter().map(Shown::of).collect::<Vec<_>>())?;
            } else {
                let mut table = Table::new(&[Align::Left, Align::Left, Align::Left]);
                table.row(["POLICY", "VALUE", "SAID BY"]);
                for policy in &policies {
                    let said = if policy.set.is_some() { "the cluster" } else { "the configuration of the leader" };
                    let value = policy.set.unwrap_or(policy.configured);
                    table.row([policy.name.clone(), show(&policy.name, value), said.to_owned()]);
                }
                table.print(&mut out)?;
            }
        }
        Command::Set { name, value } => {
            let value = name.read(&value)?;
            admin.set_policy(name.text(), Some(value)).await?;
            out.line(format!("{} is {} for the whole cluster", name.text(), show(name.text(), value)))?;
        }
        Command::Unset { name } => {
            admin.set_policy(name.text(), None).await?;
            out.line(format!("{} is what the configuration of the leader says", name.text()))?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_their_policy_wants_and_shown_so() {
        let read = |name: Name, text: &str| name.read(text).ok();
        assert_eq!(read(Name::Replication, "3"), Some(3));
        assert_eq!(read(Name::BlockSize, "1MiB"), Some(1 << 20));
        assert_eq!(read(Name::TrashExpiry, "2h"), Some(7_200_000_000_000));
        assert_eq!(read(Name::TrashExpiry, "0s"), Some(0));
        for (name, text) in [(Name::Replication, "3MiB"), (Name::BlockSize, "2h"), (Name::DeleteGrace, "3")] {
            assert_eq!(read(name, text), None, "{text}");
        }
        assert_eq!(show("trash_expiry", 7_200_000_000_000), "2h");
        assert_eq!((show("replication", 3), show("block_size", 1 << 20)), ("3".to_owned(), "1.00MiB".to_owned()));
    }
}
