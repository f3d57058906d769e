//! Replicas on this machine are read from their files, and over the network whenever that does not work: invariants 3 and 4
//! of the crate.

mod cluster;

use std::fs::File;
use std::io::{IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use client::{Client, Config};
use proto::v1;
use proto::v1::op::Kind as Op;
use proto::v1::reply::Result as Answer;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use transfer::message::HelloAck;
use transfer::{Control, Failed, Frame, OpenLocal, OpenedLocal, Piece, ReadReply};
use types::checksum::{CHUNK, append_words};
use types::{BlockId, BlockOffset, ByteSize, Code, InodeId};

use cluster::{Act, Datanode, Namenode, Peer, config, content, done, file, location, path, storage};

const LENGTH: usize = 3_000_000;
const PIECE: usize = 1 << 20;
const TOKEN: &[u8] = b"to read";

fn block() -> BlockId {
    BlockId::new(InodeId::new(9), 0)
}

/// What the local socket does wrong, or the file that it hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// One bit of the byte at this offset.
    Flips(usize),
    /// The file ends too early.
    Cut,
    Refuses(Code),
    Silent,
    NoDescriptor,
    Rubbish,
    NoSocket,
    /// The namenode tells of another machine.
    AnotherMachine,
}

/// A replica as a datanode keeps it: words, then data, at places that only it knows.
fn replica(directory: &TempDir, content: &Bytes, flaw: Flaw) -> (File, OpenedLocal) {
    let mut words = Vec::new();
    append_words(block(), 0, content, &mut words);
    let mut data = content.to_vec();
    match flaw {
        Flaw::Flips(place) => data[place] ^= 4,
        Flaw::Cut => data.truncate(LENGTH - 1),
        Flaw::None
        | Flaw::Refuses(_)
        | Flaw::Silent
        | Flaw::NoDescriptor
        | Flaw::Rubbish
        | Flaw::NoSocket
        | Flaw::AnotherMachine => {}
    }
    let path = directory.path().join("replica");
    let mut file = File::create(&path).expect("a file");
    for part in [&[0xff; 100][..], &words, &[0xff; 10], &data] {
        file.write_all(part).expect("writes");
    }
    let (words_at, data_at) = (100, 110 + words.len() as u64);
    let opened = OpenedLocal { length: ByteSize::new(LENGTH as u64), data: data_at, words: words_at };
    (File::open(path).expect("opens"), opened)
}

async fn hand_out(mut stream: UnixStream, file: Arc<File>, opened: OpenedLocal, flaw: Flaw) {
    let mut received = BytesMut::new();
    let mut asked = Vec::new();
    while asked.len() < 2 {
        match transfer::frame::decode(&mut received).expect("the client sends frames") {
            Some(Frame::Control(control)) => asked.push(control),
            Some(other) => panic!("only control frames are sent here, not {other:?}"),
            None => assert!(stream.read_buf(&mut received).await.expect("reads") > 0, "two frames come"),
        }
    }
    assert!(matches!(&asked[0], Control::Hello(hello) if hello.check(cluster::CLUSTER).is_ok()));
    let Control::OpenLocal(OpenLocal { block: asked, storage: of, token, .. }) = &asked[1] else {
        panic!("a file is asked for, not {:?}", asked[1])
    };
    assert_eq!((*asked, *of, token.as_bytes()), (block(), storage(1), TOKEN));
    let ack = Control::HelloAck(HelloAck { version: transfer::message::VERSION }).to_frame();
    stream.write_all(&ack).await.expect("sends");
    let answer = match flaw {
        Flaw::Refuses(code) => Control::Failed(Failed::new(storage(1), code, "no")).to_frame(),
        Flaw::Silent => return std::future::pending().await,
        Flaw::Rubbish => Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"),
        _ => Control::OpenedLocal(opened).to_frame(),
    };
    let fds = [file.as_fd()];
    let sent = stream.async_io(Interest::WRITABLE, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !matches!(flaw, Flaw::NoDescriptor | Flaw::Refuses(_) | Flaw::Rubbish) {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        Ok(sendmsg(&stream, &[IoSlice::new(&answer)], &mut ancillary, SendFlags::NOSIGNAL)?)
    });
    assert_eq!(sent.await.expect("sends"), answer.len());
}

