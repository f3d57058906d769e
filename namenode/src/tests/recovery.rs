//! Files whose writers are lost, recovered with datanodes that answer by hand.

use std::time::{Duration, Instant};

use proto::v1;
use proto::v1::reply::Result as Answer;
use proto::v1::task::Kind as Task;
use types::{ByteSize, Code};

use super::client::{self, Client, NodeClient};
use super::cluster::{Cluster, DEADLINE, pause};
use crate::Settings;

fn settings() -> Settings {
    Settings {
        tick: Duration::from_millis(10),
        cache: ByteSize::mib(8),
        lease_soft_limit: Duration::ZERO,
        recovery_patience: DEADLINE,
        delete_holdoff: Duration::ZERO,
        ..Settings::default()
    }
}

async fn nodes(cluster: &Cluster) -> Vec<NodeClient> {
    let mut nodes = Vec::new();
    for host in 1..=3 {
        let node = NodeClient::register(cluster, host).await;
        node.heartbeat(cluster, vec![]).await;
        nodes.push(node);
    }
    nodes
}

/// A file of which `visible` bytes were shown to readers, and that nobody goes on with.
async fn abandoned(client: &mut Client, path: &str, visible: u64) -> v1::NewBlock {
    let Answer::Created(created) = client.update(1, client::create(path)).await else { panic!("must create") };
    let block = created.block.expect("asked for");
    let written = v1::BlockDone {
        block: block.block,
        generation: block.generation,
        length: visible,
        replicas: block.targets.iter().map(|target| target.storage.clone()).collect(),
    };
    let inode = created.attributes.expect("set").inode;
    let extend = v1::op::Kind::Extend(v1::Extend { inode, written: Some(written) });
    assert_eq!(client::code(&client.update(2, extend).await), None);
    block
}

fn place(path: &str) -> Option<v1::Where> {
    Some(v1::Where { base: 0, path: path.as_bytes().to_vec() })
}

fn recover(path: &str) -> v1::op::Kind {
    v1::op::Kind::RecoverLease(v1::RecoverLease { place: place(path), force: false })
}

fn append(path: &str) -> v1::op::Kind {
    v1::op::Kind::Append(v1::Append { place: place(path) })
}

/// What a datanode answers to an offer: the length, or that it has nothing.
fn answer(task: &v1::Task, offers: Option<u64>) -> v1::TaskResult {
    let error = proto::error(Code::NoSuchBlock, "nothing is here");
    let (offered, error) = match (&task.kind, offers) {
        (Some(Task::Offer(_)), Some(length)) => (Some(v1::Offered { length, intact: true }), None),
        (Some(Task::Offer(_)), None) => (None, Some(error)),
        (Some(Task::End(_) | Task::Delete(_)), _) => (None, None),
        other => panic!("{other:?}"),
    };
    v1::TaskResult { task: Some(task.clone()), error, bad_sources: Vec::new(), offered, gathered: None }
}

/// The next tasks of a node that are steps of a recovery.
async fn steps(cluster: &Cluster, node: &NodeClient) -> Vec<v1::Task> {
    let start = Instant::now();
    loop {
        let mut tasks = node.heartbeat(cluster, vec![]).await;
        tasks.retain(|task| matches!(task.kind, Some(Task::Offer(_) | Task::End(_))));
        if !tasks.is_empty() {
            return tasks;
        }
        assert!(start.elapsed() < DEADLINE, "no step within {DEADLINE:?}");
        pause().await;
    }
}

fn generation(task: &v1::Task) -> u64 {
    match &task.kind {
        Some(Task::Offer(offer)) => offer.generation,
        Some(Task::End(end)) => end.generation,
        other => panic!("{other:?}"),
    }
}

