//! Messages on their way to the other members.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use prometheus_client::metrics::counter::Counter;
use protobuf::Message as _;
use raft::eraftpb::Message;
use tokio::sync::mpsc;
use tracing::error;

use super::Input;
use crate::queue::Sender;

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
    queue: mpsc::Sender<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

/// Queues of members to which there is no connection yet.
pub(crate) type Opened = mpsc::UnboundedReceiver<(u64, Queue)>;

pub(crate) struct Outbox {
    /// By node. There are as many as members that this one ever had something to say to.
    peers: Mutex<BTreeMap<u64, Peer>>,
    opened: mpsc::UnboundedSender<(u64, Queue)>,
    inputs: Sender<Input>,
    lost: Counter,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("peers", &self.peers().len()).finish_non_exhaustive()
    }
}

impl Outbox {
    /// The queue of a member comes out with the first message for it, and again if its reader has let go of it.
    pub(crate) fn new(inputs: Sender<Input>, lost: Counter) -> (Self, Opened) {
        let (opened, queues) = mpsc::unbounded_channel();
        (Self { peers: Mutex::default(), opened, inputs, lost }, queues)
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<u64, Peer>> {
        self.peers.lock().expect("no holder of this lock panics")
    }

    fn open(&self, node: u64) -> Peer {
        let (queue, messages) = mpsc::channel(QUEUE);
        let bytes = Arc::new(AtomicUsize::new(0));
        // Nobody connects any more when the process ends.
        let _ = self.opened.send((node, Queue { messages, bytes: bytes.clone() }));
        Peer { queue, bytes }
    }

    pub(super) fn send(&self, messages: Vec<Message>) {
        let mut peers = self.peers();
        for message in messages {
            let node = message.to;
            if peers.get(&node).is_none_or(|peer| peer.queue.is_closed()) {
                peers.insert(node, self.open(node));
            }
            let peer = peers.get(&node).expect("just seen");
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
                self.lost.inc();
                self.unreachable(node);
            }
        }
    }

    /// Notes that messages to a member are being lost. Never blocks: the raft thread itself may be the caller.
    fn unreachable(&self, node: u64) {
        let _ = self.inputs.try_send(Input::Unreachable(node));
    }
}
