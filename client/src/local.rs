//! Replicas on this machine, read from their files: a datanode hands out the descriptor, and is out of the way then.
//!
//! 1. Every byte is checked against its word before it is given, as one that comes over the network.
//! 2. Whatever is not as expected sends the reader to the network. What is wrong with the bytes themselves is damage.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustix::fs::{Mode, OFlags};
use rustix::io::ReadWriteFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use transfer::message::Hello;
use transfer::{Buffers, Control, Failed, Frame, OpenLocal, OpenedLocal};
use types::checksum::{self, CHUNK, Mismatch, chunks_in};
use types::{BlockId, ClusterId};

/// Reads up to this length are tried at once, and by another thread only if the bytes are not in memory.
const SHORT: u64 = 64 << 10;
/// What is read and checked at once: it stays in the processor's cache.
pub(crate) const PIECE: usize = 512 << 10;
/// Nothing that a datanode says here is longer.
const MOST: usize = 4 << 10;

/// Why a replica is not read from its file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    #[error("the local socket of the datanode: {0}")]
    Socket(io::Error),
    #[error("no descriptor within {}", humantime::format_duration(*.0))]
    Silent(Duration),
    #[error("no descriptor: {0}")]
    Refused(Failed),
    #[error("the datanode broke the protocol of its local socket: {0}")]
    Protocol(&'static str),
    #[error("reading the file of the replica: {0}")]
    Read(io::Error),
    #[error("the replica has {length} bytes, and the read ends at {wanted}")]
    Short { wanted: u64, length: u64 },
    #[error(transparent)]
    Corrupt(Mismatch),
}

/// The open file of a replica.
#[derive(Debug)]
pub(crate) struct LocalReplica {
    file: File,
    block: BlockId,
    at: OpenedLocal,
}

/// The boot id of this machine; none if the kernel does not tell it.
pub(crate) fn boot_id() -> Option<[u8; 16]> {
    static BOOT: LazyLock<Option<[u8; 16]>> = LazyLock::new(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
    });
    *BOOT
}

/// Whether this is the boot id of the machine that this process runs on.
pub(crate) fn is_this_machine(boot: &[u8]) -> bool {
    boot_id().is_some_and(|own| own == *boot)
}

/// Asks a datanode for the file of a replica.
pub(crate) async fn open(
    socket: &Path,
    cluster: ClusterId,
    request: OpenLocal,
    patience: Duration,
) -> Result<LocalReplica, LocalError> {
    let block = request.block;
    let asked = async {
        let mut stream = connect(socket).await.map_err(LocalError::Socket)?;
        let hello = Control::Hello(Hello::new(cluster)).to_frame();
        let question = [hello, Control::OpenLocal(request).to_frame()].concat();
        stream.write_all(&question).await.map_err(LocalError::Socket)?;
        answer(&stream, block).await
    };
    tokio::time::timeout(patience, asked).await.unwrap_or(Err(LocalError::Silent(patience)))
}

async fn connect(socket: &Path) -> io::Result<UnixStream> {
    // The name of a socket has 107 bytes at most, a path more: hence by way of the directory.
    let directory = socket.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let directory = rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let name = socket.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    UnixStream::connect(Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)).await
}

