//! A gateway's start and its end.

use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use client::{Client, MkdirOptions, User};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::host::MultiDomain;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use types::{Code, Path};

use crate::access::Access;
use crate::access_log::AccessLog;
use crate::buckets::Buckets;
use crate::door::Door;
use crate::exchange::Books;
use crate::identity::Identities;
use crate::lenient::Lenient;
use crate::metrics::Metrics;
use crate::preflight::Preflight;
use crate::server::{Server, accept};
use crate::settings::{Settings, TlsSettings};
use access_keys::{SealingKey, SecretError};

/// Everybody may make a bucket, and remove only one's own.
const ROOT_MODE: u32 = 0o1777;
/// Of a request's XML.
const MAX_XML: usize = 2 << 20;
/// A signed chunk is held until its signature is verified.
const MAX_CHUNK: usize = 16 << 20;

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{address} is reached by others: give it a certificate with `tls`, or listen on 127.0.0.1")]
    NeedsTls { address: SocketAddr },
    #[error("{path}: {problem}")]
    Tls { path: String, problem: String },
    #[error("cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error("the access log {path} cannot be written: {error}")]
    AccessLog { path: String, error: std::io::Error },
    #[error("{0} cannot be 0")]
    Zero(&'static str),
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
        settings.check()?;
        let tls = settings.tls.as_ref().map(acceptor).transpose()?;
        let books = Arc::new(Books { metrics: Metrics::new(), log: access_log(&settings)? });
        let sealing = SealingKey::load(&settings.secrets_key)?;
        let superuser = User { uid: 0, gid: 0, groups: Vec::new() };
        let client = Client::connect(client::Config { user: superuser, ..config }).await?;
        let root = make_root(&client, &settings.root).await?;
        let identities = Identities::new(client.clone(), sealing);
        let buckets = Buckets::new(client.clone());
        let (region, md5_etags) = (settings.region.clone(), settings.md5_etags);
        let door = Door { buckets: buckets.clone(), root, region, md5_etags };
        let access = Access { identities, buckets: buckets.clone() };
        let lenient = Lenient(service(door.clone(), access.clone(), &settings)?.build());
        let mut service = service(door, access, &settings)?;
        service.set_route(lenient);
        let service = service.build();
        let preflight = Preflight { buckets, domains: domains(&settings)? };
        let listener = TcpListener::bind(settings.listen)
            .await
            .map_err(|error| Error::Listen { address: settings.listen, error })?;
        let address = listener.local_addr().map_err(|error| Error::Listen { address: settings.listen, error })?;
        let stop = CancellationToken::new();
        let server = Arc::new(Server {
            service,
            preflight,
            tls,
            books,
            limits: settings.limits(),
            settings,
            requests: AtomicU64::new(0),
            started: seed(),
        });
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

fn service(door: Door, access: Access, settings: &Settings) -> Result<S3ServiceBuilder, Error> {
    let mut config = S3Config::default();
    config.xml_max_body_size = MAX_XML;
    config.aws_chunked_stream_max_chunk_size = MAX_CHUNK;
    // Whether a length was said is looked at here.
    config.normalize_content_length = false;
    let mut builder = S3ServiceBuilder::new(door);
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_auth(access.identities.clone());
    builder.set_access(access);
    if let Some(domains) = domains(settings)? {
        builder.set_host(domains);
    }
    Ok(builder)
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

fn access_log(settings: &Settings) -> Result<Option<AccessLog>, Error> {
    let Some(path) = &settings.access_log else { return Ok(None) };
    let opened = AccessLog::open(path.clone());
    opened.map(Some).map_err(|error| Error::AccessLog { path: path.display().to_string(), error })
}

/// Sets the request ids of one start apart from those of others.
fn seed() -> u32 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        Err(_) => std::process::id(),
    }
}
