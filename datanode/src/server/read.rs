//! Serves one read: checksums from the table, data by `sendfile`.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::time::{Instant, timeout};
use tracing::warn;
use transfer::frame::MAX_DATA;
use transfer::{Control, Failed, Piece, Read, ReadReply};
use types::checksum::CHUNK;
use types::token::Right;
use types::{BlockOffset, ByteSize, Code, StorageId};

use super::Next;
use crate::connection::{Connection, ConnectionError, SEND_DEADLINE};
use crate::node::Node;
use crate::store::{Readable, StoreError, Volume};

/// One job of a disk thread sends at most this much, so that reads take turns.
const TURN: u64 = 8 << 20;

pub(super) async fn serve(node: &Arc<Node>, client: &mut Connection, request: Read) -> Result<Next, ConnectionError> {
    let Read { block, generation, ref token, .. } = request;
    // Else it may be another datanode, which makes a copy.
    let is_client = node.tokens.check(token, block, generation, &[Right::Read]).is_ok();
    if !is_client && let Err(error) = node.tokens.check(token, block, generation, &[Right::Read, Right::Copy]) {
        return refuse(node, client, request.storage, error.code(), error).await;
    }
    let Some(volume) = node.volumes.get(&request.storage) else {
        return refuse(node, client, request.storage, Code::NoSuchBlock, "the storage is not on this node").await;
    };
    // A descriptor of its own for the disk's threads: the connection may be dropped while they send.
    let socket = Arc::new(client.writer.stream().as_fd().try_clone_to_owned()?);
    let (to, from, wish) = (Arc::clone(&socket), Arc::clone(volume), request.clone());
    let mut asked = Instant::now();
    let started = volume.disk.run(move || {
        let mut sending = Sending::start(&from, &wish)?;
        let turn = sending.turn(&to);
        Ok::<_, StoreError>((sending, turn))
    });
    let (mut sending, mut turn) = match started.await {
        Ok(Ok(started)) => started,
        Ok(Err(error)) => {
            if error.is_damage() {
                report(node, &request, &error);
            } else if matches!(error, StoreError::Io { .. }) {
                volume.suspect(request.block, request.generation);
            }
            return refuse(node, client, request.storage, error.code(), error).await;
        }
        Err(gone) => return refuse(node, client, request.storage, Code::Io, gone).await,
    };
    let mut counted = sending.begun;
    loop {
        node.metrics.sent.inc_by(sending.next - counted);
        if is_client {
            node.client_reads.note_bytes(sending.next - counted, asked.elapsed());
        }
        counted = sending.next;
        match turn {
            Ok(Turn::Done) => {
                node.metrics.read(None);
                return Ok(Next::Continue);
            }
            Ok(Turn::Again) => {}
            Ok(Turn::Blocked) => until_writable(client).await?,
            Err(Stopped::Peer(error)) => return Err(error.into()),
            Err(Stopped::Replica(error)) => {
                // In the middle of a frame: closing the connection is all that is left to say.
                report(node, &request, &error);
                node.metrics.read(Some(Code::Io));
                return Ok(Next::Close);
            }
        }
        let to = Arc::clone(&socket);
        asked = Instant::now();
        let next = volume.disk.run(move || {
            let turn = sending.turn(&to);
            (sending, turn)
        });
        let Ok(next) = next.await else { return Ok(Next::Close) };
        (sending, turn) = next;
    }
}

pub(super) fn report(node: &Node, request: &Read, error: &dyn fmt::Display) {
    let Read { block, generation, storage, .. } = request;
    warn!(%block, %generation, %storage, %error, "a replica cannot be read");
    node.add_bad(*storage, *block, *generation);
}

async fn refuse(
    node: &Node,
    client: &mut Connection,
    storage: StorageId,
    code: Code,
    reason: impl fmt::Display,
) -> Result<Next, ConnectionError> {
    node.metrics.read(Some(code));
    client.writer.send(&Control::Failed(Failed::new(storage, code, reason))).await?;
    Ok(Next::Continue)
}

