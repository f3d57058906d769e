//! Files come and go on a disk, and no process did it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use client::{Client, CreateOptions};
use integration_tests::{Cluster, Options, Pattern, check_content, until};
use types::{ByteSize, Path};

const BLOCKS: u64 = 24;
const COPIES: usize = 3 * BLOCKS as usize;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_directory_is_made_anew_and_orphans_are_removed() -> Result<()> {
    let options = Options { namenodes: 1, datanodes: 4, ..Options::default() }
        .fast_repair()
        .with("ASHLAR_NAMENODE__DIGEST_INTERVAL", "2s")
        .with("ASHLAR_DATANODE__INVENTORY_INTERVAL", "2s");
    let cluster = Cluster::start(options).await?;
    let client = cluster.client().await?;
    let path = Path::parse(b"/kept")?;
    let options = CreateOptions { block_size: Some(ByteSize::mib(1)), ..CreateOptions::default() };
    client.put(&path, Pattern(3).bytes(0, (BLOCKS << 20) as usize), options).await?;

    let orphan = bring_back(&cluster, &client).await?;
    let lost = cluster.replicas("dn2")?;
    assert!(lost.len() > 5, "dn2 holds {} replicas", lost.len());
    for replica in &lost {
        fs::remove_file(replica)?;
    }
    until("every block has three copies on disks", async || Ok(replicas(&cluster)? == COPIES && !orphan.exists()))
        .await?;
    check_content(&mut client.open(&path).await?, Pattern(3), BLOCKS << 20).await?;
    cluster.finish(&[]).await
}

/// How many replicas there are on all disks.
fn replicas(cluster: &Cluster) -> Result<usize> {
    ["dn1", "dn2", "dn3", "dn4"].iter().try_fold(0, |sum, name| Ok(sum + cluster.replicas(name)?.len()))
}

/// A disk that was away while a file was removed: its replica is back.
async fn bring_back(cluster: &Cluster, client: &Client) -> Result<PathBuf> {
    let before = cluster.replicas("dn1")?;
    let gone = Path::parse(b"/gone")?;
    let mut found = None;
    // Four datanodes share three copies: some file has one on this node.
    while found.is_none() {
        client
            .put(&gone, Pattern(9).bytes(0, 1 << 20), CreateOptions { overwrite: true, ..CreateOptions::default() })
            .await?;
        found = cluster.replicas("dn1")?.into_iter().find(|replica| !before.contains(replica));
    }
    let replica = found.context("found just now")?;
    let bytes = fs::read(&replica)?;
    client.delete(&gone, false).await?;
    // On every datanode, and those of the files that were overwritten: what is still going would be counted below.
    until("only the replicas of the file that is kept are left", async || {
        Ok(replicas(cluster)? == COPIES && !replica.exists())
    })
    .await?;
    fs::write(&replica, bytes)?;
    Ok(replica)
}
