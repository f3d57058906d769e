//! One connection of an HTTP client that does as little as it can.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::bail;
use bytes::Bytes;
use futures::stream;
use http::header::{CONTENT_LENGTH, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A body that is made while it is sent.
pub(super) type Sent = UnsyncBoxBody<Bytes, Infallible>;

pub(super) struct Connection {
    host: String,
    sender: SendRequest<Sent>,
    /// Moves the bytes; ends with the sender.
    task: JoinHandle<()>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of the benchmark ended early");
            }
        });
        Ok(Self { host: address.to_string(), sender, task })
    }

    /// Puts `length` bytes made of the piece, or gets what is there. Returns the bytes of the answer's body.
    pub(super) async fn ask(
        &mut self,
        method: &Method,
        target: &str,
        (piece, length): (&Bytes, u64),
    ) -> anyhow::Result<u64> {
        let (body, length) =
            if *method == Method::PUT { (pieces(piece.clone(), length), length) } else { (empty(), 0) };
        let mut answer = self.send(method, target, body, length).await?;
        let mut received = 0;
        while let Some(frame) = answer.frame().await {
            received += frame?.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(received)
    }

    pub(super) async fn document(&mut self, target: &str) -> anyhow::Result<String> {
        let answer = self.send(&Method::GET, target, empty(), 0).await?;
        Ok(String::from_utf8(answer.collect().await?.to_bytes().into())?)
    }

    async fn send(
        &mut self,
        method: &Method,
        target: &str,
        body: Sent,
        length: u64,
    ) -> anyhow::Result<hyper::body::Incoming> {
        let mut request = Request::builder().method(method).uri(target).header(HOST, &self.host);
        if *method == Method::PUT {
            request = request.header(CONTENT_LENGTH, length);
        }
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.body(body)?).await?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            let told = answer.into_body().collect().await?.to_bytes();
            bail!("{method} {target} was answered {status}: {}", String::from_utf8_lossy(&told));
        }
        Ok(answer.into_body())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn empty() -> Sent {
    Empty::new().boxed_unsync()
}

/// `length` bytes, made of the piece.
pub(super) fn pieces(piece: Bytes, length: u64) -> Sent {
    let pieces = stream::unfold(length, move |left| {
        let part = piece.slice(..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        async move { (left > 0).then(|| (Ok(Frame::data(part.clone())), left - part.len() as u64)) }
    });
    StreamBody::new(pieces).boxed_unsync()
}