/// Serves whole chunks of the block over the network, and counts what is asked.
async fn serve(mut peer: Peer, content: Bytes, asked: Arc<AtomicUsize>) {
    while let Some(Frame::Control(Control::Read(read))) = peer.receive().await {
        asked.fetch_add(1, Ordering::Relaxed);
        let first = read.offset.get() as usize / CHUNK * CHUNK;
        let end = ((read.offset.get() + read.length.get()) as usize).next_multiple_of(CHUNK).min(content.len());
        let (offset, length) = (BlockOffset::new(first as u64), ByteSize::new((end - first) as u64));
        let total = ByteSize::new(content.len() as u64);
        peer.say(Control::ReadReply(ReadReply { offset, length, total, complete: true })).await;
        for at in (first..end).step_by(PIECE) {
            let data = &content[at..end.min(at + PIECE)];
            let mut words = Vec::new();
            append_words(read.block, (at / CHUNK) as u64, data, &mut words);
            let head = Piece::head(BlockOffset::new(at as u64), data.len());
            peer.send(&[&head[..], &words, data].concat()).await;
        }
    }
}

struct Cluster {
    client: Client,
    namenode: Namenode,
    /// Files that were handed out, and reads over the network.
    handed_out: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    _datanode: Datanode,
    _directory: TempDir,
}

impl Cluster {
    async fn start(content: &Bytes, flaw: Flaw, configure: fn(Config) -> Config) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // Longer than the name of a socket may be.
        let below = directory.path().join("d".repeat(120));
        std::fs::create_dir(&below).expect("a directory");
        let (handed_out, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (file_of, opened) = replica(&directory, content, flaw);
        let socket: PathBuf = below.join("local.sock");
        if flaw != Flaw::NoSocket {
            // Bound where the name is short enough.
            let near = directory.path().join("s");
            let listener = UnixListener::bind(&near).expect("binds");
            std::fs::rename(&near, &socket).expect("renames");
            let (file_of, count) = (Arc::new(file_of), Arc::clone(&handed_out));
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(hand_out(stream, Arc::clone(&file_of), opened, flaw));
                }
            });
        }
        let (counted, whole) = (Arc::clone(&asked), content.clone());
        let datanode = Datanode::start(move |peer| serve(peer, whole.clone(), Arc::clone(&counted))).await;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("this is Linux");
        let mut boot = hex(boot.trim());
        if flaw == Flaw::AnotherMachine {
            boot[0] ^= 1;
        }
        let local = Some(v1::LocalSocket { boot, path: socket.into_os_string().into_encoded_bytes() });
        let place = v1::Location { local, ..location(1, datanode.address) };
        let located = v1::LocatedBlock {
            block: Some(block().into()),
            generation: 1,
            offset: 0,
            length: LENGTH as u64,
            block_offset: 0,
            writing: false,
            replicas: vec![place],
            token: Some(v1::Token { bytes: TOKEN.to_vec() }),
        };
        let namenode = Namenode::lead(move |arrived| match &arrived.op {
            Op::Open(_) => Act::Answer(Answer::Opened(v1::Opened {
                attributes: Some(file(LENGTH as u64)),
                inline: None,
                blocks: vec![located.clone()],
                known_to: LENGTH as u64,
            })),
            Op::ReportBadReplica(_) => done(),
            _ => Act::Refuse(Code::NotSupported),
        })
        .await;
        let client = Client::connect(configure(config(&[&namenode.address]))).await.expect("the namenode answers");
        Self { client, namenode, handed_out, asked, _datanode: datanode, _directory: directory }
    }

    async fn read_all(&self) -> Result<Vec<u8>, client::Error> {
        let mut reader = self.client.open(&path("/file")).await?;
        let mut got = Vec::new();
        while let Some(chunk) = reader.next_chunk().await? {
            got.extend_from_slice(&chunk);
        }
        Ok(got)
    }

    fn counts(&self) -> (usize, usize) {
        (self.handed_out.load(Ordering::Relaxed), self.asked.load(Ordering::Relaxed))
    }

    fn reported(&self) -> usize {
        self.namenode.arrived().iter().filter(|arrived| matches!(arrived.op, Op::ReportBadReplica(_))).count()
    }
}

