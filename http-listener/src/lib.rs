//! Connections of an HTTP server, for every part of Ashlar that speaks HTTP: how many there are, how long each may take,
//! and how they end. What is answered is the caller's.
//!
//! Invariants, cited by tests:
//! 1. No more connections are open than the limits say, in all and for each address; more of one address are closed at
//!    once, more in all wait.
//! 2. A peer that sends no head in time, or moves no byte for too long, loses its connection.
//! 3. A stop lets requests under way end, for a while.
//! 4. A failure to accept, such as a lack of descriptors, ends nothing.

mod addresses;
mod idle;

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::addresses::Addresses;
use crate::idle::Idle;

/// Of the names and values of a request's headers. S3 takes 8 KiB, of which a quarter may be the user's metadata.
pub const MAX_HEADERS: u32 = 16 << 10;
/// How many headers a request has at most.
const MANY_HEADERS: usize = 128;
/// What is read of a body at a time over HTTP/1. Whoever takes it in keeps several of these: with hyper's own 400 KiB, a few
/// hundred uploads would take a gigabyte.
const READ_BUFFER: usize = 64 << 10;
/// How long a stop waits for requests under way.
const STOPPING: Duration = Duration::from_secs(10);
/// After accepting failed, which a lack of descriptors does.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What peers may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections that are served at a time; others wait.
    pub connections: usize,
    /// Of one address; others are closed.
    pub connections_per_address: usize,
    /// Until the head of a request is there.
    pub header_timeout: Duration,
    /// Without a byte in either direction.
    pub idle_timeout: Duration,
}

/// What is counted of connections.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    pub open: Gauge,
    pub refused: Counter,
}

impl Connections {
    /// Has them shown as `connections` and `refused_connections_total`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Connections open", self.open.clone());
        registry.register(
            "refused_connections",
            "Connections closed at once, because their address has too many",
            self.refused.clone(),
        );
    }
}

/// Hands connections to `serve` until `stop`, and waits for what it does with them.
pub async fn accept<F>(
    listener: TcpListener,
    limits: Limits,
    counted: Connections,
    stop: CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let addresses = Addresses::new(limits.connections_per_address);
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
                let Some(of_address) = addresses.place(peer.ip()) else {
                    counted.refused.inc();
                    debug!(%peer, "the address has too many connections");
                    continue;
                };
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%peer, %error, "a connection was lost at once");
                    continue;
                }
                let (served, open) = (serve(stream, peer), counted.open.clone());
                tracker.spawn(async move {
                    open.inc();
                    served.await;
                    open.dec();
                    drop((place, of_address));
                });
            }
            // Invariant 4.
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

/// Answers the requests of one connection, until it ends or `stop` comes and the request under way is answered.
pub async fn converse<S, F, B>(
    stream: S,
    peer: SocketAddr,
    limits: Limits,
    stop: CancellationToken,
    answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Limits { header_timeout, idle_timeout, .. } = limits;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_headers(MANY_HEADERS)
        .max_buf_size(READ_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(idle_timeout)
        .keep_alive_timeout(header_timeout)
        .max_header_list_size(MAX_HEADERS);
    let service = hyper::service::service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let connection = builder.serve_connection(TokioIo::new(Idle::new(stream, idle_timeout)), service);
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

/// The bytes of a request's headers, to be compared with [`MAX_HEADERS`]: HTTP/1 bounds their number only.
pub fn size_of_headers(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

#[cfg(test)]
mod tests;
