//! `ashlar admin fsck`

use std::io::IsTerminal as _;

use client::{Admin, CheckedBlock, Config, Finding, Found, Looked, ReplicaPlace};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::exit::Failure;
use crate::fs::{RemotePath, argument};
use crate::output::{JsonArray, Output, Sizes, count, shown};

#[derive(Debug, clap::Args)]
pub(crate) struct FsckArgs {
    /// What to check, with all that is below
    #[arg(default_value = "/", value_parser = argument())]
    path: RemotePath,
    /// Show every block with its replicas, not only those that are not well
    #[arg(long)]
    blocks: bool,
    /// Have the datanodes read every replica, and compare it with its checksums
    #[arg(long)]
    verify: bool,
    /// Exact sizes instead of KiB, MiB, GiB
    #[arg(long)]
    bytes: bool,
    /// A JSON array, one object a line; the last one has the sums
    #[arg(long)]
    json: bool,
}

/// How often each was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
struct Tally {
    broken: u64,
    missing: u64,
    under_replicated: u64,
    corrupt_replicas: u64,
    unverified_replicas: u64,
}

impl Tally {
    fn add(&mut self, what: &Found) {
        match what {
            Found::Broken(_) => self.broken += 1,
            Found::Block(block) if block.writing => {}
            Found::Block(block) => {
                self.missing += u64::from(block.live == 0);
                self.under_replicated += u64::from(block.live > 0 && block.live < block.wanted);
                self.corrupt_replicas += (block.bad.len() + block.found_bad.len()) as u64;
                self.unverified_replicas += block.unverified.len() as u64;
            }
        }
    }

    fn healthy(self) -> bool {
        self == Self::default()
    }

    fn line(self) -> String {
        if self.healthy() {
            return "healthy".to_owned();
        }
        let Self { broken, missing, under_replicated, corrupt_replicas, unverified_replicas } = self;
        let parts = [
            (broken, "broken invariant", "broken invariants"),
            (missing, "missing block", "missing blocks"),
            (under_replicated, "block with too few copies", "blocks with too few copies"),
            (corrupt_replicas, "damaged copy", "damaged copies"),
            (unverified_replicas, "copy that could not be read", "copies that could not be read"),
        ];
        let parts = parts.into_iter().filter(|(number, ..)| *number > 0);
        parts.map(|(number, one, many)| count(number, one, many)).collect::<Vec<_>>().join(", ")
    }
}

pub(crate) async fn run(config: Config, args: FsckArgs) -> Result<(), Failure> {
    let mut out = Output::stdout();
    let sizes = Sizes::exact(args.bytes);
    let (mut tally, mut looked) = (Tally::default(), Looked::default());
    let mut array = args.json.then(JsonArray::default);
    let bar = spinner();
    let mut fsck = Admin::unconnected(&config).fsck(&args.path.path, args.blocks, args.verify).await?;
    while let Some((findings, so_far)) = fsck.next().await? {
        looked = so_far;
        for finding in &findings {
            tally.add(&finding.what);
            let terminal = out.is_terminal();
            bar.suspend(|| match &mut array {
                Some(array) => array.push(&mut out, &Json::of(finding)),
                None => out.line(shown(&line(finding, sizes), terminal)),
            })?;
        }
        bar.set_message(checked(looked, sizes));
        bar.tick();
        out.flush()?;
    }
    bar.finish_and_clear();
    match array {
        Some(mut array) => {
            let Looked { files, directories, blocks, bytes } = looked;
            let summary = Summary { healthy: tally.healthy(), files, directories, blocks, bytes, tally };
            array.push(&mut out, &Last { summary })?;
            array.end(&mut out)?;
        }
        None => {
            out.line(format!("checked {}", checked(looked, sizes)))?;
            out.line(tally.line())?;
        }
    }
    out.flush()?;
    if tally.healthy() { Ok(()) } else { Err(Failure::Unhealthy) }
}

fn spinner() -> ProgressBar {
    let terminal = std::io::stderr().is_terminal();
    let target = if terminal { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}").expect("the template is a constant");
    ProgressBar::with_draw_target(None, target).with_style(style)
}

fn checked(looked: Looked, sizes: Sizes) -> String {
    format!(
        "{}, {}, {}, {}",
        count(looked.files, "file", "files"),
        count(looked.directories, "directory", "directories"),
        count(looked.blocks, "block", "blocks"),
        sizes.show(looked.bytes),
    )
}

fn line(finding: &Finding, sizes: Sizes) -> Vec<u8> {
    let mut line = finding.path.clone();
    line.extend_from_slice(b": ");
    let what = match &finding.what {
        Found::Broken(what) => format!("BROKEN {what}"),
        Found::Block(block) => describe(block, sizes),
    };
    line.extend_from_slice(what.as_bytes());
    line
}

