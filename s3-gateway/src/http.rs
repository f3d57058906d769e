//! The server: connections, TLS, limits on time, and what every answer carries.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Client, MkdirOptions, User};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use s3s::Body;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::host::MultiDomain;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};
use types::{Code, Path};

use crate::access::{Access, Peer};
use crate::buckets::Buckets;
use crate::door::Door;
use crate::identity::Identities;
use crate::preflight::Preflight;
use crate::secret::{SealingKey, SecretError};
use crate::settings::{Settings, TlsSettings};

/// Everybody may make a bucket, and remove only one's own.
const ROOT_MODE: u32 = 0o1777;
/// Of a request's XML.
const MAX_XML: usize = 2 << 20;
/// A signed chunk is held until its signature is verified.
const MAX_CHUNK: usize = 16 << 20;
/// The name of no bucket begins like this.
const HEALTH: &str = "/-/health";
/// How long a stop waits for requests under way.
const STOPPING: Duration = Duration::from_secs(10);
/// After accepting failed, which a lack of descriptors does.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const REQUEST_ID: &str = "x-amz-request-id";

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{address} is reached by others: give it a certificate with `tls`, or listen on 127.0.0.1")]
    NeedsTls { address: SocketAddr },
    #[error("{path}: {problem}")]
    Tls { path: String, problem: String },
    #[error("cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("{root:?} cannot be the directory of buckets: {problem}")]
    Root { root: String, problem: String },
    #[error("{0:?} is no domain: {1}")]
    Domain(Vec<String>, String),
    #[error(transparent)]
    Client(#[from] client::Error),
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
    client: Client,
}

