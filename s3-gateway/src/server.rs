//! The server: connections, what a client may take of time and room, and what every answer carries.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use s3s::Body;
use s3s::service::S3Service;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::access::{Peer, Tls};
use crate::addresses::Addresses;
use crate::exchange::{Books, Exchange, Sent};
use crate::failure;
use crate::pace::{Pace, Paced};
use crate::preflight::Preflight;
use crate::settings::Settings;

/// The name of no bucket begins like this.
const HEALTH: &str = "/-/health";
const METRICS: &str = "/-/metrics";
/// Of the names and values of a request's headers. S3 takes 8 KiB, of which a quarter may be the user's metadata.
const MAX_HEADERS: u32 = 16 << 10;
/// How many headers a request has at most.
const MANY_HEADERS: usize = 128;
/// How long a stop waits for requests under way.
const STOPPING: Duration = Duration::from_secs(10);
/// After accepting failed, which a lack of descriptors does.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const REQUEST_ID: &str = "x-amz-request-id";

pub(crate) struct Server {
    pub(crate) service: S3Service,
    pub(crate) preflight: Preflight,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) books: Arc<Books>,
    pub(crate) addresses: Addresses,
    pub(crate) settings: Settings,
    pub(crate) requests: AtomicU64,
    pub(crate) started: u32,
}

pub(crate) async fn accept(listener: TcpListener, server: Arc<Server>, stop: CancellationToken) {
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
                let Some(of_address) = server.addresses.place(peer.ip()) else {
                    server.books.metrics.refused_connections.inc();
                    debug!(%peer, "the address has too many connections");
                    continue;
                };
                let (server, stop) = (Arc::clone(&server), stop.clone());
                tracker.spawn(async move {
                    let connections = server.books.metrics.connections.clone();
                    connections.inc();
                    server.connection(stream, peer, stop).await;
                    connections.dec();
                    drop((place, of_address));
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
    async fn connection(self: Arc<Self>, stream: TcpStream, address: SocketAddr, stop: CancellationToken) {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(peer = %address, %error, "a connection was lost at once");
            return;
        }
        match &self.tls {
            None => Arc::clone(&self).serve(stream, Peer { address, tls: None }, stop).await,
            Some(tls) => {
                let greeted = tokio::time::timeout(self.settings.header_timeout, tls.accept(stream)).await;
                match greeted {
                    Ok(Ok(stream)) => {
                        let tls = Some(Tls::of(stream.get_ref().1));
                        Arc::clone(&self).serve(stream, Peer { address, tls }, stop).await;
                    }
                    Ok(Err(error)) => debug!(peer = %address, %error, "no TLS"),
                    Err(_) => debug!(peer = %address, "no TLS in time"),
                }
            }
        }
    }

    async fn serve<S>(self: Arc<Self>, stream: S, peer: Peer, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (header_timeout, idle) = (self.settings.header_timeout, self.settings.idle_timeout);
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout).max_headers(MANY_HEADERS);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(idle)
            .keep_alive_timeout(header_timeout)
            .max_header_list_size(MAX_HEADERS);
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
            debug!(peer = %peer.address, %error, "a connection ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response<Sent> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:08X}{number:08X}", self.started);
        let exchange = Exchange::begin(Arc::clone(&self.books), &request, peer, &id);
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let mut response = match request.uri().path() {
            HEALTH if reads => say(&exchange, "Health", "ok\n".to_owned()),
            METRICS if reads && self.tells_metrics(peer) => say(&exchange, "Metrics", self.books.metrics.text()),
            _ if size_of(request.headers()) > MAX_HEADERS as usize => {
                respond(failure::custom("RequestHeaderSectionTooLarge", StatusCode::BAD_REQUEST))
            }
            _ if request.method() == Method::OPTIONS => {
                "Preflight".clone_into(&mut exchange.findings().known().operation);
                self.preflight.answer(&request).await
            }
            _ => self.serve_request(request, peer, &exchange, &id).await,
        };
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        exchange.answered(response)
    }

    /// Numbers say who is at work here: they are for those on this host, unless told otherwise.
    fn tells_metrics(&self, peer: Peer) -> bool {
        self.settings.public_metrics || peer.address.ip().to_canonical().is_loopback()
    }

    async fn serve_request(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        exchange: &Exchange,
        id: &str,
    ) -> Response<Body> {
        let page = self.preflight.page_of(&request);
        let pace = Pace { rate: self.settings.min_body_rate.get(), patience: self.settings.body_patience };
        let received = self.books.metrics.received.clone();
        let mut request = request.map(|body| Body::http_body_unsync(Paced::new(body, pace, received)));
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(exchange.findings());
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

fn say(exchange: &Exchange, operation: &str, text: String) -> Response<Body> {
    operation.clone_into(&mut exchange.findings().known().operation);
    let mut response = Response::new(Body::from(Bytes::from(text)));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn size_of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// An error that is answered outside of the S3 library.
pub(crate) fn respond(error: s3s::S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|error| {
        tracing::error!(%error, "an error cannot be written");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
