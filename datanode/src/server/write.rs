//! Serves one write: a hop of a chain. The decisions are [`Relay`]'s; this moves bytes.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};
use transfer::machine::{RelayInput as Input, RelayOutput as Output};
use transfer::message::{MAX_BLOCK, MAX_CHAIN};
use transfer::{ALIVE_EVERY, Alive, Control, Extent, Failed, Flags, Frame, Hop, Packet, Relay, STALLED_AFTER, Setup};
use types::token::Right;
use types::{ByteSize, Code};

use super::Next;
use crate::connection::{Connection, ConnectionError, FrameReader, FrameWriter};
use crate::disk::DiskGone;
use crate::node::Node;
use crate::store::{Acked, Begin, StoreError, Volume};

/// Packets taken and not yet acknowledged: what a chain may hold in memory at this hop.
const WINDOW: usize = 16;
/// What all chains of a node together may hold, as long as that leaves each [`MIN_WINDOW`].
const ALL_WINDOWS: usize = 256;
/// One packet on its way to the disk, one on its way in.
const MIN_WINDOW: usize = 2;
/// A disk that takes longer to begin a replica is not waited for.
const BEGIN_DEADLINE: Duration = Duration::from_secs(30);

pub(super) async fn serve(node: &Arc<Node>, above: &mut Connection, setup: Setup) -> Result<Next, ConnectionError> {
    let volume = match check(node, &setup) {
        Ok(volume) => volume,
        Err(failed) => return refuse(node, above, failed).await,
    };
    let (own, below) = {
        let begin = Begin {
            block: setup.block,
            generation: setup.generation,
            level: setup.level,
            max_length: setup.max_length,
            resume: setup.resume,
        };
        let own = async {
            let on = Arc::clone(&volume);
            timeout(BEGIN_DEADLINE, volume.disk.run(move || on.begin(&begin))).await
        };
        alive(above, async { tokio::join!(own, connect_below(node, &setup)) }).await?
    };
    let (extent, acked) = match own {
        Ok(Ok(Ok(begun))) => begun,
        Ok(Ok(Err(error))) => return refuse(node, above, Failed::new(setup.storage, error.code(), error)).await,
        Ok(Err(gone)) => return refuse(node, above, Failed::new(setup.storage, Code::Io, gone)).await,
        Err(_) => {
            let reason = format!("the disk took longer than {BEGIN_DEADLINE:?}");
            return refuse(node, above, Failed::new(setup.storage, Code::TimedOut, reason)).await;
        }
    };
    volume.count_writer(1);
    let began = below.is_ok();
    let result = match below {
        Err(failed) => refuse(node, above, failed).await,
        Ok(below) => Chain::new(node, above, &volume, &setup, extent, acked, below).run().await,
    };
    volume.count_writer(-1);
    // One that did not begin was counted when it was refused.
    if began {
        let whole = matches!(result, Ok(Next::Continue));
        node.metrics.wrote((!whole).then_some(Code::Io));
    }
    if !matches!(result, Ok(Next::Continue)) {
        let (on, Setup { block, generation, .. }) = (Arc::clone(&volume), setup);
        let _ = volume.disk.run(move || on.leave(block, generation)).await;
    }
    if matches!(result, Ok(Next::Close)) {
        above.drain().await;
    }
    result
}

/// The volume that is meant, if the request makes sense.
fn check(node: &Node, setup: &Setup) -> Result<Arc<Volume>, Failed> {
    let failed = |code, reason: String| Err(Failed::new(setup.storage, code, reason));
    if let Err(error) = node.tokens.check(&setup.token, setup.block, setup.generation, &[Right::Write]) {
        return failed(error.code(), error.to_string());
    }
    if setup.downstream.len() >= MAX_CHAIN {
        return failed(Code::InvalidArgument, format!("a chain has at most {MAX_CHAIN} hops"));
    }
    if setup.max_length == ByteSize::ZERO || setup.max_length > MAX_BLOCK {
        return failed(Code::TooLarge, format!("a block has up to {MAX_BLOCK}, not {}", setup.max_length));
    }
    if let Some(hop) = setup.downstream.iter().find(|hop| !hop.address.ip().is_loopback()) {
        return failed(
            Code::Denied,
            format!("{} is not a loopback address, and TLS is not supported yet", hop.address),
        );
    }
    match node.volumes.get(&setup.storage) {
        Some(volume) => Ok(Arc::clone(volume)),
        None => failed(Code::NotFound, "the storage is not on this node".to_owned()),
    }
}

