//! Hands out the open files of replicas to readers on this machine.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use transfer::message::{HelloAck, VERSION};
use transfer::{Control, Failed, Frame, OpenLocal, OpenedLocal, Read};
use types::token::Right;
use types::{BlockOffset, ByteSize, Code};

use super::{ACCEPT_PAUSE, NO_STORAGE, read};
use crate::local::{LocalListener, send_with};
use crate::node::Node;
use crate::store::{Readable, StoreError};

/// Connections at a time; others wait.
const CONNECTIONS: usize = 256;
/// All of an exchange: a reader that takes longer reads over the network.
const DEADLINE: Duration = Duration::from_secs(10);
/// Bytes that are read at once.
const FIRST_READ: usize = 1 << 10;

/// Serves until `stop`; then every connection is closed.
pub(crate) async fn serve(node: Arc<Node>, local: LocalListener, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let room = Arc::clone(&room).acquire_owned().await.expect("never closed");
            (local.listener.accept().await, room)
        };
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            (accepted, room) = accepted => match accepted {
                Ok((stream, _)) => {
                    let node = Arc::clone(&node);
                    connections.spawn(async move {
                        match timeout(DEADLINE, exchange(&node, stream)).await {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => debug!(%error, "a local connection ended"),
                            Err(_) => debug!("a local connection took too long"),
                        }
                        drop(room);
                    });
                }
                Err(error) => {
                    warn!(%error, "a local connection cannot be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

/// One question and its answer.
async fn exchange(node: &Arc<Node>, mut stream: UnixStream) -> io::Result<()> {
    let mut received = BytesMut::new();
    let Some(Control::Hello(hello)) = next(&mut stream, &mut received).await? else {
        return fail(&mut stream, Failed::new(NO_STORAGE, Code::InvalidArgument, "a hello comes first")).await;
    };
    if let Err(reason) = hello.check(node.cluster) {
        return fail(&mut stream, Failed::new(NO_STORAGE, Code::Incompatible, reason)).await;
    }
    stream.write_all(&Control::HelloAck(HelloAck { version: VERSION }).to_frame()).await?;
    let Some(Control::OpenLocal(request)) = next(&mut stream, &mut received).await? else {
        return fail(&mut stream, Failed::new(NO_STORAGE, Code::InvalidArgument, "only files are asked for here"))
            .await;
    };
    let opened = open(node, &request).await;
    node.metrics.opened_locally(opened.as_ref().err().map(|failed| failed.code));
    match opened {
        Ok(replica) => {
            let (length, data, words) = (ByteSize::new(replica.extent.length), replica.data(0), replica.word(0));
            let opened = Control::OpenedLocal(OpenedLocal { length, data, words });
            send_with(&stream, &opened.to_frame(), &replica.file).await
        }
        Err(failed) => fail(&mut stream, failed).await,
    }
}

/// The replica that is meant, if whoever asks may read it and it will not change any more.
async fn open(node: &Arc<Node>, request: &OpenLocal) -> Result<Readable, Failed> {
    let OpenLocal { block, generation, storage, ref token } = *request;
    let failed = |code, reason: String| Failed::new(storage, code, reason);
    if let Err(error) = node.tokens.check(token, block, generation, &[Right::Read]) {
        return Err(failed(error.code(), error.to_string()));
    }
    let Some(volume) = node.volumes.get(&storage) else {
        return Err(failed(Code::NoSuchBlock, "the storage is not on this node".to_owned()));
    };
    let from = Arc::clone(volume);
    let replica = match volume.disk.run(move || from.open_replica(block, generation)).await {
        Ok(Ok(replica)) => replica,
        Ok(Err(error)) => {
            if error.is_damage() {
                let (offset, length) = (BlockOffset::new(0), ByteSize::ZERO);
                let read = Read { block, generation, storage, offset, length, token: token.clone() };
                read::report(node, &read, &error);
            } else if matches!(error, StoreError::Io { .. }) {
                volume.suspect(block, generation);
            }
            return Err(failed(error.code(), error.to_string()));
        }
        Err(gone) => return Err(failed(Code::Io, gone.to_string())),
    };
    if !replica.complete {
        return Err(failed(Code::Busy, "it is being written; read it over the network".to_owned()));
    }
    Ok(replica)
}

async fn fail(stream: &mut UnixStream, failed: Failed) -> io::Result<()> {
    stream.write_all(&Control::Failed(failed).to_frame()).await
}

/// The next control frame; none when the reader has left, or sends something else.
async fn next(stream: &mut UnixStream, received: &mut BytesMut) -> io::Result<Option<Control>> {
    loop {
        match transfer::frame::decode(received) {
            Ok(Some(Frame::Control(control))) => return Ok(Some(control)),
            Ok(Some(Frame::Packet(_) | Frame::Piece(_))) => return Ok(None),
            Ok(None) if received.len() > MOST => return Ok(None),
            Ok(None) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
        received.reserve(FIRST_READ);
        if stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

/// No more is taken in of what does not become a frame: what is said here is short.
const MOST: usize = 4 << 10;