impl Gateway {
    /// Connects to the cluster and begins to serve. The client's own user is not used: a gateway speaks for the users of
    /// its access keys, and so is the superuser's.
    pub async fn start(settings: Settings, config: client::Config) -> Result<Self, Error> {
        if settings.tls.is_none() && !settings.listen.ip().is_loopback() {
            return Err(Error::NeedsTls { address: settings.listen });
        }
        let tls = settings.tls.as_ref().map(acceptor).transpose()?;
        let sealing = SealingKey::load(&settings.secrets_key)?;
        let superuser = User { uid: 0, gid: 0, groups: Vec::new() };
        let client = Client::connect(client::Config { user: superuser, ..config }).await?;
        let root = make_root(&client, &settings.root).await?;
        let identities = Identities::new(client.clone(), sealing);
        let buckets = Buckets::new(client.clone());
        let door = Door { buckets: buckets.clone(), root, region: settings.region.clone() };
        let service = service(door, Access { identities, buckets: buckets.clone() }, &settings)?;
        let preflight = Preflight { buckets, domains: domains(&settings)? };
        let listener = TcpListener::bind(settings.listen)
            .await
            .map_err(|error| Error::Listen { address: settings.listen, error })?;
        let address = listener.local_addr().map_err(|error| Error::Listen { address: settings.listen, error })?;
        let stop = CancellationToken::new();
        let server =
            Arc::new(Server { service, preflight, tls, settings, requests: AtomicU64::new(0), started: seed() });
        info!(%address, tls = server.tls.is_some(), "the S3 gateway serves");
        let accepting = tokio::spawn(accept(listener, server, stop.clone()));
        Ok(Self { address, stop, accepting, client })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets requests under way end, for a while, and leaves.
    pub async fn shutdown(self) {
        self.stop.cancel();
        // A panic of the task has been reported by the runtime.
        self.accepting.await.ok();
        if let Err(error) = self.client.close().await {
            debug!(%error, "the session was not closed in order");
        }
    }
}

/// The directory of buckets, made at the first start of the first gateway.
async fn make_root(client: &Client, root: &str) -> Result<Path, Error> {
    let wrong = |problem: String| Error::Root { root: root.to_owned(), problem };
    let path = Path::parse(root.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    if path.is_root() {
        return Ok(path);
    }
    match client.stat(&path).await {
        Ok(attributes) if attributes.is_directory() => return Ok(path),
        Ok(_) => return Err(wrong("it is a file".to_owned())),
        Err(error) if error.code() == Code::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let options = MkdirOptions { parents: true, mode: ROOT_MODE, ..MkdirOptions::default() };
    client.mkdir(&path, options).await?;
    Ok(path)
}

fn service(door: Door, access: Access, settings: &Settings) -> Result<S3Service, Error> {
    let mut config = S3Config::default();
    config.xml_max_body_size = MAX_XML;
    config.aws_chunked_stream_max_chunk_size = MAX_CHUNK;
    config.allow_post_signature = false;
    let mut builder = S3ServiceBuilder::new(door);
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_auth(access.identities.clone());
    builder.set_access(access);
    if let Some(domains) = domains(settings)? {
        builder.set_host(domains);
    }
    Ok(builder.build())
}

fn domains(settings: &Settings) -> Result<Option<MultiDomain>, Error> {
    if settings.domains.is_empty() {
        return Ok(None);
    }
    let domains = MultiDomain::new(&settings.domains);
    domains.map(Some).map_err(|error| Error::Domain(settings.domains.clone(), error.to_string()))
}

fn acceptor(settings: &TlsSettings) -> Result<TlsAcceptor, Error> {
    let failed = |path: &FilePath, problem: String| Error::Tls { path: path.display().to_string(), problem };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&settings.certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| failed(&settings.certificate, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|error| failed(&settings.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| failed(&settings.certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Sets the request ids of one start apart from those of others.
fn seed() -> u32 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        Err(_) => std::process::id(),
    }
}

struct Server {
    service: S3Service,
    preflight: Preflight,
    tls: Option<TlsAcceptor>,
    settings: Settings,
    requests: AtomicU64,
    started: u32,
}

async fn accept(listener: TcpListener, server: Arc<Server>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(server.settings.connections));
    let tracker = TaskTracker::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (server, stop) = (Arc::clone(&server), stop.clone());
                tracker.spawn(async move {
                    server.connection(stream, peer, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    tracker.close();
    if tokio::time::timeout(STOPPING, tracker.wait()).await.is_err() {
        warn!("requests that did not end in time are cut off");
    }
}

impl Server {
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, stop: CancellationToken) {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "a connection was lost at once");
            return;
        }
        match &self.tls {
            None => Arc::clone(&self).serve(stream, peer, stop).await,
            Some(tls) => {
                let greeted = tokio::time::timeout(self.settings.header_timeout, tls.accept(stream)).await;
                match greeted {
                    Ok(Ok(stream)) => Arc::clone(&self).serve(stream, peer, stop).await,
                    Ok(Err(error)) => debug!(%peer, %error, "no TLS"),
                    Err(_) => debug!(%peer, "no TLS in time"),
                }
            }
        }
    }

    async fn serve<S>(self: Arc<Self>, stream: S, peer: SocketAddr, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (header_timeout, idle) = (self.settings.header_timeout, self.settings.idle_timeout);
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(idle).keep_alive_timeout(header_timeout);
        let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
            let server = Arc::clone(&self);
            async move { Ok::<_, Infallible>(server.answer(request, peer).await) }
        });
        let stream = TokioIo::new(crate::idle::Idle::new(stream, idle));
        let connection = builder.serve_connection(stream, answer);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%peer, %error, "a connection ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:08X}{number:08X}", self.started);
        let begun = Instant::now();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let agent = request.headers().get(http::header::USER_AGENT).cloned();
        let mut response = if uri.path() == HEALTH && matches!(method, Method::GET | Method::HEAD) {
            Response::new(Body::from(Bytes::from_static(b"ok\n")))
        } else if method == Method::OPTIONS {
            self.preflight.answer(&request).await
        } else {
            self.serve_request(request, peer, &id).await
        };
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        // The query of a presigned request is a right, and stays out of logs.
        info!(
            target: "s3_gateway::access",
            request_id = id,
            %peer,
            %method,
            path = uri.path(),
            status = response.status().as_u16(),
            micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            agent = agent.as_ref().and_then(|agent| agent.to_str().ok()).unwrap_or("-"),
            "request"
        );
        response
    }

    async fn serve_request(&self, request: Request<Incoming>, peer: SocketAddr, id: &str) -> Response<Body> {
        let page = self.preflight.page_of(&request);
        let mut request = request.map(|body| Body::http_body_unsync(body.map_err(std::io::Error::other)));
        request.extensions_mut().insert(Peer { address: peer, secure: self.tls.is_some() });
        let mut response = self.service.call(request).await.unwrap_or_else(|error| {
            warn!(request_id = id, %error, "a request could not be answered");
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        });
        if let Some(page) = page {
            response.headers_mut().extend(self.preflight.headers(&page).await);
        }
        response
    }
}