fn describe(checked: &CheckedBlock, sizes: Sizes) -> String {
    let CheckedBlock { block, offset, length, wanted, live, unreachable, replicas, bad, found_bad, unverified, .. } =
        checked;
    let state = match checked {
        CheckedBlock { writing: true, .. } => "being written".to_owned(),
        CheckedBlock { live: 0, .. } => "MISSING no good copy can be read".to_owned(),
        _ if live < wanted => format!("SHORT {live} of {wanted} copies"),
        _ => format!("{live} copies"),
    };
    let mut text = format!("{block} at {offset} ({}): {state}", sizes.show(length.get()));
    if *unreachable > 0 {
        text.push_str(&format!(", {unreachable} on dead datanodes"));
    }
    if !replicas.is_empty() {
        text.push_str(&format!(", good: {}", places(replicas)));
    }
    if !bad.is_empty() {
        text.push_str(&format!(", DAMAGED: {}", places(bad)));
    }
    if !found_bad.is_empty() {
        text.push_str(&format!(", FOUND DAMAGED: {}", places(found_bad)));
    }
    if !unverified.is_empty() {
        text.push_str(&format!(", could not be read: {}", places(unverified)));
    }
    text
}

fn places(places: &[ReplicaPlace]) -> String {
    let place = |place: &ReplicaPlace| format!("node {} ({} {})", place.node.get(), place.host, place.address);
    places.iter().map(place).collect::<Vec<_>>().join(", ")
}

/// The keys are an interface.
#[derive(Debug, Serialize)]
struct Json {
    path: String,
    inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<JsonBlock>,
}

#[derive(Debug, Serialize)]
struct JsonBlock {
    block: String,
    generation: u64,
    offset: u64,
    length: u64,
    writing: bool,
    wanted: u32,
    live: u32,
    unreachable: u32,
    replicas: Vec<u64>,
    bad: Vec<u64>,
    found_bad: Vec<u64>,
    unverified: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Last {
    summary: Summary,
}

#[derive(Debug, Serialize)]
struct Summary {
    healthy: bool,
    files: u64,
    directories: u64,
    blocks: u64,
    bytes: u64,
    #[serde(flatten)]
    tally: Tally,
}

impl Json {
    fn of(finding: &Finding) -> Self {
        let (path, inode) =
            (String::from_utf8_lossy(&finding.path).into_owned(), finding.inode.map(types::InodeId::get));
        let nodes = |places: &[ReplicaPlace]| places.iter().map(|place| place.node.get()).collect();
        match &finding.what {
            Found::Broken(what) => Self { path, inode, broken: Some(what.clone()), block: None },
            Found::Block(block) => {
                let json = JsonBlock {
                    block: block.block.to_string(),
                    generation: block.generation.get(),
                    offset: block.offset,
                    length: block.length.get(),
                    writing: block.writing,
                    wanted: block.wanted,
                    live: block.live,
                    unreachable: block.unreachable,
                    replicas: nodes(&block.replicas),
                    bad: nodes(&block.bad),
                    found_bad: nodes(&block.found_bad),
                    unverified: nodes(&block.unverified),
                };
                Self { path, inode, broken: None, block: Some(json) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use types::{BlockId, ByteSize, GenStamp, InodeId, NodeId};

    use super::*;

    fn block(live: u32, bad: usize) -> CheckedBlock {
        let place = ReplicaPlace { node: NodeId::new(2), host: "dn2".to_owned(), address: "127.0.0.1:9867".to_owned() };
        CheckedBlock {
            block: BlockId::new(InodeId::new(7), 1),
            generation: GenStamp::FIRST,
            offset: 0,
            length: ByteSize::new(10),
            writing: false,
            wanted: 3,
            live,
            unreachable: 3 - live,
            replicas: Vec::new(),
            bad: vec![place; bad],
            found_bad: Vec::new(),
            unverified: Vec::new(),
        }
    }

    #[test]
    fn each_finding_is_a_line_that_says_what_is_wrong() {
        let of = |what| Finding { path: b"/a".to_vec(), inode: None, what };
        let text = |what| String::from_utf8(line(&of(what), Sizes::Human)).expect("text");
        assert_eq!(text(Found::Broken("so".to_owned())), "/a: BROKEN so");
        let id = block(0, 0).block;
        assert_eq!(
            text(Found::Block(block(0, 0))),
            format!("/a: {id} at 0 (10B): MISSING no good copy can be read, 3 on dead datanodes")
        );
        assert_eq!(
            text(Found::Block(block(2, 1))),
            format!(
                "/a: {id} at 0 (10B): SHORT 2 of 3 copies, 1 on dead datanodes, DAMAGED: node 2 (dn2 127.0.0.1:9867)"
            )
        );
    }

    #[test]
    fn what_is_being_written_is_not_counted_as_wrong() {
        let mut tally = Tally::default();
        tally.add(&Found::Block(CheckedBlock { writing: true, ..block(0, 0) }));
        tally.add(&Found::Block(block(3, 0)));
        assert!(tally.healthy());
        tally.add(&Found::Block(block(0, 1)));
        tally.add(&Found::Block(block(1, 0)));
        tally.add(&Found::Broken(String::new()));
        assert_eq!(tally.line(), "1 broken invariant, 1 missing block, 1 block with too few copies, 1 damaged copy");
    }
}
