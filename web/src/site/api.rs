//! `/api/v1/`: what the pages show, as JSON, for reading only. A session will do, or the access key itself:
//! `curl -u KEY:SECRET http://127.0.0.1:8030/api/v1/status`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use client::health::{Facts, Overview};
use client::{Attributes, CheckedBlock, Entry, Kind, User};
use serde::Serialize;
use types::ByteSize;

use super::Site;
use super::failure::Failure;
use super::files::Target;
use super::page::shown;
use super::path::encode;
use super::session::Session;
use super::sign_in::Refused;

/// Who asks, by a session or by a key.
pub(super) struct Caller {
    session: Session,
}

impl FromRequestParts<Arc<Site>> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Response> {
        if let Some(session) = site.sessions.find(&parts.headers) {
            return Ok(Self { session });
        }
        let Some((id, secret)) = basic(&parts.headers) else {
            let line = "sign in, or send an access key: curl -u KEY:SECRET";
            return Err(Failure::new(StatusCode::UNAUTHORIZED, line).json());
        };
        let from = parts.extensions.get::<SocketAddr>().copied();
        let from = from.ok_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())?;
        let user: User = site.identify(from, &id, &secret).await.map_err(Refused::json)?;
        let superuser = site.is_superuser(&user).await.map_err(|error| Failure::from(error).json())?;
        Ok(Self { session: Session::of_request(user, id, superuser) })
    }
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(BASE64_STANDARD.decode(text.trim()).ok()?).ok()?;
    text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
}

fn answer(value: Result<impl Serialize, Failure>) -> Response {
    match value {
        Ok(value) => axum::Json(value).into_response(),
        Err(failure) => failure.json(),
    }
}

impl Site {
    async fn facts(&self) -> Result<Arc<Facts>, Failure> {
        self.cluster.facts().await.ok_or_else(Failure::stopping)
    }
}

pub(super) async fn status(State(site): State<Arc<Site>>, _: Caller) -> Response {
    answer(site.facts().await.map(|facts| Overview::of(&facts)))
}

pub(super) async fn datanodes(State(site): State<Arc<Site>>, _: Caller) -> Response {
    let known = |facts: Arc<Facts>| match &facts.datanodes {
        Ok(reports) => Ok(reports.clone()),
        Err(reason) => Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, reason.clone())),
    };
    answer(site.facts().await.and_then(known))
}

/// A namenode that does not answer has the reason in place of its status.
#[derive(Serialize)]
struct Namenode {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<client::MemberStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) async fn namenodes(State(site): State<Arc<Site>>, _: Caller) -> Response {
    let listed = site.facts().await.map(|facts| {
        let one = |answer: &client::health::Answer| Namenode {
            address: answer.address.clone(),
            status: answer.status.as_ref().ok().cloned(),
            error: answer.status.as_ref().err().cloned(),
        };
        facts.namenodes.iter().map(one).collect::<Vec<_>>()
    });
    answer(listed)
}

pub(super) async fn jobs(State(site): State<Arc<Site>>, _: Caller) -> Response {
    answer(site.jobs().await)
}

pub(super) async fn audit(State(site): State<Arc<Site>>, caller: Caller) -> Response {
    if !caller.session.superuser {
        return Failure::superusers_only().json();
    }
    answer(site.recent_audit().await)
}

/// `path` is for people; `url` has every byte.
#[derive(Serialize)]
struct Object {
    path: String,
    url: String,
    attributes: Attributes,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<Entry>>,
    /// More names follow: ask again with `?after=` and the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<Vec<Block>>,
}

#[derive(Serialize)]
struct Block {
    block: String,
    generation: u64,
    offset: u64,
    length: ByteSize,
    writing: bool,
    wanted: u32,
    live: u32,
    unreachable: u32,
    replicas: Vec<Place>,
    damaged: Vec<Place>,
}

#[derive(Serialize)]
struct Place {
    node: u64,
    host: String,
    address: String,
}

impl From<CheckedBlock> for Block {
    fn from(block: CheckedBlock) -> Self {
        let place =
            |place: client::ReplicaPlace| Place { node: place.node.get(), host: place.host, address: place.address };
        Self {
            block: block.block.to_string(),
            generation: block.generation.get(),
            offset: block.offset,
            length: block.length,
            writing: block.writing,
            wanted: block.wanted,
            live: block.live,
            unreachable: block.unreachable,
            replicas: block.replicas.into_iter().map(place).collect(),
            damaged: block.bad.into_iter().map(place).collect(),
        }
    }
}

pub(super) async fn root(state: State<Arc<Site>>, caller: Caller, uri: Uri) -> Response {
    file(state, caller, uri).await
}

pub(super) async fn file(State(site): State<Arc<Site>>, caller: Caller, uri: Uri) -> Response {
    let found = async {
        let Target { path, after } = Target::of(&uri, "/api/v1/files/")?;
        let client = site.client_of(&caller.session).await?;
        let attributes = client.lstat(&path).await?;
        let (mut entries, mut more, mut blocks) = (None, None, None);
        match attributes.kind {
            Kind::Directory => {
                let (found, follow) = client.list_page(&path, &after).await?;
                (entries, more) = (Some(found), Some(follow));
            }
            Kind::File => {
                let (found, _) = site.blocks(&client, &path).await?;
                blocks = Some(found.into_iter().map(Block::from).collect());
            }
            Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {}
        }
        let (shown, url) = (shown(&path.to_bytes()), format!("/{}", encode(&path)));
        Ok::<_, Failure>(Object { path: shown, url, attributes, entries, more, blocks })
    };
    answer(found.await)
}