async fn length_when_closed(client: &mut Client, path: &str) -> u64 {
    let start = Instant::now();
    loop {
        match client.read(client::stat(path)).await {
            Answer::Attributes(found) if !found.writing => return found.length,
            Answer::Attributes(_) => {}
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() < DEADLINE, "not closed within {DEADLINE:?}");
        pause().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_ends_at_the_longest_common_prefix_of_those_that_answer() {
    let cluster = Cluster::with(1, settings()).await;
    let nodes = nodes(&cluster).await;
    let (mut writer, mut other) = (Client::connect(&cluster, 0).await, Client::connect(&cluster, 0).await);
    writer.open_session().await;
    other.open_session().await;
    let block = abandoned(&mut writer, "/file", 1000).await;
    assert!(matches!(other.update(1, append("/file")).await, Answer::Lease(v1::Lease { recovering: true })));
    for (node, offers) in nodes.iter().zip([Some(1500), None, Some(1200)]) {
        let [offer] = steps(&cluster, node).await.try_into().expect("one step");
        assert!(matches!(&offer.kind, Some(Task::Offer(task)) if task.generation == block.generation + 1), "{offer:?}");
        node.heartbeat(&cluster, vec![answer(&offer, offers)]).await;
    }
    for node in [&nodes[0], &nodes[2]] {
        let [end] = steps(&cluster, node).await.try_into().expect("one step");
        assert!(matches!(&end.kind, Some(Task::End(task)) if task.length == 1200), "{end:?}");
        node.heartbeat(&cluster, vec![answer(&end, None)]).await;
    }
    assert_eq!(length_when_closed(&mut other, "/file").await, 1200);
    let Answer::Opened(opened) = other.read(client::open("/file")).await else { panic!("opens") };
    let [located] = opened.blocks.try_into().expect("one block");
    let mut storages: Vec<u8> = located.replicas.iter().map(|replica| replica.storage[0]).collect();
    storages.sort_unstable();
    assert_eq!((located.generation, storages, located.writing), (block.generation + 1, vec![1, 3], false));
    let late = v1::op::Kind::Complete(v1::Complete {
        inode: opened.attributes.expect("set").inode,
        last: None,
        publish: None,
        mtime: None,
    });
    assert_eq!(client::code(&writer.update(3, late).await), Some(Code::LeaseLost), "the old writer is back");
    assert!(matches!(other.update(2, append("/file")).await, Answer::Created(_)));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datanode_that_does_not_answer_is_left_behind_unless_it_alone_has_what_was_shown() {
    let hasty = Settings { recovery_patience: Duration::from_millis(500), ..settings() };
    let cluster = Cluster::with(1, hasty).await;
    let nodes = nodes(&cluster).await;
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    let block = abandoned(&mut client, "/file", 1000).await;
    client.update(3, recover("/file")).await;
    // The first has lost bytes that readers were shown, the others say nothing.
    let [offer] = steps(&cluster, &nodes[0]).await.try_into().expect("one step");
    let first = generation(&offer);
    assert_eq!(first, block.generation + 1);
    nodes[0].heartbeat(&cluster, vec![answer(&offer, Some(999))]).await;
    // Another attempt follows; now the second one is back.
    let start = Instant::now();
    let mut ended = false;
    while !ended {
        assert!(start.elapsed() < DEADLINE);
        for (node, has) in [(&nodes[0], 999), (&nodes[1], 1000)] {
            let tasks = node.heartbeat(&cluster, vec![]).await;
            let later =
                tasks.iter().filter(|task| !matches!(task.kind, Some(Task::Delete(_))) && generation(task) > first);
            let later: Vec<_> = later.collect();
            ended |= later.iter().any(|task| matches!(&task.kind, Some(Task::End(end)) if end.length == 1000));
            node.heartbeat(&cluster, later.iter().map(|task| answer(task, Some(has))).collect()).await;
        }
        pause().await;
    }
    assert_eq!(length_when_closed(&mut client, "/file").await, 1000);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_begins_the_recovery_anew_under_a_higher_generation() {
    let mut cluster = Cluster::with(3, settings()).await;
    let nodes = nodes(&cluster).await;
    let leader = cluster.leader().await;
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    abandoned(&mut client, "/file", 1000).await;
    client.update(3, recover("/file")).await;
    let [offer] = steps(&cluster, &nodes[0]).await.try_into().expect("one step");
    let first = generation(&offer);
    cluster.stop(leader).await;
    let mut second = 0;
    for node in &nodes {
        let [offer] = steps(&cluster, node).await.try_into().expect("one step");
        second = generation(&offer);
        assert!(second > first, "{second} comes after {first}");
        // An answer for the first attempt is of no use.
        node.heartbeat(&cluster, vec![answer(&offer, Some(1100))]).await;
    }
    for node in &nodes {
        let [end] = steps(&cluster, node).await.try_into().expect("one step");
        assert_eq!(generation(&end), second);
        node.heartbeat(&cluster, vec![answer(&end, None)]).await;
    }
    let mut client = Client::connect(&cluster, 0).await;
    assert_eq!(length_when_closed(&mut client, "/file").await, 1100);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_ends_a_lease_by_itself_after_the_hard_limit() {
    let hasty = Settings { lease_hard_limit: Duration::from_millis(300), ..settings() };
    let cluster = Cluster::with(1, hasty).await;
    let nodes = nodes(&cluster).await;
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    abandoned(&mut client, "/file", 10).await;
    for node in &nodes {
        let [offer] = steps(&cluster, node).await.try_into().expect("one step");
        node.heartbeat(&cluster, vec![answer(&offer, None)]).await;
    }
    assert_eq!(cluster.status(1).await.sessions, 1, "the session goes on");
    cluster.stop_all().await;
}
