//! `ashlar fs quota`

use std::str::FromStr;

use client::{Attributes, Client, Quota};
use serde::Serialize;
use types::{ByteSize, Path};

use super::Failures;
use super::remote::{self, Found, RemotePath};
use crate::exit::Failure;
use crate::output::{Align, JsonArray, Output, Sizes, Table, thousands};

#[derive(Debug, clap::Args)]
pub(crate) struct QuotaArgs {
    /// Directories
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// Bound the bytes below, each counted with its replicas: a size such as 10TiB, or none
    #[arg(long, value_name = "SIZE", value_parser = bound::<ByteSize>)]
    space: Option<Bound<ByteSize>>,
    /// Bound the number of files and directories below, or none
    #[arg(long, value_name = "N", value_parser = bound::<u64>)]
    inodes: Option<Bound<u64>>,
    /// Exact sizes instead of KiB, MiB, GiB
    #[arg(long)]
    bytes: bool,
    /// A JSON array, one object a line
    #[arg(long)]
    json: bool,
}

/// What a flag asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound<T> {
    None,
    At(T),
}

fn bound<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<Bound<T>, String> {
    match text {
        "none" => Ok(Bound::None),
        _ => text.parse().map(Bound::At).map_err(|error| format!("{error}; or write none")),
    }
}

/// The keys are an interface.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    path: String,
    /// With replicas.
    raw_bytes: u64,
    raw_bytes_quota: Option<u64>,
    inodes: u64,
    inodes_quota: Option<u64>,
}

impl Line {
    fn new(path: &Path, attributes: &Attributes) -> Self {
        let (usage, quota) = (attributes.usage.unwrap_or_default(), attributes.quota.unwrap_or_default());
        Self {
            path: path.to_string(),
            raw_bytes: usage.raw_bytes,
            raw_bytes_quota: quota.raw_bytes,
            inodes: usage.files + usage.directories,
            inodes_quota: quota.inodes,
        }
    }
}

pub(crate) async fn run(client: &Client, args: QuotaArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let mut lines = Vec::new();
    for found in remote::expand_all(client, &args.paths, &mut failures).await? {
        match one(client, &args, found).await {
            Ok(line) => lines.push(line),
            Err(failure) => failures.add(failure)?,
        }
    }
    if args.space.is_some() || args.inodes.is_some() {
        return failures.result();
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

/// Sets what is asked for; a bound that no flag names stays.
async fn one(client: &Client, args: &QuotaArgs, Found { path, attributes, .. }: Found) -> Result<Line, Failure> {
    if !attributes.is_directory() {
        return Err(Failure::Failed(format!("{path}: not a directory; quotas are of directories")));
    }
    if args.space.is_none() && args.inodes.is_none() {
        return Ok(Line::new(&path, &attributes));
    }
    let mut quota: Quota = attributes.quota.unwrap_or_default();
    match args.space {
        Some(Bound::At(size)) => quota.raw_bytes = Some(size.get()),
        Some(Bound::None) => quota.raw_bytes = None,
        None => {}
    }
    match args.inodes {
        Some(Bound::At(inodes)) => quota.inodes = Some(inodes),
        Some(Bound::None) => quota.inodes = None,
        None => {}
    }
    Ok(Line::new(&path, &client.set_quota(&path, quota).await?))
}

/// The heading is for people: a program that reads columns finds only lines there.
fn table(lines: &[Line], sizes: Sizes, heading: bool) -> Table {
    let mut table = Table::new(&[Align::Right, Align::Right, Align::Right, Align::Right, Align::Left]);
    if heading && !lines.is_empty() {
        table.row(["WITH REPLICAS", "QUOTA", "FILES+DIRECTORIES", "QUOTA", "PATH"]);
    }
    let bounded = |quota: Option<u64>, show: &dyn Fn(u64) -> String| quota.map_or("none".to_owned(), show);
    for line in lines {
        table.row([
            sizes.show(line.raw_bytes),
            bounded(line.raw_bytes_quota, &|bytes| sizes.show(bytes)),
            thousands(line.inodes),
            bounded(line.inodes_quota, &thousands),
            line.path.clone(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_sizes_numbers_or_none() {
        assert_eq!(bound::<ByteSize>("1MiB"), Ok(Bound::At(ByteSize::mib(1))));
        assert_eq!(bound::<u64>("12"), Ok(Bound::At(12)));
        assert_eq!(bound::<u64>("none"), Ok(Bound::None));
        assert!(bound::<u64>("many").is_err());
    }

    #[test]
    fn what_is_used_stands_before_its_bound() {
        let line = Line {
            path: "/a".to_owned(),
            raw_bytes: 3072,
            raw_bytes_quota: Some(4096),
            inodes: 1000,
            inodes_quota: None,
        };
        assert_eq!(table(&[line], Sizes::Human, false).lines(), ["3.00KiB  4.00KiB  1,000  none  /a"]);
    }
}
