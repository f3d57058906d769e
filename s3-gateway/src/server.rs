//! The server: connections, what a client may take of time and room, and what every answer carries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_listener::Limits;
use hyper::body::Incoming;
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3ErrorCode};
use telemetry::MEDIA_TYPE;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::access::{Peer, Tls};
use crate::authorization;
use crate::document::{self, Document, Verdict};
use crate::exchange::{Books, Exchange, Sent};
use crate::failure;
use crate::form;
use crate::leftover::{self, Lent};
use crate::pace::{Pace, Paced};
use crate::preflight::Preflight;
use crate::settings::Settings;

/// The name of no bucket begins like this.
const HEALTH: &str = "/-/health";
const METRICS: &str = "/-/metrics";
const PLAIN: &str = "text/plain; charset=utf-8";
const REQUEST_ID: &str = "x-amz-request-id";
/// What there is an operation for. `OPTIONS` is answered apart.
const METHODS: [Method; 5] = [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE];

/// A request whose body comes back if it is not read.
type Taken = Request<Lent<Paced<Incoming>>>;

pub(crate) struct Server {
    pub(crate) service: S3Service,
    pub(crate) preflight: Preflight,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) books: Arc<Books>,
    pub(crate) limits: Limits,
    pub(crate) settings: Settings,
    pub(crate) requests: AtomicU64,
    pub(crate) started: u32,
}

pub(crate) async fn accept(listener: TcpListener, server: Arc<Server>, stop: CancellationToken) {
    let (limits, counted) = (server.limits, server.books.metrics.connections.clone());
    let connection = |stream, peer| Arc::clone(&server).connection(stream, peer, stop.clone());
    http_listener::accept(listener, limits, counted, stop.clone(), connection).await;
}

impl Server {
    async fn connection(self: Arc<Self>, stream: TcpStream, address: SocketAddr, stop: CancellationToken) {
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
        let limits = self.limits;
        let answer = move |request: Request<Incoming>| {
            let server = Arc::clone(&self);
            async move { server.answer(request, peer).await }
        };
        http_listener::converse(stream, peer.address, limits, stop, answer).await;
    }

    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response<Sent> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:08X}{number:08X}", self.started);
        let exchange = Exchange::begin(Arc::clone(&self.books), &request, peer, &id);
        let path = request.uri().path().to_owned();
        let pace = Pace { rate: self.settings.min_body_rate.get(), patience: self.settings.body_patience };
        let received = self.books.metrics.received.clone();
        let (request, leftover) = leftover::lend(request.map(|body| Paced::new(body, pace, received)));
        let mut response = self.respond_to(request, peer, &exchange, &id).await;
        leftover.settle(&mut response).await;
        response = failure::with_origin(response, &path, &id);
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        exchange.answered(response)
    }

    async fn respond_to(&self, request: Taken, peer: Peer, exchange: &Exchange, id: &str) -> Response<Body> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            HEALTH if reads => say(exchange, "Health", PLAIN, "ok\n".to_owned()),
            METRICS if reads && self.tells_metrics(peer) => {
                say(exchange, "Metrics", MEDIA_TYPE, self.books.metrics.text())
            }
            _ if http_listener::size_of_headers(request.headers()) > http_listener::MAX_HEADERS as usize => {
                respond(failure::custom("RequestHeaderSectionTooLarge", StatusCode::BAD_REQUEST))
            }
            _ if request.method() == Method::OPTIONS => {
                "Preflight".clone_into(&mut exchange.findings().known().operation);
                self.preflight.answer(&request).await
            }
            _ if !METHODS.contains(request.method()) => respond(S3Error::new(S3ErrorCode::MethodNotAllowed)),
            _ => self.serve_request(request, peer, exchange, id).await,
        }
    }

    /// Numbers say who is at work here: they are for those on this host, unless told otherwise.
    fn tells_metrics(&self, peer: Peer) -> bool {
        self.settings.public_metrics || peer.address.ip().to_canonical().is_loopback()
    }

    async fn serve_request(&self, request: Taken, peer: Peer, exchange: &Exchange, id: &str) -> Response<Body> {
        let page = self.preflight.page_of(&request);
        let (mut head, body) = request.into_parts();
        head.extensions.insert(peer);
        head.extensions.insert(exchange.findings());
        let mut response = match self.call(head, body).await {
            Ok(response) => response,
            Err(error) => {
                warn!(request_id = id, %error, "a request could not be answered");
                respond(S3Error::new(S3ErrorCode::InternalError))
            }
        };
        if let Some(page) = page {
            response.headers_mut().extend(self.preflight.headers(&page).await);
        }
        response
    }
}

impl Server {
    /// Hands a request to the S3 library, once what the library does not look at was looked at.
    async fn call(
        &self,
        mut head: http::request::Parts,
        body: Lent<Paced<Incoming>>,
    ) -> Result<Response<Body>, s3s::HttpError> {
        let query = head.uri.query();
        let checked = authorization::check(&mut head.headers)
            .and_then(|()| document::expected(&head.method, query, &head.headers));
        let expected = match checked {
            Ok(expected) => expected,
            Err(error) => return Ok(respond(error)),
        };
        let looks = head.method == Method::HEAD;
        let verdict = Verdict::default();
        let body = match (expected, form::boundary(&head.method, &head.headers)) {
            (Some(expected), _) => Body::http_body_unsync(Document::new(body, expected, verdict.clone())),
            (None, None) => Body::http_body_unsync(body),
            (None, Some(boundary)) => match form::begin(&boundary, body).await {
                Ok((tags, body)) => {
                    if let Some(tags) = tags {
                        head.extensions.insert(tags);
                    }
                    Body::http_body_unsync(body)
                }
                Err(error) => return Ok(respond(error)),
            },
        };
        let mut response = self.service.call(Request::from_parts(head, body)).await?;
        // The library answers so to GET only.
        if looks && response.status() == StatusCode::OK && response.headers().contains_key(CONTENT_RANGE) {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Ok(verdict.take().map_or(response, respond))
    }
}

fn say(exchange: &Exchange, operation: &str, kind: &'static str, text: String) -> Response<Body> {
    operation.clone_into(&mut exchange.findings().known().operation);
    let mut response = Response::new(Body::from(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An error that is answered outside of the S3 library.
pub(crate) fn respond(error: S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|error| {
        tracing::error!(%error, "an error cannot be written");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
