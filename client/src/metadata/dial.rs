//! Finding the leader, or any member: which address to try next, how long to pause, and one attempt to open a stream.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use proto::v1;
use proto::v1::metadata_client::MetadataClient;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

/// Batches that wait for the socket.
const OUTGOING: usize = 8;
/// An address that just failed is not gone back to on a redirect; it is tried again in its turn.
const HELD_AGAINST: Duration = Duration::from_secs(1);
/// An attempt may take this long at first, doubled with each round up to what is configured: a member that hangs does
/// not keep a client from the others.
const PATIENCE: Duration = Duration::from_millis(400);
/// The pause after all addresses were tried in vain, doubled each time.
const PAUSE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(400));

/// An open stream to a member that says it leads.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) address: String,
    pub(super) to: mpsc::Sender<v1::OpBatch>,
    pub(super) from: Streaming<v1::ReplyBatch>,
    pub(super) welcome: v1::Welcome,
    /// The stream ends with its connection, and that with this.
    _client: MetadataClient<Channel>,
}

/// Why an attempt did not give a stream.
#[derive(Debug)]
pub(super) enum DialError {
    NotLeader { leader: String },
    Failed(String),
}

/// A library error with all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// One attempt, at most `patience` long.
pub(super) async fn dial(
    address: String,
    hello: v1::Hello,
    patience: Duration,
) -> (String, Result<Box<Live>, DialError>) {
    let attempt = attempt(address.clone(), hello);
    let outcome = match tokio::time::timeout(patience, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(DialError::Failed("no answer".to_owned())),
    };
    (address, outcome)
}

async fn attempt(address: String, hello: v1::Hello) -> Result<Box<Live>, DialError> {
    let failed = |text: String| DialError::Failed(text);
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| failed(chain(&error)))?
        .tcp_nodelay(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(2 << 20)
        .connect()
        .await
        .map_err(|error| failed(chain(&error)))?;
    let (to, batches) = mpsc::channel(OUTGOING);
    to.try_send(v1::OpBatch { hello: Some(hello), ops: Vec::new() }).expect("a fresh channel has room");
    let mut client = MetadataClient::new(channel).max_decoding_message_size(proto::MAX_MESSAGE);
    let stream =
        client.stream(ReceiverStream::new(batches)).await.map_err(|status| failed(status.message().to_owned()))?;
    let mut from = stream.into_inner();
    match from.message().await {
        Ok(Some(v1::ReplyBatch { not_leader: Some(not_leader), .. })) => {
            Err(DialError::NotLeader { leader: not_leader.leader })
        }
        Ok(Some(v1::ReplyBatch { welcome: Some(welcome), .. })) => {
            Ok(Box::new(Live { address, to, from, welcome, _client: client }))
        }
        Ok(Some(_)) => Err(failed("it did not answer the greeting".to_owned())),
        Ok(None) => Err(failed("it closed the stream".to_owned())),
        Err(status) => Err(failed(status.message().to_owned())),
    }
}

/// Chooses the next address: the one a member points to, else each configured one in turn.
#[derive(Debug)]
pub(super) struct Search {
    addresses: Vec<String>,
    next: usize,
    hint: Option<String>,
    failed: HashMap<String, Instant>,
    /// Attempts since a stream last answered an operation, and since the last pause.
    attempts: usize,
    pause: Duration,
    /// How often all addresses were tried since then.
    rounds: u32,
    /// Why each address was of no use when it was last tried.
    reasons: Vec<(String, String)>,
}

impl Search {
    pub(super) fn new(addresses: Vec<String>) -> Self {
        Self {
            addresses,
            next: 0,
            hint: None,
            failed: HashMap::new(),
            attempts: 0,
            pause: PAUSE.0,
            rounds: 0,
            reasons: Vec::new(),
        }
    }

    /// The same, from any address on, so that clients are spread over all.
    pub(super) fn beginning_anywhere(addresses: Vec<String>) -> Self {
        let first = RandomState::new().build_hasher().finish() % addresses.len().max(1) as u64;
        Self { next: first as usize, ..Self::new(addresses) }
    }

    /// The address to try now.
    pub(super) fn address(&mut self) -> String {
        self.attempts += 1;
        if let Some(hint) = self.hint.take() {
            return hint;
        }
        let address = self.addresses[self.next % self.addresses.len()].clone();
        self.next += 1;
        address
    }

