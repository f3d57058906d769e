//! `ashlar fs ls`

use client::{Attributes, Client, Kind};
use types::Path;

use super::Failures;
use super::object::{Object, group, mode_text, user};
use super::remote::{self, Found, RemotePath};
use crate::exit::Failure;
use crate::output::{Align, JsonArray, Output, Sizes, Table, local_minutes, shown};

#[derive(Debug, clap::Args)]
pub(crate) struct LsArgs {
    /// Directories or files
    #[arg(default_value = "/", value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// Show mode, replicas, owner, group, size and time too
    #[arg(short, long)]
    long: bool,
    /// Go down into directories
    #[arg(short = 'R', long)]
    recursive: bool,
    /// List directories themselves, not what is in them
    #[arg(short, long)]
    directory: bool,
    /// Exact sizes instead of KiB, MiB, GiB
    #[arg(long)]
    bytes: bool,
    /// A JSON array, one object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(client: &Client, args: LsArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let found = match args.long || args.directory {
        true => remote::expand_as_named(client, &args.paths, &mut failures).await?,
        false => remote::expand_all(client, &args.paths, &mut failures).await?,
    };
    let headings = found.len() > 1 || args.recursive;
    let mut lister = Lister { client, args, out: Output::stdout(), json: JsonArray::default(), begun: false };

    let (directories, files): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|found| found.attributes.is_directory() && !lister.args.directory);
    lister.named(&files)?;
    for directory in directories {
        if let Err(failure) = lister.directory(directory.path, headings, &mut failures).await {
            lister.out.flush()?;
            failures.add(failure)?;
        }
    }
    let Lister { args, mut out, json, .. } = lister;
    if args.json {
        json.end(&mut out)?;
    }
    out.flush()?;
    failures.result()
}

struct Lister<'c> {
    client: &'c Client,
    args: LsArgs,
    out: Output,
    json: JsonArray,
    /// Something was printed, so that a heading needs an empty line before it.
    begun: bool,
}

impl Lister<'_> {
    /// What the arguments name themselves, by their whole paths.
    fn named(&mut self, found: &[Found]) -> Result<(), Failure> {
        let rows =
            found.iter().map(|found| (found.path.to_bytes(), &found.path, &found.attributes)).collect::<Vec<_>>();
        self.print(&rows)
    }

    async fn directory(&mut self, top: Path, headings: bool, failures: &mut Failures) -> Result<(), Failure> {
        // In reverse order: the next directory is at the end.
        let mut left = vec![top.clone()];
        while let Some(path) = left.pop() {
            let below = match self.one_directory(&path, headings).await {
                Ok(below) => below,
                // The top was named; what is missing below it has been removed meanwhile.
                Err(ListError::Client(error)) if path != top && remote::is_absent(&error) => continue,
                Err(ListError::Client(error)) => {
                    self.out.flush()?;
                    failures.add(error.into())?;
                    continue;
                }
                Err(ListError::Ours(failure)) => return Err(failure),
            };
            if self.args.recursive {
                left.extend(below.into_iter().rev());
            }
        }
        Ok(())
    }

    /// Prints one directory page by page; yields the directories in it.
    async fn one_directory(&mut self, path: &Path, heading: bool) -> Result<Vec<Path>, ListError> {
        let mut listing = self.client.list(path).await?;
        if heading && !self.args.json {
            if self.begun {
                self.out.line("")?;
            }
            let mut line = shown(&path.to_bytes(), self.out.is_terminal());
            line.push(b':');
            self.out.line(line)?;
            self.begun = true;
        }
        let mut below = Vec::new();
        while let Some(page) = listing.next_page().await? {
            let paths: Vec<Path> = page
                .iter()
                .map(|entry| path.join(entry.name.clone()))
                .collect::<Result<_, _>>()
                .map_err(|error| Failure::Failed(format!("{path}: {error}")))?;
            let rows = page.iter().zip(&paths).map(|(entry, path)| {
                let mut name = entry.name.as_bytes().to_vec();
                if entry.attributes.is_directory() {
                    name.push(b'/');
                }
                (name, path, &entry.attributes)
            });
            self.print(&rows.collect::<Vec<_>>())?;
            let directories = page.iter().zip(paths).filter(|(entry, _)| entry.attributes.is_directory());
            if self.args.recursive {
                below.extend(directories.map(|(_, path)| path));
            }
        }
        Ok(below)
    }

    fn print(&mut self, rows: &[(Vec<u8>, &Path, &Attributes)]) -> Result<(), Failure> {
        if self.args.json {
            return rows
                .iter()
                .try_for_each(|(_, path, attributes)| self.json.push(&mut self.out, &Object::new(path, attributes)));
        }
        self.begun |= !rows.is_empty();
        let terminal = self.out.is_terminal();
        if !self.args.long {
            return rows.iter().try_for_each(|(name, ..)| self.out.line(shown(name, terminal)));
        }
        let sizes = Sizes::exact(self.args.bytes);
        let mut table = Table::new(&[Align::Left, Align::Right, Align::Left, Align::Left, Align::Right, Align::Left]);
        for (_, _, attributes) in rows {
            table.row(long_cells(attributes, sizes));
        }
        for (line, (name, _, attributes)) in table.lines().into_iter().zip(rows) {
            self.out.bytes(line)?;
            self.out.bytes("  ")?;
            match &attributes.target {
                Some(target) => {
                    self.out.bytes(shown(name, terminal))?;
                    self.out.bytes(" -> ")?;
                    self.out.line(shown(target, terminal))?;
                }
                None => self.out.line(shown(name, terminal))?,
            }
        }
        Ok(())
    }
}

/// Everything of a long line but the name, which need not be text.
fn long_cells(attributes: &Attributes, sizes: Sizes) -> [String; 6] {
    let directory = attributes.is_directory();
    [
        // As with coreutils: a plus says that there is more to know.
        mode_text(attributes.kind, attributes.mode)
            + if attributes.access_acl || attributes.default_acl { "+" } else { "" },
        if attributes.kind == Kind::File { attributes.replication.to_string() } else { "-".to_owned() },
        user(attributes.uid),
        group(attributes.gid),
        if directory { "-".to_owned() } else { sizes.show(attributes.length.get()) },
        local_minutes(attributes.mtime),
    ]
}

enum ListError {
    Client(client::Error),
    Ours(Failure),
}

impl From<client::Error> for ListError {
    fn from(error: client::Error) -> Self {
        Self::Client(error)
    }
}

impl From<Failure> for ListError {
    fn from(failure: Failure) -> Self {
        Self::Ours(failure)
    }
}
