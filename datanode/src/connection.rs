//! Frames on a socket.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout, timeout_at};
use transfer::frame::{self, HEADER, Header, Kind};
use transfer::message::{Hello, VERSION};
use transfer::{Buffer, Buffers, Control, Failed, Frame, FrameError, Packet};
use types::{ClusterId, Code};

/// A frame that has begun is complete after this long, or the connection is closed.
const FRAME_DEADLINE: Duration = Duration::from_secs(30);
/// A peer that takes nothing for so long is gone.
pub(crate) const SEND_DEADLINE: Duration = Duration::from_secs(30);
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// A peer that was told of a failure closes the connection within this time.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the peer closed the connection")]
    Closed,
    #[error("{what} took too long")]
    TimedOut { what: &'static str },
    #[error("the peer sent {what}")]
    Unexpected { what: &'static str },
    #[error("refused: {0}")]
    Refused(Failed),
}

impl ConnectionError {
    /// What a writer is to make of it.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Frame(error) => error.code(),
            Self::TimedOut { .. } => Code::TimedOut,
            Self::Unexpected { .. } => Code::Incompatible,
            Self::Refused(failed) => failed.code,
            Self::Io(_) | Self::Closed => Code::Io,
        }
    }
}

/// Both directions.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) reader: FrameReader,
    pub(crate) writer: FrameWriter,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, buffers: &Buffers) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        // A peer whose machine is gone says nothing; the kernel finds out.
        let alive =
            socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10));
        socket2::SockRef::from(&stream).set_tcp_keepalive(&alive)?;
        let (reader, writer) = stream.into_split();
        let reader = FrameReader {
            stream: reader,
            buffers: buffers.clone(),
            head: [0; HEADER],
            have: 0,
            body: None,
            begun: None,
        };
        Ok(Self { reader, writer: FrameWriter { stream: writer } })
    }

    /// Connects to another datanode, and exchanges hellos.
    pub(crate) async fn open(
        address: SocketAddr,
        cluster: ClusterId,
        buffers: &Buffers,
    ) -> Result<Self, ConnectionError> {
        let opening = async {
            let mut connection = Self::new(TcpStream::connect(address).await?, buffers)?;
            connection.writer.send(&Control::Hello(Hello::new(cluster))).await?;
            match connection.reader.next().await? {
                Some(Frame::Control(Control::HelloAck(ack))) if ack.version == VERSION => Ok(connection),
                Some(Frame::Control(Control::Failed(failed))) => Err(ConnectionError::Refused(failed)),
                Some(_) => Err(ConnectionError::Unexpected { what: "no answer to the hello" }),
                None => Err(ConnectionError::Closed),
            }
        };
        timeout(CONNECT_DEADLINE, opening).await.map_err(|_| ConnectionError::TimedOut { what: "connecting" })?
    }

    /// Lets the peer read why an operation failed: a socket that is closed over unread bytes resets the connection, and
    /// what was said last is lost. What still comes is not looked at, and the connection is of no further use.
    pub(crate) async fn drain(&mut self) {
        let mut nowhere = tokio::io::sink();
        let _ = timeout(DRAIN_DEADLINE, tokio::io::copy(&mut self.reader.stream, &mut nowhere)).await;
    }
}

/// The receiving direction. [`FrameReader::next`] may be dropped at any time without losing bytes.
#[derive(Debug)]
pub(crate) struct FrameReader {
    stream: OwnedReadHalf,
    buffers: Buffers,
    head: [u8; HEADER],
    have: usize,
    body: Option<(Header, Body)>,
    /// When the first byte of the current frame came.
    begun: Option<Instant>,
}

/// Packets and pieces go into large buffers that are used again; control messages are small.
#[derive(Debug)]
enum Body {
    Pooled(Buffer),
    Small(Vec<u8>),
}

impl Body {
    fn bytes_mut(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Pooled(buffer) => buffer.bytes_mut(),
            Self::Small(bytes) => bytes,
        }
    }

    fn freeze(self) -> Bytes {
        match self {
            Self::Pooled(buffer) => buffer.freeze(),
            Self::Small(bytes) => bytes.into(),
        }
    }
}

