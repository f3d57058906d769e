//! Files that are written in small pieces are joined in the background: under their writers, their readers, and lost leaders.

use anyhow::{Result, ensure};
use bytes::Bytes;
use client::{Client, ContentOptions, CreateOptions};
use integration_tests::{Cluster, Options, until};
use types::Path;

const NONE: ContentOptions = ContentOptions { mtime: None, clear_suid: false, durability: None };
const LENGTH: usize = 2 << 20;
const PAGE: usize = 4096;

fn file() -> Path {
    Path::parse(b"/database").expect("a path")
}

fn stamp(seed: usize, length: usize) -> Bytes {
    (0..length).map(|at| (seed * 31 + at * 7 + at / 251) as u8 | 1).collect()
}

fn often() -> Options {
    Options::default()
        .fast_repair()
        .with("ASHLAR_NAMENODE__COMPACTION_INTERVAL", "200ms")
        .with("ASHLAR_NAMENODE__SESSION_TIMEOUT", "5s")
}

async fn overwrite(client: &Client, expected: &mut [u8], number: usize) -> Result<()> {
    let at = (number * 7919 * PAGE) % (LENGTH - PAGE);
    let page = stamp(number, PAGE);
    expected[at..at + PAGE].copy_from_slice(&page);
    Ok(client.write_at(&file(), at as u64, page, NONE).await.map(drop)?)
}

async fn same(client: &Client, expected: &[u8]) -> Result<()> {
    let mut reader = client.open(&file()).await?;
    let mut content = Vec::new();
    while let Some(chunk) = reader.next_chunk().await? {
        content.extend_from_slice(&chunk);
    }
    let differ = content.iter().zip(expected).position(|(one, other)| one != other);
    ensure!(differ.is_none() && content.len() == expected.len(), "{} bytes, {differ:?}", content.len());
    Ok(())
}

async fn extents(client: &Client) -> Result<u64> {
    Ok(client.extents(&file(), 0).await?.count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_all_over_is_joined_again_and_again() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, ..often() }).await?;
    let client = cluster.client().await?;
    let mut expected = stamp(0, LENGTH).to_vec();
    client.put(&file(), expected.clone().into(), CreateOptions::default()).await?;
    for number in 0..300 {
        overwrite(&client, &mut expected, number).await?;
    }
    // Somebody has it open meanwhile, and learns by reading that its blocks are others.
    let reader = client.open(&file()).await?;
    let mut content = vec![0; LENGTH];
    ensure!(reader.read_at(0, &mut content).await? == LENGTH && content == expected);
    until("the pieces are joined", async || Ok(extents(&client).await? < 16)).await?;
    same(&client, &expected).await?;
    let before = client.stat(&file()).await?;
    // What held the bytes before leaves the disks.
    until("only what the file is in is left", async || Ok(cluster.replicas("dn1")?.len() < 16)).await?;
    ensure!(client.stat(&file()).await? == before, "nobody sees it");
    ensure!(reader.read_at(0, &mut content).await? == LENGTH && content == expected, "an open file is read on");
    cluster.ashlar(&["admin", "fsck", "--blocks", "--verify"])?;
    let standing = cluster.ashlar(&["admin", "job", "standing"])?;
    ensure!(standing.contains("compaction"), "{standing}");
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_survives_lost_leaders_and_datanodes_and_leaves_nothing_behind() -> Result<()> {
    let mut cluster = Cluster::start(Options { datanodes: 4, ..often() }).await?;
    let client = cluster.client().await?;
    let mut expected = stamp(0, LENGTH).to_vec();
    client.put(&file(), expected.clone().into(), CreateOptions::default()).await?;
    for round in 0..4 {
        for number in 0..60 {
            overwrite(&client, &mut expected, round * 1000 + number).await?;
        }
        let lost = if round % 2 == 0 { cluster.leader().await? } else { "dn2".to_owned() };
        cluster.kill(&lost)?;
        for number in 60..80 {
            overwrite(&client, &mut expected, round * 1000 + number).await?;
        }
        same(&client, &expected).await?;
        cluster.spawn(&lost)?;
    }
    until("the pieces are joined", async || Ok(extents(&client).await? < 40)).await?;
    same(&client, &expected).await?;
    let held = extents(&client).await?;
    // Blocks that were in no file yet go with the session of the leader that was lost.
    until("no block is left behind", async || {
        let statuses = client.admin().status().await;
        let blocks = statuses.into_iter().filter_map(|(_, status)| status.ok()).map(|status| status.blocks).max();
        Ok(blocks.is_some_and(|blocks| blocks <= held))
    })
    .await?;
    cluster.ashlar(&["admin", "fsck", "--blocks", "--verify"])?;
    cluster.finish(&[]).await
}
