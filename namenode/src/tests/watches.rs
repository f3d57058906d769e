//! Watches through streams.

use proto::v1;
use proto::v1::change::What;
use proto::v1::op::Kind;
use proto::v1::reply::Result as Answer;
use types::Code;

use super::client::{Client, code, delete, mkdir, put, stat};
use super::cluster::Cluster;

const ROOT: u64 = 1;

fn watch(inode: u64) -> Kind {
    Kind::Watch(v1::Watch { inode })
}

fn of(inode: u64, what: What) -> v1::Change {
    v1::Change { inode, what: Some(what) }
}

fn name(inode: u64, name: &str) -> v1::Change {
    of(inode, What::Name(name.as_bytes().to_vec()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_when_it_can_be_read_and_not_to_who_made_it() {
    let cluster = Cluster::start(1).await;
    let mut watcher = Client::connect(&cluster, 0).await;
    let mut writer = Client::connect(&cluster, 0).await;
    watcher.open_session().await;
    writer.open_session().await;
    let Answer::Attributes(row) = writer.update(1, mkdir("/d", false)).await else { panic!("made") };
    let directory = row.inode;
    assert!(matches!(watcher.read(watch(directory)).await, Answer::Done(_)));
    assert!(matches!(writer.read(watch(directory)).await, Answer::Done(_)));
    assert_eq!(code(&watcher.read(watch(99)).await), Some(Code::NotFound));
    assert_eq!(code(&watcher.read(watch(0)).await), Some(Code::InvalidArgument));

    let made = writer.send(2, put("/d/f", b"one")).await;
    let told = watcher.changes().await;
    assert_eq!(code(&watcher.read(stat("/d/f")).await), None, "what is told can be read");
    assert_eq!(told.changes, [name(directory, "f"), of(directory, What::Attributes(true))]);
    let Some(Answer::Attributes(file)) = writer.answer_of(made).await else { panic!("made") };
    assert!(matches!(watcher.read(watch(file.inode)).await, Answer::Done(_)));
    assert_eq!(code(&writer.update(3, delete("/d/f")).await), None);
    let told = watcher.changes().await;
    let attributes = |inode| of(inode, What::Attributes(true));
    let child = |directory, inode| of(directory, What::Child(v1::ChangedChild { inode, content: false }));
    let gone = [name(directory, "f"), attributes(directory), child(directory, file.inode), attributes(file.inode)];
    assert_eq!(told.changes, gone);

    // Unwatched, and by the one itself: the next that is told is the third.
    let unwatch = Kind::Unwatch(v1::Unwatch { inode: file.inode });
    assert!(matches!(watcher.read(unwatch).await, Answer::Done(_)));
    assert_eq!(code(&watcher.update(1, put("/d/mine", b"")).await), None);
    let Answer::Attributes(elsewhere) = writer.update(4, put("/elsewhere", b"")).await else { panic!("made") };
    assert!(matches!(watcher.read(watch(ROOT)).await, Answer::Done(_)));
    assert_eq!(code(&writer.update(5, delete("/elsewhere")).await), None);
    let told = watcher.changes().await;
    let changes = vec![name(ROOT, "elsewhere"), attributes(ROOT), child(ROOT, elsewhere.inode)];
    assert_eq!(told, v1::Changes { changes, everything: false });
    assert_eq!(writer.changes().await.changes, [name(directory, "mine"), attributes(directory)]);
    cluster.stop_all().await;
}