/// The write did not begin, and nothing of it is on the way: the connection is as before.
async fn refuse(node: &Node, above: &mut Connection, failed: Failed) -> Result<Next, ConnectionError> {
    node.metrics.wrote(Some(failed.code));
    info!(%failed, "a write is refused");
    above.writer.send(&Control::Failed(failed)).await?;
    Ok(Next::Close)
}

/// Tells the hop above that this one is alive until the work is done.
async fn alive<T>(above: &mut Connection, work: impl Future<Output = T>) -> Result<T, ConnectionError> {
    tokio::pin!(work);
    let mut due = interval_at(Instant::now() + ALIVE_EVERY, ALIVE_EVERY);
    loop {
        tokio::select! {
            result = &mut work => return Ok(result),
            _ = due.tick() => above.writer.send(&Control::Alive(Alive::default())).await?,
        }
    }
}

/// Sets up the rest of the chain.
async fn connect_below(node: &Node, setup: &Setup) -> Result<Option<(Connection, SocketAddr)>, Failed> {
    let Some((hop, rest)) = setup.downstream.split_first() else {
        return Ok(None);
    };
    let request = Control::Setup(Setup { storage: hop.storage, downstream: rest.to_vec(), ..setup.clone() });
    if let Some(mut used) = node.peers.reuse(hop.address) {
        match set_up(&mut used, hop, &request).await {
            Ok(()) => return Ok(Some((used, hop.address))),
            Err(SetupError::Failed(failed)) => return Err(failed),
            Err(SetupError::Connection(error)) => debug!(address = %hop.address, %error, "an idle connection is dead"),
        }
    }
    let broken = |error: ConnectionError| Failed::new(hop.storage, error.code(), error);
    let mut connection = node.peers.open(hop.address).await.map_err(broken)?;
    match set_up(&mut connection, hop, &request).await {
        Ok(()) => Ok(Some((connection, hop.address))),
        Err(SetupError::Failed(failed)) => Err(failed),
        Err(SetupError::Connection(error)) => Err(broken(error)),
    }
}

enum SetupError {
    Failed(Failed),
    Connection(ConnectionError),
}

async fn set_up(below: &mut Connection, hop: &Hop, request: &Control) -> Result<(), SetupError> {
    below.writer.send(request).await.map_err(SetupError::Connection)?;
    loop {
        let Ok(answer) = timeout(STALLED_AFTER, below.reader.next()).await else {
            let reason = format!("no answer for {STALLED_AFTER:?}");
            return Err(SetupError::Failed(Failed::new(hop.storage, Code::TimedOut, reason)));
        };
        match answer.map_err(SetupError::Connection)? {
            Some(Frame::Control(Control::Alive(_))) => {}
            Some(Frame::Control(Control::Ready)) => return Ok(()),
            Some(Frame::Control(Control::Failed(failed))) => return Err(SetupError::Failed(failed)),
            None => return Err(SetupError::Connection(ConnectionError::Closed)),
            Some(_) => {
                let failed = Failed::new(hop.storage, Code::Incompatible, "no answer to the setup");
                return Err(SetupError::Failed(failed));
            }
        }
    }
}

/// A job of the disk that stores packets: the last of their sequence numbers and the result.
type Storing = Pin<Box<dyn Future<Output = Result<Result<(), StoreError>, DiskGone>> + Send>>;

