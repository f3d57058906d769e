//! `ashlar fs stat`

use client::{Client, DirectoryPolicy, Kind};
use types::ByteSize;

use super::Failures;
use super::object::{Object, group, kind_text, mode_text, user};
use super::remote::{self, Found, RemotePath};
use crate::exit::Failure;
use crate::output::{Align, JsonArray, Output, Sizes, Table, count, local_exact, shown, thousands};

#[derive(Debug, clap::Args)]
pub(crate) struct StatArgs {
    /// Files or directories
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// Exact sizes instead of KiB, MiB, GiB
    #[arg(long)]
    bytes: bool,
    /// A JSON array, one object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(client: &Client, args: StatArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let mut out = Output::stdout();
    let mut json = JsonArray::default();
    for (at, found) in remote::expand_as_named(client, &args.paths, &mut failures).await?.iter().enumerate() {
        if args.json {
            json.push(&mut out, &Object::new(&found.path, &found.attributes))?;
            continue;
        }
        if at > 0 {
            out.line("")?;
        }
        out.line(shown(&found.path.to_bytes(), out.is_terminal()))?;
        table(found, Sizes::exact(args.bytes)).print(&mut out)?;
    }
    if args.json {
        json.end(&mut out)?;
    }
    out.flush()?;
    failures.result()
}

fn table(Found { attributes, .. }: &Found, sizes: Sizes) -> Table {
    let mut table = Table::new(&[Align::Left, Align::Left]).indented(2);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    let size = |bytes: u64| match sizes {
        // Small numbers of bytes are exact already.
        Sizes::Human if bytes >= 1024 => format!("{} ({} bytes)", ByteSize::new(bytes).human(), thousands(bytes)),
        _ => sizes.show(bytes),
    };
    row("kind", kind_text(attributes.kind).to_owned());
    if let Some(target) = &attributes.target {
        let target = shown(target, true);
        row("leads to", String::from_utf8_lossy(&target).into_owned());
    }
    if let Some(device) = attributes.device {
        row("device", device.to_string());
    }
    match &attributes.usage {
        Some(usage) => {
            row("entries", thousands(usage.entries));
            row(
                "below",
                format!(
                    "{}, {}",
                    count(usage.files, "file", "files"),
                    count(usage.directories, "directory", "directories")
                ),
            );
            row("bytes", format!("{}, {} with replicas", size(usage.bytes), sizes.show(usage.raw_bytes)));
        }
        None if attributes.kind != Kind::File => {}
        None => {
            let writing = if attributes.writing { ", being written" } else { "" };
            row("length", format!("{}{writing}", size(attributes.length.get())));
            row("replication", attributes.replication.to_string());
            row("block size", attributes.block_size.to_string());
        }
    }
    if let Some(spread) = attributes.spread {
        row("copies spread", spread.to_string());
    }
    if let Some(DirectoryPolicy { replication, spread }) = attributes.policy {
        let copies = replication.map(|count| format!("replication {count}"));
        let said = copies.into_iter().chain(spread.map(|spread| format!("spread {spread}")));
        row("for what is made below", said.collect::<Vec<_>>().join(", "));
    }
    if let Some(ttl) = attributes.ttl {
        row("time to live", format!("{} after the last modification", humantime::format_duration(ttl)));
    }
    row("mode", format!("{:04o} {}", attributes.mode, mode_text(attributes.kind, attributes.mode)));
    row("owner", format!("{} ({})", user(attributes.uid), attributes.uid));
    row("group", format!("{} ({})", group(attributes.gid), attributes.gid));
    row("links", attributes.links.to_string());
    row("modified", local_exact(attributes.mtime));
    row("changed", local_exact(attributes.ctime));
    row("accessed", local_exact(attributes.atime));
    row("inode", attributes.inode.get().to_string());
    table
}
