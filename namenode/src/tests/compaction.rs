//! Files in many short pieces are joined by the leader, seen from outside.

use std::time::Duration;

use proto::v1;
use proto::v1::reply::Result as Answer;
use proto::v1::task::Kind as TaskKind;

use super::client::{self, Client, NodeClient};
use super::cluster::{Cluster, eventually};
use super::duties::hasty;
use crate::Settings;

const PIECES: u32 = 20;
const PIECE: u64 = 100;

/// A cluster of three datanodes with a file of short extents. The session may end: the file stays.
async fn in_pieces() -> (Cluster, Vec<NodeClient>, Client) {
    let cluster = Cluster::with(1, Settings { compaction_interval: Duration::from_millis(50), ..hasty() }).await;
    let mut nodes = Vec::new();
    for host in 1..=3 {
        let node = NodeClient::register(&cluster, host).await;
        node.heartbeat(&cluster, vec![]).await;
        nodes.push(node);
    }
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    let allocate = v1::AllocateBlocks { count: PIECES, ..Default::default() };
    let Answer::Blocks(taken) = client.update(1, v1::op::Kind::AllocateBlocks(allocate)).await else {
        panic!("blocks were asked for")
    };
    let done = |block: v1::NewBlock| v1::BlockDone {
        block: block.block,
        generation: block.generation,
        length: PIECE,
        replicas: block.targets.iter().map(|target| target.storage.clone()).collect(),
    };
    let put = v1::PutBlocks {
        destination: client::destination("/log"),
        ownership: client::ownership(),
        blocks: taken.blocks.into_iter().map(done).collect(),
        ..Default::default()
    };
    let answer = client.update(2, v1::op::Kind::PutBlocks(put)).await;
    assert_eq!(client::code(&answer), None, "{answer:?}");
    (cluster, nodes, client)
}

fn gathered(task: &v1::Task, checksum: u32) -> v1::TaskResult {
    let Some(TaskKind::Gather(gather)) = &task.kind else { panic!("{task:?}") };
    let gather = v1::GatherReplica { pieces: Vec::new(), ..gather.clone() };
    v1::TaskResult {
        task: Some(v1::Task { kind: Some(TaskKind::Gather(gather)) }),
        gathered: Some(v1::Gathered { checksum, bad: Vec::new() }),
        ..Default::default()
    }
}

/// Has each of the nodes say that it gathered what it was to; the second one with this checksum. Gives what was asked for.
async fn gather(cluster: &Cluster, nodes: &[NodeClient], second: u32) -> Vec<v1::GatherReplica> {
    let mut asked = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let tasks = node.heartbeat(cluster, vec![]).await;
        let mut results = Vec::new();
        for task in tasks {
            match &task.kind {
                Some(TaskKind::Gather(gather)) => {
                    asked.push(gather.clone());
                    results.push(gathered(&task, if number == 1 { second } else { 7 }));
                }
                Some(TaskKind::Delete(_)) => results.push(v1::TaskResult { task: Some(task), ..Default::default() }),
                other => panic!("{other:?}"),
            }
        }
        node.heartbeat(cluster, results).await;
    }
    asked
}

async fn extents(client: &mut Client) -> Vec<v1::LocatedBlock> {
    match client.read(client::open("/log")).await {
        Answer::Opened(opened) => opened.blocks,
        other => panic!("a file was asked for: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_in_short_pieces_becomes_one_of_a_block() {
    let (cluster, nodes, mut client) = in_pieces().await;
    assert_eq!(extents(&mut client).await.len(), PIECES as usize);
    let (again, all) = (&cluster, &nodes);
    let seen = tokio::sync::Mutex::new(Vec::new());
    let (seen_by, reader) = (&seen, &tokio::sync::Mutex::new(client));
    eventually("the extents are joined", || async move {
        seen_by.lock().await.extend(gather(again, all, 7).await);
        extents(&mut *reader.lock().await).await.len() == 1
    })
    .await;
    let asked = seen.into_inner();
    for gather in &asked {
        let lengths: Vec<u64> = gather.pieces.iter().map(|piece| piece.length).collect();
        assert_eq!(lengths, [PIECE; PIECES as usize]);
        assert!(gather.pieces.iter().all(|piece| piece.sources.len() == 3 && piece.token.is_some()), "{gather:?}");
    }
    let file = extents(&mut *reader.lock().await).await.remove(0);
    assert_eq!((file.length, file.replicas.len()), (u64::from(PIECES) * PIECE, 3));
    assert_eq!(file.block, asked[0].block);
    eventually("only the new block is left", || async move {
        gather(again, all, 7).await;
        again.status(1).await.blocks == 1
    })
    .await;
    cluster.stop_all().await;
}

/// Invariant 2 of the duty, and 1: what came out differently is in no file, and given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_came_out_differently_are_put_into_no_file() {
    let (cluster, nodes, mut client) = in_pieces().await;
    let (again, all) = (&cluster, &nodes);
    let first = tokio::sync::Mutex::new(None);
    let first_seen = &first;
    eventually("another attempt is made", || async move {
        for gather in gather(again, all, 8).await {
            let first = *first_seen.lock().await.get_or_insert(gather.block);
            if gather.block != first {
                return true;
            }
        }
        false
    })
    .await;
    assert_eq!(extents(&mut client).await.len(), PIECES as usize);
    assert!(cluster.status(1).await.blocks <= u64::from(PIECES) + 1, "what was made first is given back");
    cluster.stop_all().await;
}
