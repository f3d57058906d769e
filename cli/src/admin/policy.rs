//! `ashlar admin policy`: values for the whole cluster, and for what is made below a directory.

use std::time::Duration;

use client::health::{Facts, leader_first};
use client::{Admin, Client, Config, DirectorySetting, InForce, PolicyState, Spread};
use serde::Serialize;
use types::{ByteSize, Path};

use crate::exit::Failure;
use crate::fs;
use crate::output::{Align, Output, Table};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "replication and block_size are for new files that do not ask for others; trash_expiry for what is removed from \
now on; delete_grace for what is freed from now on. A policy holds at once, on every namenode, whatever its configuration says. \
With --path, replication and spread are for files that are made below a directory from now on: the nearest directory above a file \
that says something decides, for each of the two. Files that are there keep what they were made with."
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
    /// How copies are spread over racks, of what is made below a directory
    Spread,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show every policy: what holds, and who says so
    #[command(visible_alias = "show")]
    Ls {
        /// What holds for files that are made in this directory
        #[arg(long, value_name = "DIR", value_parser = fs::argument())]
        path: Option<fs::RemotePath>,
        /// An array of JSON objects
        #[arg(long)]
        json: bool,
    },
    /// Set a value for the whole cluster, or for what is made below a directory
    Set {
        name: Name,
        /// A number, a size such as 128MiB, a time such as 24h; of spread: two-racks, or spread for a rack for each copy
        value: String,
        /// For what is made below this directory: replication or spread
        #[arg(long, value_name = "DIR", value_parser = fs::argument())]
        path: Option<fs::RemotePath>,
    },
    /// Leave a value to the configuration of the namenode that leads, or to the directories above
    Unset {
        name: Name,
        /// As it was set for this directory
        #[arg(long, value_name = "DIR", value_parser = fs::argument())]
        path: Option<fs::RemotePath>,
    },
}

