//! What is left of the body of a request that was answered before all of it was taken.
//!
//! A client that is still sending does not look for an answer. If the connection is closed while bytes are under way, it is
//! told of a reset and never sees why it was refused. So some of what is left is taken in and thrown away, at the pace that
//! bodies have anyway.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};

/// Of one body. A part has as much with most clients.
const DRAINED: u64 = 16 << 20;

/// Where a body comes back to.
pub(crate) struct Leftover<B> {
    back: Arc<Mutex<Option<Left<B>>>>,
    /// The client sends the body when it is asked for it, and not before.
    waits: bool,
    version: Version,
}

struct Left<B> {
    body: B,
    /// Whether anybody has asked for a byte of it.
    asked: bool,
    /// Nothing more comes, though it has not ended.
    broken: bool,
}

/// A body that is handed back when it is dropped, unless it was read to its end.
pub(crate) struct Lent<B> {
    left: Option<Left<B>>,
    back: Arc<Mutex<Option<Left<B>>>>,
}

pub(crate) fn lend<B: Body<Data = Bytes> + Unpin>(request: Request<B>) -> (Request<Lent<B>>, Leftover<B>) {
    let back = Arc::default();
    let version = request.version();
    let expects = request.headers().get(EXPECT);
    let waits = expects.is_some_and(|expects| expects.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let leftover = Leftover { back: Arc::clone(&back), waits: waits && version == Version::HTTP_11, version };
    let request = request.map(|body| Lent { left: Some(Left { body, asked: false, broken: false }), back });
    (request, leftover)
}

impl<B: Body<Data = Bytes> + Unpin> Leftover<B> {
    /// Takes in what is left. If it does not come to the end, the connection cannot be used again, and the answer says so:
    /// a client that is not told sends its next request into a connection that is about to be closed.
    pub(crate) async fn settle<T>(self, response: &mut Response<T>) {
        let version = self.version;
        if !self.drain().await && version <= Version::HTTP_11 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Takes in what is left, up to a bound, and says whether that was all. A client that waits to be asked for the body, and
    /// was not, sends none.
    async fn drain(self) -> bool {
        let left = self.back.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Left { mut body, asked, broken }) = left else { return true };
        if broken || body.is_end_stream() || (self.waits && !asked) {
            return !broken && body.is_end_stream();
        }
        let mut taken = 0;
        while taken < DRAINED {
            match body.frame().await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => taken += frame.data_ref().map_or(0, |data| data.len() as u64),
            }
        }
        body.is_end_stream()
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Lent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Some(left) = this.left.as_mut().filter(|left| !left.broken) else { return Poll::Ready(None) };
        left.asked = true;
        let polled = Pin::new(&mut left.body).poll_frame(context);
        match polled {
            Poll::Ready(None) => this.left = None,
            Poll::Ready(Some(Err(_))) => left.broken = true,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.left.as_ref().is_none_or(|left| left.broken || left.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.left.as_ref().map_or_else(|| SizeHint::with_exact(0), |left| left.body.size_hint())
    }
}

impl<B> Drop for Lent<B> {
    fn drop(&mut self) {
        if let Some(left) = self.left.take() {
            *self.back.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use futures::{StreamExt as _, stream};
    use http::StatusCode;
    use http_body_util::{Empty, StreamBody};
    use http_listener::Limits;
    use hyper::body::Incoming;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_util::sync::CancellationToken;

    use super::*;

    const LIMITS: Limits = Limits {
        connections: 1,
        connections_per_address: 1,
        header_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(60),
    };

    /// A request with a body of so many pieces of 1 MiB, and a count of those that were asked for.
    fn pieces(
        many: u64,
        waits: bool,
    ) -> (Request<impl Body<Data = Bytes, Error = Infallible> + Unpin>, Arc<AtomicU64>) {
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        let pieces = stream::iter(0..many).map(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Frame::data(Bytes::from(vec![0; 1 << 20])))
        });
        let expects = if waits { "100-continue" } else { "" };
        let request = Request::builder().header(EXPECT, expects).body(StreamBody::new(Box::pin(pieces)));
        (request.expect("legal"), asked)
    }

    #[tokio::test]
    async fn what_was_not_taken_is_thrown_away_up_to_a_bound() {
        for (many, waits, reads, expected, whole) in [
            (3, false, 0, 3, true),
            (3, false, 2, 3, true),
            (40, false, 1, 17, false),
            (3, true, 0, 0, false),
            (3, true, 1, 3, true),
        ] {
            let (request, asked) = pieces(many, waits);
            let (mut request, leftover) = lend(request);
            for _ in 0..reads {
                request.body_mut().frame().await.expect("there are more").expect("never fails");
            }
            drop(request);
            assert_eq!(leftover.drain().await, whole, "{many} {waits} {reads}");
            assert_eq!(asked.load(Ordering::Relaxed), expected, "{many} {waits} {reads}");
        }
    }

    #[tokio::test]
    async fn of_a_body_that_was_read_to_its_end_nothing_comes_back() {
        let (request, _) = pieces(2, false);
        let (request, leftover) = lend(request);
        assert_eq!(request.into_body().collect().await.expect("never fails").to_bytes().len(), 2 << 20);
        assert!(leftover.back.lock().expect("alive").is_none());
        assert!(leftover.drain().await);
    }

    #[tokio::test]
    async fn a_body_that_broke_is_not_asked_again() {
        let broken = stream::iter([Err::<Frame<Bytes>, _>("it broke"), Ok(Frame::data(Bytes::from_static(b"x")))]);
        let (mut request, leftover) = lend(Request::new(StreamBody::new(broken)));
        assert!(request.body_mut().frame().await.expect("the error").is_err());
        assert!(request.body_mut().frame().await.is_none());
        drop(request);
        assert!(!leftover.drain().await);
    }

    /// What a server says that refuses every request unread, until it closes the connection.
    async fn told(requests: &[&[u8]]) -> String {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let answer = |request: Request<Incoming>| async {
            let (request, leftover) = lend(request);
            drop(request);
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = StatusCode::FORBIDDEN;
            leftover.settle(&mut response).await;
            response
        };
        let peer = ([192, 0, 2, 1], 1).into();
        let serving = tokio::spawn(http_listener::converse(server, peer, LIMITS, CancellationToken::new(), answer));
        for request in requests {
            client.write_all(request).await.expect("it is read");
        }
        let mut told = String::new();
        client.read_to_string(&mut told).await.expect("it is closed in order");
        serving.await.expect("ends");
        told
    }

    #[tokio::test]
    async fn a_connection_that_will_be_closed_is_told_so() {
        let waiting = told(&[b"PUT / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"]).await;
        assert!(waiting.starts_with("HTTP/1.1 403") && waiting.contains("connection: close\r\n"), "{waiting}");

        let body = vec![0; 3 << 20];
        let head = format!("PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        let sending = told(&[head.as_bytes(), &body, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"]).await;
        assert_eq!(sending.matches("HTTP/1.1 403").count(), 2, "{sending}");
        let (first, _) = sending.split_once("\r\n\r\n").expect("two answers");
        assert!(!first.contains("connection: close"), "{sending}");
    }
}
