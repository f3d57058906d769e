//! The web page: what operators and users see of the cluster, and the same as JSON.
//!
//! ```text
//! /                overview           /files/PATH     directories and files     /sign-in
//! /datanodes       and volumes        /download/PATH                            /api/v1/status, datanodes, namenodes, files/PATH, audit
//! /namenodes       the Raft group     /audit          who did what            /jobs            pause and cancel
//! ```
//!
//! Every page is whole without a script; a small one keeps what changes up to date.
//!
//! Invariants, cited by tests:
//! 1. Without a session nothing is told but the page to sign in, and nothing is done.
//! 2. What a user sees and does in the namespace is decided by the namenode, on the user's behalf.
//! 3. Nothing changes without the session's own token in the request: another site cannot make a browser do it.
//! 4. No name, whatever bytes it has, becomes markup.
//! 5. Secrets are compared in constant time, and not more often than a few times a minute.

mod api;
mod attempts;
mod audit;
mod datanodes;
mod failure;
mod files;
mod jobs;
mod namenodes;
mod overview;
mod page;
mod path;
mod session;
mod sign_in;
#[cfg(test)]
mod tests;
mod transfer;

use std::sync::Arc;
use std::time::Duration;

use access_keys::SealingKey;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use client::{Client, Config, User};
use tokio::sync::OnceCell;

use crate::cluster::Cluster;
use attempts::Attempts;
use session::Sessions;

/// Bytes of a form, but for those that carry files.
const FORM: usize = 16 << 10;
/// How long a page waits for a leader.
const PATIENCE: Duration = Duration::from_secs(5);
/// Scripts and styles from here alone, and no frame around any page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the pages are made from.
pub(crate) struct Site {
    config: Config,
    client: OnceCell<Client>,
    cluster: Cluster,
    sealing: SealingKey,
    sessions: Sessions,
    attempts: Attempts,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").finish_non_exhaustive()
    }
}

impl Site {
    /// The client's own user is not used: the site speaks for those who sign in, and so is the superuser's.
    pub(crate) fn new(config: Config, cluster: Cluster, sealing: SealingKey, session_timeout: Duration) -> Arc<Self> {
        let user = User { uid: 0, gid: 0, groups: Vec::new() };
        let config = Config { user, op_timeout: PATIENCE.min(config.op_timeout), ..config };
        let (sessions, attempts) = (Sessions::new(session_timeout), Attempts::default());
        Arc::new(Self { config, client: OnceCell::new(), cluster, sealing, sessions, attempts })
    }

    /// The superuser's connection, made when it is first needed: this process may be the first of its cluster.
    async fn superuser(&self) -> Result<&Client, client::Error> {
        self.client.get_or_try_init(|| Client::connect(self.config.clone())).await
    }

    /// Ends the session in order.
    pub(crate) async fn close(&self) {
        if let Some(client) = self.client.get()
            && let Err(error) = client.close().await
        {
            tracing::debug!(%error, "the session was not closed in order");
        }
    }
}

pub(crate) fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(overview::page))
        .route("/datanodes", get(datanodes::page))
        .route("/namenodes", get(namenodes::page))
        .route("/jobs", get(jobs::page).post(jobs::control))
        .route("/audit", get(audit::page))
        .route("/files", get(files::root))
        .route("/files/", get(files::root))
        .route("/files/{*path}", get(files::page))
        .route("/sign-in", get(sign_in::page).post(sign_in::submit))
        .route("/sign-out", post(sign_in::leave))
        .route("/make-directory", post(files::make_directory))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/datanodes", get(api::datanodes))
        .route("/api/v1/namenodes", get(api::namenodes))
        .route("/api/v1/jobs", get(api::jobs))
        .route("/api/v1/audit", get(api::audit))
        .route("/api/v1/files", get(api::root))
        .route("/api/v1/files/", get(api::root))
        .route("/api/v1/files/{*path}", get(api::file))
        .layer(DefaultBodyLimit::max(FORM))
        .route("/download/{*path}", get(transfer::download))
        .route("/upload", post(transfer::upload).layer(DefaultBodyLimit::disable()))
        .route("/assets/style.css", get(|| asset("text/css; charset=utf-8", include_str!("../assets/style.css"))))
        .route("/assets/page.js", get(|| asset("text/javascript; charset=utf-8", include_str!("../assets/page.js"))))
        .route("/assets/mark.svg", get(|| asset("image/svg+xml", include_str!("../assets/mark.svg"))))
        .fallback(failure::nothing_here)
        .layer(map_response(guarded))
        .with_state(site)
}

async fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "max-age=300")], text).into_response()
}

/// What every answer carries.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let text = HeaderValue::from_static;
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(text(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, text("nosniff"));
    headers.insert(REFERRER_POLICY, text("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), text("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(text("no-store"));
    response
}
