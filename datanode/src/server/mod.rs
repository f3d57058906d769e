//! The transfer server: accepts connections, and serves one operation after the other on each.

mod local;
mod read;
mod write;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use transfer::message::{HelloAck, VERSION};
use transfer::{Control, Failed, Frame};
use types::{Code, StorageId};

pub(crate) use local::serve as serve_local;

use crate::connection::{Connection, ConnectionError};
use crate::node::Node;

/// A connection says hello within this time.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// Out of descriptors or memory: waiting is all that helps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Stands for no storage in failures that are about none.
const NO_STORAGE: StorageId = StorageId::from_bytes([0; 16]);

/// Whether the connection serves another operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Continue,
    Close,
}

/// Serves until `stop`; then every connection is closed.
pub(crate) async fn serve(node: Arc<Node>, listener: TcpListener, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(node.settings.max_connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let room = Arc::clone(&room).acquire_owned().await.expect("never closed");
            (listener.accept().await, room)
        };
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            (accepted, room) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let node = Arc::clone(&node);
                    connections.spawn(async move {
                        node.metrics.connections.inc();
                        if let Err(error) = connection(&node, stream).await {
                            debug!(%peer, %error, "a connection ended");
                        }
                        node.metrics.connections.dec();
                        drop(room);
                    });
                }
                Err(error) => {
                    warn!(%error, "a connection cannot be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

async fn connection(node: &Arc<Node>, stream: TcpStream) -> Result<(), ConnectionError> {
    let mut connection = Connection::new(stream, &node.buffers)?;
    match operations(node, &mut connection).await {
        // Whoever sent it hears of it, and may try again.
        Err(ConnectionError::Frame(error)) => {
            let failed = Failed::new(NO_STORAGE, error.code(), &error);
            connection.writer.send(&Control::Failed(failed)).await?;
            connection.drain().await;
            Err(error.into())
        }
        result => result,
    }
}

async fn operations(node: &Arc<Node>, connection: &mut Connection) -> Result<(), ConnectionError> {
    let first = timeout(HELLO_DEADLINE, connection.reader.next()).await;
    let hello = match first.map_err(|_| ConnectionError::TimedOut { what: "the hello" })?? {
        Some(Frame::Control(Control::Hello(hello))) => hello,
        Some(_) => return Err(ConnectionError::Unexpected { what: "something else before its hello" }),
        None => return Ok(()),
    };
    if let Err(reason) = hello.check(node.cluster) {
        let failed = Failed::new(NO_STORAGE, Code::Incompatible, reason);
        return connection.writer.send(&Control::Failed(failed)).await;
    }
    connection.writer.send(&Control::HelloAck(HelloAck { version: VERSION })).await?;
    loop {
        let Ok(frame) = timeout(node.settings.idle_timeout, connection.reader.next()).await else {
            return Ok(());
        };
        let next = match frame? {
            None => return Ok(()),
            Some(Frame::Control(Control::Setup(setup))) => write::serve(node, connection, setup).await?,
            Some(Frame::Control(Control::Read(request))) => read::serve(node, connection, request).await?,
            Some(Frame::Control(_) | Frame::Packet(_) | Frame::Piece(_)) => {
                let failed = Failed::new(NO_STORAGE, Code::InvalidArgument, "not the start of an operation");
                connection.writer.send(&Control::Failed(failed)).await?;
                Next::Close
            }
        };
        if next == Next::Close {
            return Ok(());
        }
    }
}
