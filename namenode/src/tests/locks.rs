//! Locks and open files through streams and leaders.

use proto::v1;
use proto::v1::op::Kind;
use proto::v1::reply::Result as Answer;
use types::Code;

use super::client::{Client, code, delete, put, stat};
use super::cluster::Cluster;

fn wish(owner: u64, (first, last): (u64, u64), kind: v1::LockKind) -> Option<v1::LockWish> {
    let (family, kind) = (v1::LockFamily::Ranges.into(), kind.into());
    Some(v1::LockWish { owner, family, first, last, kind, pid: 7 })
}

fn lock(inode: u64, wish: Option<v1::LockWish>, wait: bool) -> Kind {
    Kind::SetLock(v1::SetLock { inode, wish, wait })
}

async fn file(client: &mut Client, sequence: u64, path: &str) -> u64 {
    match client.update(sequence, put(path, b"content")).await {
        Answer::Attributes(row) => row.inode,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_outlives_the_leader_and_who_waits_asks_the_next_one() {
    use v1::LockKind::{None as Unlock, Read, Write};
    let mut cluster = Cluster::start(3).await;
    let mut holder = Client::connect(&cluster, 0).await;
    let session = holder.open_session().await;
    let inode = file(&mut holder, 1, "/f").await;
    assert_eq!(code(&holder.update(2, lock(inode, wish(1, (0, 9), Write), true)).await), Some(Code::InvalidArgument));
    assert_eq!(code(&holder.update(0, lock(inode, wish(1, (0, 9), Write), true)).await), None);
    let mut waiter = Client::connect(&cluster, 0).await;
    let waiting = waiter.open_session().await;
    assert_eq!(code(&waiter.update(1, lock(inode, wish(1, (5, 5), Read), false)).await), Some(Code::LockConflict));
    let test = || Kind::TestLock(v1::TestLock { inode, wish: wish(1, (5, 5), Read) });
    let held = v1::HeldLock { session, owner: 1, first: 0, last: 9, kind: Write.into(), pid: 7 };
    assert_eq!(waiter.read(test()).await, Answer::LockHolder(v1::LockHolder { held: Some(held) }));
    let asked = waiter.send(0, lock(inode, wish(1, (5, 5), Read), true)).await;
    assert_eq!(code(&waiter.read(stat("/f")).await), None, "the stream goes on");

    cluster.stop(cluster.leader().await).await;
    assert!(waiter.answer_of(asked).await.is_none(), "the wait ended with the stream");
    let mut holder = Client::connect(&cluster, session).await;
    let mut waiter = Client::connect(&cluster, waiting).await;
    let asked = waiter.send(0, lock(inode, wish(1, (5, 5), Read), true)).await;
    assert!(matches!(waiter.read(test()).await, Answer::LockHolder(v1::LockHolder { held: Some(_) })));
    assert_eq!(code(&holder.update(2, lock(inode, wish(1, (0, 9), Unlock), false)).await), None);
    assert_eq!(waiter.answer_of(asked).await.map(|answer| code(&answer)), Some(None), "granted");

    // Given up, and waited for in a circle.
    let asked = holder.send(0, lock(inode, wish(1, (5, 5), Write), true)).await;
    assert!(matches!(holder.read(Kind::CancelLocks(v1::CancelLocks { inode, owner: 1 })).await, Answer::Done(_)));
    assert_eq!(holder.answer_of(asked).await.map(|answer| code(&answer)), Some(Some(Code::Interrupted)));
    assert_eq!(code(&holder.update(3, lock(inode, wish(1, (7, 7), Write), false)).await), None);
    let asked = waiter.send(0, lock(inode, wish(1, (7, 7), Write), true)).await;
    assert_eq!(code(&waiter.read(stat("/f")).await), None);
    let circle = holder.update(0, lock(inode, wish(1, (5, 5), Write), true)).await;
    assert_eq!(code(&circle), Some(Code::Deadlock));
    assert_eq!(code(&holder.update(4, Kind::CloseSession(v1::CloseSession {})).await), None);
    assert_eq!(waiter.answer_of(asked).await.map(|answer| code(&answer)), Some(None), "with the session its locks go");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_file_outlives_its_name_and_its_leader() {
    let mut cluster = Cluster::start(3).await;
    let mut client = Client::connect(&cluster, 0).await;
    let session = client.open_session().await;
    let inode = file(&mut client, 1, "/f").await;
    let itself = || Some(v1::Where { base: inode, path: Vec::new() });
    let open = v1::OpenHandle { place: itself(), read: true, write: true, create: None };
    assert!(matches!(client.update(2, Kind::OpenHandle(open)).await, Answer::Attributes(_)));
    assert_eq!(code(&client.update(3, delete("/f")).await), None);
    cluster.stop(cluster.leader().await).await;
    let mut client = Client::connect(&cluster, session).await;
    let Answer::Attributes(row) = client.read(Kind::Stat(v1::Stat { place: itself() })).await else {
        panic!("it lives")
    };
    assert_eq!((row.links, row.length), (0, 7));
    let close = |count| Kind::CloseHandles(v1::CloseHandles { closed: vec![v1::ClosedHandles { inode, count }] });
    assert_eq!(code(&client.update(4, close(2)).await), Some(Code::InvalidArgument));
    assert_eq!(code(&client.update(5, close(1)).await), None);
    assert_eq!(code(&client.read(Kind::Stat(v1::Stat { place: itself() })).await), Some(Code::NotFound));
    let many = vec![v1::ClosedHandles { inode, count: 1 }; 1001];
    let many = Kind::CloseHandles(v1::CloseHandles { closed: many });
    assert_eq!(code(&client.update(6, many).await), Some(Code::InvalidArgument));
    let create = v1::NewOpenFile {
        ownership: Some(v1::Ownership { uid: 1, gid: 1, mode: 0o600, umask: 0 }),
        layout: None,
        exclusive: true,
    };
    let place = Some(v1::Where { base: 0, path: b"/new".to_vec() });
    let make = v1::OpenHandle { place, read: true, write: true, create: Some(create) };
    assert_eq!(code(&client.update(7, Kind::OpenHandle(make.clone())).await), None);
    assert_eq!(code(&client.update(8, Kind::OpenHandle(make)).await), Some(Code::Exists));
    cluster.stop_all().await;
}
