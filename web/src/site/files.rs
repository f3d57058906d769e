//! `/files/PATH`: directories, and files with where their blocks are.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Redirect, Response};
use client::{Attributes, CheckedBlock, Client, Found, Kind, MkdirOptions, ReplicaPlace};
use serde::Deserialize;
use types::{Name, Path, count};

use super::Site;
use super::failure::Failure;
use super::page::{Frame, mode, moment, ok, shown, size};
use super::path::{decode, encode, encode_query};
use super::session::Session;

/// Blocks of one file on a page.
const BLOCKS: usize = 1000;

#[derive(Template)]
#[template(path = "directory.html")]
struct DirectoryPage {
    frame: Frame,
    here: Here,
    summary: String,
    entries: Vec<Entry>,
    /// Where the next page of names is.
    next: Option<String>,
    /// Not the first page.
    later: bool,
}

#[derive(Template)]
#[template(path = "file.html")]
struct FilePage {
    frame: Frame,
    here: Here,
    facts: Vec<(&'static str, String)>,
    download: Option<String>,
    blocks: Result<Vec<Block>, String>,
    /// Blocks that are not shown, if any.
    more_blocks: Option<String>,
}

/// A path, and the way to it.
struct Here {
    shown: String,
    /// For forms: the path as it stands in URLs.
    encoded: String,
    crumbs: Vec<(String, String)>,
}

struct Entry {
    name: String,
    href: String,
    kind: &'static str,
    is_directory: bool,
    size: String,
    owner: String,
    mode: String,
    modified: String,
}

struct Block {
    id: String,
    range: String,
    tone: &'static str,
    state: String,
    replicas: Vec<Replica>,
}

struct Replica {
    host: String,
    address: String,
    good: bool,
}

impl Here {
    fn of(path: &Path) -> Self {
        let mut crumbs = vec![("/".to_owned(), "/files/".to_owned())];
        let mut at = Path::root();
        for name in path.names() {
            // A part of a legal path is legal.
            let Ok(joined) = at.join(name.clone()) else { break };
            at = joined;
            crumbs.push((shown(name.as_bytes()), format!("/files/{}", encode(&at))));
        }
        Self { shown: shown(&path.to_bytes()), encoded: encode(path), crumbs }
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "link",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::CharDevice | Kind::BlockDevice => "device",
    }
}

impl Entry {
    fn of(directory: &Path, entry: &client::Entry) -> Self {
        let Attributes { kind: of_kind, length, uid, gid, mtime, .. } = entry.attributes;
        let is_directory = of_kind == Kind::Directory;
        let href = directory.join(entry.name.clone()).map(|path| format!("/files/{}", encode(&path)));
        Self {
            name: shown(entry.name.as_bytes()),
            // A name that makes the path too long cannot be asked for.
            href: href.unwrap_or_default(),
            kind: kind(of_kind),
            is_directory,
            size: match (is_directory, entry.attributes.usage) {
                (false, _) => size(length.get()),
                (true, Some(usage)) => count(usage.entries, "entry", "entries"),
                (true, None) => String::new(),
            },
            owner: format!("{uid}:{gid}"),
            mode: mode(entry.attributes.mode),
            modified: moment(mtime),
        }
    }
}

impl Block {
    fn of(block: &CheckedBlock) -> Self {
        let CheckedBlock { wanted, live, unreachable, .. } = *block;
        let short = live < wanted && !block.writing;
        let (tone, state) = match (block.writing, live, short) {
            (true, ..) => ("warn", "being written".to_owned()),
            (false, 0, _) => ("bad", "no good replica".to_owned()),
            (false, _, true) => ("warn", format!("{live} of {wanted} replicas")),
            (false, _, false) => ("good", count(u64::from(live), "replica", "replicas")),
        };
        let state = if unreachable > 0 { format!("{state}, {unreachable} on dead datanodes") } else { state };
        let replica = |good| {
            move |place: &ReplicaPlace| Replica { host: place.host.clone(), address: place.address.clone(), good }
        };
        let good = block.replicas.iter().map(replica(true));
        Self {
            id: block.block.to_string(),
            range: format!("{} at {}", size(block.length.get()), size(block.offset)),
            tone,
            state,
            replicas: good.chain(block.bad.iter().map(replica(false))).collect(),
        }
    }
}

/// What a request is about: the bytes behind the prefix of its URL, and where the names of a later page begin.
pub(super) struct Target {
    pub(super) path: Path,
    pub(super) after: Vec<u8>,
}

impl Target {
    pub(super) fn of(uri: &Uri, prefix: &str) -> Result<Self, Failure> {
        let rest = uri.path().strip_prefix(prefix).unwrap_or_default();
        let after =
            uri.query().into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("after="));
        Ok(Self { path: parse(rest)?, after: after.map(decode).unwrap_or_default() })
    }
}

/// A path as it stands in URLs and forms.
pub(super) fn parse(encoded: &str) -> Result<Path, Failure> {
    let bytes = [b"/", &decode(encoded)[..]].concat();
    Path::parse(&bytes).map_err(|error| Failure::new(StatusCode::BAD_REQUEST, format!("{}: {error}", shown(&bytes))))
}

impl Site {
    /// The user's own connection (invariant 2).
    pub(super) async fn client_of(&self, session: &Session) -> Result<Client, Failure> {
        Ok(self.superuser().await?.as_user(session.user.clone()))
    }

