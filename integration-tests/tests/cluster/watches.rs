//! Changes are told across clients, and across leaders.

use std::time::Duration;

use anyhow::{Result, bail};
use client::{Changed, CreateOptions, Event, MkdirOptions, Watcher};
use integration_tests::{Cluster, Options};
use types::Path;

const DEADLINE: Duration = Duration::from_secs(60);

async fn next(watcher: &Watcher) -> Result<Event> {
    match tokio::time::timeout(DEADLINE, watcher.next()).await? {
        Some(event) => Ok(event),
        None => bail!("the client is closed"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_hears_of_others_before_and_after_the_leader_died() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let (reader, writer) = (cluster.client().await?, cluster.client().await?);
    let directory = writer.mkdir(&Path::parse(b"/d")?, MkdirOptions::default()).await?.inode;
    let watcher = reader.watcher();
    watcher.watch(directory).await?;
    let named = |name: &str| {
        let names = vec![name.as_bytes().to_vec()];
        Event::Changed(Changed { inode: directory, names, attributes: true, content: false, children: vec![] })
    };

    // Its own changes are not told: the first that is told is of the other.
    reader.put(&Path::parse(b"/d/own")?, "own".into(), CreateOptions::default()).await?;
    writer.put(&Path::parse(b"/d/first")?, "first".into(), CreateOptions::default()).await?;
    assert_eq!(next(&watcher).await?, named("first"));
    assert_eq!(reader.stat(&Path::parse(b"/d/first")?).await?.length.get(), 5, "what is told can be read");

    let leader = cluster.leader().await?;
    cluster.kill(&leader)?;
    // Once when the stream was lost, and once when everything is watched again; or both at once.
    assert_eq!(next(&watcher).await?, Event::Everything);
    let mut written = 0;
    let changed = loop {
        written += 1;
        let path = Path::parse(format!("/d/after{written}").as_bytes())?;
        writer.put(&path, "after".into(), CreateOptions::default()).await?;
        match next(&watcher).await? {
            Event::Everything => {}
            Event::Changed(changed) => break changed,
        }
    };
    // The news may be of one before the last.
    assert_eq!((changed.inode, changed.attributes, changed.content), (directory, true, false));
    assert!(changed.names.iter().all(|name| name.starts_with(b"after")), "{changed:?}");
    cluster.spawn(&leader)?;
    reader.close().await?;
    writer.close().await?;
    cluster.finish(&[]).await
}