/// The bytes of a UUID.
fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).expect("hexadecimal digits").to_be_bytes().to_vec()
}

fn as_given(config: Config) -> Config {
    config
}

#[tokio::test]
async fn a_replica_on_this_machine_is_read_without_its_datanode() {
    let content = content(LENGTH);
    let cluster = Cluster::start(&content, Flaw::None, as_given).await;
    assert!(cluster.read_all().await.expect("reads") == content);
    let reader = cluster.client.open(&path("/file")).await.expect("opens");
    for (offset, length) in
        [(0, 1), (4095, 2), (4096, 4096), (500_000, 100_000), (520_000, 8200), (LENGTH - 3, 3), (10, LENGTH - 10)]
    {
        let mut buffer = vec![0; length];
        assert_eq!(reader.read_at(offset as u64, &mut buffer).await.expect("reads"), length);
        assert!(buffer == content[offset..offset + length], "{offset}+{length}");
    }
    let (handed_out, asked) = cluster.counts();
    assert!((2..10).contains(&handed_out), "once for each open file, or a few times when parts begin at once");
    assert_eq!(asked, 0);
}

/// Whatever the datanode says to those on its machine: the bytes come over the network.
#[tokio::test]
async fn without_the_file_a_replica_is_read_over_the_network_and_nobody_is_blamed() {
    let brief = |config| Config { connect_timeout: std::time::Duration::from_millis(200), ..config };
    let content = content(LENGTH);
    for flaw in [
        Flaw::Refuses(Code::Busy),
        Flaw::Refuses(Code::Denied),
        Flaw::Silent,
        Flaw::NoDescriptor,
        Flaw::Rubbish,
        Flaw::NoSocket,
        Flaw::AnotherMachine,
        Flaw::Cut,
    ] {
        let cluster = Cluster::start(&content, flaw, brief).await;
        assert!(cluster.read_all().await.expect("reads") == content, "{flaw:?}");
        assert!(cluster.counts().1 > 0, "{flaw:?}");
        assert_eq!(cluster.reported(), 0, "{flaw:?}");
    }
}

/// The only replica is damaged: a byte that is not what was written is never given.
#[tokio::test]
async fn a_damaged_file_is_reported_and_its_bytes_are_not_given() {
    let content = content(LENGTH);
    let cluster = Cluster::start(&content, Flaw::Flips(1_500_000), as_given).await;
    // What the network gives is good: it is read there once the map was asked for again.
    assert!(cluster.read_all().await.expect("reads") == content);
    assert!(cluster.reported() > 0);
    let reader = cluster.client.open(&path("/file")).await.expect("opens");
    let mut buffer = [0; 3];
    assert_eq!(reader.read_at(1_500_000, &mut buffer).await.expect("reads"), 3);
    assert_eq!(buffer, content[1_500_000..1_500_003]);
}

#[tokio::test]
async fn a_client_that_is_told_so_reads_over_the_network_alone() {
    let content = content(LENGTH);
    let cluster = Cluster::start(&content, Flaw::None, |config| Config { local_reads: false, ..config }).await;
    assert!(cluster.read_all().await.expect("reads") == content);
    assert_eq!(cluster.counts().0, 0);
}