/// Waits until the socket takes more. The disk's threads write to it behind the runtime's back, so the runtime's own
/// idea of readiness is checked against the kernel's.
async fn until_writable(client: &Connection) -> Result<(), ConnectionError> {
    let stream = client.writer.stream();
    let ready = stream.async_io(Interest::WRITABLE, || {
        let mut fds = [PollFd::new(stream, PollFlags::OUT)];
        match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    });
    Ok(timeout(SEND_DEADLINE, ready).await.map_err(|_| ConnectionError::TimedOut { what: "sending" })??)
}

#[derive(Debug, Clone, Copy)]
enum Turn {
    Done,
    /// The socket is full.
    Blocked,
    /// Others are due.
    Again,
}

enum Stopped {
    Peer(io::Error),
    Replica(io::Error),
}

/// A read under way.
struct Sending {
    replica: Readable,
    /// Control frame, head of a piece and its words: what goes before the next data, and how much of it went.
    head: Vec<u8>,
    head_sent: usize,
    begun: u64,
    next: u64,
    piece_end: u64,
    end: u64,
}

impl Sending {
    fn start(volume: &Volume, request: &Read) -> Result<Self, StoreError> {
        let replica = volume.open_replica(request.block, request.generation)?;
        let (chunk, total) = (CHUNK as u64, replica.extent.length);
        let wanted = request.offset.get().saturating_add(request.length.get());
        let start = request.offset.get() - request.offset.get() % chunk;
        let end = wanted.checked_next_multiple_of(chunk).unwrap_or(u64::MAX).min(total).max(start);
        let reply = Control::ReadReply(ReadReply {
            offset: BlockOffset::new(start),
            length: ByteSize::new(end - start),
            total: ByteSize::new(total),
            complete: replica.complete,
        });
        Ok(Self {
            replica,
            head: reply.to_frame().to_vec(),
            head_sent: 0,
            begun: start,
            next: start,
            piece_end: start,
            end,
        })
    }

    /// Sends as much as the socket takes.
    fn turn(&mut self, socket: &OwnedFd) -> Result<Turn, Stopped> {
        let mut left = TURN;
        loop {
            if self.next == self.piece_end && self.next < self.end {
                self.next_piece().map_err(Stopped::Replica)?;
            }
            while self.head_sent < self.head.len() {
                let more = if self.next < self.piece_end { SendFlags::MORE } else { SendFlags::empty() };
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT | more;
                match rustix::net::send(socket, &self.head[self.head_sent..], flags) {
                    Ok(sent) => self.head_sent += sent,
                    Err(Errno::WOULDBLOCK) => return Ok(Turn::Blocked),
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(Stopped::Peer(errno.into())),
                }
            }
            if self.next == self.end {
                return Ok(Turn::Done);
            }
            if left == 0 {
                return Ok(Turn::Again);
            }
            let mut from = self.replica.data(self.next);
            let count = (self.piece_end - self.next).min(left);
            match rustix::fs::sendfile(socket, &self.replica.file, Some(&mut from), count as usize) {
                Ok(0) => return Err(Stopped::Replica(io::ErrorKind::UnexpectedEof.into())),
                Ok(sent) => {
                    self.next += sent as u64;
                    left -= (sent as u64).min(left);
                }
                Err(Errno::WOULDBLOCK) => return Ok(Turn::Blocked),
                Err(Errno::INTR) => {}
                Err(errno @ Errno::IO) => return Err(Stopped::Replica(errno.into())),
                Err(errno) => return Err(Stopped::Peer(errno.into())),
            }
        }
    }

    fn next_piece(&mut self) -> io::Result<()> {
        let length = (self.end - self.next).min(MAX_DATA as u64);
        if self.head_sent == self.head.len() {
            self.head.clear();
            self.head_sent = 0;
        }
        self.head.extend_from_slice(&Piece::head(BlockOffset::new(self.next), length as usize));
        self.replica.words(self.next, length, &mut self.head)?;
        self.piece_end = self.next + length;
        Ok(())
    }
}
