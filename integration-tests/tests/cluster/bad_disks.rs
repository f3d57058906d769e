//! One disk of a datanode fails, becomes read-only, or is gone. The volume is taken out, its replicas are made anew elsewhere,
//! and nobody who reads or writes is told of it.

use anyhow::{Context, Result, ensure};
use client::{Client, CreateOptions};
use integration_tests::{
    Cluster, Options, Pattern, Tampering, check_content, no_disks_here, no_strace_here, skipped, until,
};
use types::{ByteSize, Path};

const FILES: u64 = 6;
const LENGTH: usize = 600_000;
const BAD: &str = "dn2";
/// What a datanode says that is left without a volume, and why it ends.
const EXPECTED: [&str; 2] = ["the volume has failed", "the datanode failed"];

fn options() -> Options {
    Options { namenodes: 1, datanodes: 4, ..Options::default() }.fast_repair().with("ASHLAR_DATANODE__RESERVE", "4MiB")
}

fn path(file: u64) -> Path {
    Path::parse(format!("/f{file}").as_bytes()).expect("a plain name")
}

async fn put(client: &Client, files: std::ops::Range<u64>) -> Result<()> {
    for file in files {
        let options = CreateOptions { block_size: Some(ByteSize::kib(256)), ..CreateOptions::default() };
        client.put(&path(file), Pattern(file).bytes(0, LENGTH), options).await?;
    }
    Ok(())
}

async fn check(client: &Client, files: std::ops::Range<u64>) -> Result<()> {
    for file in files {
        let checked = check_content(&mut client.open(&path(file)).await?, Pattern(file), LENGTH as u64).await;
        checked.with_context(|| format!("file {file}"))?;
    }
    Ok(())
}

/// Files are stored, the disk of one of four datanodes becomes bad, and all that should follow does.
async fn survives(mut cluster: Cluster, spoil: impl AsyncFnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    let client = cluster.client().await?;
    put(&client, 0..FILES).await?;
    ensure!(!cluster.replicas(BAD)?.is_empty(), "the disk holds something");
    spoil(&mut cluster).await?;
    // Reading and writing go on while nobody has noticed, and afterwards.
    check(&client, 0..FILES).await?;
    put(&client, FILES..2 * FILES).await?;
    cluster.gone(BAD).await.context("a datanode without a volume ends")?;
    until("the bad disk is dead", async || Ok(cluster.ashlar(&["admin", "report"])?.contains("dead"))).await?;
    until("every block has its copies elsewhere", async || Ok(cluster.is_whole())).await?;
    check(&client, 0..2 * FILES).await?;
    client.close().await?;
    cluster.finish(&EXPECTED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_is_taken_out_and_its_blocks_are_made_anew() -> Result<()> {
    if skipped("a_disk_that_fails_is_taken_out_and_its_blocks_are_made_anew", &[no_disks_here()]) {
        return Ok(());
    }
    // Every write, sync and rename on it is refused from one moment to the next.
    let cluster = Cluster::start(options().on_disk(BAD, 64)).await?;
    survives(cluster, async |cluster| cluster.disk(BAD)?.cut_power()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_becomes_read_only_is_taken_out_and_its_blocks_are_made_anew() -> Result<()> {
    if skipped("a_disk_that_becomes_read_only_is_taken_out_and_its_blocks_are_made_anew", &[no_disks_here()]) {
        return Ok(());
    }
    let cluster = Cluster::start(options().on_disk(BAD, 64)).await?;
    survives(cluster, async |cluster| {
        // While the last replica is being completed the kernel refuses.
        until("nobody writes", async || Ok(cluster.disk(BAD)?.make_read_only().is_ok())).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_gone_is_taken_out_and_its_mount_point_is_not_written_to() -> Result<()> {
    if skipped("a_disk_that_is_gone_is_taken_out_and_its_mount_point_is_not_written_to", &[no_disks_here()]) {
        return Ok(());
    }
    let cluster = Cluster::start(options().on_disk(BAD, 64)).await?;
    let point = cluster.root().join(BAD);
    survives(cluster, async |cluster| {
        cluster.disk(BAD)?.take_away()?;
        cluster.gone(BAD).await?;
        let left: Vec<_> = std::fs::read_dir(&point)?.collect();
        ensure!(left.is_empty(), "{left:?}");
        // It does not start on the empty directory either; with the disk it does.
        ensure!(cluster.spawn(BAD).is_err(), "an empty mount point is no volume");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_takes_the_volume_out_and_is_not_tried_again() -> Result<()> {
    if skipped("a_failed_sync_takes_the_volume_out_and_is_not_tried_again", &[no_strace_here()]) {
        return Ok(());
    }
    let cluster = Cluster::start(options()).await?;
    survives(cluster, async |cluster| {
        let pid = cluster.pid(BAD)?;
        let tampering = Tampering::with(pid, "fdatasync,fsync", "error=EIO:when=1", None).await?;
        let client = cluster.client().await?;
        // Until a replica goes there: one failed sync is enough, though the next would succeed.
        for round in 0.. {
            put(&client, 100 + round..101 + round).await?;
            if cluster.log_of(BAD).contains("the volume has failed") {
                break;
            }
            ensure!(round < 50, "no sync of {BAD} failed");
        }
        drop(tampering);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_cannot_be_read_is_read_elsewhere() -> Result<()> {
    if skipped("a_replica_that_cannot_be_read_is_read_elsewhere", &[no_strace_here()]) {
        return Ok(());
    }
    let cluster = Cluster::start(options()).await?;
    let client = cluster.client().await?;
    put(&client, 0..FILES).await?;
    let mut tampering = Vec::new();
    for name in ["dn1", "dn2"] {
        // Sockets are read by other calls.
        tampering.push(Tampering::with(cluster.pid(name)?, "pread64,preadv,sendfile", "error=EIO", None).await?);
    }
    check(&client, 0..FILES).await?;
    drop(tampering);
    client.close().await?;
    cluster.finish(&EXPECTED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_gets_no_more_blocks_and_takes_them_again_when_there_is_room() -> Result<()> {
    if skipped("a_full_disk_gets_no_more_blocks_and_takes_them_again_when_there_is_room", &[no_disks_here()]) {
        return Ok(());
    }
    // Three datanodes, so that the full one is missed.
    let options = Options { datanodes: 3, ..options() }.on_disk(BAD, 64);
    let cluster = Cluster::start(options).await?;
    let client = cluster.client().await?;
    put(&client, 0..2).await?;
    cluster.disk(BAD)?.fill(1 << 20)?;
    // It reserves 4 MiB: what does not fit is written on the two others, which is enough to close.
    put(&client, 2..FILES).await?;
    check(&client, 0..FILES).await?;
    cluster.disk(BAD)?.empty()?;
    until("every block has its third copy", async || Ok(cluster.is_whole())).await?;
    check(&client, 0..FILES).await?;
    client.close().await?;
    cluster.finish(&[]).await
}
