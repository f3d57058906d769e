//! Values for the whole cluster hold at once, outlive the leader, and go over what namenodes are configured with.

use anyhow::{Context, Result, ensure};
use integration_tests::http::get;
use integration_tests::{Cluster, Options, until};
use serde_json::Value;

use crate::web;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_safe_mode_everything_is_read_and_nothing_changed() -> Result<()> {
    let mut cluster = Cluster::start(Options { datanodes: 4, ..Options::default() }.fast_repair()).await?;
    put(&cluster, "/kept")?;
    put(&cluster, "/removed")?;
    cluster.ashlar(&["fs", "rm", "--skip-trash", "/removed"])?;
    until("what was removed is gone", async || Ok(replicas(&cluster)? == 3)).await?;
    ensure!(cluster.ashlar(&["admin", "safemode", "enter"])?.contains("is on"));
    health_names_safe_mode(&cluster).await?;
    let refused = cluster.ashlar_raw(&["fs", "mkdir", "/new"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && said.contains("admin safemode leave"), "{said}");
    let read = cluster.ashlar_raw(&["fs", "cat", "/kept"]);
    ensure!(read.status.success() && read.stdout == vec![7; 100_000], "it is read");

    // The leader dies, and a datanode: nothing is copied for that, as long as it is safe mode.
    let leader = cluster.leader().await?;
    cluster.kill(&leader)?;
    let holder = ["dn1", "dn2", "dn3", "dn4"]
        .into_iter()
        .find(|node| cluster.replicas(node).is_ok_and(|replicas| !replicas.is_empty()));
    let holder = holder.context("somebody has it")?;
    cluster.kill(holder)?;
    until("the loss is known", async || {
        let status = cluster.ashlar_raw(&["admin", "status", "--json"]);
        let status: Value = serde_json::from_slice(&status.stdout)?;
        Ok(status["redundancy"]["under_replicated"] == 1)
    })
    .await?;
    ensure!(cluster.ashlar(&["admin", "safemode", "get"])?.contains("is on"));
    let silent = |cluster: &Cluster| -> Result<u64> {
        let report: Value = serde_json::from_str(&cluster.ashlar(&["admin", "report", "--json"])?)?;
        let nodes = report["datanodes"].as_array().context("an array")?;
        let lost = nodes.iter().find(|node| node["host"] == holder).context("it is known")?;
        lost["last_heartbeat_ms"].as_u64().context("a number")
    };
    until("it would have been repaired long ago", async || Ok(silent(&cluster)? > 8000)).await?;
    ensure!(replicas(&cluster)? == 3, "two that live, and the lost one");
    cluster.ashlar(&["admin", "safemode", "leave"])?;
    until("it is repaired", async || Ok(replicas(&cluster)? == 4)).await?;
    cluster.ashlar(&["fs", "mkdir", "/new"])?;
    cluster.spawn(holder)?;
    cluster.spawn(&leader)?;
    cluster.until_healthy().await?;
    cluster.finish(&[]).await
}

/// Whoever asks how the cluster is hears of it, and of the way out: the command line, a probe, a scrape, the doctor.
async fn health_names_safe_mode(cluster: &Cluster) -> Result<()> {
    let status = cluster.ashlar_raw(&["admin", "status", "--json"]);
    let told: Value = serde_json::from_slice(&status.stdout)?;
    let reasons = |told: &Value| Ok::<_, anyhow::Error>(told["reasons"].as_array().context("reasons")?.clone());
    let named = |reasons: &[Value]| {
        let reason =
            reasons.iter().filter_map(Value::as_str).find(|reason| reason.starts_with("safe mode is on since"));
        reason.is_some_and(|reason| reason.contains(", by ") && reason.contains("ashlar admin safemode leave"))
    };
    ensure!(status.status.code() == Some(3) && told["health"] == "degraded" && named(&reasons(&told)?), "{told}");
    let door = web::door(&cluster.root().join("node-nn1.toml"))?;
    // What is told over HTTP may be a second old.
    until("a probe and a scrape of any member say so", async || {
        let probe: Value = serde_json::from_slice(&get(door, "/healthz", &[]).await?.body)?;
        let numbers = get(door, "/metrics", &[]).await?.text();
        Ok(named(&reasons(&probe)?) && numbers.lines().any(|line| line == "ashlar_namenode_safe_mode 1"))
    })
    .await?;
    let doctor = cluster.ashlar_raw(&["admin", "doctor", "--json"]);
    let found: Value = serde_json::from_slice(&doctor.stdout)?;
    ensure!(doctor.status.code() == Some(3) && found[0]["cause"] == "safe-mode", "{found}");
    Ok(())
}

/// On all disks.
fn replicas(cluster: &Cluster) -> Result<usize> {
    ["dn1", "dn2", "dn3", "dn4"].iter().map(|node| Ok(cluster.replicas(node)?.len())).sum()
}
