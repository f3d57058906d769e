//! Datanodes are killed, for a while and for good.

use anyhow::{Context, Result};
use client::CreateOptions;
use integration_tests::{Cluster, Options, Pattern, check_content, until};
use types::{ByteSize, Path};

const PIECE: usize = 1 << 20;
const PIECES: u64 = 64;

#[tokio::test(flavor = "multi_thread")]
async fn a_write_goes_on_without_a_killed_datanode_and_is_repaired() -> Result<()> {
    let mut cluster = Cluster::start(Options::default().fast_repair()).await?;
    let client = cluster.client().await?;
    let path = Path::parse(b"/written")?;
    let pattern = Pattern(2);

    let options = CreateOptions { block_size: Some(ByteSize::mib(16)), ..CreateOptions::default() };
    let mut writer = client.create(&path, options).await?;
    for piece in 0..PIECES {
        if piece == PIECES / 4 + 5 {
            cluster.kill("dn2")?;
        }
        writer.write(pattern.bytes(piece * PIECE as u64, PIECE)).await?;
    }
    writer.close().await?;
    check_content(&mut client.open(&path).await?, pattern, PIECES * PIECE as u64).await?;

    cluster.spawn("dn2")?;
    until("all replicas are there again", async || cluster.is_redundant()).await?;

    // The repaired replicas alone are enough.
    cluster.kill("dn1")?;
    cluster.kill("dn3")?;
    check_content(&mut client.open(&path).await?, pattern, PIECES * PIECE as u64).await?;
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_goes_on_when_its_datanode_is_killed() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let client = cluster.client().await?;
    let path = Path::parse(b"/read")?;
    let pattern = Pattern(3);
    client.put(&path, pattern.bytes(0, PIECES as usize * PIECE), CreateOptions::default()).await?;

    // Two of three die, one after the other: whichever is being read from, it is hit.
    let mut reader = client.open(&path).await?;
    let mut whole = Vec::with_capacity(PIECES as usize * PIECE);
    let mut victims = ["dn1", "dn3"].into_iter();
    while let Some(chunk) = reader.next_chunk().await? {
        whole.extend_from_slice(&chunk);
        if whole.len() > whole.capacity() / 4 * (3 - victims.len())
            && let Some(victim) = victims.next()
        {
            cluster.kill(victim)?;
        }
    }
    assert!(whole == pattern.bytes(0, PIECES as usize * PIECE), "the bytes differ");
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_blocks_of_a_dead_datanode_are_made_anew() -> Result<()> {
    let mut cluster = Cluster::start(Options { datanodes: 4, ..Options::default() }.fast_repair()).await?;
    let client = cluster.client().await?;
    let options = || CreateOptions { block_size: Some(ByteSize::mib(1)), ..CreateOptions::default() };
    let paths: Vec<_> = (0..8).map(|at| Path::parse(format!("/f{at}").as_bytes())).collect::<Result<_, _>>()?;
    for (at, path) in paths.iter().enumerate() {
        client.put(path, Pattern(at as u64).bytes(0, 4 * PIECE), options()).await?;
    }
    cluster.kill("dn1")?;
    until("the replicas of dn1 are missed", async || cluster.is_short()).await?;
    until("all replicas are there again", async || cluster.is_redundant()).await?;

    // Three good copies on the other three: any one of them is enough.
    cluster.kill("dn2")?;
    cluster.kill("dn3")?;
    for (at, path) in paths.iter().enumerate() {
        check_content(&mut client.open(path).await?, Pattern(at as u64), 4 * PIECE as u64).await?;
    }
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_rack_is_lost_and_every_file_is_read_and_written() -> Result<()> {
    const RACKS: [(&str, [&str; 2]); 2] = [("/a", ["dn1", "dn2"]), ("/b", ["dn3", "dn4"])];
    let mut options = Options { namenodes: 1, datanodes: 4, ..Options::default() }.fast_repair();
    for (rack, names) in RACKS {
        for name in names {
            options = options.set(name, format!("datanode.rack={rack}"));
        }
    }
    let mut cluster = Cluster::start(options).await?;
    let client = cluster.client().await?;
    let options = || CreateOptions { block_size: Some(ByteSize::kib(256)), ..CreateOptions::default() };
    let path = |at: u64| Path::parse(format!("/f{at}").as_bytes());
    let mut files = 0;
    for (rack, names) in RACKS {
        for _ in 0..4 {
            client.put(&path(files)?, Pattern(files).bytes(0, PIECE), options()).await?;
            files += 1;
        }
        for name in names {
            cluster.kill(name)?;
        }
        // With no copy of any block on the other rack, nothing could be read.
        for file in 0..files {
            let checked = check_content(&mut client.open(&path(file)?).await?, Pattern(file), PIECE as u64).await;
            checked.with_context(|| format!("file {file} without {rack}"))?;
        }
        client.put(&path(files)?, Pattern(files).bytes(0, PIECE), options()).await?;
        files += 1;
        for name in names {
            cluster.spawn(name)?;
        }
        until("every block has its copies", async || Ok(cluster.is_whole())).await?;
    }
    client.close().await?;
    cluster.finish(&[]).await
}
