//! Chains of datanodes on real sockets and disks, under a namenode that does what the test wants.

mod bench;
mod local;
mod namenode;
mod scrub;
mod tokens;

use std::fs::File;
use std::os::unix::fs::FileExt;

use proto::v1;
use tokio::io::AsyncWriteExt;
use transfer::machine::{WriterInput as Input, WriterOutput as Output};
use transfer::{Control, Failed, Frame, Level, ReadError, Setup, frame};
use types::token::{Right, Token};
use types::{ByteSize, ClusterId, Code, GenStamp, StorageId};

use crate::bench::{CLUSTER, Chain, MAX, Node, Wire, block, content, read, read_on, token, until, write};
use crate::namenode::Namenode;

async fn three(namenode: &Namenode) -> [Node; 3] {
    [Node::start(namenode).await, Node::start(namenode).await, Node::start(namenode).await]
}

/// Lets a writer go on with block 1 in its second generation.
fn second() -> Token {
    token(block(1), GenStamp::new(2), Right::Write)
}

fn failed_with(result: Result<Vec<u8>, ReadError>) -> Code {
    match result {
        Err(ReadError::Failed(Failed { code, .. })) => code,
        other => panic!("the datanode refuses, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_back_from_every_replica_at_every_level() {
    let namenode = Namenode::start().await;
    let nodes = three(&namenode).await;
    let content = content((3 << 20) + 777);
    for (number, level) in [(1, Level::Memory), (2, Level::Close), (3, Level::Always)] {
        write(block(number), level, nodes.iter().map(Node::hop).collect(), &content).await;
        for node in &nodes {
            assert!(read(node, block(number), 1, 0, content.len() as u64).await.expect("reads") == content);
            assert_eq!(read(node, block(number), 1, 4095, 3).await.expect("reads"), content[4095..4098]);
            let end = content.len() as u64;
            assert_eq!(read(node, block(number), 1, end - 1, 1).await.expect("reads"), content[content.len() - 1..]);
            let short = ReadError::Short { wanted: end + 1, total: end };
            assert_eq!(read(node, block(number), 1, 0, end + 1).await, Err(short));
            assert_eq!(node.complete().len(), number as usize);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_many_reads() {
    let namenode = Namenode::start().await;
    let node = Node::start(&namenode).await;
    let content = content(3 << 20);
    write(block(1), Level::Memory, vec![node.hop()], &content).await;
    let mut wire = Wire::connect(node.address, CLUSTER).await.expect("connects");
    for offset in (0..2 << 20).step_by(100_001) {
        let read = read_on(&mut wire, &node, block(1), 1, offset as u64, 1 << 20).await.expect("reads");
        assert!(read == content[offset..offset + (1 << 20)]);
        let refused = read_on(&mut wire, &node, block(2), 1, 0, 1).await;
        assert_eq!(failed_with(refused), Code::NoSuchBlock);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_bytes_can_be_read_while_the_block_is_written() {
    let namenode = Namenode::start().await;
    let nodes = three(&namenode).await;
    let content = content(300_000);
    let mut chain = Chain::open(block(1), Level::Close, nodes.iter().map(Node::hop).collect()).await;
    let mut written = 0;
    for (length, sync) in [(10, false), (5000, true), (5001, false), (200_000, false), (300_000, true)] {
        chain.give(Input::Write(content.slice(written..length))).await;
        written = length;
        chain.flush(sync).await;
        for node in &nodes {
            assert!(read(node, block(1), 1, 0, length as u64).await.expect("reads") == content[..length]);
        }
    }
    assert!(matches!(chain.finish().await, Output::Finished { .. }));
    assert!(read(&nodes[2], block(1), 1, 0, 300_000).await.expect("reads") == content);
}

async fn a_chain_survives_the_loss_of(lost: usize) {
    let namenode = Namenode::start().await;
    let mut nodes = three(&namenode).await;
    let content = content(3 << 20);
    let mut chain = Chain::open(block(1), Level::Close, nodes.iter().map(Node::hop).collect()).await;
    chain.give(Input::Write(content.slice(..1_000_005))).await;
    chain.flush(false).await;

    nodes[lost].stop().await;
    let mut told = chain.give(Input::Write(content.slice(1_000_005..))).await;
    let output = match told.pop() {
        Some(output) => output,
        None => chain.next().await,
    };
    let left: Vec<_> = (0..3).filter(|at| *at != lost).map(|at| &nodes[at]).collect();
    let Output::Lost { failed, survivors, acked } = output else { panic!("a hop is lost, not {output:?}") };
    assert_eq!(failed.storage, nodes[lost].storage, "{failed}");
    assert_eq!(survivors, left.iter().map(|node| node.storage).collect::<Vec<_>>());
    assert!(acked >= ByteSize::new(1_000_005));

    let chain_left = left.iter().map(|node| node.hop()).collect();
    let resume = Input::Resume { generation: GenStamp::new(2), token: second(), chain: chain_left };
    assert_eq!(chain.give(resume).await, []);
    let length = ByteSize::new(content.len() as u64);
    assert_eq!(chain.finish().await, Output::Finished { length, replicas: survivors });
    for node in left {
        assert!(read(node, block(1), 2, 0, content.len() as u64).await.expect("reads") == content);
        assert_eq!(failed_with(read(node, block(1), 1, 0, 1).await), Code::StaleGeneration);
    }
    // What the lost node had is of a generation that nobody asks for any more.
    nodes[lost].run().await;
    assert_eq!(failed_with(read(&nodes[lost], block(1), 2, 0, 1).await), Code::NoSuchBlock);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_survives_the_loss_of_its_head() {
    a_chain_survives_the_loss_of(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_survives_the_loss_of_its_middle() {
    a_chain_survives_the_loss_of(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_survives_the_loss_of_its_tail() {
    a_chain_survives_the_loss_of(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_came_back_can_be_resumed_from_what_its_disk_has() {
    let namenode = Namenode::start().await;
    let mut node = Node::start(&namenode).await;
    let content = content(200_000);
    let mut chain = Chain::open(block(1), Level::Close, vec![node.hop()]).await;
    chain.give(Input::Write(content.slice(..100_001))).await;
    chain.flush(true).await;
    drop(chain);
    node.stop().await;
    node.run().await;
    assert!(read(&node, block(1), 1, 0, 100_001).await.expect("reads") == content[..100_001]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_writer_is_fenced_by_the_next_generation() {
    let namenode = Namenode::start().await;
    let node = Node::start(&namenode).await;
    let content = content(100_000);
    let mut zombie = Chain::open(block(1), Level::Close, vec![node.hop()]).await;
    zombie.give(Input::Write(content.slice(..5000))).await;
    zombie.flush(false).await;

    let mut wire = Wire::connect(node.address, CLUSTER).await.expect("connects");
    let setup = |generation, offset| {
        Frame::Control(Control::Setup(Setup {
            block: block(1),
            generation: GenStamp::new(generation),
            storage: node.storage,
            downstream: Vec::new(),
            level: Level::Close,
            max_length: MAX,
            resume: Some(transfer::Resume {
                from_generation: GenStamp::FIRST,
                offset: types::BlockOffset::new(offset),
            }),
            token: second(),
        }))
    };
    wire.send(&setup(2, 5000)).await;
    assert_eq!(wire.next().await, Some(Frame::Control(Control::Ready)));

    zombie.give(Input::Write(content.slice(5000..))).await;
    let told = zombie.finish().await;
    assert!(matches!(&told, Output::Broken { failed } if failed.code == Code::StaleGeneration), "{told:?}");
    assert_eq!(read(&node, block(1), 2, 0, 5000).await.expect("reads"), content[..5000]);
    let mut late = Wire::connect(node.address, CLUSTER).await.expect("connects");
    late.send(&setup(2, 0)).await;
    let answer = late.next().await;
    assert!(
        matches!(&answer, Some(Frame::Control(Control::Failed(failed))) if failed.code == Code::StaleGeneration),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_that_changed_on_disk_is_found_by_the_reader() {
    let namenode = Namenode::start().await;
    let node = Node::start(&namenode).await;
    let content = content(100_000);
    write(block(1), Level::Close, vec![node.hop()], &content).await;
    let file = File::options().write(true).open(&node.complete()[0]).expect("opens");
    let data = file.metadata().expect("a size").len() - content.len() as u64;
    file.write_all_at(&[!content[50_000]], data + 50_000).expect("writes");
    let error = read(&node, block(1), 1, 0, 100_000).await.expect_err("damaged");
    assert!(matches!(error, ReadError::Corrupt(mismatch) if mismatch.chunk == 12), "{error}");
    assert_eq!(read(&node, block(1), 1, 60_000, 100).await.expect("another chunk"), content[60_000..60_100]);

    // A damaged header is the server's to find, and to report.
    file.write_all_at(&[0xff; 64], 0).expect("writes");
    assert_eq!(failed_with(read(&node, block(1), 1, 60_000, 100).await), Code::Corrupt);
    until("the bad replica is reported", || namenode.seen(|seen| !seen.bad.is_empty())).await;
    assert_eq!(namenode.seen(|seen| seen.bad[0].block), Some(block(1).into()));
}

fn delete(node: &Node, number: u32) -> v1::Task {
    let storage = node.storage.as_bytes().to_vec();
    let task = v1::DeleteReplica { storage, block: Some(block(number).into()), generation: 1, due: 9 };
    v1::Task { kind: Some(v1::task::Kind::Delete(task)) }
}

fn copy(from: &[&Node], to: &Node, length: u64) -> v1::Task {
    let location = |node: &&Node| v1::Location {
        node: 1,
        storage: node.storage.as_bytes().to_vec(),
        transfer: node.address.to_string(),
        host: String::new(),
        silent: false,
        local: None,
        distance: 0,
    };
    let task = v1::CopyReplica {
        storage: to.storage.as_bytes().to_vec(),
        block: Some(block(1).into()),
        generation: 1,
        length,
        sources: from.iter().map(location).collect(),
        token: Some((&token(block(1), GenStamp::FIRST, Right::Copy)).into()),
        ..Default::default()
    };
    v1::Task { kind: Some(v1::task::Kind::Copy(task)) }
}

async fn result_of(namenode: &Namenode, node: &Node, task: v1::Task) -> v1::TaskResult {
    until("the node is registered", || node.id().is_some()).await;
    let id = node.id().expect("registered");
    namenode.seen(|seen| seen.tasks.entry(id).or_default().push(task.clone()));
    let find = || namenode.seen(|seen| seen.results.iter().find(|result| result.task.as_ref() == Some(&task)).cloned());
    until("there is a result", || find().is_some()).await;
    find().expect("just seen")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_copied_around_a_damaged_source_and_deleted() {
    let namenode = Namenode::start().await;
    let nodes = three(&namenode).await;
    let [good, bad, new] = &nodes;
    let content = content((2 << 20) + 5);
    write(block(1), Level::Close, vec![good.hop(), bad.hop()], &content).await;
    let file = File::options().write(true).open(&bad.complete()[0]).expect("opens");
    let data = file.metadata().expect("a size").len() - content.len() as u64;
    file.write_all_at(&[!content[1_500_000]], data + 1_500_000).expect("writes");

    let task = copy(&[bad, good], new, content.len() as u64);
    let result = result_of(&namenode, new, task.clone()).await;
    let bad_sources = vec![bad.storage.as_bytes().to_vec()];
    assert_eq!(
        result,
        v1::TaskResult { task: Some(task.clone()), error: None, bad_sources, offered: None, gathered: None }
    );
    assert!(read(new, block(1), 1, 0, content.len() as u64).await.expect("reads") == content);
    // Again is harmless.
    namenode.seen(|seen| seen.results.clear());
    assert_eq!(result_of(&namenode, new, task).await.error, None);

    let result = result_of(&namenode, new, delete(new, 1)).await;
    assert_eq!(result.error, None);
    assert!(new.complete().is_empty());
    assert_eq!(failed_with(read(new, block(1), 1, 0, 1).await), Code::NoSuchBlock);

    // From nowhere, nothing.
    let result = result_of(&namenode, new, copy(&[bad], new, content.len() as u64)).await;
    assert_eq!(result.error.expect("fails").typed_code(), Code::Corrupt);
    assert!(new.complete().is_empty());
}

fn gather(from: &[&Node], to: &Node, pieces: &[(u32, u64, u64)]) -> v1::Task {
    let location = |node: &&Node| v1::Location {
        storage: node.storage.as_bytes().to_vec(),
        transfer: node.address.to_string(),
        ..Default::default()
    };
    let piece = |(number, offset, length): &(u32, u64, u64)| v1::GatherPiece {
        block: Some(block(*number).into()),
        generation: 1,
        offset: *offset,
        length: *length,
        sources: from.iter().map(location).collect(),
        token: Some((&token(block(*number), GenStamp::FIRST, Right::Copy)).into()),
    };
    let task = v1::GatherReplica {
        storage: to.storage.as_bytes().to_vec(),
        block: Some(block(9).into()),
        generation: 1,
        pieces: pieces.iter().map(piece).collect(),
        rate: 0,
    };
    v1::Task { kind: Some(v1::task::Kind::Gather(task)) }
}

/// The result of a gathering echoes its task without the pieces.
async fn gathered(namenode: &Namenode, node: &Node, task: v1::Task) -> v1::TaskResult {
    namenode.seen(|seen| seen.results.clear());
    until("the node is registered", || node.id().is_some()).await;
    let id = node.id().expect("registered");
    namenode.seen(|seen| seen.tasks.entry(id).or_default().push(task));
    until("there is a result", || namenode.seen(|seen| !seen.results.is_empty())).await;
    namenode.seen(|seen| seen.results.remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_gathered_of_parts_of_others_around_a_damaged_source() {
    let namenode = Namenode::start().await;
    let nodes = three(&namenode).await;
    let [good, bad, new] = &nodes;
    let content = content(900_000);
    write(block(1), Level::Close, vec![good.hop(), bad.hop()], &content).await;
    write(block(2), Level::Close, vec![good.hop(), bad.hop()], &content).await;
    let file = File::options().write(true).open(&bad.complete()[0]).expect("opens");
    let data = file.metadata().expect("a size").len() - content.len() as u64;
    file.write_all_at(&[!content[50_000]], data + 50_000).expect("writes");

    // Parts that begin and end anywhere, short and long, of two blocks.
    let pieces = [(1, 7, 1), (2, 4095, 2), (1, 0, 300_001), (2, 100_000, 799_999), (1, 8192, 4096)];
    let expected: Vec<u8> = pieces
        .iter()
        .flat_map(|(_, offset, length)| content[*offset as usize..(*offset + *length) as usize].to_vec())
        .collect();
    let result = gathered(&namenode, new, gather(&[bad, good], new, &pieces)).await;
    assert_eq!(result.error, None);
    let made = read(new, block(9), 1, 0, expected.len() as u64).await.expect("reads");
    assert!(made == expected);
    let Some(v1::Gathered { checksum, bad: reported }) = result.gathered else { panic!("{result:?}") };
    assert!(!reported.is_empty() && reported.iter().all(|replica| replica.storage == bad.storage.as_bytes()));

    // On another node it comes out alike. What is there already is left alone: it may be in use.
    let elsewhere = gathered(&namenode, bad, gather(&[good], bad, &pieces)).await;
    assert_eq!(elsewhere.gathered.map(|gathered| gathered.checksum), Some(checksum));
    let again = gathered(&namenode, new, gather(&[good], new, &pieces)).await;
    assert_eq!(again.error.map(|error| error.typed_code()), Some(Code::Exists));
    assert!(read(new, block(9), 1, 0, 10).await.is_ok());

    // Of what is nowhere, nothing is left.
    let missing = gathered(&namenode, good, gather(&[bad], good, &[(1, 0, 10), (3, 0, 10)])).await;
    assert_eq!(missing.error.map(|error| error.typed_code()), Some(Code::NoSuchBlock));
    assert_eq!(good.complete().len(), 2);
}

/// Invariant 2.
#[tokio::test(flavor = "multi_thread")]
async fn a_deposed_leader_is_not_obeyed() {
    let namenode = Namenode::start().await;
    let node = Node::start(&namenode).await;
    write(block(1), Level::Close, vec![node.hop()], &content(10)).await;
    assert_eq!(result_of(&namenode, &node, delete(&node, 77)).await.error, None);
    let id = node.id().expect("registered");
    namenode.seen(|seen| {
        seen.term = 4;
        seen.tasks.insert(id, vec![delete(&node, 1)]);
    });
    until("the task is handed out", || namenode.seen(|seen| seen.tasks.is_empty())).await;
    namenode.seen(|seen| seen.term = 6);
    assert_eq!(result_of(&namenode, &node, delete(&node, 78)).await.error, None);
    assert_eq!(node.complete().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_rubbish_are_refused_and_the_server_lives() {
    let namenode = Namenode::start().await;
    let node = Node::start(&namenode).await;
    assert!(Wire::connect(node.address, ClusterId::from_bytes([1; 16])).await.is_none());
    for rubbish in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], &[0xff; 100], b"As\x02\x02\xff\xff\xff\xff\0\0\0\0\0\0\0\0"]
    {
        let mut wire = Wire::connect(node.address, CLUSTER).await.expect("connects");
        wire.stream.write_all(rubbish).await.expect("sends");
        let told = wire.next().await;
        assert!(matches!(told, Some(Frame::Control(Control::Failed(_)))), "{told:?}");
        let mut early = tokio::net::TcpStream::connect(node.address).await.expect("connects");
        early.write_all(rubbish).await.expect("sends");
    }
    let mut wire = Wire::connect(node.address, CLUSTER).await.expect("connects");
    wire.send(&Frame::Control(Control::Ready)).await;
    assert!(matches!(wire.next().await, Some(Frame::Control(Control::Failed(_)))));

    let stranger = transfer::Hop { storage: StorageId::from_bytes([9; 16]), ..node.hop() };
    let mut chain = Chain::open(block(1), Level::Close, vec![stranger]).await;
    let told = chain.finish().await;
    assert!(matches!(&told, Output::Broken { failed } if failed.code == Code::NotFound), "{told:?}");
    write(block(1), Level::Close, vec![node.hop()], &content(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_names_the_hop_that_cannot_be_reached() {
    let namenode = Namenode::start().await;
    let mut nodes = three(&namenode).await;
    nodes[2].stop().await;
    let mut chain = Chain::open(block(1), Level::Close, nodes.iter().map(Node::hop).collect()).await;
    let Output::Lost { failed, survivors, .. } = chain.next().await else { panic!("a hop is lost") };
    assert_eq!(failed.storage, nodes[2].storage);
    assert_eq!(survivors, [nodes[0].storage, nodes[1].storage]);
    // The others have an empty replica, or none: both can be gone on with.
    let hops = nodes[..2].iter().map(Node::hop).collect();
    chain.give(Input::Resume { generation: GenStamp::new(2), token: second(), chain: hops }).await;
    chain.give(Input::Write(content(100))).await;
    assert!(matches!(chain.finish().await, Output::Finished { .. }));
}

/// Invariant 3.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_volume_left_says_so_and_gives_up() {
    let namenode = Namenode::start().await;
    let node = Node::start(&namenode).await;
    let failed = node.running.as_ref().expect("it runs").failed();
    std::fs::remove_file(node.directory.path().join("volume.toml")).expect("removes");
    assert_eq!(failed.await.part, "volumes");
    until("the namenode hears of it", || {
        namenode.seen(|seen| seen.storages.get(&node.storage.as_bytes()[..]).is_some_and(|report| report.failed))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_keeps_its_id_and_its_replicas_over_a_restart() {
    let namenode = Namenode::start().await;
    let _first = Node::start(&namenode).await;
    let mut node = Node::start(&namenode).await;
    until("it is registered", || node.id().is_some()).await;
    let id = node.id();
    write(block(1), Level::Close, vec![node.hop()], &content(10)).await;
    node.stop().await;
    node.run().await;
    assert_eq!(node.id(), id);
    assert_eq!(read(&node, block(1), 1, 0, 10).await.expect("reads"), content(10));
    until("the replica is counted", || {
        namenode.seen(|seen| seen.storages.get(&node.storage.as_bytes()[..]).is_some_and(|report| report.replicas == 1))
    })
    .await;
}
