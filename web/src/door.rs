//! The door of one role.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use access_keys::{SealingKey, SecretError};
use axum::Router;
use axum::body::Body;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{Request, Response, StatusCode, Version};
use axum::routing::get;
use http_listener::Connections;
use hyper::body::Incoming;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::info;

use crate::cluster::Cluster;
use crate::probes::{self, Judge, Observe, Probes};
use crate::settings::Settings;
use crate::site::{self, Site};

/// Why the door does not open.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the configuration is wrong: {0}")]
    Config(String),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("{address} cannot be listened on: {source}; is another process there?")]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// What is behind the door.
pub struct Role {
    /// What the verdict is about: `cluster`, or `datanode`.
    pub verdict_of: &'static str,
    /// Everything that the role counts.
    pub registry: Registry,
    pub observe: Observe,
    pub judge: Judge,
    /// Of a namenode: the web page is there if the settings have a key for it.
    pub pages: Option<Pages>,
}

/// What the web page is made from.
#[derive(Debug)]
pub struct Pages {
    pub cluster: Cluster,
    /// How its client finds the namenodes.
    pub config: client::Config,
}

impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Role").field("verdict_of", &self.verdict_of).finish_non_exhaustive()
    }
}

/// An open door.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
    site: Option<Arc<Site>>,
}

impl Door {
    /// Listens, if the settings say where, and answers until it is closed. `stop` closes it too; what the role has running
    /// for it ends by that.
    pub async fn open(settings: &Settings, role: Role, stop: CancellationToken) -> Result<Option<Self>, Error> {
        settings.check().map_err(Error::Config)?;
        let Some(address) = settings.listen else { return Ok(None) };
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let Role { verdict_of, mut registry, observe, judge, pages } = role;
        let site = match (pages, &settings.secrets_key) {
            (Some(Pages { cluster, config }), Some(path)) => {
                Some(Site::new(config, cluster, SealingKey::load(path)?, settings.session_timeout))
            }
            (_, _) => None,
        };
        let counted = Connections::default();
        counted.register(registry.sub_registry_with_prefix("ashlar_http"));
        let mut router = router(Arc::new(Probes::new(registry, verdict_of, observe, judge)));
        if let Some(site) = &site {
            router = router.merge(site::router(Arc::clone(site)));
        }
        let (limits, stopped) = (settings.limits(), stop.clone());
        let serve = move |stream, peer| {
            let router = router.clone();
            let answer = move |request| answer(router.clone(), request, peer);
            http_listener::converse(stream, peer, limits, stopped.clone(), answer)
        };
        let accepting = tokio::spawn(http_listener::accept(listener, limits, counted, stop.clone(), serve));
        info!(%address, web_page = site.is_some(), "metrics and health are served");
        Ok(Some(Self { address, stop, accepting, site }))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether there is a web page.
    pub fn has_pages(&self) -> bool {
        self.site.is_some()
    }

    /// Lets requests under way end, for a while.
    pub async fn close(self) {
        self.stop.cancel();
        // A panic of the task has been reported by the runtime.
        self.accepting.await.ok();
        if let Some(site) = self.site {
            site.close().await;
        }
    }
}

pub(crate) fn router(probes: Arc<Probes>) -> Router {
    Router::new()
        .route("/metrics", get(probes::metrics))
        .route("/healthz", get(probes::health))
        .with_state(probes)
        .route("/livez", get(probes::liveness))
}

async fn answer(router: Router, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    if !is_ours(&request) {
        return refused(StatusCode::MISDIRECTED_REQUEST);
    }
    if http_listener::size_of_headers(request.headers()) > http_listener::MAX_HEADERS as usize {
        return refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    request.extensions_mut().insert(peer);
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn refused(status: StatusCode) -> Response<Body> {
    let mut refused = Response::new(Body::empty());
    *refused.status_mut() = status;
    refused
}

/// Whether the request is for this machine by its address. A name that another site had resolve to loopback would let that
/// site's scripts read what is here.
fn is_ours(request: &Request<Incoming>) -> bool {
    let named = request.uri().host().map(str::to_owned);
    let host = named.or_else(|| {
        let text = request.headers().get(HOST)?.to_str().ok()?;
        text.parse::<Authority>().ok().map(|authority| authority.host().to_owned())
    });
    let Some(host) = host else { return request.version() < Version::HTTP_11 };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}
