//! What is left of the body of a request that was answered before all of it was taken.
//!
//! A client that is still sending does not look for an answer. If the connection is closed while bytes are under way, it is
//! told of a reset and never sees why it was refused. So some of what is left is taken in and thrown away, at the pace that
//! bodies have anyway.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};

/// Of one body. A part has as much with most clients.
const DRAINED: u64 = 16 << 20;

/// Where a body comes back to.
pub(crate) struct Leftover<B>(Arc<Mutex<Option<Left<B>>>>);

struct Left<B> {
    body: B,
    /// Whether anybody has asked for a byte of it.
    asked: bool,
}

/// A body that is handed back when it is dropped, unless it was read to its end.
pub(crate) struct Lent<B> {
    left: Option<Left<B>>,
    back: Arc<Mutex<Option<Left<B>>>>,
}

pub(crate) fn lend<B: Body<Data = Bytes> + Unpin>(body: B) -> (Lent<B>, Leftover<B>) {
    let back = Arc::default();
    (Lent { left: Some(Left { body, asked: false }), back: Arc::clone(&back) }, Leftover(back))
}

impl<B: Body<Data = Bytes> + Unpin> Leftover<B> {
    /// Takes in what is left, up to a bound. A client that `waits` to be asked for the body, and was not, sends none.
    pub(crate) async fn drain(self, waits: bool) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Left { mut body, asked }) = left else { return };
        if waits && !asked {
            return;
        }
        let mut taken = 0;
        while taken < DRAINED
            && let Some(Ok(frame)) = body.frame().await
        {
            taken += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
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
        let Some(left) = &mut this.left else { return Poll::Ready(None) };
        left.asked = true;
        let polled = Pin::new(&mut left.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            this.left = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.left.as_ref().is_none_or(|left| left.body.is_end_stream())
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

    use futures::{StreamExt as _, stream};
    use http_body_util::StreamBody;

    use super::*;

    /// A body of so many pieces of 1 MiB, and a count of those that were asked for.
    fn pieces(many: u64) -> (impl Body<Data = Bytes, Error = Infallible> + Unpin, Arc<AtomicU64>) {
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        let pieces = stream::iter(0..many).map(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Frame::data(Bytes::from(vec![0; 1 << 20])))
        });
        (StreamBody::new(Box::pin(pieces)), asked)
    }

    #[tokio::test]
    async fn what_was_not_taken_is_thrown_away_up_to_a_bound() {
        for (many, waits, reads, expected) in
            [(3, false, 0, 3), (3, false, 2, 3), (40, false, 1, 17), (3, true, 0, 0), (3, true, 1, 3)]
        {
            let (body, asked) = pieces(many);
            let (mut lent, leftover) = lend(body);
            for _ in 0..reads {
                lent.frame().await.expect("there are more").expect("never fails");
            }
            drop(lent);
            leftover.drain(waits).await;
            assert_eq!(asked.load(Ordering::Relaxed), expected, "{many} {waits} {reads}");
        }
    }

    #[tokio::test]
    async fn of_a_body_that_was_read_to_its_end_nothing_comes_back() {
        let (body, _) = pieces(2);
        let (lent, leftover) = lend(body);
        assert_eq!(lent.collect().await.expect("never fails").to_bytes().len(), 2 << 20);
        assert!(leftover.0.lock().expect("alive").is_none());
    }
}
