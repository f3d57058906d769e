//! The body of a request whose client must not dawdle: it is cut when it comes in more slowly than the least rate.
//!
//! Only the time counts in which the gateway waits for the client. How long the cluster takes is not the client's fault.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, Sleep};

/// How slow a client may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Bytes in a second, on the average; not zero.
    pub(crate) rate: u64,
    /// What the client may take beside, once.
    pub(crate) patience: Duration,
}

pub(crate) struct Paced<B> {
    body: B,
    pace: Pace,
    received: u64,
    /// Of all bodies together.
    counter: Counter,
    waited: Duration,
    /// Since when the client is waited for.
    since: Option<Instant>,
    deadline: Pin<Box<Sleep>>,
}

/// Why a body ends early.
#[derive(Debug)]
pub(crate) enum Cut<E> {
    TooSlow,
    Broken(E),
}

impl<E> fmt::Display for Cut<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooSlow => "the body came in too slowly",
            Self::Broken(_) => "the connection broke",
        })
    }
}

impl<E: Error + 'static> Error for Cut<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::TooSlow => None,
            Self::Broken(error) => Some(error),
        }
    }
}

impl<B> Paced<B> {
    pub(crate) fn new(body: B, pace: Pace, counter: Counter) -> Self {
        let deadline = Box::pin(tokio::time::sleep(pace.patience));
        Self { body, pace, received: 0, counter, waited: Duration::ZERO, since: None, deadline }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Paced<B> {
    type Data = Bytes;
    type Error = Cut<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => {
                if let Some(since) = this.since.take() {
                    this.waited += since.elapsed();
                }
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
                let length = data.map_or(0, |data| data.len() as u64);
                this.received += length;
                this.counter.inc_by(length);
                Poll::Ready(frame.map(|frame| frame.map_err(Cut::Broken)))
            }
            Poll::Pending => {
                let since = *this.since.get_or_insert_with(Instant::now);
                let earned = Duration::from_secs_f64(this.received as f64 / this.pace.rate as f64);
                let left = (this.pace.patience + earned).saturating_sub(this.waited);
                this.deadline.as_mut().reset(since + left);
                match this.deadline.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(Cut::TooSlow))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    const PACE: Pace = Pace { rate: 100, patience: Duration::from_secs(10) };

    /// So many pieces of ten bytes, each after a while; how many came through.
    async fn received(pieces: usize, every: Duration) -> Result<usize, Cut<Infallible>> {
        let pieces = stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(every).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 10])))
        });
        let paced = Paced::new(StreamBody::new(Box::pin(pieces)), PACE, Counter::default());
        paced.collect().await.map(|whole| whole.to_bytes().len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_keeps_the_rate_is_served_for_as_long_as_it_takes() {
        assert_eq!(received(10_000, Duration::from_millis(100)).await.expect("100 bytes in a second"), 100_000);
        assert_eq!(received(1, Duration::from_secs(9)).await.expect("within the patience"), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_drips_is_cut() {
        let begun = Instant::now();
        // A byte in a tenth of a second is earned back as a hundredth of one.
        assert!(matches!(received(10_000, Duration::from_secs(1)).await, Err(Cut::TooSlow)));
        assert_eq!(begun.elapsed().as_secs(), 11);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_of_the_body_is_not_the_client() {
        let pieces = stream::iter((0..10).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))));
        let counter = Counter::default();
        let mut paced = Paced::new(StreamBody::new(pieces), PACE, counter.clone());
        let mut count = 0;
        while let Some(frame) = paced.frame().await {
            frame.expect("it is there at once");
            count += 1;
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        assert_eq!((count, counter.get()), (10, 10));
    }

    #[tokio::test]
    async fn the_length_of_a_body_stays_known() {
        let body = http_body_util::Full::new(Bytes::from_static(b"abc"));
        assert_eq!(Paced::new(body, PACE, Counter::default()).size_hint().exact(), Some(3));
    }
}
