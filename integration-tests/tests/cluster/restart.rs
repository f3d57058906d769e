//! Everything is killed at once, as by a power cut that spares the page cache.

use anyhow::Result;
use client::CreateOptions;
use integration_tests::{Cluster, Options, Pattern, check_content};
use types::Path;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_everything_was_killed() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let client = cluster.client().await?;
    let lengths: Vec<usize> = (0..24).map(|at| [0, 10, 16 << 10, (16 << 10) + 1, 3 << 20][at % 5] + at).collect();
    let path = |at: usize| Path::parse(format!("/d{}/f{at}", at % 3).as_bytes());
    for (at, length) in lengths.iter().enumerate() {
        let options = CreateOptions { parents: true, ..CreateOptions::default() };
        client.put(&path(at)?, Pattern(at as u64).bytes(0, *length), options).await?;
    }
    client.rename(&path(0)?, &Path::parse(b"/renamed")?, false).await?;
    client.delete(&path(1)?, false).await?;

    for _ in 0..2 {
        cluster.kill_all()?;
        for name in cluster.names() {
            cluster.spawn(&name)?;
        }
        cluster.until_healthy().await?;
        // The same client as before: it finds the cluster again by itself.
        for (at, length) in lengths.iter().enumerate().skip(2) {
            check_content(&mut client.open(&path(at)?).await?, Pattern(at as u64), *length as u64).await?;
        }
        assert!(client.stat(&path(1)?).await.is_err(), "a deleted file is back");
        check_content(&mut client.open(&Path::parse(b"/renamed")?).await?, Pattern(0), lengths[0] as u64).await?;
    }
    cluster.finish(&[]).await
}
