//! Messages on their way to the other members.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::Sender;
use protobuf::Message as _;
use raft::eraftpb::Message;
use tokio::sync::mpsc;
use tracing::{debug, error};

use super::Input;

/// Messages and bytes that wait for one member. Past either, messages are dropped: the protocol sends them again.
const QUEUE: usize = 4096;
const QUEUE_BYTES: usize = 64 << 20;

/// The end of a member's queue that its connection reads.
#[derive(Debug)]
pub(crate) struct Queue {
    messages: mpsc::Receiver<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

impl Queue {
    /// Takes at most `limit` messages; none when the queue is closed. Safe to cancel.
    pub(crate) async fn take(&mut self, taken: &mut Vec<Vec<u8>>, limit: usize) -> usize {
        let count = self.messages.recv_many(taken, limit).await;
        let bytes: usize = taken[taken.len() - count..].iter().map(Vec::len).sum();
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        count
    }

    /// Drops what waits: it is too old to be of use.
    pub(crate) fn clear(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            self.bytes.fetch_sub(message.len(), Ordering::AcqRel);
        }
    }
}

struct Peer {
    node: u64,
    queue: mpsc::Sender<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

pub(crate) struct Outbox {
    peers: Vec<Peer>,
    inputs: Sender<Input>,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("peers", &self.peers.len()).finish_non_exhaustive()
    }
}

impl Outbox {
    /// A queue for each of `peers`.
    pub(crate) fn new(peers: &[u64], inputs: Sender<Input>) -> (Self, Vec<(u64, Queue)>) {
        let mut queues = Vec::new();
        let peers = peers.iter().map(|&node| {
            let (queue, messages) = mpsc::channel(QUEUE);
            let bytes = Arc::new(AtomicUsize::new(0));
            queues.push((node, Queue { messages, bytes: bytes.clone() }));
            Peer { node, queue, bytes }
        });
        (Self { peers: peers.collect(), inputs }, queues)
    }

    pub(super) fn send(&self, messages: Vec<Message>) {
        for message in messages {
            let Some(peer) = self.peers.iter().find(|peer| peer.node == message.to) else {
                debug!(to = message.to, "a message for nobody");
                continue;
            };
            let bytes = match message.write_to_bytes() {
                Ok(bytes) => bytes,
                Err(error) => {
                    error!(%error, "a raft message cannot be encoded");
                    continue;
                }
            };
            let length = bytes.len();
            let room = peer.bytes.fetch_add(length, Ordering::AcqRel) + length <= QUEUE_BYTES;
            if !room || peer.queue.try_send(bytes).is_err() {
                peer.bytes.fetch_sub(length, Ordering::AcqRel);
                self.unreachable(peer.node);
            }
        }
    }

    /// Notes that messages to a member are being lost. Never blocks: the raft thread itself may be the caller.
    fn unreachable(&self, node: u64) {
        let _ = self.inputs.try_send(Input::Unreachable(node));
    }
}
