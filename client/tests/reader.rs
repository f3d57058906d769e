//! Reading from replicas that fail, are slow, or say nothing: invariants 3 and 4 of the crate.

mod cluster;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Client, Config, FileReader};
use proto::v1;
use proto::v1::op::Kind as Op;
use proto::v1::reply::Result as Answer;
use tokio::sync::watch;
use transfer::{Control, Failed, Frame, Piece, Read, ReadReply};
use types::checksum::{CHUNK, append_words};
use types::{BlockOffset, ByteSize, Code};

use cluster::{Act, Datanode, Namenode, Peer, config, content, done, file, location, path, storage};

const BLOCK: usize = 4 << 20;
const PIECE: usize = 1 << 20;

/// What a datanode does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// One bit of the byte at this offset of every block.
    Flips(usize),
    /// Closes the connection before the piece at this offset.
    BreaksAt(usize),
    Refuses(Code),
    Silent,
    /// Has so many bytes only.
    Short(usize),
    /// Takes so long before it says anything.
    Slow(Duration),
    /// Reads that do not begin at the start of the file wait until there are reads of two places at once, from whomever.
    WaitsForAnother,
}

/// How long a test waits for what must happen.
const SOON: Duration = Duration::from_secs(20);

/// What the datanodes of a cluster see.
#[derive(Debug)]
struct Seen {
    asked: Mutex<Vec<Read>>,
    /// Connections that the client closed.
    closed: watch::Sender<usize>,
}

impl Seen {
    fn new() -> Arc<Self> {
        Arc::new(Self { asked: Mutex::default(), closed: watch::Sender::new(0) })
    }

    fn asked(&self) -> Vec<Read> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

/// The places that are being read, in all datanodes.
type Places = watch::Sender<BTreeSet<(u32, u64)>>;

/// Serves blocks of `content`, and notes what was asked.
async fn replica(content: Bytes, flaw: Flaw, seen: Arc<Seen>, places: Arc<Places>) -> Datanode {
    Datanode::start(move |peer| serve(peer, content.clone(), flaw, Arc::clone(&seen), Arc::clone(&places))).await
}

async fn serve(mut peer: Peer, content: Bytes, flaw: Flaw, seen: Arc<Seen>, places: Arc<Places>) {
    while let Some(Frame::Control(Control::Read(read))) = peer.receive().await {
        assert_eq!(read.token.as_bytes(), b"to read", "what the namenode gave");
        seen.asked.lock().expect("not poisoned").push(read.clone());
        let start = read.block.number() as usize * BLOCK;
        let block = content.slice(start..content.len().min(start + BLOCK));
        let total = if let Flaw::Short(length) = flaw { length } else { block.len() };
        match flaw {
            Flaw::Silent => {
                assert_eq!(peer.receive().await, None, "nothing is sent on a connection that owes an answer");
                seen.closed.send_modify(|closed| *closed += 1);
                return;
            }
            Flaw::Slow(time) => tokio::time::sleep(time).await,
            Flaw::WaitsForAnother if read.block.number() == 0 && read.offset.get() == 0 => {}
            Flaw::WaitsForAnother => {
                let place = (read.block.number(), read.offset.get());
                places.send_modify(|places| {
                    places.insert(place);
                });
                let mut seen = places.subscribe();
                let two = tokio::time::timeout(SOON, seen.wait_for(|places| places.len() >= 2)).await;
                drop(two.expect("another part is read at the same time").expect("the test holds the sender"));
            }
            Flaw::Refuses(code) => {
                peer.say(Control::Failed(Failed::new(read.storage, code, "no"))).await;
                continue;
            }
            Flaw::None | Flaw::Flips(_) | Flaw::BreaksAt(_) | Flaw::Short(_) => {}
        }
        let first = read.offset.get() as usize / CHUNK * CHUNK;
        let end = ((read.offset.get() + read.length.get()) as usize).next_multiple_of(CHUNK).min(total);
        let (offset, length) = (BlockOffset::new(first as u64), ByteSize::new(end.saturating_sub(first) as u64));
        peer.say(Control::ReadReply(ReadReply { offset, length, total: ByteSize::new(total as u64), complete: true }))
            .await;
        for at in (first..end).step_by(PIECE) {
            if matches!(flaw, Flaw::BreaksAt(place) if place <= at) {
                return;
            }
            let mut data = block[at..end.min(at + PIECE)].to_vec();
            let mut words = Vec::new();
            append_words(read.block, (at / CHUNK) as u64, &data, &mut words);
            if let Flaw::Flips(place) = flaw
                && (at..at + data.len()).contains(&place)
            {
                data[place - at] ^= 4;
            }
            let head = Piece::head(BlockOffset::new(at as u64), data.len());
            peer.send(&[&head[..], &words, &data].concat()).await;
        }
    }
}

struct Cluster {
    namenode: Namenode,
    client: Client,
    seen: Vec<Arc<Seen>>,
    _datanodes: Vec<Datanode>,
}

/// What a file has one block after the other makes of.
type Map = fn(Vec<v1::LocatedBlock>) -> Vec<v1::LocatedBlock>;

impl Cluster {
    async fn start(content: &Bytes, flaws: &[Flaw]) -> Self {
        Self::with(content, flaws, |blocks| blocks, |config| config).await
    }

