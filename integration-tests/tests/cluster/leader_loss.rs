//! The leader is killed under load.

use anyhow::Result;
use client::CreateOptions;
use integration_tests::{Cluster, Options, Pattern, check_content, until};
use types::{ByteSize, Path};

const PIECE: usize = 1 << 20;
const PIECES: u64 = 48;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_written_and_read_while_leaders_are_killed() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let client = cluster.client().await?;
    let path = Path::parse(b"/written")?;
    let pattern = Pattern(1);

    // Small blocks: the writer needs the leader for each of them.
    let options = CreateOptions { block_size: Some(ByteSize::mib(4)), ..CreateOptions::default() };
    let mut writer = client.create(&path, options).await?;
    let first = cluster.leader().await?;
    for piece in 0..PIECES {
        if piece == PIECES / 3 {
            cluster.kill(&first)?;
        }
        writer.write(pattern.bytes(piece * PIECE as u64, PIECE)).await?;
    }
    let attributes = writer.close().await?;
    assert_eq!(attributes.length, ByteSize::new(PIECES * PIECE as u64));

    cluster.spawn(&first)?;
    let second = cluster.leader().await?;
    let mut reader = client.open(&path).await?;
    let mut whole = Vec::with_capacity(PIECES as usize * PIECE);
    while let Some(chunk) = reader.next_chunk().await? {
        let before = whole.len();
        whole.extend_from_slice(&chunk);
        let middle = whole.capacity() / 2;
        if before < middle && whole.len() >= middle {
            cluster.kill(&second)?;
        }
    }
    assert!(whole == pattern.bytes(0, PIECES as usize * PIECE), "the bytes differ");

    cluster.spawn(&second)?;
    check_content(&mut client.open(&path).await?, pattern, PIECES * PIECE as u64).await?;
    client.close().await?;
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_name_is_there_after_the_leader_died() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let client = cluster.client().await?;
    let leader = cluster.leader().await?;

    // Many at a time, so that some are in flight when the leader dies.
    let mut writers = Vec::new();
    for worker in 0..16_u64 {
        let client = client.clone();
        writers.push(tokio::spawn(async move {
            for number in 0..25 {
                let path = Path::parse(format!("/w{worker}/f{number}").as_bytes())?;
                let options = CreateOptions { parents: true, ..CreateOptions::default() };
                client.put(&path, Pattern(worker).bytes(0, 100), options).await?;
            }
            anyhow::Ok(())
        }));
    }
    until("some files are there", async || Ok(cluster.ashlar(&["fs", "ls", "/"])?.lines().count() > 4)).await?;
    cluster.kill(&leader)?;
    for writer in writers {
        writer.await??;
    }
    cluster.spawn(&leader)?;

    let root = client.stat(&Path::root()).await?.usage.expect("directories have their usage");
    assert_eq!((root.files, root.directories, root.bytes), (16 * 25, 16, 16 * 25 * 100));
    client.close().await?;
    cluster.finish(&[]).await
}
