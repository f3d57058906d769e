//! `ashlar fs put`

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use client::{AttrChange, Client, CreateOptions, Durability, MkdirOptions};
use types::{ByteSize, Path};

use super::Failures;
use super::destination::{Placement, Wanted};
use super::local::{self, Entry, Survey};
use super::parallel::Crew;
use super::remote::{self, RemotePath};
use super::upload::{modified, upload, upload_stdin};
use crate::exit::{Failure, advise};
use crate::progress::Progress;

#[derive(Debug, clap::Args)]
pub(crate) struct PutArgs {
    /// Local files or directories; - is the standard input
    #[arg(required = true)]
    sources: Vec<PathBuf>,
    /// The new name in the cluster, or a directory there to copy into
    #[arg(value_parser = remote::argument())]
    destination: RemotePath,
    /// Copy directories and all that is in them, many files at a time
    #[arg(short, long)]
    recursive: bool,
    /// Keep mode, owner and time of modification
    #[arg(short, long)]
    preserve: bool,
    /// Replace files that are there
    #[arg(short, long)]
    force: bool,
    /// Leave out symbolic links, pipes, sockets and devices, which cannot be stored yet
    #[arg(long)]
    skip_special: bool,
    /// Replicas of each block [default: what the cluster says]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..))]
    replication: Option<u8>,
    /// The longest block [default: what the cluster says]
    #[arg(long, value_name = "SIZE")]
    block_size: Option<ByteSize>,
    /// When a file counts as stored: memory, close or always [default: what the cluster says]
    #[arg(long, value_name = "LEVEL")]
    durability: Option<Durability>,
}

impl PutArgs {
    fn options(&self) -> CreateOptions {
        CreateOptions {
            overwrite: self.force,
            replication: self.replication,
            block_size: self.block_size,
            durability: self.durability,
            ..CreateOptions::default()
        }
    }
}

/// A source and where it goes.
struct Copy {
    from: PathBuf,
    to: Path,
    tree: bool,
    /// Of a file, where it is known.
    length: u64,
}

