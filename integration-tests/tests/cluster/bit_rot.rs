//! Bytes change on a disk.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::Result;
use client::CreateOptions;
use integration_tests::{Cluster, Options, Pattern, check_content, until};
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
