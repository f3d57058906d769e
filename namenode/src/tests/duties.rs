//! What the leader does unasked, seen from outside.

use std::time::Duration;

use proto::v1;
use proto::v1::reply::Result as Answer;
use proto::v1::task::Kind as TaskKind;
use types::ByteSize;

use super::client::{self, Client, NodeClient};
use super::cluster::{Cluster, DEADLINE, eventually, pause};
use crate::Settings;

pub(super) fn hasty() -> Settings {
    Settings {
        tick: Duration::from_millis(10),
        cache: ByteSize::mib(8),
        session_timeout: Duration::from_millis(500),
        suspect_after: Duration::from_secs(1),
        dead_after: Duration::from_millis(1500),
        repair_after: Duration::from_millis(1500),
        scan_interval: Duration::from_millis(100),
        delete_grace: Duration::ZERO,
        delete_holdoff: Duration::ZERO,
        ..Settings::default()
    }
}

/// Writes a file of one block, whole on every target.
pub(super) async fn write(client: &mut Client, path: &str) -> v1::NewBlock {
    let Answer::Created(created) = client.update(1, client::create(path)).await else { panic!("must create") };
    let block = created.block.expect("asked for");
    let last = v1::BlockDone {
        block: block.block,
        generation: block.generation,
        length: 1000,
        replicas: block.targets.iter().map(|target| target.storage.clone()).collect(),
    };
    let inode = created.attributes.expect("set").inode;
    let complete = v1::Complete { inode, last: Some(last), publish: None, mtime: None };
    let answer = client.update(2, v1::op::Kind::Complete(complete)).await;
    assert_eq!(client::code(&answer), None, "{answer:?}");
    block
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_session_ends_and_a_living_one_stays() {
    let cluster = Cluster::with(1, hasty()).await;
    let mut silent = Client::connect(&cluster, 0).await;
    silent.open_session().await;
    let mut living = Client::connect(&cluster, 0).await;
    living.open_session().await;
    assert_eq!(cluster.status(1).await.sessions, 2);
    let start = std::time::Instant::now();
    while cluster.status(1).await.sessions != 1 {
        assert!(start.elapsed() < DEADLINE);
        let answer = living.read(v1::op::Kind::KeepAlive(v1::KeepAlive {})).await;
        assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
        pause().await;
    }
    let answer = silent.read(v1::op::Kind::KeepAlive(v1::KeepAlive {})).await;
    assert_eq!(client::code(&answer), Some(types::Code::SessionExpired));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_a_removed_file_are_deleted_and_confirmed() {
    let cluster = Cluster::with(1, hasty()).await;
    let mut nodes = Vec::new();
    for host in 1..=3 {
        nodes.push(NodeClient::register(&cluster, host).await);
        nodes[usize::from(host) - 1].heartbeat(&cluster, vec![]).await;
    }
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    let block = write(&mut client, "/file").await;
    assert_eq!(block.targets.len(), 3);
    assert_eq!(client::code(&client.update(3, client::delete("/file")).await), None);
    let (again, all) = (&cluster, &nodes);
    let deleted = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let seen = &deleted;
    eventually("each datanode deletes its replica", || async move {
        for node in all {
            for task in node.serve(again).await {
                let Some(TaskKind::Delete(delete)) = &task.kind else { panic!("{task:?}") };
                assert_eq!(delete.block, block.block);
                seen.lock().expect("free").insert(delete.storage.clone());
            }
        }
        seen.lock().expect("free").len() == 3
    })
    .await;
    eventually("no block is left", || async move { again.status(1).await.blocks == 0 }).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_replicas_of_a_lost_datanode_are_made_anew() {
    let cluster = Cluster::with(1, hasty()).await;
    let mut nodes = Vec::new();
    for host in 1..=3 {
        nodes.push(NodeClient::register(&cluster, host).await);
        nodes[usize::from(host) - 1].heartbeat(&cluster, vec![]).await;
    }
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    let block = write(&mut client, "/file").await;
    nodes.push(NodeClient::register(&cluster, 4).await);
    // The first datanode falls silent.
    let (again, living) = (&cluster, &nodes[1..]);
    eventually("the fourth datanode makes a copy", || async move {
        let mut copied = false;
        for node in living {
            for task in node.serve(again).await {
                let Some(TaskKind::Copy(copy)) = &task.kind else { continue };
                assert_eq!((copy.block, copy.length), (block.block, 1000));
                assert_eq!(copy.storage, vec![4; 16]);
                assert_eq!(copy.sources.len(), 2);
                copied = true;
            }
        }
        copied
    })
    .await;
    eventually("the block is whole again", || async move {
        for node in living {
            node.serve(again).await;
        }
        let redundancy = again.status(1).await.redundancy;
        redundancy
            .is_some_and(|found| (found.scanned_blocks, found.under_replicated, found.pending_copies) == (1, 0, 0))
    })
    .await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_nobody_goes_on_with_ends() {
    let cluster = Cluster::with(1, Settings { upload_expiry: Duration::from_millis(50), ..hasty() }).await;
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    let place = Some(v1::Where { base: 0, path: b"/bucket".to_vec() });
    let ownership = Some(v1::Ownership { mode: 0o755, ..Default::default() });
    let create = v1::CreateBucket { bucket: "bucket".to_owned(), place, ownership };
    assert_eq!(client::code(&client.update(1, v1::op::Kind::CreateBucket(create)).await), None);
    let begin = v1::CreateUpload { bucket: "bucket".to_owned(), key: b"k".to_vec(), properties: Vec::new() };
    let Answer::Upload(upload) = client.update(2, v1::op::Kind::CreateUpload(begin)).await else {
        panic!("it was begun")
    };
    let start = std::time::Instant::now();
    loop {
        let query = v1::UploadQuery { bucket: "bucket".to_owned(), max: 10, ..Default::default() };
        let find = v1::FindUploads { kind: Some(v1::find_uploads::Kind::Uploads(query)) };
        let Answer::FoundUploads(found) = client.read(v1::op::Kind::FindUploads(find)).await else {
            panic!("the bucket is there")
        };
        if found.items.is_empty() {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "the upload {} does not end", upload.id);
        pause().await;
    }
    cluster.stop_all().await;
}
