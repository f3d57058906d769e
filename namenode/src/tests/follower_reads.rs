//! Streams for reads, to members that lead and that do not.

use proto::v1;
use proto::v1::op::Kind;
use proto::v1::reply::Result as Answer;
use types::Code;

use super::client::{self, Client, code, mkdir, put, stat};
use super::cluster::{Cluster, eventually};

/// Invariant 3, for every member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_sees_what_was_acknowledged_before_it_was_asked() {
    let cluster = Cluster::start(3).await;
    let mut writer = Client::connect(&cluster, 0).await;
    writer.open_session().await;
    let mut readers = Vec::new();
    for node in 1..=3 {
        readers.push(Client::for_reads(&cluster, node).await);
    }
    for sequence in 1..=40 {
        let path = format!("/{sequence}");
        assert_eq!(code(&writer.update(sequence, put(&path, path.as_bytes())).await), None);
        for reader in &mut readers {
            let Answer::Opened(opened) = reader.read(client::open(&path)).await else { panic!("{path} is there") };
            assert_eq!(opened.inline.as_deref(), Some(path.as_bytes()));
            assert_eq!(code(&reader.read(stat("/absent")).await), Some(Code::NotFound));
        }
    }
    cluster.stop_all().await;
}

/// Invariant 4: what is not a query is refused there, and has no effect; the stream goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_for_reads_is_for_nothing_else() {
    let cluster = Cluster::start(3).await;
    for node in 1..=3 {
        let mut reader = Client::for_reads(&cluster, node).await;
        let others = [
            mkdir("/made", false),
            Kind::OpenSession(v1::OpenSession { client: "test".to_owned() }),
            Kind::KeepAlive(v1::KeepAlive {}),
            Kind::Watch(v1::Watch { inode: 1 }),
            Kind::Unwatch(v1::Unwatch { inode: 1 }),
            Kind::SetLock(v1::SetLock { inode: 1, wait: true, ..Default::default() }),
            Kind::TestLock(v1::TestLock { inode: 1, ..Default::default() }),
        ];
        for kind in others {
            let told = format!("{kind:?}");
            let refused = code(&reader.update(1, kind).await);
            assert!(matches!(refused, Some(Code::NotSupported | Code::InvalidArgument)), "{told}: {refused:?}");
        }
        assert_eq!(code(&reader.read(stat("/made")).await), Some(Code::NotFound));
        let hello = v1::Hello { protocol: proto::PROTOCOL, session: 7, reads_only: true, ..Default::default() };
        assert!(client::hello(cluster.address(node), hello).await.is_err(), "there is no session on it");
    }
    cluster.stop_all().await;
}

/// A member that hears of no leader does not know how old its state is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_without_a_leader_answers_nothing_until_there_is_one() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let (left, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    let mut reader = Client::for_reads(&cluster, left).await;
    assert_eq!(code(&reader.read(stat("/")).await), None);
    cluster.stop(other).await;
    cluster.stop(leader).await;
    // The one that stopped has handed over, to nobody.
    let mut refused = reader.read(stat("/")).await;
    while code(&refused).is_none() {
        refused = reader.read(stat("/")).await;
    }
    assert_eq!(code(&refused), Some(Code::NotLeader));
    cluster.revive(leader).await;
    let reader = tokio::sync::Mutex::new(reader);
    eventually("the stream answers again", || async { code(&reader.lock().await.read(stat("/")).await).is_none() })
        .await;
    cluster.stop_all().await;
}
