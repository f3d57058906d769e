//! Connections to the transfer servers of datanodes: dialled, greeted, kept while idle, and used again.

mod record;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use transfer::frame::{HEADER, Header, MAX_BODY, decode_body};
use transfer::message::Hello;
use transfer::{Buffers, Control, Failed, Frame, FrameError};
use types::{ClusterId, Code};

pub(crate) use record::{Class, Outlook};

use record::Records;

use crate::config::Config;
use crate::local::PIECE;

/// An idle connection is closed after this long; datanodes wait longer.
const IDLE: Duration = Duration::from_secs(20);
/// No more connections are kept.
const KEPT: usize = 256;
/// Bytes read with a header: a short answer comes in one go, a long one costs little copying.
const FIRST_READ: usize = 8 << 10;
/// Bodies from this size on are read into buffers that are used again.
const LARGE: usize = 64 << 10;
/// Large buffers kept.
const KEPT_BUFFERS: usize = 16;

/// Why a connection is of no further use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("connection lost: {0}")]
    Lost(String),
    #[error("silent for {}", humantime::format_duration(*.0))]
    Silent(Duration),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("refused: {0}")]
    Refused(Failed),
    #[error("it answered the greeting with something else")]
    Greeting,
}

impl LinkError {
    /// What a writer is to make of it.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Frame(error) => error.code(),
            Self::Silent(_) => Code::TimedOut,
            Self::Refused(failed) => failed.code,
            Self::Greeting => Code::Incompatible,
            Self::Connect(_) | Self::Lost(_) => Code::Io,
        }
    }
}

/// One connection, greeted.
#[derive(Debug)]
pub(crate) struct DataConnection {
    address: SocketAddr,
    stream: TcpStream,
    /// Received and not yet part of a frame.
    carry: BytesMut,
    large: Buffers,
    /// Whether it has served before: the peer may have closed it meanwhile.
    pub(crate) reused: bool,
}

impl DataConnection {
    async fn dial(address: SocketAddr, cluster: ClusterId, large: Buffers) -> Result<Self, LinkError> {
        let stream = TcpStream::connect(address).await.map_err(|error| LinkError::Connect(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| LinkError::Connect(error.to_string()))?;
        let mut connection = Self { address, stream, carry: BytesMut::new(), large, reused: false };
        connection.send(&Control::Hello(Hello::new(cluster)).to_frame()).await?;
        match connection.frame().await? {
            Frame::Control(Control::HelloAck(_)) => Ok(connection),
            Frame::Control(Control::Failed(failed)) => Err(LinkError::Refused(failed)),
            Frame::Control(_) | Frame::Packet(_) | Frame::Piece(_) => Err(LinkError::Greeting),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.stream.write_all(bytes).await.map_err(lost)
    }

    /// The next frame. Not to be used after this was given up half-way.
    pub(crate) async fn frame(&mut self) -> Result<Frame, LinkError> {
        while self.carry.len() < HEADER {
            self.carry.reserve(FIRST_READ);
            let read = self.stream.read_buf(&mut (&mut self.carry).limit(FIRST_READ)).await.map_err(lost)?;
            if read == 0 {
                return Err(LinkError::Lost("closed by the datanode".to_owned()));
            }
        }
        let header = Header::decode(self.carry[..HEADER].try_into().expect("just read"))?;
        let body = self.body(header.length).await?;
        Ok(decode_body(header, body)?)
    }

    /// Reads a body that is within the limits of the protocol, and not a byte more.
    async fn body(&mut self, length: usize) -> Result<Bytes, LinkError> {
        let mut carry = self.carry.split_to(self.carry.len().min(HEADER + length)).split_off(HEADER);
        if carry.len() == length {
            return Ok(carry.freeze());
        }
        if length < LARGE {
            carry.reserve(length - carry.len());
            fill(&mut self.stream, &mut carry, length).await?;
            return Ok(carry.freeze());
        }
        let mut buffer = self.large.take();
        buffer.bytes_mut().extend_from_slice(&carry);
        fill(&mut self.stream, buffer.bytes_mut(), length).await?;
        Ok(buffer.freeze())
    }

    /// Whether nothing arrived since the last operation ended: neither bytes nor the end.
    fn is_quiet(&self) -> bool {
        let mut byte = [0];
        self.carry.is_empty()
            && matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// The socket, and what was received and not used.
    pub(crate) fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.stream, self.carry)
    }
}

fn lost(error: std::io::Error) -> LinkError {
    LinkError::Lost(error.to_string())
}

/// Reads until `target` holds `length` bytes.
async fn fill<B: BufMut + AsRef<[u8]>>(stream: &mut TcpStream, target: &mut B, length: usize) -> Result<(), LinkError> {
    while target.as_ref().len() < length {
        let missing = length - target.as_ref().len();
        if stream.read_buf(&mut (&mut *target).limit(missing)).await.map_err(lost)? == 0 {
            return Err(LinkError::Lost("closed by the datanode within a frame".to_owned()));
        }
    }
    Ok(())
}

/// Idle connections, and what is known of the datanodes.
#[derive(Debug)]
pub(crate) struct Pool {
    cluster: ClusterId,
    keep: usize,
    patience: Duration,
    large: Buffers,
    near: Buffers,
    began: Instant,
    idle: Mutex<HashMap<SocketAddr, Vec<(Instant, DataConnection)>>>,
    records: Mutex<Records>,
}

/// A read that is under way counts as load of its datanode.
#[derive(Debug)]
pub(crate) struct UnderWay {
    pool: Arc<Pool>,
    address: SocketAddr,
    class: Class,
    since: Instant,
}

impl UnderWay {
    /// The first bytes are there.
    pub(crate) fn answered(&self) {
        let now = self.pool.now();
        self.pool.records().answered(self.address, self.class, self.since.elapsed(), now);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.pool.records().ended(self.address);
    }
}

impl Pool {
    pub(crate) fn new(config: &Config, cluster: ClusterId) -> Self {
        let large = Buffers::new(MAX_BODY, KEPT_BUFFERS);
        let near = Buffers::new(PIECE, KEPT_BUFFERS);
        let (keep, patience) = (config.idle_connections, config.connect_timeout);
        let (idle, records) = (Mutex::default(), Mutex::default());
        Self { cluster, keep, patience, large, near, began: Instant::now(), idle, records }
    }

