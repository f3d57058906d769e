//! How many copies files have is changed later.

use anyhow::{Result, ensure};
use client::CreateOptions;
use integration_tests::{Cluster, Options, Pattern, check_content, until};
use types::{ByteSize, Path};

const PIECE: usize = 1 << 20;
const BLOCKS: usize = 3;

/// The replicas of all blocks on all disks.
fn replicas(cluster: &Cluster) -> Result<usize> {
    let datanodes = cluster.names().into_iter().filter(|name| name.starts_with("dn"));
    datanodes.map(|name| Ok(cluster.replicas(&name)?.len())).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_added_and_taken_away_and_the_bytes_stay() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 4, ..Options::default() }.fast_repair()).await?;
    let client = cluster.client().await?;
    let path = Path::parse(b"/d/f")?;
    let options = CreateOptions { block_size: Some(ByteSize::mib(1)), parents: true, ..CreateOptions::default() };
    client.put(&path, Pattern(7).bytes(0, BLOCKS * PIECE), options).await?;
    ensure!(replicas(&cluster)? == 3 * BLOCKS);
    ensure!(!cluster.ashlar_raw(&["fs", "setrep", "2", "/d"]).status.success(), "a directory takes -R");
    for (wanted, path) in [("4", "/d/f"), ("2", "/d"), ("1", "/d/f"), ("3", "/d")] {
        cluster.ashlar(&["fs", "setrep", "-R", "-w", wanted, path])?;
        let expected = wanted.parse::<usize>()? * BLOCKS;
        until("the disks have as many copies", async || Ok(replicas(&cluster)? == expected)).await?;
    }
    check_content(&mut client.open(&path).await?, Pattern(7), (BLOCKS * PIECE) as u64).await?;
    cluster.finish(&[]).await
}