/// A chain that is set up.
struct Chain<'a> {
    node: &'a Arc<Node>,
    above: &'a mut Connection,
    volume: &'a Arc<Volume>,
    setup: &'a Setup,
    acked: Acked,
    relay: Relay,
    begun: Instant,
    below: Option<Below>,
    /// Not yet given to the disk.
    to_store: Vec<Packet>,
    storing: Option<(Vec<u64>, Storing)>,
    ending: bool,
}

struct Below {
    address: SocketAddr,
    reader: FrameReader,
    packets: mpsc::Sender<Packet>,
    sender: AbortOnDropHandle<Result<FrameWriter, ConnectionError>>,
    /// Why no more packets can be sent.
    broken: Option<ConnectionError>,
}

impl Below {
    /// Sends packets from a task of its own, so that a slow hop below does not keep this one from answering above.
    fn new(connection: Connection, address: SocketAddr) -> Self {
        let Connection { reader, mut writer } = connection;
        let (packets, mut queue) = mpsc::channel::<Packet>(WINDOW);
        let sender = tokio::spawn(async move {
            while let Some(packet) = queue.recv().await {
                writer.send_packet(&packet).await?;
            }
            Ok(writer)
        });
        Self { address, reader, packets, sender: AbortOnDropHandle::new(sender), broken: None }
    }

    /// What the hop below says, or that it is lost. When packets cannot be sent any more, it may have said why.
    async fn next(&mut self) -> Input {
        let lost = |error: ConnectionError| Input::BelowLost { code: error.code(), reason: error.to_string() };
        loop {
            tokio::select! {
                frame = self.reader.next() => return match frame {
                    Ok(Some(Frame::Control(control))) => Input::Below(control),
                    Ok(Some(Frame::Packet(_) | Frame::Piece(_))) => lost(ConnectionError::Unexpected { what: "data" }),
                    Ok(None) => lost(self.broken.take().unwrap_or(ConnectionError::Closed)),
                    Err(error) => lost(self.broken.take().unwrap_or(error)),
                },
                sent = &mut self.sender, if self.broken.is_none() => {
                    self.broken = Some(match sent {
                        Ok(Err(error)) => error,
                        Ok(Ok(_)) | Err(_) => ConnectionError::Closed,
                    });
                }
            }
        }
    }
}

enum Event {
    Input(Input),
    /// The hop above is gone, or broke the protocol.
    Above(ConnectionError),
}

impl<'a> Chain<'a> {
    fn new(
        node: &'a Arc<Node>,
        above: &'a mut Connection,
        volume: &'a Arc<Volume>,
        setup: &'a Setup,
        extent: Extent,
        acked: Acked,
        below: Option<(Connection, SocketAddr)>,
    ) -> Self {
        Self {
            node,
            above,
            volume,
            setup,
            acked,
            relay: Relay::new(setup, extent),
            begun: Instant::now(),
            below: below.map(|(connection, address)| Below::new(connection, address)),
            to_store: Vec::new(),
            storing: None,
            ending: false,
        }
    }

    async fn run(mut self) -> Result<Next, ConnectionError> {
        self.above.writer.send(&Control::Ready).await?;
        loop {
            self.store();
            let inputs = match self.event().await {
                Event::Above(error) => return Err(error),
                Event::Input(Input::Stored { .. }) => self.stored(),
                Event::Input(input) => vec![input],
            };
            for input in inputs {
                for output in self.relay.handle(self.begun.elapsed(), input) {
                    if let Some(next) = self.apply(output).await? {
                        return Ok(next);
                    }
                }
            }
        }
    }

