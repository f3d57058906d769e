//! A datanode dies while a block is completed on it: before the bytes are synced, before the replica gets its name, before the
//! name is synced.

use anyhow::{Context, Result};
use client::CreateOptions;
use integration_tests::{Cluster, Options, Pattern, Tampering, check_content, no_strace_here, skipped, until};
use types::Path;

const LENGTH: usize = 300_000;
/// The calls of a finish, and at which of them the datanode dies: the first sync is that of the replica.
const STEPS: [(&str, &str); 3] =
    [("fdatasync", "before the sync"), ("rename", "before the name"), ("fsync", "before the name is synced")];

fn holds_unfinished(cluster: &Cluster, name: &str) -> Result<bool> {
    Ok(std::fs::read_dir(cluster.root().join(name).join("writing"))?.next().is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datanode_killed_at_each_step_of_a_finish_is_missed_by_nobody() -> Result<()> {
    if skipped("a_datanode_killed_at_each_step_of_a_finish_is_missed_by_nobody", &[no_strace_here()]) {
        return Ok(());
    }
    let options = Options { namenodes: 1, ..Options::default() }
        .fast_repair()
        .with("ASHLAR_NAMENODE__DIGEST_INTERVAL", "2s")
        .with("ASHLAR_DATANODE__INVENTORY_INTERVAL", "2s");
    let mut cluster = Cluster::start(options).await?;
    let client = cluster.client().await?;
    // Every datanode is in every chain of three, at whatever place.
    for (at, victim) in ["dn1", "dn2", "dn3"].into_iter().enumerate() {
        let (call, when) = STEPS[at];
        let calls = if call == "rename" { "rename,renameat,renameat2" } else { call };
        let path = Path::parse(format!("/{call}").as_bytes())?;
        let mut writer = client.create(&path, CreateOptions::default()).await?;
        writer.write(Pattern(at as u64).bytes(0, LENGTH)).await?;
        writer.flush().await?;
        let tampering = Tampering::with(cluster.pid(victim)?, calls, "signal=KILL", None).await?;
        writer.close().await.with_context(|| format!("{victim} dies {when}"))?;
        cluster.gone(victim).await?;
        drop(tampering);
        check_content(&mut client.open(&path).await?, Pattern(at as u64), LENGTH as u64).await?;
        cluster.spawn(victim)?;
        until("every block has its copies, and nothing is left half-done", async || {
            let is_clean = cluster.replicas(victim)?.len() == at + 1 && !holds_unfinished(&cluster, victim)?;
            Ok(is_clean && cluster.is_whole())
        })
        .await
        .with_context(|| format!("{victim} died {when}: {:?}", cluster.replicas(victim)))?;
    }
    // Each alone has everything.
    cluster.kill("dn1")?;
    cluster.kill("dn2")?;
    for (at, (call, _)) in STEPS.into_iter().enumerate() {
        let path = Path::parse(format!("/{call}").as_bytes())?;
        check_content(&mut client.open(&path).await?, Pattern(at as u64), LENGTH as u64).await?;
    }
    client.close().await?;
    cluster.finish(&[]).await
}
