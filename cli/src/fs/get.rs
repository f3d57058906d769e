//! `ashlar fs get`

use std::path::PathBuf;

use client::{Attributes, Client};

use super::Failures;
use super::destination::{Existing, Placement, Wanted};
use super::download::{DownloadOptions, download, preserve, to_stdout};
use super::local::local_name;
use super::parallel::Crew;
use super::remote::{self, Found, RemotePath};
use crate::exit::Failure;
use crate::progress::Progress;

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// Files or directories of the cluster
    #[arg(required = true, value_parser = remote::argument())]
    sources: Vec<RemotePath>,
    /// The new local name, or a directory to copy into; - is the standard output
    destination: PathBuf,
    /// Copy directories and all that is in them, many files at a time
    #[arg(short, long)]
    recursive: bool,
    /// Keep mode and time of modification, and the owner if run by root
    #[arg(short, long)]
    preserve: bool,
    /// Replace files that are there
    #[arg(short, long)]
    force: bool,
}

impl GetArgs {
    const fn options(&self) -> DownloadOptions {
        DownloadOptions { overwrite: self.force, preserve: self.preserve }
    }
}

struct Copy {
    from: Found,
    to: PathBuf,
}

pub(crate) async fn run(client: &Client, args: GetArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let sources = remote::expand_all(client, &args.sources, &mut failures).await?;
    if args.destination.as_os_str() == "-" {
        return print(client, &sources, failures).await;
    }
    let wanted = wanted(&args.destination, args.sources.len() > 1 || sources.len() > 1)?;
    let mut copies = Vec::new();
    for from in sources {
        match place(&from, &args, wanted) {
            Ok(to) => copies.push(Copy { from, to }),
            Err(failure) => failures.add(failure)?,
        }
    }
    let planned = failures.count();
    let progress = Progress::new("fetched", Some(total(&copies)));
    let trees = copies.iter().any(|copy| copy.from.attributes.is_directory());
    let copied = copy_all(client, copies, &args, &progress).await;
    if trees {
        progress.summary()
    } else {
        progress.clear()
    }
    match copied?.count() + planned {
        0 => Ok(()),
        _ => Err(Failure::Reported),
    }
}

async fn print(client: &Client, sources: &[Found], mut failures: Failures) -> Result<(), Failure> {
    for found in sources {
        if found.attributes.is_directory() {
            failures.add(Failure::Failed(format!("{}: is a directory", found.path)))?;
        } else if let Err(failure) = to_stdout(client, &found.path).await {
            failures.add(failure)?;
        }
    }
    failures.result()
}

fn wanted(to: &std::path::Path, several_sources: bool) -> Result<Wanted, Failure> {
    let existing = match std::fs::metadata(to) {
        Ok(metadata) if metadata.is_dir() => Existing::Directory,
        Ok(_) => Existing::File,
        Err(_) => Existing::Nothing,
    };
    let trailing_slash = to.as_os_str().as_encoded_bytes().ends_with(b"/");
    let wanted = Wanted { existing, trailing_slash, several_sources };
    wanted.check().map_err(|reason| Failure::Failed(format!("{}: {reason}", to.display())))
}

fn place(from: &Found, args: &GetArgs, wanted: Wanted) -> Result<PathBuf, Failure> {
    let directory = from.attributes.is_directory();
    if directory && !args.recursive {
        return Err(Failure::Failed(format!("{}: is a directory (use -r to copy it)", from.path)));
    }
    let to = &args.destination;
    match wanted.place(directory) {
        Ok(Placement::Itself) => Ok(to.clone()),
        Ok(Placement::Below) => Ok(from.path.last().map_or_else(|| to.clone(), |name| to.join(local_name(name)))),
        Err(reason) => Err(Failure::Failed(format!("{}: {reason}", to.display()))),
    }
}

/// Files and bytes to come. The cluster keeps the sums of a directory with it.
fn total(copies: &[Copy]) -> (u64, u64) {
    copies.iter().fold((0, 0), |(files, bytes), Copy { from, .. }| match from.attributes.usage {
        Some(usage) => (files + usage.files, bytes + usage.bytes),
        None => (files + 1, bytes + from.attributes.length.get()),
    })
}

async fn copy_all(
    client: &Client,
    copies: Vec<Copy>,
    args: &GetArgs,
    progress: &Progress,
) -> Result<Failures, Failure> {
    let mut crew = Crew::new(Failures::shown_on(progress));
    let mut directories = Vec::new();
    for Copy { from, to } in copies {
        if from.attributes.is_directory() {
            copy_tree(client, from, to, args, progress, &mut crew, &mut directories).await?;
        } else {
            start_file(client, from, to, args, progress, &mut crew).await?;
        }
    }
    // What is put into a directory changes its time: the attributes come last, those of the deepest first.
    crew.drain().await?;
    for (path, attributes) in directories.iter().rev() {
        let kept = std::fs::File::open(path).and_then(|file| preserve(&file, attributes));
        if let Err(error) = kept {
            crew.failed(Failure::local(path, &error))?;
        }
    }
    crew.finish().await
}

async fn start_file(
    client: &Client,
    from: Found,
    to: PathBuf,
    args: &GetArgs,
    progress: &Progress,
    crew: &mut Crew,
) -> Result<(), Failure> {
    let (client, progress, options) = (client.clone(), progress.clone(), args.options());
    let length = from.attributes.length.get();
    crew.start(length, async move { download(&client, &from.path, to, options, &progress).await }).await
}

async fn copy_tree(
    client: &Client,
    from: Found,
    to: PathBuf,
    args: &GetArgs,
    progress: &Progress,
    crew: &mut Crew,
    directories: &mut Vec<(PathBuf, Attributes)>,
) -> Result<(), Failure> {
    let mut left = vec![(from, to)];
    while let Some((Found { path, attributes, .. }, local)) = left.pop() {
        if let Err(failure) = make_directory(&local) {
            crew.failed(failure)?;
            continue;
        }
        if args.preserve {
            directories.push((local.clone(), attributes));
        }
        let mut listing = match client.list(&path).await {
            Ok(listing) => listing,
            Err(error) => {
                crew.failed(error.into())?;
                continue;
            }
        };
        while let Some(page) = listing.next_page().await? {
            for entry in page {
                let to = local.join(local_name(&entry.name));
                let path = path.join(entry.name).map_err(|error| Failure::Failed(format!("{path}: {error}")))?;
                let found = Found::new(path, entry.attributes);
                if found.attributes.is_directory() {
                    left.push((found, to));
                } else {
                    start_file(client, found, to, args, progress, crew).await?;
                }
            }
        }
    }
    Ok(())
}

/// Makes a local directory; one that is there is filled.
fn make_directory(path: &std::path::Path) -> Result<(), Failure> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.map_err(|error| Failure::local(path, &error)),
    }
}
