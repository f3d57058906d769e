//! Members that missed more than the log of the others holds.

use std::time::Duration;

use proto::v1::reply::Result as Answer;
use types::ByteSize;

use super::client::{self, Client, code, put};
use super::cluster::{Cluster, eventually};
use crate::Settings;

/// Bytes that do not compress.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(10 << 10).collect()
}

/// A cluster, its leader, and a member that was stopped before the log of the others was cut beyond its end.
async fn with_a_laggard(snapshot_rate: ByteSize) -> (Cluster, u64, u64) {
    let settings = Settings {
        tick: Duration::from_millis(10),
        cache: ByteSize::mib(8),
        flush_interval: Duration::from_millis(50),
        log_keep: ByteSize::kib(64),
        snapshot_rate,
        ..Settings::default()
    };
    let mut cluster = Cluster::with(3, settings).await;
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    let leader = cluster.leader().await;
    let laggard = leader % 3 + 1;
    let end = cluster.status(laggard).await.last_index;
    cluster.stop(laggard).await;
    for file in 1..=30 {
        assert_eq!(code(&client.update(file, put(&format!("/{file}"), &noise(file))).await), None);
    }
    let running = &cluster;
    for member in cluster.running() {
        eventually(
            "the log is cut behind its end",
            || async move { running.status(member).await.first_index > end + 1 },
        )
        .await;
    }
    (cluster, leader, laggard)
}

/// Waits until `member` has all that `leader` has, and reads it there.
async fn has_everything(cluster: &Cluster, leader: u64, member: u64) {
    let applied = cluster.status(leader).await.applied;
    eventually("it catches up", || async move { cluster.status(member).await.applied >= applied }).await;
    eventually("it can lead", || async move {
        cluster.status(member).await.leader == member || cluster.transfer(leader, member).await.is_ok()
    })
    .await;
    let mut client = Client::connect(cluster, 0).await;
    assert_eq!(cluster.leader().await, member);
    for file in 1..=30 {
        let Answer::Opened(opened) = client.read(client::open(&format!("/{file}"))).await else { panic!("{file}") };
        assert_eq!(opened.inline.as_deref(), Some(noise(file).as_slice()));
    }
    assert_eq!(code(&client.update(1, put("/31", b"more")).await), Some(types::Code::InvalidArgument), "no session");
    client.open_session().await;
    assert_eq!(code(&client.update(1, put("/31", b"more")).await), None);
}

/// Invariant 1: what it missed, it gets as a snapshot, and is a full member again, also after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_missed_more_than_the_log_comes_back_by_snapshot() {
    let (mut cluster, leader, laggard) = with_a_laggard(ByteSize::mib(64)).await;
    cluster.revive(laggard).await;
    has_everything(&cluster, leader, laggard).await;
    assert!(cluster.status(laggard).await.first_index > 1);
    cluster.stop(laggard).await;
    cluster.revive(laggard).await;
    // It is one of a majority of two.
    let third = (1..=3).find(|node| ![leader, laggard].contains(node)).expect("one of three");
    cluster.stop(third).await;
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    assert_eq!(code(&client.update(1, put("/32", b"more")).await), None);
    cluster.stop_all().await;
}

/// The source goes away in the middle: another member sends what is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_whose_source_stops_comes_from_the_next_leader() {
    let (mut cluster, leader, laggard) = with_a_laggard(ByteSize::kib(128)).await;
    cluster.revive(laggard).await;
    let incoming = cluster.dir(laggard).join("state-incoming");
    let incoming = &incoming;
    eventually("the pull begins", || async move {
        let files = std::fs::read_dir(incoming).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum::<u64>() > 20_000
    })
    .await;
    assert!(cluster.status(laggard).await.applied < cluster.status(leader).await.applied);
    cluster.stop(leader).await;
    let third = (1..=3).find(|node| ![leader, laggard].contains(node)).expect("one of three");
    has_everything(&cluster, third, laggard).await;
    cluster.stop_all().await;
}
