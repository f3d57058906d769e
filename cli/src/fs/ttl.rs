//! `ashlar fs ttl`

use std::time::Duration;

use client::Client;
use serde::Serialize;
use types::Path;

use super::Failures;
use super::remote::{self, Found, RemotePath};
use crate::exit::Failure;
use crate::output::{Align, JsonArray, Output, Table, shown};

#[derive(Debug, clap::Args)]
pub(crate) struct TtlArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show how long what is in a directory stays, and by which directory
    Get {
        /// Directories
        #[arg(required = true, value_parser = remote::argument())]
        paths: Vec<RemotePath>,
        /// A JSON array, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Have what is below directories removed when its last modification is longer ago
    #[command(
        after_help = "The nearest directory above a file that has a time to live decides. What goes is gone for good."
    )]
    Set {
        /// Such as 12h, 7d or 90min; at least 1s
        #[arg(value_parser = humantime::parse_duration)]
        time: Duration,
        /// Directories
        #[arg(required = true, value_parser = remote::argument())]
        paths: Vec<RemotePath>,
    },
    /// Take the time to live of directories away
    Clear {
        /// Directories
        #[arg(required = true, value_parser = remote::argument())]
        paths: Vec<RemotePath>,
    },
}

/// The keys are an interface.
#[derive(Debug, Serialize)]
struct Line {
    path: String,
    ttl_ms: Option<u64>,
    /// The directory that has it.
    by: Option<String>,
}

pub(crate) async fn run(client: &Client, args: TtlArgs) -> Result<(), Failure> {
    match args.command {
        Command::Get { paths, json } => get(client, &paths, json).await,
        Command::Set { time, paths } => set(client, &paths, Some(time)).await,
        Command::Clear { paths } => set(client, &paths, None).await,
    }
}

async fn set(client: &Client, paths: &[RemotePath], ttl: Option<Duration>) -> Result<(), Failure> {
    let mut failures = Failures::default();
    for found in remote::expand_all(client, paths, &mut failures).await? {
        if let Err(error) = client.set_ttl(found.place(), ttl).await {
            failures.add(error.into())?;
        }
    }
    failures.result()
}

async fn get(client: &Client, paths: &[RemotePath], as_json: bool) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let mut out = Output::stdout();
    let mut json = JsonArray::default();
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Left]);
    if out.is_terminal() {
        table.row(["STAYS", "BY", "PATH"]);
    }
    for found in remote::expand_as_named(client, paths, &mut failures).await? {
        let nearest = match nearest(client, &found).await {
            Ok(nearest) => nearest,
            Err(failure) => {
                failures.add(failure)?;
                continue;
            }
        };
        if as_json {
            let (ttl_ms, by) = nearest.map(|(by, ttl)| (ttl.as_millis() as u64, by.to_string())).unzip();
            json.push(&mut out, &Line { path: found.path.to_string(), ttl_ms, by })?;
            continue;
        }
        let text = |path: &Path| String::from_utf8_lossy(&shown(&path.to_bytes(), out.is_terminal())).into_owned();
        let (ttl, by) = match &nearest {
            Some((by, ttl)) => (humantime::format_duration(*ttl).to_string(), text(by)),
            None => ("for ever".to_owned(), "-".to_owned()),
        };
        table.row([ttl, by, text(&found.path)]);
    }
    if as_json {
        json.end(&mut out)?
    } else {
        table.print(&mut out)?
    }
    out.flush()?;
    failures.result()
}

/// The time to live that holds at a path, and the directory that has it.
async fn nearest(client: &Client, found: &Found) -> Result<Option<(Path, Duration)>, Failure> {
    let mut path = found.path.clone();
    let mut attributes = found.attributes.clone();
    loop {
        if let Some(ttl) = attributes.ttl {
            return Ok(Some((path, ttl)));
        }
        let Some((parent, _)) = path.split_last() else { return Ok(None) };
        attributes = client.stat(&parent).await?;
        path = parent;
    }
}
