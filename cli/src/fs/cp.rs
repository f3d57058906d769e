//! `ashlar fs cp`

use client::{AttrChange, Client, CreateOptions, MkdirOptions};
use types::Path;

use super::Failures;
use super::destination::Placement;
use super::parallel::Crew;
use super::remote::{self, Found, RemotePath};
use super::upload::{failed, fresh_mode};
use crate::exit::Failure;
use crate::progress::Progress;

#[derive(Debug, clap::Args)]
pub(crate) struct CpArgs {
    /// What to copy
    #[arg(required = true, value_parser = remote::argument())]
    sources: Vec<RemotePath>,
    /// The new name, or a directory to copy into
    #[arg(value_parser = remote::argument())]
    destination: RemotePath,
    /// Copy directories and all that is in them, many files at a time
    #[arg(short, long)]
    recursive: bool,
    /// Keep mode, access control lists, owner, time of modification and the number of replicas
    #[arg(short, long)]
    preserve: bool,
    /// Replace files that are there
    #[arg(short, long)]
    force: bool,
}

pub(crate) async fn run(client: &Client, args: CpArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let sources = remote::expand_all(client, &args.sources, &mut failures).await?;
    let wanted = super::mv::wanted(client, &args.destination, args.sources.len() > 1 || sources.len() > 1).await?;
    let mut copies = Vec::new();
    for from in sources {
        let placed = wanted.place(from.attributes.is_directory());
        match destination(&from, &args, placed) {
            Ok(to) => copies.push((from, to)),
            Err(line) => failures.add(Failure::Failed(line))?,
        }
    }
    let total = copies.iter().fold((0, 0), |(files, bytes), (Found { attributes, .. }, _)| match attributes.usage {
        Some(usage) => (files + usage.files, bytes + usage.bytes),
        None => (files + 1, bytes + attributes.length.get()),
    });
    let planned = failures.count();
    let progress = Progress::new("copied", Some(total));
    let trees = copies.iter().any(|(from, _)| from.attributes.is_directory());
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

/// Where a source goes, or why it cannot.
fn destination(from: &Found, args: &CpArgs, placed: Result<Placement, &'static str>) -> Result<Path, String> {
    let directory = from.attributes.is_directory();
    if directory && !args.recursive {
        return Err(format!("{}: is a directory (use -r to copy it)", from.path));
    }
    let to = &args.destination.path;
    let to = match (placed.map_err(|reason| format!("{to}: {reason}"))?, from.path.last()) {
        (Placement::Below, Some(name)) => to.join(name.clone()).map_err(|error| format!("{to}: {error}"))?,
        (Placement::Below, None) | (Placement::Itself, _) => to.clone(),
    };
    if from.path == to {
        return Err(format!("{to}: is the source and the destination"));
    }
    if directory && to.starts_with(&from.path) {
        return Err(format!("{}: a directory cannot be copied into itself", from.path));
    }
    Ok(to)
}

async fn copy_all(
    client: &Client,
    copies: Vec<(Found, Path)>,
    args: &CpArgs,
    progress: &Progress,
) -> Result<Failures, Failure> {
    let mut crew = Crew::new(Failures::shown_on(progress));
    let mut directories = Vec::new();
    for (from, to) in copies {
        // In reverse order: the next directory is at the end.
        let mut left = vec![(from, to)];
        while let Some((from, to)) = left.pop() {
            if !from.attributes.is_directory() {
                start_file(client, from, to, args, progress, &mut crew).await?;
                continue;
            }
            if let Err(failure) = make_directory(client, &from, &to).await {
                crew.failed(failure)?;
                continue;
            }
            let mut listing = client.list(&from.path).await?;
            while let Some(page) = listing.next_page().await? {
                for entry in page {
                    let long = |error| Failure::Failed(format!("{to}/{}: {error}", entry.name));
                    let into = to.join(entry.name.clone()).map_err(long)?;
                    let path = from.path.join(entry.name.clone()).map_err(long)?;
                    let found = Found::new(path, entry.attributes);
                    if found.attributes.is_directory() {
                        left.push((found, into));
                    } else {
                        start_file(client, found, into, args, progress, &mut crew).await?;
                    }
                }
            }
            if args.preserve {
                directories.push((from, to));
            }
        }
    }
    // What is put into a directory changes its time: the attributes come last.
    crew.drain().await?;
    for (from, to) in directories {
        let client = client.clone();
        crew.start(0, async move { preserve_directory(&client, &from, &to).await }).await?;
    }
    crew.finish().await
}

async fn make_directory(client: &Client, from: &Found, to: &Path) -> Result<(), Failure> {
    match remote::stat_if_there(client, to).await? {
        Some(there) if there.is_directory() => return Ok(()),
        Some(_) => return Err(Failure::Failed(format!("{to}: a file is in the way of the directory"))),
        None => {}
    }
    let mode = from.attributes.mode & 0o777;
    client.mkdir(to, MkdirOptions { mode, ..MkdirOptions::default() }).await.map_err(|error| failed(&error, true))?;
    Ok(())
}

async fn preserve_directory(client: &Client, from: &Found, to: &Path) -> Result<(), Failure> {
    let attributes = &from.attributes;
    let change = AttrChange {
        mode: Some(attributes.mode),
        uid: Some(attributes.uid),
        gid: Some(attributes.gid),
        mtime: Some(attributes.mtime),
        ..AttrChange::default()
    };
    match client.set_attr(to, change).await {
        // Only root gives files away; everything else of them is kept all the same.
        Err(error) if error.code() == types::Code::NotPermitted => {
            client.set_attr(to, AttrChange { uid: None, gid: None, ..change }).await?;
        }
        set => set.map(|_| ())?,
    }
    copy_lists(client, from, to).await
}

/// Gives a copy the access control lists of its source; the mode that goes with them is set already.
async fn copy_lists(client: &Client, from: &Found, to: &Path) -> Result<(), Failure> {
    let there = client.lstat(to).await?;
    if from.attributes.access_acl || there.access_acl {
        client.set_acl(to, &client.acl(from.place()).await?).await?;
    }
    if from.attributes.default_acl || there.default_acl {
        client.set_default_acl(to, client.default_acl(from.place()).await?.as_ref()).await?;
    }
    Ok(())
}

async fn start_file(
    client: &Client,
    from: Found,
    to: Path,
    args: &CpArgs,
    progress: &Progress,
    crew: &mut Crew,
) -> Result<(), Failure> {
    let (client, progress) = (client.clone(), progress.clone());
    let (overwrite, preserve) = (args.force, args.preserve);
    let length = from.attributes.length.get();
    crew.start(length, async move { copy_file(&client, &from, &to, overwrite, preserve, &progress).await }).await
}

/// The copy shares the blocks of the source, and costs no byte.
async fn copy_file(
    client: &Client,
    from: &Found,
    to: &Path,
    overwrite: bool,
    preserve: bool,
    progress: &Progress,
) -> Result<(), Failure> {
    let attributes = &from.attributes;
    let mut options = CreateOptions {
        overwrite,
        mode: fresh_mode(attributes.mode),
        atomic: true,
        size_hint: Some(attributes.length.get()),
        ..CreateOptions::default()
    };
    if preserve {
        options.mode = attributes.mode;
        (options.uid, options.gid) = (Some(attributes.uid), Some(attributes.gid));
        options.mtime = Some(attributes.mtime);
        options.replication = Some(attributes.replication);
        options.block_size = Some(attributes.block_size);
    }
    // The block that a writer is at cannot be shared: then what is visible is copied.
    if attributes.writing {
        copy_bytes(client, &from.path, to, options, progress).await?;
    } else {
        let copied = client.copy(&from.path, to, options).await.map_err(|error| failed(&error, overwrite))?;
        progress.bytes(usize::try_from(copied.length.get()).unwrap_or(usize::MAX));
    }
    if preserve {
        copy_lists(client, from, to).await?;
    }
    progress.file_done();
    Ok(())
}

/// Reads and writes: the bytes pass through this machine, verified on the way.
async fn copy_bytes(
    client: &Client,
    from: &Path,
    to: &Path,
    options: CreateOptions,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut reader = client.open(from).await?;
    let overwrite = options.overwrite;
    let options = CreateOptions { size_hint: Some(reader.attributes().length.get()), ..options };
    let failed = |error: client::Error| failed(&error, overwrite);
    let mut writer = client.create(to, options).await.map_err(failed)?;
    loop {
        let copied = match reader.next_chunk().await {
            Ok(None) => break,
            Ok(Some(piece)) => {
                progress.bytes(piece.len());
                writer.write(piece).await.map_err(failed)
            }
            Err(error) => Err(error.into()),
        };
        if let Err(failure) = copied {
            // The file has no name: if even this fails, it goes with the session.
            if let Err(error) = writer.abort().await {
                tracing::debug!(%error, "an unfinished file was not given up in order");
            }
            return Err(failure);
        }
    }
    writer.close().await.map_err(failed)?;
    Ok(())
}
