//! The power goes right after something was acknowledged: everything that no sync had asked for is gone from every disk, that
//! of the namenode too.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use client::{Client, CreateOptions, Durability, FileWriter};
use integration_tests::{Cluster, Options, Pattern, check_content, no_disks_here, skipped, until};
use serde_json::Value;
use types::{ByteSize, Path};

const NODES: [&str; 4] = ["nn1", "dn1", "dn2", "dn3"];
const LENGTH: u64 = 700_000;
/// What is written and not synced when the power goes.
const LOOSE: u64 = 300_000;

/// What is written last.
#[derive(Debug, Clone, Copy)]
enum Last {
    /// A file of the level, closed.
    Close(Durability),
    /// A sync of a file of level close.
    Sync,
    /// A flush of a file of level always.
    Flush,
}

fn options() -> Options {
    let small = |options: Options, name| options.on_disk(name, if name == "nn1" { 192 } else { 96 });
    let options = Options { namenodes: 1, ..Options::default() }
        .fast_repair()
        .with("ASHLAR_DATANODE__RESERVE", "4MiB")
        .with("ASHLAR_NAMENODE__BLOCK_SIZE", "1MiB")
        .with("ASHLAR_NAMENODE__SESSION_TIMEOUT", "5s")
        .with("ASHLAR_NAMENODE__RECOVERY_PATIENCE", "3s");
    NODES.into_iter().fold(options, small)
}

fn path(name: &str) -> Path {
    Path::parse(format!("/{name}").as_bytes()).expect("a plain name")
}

async fn written(client: &Client, name: &str, pattern: Pattern, level: Durability) -> Result<FileWriter> {
    let options =
        CreateOptions { block_size: Some(ByteSize::kib(512)), durability: Some(level), ..CreateOptions::default() };
    let mut writer = client.create(&path(name), options).await?;
    writer.write(pattern.bytes(0, LENGTH as usize)).await?;
    Ok(writer)
}

/// Nothing reaches a disk any more, then every process dies, and everything starts from what the disks hold.
async fn lose_power(cluster: &mut Cluster) -> Result<()> {
    for name in NODES {
        cluster.disk(name)?.cut_power()?;
    }
    cluster.kill_all()?;
    for name in NODES {
        cluster.disk(name)?.remount()?;
        cluster.spawn(name)?;
    }
    // Not until it is healthy: blocks of level memory may be lost for good.
    until("all datanodes are there", async || {
        let report = cluster.ashlar_raw(&["admin", "report", "--json"]);
        let Ok(report) = serde_json::from_slice::<Value>(&report.stdout) else { return Ok(false) };
        let datanodes = report["datanodes"].as_array().context("an array")?;
        Ok(datanodes.iter().filter(|datanode| datanode["state"] == "alive").count() == 3)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_at_its_level_is_there_after_a_power_loss() -> Result<()> {
    if skipped("what_was_acknowledged_at_its_level_is_there_after_a_power_loss", &[no_disks_here()]) {
        return Ok(());
    }
    let mut cluster = Cluster::start(options()).await?;
    // Complete files, and what of each must be there.
    let mut kept: BTreeMap<&str, (Pattern, u64)> = BTreeMap::new();
    let rounds = [
        ("closed", Last::Close(Durability::Close)),
        ("synced", Last::Sync),
        ("always", Last::Close(Durability::Always)),
        ("flushed", Last::Flush),
        ("memory", Last::Close(Durability::Memory)),
    ];
    for (seed, (name, last)) in (1..).zip(rounds) {
        let client = cluster.client().await?;
        let pattern = Pattern(seed);
        let loose = format!("{name}-loose");
        // Others write at the same time, and were promised nothing.
        let _unfinished = written(&client, &loose, Pattern(100 + seed), Durability::Close).await?;
        let open = match last {
            Last::Close(level) => {
                written(&client, name, pattern, level).await?.close().await?;
                None
            }
            Last::Sync => {
                let mut writer = written(&client, name, pattern, Durability::Close).await?;
                writer.sync().await?;
                Some(writer)
            }
            Last::Flush => {
                let mut writer = written(&client, name, pattern, Durability::Always).await?;
                writer.flush().await?;
                Some(writer)
            }
        };
        lose_power(&mut cluster).await?;

        let client = cluster.client().await?;
        match last {
            Last::Close(Durability::Memory) => never_other_bytes(&client, name, pattern).await?,
            Last::Close(Durability::Close | Durability::Always) => {
                kept.insert(name, (pattern, LENGTH));
            }
            Last::Sync | Last::Flush => {
                client.recover_lease(&path(name), true).await.context("its writer is gone")?;
                let length = client.stat(&path(name)).await?.length.get();
                ensure!((LENGTH..=LENGTH + LOOSE).contains(&length), "{name} has {length} bytes");
                kept.insert(name, (pattern, length));
            }
        }
        drop(open);
        for (name, (pattern, length)) in &kept {
            let mut reader = client.open(&path(name)).await?;
            check_content(&mut reader, *pattern, *length).await.with_context(|| format!("{name} after {last:?}"))?;
        }
        client
            .put(&path("fresh"), pattern.bytes(0, 100_000), CreateOptions { overwrite: true, ..Default::default() })
            .await?;
        client.close().await?;
    }
    cluster
        .finish(&[
            "the volume has failed",
            "the datanode failed",
            "stable storage failed",
            "panicked at",
            "the namenode failed",
            "lines of the audit log are lost",
        ])
        .await
}

/// A file of level memory may have lost everything. What is read of it is what was written, or an error.
async fn never_other_bytes(client: &Client, name: &str, pattern: Pattern) -> Result<()> {
    let mut reader = client.open(&path(name)).await?;
    ensure!(reader.attributes().length.get() == LENGTH, "its length is what was acknowledged");
    let mut at = 0;
    while let Ok(Some(chunk)) = reader.next_chunk().await {
        let whole = pattern.bytes(0, LENGTH as usize);
        ensure!(chunk == whole[at..at + chunk.len()], "{name} has other bytes behind {at}");
        at += chunk.len();
    }
    Ok(())
}
