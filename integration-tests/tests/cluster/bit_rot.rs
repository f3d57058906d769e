//! Bytes change on a disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use client::{Client, CreateOptions};
use integration_tests::{Cluster, Options, Pattern, check_content, until};
use serde_json::Value;
use types::{ByteSize, Path};

const BLOCKS: u64 = 48;

#[tokio::test(flavor = "multi_thread")]
async fn damaged_replicas_are_read_around_reported_and_replaced() -> Result<()> {
    let cluster = Cluster::start(Options { datanodes: 4, ..Options::default() }.fast_repair()).await?;
    let client = cluster.client().await?;
    let path = Path::parse(b"/rotten")?;
    let options = CreateOptions { block_size: Some(ByteSize::mib(1)), ..CreateOptions::default() };
    client.put(&path, Pattern(7).bytes(0, (BLOCKS << 20) as usize), options).await?;

    // Of so many blocks, some are read from this node first.
    let damaged = cluster.replicas("dn1")?;
    assert!(damaged.len() > 10, "dn1 holds {} replicas", damaged.len());
    for replica in &damaged {
        let file = File::options().read(true).write(true).open(replica)?;
        // In the last chunk of the data, which ends the file.
        let place = file.metadata()?.len() - 100;
        let mut byte = [0];
        file.read_exact_at(&mut byte, place)?;
        file.write_all_at(&[byte[0] ^ 1], place)?;
    }
    check_content(&mut client.open(&path).await?, Pattern(7), BLOCKS << 20).await?;

    let is_whole = |replica: &std::path::Path| -> Result<bool> {
        let now = std::fs::read(replica);
        Ok(now.is_err())
    };
    until("a damaged replica is reported and removed", async || {
        Ok(damaged.iter().map(|replica| is_whole(replica)).collect::<Result<Vec<_>>>()?.contains(&true))
    })
    .await?;
    check_content(&mut client.open(&path).await?, Pattern(7), BLOCKS << 20).await?;
    cluster.finish(&[]).await
}

/// Flips a bit, so far from the beginning or, if negative, from the end of a file.
fn flip(replica: &std::path::Path, place: i64) -> Result<()> {
    let file = File::options().read(true).write(true).open(replica)?;
    let place = if place < 0 { file.metadata()?.len() - place.unsigned_abs() } else { place.unsigned_abs() };
    let mut byte = [0];
    file.read_exact_at(&mut byte, place)?;
    Ok(file.write_all_at(&[byte[0] ^ 1], place)?)
}

/// A file of one-MiB blocks, and the replicas that a datanode has of it.
async fn stored(cluster: &Cluster, client: &Client) -> Result<Vec<PathBuf>> {
    let options = CreateOptions { block_size: Some(ByteSize::mib(1)), ..CreateOptions::default() };
    client.put(&Path::parse(b"/rotten")?, Pattern(7).bytes(0, (BLOCKS << 20) as usize), options).await?;
    let replicas = cluster.replicas("dn1")?;
    ensure!(replicas.len() >= 9, "dn1 holds {} replicas", replicas.len());
    Ok(replicas)
}

/// Nobody reads the file, and no datanode is asked.
#[tokio::test(flavor = "multi_thread")]
async fn damage_in_data_table_and_header_is_found_by_the_scrubber_and_replaced() -> Result<()> {
    let options = Options { namenodes: 1, datanodes: 4, ..Options::default() }
        .fast_repair()
        .with("ASHLAR_DATANODE__SCRUB_INTERVAL", "4s");
    let cluster = Cluster::start(options).await?;
    let client = cluster.client().await?;
    let replicas = stored(&cluster, &client).await?;
    // In the header, the first words of the table, and the data.
    let damaged: Vec<_> = replicas.iter().take(9).zip([50, 4100, -100].into_iter().cycle()).collect();
    for (replica, place) in &damaged {
        flip(replica, *place)?;
    }
    until("every damaged replica is gone, and made up for", async || {
        Ok(damaged.iter().all(|(replica, _)| !replica.exists()) && cluster.is_redundant()?)
    })
    .await?;
    check_content(&mut client.open(&Path::parse(b"/rotten")?).await?, Pattern(7), BLOCKS << 20).await?;
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_that_is_asked_for_tells_what_it_found() -> Result<()> {
    let cluster = Cluster::start(Options { datanodes: 4, ..Options::default() }.fast_repair()).await?;
    let client = cluster.client().await?;
    let replicas = stored(&cluster, &client).await?;
    for replica in &replicas[..3] {
        flip(replica, -100)?;
    }
    let found: Value = serde_json::from_str(&cluster.ashlar(&["admin", "scrub", "--json"])?)?;
    ensure!(found["bad"] == 3 && found["checked"] == found["bytes"], "{found}");
    ensure!(found["datanodes"].as_array().is_some_and(|nodes| nodes.len() == 4), "{found}");
    until("every damaged replica is gone, and made up for", async || {
        Ok(replicas[..3].iter().all(|replica| !replica.exists()) && cluster.is_redundant()?)
    })
    .await?;
    let node = found["datanodes"][0]["node"].to_string();
    let again = cluster.ashlar(&["admin", "scrub", &node])?;
    ensure!(again.contains("on 1 datanode, 0 damaged replicas found"), "{again}");
    let refused = cluster.ashlar_raw(&["admin", "scrub", "999999"]);
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("no datanode 999999 has registered"), "{refused:?}");
    cluster.finish(&[]).await
}
