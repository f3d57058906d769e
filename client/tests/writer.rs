//! Writing through chains that fail: invariants 3 and 7 of the crate.

mod cluster;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use client::{AppendOptions, Client, Config, CreateOptions};
use proto::v1;
use proto::v1::op::Kind as Op;
use proto::v1::reply::Result as Answer;
use transfer::message::Ack;
use transfer::{Alive, Control, Failed, Flags, Frame, Setup};
use types::{BlockId, ByteSize, Code};

use cluster::{Act, Datanode, Namenode, Peer, config, content, done, file, location, path, storage};

const BLOCK: u64 = 4 << 20;

/// What the chain does, seen from its first hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Hop 2 cannot be set up in the first block.
    NoSetup,
    /// Hop 3 is lost when the block has so many bytes, in its first generation.
    LoseThird(u64),
    /// The first hop breaks the connection then.
    LoseFirst(u64),
    /// So are hops 3 and 2 of the first block, one after the other, and it takes the namenode a moment to copy the block.
    LoseTwo(u64),
    /// Every hop but the first is lost then, one after the other.
    LoseAll(u64),
    /// The first twenty chains cannot be set up: nobody has noticed yet that so many datanodes are gone.
    LateStart,
    /// The disk of hop 2 takes seconds for a packet of the first block.
    SlowSecond,
    Healthy,
    /// The namenode gives new files other copies than are asked for.
    SaysOtherwise,
}

/// What the hops stored, by block, and how they were asked to.
#[derive(Debug, Default)]
struct Stored {
    blocks: BTreeMap<BlockId, Vec<u8>>,
    setups: Vec<Setup>,
    synced: u64,
}

