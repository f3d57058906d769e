//! The leader is stopped, as on a machine that hangs, and goes on when another has taken its place.

use anyhow::Result;
use bytes::Bytes;
use client::{Client, Config, CreateOptions};
use integration_tests::{Cluster, Options};
use types::Path;

/// Reads that are under way while the old leader is stopped.
const READERS: usize = 32;

async fn content(client: &Client, path: &Path) -> Result<Vec<u8>> {
    let mut reader = client.open(path).await?;
    Ok(reader.next_chunk().await?.unwrap_or_default().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_never_answers_from_an_old_state() -> Result<()> {
    let cluster = Cluster::start(Options::default()).await?;
    let path = Path::parse(b"/value")?;
    let overwrite = || CreateOptions { overwrite: true, ..CreateOptions::default() };
    let writer = cluster.client().await?;
    writer.put(&path, Bytes::from_static(b"old"), overwrite()).await?;

    let old = cluster.leader().await?;
    let others: Vec<String> =
        cluster.names().into_iter().filter(|name| name.starts_with("nn") && *name != old).collect();
    let namenodes = others.iter().map(|name| cluster.address(name)).collect::<Result<_>>()?;
    // These reach the old leader over connections that are open, and keep its lease young until it is stopped.
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let client = cluster.client().await?;
        assert_eq!(content(&client, &path).await?, b"old");
        readers.push(client);
    }
    cluster.pause(&old)?;
    let elsewhere = Client::connect(Config { namenodes, ..Config::default() }).await?;
    elsewhere.put(&path, Bytes::from_static(b"new"), overwrite()).await?;

    // Asked now, after the write was acknowledged: they lie in the old leader's sockets when it goes on.
    let asked: Vec<_> = readers
        .into_iter()
        .map(|client| {
            let path = path.clone();
            tokio::spawn(async move { content(&client, &path).await })
        })
        .collect();
    cluster.resume(&old)?;
    for answer in asked {
        assert_eq!(answer.await??, b"new");
    }
    cluster.finish(&[]).await
}
