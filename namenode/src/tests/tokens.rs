//! Block tokens: what clients are given, datanodes accept.

use std::time::Duration;

use proto::v1;
use proto::v1::reply::Result as Answer;
use types::token::{Keys, Right, Subject, TokenError};
use types::{GenStamp, Timestamp};

use super::client::{self, Client, NodeClient};
use super::cluster::{CLUSTER, Cluster, eventually};
use super::duties::hasty;
use crate::Settings;

/// The keys and the time that a leader tells a datanode.
async fn told(node: &NodeClient, cluster: &Cluster) -> (Keys, Timestamp) {
    let reply = node.tell(cluster, cluster.leader().await, v1::HeartbeatRequest::default()).await;
    let keys = reply.keys.iter().map(|key| proto::token_key(key).expect("a key"));
    (keys.collect(), Timestamp::from_nanos(reply.now))
}

fn subject(block: Option<v1::BlockId>, generation: u64) -> Subject {
    let block = proto::block_id(block, "block").expect("there is one");
    Subject { cluster: CLUSTER, block, generation: GenStamp::new(generation) }
}

async fn cluster_with(settings: Settings) -> (Cluster, Vec<NodeClient>) {
    let cluster = Cluster::with(1, settings).await;
    let mut nodes = Vec::new();
    for host in 1..=3 {
        nodes.push(NodeClient::register(&cluster, host).await);
        nodes[usize::from(host) - 1].heartbeat(&cluster, vec![]).await;
    }
    let first = &nodes[0];
    eventually("there is a key", || async { !told(first, &cluster).await.0.is_empty() }).await;
    (cluster, nodes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_and_readers_get_what_datanodes_accept_for_just_that() {
    let (cluster, nodes) = cluster_with(hasty()).await;
    let (keys, now) = told(&nodes[0], &cluster).await;
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    let Answer::Created(created) = client.update(1, client::create("/file")).await else { panic!("must create") };
    let (block, inode) = (created.block.expect("asked for"), created.attributes.expect("set").inode);
    let of_block = subject(block.block, block.generation);
    let token = proto::token(block.token);
    assert_eq!(keys.check(&token, &of_block, &[Right::Write], now), Ok(()));
    let weak = TokenError::TooWeak { have: Right::Write, wanted: Right::Read };
    assert_eq!(keys.check(&token, &of_block, &[Right::Read], now), Err(weak));

    // The chain loses a member: the next generation comes with a right of its own.
    let survivors = block.targets[..2].iter().map(|target| target.storage.clone()).collect();
    let next = v1::NextGeneration { inode, block: block.block, generation: block.generation, survivors };
    let Answer::Generation(next) = client.update(2, v1::op::Kind::NextGeneration(next)).await else {
        panic!("must go on")
    };
    let of_next = subject(block.block, next.generation);
    assert!(next.generation > block.generation);
    let to_go_on = proto::token(next.token);
    assert_eq!(keys.check(&to_go_on, &of_next, &[Right::Write], now), Ok(()));
    assert_eq!(keys.check(&to_go_on, &of_block, &[Right::Write], now), Err(TokenError::Forged));

    let last = v1::BlockDone {
        block: block.block,
        generation: next.generation,
        length: 1000,
        replicas: block.targets[..2].iter().map(|target| target.storage.clone()).collect(),
    };
    let complete = v1::Complete { inode, last: Some(last), publish: None, mtime: None };
    assert_eq!(client::code(&client.update(3, v1::op::Kind::Complete(complete)).await), None);
    let Answer::Opened(opened) = client.read(client::open("/file")).await else { panic!("must open") };
    let to_read = proto::token(opened.blocks[0].token.clone());
    assert_eq!(keys.check(&to_read, &of_next, &[Right::Read], now), Ok(()));
    assert!(keys.check(&to_read, &of_next, &[Right::Write], now).is_err());
    cluster.stop_all().await;
}

/// Keys are in the state: they are the same after a restart, and change when they are old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_outlive_a_restart_and_grow_old() {
    let settings = Settings { token_key_interval: Duration::from_secs(3600), ..hasty() };
    let (mut cluster, nodes) = cluster_with(settings).await;
    let ids = |reply: v1::HeartbeatReply| reply.keys.into_iter().map(|key| (key.id, key.secret)).collect::<Vec<_>>();
    let before = ids(nodes[0].tell(&cluster, 1, v1::HeartbeatRequest::default()).await);
    assert_eq!(before.len(), 1);
    cluster.stop(1).await;
    cluster.revive(1).await;
    cluster.leader().await;
    // Until the log is applied again none are told, which takes none away.
    eventually("the same keys are told again", || async {
        let keys = ids(nodes[0].tell(&cluster, 1, v1::HeartbeatRequest::default()).await);
        assert!(keys.is_empty() || keys == before, "{keys:?}");
        !keys.is_empty()
    })
    .await;
    cluster.stop_all().await;

    let settings = Settings { token_key_interval: Duration::from_millis(1), ..hasty() };
    let (cluster, nodes) = cluster_with(settings).await;
    let node = &nodes[0];
    eventually("another key is added", || async {
        let keys = ids(node.tell(&cluster, 1, v1::HeartbeatRequest::default()).await);
        keys.len() > 1 && keys[0].1 != keys[1].1
    })
    .await;
    cluster.stop_all().await;
}