    /// An idle connection, or a new one.
    pub(crate) async fn connection(&self, address: SocketAddr) -> Result<DataConnection, LinkError> {
        match self.take_idle(address) {
            Some(connection) => Ok(connection),
            None => self.fresh(address).await,
        }
    }

    /// A new connection.
    pub(crate) async fn fresh(&self, address: SocketAddr) -> Result<DataConnection, LinkError> {
        let dialled = DataConnection::dial(address, self.cluster, self.large.clone());
        tokio::time::timeout(self.patience, dialled).await.unwrap_or(Err(LinkError::Silent(self.patience)))
    }

    /// Keeps a connection on which no operation is under way.
    pub(crate) fn put_back(&self, mut connection: DataConnection) {
        connection.reused = true;
        let now = Instant::now();
        let mut idle = self.idle();
        idle.retain(|_, kept| {
            kept.retain(|(since, _)| now.duration_since(*since) < IDLE);
            !kept.is_empty()
        });
        let kept = idle.values().map(Vec::len).sum::<usize>();
        let of_node = idle.entry(connection.address).or_default();
        if of_node.len() < self.keep && kept < KEPT {
            of_node.push((now, connection));
        }
    }

    fn take_idle(&self, address: SocketAddr) -> Option<DataConnection> {
        let now = Instant::now();
        let mut idle = self.idle();
        let kept = idle.get_mut(&address)?;
        while let Some((since, connection)) = kept.pop() {
            if now.duration_since(since) < IDLE && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Notes that a datanode failed: others are asked first for a while.
    pub(crate) fn suspect(&self, address: SocketAddr) {
        self.idle().remove(&address);
        let now = self.now();
        self.records().failed(address, now);
    }

    pub(crate) fn is_suspect(&self, address: SocketAddr) -> bool {
        let now = self.now();
        self.records().is_suspect(address, now)
    }

    /// Notes that a read begins, until what this returns is dropped.
    pub(crate) fn under_way(self: &Arc<Self>, address: SocketAddr, class: Class) -> UnderWay {
        let now = self.now();
        self.records().began(address, now);
        UnderWay { pool: Arc::clone(self), address, class, since: Instant::now() }
    }

    /// Notes that a datanode was left after so long because another was faster.
    pub(crate) fn overtaken(&self, address: SocketAddr, class: Class, after: Duration) {
        let now = self.now();
        self.records().overtaken(address, class, after, now);
    }

    /// What to expect of each of these datanodes, and how long to wait for the first before a second one is asked.
    pub(crate) fn outlook(&self, addresses: &[SocketAddr], class: Class) -> (Vec<Outlook>, Duration) {
        let now = self.now();
        let mut records = self.records();
        let outlook = addresses.iter().map(|address| records.outlook(*address, class, now)).collect();
        (outlook, records.hedge_after(addresses.iter().copied(), class))
    }

    /// For pieces of replicas on this machine.
    pub(crate) fn near_buffers(&self) -> &Buffers {
        &self.near
    }

    /// Whether a second request may go out now, which it then does.
    pub(crate) fn may_hedge(&self) -> bool {
        self.records().may_hedge()
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<SocketAddr, Vec<(Instant, DataConnection)>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
