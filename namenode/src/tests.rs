//! Whole members over real sockets, in one process.

mod bad_input;
mod client;
mod cluster;
mod compaction;
mod duties;
mod follower_reads;
mod inventories;
mod locks;
mod membership;
mod recovery;
mod snapshots;
mod tokens;
mod watches;

use proto::v1;
use proto::v1::op::Kind;
use proto::v1::reply::Result as Answer;
use types::Code;

use client::{Client, NodeClient, code, mkdir, put, stat};
use cluster::{Cluster, eventually};

/// Invariants 1 and 3, for a cluster of one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_member_formats_serves_and_remembers() {
    let mut cluster = Cluster::start(1).await;
    let mut client = Client::connect(&cluster, 0).await;
    let session = client.open_session().await;
    assert!(matches!(client.update(1, mkdir("/a", false)).await, Answer::Attributes(_) | Answer::Done(_)));
    assert!(matches!(client.update(2, put("/a/small", b"content")).await, Answer::Attributes(_) | Answer::Done(_)));
    assert_eq!(code(&client.update(3, mkdir("/a", false)).await), Some(Code::Exists));
    drop(client);

    cluster.stop(1).await;
    cluster.revive(1).await;
    let mut client = Client::connect(&cluster, session).await;
    let Answer::Opened(opened) = client.read(client::open("/a/small")).await else { panic!("must open") };
    assert_eq!(opened.inline.as_deref(), Some(b"content".as_slice()));
    assert_eq!(code(&client.read(stat("/b")).await), Some(Code::NotFound));
    // The session lives on, and so do its answers (invariant 2).
    assert!(matches!(client.read(Kind::KeepAlive(v1::KeepAlive {})).await, Answer::Done(_)));
    assert_eq!(code(&client.update(3, mkdir("/c", false)).await), Some(Code::Exists));
    cluster.stop_all().await;
}

/// Invariants 1, 2 and 3: the leader goes, another takes over, the first comes back and catches up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_survive_the_leader_and_are_applied_once() {
    let mut cluster = Cluster::start(3).await;
    let mut client = Client::connect(&cluster, 0).await;
    let session = client.open_session().await;
    let first = client.update(1, mkdir("/once", false)).await;
    assert_eq!(code(&first), None);
    for sequence in 2..=50 {
        assert_eq!(code(&client.update(sequence, put(&format!("/once/{sequence}"), b"x")).await), None);
    }
    let old = cluster.leader().await;
    cluster.stop(old).await;

    let mut client = Client::connect(&cluster, session).await;
    assert_ne!(cluster.leader().await, old);
    // Sent again, as if its answer had been lost with the leader.
    assert_eq!(client.update(1, mkdir("/once", false)).await, first);
    let Answer::Attributes(row) = client.read(stat("/once")).await else { panic!("must be there") };
    assert_eq!(row.usage.map(|usage| usage.entries), Some(49));
    assert_eq!(code(&client.update(51, put("/once/51", b"x")).await), None);

    cluster.revive(old).await;
    let applied = cluster.status(cluster.leader().await).await.applied;
    let again = &cluster;
    eventually("the returned member catches up", || async move { again.status(old).await.applied >= applied }).await;

    // With its copy of the log, another may go.
    let next = cluster.leader().await;
    cluster.stop(next).await;
    let mut client = Client::connect(&cluster, session).await;
    let Answer::Attributes(row) = client.read(stat("/once")).await else { panic!("must be there") };
    assert_eq!(row.usage.map(|usage| usage.entries), Some(50));
    cluster.stop_all().await;
}