    /// How long the next attempt may take, of at most `configured`.
    pub(super) fn patience(&self, configured: Duration) -> Duration {
        (PATIENCE * (1 << self.rounds.min(10))).min(configured)
    }

    /// Notes that `address` does not lead and points to `leader` (empty if it knows none).
    pub(super) fn not_leader(&mut self, address: &str, leader: &str, now: Instant) {
        self.note(
            address,
            if leader.is_empty() { "knows no leader".to_owned() } else { format!("points to {leader}") },
        );
        let held_against = self.failed.get(leader).is_some_and(|failed| now.duration_since(*failed) < HELD_AGAINST);
        if !leader.is_empty() && leader != address && !held_against {
            self.hint = Some(leader.to_owned());
        }
    }

    /// Notes that `address` failed.
    pub(super) fn failed(&mut self, address: &str, reason: String, now: Instant) {
        self.note(address, reason);
        // Addresses come from the configuration and from members: few; the cap is against a lying one.
        if self.failed.len() > 64 {
            self.failed.clear();
        }
        self.failed.insert(address.to_owned(), now);
    }

    /// Notes that a stream answers: the next search starts afresh, at the same place.
    pub(super) fn succeeded(&mut self) {
        self.attempts = 0;
        self.pause = PAUSE.0;
        self.rounds = 0;
        self.reasons.clear();
        self.failed.clear();
    }

    /// How long to wait before the next attempt: not at all, until all addresses (and a redirect) were tried.
    pub(super) fn pause(&mut self) -> Duration {
        if self.attempts <= self.addresses.len() && (self.hint.is_some() || self.attempts < self.addresses.len()) {
            return Duration::ZERO;
        }
        self.attempts = 0;
        self.rounds += 1;
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE.1);
        // Half of it is random, so that the clients of a lost leader do not come back in step.
        let share = (RandomState::new().build_hasher().finish() >> 32) as u32;
        pause / 2 + (pause / 2).mul_f64(f64::from(share) / f64::from(u32::MAX))
    }

    /// For an error: each address and why it was of no use.
    pub(super) fn summary(&self) -> String {
        if self.reasons.is_empty() {
            return "connected, but no operation was answered".to_owned();
        }
        let each: Vec<String> = self.reasons.iter().map(|(address, reason)| format!("{address} {reason}")).collect();
        each.join(", ")
    }

    fn note(&mut self, address: &str, reason: String) {
        self.reasons.retain(|(known, _)| known != address);
        if self.reasons.len() < 16 {
            self.reasons.push((address.to_owned(), reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Search {
        Search::new(["a:1", "b:1", "c:1"].map(str::to_owned).to_vec())
    }

    #[test]
    fn a_redirect_is_followed_unless_its_target_just_failed() {
        let now = Instant::now();
        let mut search = three();
        assert_eq!(search.address(), "a:1");
        search.not_leader("a:1", "c:1", now);
        assert_eq!(search.address(), "c:1");
        search.failed("c:1", "is silent".to_owned(), now);
        assert_eq!(search.address(), "b:1");
        search.not_leader("b:1", "c:1", now);
        assert_ne!(search.address(), "b:1");
        assert_eq!(search.summary(), "a:1 points to c:1, c:1 is silent, b:1 points to c:1");
    }

    #[test]
    fn patience_grows_with_each_round_up_to_what_is_configured() {
        let mut search = three();
        let most = Duration::from_secs(1);
        let mut seen = Vec::new();
        for _ in 0..9 {
            search.address();
            seen.push(search.patience(most));
            search.pause();
        }
        assert_eq!((seen[0], seen[2], seen[3], seen[6]), (PATIENCE, PATIENCE, 2 * PATIENCE, most));
        search.succeeded();
        assert_eq!(search.patience(most), PATIENCE);
    }

    #[test]
    fn a_pause_comes_after_each_round_and_grows_to_a_bound() {
        let mut search = three();
        let mut pauses = Vec::new();
        for _ in 0..60 {
            search.address();
            pauses.push(search.pause());
        }
        let real: Vec<_> = pauses.iter().filter(|pause| !pause.is_zero()).collect();
        assert_eq!(real.len(), 20);
        assert!(real.iter().all(|pause| **pause <= PAUSE.1));
        assert!(*real[19] >= PAUSE.1 / 2);
    }
}