    /// The file has what `map` makes of one block after the other.
    async fn with(content: &Bytes, flaws: &[Flaw], map: Map, configure: fn(Config) -> Config) -> Self {
        let (mut datanodes, mut replicas, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        let places = Arc::new(Places::new(BTreeSet::new()));
        for (number, flaw) in (1..).zip(flaws) {
            let sees = Seen::new();
            let datanode = replica(content.clone(), *flaw, Arc::clone(&sees), Arc::clone(&places)).await;
            replicas.push(location(number, datanode.address));
            datanodes.push(datanode);
            seen.push(sees);
        }
        let length = content.len();
        let namenode = Namenode::lead(move |arrived| match &arrived.op {
            Op::Open(open) => Act::Answer(Answer::Opened(v1::Opened {
                attributes: Some(file(length as u64)),
                inline: None,
                blocks: map((0..length.div_ceil(BLOCK)).map(|number| block(number, length, &replicas, open)).collect()),
                known_to: length as u64,
            })),
            Op::ReportBadReplica(_) => done(),
            _ => Act::Refuse(Code::NotSupported),
        })
        .await;
        let config = configure(config(&[&namenode.address]));
        let client = Client::connect(config).await.expect("the namenode answers");
        Self { namenode, client, seen, _datanodes: datanodes }
    }

    /// Everything that was asked of any datanode, in the order of the file.
    fn asked(&self) -> Vec<(u64, u64)> {
        let asked = self.seen.iter().flat_map(|seen| seen.asked());
        let place = |read: Read| (read.block.number() as u64 * BLOCK as u64 + read.offset.get(), read.length.get());
        let mut asked: Vec<_> = asked.map(place).collect();
        asked.sort_unstable();
        asked
    }

    async fn open(&self) -> FileReader {
        self.client.open(&path("/file")).await.expect("opens")
    }

    fn reported(&self) -> Vec<Vec<u8>> {
        let reports = self.namenode.arrived().into_iter().filter_map(|arrived| match arrived.op {
            Op::ReportBadReplica(report) => Some(report.storage),
            _ => None,
        });
        reports.collect()
    }

    fn opens(&self) -> usize {
        self.namenode.arrived().iter().filter(|arrived| matches!(arrived.op, Op::Open(_))).count()
    }
}

fn block(number: usize, length: usize, replicas: &[v1::Location], _asked: &v1::Open) -> v1::LocatedBlock {
    let offset = number * BLOCK;
    v1::LocatedBlock {
        block: Some(v1::BlockId { inode: 9, number: number as u32 }),
        generation: 1,
        offset: offset as u64,
        length: (length - offset).min(BLOCK) as u64,
        block_offset: 0,
        writing: false,
        replicas: replicas.to_vec(),
        token: Some(v1::Token { bytes: b"to read".to_vec() }),
    }
}

async fn read_all(reader: &mut FileReader) -> Vec<u8> {
    let mut got = Vec::new();
    while let Some(chunk) = reader.next_chunk().await.expect("reads") {
        assert!(!chunk.is_empty() && chunk.len() <= 1 << 20);
        got.extend_from_slice(&chunk);
    }
    got
}

#[tokio::test]
async fn a_file_of_several_blocks_is_read_whole_and_every_byte_is_asked_for_once() {
    let content = content(2 * BLOCK + 12_345);
    let cluster = Cluster::start(&content, &[Flaw::None]).await;
    let mut reader = cluster.open().await;
    assert_eq!(read_all(&mut reader).await, content);
    assert_eq!(reader.position(), content.len() as u64);
    let mut position = 0;
    for (offset, length) in cluster.asked() {
        assert_eq!(offset, position);
        position += length;
    }
    assert_eq!(position, content.len() as u64);
    assert_eq!(cluster.opens(), 1);
}

#[tokio::test]
async fn several_parts_of_a_large_file_are_read_at_once() {
    let content = content(3 * BLOCK);
    let cluster = Cluster::start(&content, &[Flaw::WaitsForAnother; 3]).await;
    assert_eq!(read_all(&mut cluster.open().await).await, content);
}

/// A small read from the middle of a block costs the chunks that it touches and nothing else.
#[tokio::test]
async fn positional_reads_drag_no_more_than_the_chunks_they_touch() {
    let content = content(BLOCK);
    let cluster = Cluster::start(&content, &[Flaw::None]).await;
    let reader = cluster.open().await;
    let mut buffer = [0; CHUNK];
    for offset in [0, 5 * CHUNK, BLOCK - CHUNK] {
        assert_eq!(reader.read_at(offset as u64, &mut buffer).await.expect("reads"), CHUNK);
        assert_eq!(buffer, content[offset..offset + CHUNK]);
    }
    let chunk = CHUNK as u64;
    assert_eq!(cluster.asked(), [(0, chunk), (5 * chunk, chunk), (BLOCK as u64 - chunk, chunk)]);
}

#[tokio::test]
async fn any_place_can_be_read() {
    let content = content(BLOCK + 12_345);
    let cluster = Cluster::start(&content, &[Flaw::None]).await;
    let mut reader = cluster.open().await;
    for (offset, length) in
        [(0, 1), (4095, 2), (BLOCK - 3, 7), (BLOCK + 12_000, 1000), (BLOCK + 12_345, 5), (1 << 40, 5)]
    {
        let mut buffer = vec![0; length];
        let read = reader.read_at(offset as u64, &mut buffer).await.expect("reads");
        let end = content.len().min(offset + length);
        assert_eq!(buffer[..read], content[offset.min(end)..end], "{offset}+{length}");
    }
    reader.seek(BLOCK as u64 - 1);
    let mut two = [0; 2];
    assert_eq!(reader.read(&mut two[..1]).await.expect("reads"), 1);
    assert_eq!(reader.read(&mut two[1..]).await.expect("reads"), 1);
    assert_eq!(two, content[BLOCK - 1..=BLOCK]);
    reader.seek(3);
    assert_eq!(read_all(&mut reader).await, content[3..]);
}

#[tokio::test]
async fn holes_read_as_zeros_and_extents_from_inside_their_blocks() {
    let content = content(2 * BLOCK + 12_345);
    let map = |mut blocks: Vec<v1::LocatedBlock>| {
        blocks.truncate(2);
        blocks[0].length = 5000;
        blocks[1].offset += 9;
        blocks[1].block_offset = 777;
        blocks[1].length -= 777;
        blocks
    };
    let cluster = Cluster::with(&content, &[Flaw::None], map, |config| config).await;
    let mut expected = vec![0; content.len()];
    expected[..5000].copy_from_slice(&content[..5000]);
    expected[BLOCK + 9..2 * BLOCK + 9 - 777].copy_from_slice(&content[BLOCK + 777..2 * BLOCK]);
    let mut reader = cluster.open().await;
    assert_eq!(read_all(&mut reader).await, expected);
    for (offset, length) in [(4990, 20), (6000, 100), (BLOCK, 3000), (2 * BLOCK, 12_345), (content.len() - 1, 9)] {
        let mut buffer = vec![1; length];
        let read = reader.read_at(offset as u64, &mut buffer).await.expect("reads");
        assert_eq!(buffer[..read], expected[offset..content.len().min(offset + length)], "{offset}+{length}");
    }
    assert_eq!(cluster.opens(), 1, "a hole that is known is not asked for");
}

/// Invariants 3 and 4.
#[tokio::test]
async fn a_damaged_replica_is_left_for_another_and_reported() {
    let content = content(2 * BLOCK);
    let cluster = Cluster::start(&content, &[Flaw::Flips(3_000_000), Flaw::None]).await;
    assert_eq!(read_all(&mut cluster.open().await).await, content);
    let bad = storage(1).as_bytes().to_vec();
    assert_eq!(cluster.reported(), [bad.clone(), bad]);
    // What was good of the first is not asked for again.
    let second = cluster.seen[1].asked();
    assert!(second.iter().all(|read| read.offset.get() >= 2 << 20), "{second:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_continued_elsewhere_and_nothing_is_reported() {
    let content = content(BLOCK);
    let cluster = Cluster::start(&content, &[Flaw::BreaksAt(2 << 20), Flaw::None]).await;
    assert_eq!(read_all(&mut cluster.open().await).await, content);
    assert_eq!(cluster.reported(), Vec::<Vec<u8>>::new());
    let second = cluster.seen[1].asked();
    assert_eq!(second.iter().map(|read| read.offset.get()).min(), Some(2 << 20));
}

#[tokio::test]
async fn a_silent_or_refusing_datanode_is_left_for_another() {
    let content = content(100_000);
    for flaw in [Flaw::Silent, Flaw::Refuses(Code::StaleGeneration), Flaw::Refuses(Code::NoSuchBlock)] {
        let cluster = Cluster::start(&content, &[flaw, Flaw::None]).await;
        assert_eq!(read_all(&mut cluster.open().await).await, content);
        assert_eq!(cluster.reported(), Vec::<Vec<u8>>::new(), "{flaw:?}");
    }
}

/// Leaves its time to nobody but the race.
fn patient(config: Config) -> Config {
    Config { read_timeout: Duration::from_secs(3600), ..config }
}

/// The second request goes out long before the first one is given up, and the connection of the first, over which an
/// answer might still come, is closed.
#[tokio::test]
async fn a_silent_datanode_is_overtaken_by_another_and_its_connection_closed() {
    let content = content(100_000);
    let cluster = Cluster::with(&content, &[Flaw::Silent, Flaw::None], |blocks| blocks, patient).await;
    let read = tokio::time::timeout(SOON, async { read_all(&mut cluster.open().await).await });
    assert_eq!(read.await.expect("the second answers at once"), content);
    let mut closed = cluster.seen[0].closed.subscribe();
    let closed = tokio::time::timeout(SOON, closed.wait_for(|closed| *closed == 1)).await;
    assert_eq!(*closed.expect("it is closed").expect("the test holds the sender"), 1);
    assert_eq!(cluster.reported(), Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn when_all_are_silent_the_read_ends_with_an_error_that_names_them() {
    let content = content(100_000);
    let brief = |config| Config { read_timeout: Duration::from_millis(50), ..config };
    let cluster = Cluster::with(&content, &[Flaw::Silent; 2], |blocks| blocks, brief).await;
    let error = cluster.open().await.next_chunk().await.expect_err("nobody answers");
    let text = error.to_string();
    assert!(text.contains("/file") && text.matches("silent for 50ms").count() == 2, "{text}");
}

/// Both are away; the first is slow, though never late enough for a second request.
#[tokio::test]
async fn a_slow_datanode_is_asked_less_once_it_is_known() {
    const READS: usize = 20;
    let away = |mut blocks: Vec<v1::LocatedBlock>| {
        blocks.iter_mut().flat_map(|block| &mut block.replicas).for_each(|replica| replica.distance = 4);
        blocks
    };
    let content = content(BLOCK);
    let slow = Flaw::Slow(Duration::from_millis(60));
    let cluster = Cluster::with(&content, &[slow, Flaw::None], away, patient).await;
    let reader = cluster.open().await;
    let mut buffer = [0; CHUNK];
    let began = Instant::now();
    for offset in 0..READS {
        reader.read_at((offset * CHUNK) as u64, &mut buffer).await.expect("reads");
    }
    let [first, second] = [0, 1].map(|node| cluster.seen[node].asked().len());
    assert!(first >= 1 && second > READS / 2, "{first} and {second} reads in {:?}", began.elapsed());
}

/// Invariant 4: not a byte less than the namenode says there is.
#[tokio::test]
async fn a_replica_that_is_too_short_is_reported_and_never_a_short_read() {
    let content = content(100_000);
    let cluster = Cluster::start(&content, &[Flaw::Short(50_000), Flaw::None]).await;
    assert_eq!(read_all(&mut cluster.open().await).await, content);
    assert_eq!(cluster.reported(), [storage(1).as_bytes().to_vec()]);
}

#[tokio::test]
async fn without_a_good_replica_the_error_says_what_was_tried_after_the_map_was_asked_for_again() {
    let content = content(100_000);
    let cluster = Cluster::start(&content, &[Flaw::Flips(77), Flaw::Refuses(Code::NoSuchBlock)]).await;
    let error = cluster.open().await.next_chunk().await.expect_err("nothing good is left");
    assert_eq!(error.code(), Code::Corrupt);
    let text = error.to_string();
    assert!(text.contains("/file") && text.contains("blk_9.0") && text.contains("checksum"), "{text}");
    assert!(cluster.opens() > 1);
}

#[tokio::test]
async fn a_small_file_comes_with_the_answer() {
    let namenode = Namenode::lead(|_| {
        let opened = v1::Opened { attributes: Some(file(5)), inline: Some(b"hello".to_vec()), ..Default::default() };
        Act::Answer(Answer::Opened(opened))
    })
    .await;
    let client = cluster::connect(&namenode).await;
    let mut reader = client.open(&path("/small")).await.expect("opens");
    assert_eq!(read_all(&mut reader).await, b"hello");
    let mut three = [0; 3];
    assert_eq!(reader.read_at(3, &mut three).await.expect("reads"), 2);
    assert_eq!(&three[..2], b"lo");
}
