//! A datanode is slow, or stopped for so long that its blocks are made anew.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use client::{AppendOptions, Client, CreateOptions};
use integration_tests::{Cluster, Options, Pattern, Tampering, check_content, no_strace_here, skipped, until};
use types::{ByteSize, Path};

const PIECE: usize = 1 << 20;
/// A disk that takes so long for every write takes minutes for the whole file.
const DELAY: &str = "delay_enter=3s";
const SLOW: Duration = Duration::from_secs(60);

/// Reading goes on at once elsewhere, and writing ends in time: a disk that hangs is no reason to wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_holds_nobody_up_for_long() -> Result<()> {
    if skipped("a_slow_disk_holds_nobody_up_for_long", &[no_strace_here()]) {
        return Ok(());
    }
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 4, ..Options::default() }.fast_repair()).await?;
    let client = cluster.client().await?;
    let path = Path::parse(b"/slow")?;
    let options = || CreateOptions { block_size: Some(ByteSize::mib(2)), overwrite: true, ..CreateOptions::default() };
    client.put(&path, Pattern(1).bytes(0, 8 * PIECE), options()).await?;

    let calls = "pwrite64,fdatasync,sendfile,pread64";
    let tampering = Tampering::with(cluster.pid("dn2")?, calls, DELAY, None).await?;
    let begun = Instant::now();
    check_content(&mut client.open(&path).await?, Pattern(1), 8 * PIECE as u64).await?;
    ensure!(begun.elapsed() < SLOW, "reading took {:?}", begun.elapsed());

    let begun = Instant::now();
    let mut writer = client.create(&path, options()).await?;
    for piece in 0..8 {
        writer.write(Pattern(2).bytes(piece * PIECE as u64, PIECE)).await?;
    }
    writer.close().await?;
    ensure!(begun.elapsed() < SLOW, "writing took {:?}", begun.elapsed());
    drop(tampering);
    check_content(&mut client.open(&path).await?, Pattern(2), 8 * PIECE as u64).await?;
    until("every block has its copies", async || Ok(cluster.is_whole())).await?;
    client.close().await?;
    cluster.finish(&[]).await
}

fn path(file: u64) -> Path {
    Path::parse(format!("/f{file}").as_bytes()).expect("a plain name")
}

/// How many replicas of each block are on the disks, by the names of their files.
fn replicas(cluster: &Cluster, of: &[&str]) -> Result<BTreeMap<String, usize>> {
    let mut found = BTreeMap::new();
    for name in of {
        for replica in cluster.replicas(name)? {
            let name = replica.file_name().unwrap_or_default().to_string_lossy().into_owned();
            *found.entry(name).or_default() += 1;
        }
    }
    Ok(found)
}

async fn changed(client: &Client) -> Result<()> {
    // One file gets longer, one is replaced, one is removed, while the datanode does not see it.
    let mut writer = client.append(&path(0), AppendOptions::default()).await?;
    writer.write(Pattern(0).bytes(PIECE as u64, PIECE)).await?;
    writer.close().await?;
    let options = CreateOptions { overwrite: true, ..CreateOptions::default() };
    client.put(&path(1), Pattern(11).bytes(0, PIECE), options).await?;
    Ok(client.delete(&path(2), false).await?)
}

async fn check(client: &Client) -> Result<()> {
    check_content(&mut client.open(&path(0)).await?, Pattern(0), 2 * PIECE as u64).await?;
    check_content(&mut client.open(&path(1)).await?, Pattern(11), PIECE as u64).await?;
    check_content(&mut client.open(&path(3)).await?, Pattern(3), PIECE as u64).await
}

/// With the settings of production that is ten minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_datanode_that_was_stopped_until_it_was_made_up_for_serves_nothing_old_and_gives_up_what_is_too_much()
-> Result<()> {
    let options = Options { namenodes: 1, datanodes: 4, ..Options::default() }
        .fast_repair()
        .with("ASHLAR_NAMENODE__DIGEST_INTERVAL", "2s")
        .with("ASHLAR_DATANODE__INVENTORY_INTERVAL", "2s");
    let mut cluster = Cluster::start(options).await?;
    let client = cluster.client().await?;
    for file in 0..4 {
        let options = CreateOptions { block_size: Some(ByteSize::kib(256)), ..CreateOptions::default() };
        client.put(&path(file), Pattern(file).bytes(0, PIECE), options).await?;
    }
    // With a file of its own in the middle of a block.
    let mut open = client.create(&path(4), CreateOptions::default()).await?;
    open.write(Pattern(4).bytes(0, PIECE)).await?;
    open.flush().await?;
    cluster.pause("dn2")?;
    changed(&client).await?;
    open.write(Pattern(4).bytes(PIECE as u64, PIECE)).await?;
    open.close().await?;
    until("its blocks are made anew", async || {
        Ok(replicas(&cluster, &["dn1", "dn3", "dn4"])?.values().all(|copies| *copies == 3) && cluster.is_whole())
    })
    .await?;
    cluster.resume("dn2")?;
    check(&client).await?;
    until("every block has three copies on disks, and none is left over", async || {
        let found = replicas(&cluster, &["dn1", "dn2", "dn3", "dn4"])?;
        Ok(found.values().all(|copies| *copies == 3) && cluster.is_whole())
    })
    .await?;
    // What it has now is as good as any other's.
    cluster.kill("dn1")?;
    cluster.kill("dn3")?;
    check(&client).await?;
    check_content(&mut client.open(&path(4)).await?, Pattern(4), 2 * PIECE as u64).await?;
    client.close().await?;
    cluster.finish(&[]).await
}
