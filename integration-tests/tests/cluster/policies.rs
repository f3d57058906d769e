//! Values for the whole cluster hold at once, outlive the leader, and go over what namenodes are configured with.

use anyhow::{Context, Result, ensure};
use integration_tests::{Cluster, Options, until};
use serde_json::Value;

fn policy(cluster: &Cluster, name: &str) -> Result<Value> {
    let all: Value = serde_json::from_str(&cluster.ashlar(&["admin", "policy", "ls", "--json"])?)?;
    let found = all.as_array().context("an array")?.iter().find(|policy| policy["name"] == name);
    Ok(found.context("a policy")?.clone())
}

fn put(cluster: &Cluster, name: &str) -> Result<Value> {
    let local = cluster.root().join("local");
    std::fs::write(&local, vec![7; 100_000])?;
    cluster.ashlar(&["fs", "put", local.to_str().context("a plain name")?, name])?;
    let stat: Value = serde_json::from_str(&cluster.ashlar(&["fs", "stat", "--json", name])?)?;
    Ok(stat[0].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_holds_at_once_and_outlives_the_leader() -> Result<()> {
    let mut cluster = Cluster::start(Options::default().fast_repair()).await?;
    ensure!(put(&cluster, "/before")?["replication"] == 3);
    cluster.ashlar(&["admin", "policy", "set", "replication", "2"])?;
    cluster.ashlar(&["admin", "policy", "set", "block_size", "1MiB"])?;
    cluster.ashlar(&["admin", "policy", "set", "trash_expiry", "0s"])?;
    let after = put(&cluster, "/after")?;
    ensure!(after["replication"] == 2 && after["block_size"] == 1 << 20, "{after}");
    cluster.ashlar(&["fs", "rm", "/after"])?;
    let trash = cluster.ashlar(&["fs", "trash", "ls", "--json"])?;
    ensure!(!trash.contains("/after"), "there is no trash any more: {trash}");

    let leader = cluster.leader().await?;
    cluster.kill(&leader)?;
    until("another namenode serves", async || Ok(put(&cluster, "/later").is_ok())).await?;
    ensure!(put(&cluster, "/later2")?["replication"] == 2);
    ensure!(policy(&cluster, "replication")?["set"] == 2);
    cluster.ashlar(&["admin", "policy", "unset", "replication"])?;
    ensure!(put(&cluster, "/last")?["replication"] == 3);
    let nonsense = [("replication", "0", 1), ("replication", "many", 2), ("block_size", "5000", 1), ("colour", "1", 2)];
    for (name, value, code) in nonsense {
        let refused = cluster.ashlar_raw(&["admin", "policy", "set", name, value]);
        ensure!(refused.status.code() == Some(code), "{name} {value}: {refused:?}");
    }
    cluster.spawn(&leader)?;
    cluster.until_healthy().await?;
    cluster.finish(&[]).await
}
