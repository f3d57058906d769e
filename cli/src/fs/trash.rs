//! `ashlar fs trash`

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use client::{Client, TrashItem};
use serde::Serialize;
use types::{Path, TrashId};

use super::Failures;
use super::object::{uid, user};
use super::remote::{self, RemotePath};
use super::rm::{self, Doomed};
use crate::exit::Failure;
use crate::output::{Align, JsonArray, Output, Sizes, Table, local_minutes, rfc3339, shown};

#[derive(Debug, clap::Args)]
pub(crate) struct TrashArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List what was removed and can be had back
    Ls(LsArgs),
    /// Put removed files and directories back
    #[command(after_help = "A path means what was removed from there last. Nothing is replaced: what is there stays.")]
    Restore(RestoreArgs),
    /// Remove for good what is in the trash
    Empty(EmptyArgs),
}

#[derive(Debug, clap::Args)]
struct Owner {
    /// The trash of this user, a name of this machine or a number; that of others is for the superuser
    #[arg(long, value_parser = uid)]
    user: Option<u32>,
}

impl Owner {
    fn of(&self, client: &Client) -> u32 {
        self.user.unwrap_or_else(|| client.uid())
    }
}

#[derive(Debug, clap::Args)]
struct LsArgs {
    #[command(flatten)]
    owner: Owner,
    /// The trash of all users
    #[arg(long, conflicts_with = "user")]
    all: bool,
    #[command(flatten)]
    form: Form,
}

/// How items are shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Form {
    /// Exact sizes instead of KiB, MiB, GiB
    #[arg(long)]
    bytes: bool,
    /// A JSON array, one object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct RestoreArgs {
    #[command(flatten)]
    owner: Owner,
    #[command(flatten)]
    what: Restored,
}

/// What to put back, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Restored {
    /// What to put back: paths that things were removed from, or numbers as `trash ls` shows them
    #[arg(required = true, value_name = "PATH|ITEM", value_parser = wanted())]
    items: Vec<Wanted>,
    /// Put it here instead, and not where it was
    #[arg(long, value_name = "PATH", value_parser = remote::argument())]
    to: Option<RemotePath>,
    /// Make directories on the way that are not there
    #[arg(short, long)]
    parents: bool,
}

#[derive(Debug, clap::Args)]
struct EmptyArgs {
    #[command(flatten)]
    owner: Owner,
    /// Only these: paths that things were removed from, or numbers as `trash ls` shows them
    #[arg(value_name = "PATH|ITEM", value_parser = wanted())]
    items: Vec<Wanted>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// How an argument names an item.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Item(TrashId),
    Path(Path),
}

fn wanted() -> impl clap::builder::TypedValueParser<Value = Wanted> {
    use clap::builder::TypedValueParser as _;
    clap::builder::OsStringValueParser::new().try_map(parse)
}

fn parse(text: OsString) -> Result<Wanted, String> {
    if text.as_bytes().starts_with(b"/") {
        return RemotePath::parse(text.as_bytes())
            .map(|path| Wanted::Path(path.path))
            .map_err(|error| error.to_string());
    }
    let number = text.to_str().and_then(|text| text.parse().ok().filter(|number| *number > 0));
    number.map(|number: u64| Wanted::Item(TrashId::new(number))).ok_or_else(|| {
        "neither a path, which starts with a slash, nor a number that `ashlar fs trash ls` shows".to_owned()
    })
}

pub(crate) async fn run(client: &Client, args: TrashArgs) -> Result<(), Failure> {
    match args.command {
        Command::Ls(args) => list(client, (!args.all).then(|| args.owner.of(client)), &args.form).await,
        Command::Restore(args) => restore(client, args.owner.of(client), args.what).await,
        Command::Empty(args) => empty(client, args).await,
    }
}

/// The keys are an interface.
#[derive(Debug, Serialize)]
struct Line {
    item: u64,
    uid: u32,
    path: String,
    removed: String,
    expires: String,
    kind: client::Kind,
    files: u64,
    bytes: u64,
    raw_bytes: u64,
}

impl Line {
    fn new(item: &TrashItem) -> Self {
        let Doomed { files, bytes } = Doomed::of(&item.attributes);
        let attributes = &item.attributes;
        let raw = attributes.length.get() * u64::from(attributes.replication);
        Self {
            item: item.item.get(),
            uid: item.uid,
            path: item.from.to_string(),
            removed: rfc3339(item.removed),
            expires: rfc3339(item.due),
            kind: attributes.kind,
            files,
            bytes,
            raw_bytes: attributes.usage.map_or(raw, |usage| usage.raw_bytes),
        }
    }
}

