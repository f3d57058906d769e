//! The least that a server of objects over HTTP can do: it sends bytes that are in memory, and throws away what it gets.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use types::ByteSize;

use super::connection::{Sent, empty, pieces};
use crate::bench::limits::PIECE;

pub(super) struct BareServer {
    address: SocketAddr,
    stop: CancellationToken,
    accepting: JoinHandle<anyhow::Result<()>>,
}

impl BareServer {
    /// Every object has `size` bytes.
    pub(super) async fn start(size: ByteSize) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (address, stop) = (listener.local_addr()?, CancellationToken::new());
        let accepting = tokio::spawn(accept(listener, size.get(), stop.clone()));
        Ok(Self { address, stop, accepting })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.accepting.await?
    }
}

async fn accept(listener: TcpListener, size: u64, stop: CancellationToken) -> anyhow::Result<()> {
    let (piece, tracker) = (Bytes::from(vec![7; PIECE]), TaskTracker::new());
    loop {
        let (stream, _) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted?,
        };
        stream.set_nodelay(true)?;
        let (piece, stop) = (piece.clone(), stop.clone());
        tracker.spawn(async move {
            let service = service_fn(move |request| answer(request, piece.clone(), size));
            tokio::select! {
                () = stop.cancelled() => {}
                // The client has gone, as it does at the end of a run.
                _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {}
            }
        });
    }
    tracker.close();
    tracker.wait().await;
    Ok(())
}

async fn answer(request: Request<Incoming>, piece: Bytes, size: u64) -> anyhow::Result<Response<Sent>> {
    if request.method() == Method::GET {
        let body = pieces(piece, size);
        return Ok(Response::builder().header(CONTENT_LENGTH, size).body(body)?);
    }
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(Response::new(empty()))
}