/// What the datanode says, and the descriptor that comes with it.
async fn answer(stream: &UnixStream, block: BlockId) -> Result<LocalReplica, LocalError> {
    let (mut received, mut descriptor) = (BytesMut::new(), None);
    loop {
        match transfer::frame::decode(&mut received) {
            Ok(Some(Frame::Control(Control::HelloAck(_)))) => continue,
            Ok(Some(Frame::Control(Control::Failed(failed)))) => return Err(LocalError::Refused(failed)),
            Ok(Some(Frame::Control(Control::OpenedLocal(at)))) => {
                let descriptor: OwnedFd = descriptor.ok_or(LocalError::Protocol("no descriptor came with it"))?;
                let end = at.data.checked_add(at.length.get());
                if end.is_none_or(|end| end > i64::MAX as u64) || at.words > i64::MAX as u64 / 2 {
                    return Err(LocalError::Protocol("the replica ends behind the last possible byte"));
                }
                return Ok(LocalReplica { file: descriptor.into(), block, at });
            }
            Ok(Some(_)) => return Err(LocalError::Protocol("it answered with something else")),
            Ok(None) if received.len() > MOST => return Err(LocalError::Protocol("it says too much")),
            Ok(None) => {}
            Err(_) => return Err(LocalError::Protocol("it sent no frames")),
        }
        if receive(stream, &mut received, &mut descriptor).await.map_err(LocalError::Socket)? == 0 {
            return Err(LocalError::Socket(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

async fn receive(stream: &UnixStream, into: &mut BytesMut, descriptor: &mut Option<OwnedFd>) -> io::Result<usize> {
    let mut bytes = [0; 1 << 10];
    let (count, came) = stream
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            let message = recvmsg(stream, &mut [io::IoSliceMut::new(&mut bytes)], &mut ancillary, flags)?;
            let came = ancillary.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                _ => None,
            });
            Ok((message.bytes, came))
        })
        .await?;
    into.extend_from_slice(&bytes[..count]);
    *descriptor = came.or(descriptor.take());
    Ok(count)
}

impl LocalReplica {
    /// Reads and checks bytes of the block, which must be there.
    pub(crate) async fn read(
        self: &Arc<Self>,
        offset: u64,
        length: u64,
        buffers: &Buffers,
    ) -> Result<Bytes, LocalError> {
        let (wanted, has) = (offset.saturating_add(length), self.at.length.get());
        if wanted > has {
            return Err(LocalError::Short { wanted, length: has });
        }
        if length <= SHORT
            && let Some(bytes) = self.read_if_there(offset, length)?
        {
            return Ok(bytes);
        }
        let (first, end) = self.chunks(offset, length);
        let mut buffer = buffers.take_filled((end - first) as usize);
        let mut words = vec![0; 4 * chunks_in(end - first) as usize];
        // What is in memory is had in less time than another thread takes to wake.
        let there =
            self.fill_now(&mut words, self.word(first))? && self.fill_now(buffer.as_mut(), self.at.data + first)?;
        let replica = Arc::clone(self);
        let finish = move || {
            if !there {
                replica.file.read_exact_at(&mut words, replica.word(first)).map_err(LocalError::Read)?;
                replica.file.read_exact_at(buffer.as_mut(), replica.at.data + first).map_err(LocalError::Read)?;
            }
            checksum::verify(replica.block, first / CHUNK as u64, buffer.as_ref(), &words)
                .map_err(LocalError::Corrupt)?;
            Ok(buffer.freeze().slice((offset - first) as usize..(offset - first + length) as usize))
        };
        if there {
            return finish();
        }
        tokio::task::spawn_blocking(finish).await.expect("reading a file does not panic")
    }

    /// The same without waiting for the disk; none if that would be necessary.
    fn read_if_there(&self, offset: u64, length: u64) -> Result<Option<Bytes>, LocalError> {
        let (first, end) = self.chunks(offset, length);
        let mut words = [0; 4 * (SHORT as usize / CHUNK + 2)];
        let words = &mut words[..4 * chunks_in(end - first) as usize];
        let mut data = vec![0; (end - first) as usize];
        if !self.fill_now(words, self.word(first))? || !self.fill_now(&mut data, self.at.data + first)? {
            return Ok(None);
        }
        checksum::verify(self.block, first / CHUNK as u64, &data, words).map_err(LocalError::Corrupt)?;
        Ok(Some(Bytes::from(data).slice((offset - first) as usize..(offset - first + length) as usize)))
    }

    /// Fills a buffer from what is in memory. False: not all of it is.
    fn fill_now(&self, buffer: &mut [u8], at: u64) -> Result<bool, LocalError> {
        let length = buffer.len();
        let read = rustix::io::preadv2(&self.file, &mut [io::IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT);
        match read {
            Ok(count) => Ok(count == length),
            // Some file systems know no such reads.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(LocalError::Read(errno.into())),
        }
    }

    /// The chunks that hold a range: from where to where.
    fn chunks(&self, offset: u64, length: u64) -> (u64, u64) {
        let chunk = CHUNK as u64;
        (offset - offset % chunk, (offset + length).next_multiple_of(chunk).min(self.at.length.get()))
    }

    /// Where in the file the word of the chunk at `offset` is.
    fn word(&self, offset: u64) -> u64 {
        self.at.words + 4 * (offset / CHUNK as u64)
    }
}