/// Shows what a user has in the trash, or all have.
pub(crate) async fn list(client: &Client, uid: Option<u32>, args: &Form) -> Result<(), Failure> {
    let mut out = Output::stdout();
    let sizes = Sizes::exact(args.bytes);
    let mut json = JsonArray::default();
    let mut table = Table::new(&[Align::Right, Align::Left, Align::Left, Align::Left, Align::Right, Align::Left]);
    if out.is_terminal() {
        table.row(["ITEM", "USER", "REMOVED", "EXPIRES", "SIZE", "PATH"]);
    }
    let (mut page, mut more) = client.trash_page(uid, None).await?;
    loop {
        for item in &page {
            if args.json {
                json.push(&mut out, &Line::new(item))?;
                continue;
            }
            let path = shown(item.from.to_string().as_bytes(), out.is_terminal());
            table.row([
                item.item.get().to_string(),
                user(item.uid),
                local_minutes(item.removed),
                local_minutes(item.due),
                sizes.show(Doomed::of(&item.attributes).bytes),
                String::from_utf8_lossy(&path).into_owned(),
            ]);
        }
        if !more {
            break;
        }
        (page, more) = client.trash_page(uid, page.last()).await?;
    }
    if args.json {
        json.end(&mut out)?
    } else {
        table.print(&mut out)?
    }
    out.flush()
}

/// All that a user has in the trash.
async fn all(client: &Client, uid: u32) -> Result<Vec<TrashItem>, Failure> {
    let (mut items, mut more) = client.trash_page(Some(uid), None).await?;
    while more {
        let (mut page, follow) = client.trash_page(Some(uid), items.last()).await?;
        items.append(&mut page);
        more = follow;
    }
    Ok(items)
}

/// The item that is meant: of several that were at one path, the one removed last.
fn find(items: &[TrashItem], wanted: &Wanted) -> Result<TrashId, Failure> {
    match wanted {
        Wanted::Item(item) => Ok(*item),
        Wanted::Path(path) => {
            let found = items.iter().rfind(|item| item.from == path.into());
            let missing = || {
                let text =
                    format!("{path}: nothing that was removed from there is in the trash; see ashlar fs trash ls");
                Failure::Failed(text)
            };
            found.map(|item| item.item).ok_or_else(missing)
        }
    }
}

/// Puts back what a user has in the trash.
pub(crate) async fn restore(client: &Client, uid: u32, args: Restored) -> Result<(), Failure> {
    if args.to.is_some() && args.items.len() > 1 {
        return Err(Failure::Usage("--to takes one item; restore the others apart".to_owned()));
    }
    let by_path = args.items.iter().any(|wanted| matches!(wanted, Wanted::Path(_)));
    let items = if by_path { all(client, uid).await? } else { Vec::new() };
    let to = args.to.map(|to| to.path.into());
    let mut failures = Failures::default();
    for wanted in &args.items {
        let item = match find(&items, wanted) {
            Ok(item) => item,
            Err(failure) => {
                failures.add(failure)?;
                continue;
            }
        };
        if let Err(error) = client.restore_trash(uid, item, to.clone(), args.parents).await {
            failures.add(error.into())?;
        }
    }
    failures.result()
}

async fn empty(client: &Client, args: EmptyArgs) -> Result<(), Failure> {
    let uid = args.owner.of(client);
    let items = all(client, uid).await?;
    let mut failures = Failures::default();
    let mut chosen = Vec::new();
    for wanted in &args.items {
        match find(&items, wanted) {
            Ok(item) => chosen.push(item),
            Err(failure) => failures.add(failure)?,
        }
    }
    if !args.yes {
        let doomed = items.iter().filter(|item| args.items.is_empty() || chosen.contains(&item.item));
        rm::confirm(doomed.map(|item| Doomed::of(&item.attributes)).sum())?;
    }
    if args.items.is_empty() {
        client.empty_trash(uid, None).await?;
    }
    for item in chosen {
        if let Err(error) = client.empty_trash(uid, Some(item)).await {
            failures.add(error.into())?;
        }
    }
    failures.result()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_named_by_path_or_number() {
        let path = Path::parse(b"/a/b").expect("a path");
        assert_eq!(parse("/a//b".into()), Ok(Wanted::Path(path)));
        assert_eq!(parse("17".into()), Ok(Wanted::Item(TrashId::new(17))));
        for wrong in ["", "0", "-1", "a/b", "99999999999999999999999", "/../x"] {
            assert!(parse(wrong.into()).is_err(), "{wrong:?}");
        }
    }
}
