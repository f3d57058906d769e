//! `ashlar admin key`: access keys, under which S3 clients sign.

use std::io::Read as _;
use std::path::PathBuf;

use access_keys::SealingKey;
use client::{Client, Config, User};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Align, Output, Table, local_minutes, rfc3339};

#[derive(Debug, clap::Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make an access key of a user, or import one; its secret is shown once
    Create {
        /// Whose requests are signed with it: a user of the cluster, whom the key follows; else a name of this machine, or a number
        #[arg(long, value_name = "NAME|UID")]
        user: String,
        /// The name of a key that exists elsewhere, instead of a new one
        #[arg(long, value_name = "ID", requires = "secret_key_stdin")]
        access_key: Option<String>,
        /// Read its secret from standard input
        #[arg(long, requires = "access_key")]
        secret_key_stdin: bool,
        /// The file with the key that seals secrets [default: secrets.key next to the configuration file]
        #[arg(long, value_name = "FILE", env = "ASHLAR_SECRETS_KEY", hide_env_values = true)]
        secrets_key: Option<PathBuf>,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// List access keys, without their secrets
    Ls {
        /// One JSON array
        #[arg(long)]
        json: bool,
    },
    /// Take an access key away; gateways forget it within seconds
    Rm {
        #[arg(value_name = "ID")]
        access_key: String,
    },
}

/// The keys are an interface.
#[derive(Debug, Serialize)]
struct Created<'a> {
    access_key: &'a str,
    /// Not told of a key that was imported.
    secret_key: Option<&'a str>,
    uid: u32,
    /// The user of the cluster that it follows.
    user: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Line {
    access_key: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    /// The user of the cluster that it follows.
    user: Option<String>,
    disabled: bool,
    #[serde(serialize_with = "as_rfc3339")]
    created: types::Timestamp,
}

pub(crate) async fn run(config: Config, file: Option<PathBuf>, args: KeyArgs) -> Result<(), Failure> {
    let mut out = Output::stdout();
    let client = Client::connect(config).await?;
    match args.command {
        Command::Create { user, access_key, secret_key_stdin: _, secrets_key, json } => {
            let beside = file.and_then(|file| file.parent().map(|dir| dir.join("secrets.key")));
            let path = secrets_key.or(beside).ok_or_else(|| {
                Failure::Usage("where the key is that seals secrets is not known; say it with --secrets-key".to_owned())
            })?;
            let failed = |error: access_keys::SecretError| Failure::Failed(error.to_string());
            let sealing = SealingKey::load(&path).map_err(failed)?;
            let followed = client.user(&user).await?;
            let owner = match &followed {
                Some(followed) => followed.user.clone(),
                None => look_up(&user)?,
            };
            let (id, secret, shown) = match access_key {
                Some(id) => (id, read_secret()?, false),
                None => {
                    let (id, secret) = access_keys::generate().map_err(failed)?;
                    (id, secret.to_string(), true)
                }
            };
            let sealed = sealing.seal(&id, &secret).map_err(failed)?;
            let name = followed.map(|followed| followed.name);
            match &name {
                Some(name) => client.objects().put_access_key_of(&id, name, sealed).await?,
                None => client.objects().put_access_key(&id, &owner, sealed).await?,
            }
            let secret_key = shown.then_some(secret.as_str());
            if json {
                out.json(&Created { access_key: &id, secret_key, uid: owner.uid, user: name.as_deref() })?;
            } else {
                out.line(format!("access key  {id}"))?;
                if let Some(secret) = secret_key {
                    out.line(format!("secret key  {secret}"))?;
                    out.line("the secret is not shown again")?;
                }
            }
        }
        Command::Ls { json } => {
            let keys = client.objects().access_keys().await?;
            let lines = keys.into_iter().map(|key| {
                let User { uid, gid, groups } = key.user;
                let (user, disabled) = (key.name, key.disabled);
                Line { access_key: key.id, uid, gid, groups, user, disabled, created: key.created }
            });
            let lines: Vec<Line> = lines.collect();
            if json { out.json(&lines)? } else { print(&lines, &mut out)? }
        }
        Command::Rm { access_key } => client.objects().remove_access_key(&access_key).await?,
    }
    client.close().await?;
    out.flush()
}

fn as_rfc3339<S: serde::Serializer>(time: &types::Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&rfc3339(*time))
}

fn print(lines: &[Line], out: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Right, Align::Right, Align::Left]);
    table.row(["ACCESS KEY", "USER", "UID", "GID", "CREATED"]);
    for line in lines {
        let created = local_minutes(line.created);
        let user = match &line.user {
            Some(name) if line.disabled => format!("{name} (disabled)"),
            Some(name) => name.clone(),
            None => "-".to_owned(),
        };
        table.row([line.access_key.clone(), user, line.uid.to_string(), line.gid.to_string(), created]);
    }
    table.print(out)
}

fn read_secret() -> Result<String, Failure> {
    /// Nobody's secret is longer.
    const LONGEST: u64 = 512;
    let mut secret = String::new();
    let read = std::io::stdin().take(LONGEST + 1).read_to_string(&mut secret);
    read.map_err(|error| Failure::Failed(format!("standard input: {}", crate::exit::reason(&error))))?;
    let secret = secret.trim_end_matches(['\n', '\r']);
    match secret.len() {
        1..=512 => Ok(secret.to_owned()),
        _ => Err(Failure::Usage("a secret of 1 to 512 bytes is expected on standard input".to_owned())),
    }
}

/// A user of this machine by its name, with its groups; or a number, which is then its group too.
fn look_up(text: &str) -> Result<User, Failure> {
    if let Ok(uid) = text.parse() {
        return Ok(User { uid, gid: uid, groups: Vec::new() });
    }
    let read =
        |path: &str| std::fs::read_to_string(path).map_err(|error| Failure::local(std::path::Path::new(path), &error));
    find(text, &read("/etc/passwd")?, &read("/etc/group")?).ok_or_else(|| {
        Failure::Usage(format!("there is no user {text:?}, in the cluster or on this machine; write a number"))
    })
}

fn find(name: &str, passwd: &str, group: &str) -> Option<User> {
    let line = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|line| line[0] == name)?;
    let (uid, gid) = (line.get(2)?.parse().ok()?, line.get(3)?.parse().ok()?);
    let groups = group.lines().filter_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let is_in = fields.get(3)?.split(',').any(|member| member == name);
        if is_in { fields.get(2)?.parse().ok() } else { None }
    });
    Some(User { uid, gid, groups: groups.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_with_their_groups() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1001:100::/home/ann:/bin/sh\nbroken\n";
        let group = "users:x:100:\naudio:x:29:bob,ann\nvideo:x:44:bob\nbroken\n";
        assert_eq!(find("ann", passwd, group), Some(User { uid: 1001, gid: 100, groups: vec![29] }));
        assert_eq!(find("nobody", passwd, group), None);
        assert_eq!(find("broken", passwd, group), None);
        assert_eq!(look_up("7").expect("a number"), User { uid: 7, gid: 7, groups: Vec::new() });
    }
}