/// A first hop that answers for all below it.
async fn serve(mut peer: Peer, fate: Fate, stored: Arc<Mutex<Stored>>) {
    let Some(Frame::Control(Control::Setup(setup))) = peer.receive().await else { return };
    let generation = setup.generation.get();
    let block = setup.block;
    assert_eq!(setup.token.as_bytes(), to_write(generation).bytes, "what the namenode gave for this generation");
    {
        let mut stored = stored.lock().expect("not poisoned");
        stored.setups.push(setup.clone());
        let bytes = stored.blocks.entry(block).or_default();
        bytes.truncate(setup.resume.map_or(0, |resume| resume.offset.get() as usize));
    }
    if fate == Fate::NoSetup && block.number() == 0 {
        return peer.say(Control::Failed(Failed::new(storage(2), Code::NoSpace, "no room"))).await;
    }
    if fate == Fate::LateStart && block.number() < 20 {
        return peer.say(Control::Failed(Failed::new(storage(2), Code::Io, "refused"))).await;
    }
    peer.say(Control::Ready).await;
    while let Some(Frame::Packet(packet)) = peer.receive().await {
        packet.verify(block).expect("the writer's checksums are right");
        match fate {
            Fate::LoseThird(at) if generation == 1 && packet.end() > at => {
                return peer.say(Control::Failed(Failed::new(storage(3), Code::TimedOut, "gone"))).await;
            }
            Fate::LoseTwo(at) if generation < 3 && block.number() == 0 && packet.end() > at => {
                let lost = storage(if generation == 1 { 3 } else { 2 });
                return peer.say(Control::Failed(Failed::new(lost, Code::TimedOut, "gone"))).await;
            }
            Fate::LoseAll(at) if packet.end() > at => {
                let lost = setup.downstream.last().map_or(setup.storage, |hop| hop.storage);
                return peer.say(Control::Failed(Failed::new(lost, Code::TimedOut, "gone"))).await;
            }
            Fate::LoseFirst(at) if generation == 1 && packet.end() > at => return,
            Fate::SlowSecond if generation == 1 && block.number() == 0 => {
                // The packet is not acknowledged, and every hop is alive.
                let times = Alive { store_times: vec![9000, 3_000_000, 9000] };
                loop {
                    peer.say(Control::Alive(times.clone())).await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            Fate::NoSetup
            | Fate::LateStart
            | Fate::SlowSecond
            | Fate::LoseThird(_)
            | Fate::LoseFirst(_)
            | Fate::LoseTwo(_)
            | Fate::LoseAll(_)
            | Fate::SaysOtherwise
            | Fate::Healthy => {}
        }
        {
            let mut stored = stored.lock().expect("not poisoned");
            let bytes = stored.blocks.entry(block).or_default();
            let start = packet.offset.get() as usize;
            assert!(start <= bytes.len(), "no gap");
            bytes.truncate(start);
            bytes.extend_from_slice(&packet.data);
            stored.synced += u64::from(packet.flags.has(Flags::SYNC));
        }
        let length = ByteSize::new(packet.end());
        peer.say(Control::Ack(Ack { sequence: packet.sequence, length })).await;
        if packet.flags.has(Flags::FINISH) {
            return;
        }
    }
}

/// What lets a client write any block in this generation.
fn to_write(generation: u64) -> v1::Token {
    v1::Token { bytes: generation.to_le_bytes().to_vec() }
}

struct Cluster {
    namenode: Namenode,
    client: Client,
    stored: Arc<Mutex<Stored>>,
    _datanodes: Vec<Datanode>,
}

impl Cluster {
    async fn start(fate: Fate) -> Self {
        Self::with_patience(fate, Duration::from_secs(10)).await
    }

    /// Operations are given up after `op_timeout`.
    async fn with_patience(fate: Fate, op_timeout: Duration) -> Self {
        let stored = Arc::new(Mutex::new(Stored::default()));
        let (mut datanodes, mut targets) = (Vec::new(), Vec::new());
        for number in 1..=3 {
            let log = Arc::clone(&stored);
            let datanode = Datanode::start(move |peer| serve(peer, fate, Arc::clone(&log))).await;
            targets.push(location(number, datanode.address));
            datanodes.push(datanode);
        }
        let mut refusals = if matches!(fate, Fate::LoseTwo(_)) { 2 } else { 0 };
        let is_copied = move || {
            refusals = i32::max(refusals - 1, -1);
            refusals < 0
        };
        let copied = Mutex::new(is_copied);
        let next_block = Mutex::new(0);
        let new_block = move |exclude: &[u64]| {
            let mut next = next_block.lock().expect("not poisoned");
            *next += 1;
            let mut chosen: Vec<_> = targets.iter().filter(|target| !exclude.contains(&target.node)).cloned().collect();
            if chosen.len() < 2 {
                chosen.clone_from(&targets);
            }
            let block = Some(v1::BlockId { inode: 9, number: *next - 1 });
            v1::NewBlock { block, generation: 1, targets: chosen, token: Some(to_write(1)) }
        };
        let slow = AtomicU32::new(0);
        let namenode = Namenode::lead(move |arrived| match &arrived.op {
            Op::Create(create) => Act::Answer(Answer::Created(v1::Created {
                attributes: Some(file(0)),
                block: create.with_block.then(|| new_block(&create.exclude)),
            })),
            Op::AddBlock(add) => Act::Answer(Answer::Block(new_block(&add.exclude))),
            Op::NextGeneration(next) => {
                let generation = next.generation + 1;
                Act::Answer(Answer::Generation(v1::Generation { generation, token: Some(to_write(generation)) }))
            }
            Op::AllocateBlocks(ask) if ask.exclude.len() > 1 => Act::Refuse(Code::NoDatanodes),
            Op::AllocateBlocks(ask) => Act::Answer(Answer::Blocks(v1::NewBlocks {
                blocks: (0..ask.count).map(|_| new_block(&ask.exclude)).collect(),
            })),
            Op::Complete(_) | Op::Extend(_) if !(copied.lock().expect("not poisoned"))() => {
                Act::Refuse(Code::NoDatanodes)
            }
            Op::Append(append) if append.place.as_ref().is_some_and(|place| place.path == b"/slow") => {
                slow.fetch_add(1, Ordering::Relaxed);
                match slow.load(Ordering::Relaxed) {
                    1 | 2 => Act::Answer(Answer::Lease(v1::Lease { recovering: true })),
                    _ => Act::Answer(Answer::Created(v1::Created { attributes: Some(file(0)), block: None })),
                }
            }
            Op::Append(_) => Act::Answer(Answer::Created(v1::Created { attributes: Some(file(6)), block: None })),
            Op::Open(_) => Act::Answer(Answer::Opened(v1::Opened {
                attributes: Some(file(6)),
                inline: Some(b"inline".to_vec()),
                ..Default::default()
            })),
            Op::PutBlocks(_) if fate == Fate::SaysOtherwise => {
                let spread = v1::Spread::Wide.into();
                Act::Answer(Answer::Attributes(v1::Attributes { replication: 2, spread, ..file(1) }))
            }
            Op::Complete(_) | Op::PutInline(_) | Op::PutBlocks(_) => Act::Answer(Answer::Attributes(file(1))),
            Op::Extend(_) | Op::AbandonBlock(_) | Op::Abandon(_) | Op::ReleaseBlocks(_) => done(),
            _ => Act::Refuse(Code::NotSupported),
        })
        .await;
        let slow_hop_after = Duration::from_millis(500);
        let config = Config { op_timeout, slow_hop_after, ..config(&[&namenode.address]) };
        let client = Client::connect(config).await.expect("connects");
        Self { namenode, client, stored, _datanodes: datanodes }
    }

    async fn put(&self, content: &Bytes) -> Result<client::Attributes, client::Error> {
        self.client.put(&path("/file"), content.clone(), CreateOptions::default()).await
    }

    /// As a writer does that does not have everything at once.
    async fn stream(&self, content: &Bytes) -> Result<client::Attributes, client::Error> {
        let size_hint = Some(content.len() as u64);
        let options = CreateOptions { atomic: true, size_hint, ..CreateOptions::default() };
        let mut writer = self.client.create(&path("/file"), options).await?;
        writer.write(content.clone()).await?;
        writer.close().await
    }

    fn ops(&self) -> Vec<Op> {
        self.namenode.arrived().into_iter().map(|arrived| arrived.op).collect()
    }

    /// What stands in the blocks, in order.
    fn bytes(&self) -> Vec<u8> {
        self.stored.lock().expect("not poisoned").blocks.values().flatten().copied().collect()
    }
}

fn replicas(numbers: &[u8]) -> Vec<Vec<u8>> {
    numbers.iter().map(|number| storage(*number).as_bytes().to_vec()).collect()
}

fn last_done(ops: &[Op]) -> v1::BlockDone {
    match ops.last() {
        Some(Op::Complete(complete)) => complete.last.clone().expect("there is a last block"),
        other => panic!("completing comes last, not {other:?}"),
    }
}

#[tokio::test]
async fn a_short_object_is_one_operation() {
    let cluster = Cluster::start(Fate::Healthy).await;
    cluster.put(&content(1000)).await.expect("stored");
    let [Op::PutInline(put)] = &cluster.ops()[..] else { panic!("{:?}", cluster.ops()) };
    assert_eq!(put.content, content(1000));
}

#[tokio::test]
async fn a_long_object_goes_in_blocks_and_gets_its_name_at_the_end() {
    let cluster = Cluster::start(Fate::Healthy).await;
    let content = content(2 * BLOCK as usize + 5000);
    cluster.put(&content).await.expect("stored");
    assert_eq!(cluster.bytes(), content);
    let ops = cluster.ops();
    let [Op::Create(create), Op::AddBlock(second), Op::AddBlock(third), Op::Complete(complete)] = &ops[..] else {
        panic!("{ops:?}")
    };
    assert!(create.destination.is_none() && complete.publish.is_some());
    assert_eq!(second.previous.as_ref().map(|done| done.length), Some(BLOCK));
    assert_eq!(third.previous.as_ref().map(|done| done.replicas.clone()), Some(replicas(&[1, 2, 3])));
    assert_eq!(last_done(&ops).length, 5000);
}

/// Invariants 3 and 7.
#[tokio::test]
async fn a_lost_hop_is_left_behind_and_the_application_sees_no_error() {
    for (fate, left) in [(Fate::LoseThird(2 << 20), [1, 2]), (Fate::LoseFirst(2 << 20), [2, 3])] {
        let cluster = Cluster::start(fate).await;
        let content = content(BLOCK as usize - 5);
        cluster.stream(&content).await.expect("stored");
        assert_eq!(cluster.bytes(), content, "{fate:?}");
        let ops = cluster.ops();
        let next = ops.iter().find_map(|op| if let Op::NextGeneration(next) = op { Some(next) } else { None });
        assert_eq!(next.expect("asked for").survivors, replicas(&left));
        // The block is ended early if there is still something to write when the loss is known.
        let early = ops.iter().find_map(|op| if let Op::AddBlock(add) = op { add.previous.clone() } else { None });
        let done = early.unwrap_or_else(|| last_done(&ops));
        assert_eq!((done.generation, done.replicas), (2, replicas(&left)));
        let setups = cluster.stored.lock().expect("not poisoned").setups.clone();
        assert!(setups[1].resume.is_some_and(|resume| resume.offset.get() <= 2 << 20));
    }
}

#[tokio::test]
async fn a_block_that_lost_a_hop_is_ended_early_and_the_next_one_is_whole() {
    let cluster = Cluster::start(Fate::LoseThird(2 << 20)).await;
    let content = content(4 << 20);
    let mut writer = cluster.client.create(&path("/f"), CreateOptions::default()).await.expect("created");
    writer.write(content.slice(..3 << 20)).await.expect("written");
    // Every byte is acknowledged, so the loss is known.
    writer.flush().await.expect("flushed");
    writer.write(content.slice(3 << 20..)).await.expect("written");
    writer.close().await.expect("closed");
    assert_eq!(cluster.bytes(), content);
    let ops = cluster.ops();
    let next = ops.iter().find_map(|op| match op {
        Op::AddBlock(v1::AddBlock { previous: Some(previous), exclude, .. }) => {
            Some((previous.clone(), exclude.clone()))
        }
        _ => None,
    });
    let (short, exclude) = next.expect("a second block");
    assert_eq!((short.length, short.replicas, exclude), (3 << 20, replicas(&[1, 2]), vec![3]));
    assert_eq!(last_done(&ops).length, 1 << 20);
}

/// However many datanodes are gone that the namenode still believes in: it learns of them within seconds.
#[tokio::test]
async fn a_write_outlasts_more_lost_datanodes_than_the_namenode_knows_of() {
    let cluster = Cluster::start(Fate::LateStart).await;
    let content = content(100_000);
    cluster.stream(&content).await.expect("stored");
    assert_eq!(cluster.bytes(), content);
    cluster.put(&content).await.expect("stored, as all twenty are used up");
}

#[tokio::test]
async fn a_slow_hop_is_left_behind_and_not_chosen_again() {
    let cluster = Cluster::start(Fate::SlowSecond).await;
    let content = content(4 << 20);
    let mut writer = cluster.client.create(&path("/f"), CreateOptions::default()).await.expect("created");
    writer.write(content.slice(..2 << 20)).await.expect("written");
    writer.flush().await.expect("flushed, once the slow hop is gone");
    writer.write(content.slice(2 << 20..)).await.expect("written");
    writer.close().await.expect("closed");
    assert_eq!(cluster.bytes(), content);
    let next = cluster.ops().into_iter().find_map(|op| match op {
        Op::AddBlock(v1::AddBlock { previous: Some(previous), exclude, .. }) => Some((previous.replicas, exclude)),
        _ => None,
    });
    assert_eq!(next.expect("another block"), (replicas(&[1, 3]), vec![2]));
}

#[tokio::test]
async fn a_chain_that_does_not_come_up_is_replaced_by_a_block_elsewhere() {
    let cluster = Cluster::start(Fate::NoSetup).await;
    let content = content(100_000);
    cluster.stream(&content).await.expect("stored");
    assert_eq!(cluster.bytes(), content);
    let ops = cluster.ops();
    let [Op::Create(_), Op::AbandonBlock(_), Op::AddBlock(add), Op::Complete(_)] = &ops[..] else { panic!("{ops:?}") };
    assert_eq!(add.exclude, [2]);
    assert_eq!(last_done(&ops).replicas, replicas(&[1, 3]));
}

/// Invariants 3 and 7.
#[tokio::test]
async fn a_block_goes_on_with_one_hop_of_three_and_the_file_is_closed_when_it_is_copied() {
    let cluster = Cluster::start(Fate::LoseTwo(1 << 20)).await;
    let content = content(BLOCK as usize - 5);
    cluster.stream(&content).await.expect("stored");
    assert_eq!(cluster.bytes(), content);
    let ops = cluster.ops();
    let survivors: Vec<_> = ops
        .iter()
        .filter_map(|op| if let Op::NextGeneration(next) = op { Some(next.survivors.clone()) } else { None })
        .collect();
    assert_eq!(survivors, [replicas(&[1, 2]), replicas(&[1])]);
    let in_need = ops.iter().find_map(|op| if let Op::AddBlock(add) = op { add.previous.clone() } else { None });
    assert_eq!(in_need.expect("it is committed before the file is closed").replicas, replicas(&[1]));
    assert_eq!(ops.iter().filter(|op| matches!(op, Op::Complete(_))).count(), 3, "asked until it is copied");
}

#[tokio::test]
async fn a_flush_waits_until_a_block_in_need_is_copied() {
    let cluster = Cluster::start(Fate::LoseTwo(0)).await;
    let mut writer = cluster.client.create(&path("/f"), CreateOptions::default()).await.expect("created");
    writer.write_all(b"precious").await.expect("written");
    writer.sync().await.expect("synced");
    let ops = cluster.ops();
    let extended: Vec<_> = ops
        .iter()
        .filter_map(|op| if let Op::Extend(extend) = op { extend.written.clone() } else { None })
        .map(|written| (written.length, written.replicas.len()))
        .collect();
    assert_eq!(extended, [(0, 3), (0, 3), (0, 3)], "of the block that follows");
    writer.write_all(b" bytes").await.expect("written");
    writer.close().await.expect("closed");
    assert_eq!(cluster.bytes(), b"precious bytes");
}

#[tokio::test]
async fn an_append_repeats_what_lived_with_the_inode() {
    let cluster = Cluster::start(Fate::Healthy).await;
    let mut writer = cluster.client.append(&path("/f"), AppendOptions::default()).await.expect("opened");
    assert_eq!(writer.position(), 6);
    writer.write_all(b" and more").await.expect("written");
    assert_eq!(writer.position(), 15);
    writer.close().await.expect("closed");
    assert_eq!(cluster.bytes(), b"inline and more");
    let ops = cluster.ops();
    assert!(matches!(ops.first(), Some(Op::Append(_))), "{ops:?}");
    assert_eq!(last_done(&ops).length, 15);
}

#[tokio::test]
async fn an_append_waits_for_a_recovery() {
    let cluster = Cluster::start(Fate::Healthy).await;
    let writer = cluster.client.append(&path("/slow"), AppendOptions::default()).await.expect("opened");
    writer.abort().await.expect("aborted");
    let ops = cluster.ops();
    assert_eq!(ops.iter().filter(|op| matches!(op, Op::Append(_))).count(), 3, "{ops:?}");
}

#[tokio::test]
async fn with_too_few_hops_left_the_writer_says_so_and_gives_the_file_up() {
    let cluster = Cluster::start(Fate::LoseAll(0)).await;
    let error = cluster.stream(&content(100_000)).await.expect_err("one replica is not enough");
    assert_eq!(error.code(), Code::NoDatanodes);
    assert!(error.to_string().contains("/file"), "{error}");
    cluster.client.close().await.expect("closes");
    assert!(cluster.ops().iter().any(|op| matches!(op, Op::Abandon(_))), "{:?}", cluster.ops());
}

#[tokio::test]
async fn a_flush_is_told_to_the_namenode_and_a_sync_reaches_the_disks() {
    let cluster = Cluster::start(Fate::Healthy).await;
    let mut writer = cluster.client.create(&path("/log"), CreateOptions::default()).await.expect("created");
    writer.write_all(b"one").await.expect("written");
    writer.flush().await.expect("flushed");
    assert_eq!(cluster.bytes(), b"one");
    writer.write_all(b"two").await.expect("written");
    writer.sync().await.expect("synced");
    assert_eq!(cluster.bytes(), b"onetwo");
    assert_eq!(cluster.stored.lock().expect("not poisoned").synced, 1);
    assert_eq!(writer.position(), 6);
    writer.close().await.expect("closed");
    let lengths: Vec<_> = cluster
        .ops()
        .iter()
        .filter_map(
            |op| if let Op::Extend(extend) = op { extend.written.as_ref().map(|done| done.length) } else { None },
        )
        .collect();
    assert_eq!(lengths, [3, 6]);
}

#[tokio::test]
async fn a_dropped_writer_leaves_no_lease() {
    let cluster = Cluster::start(Fate::Healthy).await;
    let atomic = CreateOptions { atomic: true, ..CreateOptions::default() };
    let mut unnamed = cluster.client.create(&path("/a"), atomic).await.expect("created");
    unnamed.write(content(100_000)).await.expect("written");
    drop(unnamed);
    let mut visible = cluster.client.create(&path("/b"), CreateOptions::default()).await.expect("created");
    visible.write(content(2 << 20)).await.expect("written");
    drop(visible);
    cluster.client.close().await.expect("closes");
    let ops = cluster.ops();
    assert_eq!(ops.iter().filter(|op| matches!(op, Op::Abandon(_))).count(), 1, "{ops:?}");
    let completed =
        ops.iter().find_map(|op| if let Op::Complete(complete) = op { complete.last.clone() } else { None });
    assert_eq!(completed.map(|done| done.length), Some(2 << 20));
}

#[tokio::test]
async fn an_empty_file_needs_no_datanode() {
    let cluster = Cluster::start(Fate::Healthy).await;
    let writer = cluster.client.create(&path("/empty"), CreateOptions::default()).await.expect("created");
    writer.close().await.expect("closed");
    assert!(matches!(
        &cluster.ops()[..],
        [Op::Create(_), Op::Complete(v1::Complete { last: None, publish: None, .. })]
    ));
}

#[tokio::test]
async fn an_object_of_a_block_is_one_operation_once_blocks_are_there() {
    let cluster = Cluster::start(Fate::Healthy).await;
    let content = content(100_000);
    for _ in 0..4 {
        cluster.put(&content).await.expect("stored");
    }
    let ops = cluster.ops();
    let [Op::AllocateBlocks(one), Op::PutBlocks(_), Op::AllocateBlocks(two), rest @ ..] = &ops[..] else {
        panic!("{ops:?}")
    };
    assert_eq!((one.count, two.count), (1, 2));
    let [Op::PutBlocks(_), Op::PutBlocks(put), Op::AllocateBlocks(_), Op::PutBlocks(_)] = rest else {
        panic!("{rest:?}")
    };
    let [block] = &put.blocks[..] else { panic!("{put:?}") };
    assert_eq!((block.length, &block.replicas), (100_000, &replicas(&[1, 2, 3])));
    assert_eq!(cluster.bytes(), [&content[..]; 4].concat());
}

#[tokio::test]
async fn what_a_directory_says_of_copies_is_learned_from_the_first_file_in_it() {
    let cluster = Cluster::start(Fate::SaysOtherwise).await;
    for _ in 0..3 {
        cluster.put(&content(100_000)).await.expect("stored");
    }
    let asked = |ops: Vec<Op>| -> Vec<(u32, i32)> {
        let of = |op: &Op| match op {
            Op::AllocateBlocks(ask) => Some((ask.replication, ask.spread)),
            _ => None,
        };
        ops.iter().filter_map(of).collect()
    };
    let (default, said) = ((3, v1::Spread::Unspecified.into()), (2, v1::Spread::Wide.into()));
    let all = asked(cluster.ops());
    assert_eq!((all[0], &all[1..]), (default, &[said][..]), "two blocks of the second request serve both");
    // Elsewhere the default is expected, and who asks for a number gets it.
    let options = CreateOptions { replication: Some(4), ..CreateOptions::default() };
    cluster.client.put(&path("/d/file"), content(100_000), options).await.expect("stored");
    assert_eq!(asked(cluster.ops()).last(), Some(&(4, v1::Spread::Unspecified.into())));
}

/// Where a file without a name is to be, its first request says.
#[tokio::test]
async fn a_file_that_gets_its_name_at_the_end_says_where_it_is_meant_for() {
    let cluster = Cluster::start(Fate::Healthy).await;
    cluster.stream(&content(300_000)).await.expect("stored");
    let ops = cluster.ops();
    let Some(Op::Create(v1::Create { destination: None, meant_for: Some(aim), .. })) = ops.first() else {
        panic!("{ops:?}")
    };
    let file = v1::Where { base: 1, path: b"/file".to_vec() };
    assert_eq!(aim.kind, Some(v1::aim::Kind::Place(file)));
}

/// Invariants 3 and 7.
#[tokio::test]
async fn bytes_whose_chain_fails_go_into_another_block_and_the_first_is_given_back() {
    for fate in [Fate::NoSetup, Fate::LoseFirst(50_000)] {
        let cluster = Cluster::with_patience(fate, Duration::from_secs(2)).await;
        let content = content(100_000);
        let stored = cluster.put(&content).await;
        cluster.client.close().await.expect("closes");
        let ops = cluster.ops();
        assert!(!ops.iter().any(|op| matches!(op, Op::NextGeneration(_))), "{ops:?}");
        assert!(ops.iter().any(|op| matches!(op, Op::ReleaseBlocks(_))), "{ops:?}");
        if fate == Fate::NoSetup {
            stored.expect("stored");
            let excluded = ops.iter().find_map(|op| match op {
                Op::AllocateBlocks(ask) if !ask.exclude.is_empty() => Some(ask.exclude.clone()),
                _ => None,
            });
            assert_eq!(excluded, Some(vec![2]));
            let put = ops.iter().find_map(|op| if let Op::PutBlocks(put) = op { Some(put) } else { None });
            assert_eq!(put.expect("stored").blocks[0].replicas, replicas(&[1, 3]));
        } else {
            // Here every chain fails: the writer says so, and nothing is put.
            assert_eq!(stored.expect_err("no chain holds").code(), Code::NoDatanodes);
            assert!(!ops.iter().any(|op| matches!(op, Op::PutBlocks(_))), "{ops:?}");
        }
    }
}
