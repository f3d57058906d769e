//! `ashlar fs du`

use client::{Attributes, Client};
use serde::Serialize;
use types::Path;

use super::Failures;
use super::remote::{self, Found, RemotePath};
use crate::exit::Failure;
use crate::output::{Align, JsonArray, Output, Sizes, Table, thousands};

#[derive(Debug, clap::Args)]
pub(crate) struct DuArgs {
    /// Files or directories
    #[arg(default_value = "/", value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// One line for each argument, instead of one for each entry of a directory
    #[arg(short, long)]
    summarize: bool,
    /// Exact sizes instead of KiB, MiB, GiB
    #[arg(long)]
    bytes: bool,
    /// A JSON array, one object a line
    #[arg(long)]
    json: bool,
}

/// The keys are an interface.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    path: String,
    /// Lengths of all files.
    bytes: u64,
    /// The same times the wanted replicas.
    raw_bytes: u64,
    files: u64,
    directories: u64,
}

impl Line {
    fn new(path: &Path, attributes: &Attributes) -> Self {
        let path = path.to_string();
        match attributes.usage {
            Some(usage) => Self {
                path,
                bytes: usage.bytes,
                raw_bytes: usage.raw_bytes,
                files: usage.files,
                directories: usage.directories,
            },
            None => {
                let bytes = attributes.length.get();
                let raw_bytes = bytes.saturating_mul(attributes.replication.into());
                Self { path, bytes, raw_bytes, files: 1, directories: 0 }
            }
        }
    }
}

pub(crate) async fn run(client: &Client, args: DuArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let mut lines = Vec::new();
    for found in remote::expand_all(client, &args.paths, &mut failures).await? {
        if args.summarize || !found.attributes.is_directory() {
            lines.push(Line::new(&found.path, &found.attributes));
        } else if let Err(failure) = entries(client, &found, &mut lines).await {
            failures.add(failure)?;
        }
    }
    let mut out = Output::stdout();
    if args.json {
        let mut json = JsonArray::default();
        lines.iter().try_for_each(|line| json.push(&mut out, line))?;
        json.end(&mut out)?;
    } else {
        table(&lines, Sizes::exact(args.bytes), out.is_terminal()).print(&mut out)?;
    }
    out.flush()?;
    failures.result()
}

/// A line for each entry of a directory. The sums of a directory below are kept with it, so no tree is walked.
async fn entries(client: &Client, Found { path, .. }: &Found, lines: &mut Vec<Line>) -> Result<(), Failure> {
    let mut listing = client.list(path).await?;
    while let Some(page) = listing.next_page().await? {
        for entry in page {
            let path = path.join(entry.name).map_err(|error| Failure::Failed(format!("{path}: {error}")))?;
            lines.push(Line::new(&path, &entry.attributes));
        }
    }
    Ok(())
}

/// The heading is for people: a program that reads columns finds only lines there.
fn table(lines: &[Line], sizes: Sizes, heading: bool) -> Table {
    let mut table = Table::new(&[Align::Right, Align::Right, Align::Right, Align::Left]);
    if heading && !lines.is_empty() {
        table.row(["BYTES", "WITH REPLICAS", "FILES", "PATH"]);
    }
    for line in lines {
        let (bytes, raw) = (sizes.show(line.bytes), sizes.show(line.raw_bytes));
        table.row([bytes, raw, thousands(line.files), line.path.clone()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_sizes_files_and_path() {
        let line = |path: &str, bytes, files| Line {
            path: path.to_owned(),
            bytes,
            raw_bytes: 3 * bytes,
            files,
            directories: 0,
        };
        let lines = [line("/a", 1024, 1), line("/b", 5, 2000)];
        assert_eq!(
            table(&lines, Sizes::Human, true).lines(),
            [
                "  BYTES  WITH REPLICAS  FILES  PATH",
                "1.00KiB        3.00KiB      1  /a",
                "     5B            15B  2,000  /b"
            ]
        );
        assert_eq!(table(&lines[..1], Sizes::Bytes, false).lines(), ["1024  3072  1  /a"]);
    }
}
