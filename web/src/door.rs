//! The door of one role.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::routing::get;
use http_listener::Connections;
use hyper::body::Incoming;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::info;

use crate::probes::{self, Judge, Observe, Probes};
use crate::settings::Settings;

/// Why the door does not open.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the configuration is wrong: {0}")]
    Config(String),
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
        let Role { verdict_of, mut registry, observe, judge } = role;
        let counted = Connections::default();
        counted.register(registry.sub_registry_with_prefix("ashlar_http"));
        let router = router(Arc::new(Probes::new(registry, verdict_of, observe, judge)));
        let (limits, stopped) = (settings.limits(), stop.clone());
        let serve = move |stream, peer| {
            let router = router.clone();
            let answer = move |request| answer(router.clone(), request, peer);
            http_listener::converse(stream, peer, limits, stopped.clone(), answer)
        };
        let accepting = tokio::spawn(http_listener::accept(listener, limits, counted, stop.clone(), serve));
        info!(%address, "metrics and health are served");
        Ok(Some(Self { address, stop, accepting }))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets requests under way end, for a while.
    pub async fn close(self) {
        self.stop.cancel();
        // A panic of the task has been reported by the runtime.
        self.accepting.await.ok();
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
    if http_listener::size_of_headers(request.headers()) > http_listener::MAX_HEADERS as usize {
        let mut refused = Response::new(Body::empty());
        *refused.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return refused;
    }
    request.extensions_mut().insert(peer);
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
