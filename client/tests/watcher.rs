//! Being told of changes, through streams that come and go: invariants 1 and 2 of the watcher.

mod cluster;

use client::{Changed, Event};
use proto::v1;
use proto::v1::change::What;
use proto::v1::op::Kind as Op;
use types::{Code, InodeId};

use cluster::{Act, Namenode, connect, done, path};

const DIRECTORY: InodeId = InodeId::new(7);
const GONE: InodeId = InodeId::new(8);

fn tell(name: &str) -> Act {
    let change = |what| v1::Change { inode: DIRECTORY.get(), what: Some(what) };
    let changes = vec![change(What::Name(name.as_bytes().to_vec())), change(What::Attributes(true))];
    Act::Tell(v1::Changes { changes, everything: false })
}

fn changed(name: &str) -> Option<Event> {
    let names = vec![name.as_bytes().to_vec()];
    Some(Event::Changed(Changed { inode: DIRECTORY, names, attributes: true, content: false, children: vec![] }))
}

#[tokio::test]
async fn what_is_watched_is_watched_again_on_the_next_stream_and_everything_is_in_doubt() {
    let namenode = Namenode::lead(|arrived| match &arrived.op {
        Op::Watch(watch) if watch.inode == GONE.get() && arrived.stream > 0 => Act::Refuse(Code::NotFound),
        Op::Watch(_) => done(),
        Op::Delete(_) => tell(&format!("on stream {}", arrived.stream)),
        Op::Mkdir(_) => Act::Tell(v1::Changes { changes: vec![], everything: true }),
        Op::Rename(_) if arrived.stream == 0 => Act::Break,
        _ => done(),
    })
    .await;
    let client = connect(&namenode).await;
    let watcher = client.watcher();
    for inode in [DIRECTORY, GONE] {
        watcher.watch(inode).await.expect("watched");
    }
    client.delete(&path("/a"), false).await.expect("done");
    assert_eq!(watcher.next().await, changed("on stream 0"));
    client.rename(&path("/a"), &path("/b"), false).await.expect("done in the end");
    assert_eq!(watcher.next().await, Some(Event::Everything));
    client.delete(&path("/a"), false).await.expect("done");
    assert_eq!(watcher.next().await, changed("on stream 1"));
    client.mkdir(&path("/a"), client::MkdirOptions::default()).await.expect_err("an answer of another kind");
    assert_eq!(watcher.next().await, Some(Event::Everything));

    watcher.unwatch(GONE).await.expect("it is not watched any more, and nobody is asked");
    watcher.unwatch(DIRECTORY).await.expect("unwatched");
    let asked: Vec<_> = namenode
        .arrived()
        .into_iter()
        .filter_map(|arrived| match arrived.op {
            Op::Watch(watch) => Some((arrived.stream, true, watch.inode)),
            Op::Unwatch(unwatch) => Some((arrived.stream, false, unwatch.inode)),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [(0, true, 7), (0, true, 8), (1, true, 7), (1, true, 8), (1, false, 7)]);
    client.close().await.expect("closed");
    assert_eq!(watcher.next().await, None);
    assert_eq!(watcher.watch(DIRECTORY).await.expect_err("closed").code(), Code::Io);
}

#[tokio::test]
async fn an_inode_that_cannot_be_watched_is_refused_and_not_kept() {
    let namenode = Namenode::lead(|_| Act::Refuse(Code::NoSpace)).await;
    let client = connect(&namenode).await;
    let watcher = client.watcher();
    assert_eq!(watcher.watch(DIRECTORY).await.expect_err("too many").code(), Code::NoSpace);
    watcher.unwatch(DIRECTORY).await.expect("nobody is asked");
    assert_eq!(namenode.arrived().len(), 1);
}