    /// The blocks of a file that the user may read, and how many more there are; or why they are not known.
    pub(super) async fn blocks(&self, client: &Client, path: &Path) -> Result<(Vec<CheckedBlock>, u64), Failure> {
        const READ: u32 = 4;
        client.access(path, READ).await?;
        let mut check = client.admin().fsck(path, true, false).await?;
        let (mut blocks, mut more) = (Vec::new(), 0);
        while let Some((findings, _)) = check.next().await? {
            for finding in findings {
                match finding.what {
                    Found::Block(block) if blocks.len() < BLOCKS => blocks.push(block),
                    Found::Block(_) => more += 1,
                    Found::Broken(_) => {}
                }
            }
        }
        Ok((blocks, more))
    }
}

pub(super) async fn root(state: State<Arc<Site>>, session: Session, uri: Uri) -> Response {
    page(state, session, uri).await
}

pub(super) async fn page(State(site): State<Arc<Site>>, session: Session, uri: Uri) -> Response {
    let page = async {
        let target = Target::of(&uri, "/files/")?;
        let client = site.client_of(&session).await?;
        let attributes = client.lstat(&target.path).await?;
        match attributes.is_directory() {
            true => directory(&client, &session, target, &attributes).await,
            false => file(&site, &client, &session, &target.path, &attributes).await,
        }
    };
    page.await.unwrap_or_else(|failure: Failure| failure.page(&session))
}

async fn directory(
    client: &Client,
    session: &Session,
    Target { path, after }: Target,
    attributes: &Attributes,
) -> Result<Response, Failure> {
    let (entries, more) = client.list_page(&path, &after).await?;
    let here = Here::of(&path);
    let next = entries
        .last()
        .filter(|_| more)
        .map(|last| format!("/files/{}?after={}", here.encoded, encode_query(last.name.as_bytes())));
    let usage = attributes.usage.unwrap_or_default();
    let summary = format!(
        "{} and {} below, {}",
        count(usage.files, "file", "files"),
        count(usage.directories, "directory", "directories"),
        size(usage.bytes)
    );
    let frame = Frame::new(here.shown.clone(), "files", session);
    let entries = entries.iter().map(|entry| Entry::of(&path, entry)).collect();
    Ok(ok(&DirectoryPage { frame, here, summary, entries, next, later: !after.is_empty() }))
}

async fn file(
    site: &Site,
    client: &Client,
    session: &Session,
    path: &Path,
    attributes: &Attributes,
) -> Result<Response, Failure> {
    let here = Here::of(path);
    let is_file = attributes.kind == Kind::File;
    let mut facts = vec![
        ("kind", kind(attributes.kind).to_owned()),
        ("size", format!("{} ({})", size(attributes.length.get()), count(attributes.length.get(), "byte", "bytes"))),
        ("owner", format!("{}:{}", attributes.uid, attributes.gid)),
        ("mode", mode(attributes.mode)),
        ("modified", moment(attributes.mtime)),
        ("changed", moment(attributes.ctime)),
        ("inode", attributes.inode.to_string()),
    ];
    if let Some(target) = &attributes.target {
        facts.push(("leads to", shown(target)));
    }
    if is_file {
        facts.push(("wanted replicas", attributes.replication.to_string()));
        facts.push(("longest block", size(attributes.block_size.get())));
    }
    if attributes.writing {
        facts.push(("state", "being written".to_owned()));
    }
    let (blocks, more_blocks) = match is_file {
        true => match site.blocks(client, path).await {
            Ok((blocks, more)) => (Ok(blocks.iter().map(Block::of).collect()), more),
            Err(failure) => (Err(failure.line), 0),
        },
        false => (Ok(Vec::new()), 0),
    };
    let frame = Frame::new(here.shown.clone(), "files", session);
    let download = is_file.then(|| format!("/download/{}", here.encoded));
    let more_blocks = (more_blocks > 0).then(|| count(more_blocks, "block", "blocks"));
    Ok(ok(&FilePage { frame, here, facts, download, blocks, more_blocks }))
}

#[derive(Deserialize)]
pub(super) struct NewDirectory {
    form_token: String,
    /// The directory that it is made in.
    directory: String,
    name: String,
}

pub(super) async fn make_directory(
    State(site): State<Arc<Site>>,
    session: Session,
    Form(form): Form<NewDirectory>,
) -> Response {
    if !session.vouches_for(&form.form_token) {
        return Failure::forged().page(&session);
    }
    let made = async {
        let path = child(&parse(&form.directory)?, form.name.as_bytes())?;
        let client = site.client_of(&session).await?;
        client.mkdir(&path, MkdirOptions { mode: 0o755, ..MkdirOptions::default() }).await?;
        Ok::<_, Failure>(path)
    };
    match made.await {
        Ok(path) => Redirect::to(&format!("/files/{}", encode(&path))).into_response(),
        Err(failure) => failure.page(&session),
    }
}

/// A name in a directory: one name, whatever it says.
pub(super) fn child(directory: &Path, name: &[u8]) -> Result<Path, Failure> {
    let wrong = |error: types::PathError| Failure::new(StatusCode::BAD_REQUEST, format!("{}: {error}", shown(name)));
    directory.join(Name::new(name).map_err(wrong)?).map_err(wrong)
}
