//! `ashlar fs rm`

use std::io::{BufRead as _, IsTerminal as _};

use client::{Attributes, Client};
use types::ByteSize;

use super::Failures;
use super::remote::{self, Found, RemotePath};
use crate::exit::Failure;
use crate::output::count;

/// Removing more files than this at once is asked about.
const ASK_ABOVE: u64 = 1000;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What is removed moves to the trash of its user, and can be had back for a day (see ashlar fs trash), \
    unless the cluster is set up otherwise. A file with several names only loses one. What would go for good is asked \
    about, if it is more than 1,000 files at once."
)]
pub(crate) struct RmArgs {
    /// What to remove
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// Remove directories and all that is in them
    #[arg(short, long)]
    recursive: bool,
    /// Be content with what is not there
    #[arg(short, long)]
    force: bool,
    /// Remove for good, and not to the trash
    #[arg(long)]
    skip_trash: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// What is to go for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Doomed {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl Doomed {
    pub(super) fn of(attributes: &Attributes) -> Self {
        match attributes.usage {
            Some(usage) => Self { files: usage.files, bytes: usage.bytes },
            None => Self { files: 1, bytes: attributes.length.get() },
        }
    }
}

impl std::iter::Sum for Doomed {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self { files: sum.files + part.files, bytes: sum.bytes + part.bytes })
    }
}

pub(crate) async fn run(client: &Client, args: RmArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let mut doomed = Vec::new();
    for path in &args.paths {
        match remote::expand(client, path).await {
            Ok(found) => doomed.extend(found),
            Err(_) if args.force && remote::stat_if_there(client, &path.path).await?.is_none() => {}
            Err(failure) => failures.add(failure)?,
        }
    }
    let mut removable = Vec::new();
    for found in doomed {
        match refusal(&found, args.recursive) {
            Some(reason) => failures.add(Failure::Failed(format!("{}: {reason}", found.path)))?,
            None => removable.push(found),
        }
    }
    let for_good = args.skip_trash || client.defaults().trash.is_none();
    if for_good && !args.yes {
        confirm(removable.iter().map(|found| Doomed::of(&found.attributes)).sum())?;
    }
    for found in removable {
        let removed = match args.skip_trash {
            true => client.delete(&found.path, args.recursive).await,
            false => client.trash(&found.path, args.recursive).await.map(drop),
        };
        match removed {
            Err(error) if args.force && remote::is_absent(&error) => {}
            Err(error) => failures.add(error.into())?,
            Ok(()) => {}
        }
    }
    failures.result()
}

fn refusal(found: &Found, recursive: bool) -> Option<&'static str> {
    match (found.path.is_root(), found.attributes.is_directory()) {
        (true, _) => Some("the top directory cannot be removed (to empty it: ashlar fs rm -r '/*')"),
        (false, true) if !recursive => Some("is a directory (use -r to remove it and all that is in it)"),
        _ => None,
    }
}

/// Asks before much is removed.
pub(super) fn confirm(Doomed { files, bytes }: Doomed) -> Result<(), Failure> {
    if files <= ASK_ABOVE {
        return Ok(());
    }
    let what = format!("{} ({})", count(files, "file", "files"), ByteSize::new(bytes).human());
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Failed(format!("this would remove {what} for good; add --yes to do it")));
    }
    ask(&format!("ashlar: remove {what} for good? [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim().to_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(Failure::Failed("nothing was removed".to_owned())),
    }
}

#[expect(clippy::print_stderr, reason = "a question to a person")]
fn ask(question: &str) {
    eprint!("{question}");
}