impl FrameReader {
    /// The next frame; none when the peer closed the connection between two frames.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, ConnectionError> {
        loop {
            let deadline = self.begun.map(|begun| begun + FRAME_DEADLINE);
            let received = match deadline {
                None => self.receive().await?,
                Some(deadline) => timeout_at(deadline, self.receive())
                    .await
                    .map_err(|_| ConnectionError::TimedOut { what: "receiving a frame" })??,
            };
            if received == 0 {
                return if self.begun.is_none() { Ok(None) } else { Err(ConnectionError::Closed) };
            }
            self.begun.get_or_insert_with(Instant::now);
            if self.body.is_none() && self.have == HEADER {
                let header = Header::decode(&self.head)?;
                let body = match header.kind {
                    Kind::Control => Body::Small(Vec::with_capacity(header.length)),
                    Kind::Packet | Kind::Piece => Body::Pooled(self.buffers.take()),
                };
                self.body = Some((header, body));
            }
            if let Some((header, body)) = self.body.take_if(|(header, body)| body.bytes_mut().len() == header.length) {
                self.have = 0;
                self.begun = None;
                return Ok(Some(frame::decode_body(header, body.freeze())?));
            }
        }
    }

    async fn receive(&mut self) -> io::Result<usize> {
        match &mut self.body {
            None => {
                let count = self.stream.read(&mut self.head[self.have..]).await?;
                self.have += count;
                Ok(count)
            }
            Some((header, body)) => {
                let body = body.bytes_mut();
                let missing = header.length - body.len();
                self.stream.read_buf(&mut body.limit(missing)).await
            }
        }
    }
}

/// The sending direction.
#[derive(Debug)]
pub(crate) struct FrameWriter {
    stream: OwnedWriteHalf,
}

impl FrameWriter {
    pub(crate) async fn send(&mut self, control: &Control) -> Result<(), ConnectionError> {
        let frame = control.to_frame();
        in_time(self.stream.write_all(&frame)).await
    }

    pub(crate) async fn send_packet(&mut self, packet: &Packet) -> Result<(), ConnectionError> {
        let head = packet.head();
        let mut parts = [&head[..], &packet.words, &packet.data].map(IoSlice::new);
        let mut left = &mut parts[..];
        while !left.is_empty() {
            let sent = in_time(self.stream.write_vectored(left)).await?;
            if sent == 0 {
                return Err(ConnectionError::Closed);
            }
            IoSlice::advance_slices(&mut left, sent);
        }
        Ok(())
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.stream.as_ref()
    }
}

async fn in_time<T>(sending: impl Future<Output = io::Result<T>>) -> Result<T, ConnectionError> {
    let sent = timeout(SEND_DEADLINE, sending).await.map_err(|_| ConnectionError::TimedOut { what: "sending" })?;
    Ok(sent?)
}

/// Connections to other datanodes that wait for their next use.
#[derive(Debug)]
pub(crate) struct Peers {
    cluster: ClusterId,
    buffers: Buffers,
    idle: Arc<std::sync::Mutex<Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    address: SocketAddr,
    since: Instant,
    connection: Connection,
}

/// More are closed rather than kept.
const MAX_IDLE: usize = 64;
/// Well below the time after which the other side closes them.
const MAX_IDLE_TIME: Duration = Duration::from_secs(20);

impl Peers {
    pub(crate) fn new(cluster: ClusterId, buffers: Buffers) -> Self {
        Self { cluster, buffers, idle: Arc::default() }
    }

    /// A connection that was used before. The other side may have closed it.
    pub(crate) fn reuse(&self, address: SocketAddr) -> Option<Connection> {
        let mut idle = self.lock();
        idle.retain(|idle| idle.since.elapsed() < MAX_IDLE_TIME);
        let at = idle.iter().rposition(|idle| idle.address == address)?;
        Some(idle.swap_remove(at).connection)
    }

    pub(crate) async fn open(&self, address: SocketAddr) -> Result<Connection, ConnectionError> {
        Connection::open(address, self.cluster, &self.buffers).await
    }

    /// Keeps a connection whose last operation is over.
    pub(crate) fn keep(&self, address: SocketAddr, connection: Connection) {
        let mut idle = self.lock();
        if idle.len() < MAX_IDLE {
            idle.push(Idle { address, since: Instant::now(), connection });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