pub(crate) async fn run(client: &Client, args: PutArgs) -> Result<(), Failure> {
    let wanted = super::mv::wanted(client, &args.destination, args.sources.len() > 1).await?;
    let mut failures = Failures::default();
    let mut copies = Vec::new();
    for source in &args.sources {
        match plan(source, &args, wanted) {
            Ok(copy) => copies.push(copy),
            Err(failure) => failures.add(failure)?,
        }
    }
    let survey = survey(&copies).await;
    if survey.special > 0 && !args.skip_special {
        return Err(refuse_special(&survey));
    }
    let total = (copies.iter().all(|copy| copy.from.as_os_str() != "-")).then_some((survey.files, survey.bytes));
    let progress = Progress::new("stored", total);
    let planned = failures.count();
    let mut crew = Crew::new(Failures::shown_on(&progress));
    let trees = copies.iter().any(|copy| copy.tree);
    let copied = copy_all(client, copies, &args, &progress, &mut crew).await;
    let copied = match copied {
        Ok(()) => crew.finish().await,
        Err(failure) => Err(failure),
    };
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

fn plan(source: &PathBuf, args: &PutArgs, wanted: Wanted) -> Result<Copy, Failure> {
    let to = &args.destination.path;
    let place = |directory: bool| wanted.place(directory).map_err(|reason| Failure::Failed(format!("{to}: {reason}")));
    if source.as_os_str() == "-" {
        return match place(false)? {
            Placement::Itself => Ok(Copy { from: source.clone(), to: to.clone(), tree: false, length: 0 }),
            Placement::Below => {
                Err(Failure::Failed(format!("{to}: is a directory; name the file that the standard input goes to")))
            }
        };
    }
    let metadata = std::fs::metadata(source).map_err(|error| Failure::local(source, &error))?;
    let tree = metadata.is_dir();
    if tree && !args.recursive {
        return Err(Failure::Failed(format!("{}: is a directory (use -r to copy it)", source.display())));
    }
    let to = match (place(tree)?, local::name_of(source)) {
        (Placement::Below, Some(name)) => {
            to.join(name).map_err(|error| Failure::Failed(format!("{}: {error}", source.display())))?
        }
        // The content of `.` or `/` goes into the directory itself.
        (Placement::Below, None) | (Placement::Itself, _) => to.clone(),
    };
    Ok(Copy { from: source.clone(), to, tree, length: metadata.len() })
}

/// Counts everything first: for the progress, and to refuse what cannot be stored before anything is.
async fn survey(copies: &[Copy]) -> Survey {
    let sources: Vec<_> = copies.iter().map(|copy| copy.from.clone()).collect();
    let counted = tokio::task::spawn_blocking(move || {
        let mut survey = Survey::default();
        for source in sources.iter().filter(|source| source.as_os_str() != "-") {
            match std::fs::metadata(source) {
                Ok(metadata) if metadata.is_dir() => survey.add(Survey::of(source)),
                Ok(metadata) => survey.add(Survey { files: 1, bytes: metadata.len(), ..Survey::default() }),
                // Reported when it is copied.
                Err(_) => {}
            }
        }
        survey
    });
    counted.await.expect("counting files does not panic")
}

fn refuse_special(survey: &Survey) -> Failure {
    for (path, what) in &survey.named {
        crate::exit::complain(&format!("{}: is a {what}", path.display()));
    }
    let more = survey.special - survey.named.len() as u64;
    let more = if more > 0 { format!(" ({more} more of the kind)") } else { String::new() };
    Failure::Failed(format!(
        "only regular files and directories can be stored yet{more}; nothing was copied; add --skip-special to leave \
         the others out"
    ))
}

async fn copy_all(
    client: &Client,
    copies: Vec<Copy>,
    args: &PutArgs,
    progress: &Progress,
    crew: &mut Crew,
) -> Result<(), Failure> {
    for Copy { from, to, tree, length } in copies {
        if tree {
            copy_tree(client, from, to, args, progress, crew).await?;
        } else if from.as_os_str() == "-" {
            if let Err(failure) = upload_stdin(client, &to, args.options(), progress).await {
                crew.failed(failure)?;
            }
        } else {
            start_file(client, File { from, to, length }, args.options(), args, progress, crew).await?;
        }
    }
    Ok(())
}

struct File {
    from: PathBuf,
    to: Path,
    length: u64,
}

async fn start_file(
    client: &Client,
    File { from, to, length }: File,
    options: CreateOptions,
    args: &PutArgs,
    progress: &Progress,
    crew: &mut Crew,
) -> Result<(), Failure> {
    let (client, progress, preserve) = (client.clone(), progress.clone(), args.preserve);
    crew.start(length, async move { upload(&client, from, &to, options, preserve, &progress).await }).await
}

async fn copy_tree(
    client: &Client,
    from: PathBuf,
    top: Path,
    args: &PutArgs,
    progress: &Progress,
    crew: &mut Crew,
) -> Result<(), Failure> {
    if let Err(failure) = make_top(client, &top).await {
        return crew.failed(failure);
    }
    let mut directories = Vec::new();
    let mut entries = local::entries(from);
    while let Some(entry) = entries.recv().await {
        match entry {
            Entry::Directory { below, metadata } => {
                let path = local::join(&top, &below)?;
                if !below.is_root() {
                    let (client, path) = (client.clone(), path.clone());
                    crew.start(0, async move { make_directory(&client, &path).await }).await?;
                }
                if args.preserve {
                    directories.push((path, metadata));
                }
            }
            Entry::File { below, path, length } => {
                // Files may overtake the making of their directory, hence `parents`.
                let options = CreateOptions { parents: true, ..args.options() };
                let file = File { from: path, to: local::join(&top, &below)?, length };
                start_file(client, file, options, args, progress, crew).await?;
            }
            Entry::Special { path, what } => {
                progress.suspend(|| crate::exit::complain(&format!("{}: skipped: is a {what}", path.display())));
            }
            Entry::Failed(failure) => crew.failed(failure)?,
        }
    }
    // What is put into a directory changes its time: the attributes come last.
    crew.drain().await?;
    for (path, metadata) in directories {
        let client = client.clone();
        crew.start(0, async move { preserve_directory(&client, &path, &metadata).await }).await?;
    }
    Ok(())
}

/// Makes the top of a tree; its parent must be there. An existing directory is filled.
async fn make_top(client: &Client, path: &Path) -> Result<(), Failure> {
    match remote::stat_if_there(client, path).await? {
        Some(there) if there.is_directory() => Ok(()),
        Some(_) => Err(Failure::Failed(format!("{path}: a file is in the way of the directory"))),
        None => {
            let made = client.mkdir(path, MkdirOptions::default()).await;
            let advice = [(types::Code::NotFound, "make the directory first, with mkdir -p")];
            made.map(|_| ()).map_err(|error| advise(&error, &advice))
        }
    }
}

async fn make_directory(client: &Client, path: &Path) -> Result<(), Failure> {
    client.mkdir(path, MkdirOptions { parents: true, ..MkdirOptions::default() }).await?;
    Ok(())
}

async fn preserve_directory(client: &Client, path: &Path, metadata: &Metadata) -> Result<(), Failure> {
    let change = AttrChange {
        mode: Some(metadata.mode() & 0o7777),
        uid: Some(metadata.uid()),
        gid: Some(metadata.gid()),
        mtime: Some(modified(metadata)),
        ..AttrChange::default()
    };
    match client.set_attr(path, change).await {
        // Only root gives files away; everything else of them is kept all the same.
        Err(error) if error.code() == types::Code::NotPermitted => {
            client.set_attr(path, AttrChange { uid: None, gid: None, ..change }).await?;
        }
        set => set.map(|_| ())?,
    }
    Ok(())
}