    /// Gives the disk what waits for it. One job at a time: packets are stored in their order.
    fn store(&mut self) {
        if self.storing.is_some() || self.to_store.is_empty() {
            return;
        }
        let packets = std::mem::take(&mut self.to_store);
        let sequences = packets.iter().map(|packet| packet.sequence).collect();
        let (volume, on) = (Arc::clone(self.volume), Arc::clone(self.volume));
        let Setup { block, generation, .. } = *self.setup;
        let (node, begun, pieces) = (Arc::clone(self.node), Instant::now(), packets.len() as u64);
        let job = Box::pin(async move {
            let stored = volume.disk.run(move || on.append(block, generation, &packets)).await;
            node.stores.note(begun.elapsed());
            node.client_writes.note(pieces, begun.elapsed());
            stored
        });
        self.storing = Some((sequences, job));
    }

    /// The inputs that a finished job of the disk makes. Called when it is known to be good.
    fn stored(&mut self) -> Vec<Input> {
        let (sequences, _) = self.storing.take().expect("a job has ended");
        sequences.into_iter().map(|sequence| Input::Stored { sequence }).collect()
    }

    async fn event(&mut self) -> Event {
        let window = (ALL_WINDOWS / (self.node.writers() as usize).max(1)).clamp(MIN_WINDOW, WINDOW);
        let take = !self.ending && self.relay.outstanding() < window;
        let deadline = self.relay.deadline().map(|deadline| self.begun + deadline);
        let storing = async {
            match &mut self.storing {
                Some((sequences, job)) => (sequences.last().copied(), job.await),
                None => std::future::pending().await,
            }
        };
        let below = async {
            match &mut self.below {
                Some(below) => below.next().await,
                None => std::future::pending().await,
            }
        };
        let due = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (last, result) = storing => Event::Input(match result {
                Ok(Ok(())) => Input::Stored { sequence: last.expect("a job has packets") },
                Ok(Err(error)) => Input::StoreFailed { code: error.code(), reason: error.to_string() },
                Err(gone) => Input::StoreFailed { code: Code::Io, reason: gone.to_string() },
            }),
            input = below => Event::Input(input),
            () = due => Event::Input(Input::Tick),
            frame = self.above.reader.next(), if take => match frame {
                Ok(Some(Frame::Packet(packet))) => {
                    self.ending = packet.flags.has(Flags::FINISH);
                    self.node.metrics.received.inc_by(packet.data.len() as u64);
                    Event::Input(Input::Packet(packet))
                }
                Ok(Some(Frame::Control(_) | Frame::Piece(_))) => {
                    Event::Above(ConnectionError::Unexpected { what: "something else than a packet" })
                }
                Ok(None) => Event::Above(ConnectionError::Closed),
                // The connection is there still: whoever sent it hears of it, and may send it again.
                Err(ConnectionError::Frame(error)) => {
                    Event::Input(Input::AboveLost { code: error.code(), reason: error.to_string() })
                }
                Err(error) => Event::Above(error),
            },
        }
    }

    async fn apply(&mut self, output: Output) -> Result<Option<Next>, ConnectionError> {
        match output {
            Output::Store(packet) => self.to_store.push(packet),
            Output::Forward(packet) => {
                let below = self.below.as_ref().expect("only a chain with a hop below forwards");
                // Full it is never: it holds as many as may be outstanding. Closed means lost, which `Below::next` tells.
                let _ = below.packets.try_send(packet);
            }
            Output::Acked(extent) => self.acked.set(extent),
            Output::Reply(control) => {
                if let Control::Failed(failed) = &control {
                    let Setup { block, generation, .. } = self.setup;
                    info!(%block, %generation, %failed, "a chain is lost");
                }
                self.above.writer.send(&control).await?;
            }
            Output::Finished => {
                self.keep_below().await;
                return Ok(Some(Next::Continue));
            }
            Output::Stopped => return Ok(Some(Next::Close)),
        }
        Ok(None)
    }

    /// The connection below may serve another chain.
    async fn keep_below(&mut self) {
        if let Some(Below { address, reader, packets, sender, broken: None }) = self.below.take() {
            drop(packets);
            if let Ok(Ok(writer)) = sender.await {
                self.node.peers.keep(address, Connection { reader, writer });
            }
        }
    }
}
