//! `ashlar admin user`: users of the cluster, which access keys follow.

use client::{Client, Config, NamedUser, User, UserChange};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Align, Output, Table, local_minutes, rfc3339};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A name stands for a uid, a gid and groups, on every machine. An access key that was made for a user (admin key create --user \
NAME) follows it: what is changed here counts for its requests within a second."
)]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add a user
    Add {
        name: String,
        /// Its number, which no other user has
        #[arg(long)]
        uid: u32,
        /// The number of its group [default: that of the user]
        #[arg(long)]
        gid: Option<u32>,
        /// The numbers of other groups that it is in, with commas between them
        #[arg(long, value_delimiter = ',', value_name = "GID,..")]
        groups: Vec<u32>,
    },
    /// List users
    Ls {
        /// One JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a user, and its access keys
    Show {
        name: String,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Change a user; what is not named stays
    Set {
        name: String,
        #[arg(long)]
        uid: Option<u32>,
        #[arg(long)]
        gid: Option<u32>,
        /// In place of the groups that it is in; none for none
        #[arg(long, value_name = "GID,..|none")]
        groups: Option<String>,
    },
    /// Have the keys of a user sign nothing
    Disable { name: String },
    /// Have them sign again
    Enable { name: String },
    /// Remove a user, which has no access keys any more
    Rm {
        name: String,
        /// Remove its access keys with it
        #[arg(long)]
        with_keys: bool,
    },
}

/// The keys are an interface.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    disabled: bool,
    created: String,
    /// Where one user is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_keys: Option<Vec<String>>,
}

impl Line {
    fn of(found: &NamedUser) -> Self {
        let NamedUser { name, user: User { uid, gid, groups }, disabled, created } = found;
        let (name, created) = (name.clone(), rfc3339(*created));
        Self { name, uid: *uid, gid: *gid, groups: groups.clone(), disabled: *disabled, created, access_keys: None }
    }
}

pub(crate) async fn run(config: Config, args: UserArgs) -> Result<(), Failure> {
    let client = Client::connect(config).await?;
    let done = order(&client, args.command).await;
    if let Err(error) = client.close().await {
        tracing::debug!(%error, "the session was not closed in order");
    }
    done
}

async fn order(client: &Client, command: Command) -> Result<(), Failure> {
    let disable = |disabled| UserChange { disabled: Some(disabled), ..UserChange::default() };
    match command {
        Command::Add { name, uid, gid, groups } => {
            client.add_user(&name, &User { uid, gid: gid.unwrap_or(uid), groups }).await?;
        }
        Command::Ls { json } => list(&client.users().await?, json)?,
        Command::Show { name, json } => show(client, &name, json).await?,
        Command::Set { name, uid, gid, groups } => {
            let groups = groups.as_deref().map(numbers).transpose()?;
            if uid.is_none() && gid.is_none() && groups.is_none() {
                return Err(Failure::Usage("say what is to change: --uid, --gid or --groups".to_owned()));
            }
            client.change_user(&name, UserChange { uid, gid, groups, disabled: None }).await?;
        }
        Command::Disable { name } => client.change_user(&name, disable(true)).await?,
        Command::Enable { name } => client.change_user(&name, disable(false)).await?,
        Command::Rm { name, with_keys } => client.remove_user(&name, with_keys).await?,
    }
    Ok(())
}

fn numbers(text: &str) -> Result<Vec<u32>, Failure> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let number = |text: &str| text.parse().map_err(|_| Failure::Usage(format!("{text:?} is no number of a group")));
    text.split(',').map(number).collect()
}

fn joined(groups: &[u32]) -> String {
    match groups {
        [] => "-".to_owned(),
        _ => groups.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
    }
}

const fn state(disabled: bool) -> &'static str {
    if disabled { "disabled" } else { "enabled" }
}

fn list(users: &[NamedUser], json: bool) -> Result<(), Failure> {
    let mut out = Output::stdout();
    if json {
        out.json(&users.iter().map(Line::of).collect::<Vec<_>>())?;
    } else {
        let mut table = Table::new(&[Align::Left, Align::Right, Align::Right, Align::Left, Align::Left, Align::Left]);
        table.row(["USER", "UID", "GID", "GROUPS", "STATE", "CREATED"]);
        for NamedUser { name, user: User { uid, gid, groups }, disabled, created } in users {
            let (uid, gid, created) = (uid.to_string(), gid.to_string(), local_minutes(*created));
            table.row([name.clone(), uid, gid, joined(groups), state(*disabled).to_owned(), created]);
        }
        table.print(&mut out)?;
    }
    out.flush()
}

async fn show(client: &Client, name: &str, json: bool) -> Result<(), Failure> {
    let found = client.user(name).await?;
    let found = found.ok_or_else(|| Failure::Failed(format!("there is no user {name}; see ashlar admin user ls")))?;
    let keys = client.objects().access_keys().await?;
    let keys = keys.into_iter().filter(|key| key.name.as_deref() == Some(name)).map(|key| key.id).collect::<Vec<_>>();
    let mut out = Output::stdout();
    if json {
        out.json(&Line { access_keys: Some(keys), ..Line::of(&found) })?;
    } else {
        let mut table = Table::new(&[Align::Left, Align::Left]);
        let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
        row("user", found.name);
        row("uid", found.user.uid.to_string());
        row("gid", found.user.gid.to_string());
        row("groups", joined(&found.user.groups));
        row("state", state(found.disabled).to_owned());
        row("created", local_minutes(found.created));
        row("access keys", if keys.is_empty() { "none".to_owned() } else { keys.join(" ") });
        table.print(&mut out)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_numbers_or_none() {
        assert_eq!(numbers("4,27").ok(), Some(vec![4, 27]));
        assert_eq!(numbers("none").ok(), Some(Vec::new()));
        for text in ["", "4,", "audio", "-1", "4 27"] {
            assert!(matches!(numbers(text), Err(Failure::Usage(_))), "{text:?}");
        }
        assert_eq!((joined(&[4, 27]), joined(&[])), ("4,27".to_owned(), "-".to_owned()));
    }
}