/// Invariant 4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_names_the_leader_and_answers_nothing() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|node| *node != leader).expect("two of them");
    let hello = v1::Hello { protocol: proto::PROTOCOL, ..Default::default() };
    let batch = client::hello(cluster.address(follower), hello.clone()).await.expect("an answer");
    let not_leader = batch.not_leader.expect("it does not lead");
    assert_eq!(not_leader.leader, cluster.address(leader).to_string());
    assert_eq!(batch.welcome, None);

    let foreign = v1::Hello { cluster: vec![9; 16], ..hello.clone() };
    assert!(client::hello(cluster.address(leader), foreign).await.is_err());
    let newer = v1::Hello { protocol: 99, ..hello };
    assert!(client::hello(cluster.address(leader), newer).await.is_err());
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_gets_typed_errors_and_the_stream_goes_on() {
    let cluster = Cluster::start(1).await;
    let mut client = Client::connect(&cluster, 0).await;
    assert_eq!(code(&client.update(1, mkdir("/early", false)).await), Some(Code::InvalidArgument), "no session");
    client.open_session().await;
    assert_eq!(code(&client.update(0, mkdir("/unnumbered", false)).await), Some(Code::InvalidArgument));
    assert_eq!(code(&client.read(Kind::Stat(v1::Stat { place: None })).await), Some(Code::InvalidArgument));
    assert_eq!(code(&client.update(1, mkdir("/a/../b", false)).await), Some(Code::InvalidArgument));
    let create = v1::Create {
        destination: None,
        ownership: Some(v1::Ownership::default()),
        with_block: true,
        ..Default::default()
    };
    let answer = client.update(2, Kind::Create(create)).await;
    assert_eq!(code(&answer), Some(Code::NoDatanodes));
    assert_eq!(code(&client.update(3, mkdir("/fine", false)).await), None);
    cluster.stop_all().await;
}

/// Datanodes are known to every member: the next leader has targets at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_has_targets_at_once() {
    let mut cluster = Cluster::start(3).await;
    let mut nodes = Vec::new();
    for host in 1..=3 {
        nodes.push(NodeClient::register(&cluster, host).await);
    }
    let stranger = NodeClient { node: 77, ..nodes[0].clone() };
    let leader = cluster.leader().await;
    assert!(stranger.heartbeat_to(&cluster, leader, vec![]).await.expect("an answer").unknown);
    let (again, all) = (&cluster, &nodes);
    eventually("every member hears every datanode", || async move {
        for node in all {
            node.heartbeat(again, vec![]).await;
        }
        let mut heard = true;
        for member in 1..=3 {
            heard &= again.status(member).await.datanodes_alive == 3;
        }
        heard
    })
    .await;

    let mut client = Client::connect(&cluster, 0).await;
    let session = client.open_session().await;
    cluster.stop(leader).await;
    let mut client = Client::connect(&cluster, session).await;
    let Answer::Created(created) = client.update(1, client::create("/file")).await else { panic!("must create") };
    let mut hosts: Vec<String> =
        created.block.expect("asked for").targets.into_iter().map(|target| target.host).collect();
    hosts.sort();
    assert_eq!(hosts, ["host1", "host2", "host3"]);
    cluster.stop_all().await;
}

/// Invariant 4: the lead goes where it is sent, and a leader that stops has handed over when it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lead_is_handed_over_on_request_and_before_a_stop() {
    let mut cluster = Cluster::start(3).await;
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    assert_eq!(code(&client.update(1, mkdir("/a", false)).await), None);
    let old = cluster.leader().await;
    let next = old % 3 + 1;
    assert!(cluster.transfer(next, next).await.is_err(), "only the leader hands over");
    assert!(cluster.transfer(old, 9).await.is_err(), "to a member only");
    let reply = cluster.transfer(old, next).await.expect("all of them are up to date");
    assert_eq!(reply.leader, next);
    // Whoever leads hands over to nobody when it has the lead already.
    let deadline = std::time::Instant::now() + cluster::DEADLINE;
    while cluster.transfer(next, next).await.map_or(0, |reply| reply.leader) != next {
        assert!(std::time::Instant::now() < deadline, "it serves");
        cluster::pause().await;
    }
    cluster.stop(next).await;
    let mut others = Vec::new();
    for node in cluster.running() {
        others.push(cluster.status(node).await.leader);
    }
    assert!(others.iter().any(|leader| *leader != next && *leader != 0), "{others:?}");
    cluster.stop_all().await;
}