impl Name {
    const fn text(self) -> &'static str {
        match self {
            Self::Replication => "replication",
            Self::BlockSize => "block_size",
            Self::TrashExpiry => "trash_expiry",
            Self::DeleteGrace => "delete_grace",
            Self::Spread => "spread",
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
            Self::Spread => Err(self.only_elsewhere()),
        }
    }

    /// As a directory may have it.
    fn setting(self, text: Option<&str>) -> Result<DirectorySetting, Failure> {
        let wrong = |what: &dyn std::fmt::Display| Failure::Usage(format!("{}: {what}", self.text()));
        match self {
            Self::Replication => {
                let count =
                    text.map(|text| text.parse().map_err(|_| wrong(&format!("{text:?} is no number such as 3"))));
                match count.transpose()? {
                    Some(0) => {
                        Err(wrong(&"a file has at least one copy; to leave it to the directories above, unset it"))
                    }
                    count => Ok(DirectorySetting::Replication(count)),
                }
            }
            Self::Spread => {
                let spread = text.map(|text| text.parse::<Spread>().map_err(|error| wrong(&error)));
                Ok(DirectorySetting::Spread(spread.transpose()?))
            }
            Self::BlockSize | Self::TrashExpiry | Self::DeleteGrace => Err(self.only_elsewhere()),
        }
    }

    fn only_elsewhere(self) -> Failure {
        Failure::Usage(match self {
            Self::Spread => {
                "spread: of the whole cluster this is `placement` in the configuration of the namenodes; or name a directory with \
                 --path"
                    .to_owned()
            }
            _ => format!("{}: this is for the whole cluster; directories have replication and spread", self.text()),
        })
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

/// What holds in a directory. The keys are an interface.
#[derive(Debug, Serialize)]
struct OfDirectory {
    name: &'static str,
    value: Option<String>,
    /// The directory that says so, if one does.
    from: Option<String>,
}

pub(crate) async fn run(config: Config, args: PolicyArgs) -> Result<(), Failure> {
    match args.command {
        Command::Ls { path: Some(path), json } => {
            of_directory(config, async move |client| list(client, &path.path, json).await).await
        }
        Command::Set { name, value, path: Some(path) } => {
            let setting = name.setting(Some(&value))?;
            of_directory(config, async move |client| set(client, name, &path.path, setting).await).await
        }
        Command::Unset { name, path: Some(path) } => {
            let setting = name.setting(None)?;
            of_directory(config, async move |client| set(client, name, &path.path, setting).await).await
        }
        command => of_cluster(config, command).await,
    }
}

async fn of_directory(config: Config, act: impl AsyncFnOnce(&Client) -> Result<(), Failure>) -> Result<(), Failure> {
    let client = Client::connect(config).await?;
    let done = act(&client).await;
    if let Err(error) = client.close().await {
        tracing::debug!(%error, "the session was not closed in order");
    }
    done
}

async fn list(client: &Client, path: &Path, json: bool) -> Result<(), Failure> {
    let InForce { replication, spread } = client.directory_policy(path).await?;
    let defaults = client.defaults();
    let row = |name, said: Option<(String, Path)>, default: Option<String>| match said {
        Some((value, from)) => OfDirectory { name, value: Some(value), from: Some(from.to_string()) },
        None => OfDirectory { name, value: default, from: None },
    };
    let replication = replication.map(|(count, from)| (count.to_string(), from));
    let spread = spread.map(|(spread, from)| (spread.to_string(), from));
    let rows = [
        row("replication", replication, Some(defaults.replication.to_string())),
        row("spread", spread, defaults.spread.map(|spread| spread.to_string())),
    ];
    let mut out = Output::stdout();
    if json {
        out.json(&rows)?;
    } else {
        let mut table = Table::new(&[Align::Left, Align::Left, Align::Left]);
        table.row(["POLICY", "VALUE", "SAID BY"]);
        for OfDirectory { name, value, from } in rows {
            let value = value.unwrap_or_else(|| "-".to_owned());
            table.row([name.to_owned(), value, from.unwrap_or_else(|| "the cluster".to_owned())]);
        }
        table.print(&mut out)?;
    }
    out.flush()
}

async fn set(client: &Client, name: Name, path: &Path, setting: DirectorySetting) -> Result<(), Failure> {
    client.set_directory_policy(path, setting).await?;
    let name = name.text();
    let said = match setting {
        DirectorySetting::Replication(Some(count)) => format!("{name} is {count} for what is made below {path}"),
        DirectorySetting::Spread(Some(spread)) => format!("{name} is {spread} for what is made below {path}"),
        DirectorySetting::Replication(None) | DirectorySetting::Spread(None) => {
            format!("{path} says nothing of {name} any more")
        }
    };
    let mut out = Output::stdout();
    out.line(said)?;
    out.flush()
}

async fn of_cluster(config: Config, command: Command) -> Result<(), Failure> {
    let leader = Facts::ask_namenodes(&config).await.leader_address();
    let admin = Admin::unconnected(&leader_first(&config, leader));
    let mut out = Output::stdout();
    match command {
        Command::Ls { json, .. } => {
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
        Command::Set { name, value, .. } => {
            let value = name.read(&value)?;
            admin.set_policy(name.text(), Some(value)).await?;
            out.line(format!("{} is {} for the whole cluster", name.text(), show(name.text(), value)))?;
        }
        Command::Unset { name: Name::Spread, .. } => return Err(Name::Spread.only_elsewhere()),
        Command::Unset { name, .. } => {
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
        let usage = |result: Result<DirectorySetting, Failure>| matches!(result, Err(Failure::Usage(_)));
        let setting = |name: Name, text| name.setting(text).ok();
        assert_eq!(setting(Name::Replication, Some("2")), Some(DirectorySetting::Replication(Some(2))));
        assert_eq!(setting(Name::Spread, Some("spread")), Some(DirectorySetting::Spread(Some(Spread::Wide))));
        assert_eq!(setting(Name::Spread, None), Some(DirectorySetting::Spread(None)));
        for (name, text) in [(Name::Replication, "0"), (Name::Replication, "256"), (Name::Spread, "wide")] {
            assert!(usage(name.setting(Some(text))), "{text}");
        }
        assert!(usage(Name::BlockSize.setting(Some("1MiB"))) && usage(Name::DeleteGrace.setting(None)));
        assert!(matches!(Name::Spread.read("spread"), Err(Failure::Usage(_))));
        assert_eq!(show("trash_expiry", 7_200_000_000_000), "2h");
        assert_eq!((show("replication", 3), show("block_size", 1 << 20)), ("3".to_owned(), "1.00MiB".to_owned()));
    }
}
