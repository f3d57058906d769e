//! Namenodes that come and go, as processes.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use integration_tests::{Cluster, Options, until};
use serde_json::Value;

fn members(cluster: &Cluster) -> Result<Vec<Value>> {
    let status: Value = serde_json::from_str(&cluster.ashlar(&["admin", "raft", "status", "--json"])?)?;
    Ok(status["members"].as_array().context("a list of members")?.clone())
}

fn voters(cluster: &Cluster) -> Result<Vec<u64>> {
    let voting = members(cluster)?.into_iter().filter(|member| member["voter"] == true);
    Ok(voting.filter_map(|member| member["node"].as_u64()).collect())
}

/// Makes one more namenode beside the others, and starts it: its name and where it listens.
fn join(cluster: &mut Cluster) -> Result<(String, String)> {
    let root = cluster.root();
    let seed = members(cluster)?.into_iter().find(|member| member["error"].is_null()).context("one that lives")?;
    let seed = seed["address"].as_str().context("an address")?.to_owned();
    let said = cluster.ashlar(&["init", root.to_str().context("a plain name")?, "--join", &seed])?;
    let address =
        said.lines().find_map(|line| line.trim().strip_prefix("ashlar admin raft add ")).context(said.clone())?;
    let node = said.strip_prefix("made the directory of namenode ").and_then(|rest| rest.split(';').next());
    let name = format!("nn{}", node.context("its number")?);
    cluster.spawn(&name)?;
    Ok((name, address.to_owned()))
}

/// A namenode dies with its disk, while files are written: another takes its place, and nobody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_namenode_is_replaced_under_load() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    cluster.ashlar(&["fs", "mkdir", "/load"])?;
    let content = cluster.root().join("content");
    std::fs::write(&content, "content")?;
    let put = |cluster: &Cluster, name: &str| {
        let path = format!("/load/{name}");
        cluster.ashlar(&["fs", "put", content.to_str().context("a plain name")?, &path])
    };
    put(&cluster, "before")?;
    cluster.kill("nn2")?;
    std::fs::remove_dir_all(cluster.root().join("nn2"))?;
    put(&cluster, "without")?;

    let (name, address) = join(&mut cluster)?;
    ensure!(name == "nn4", "{name}");
    // The load goes on in a process of its own until the members are others.
    let script = "for i in $(seq 1 20); do \"$0\" fs put \"$1\" /load/$i || exit 1; done";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(integration_tests::binary()).arg(&content);
    command.env("ASHLAR_CONFIG", cluster.root().join("client.toml"));
    let mut load = command.spawn()?;
    let added = cluster.ashlar(&["admin", "raft", "add", &address])?;
    ensure!(added.contains("namenode 4 votes"), "{added}");
    cluster.ashlar(&["admin", "raft", "remove", "2"])?;
    ensure!(voters(&cluster)? == [1, 3, 4], "{:?}", members(&cluster)?);
    let status = load.wait()?;
    ensure!(status.success(), "the load ended with {status}");
    cluster.until_healthy().await?;

    // The new one is one of a majority, and its own disk is what it goes on from.
    let again = cluster.ashlar_raw(&["admin", "raft", "remove", "9"]);
    ensure!(String::from_utf8_lossy(&again.stderr).contains("node 9 is no member"), "{again:?}");
    cluster.kill("nn3")?;
    cluster.kill("nn4")?;
    cluster.spawn("nn4")?;
    until("two of three serve", async || Ok(put(&cluster, "after").is_ok())).await?;
    for file in ["before", "without", "1", "20", "after"] {
        ensure!(cluster.ashlar(&["fs", "cat", &format!("/load/{file}")])? == "content");
    }
    cluster.spawn("nn3")?;
    cluster.until_healthy().await?;
    cluster.finish(&[]).await
}

/// Five, and three again, with the first leader among those that go. The logs are cut on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_become_five_and_three_again() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    cluster.ashlar(&["fs", "mkdir", "/kept"])?;
    let cut = cluster.ashlar(&["admin", "raft", "snapshot"])?;
    ensure!(cut.lines().count() == 3, "{cut}");
    for _ in 0..2 {
        let (_, address) = join(&mut cluster)?;
        cluster.ashlar(&["admin", "raft", "add", &address])?;
    }
    ensure!(voters(&cluster)? == [1, 2, 3, 4, 5]);
    let leader = cluster.leader().await?;
    let leader = leader.trim_start_matches("nn").to_owned();
    let other = if leader == "3" { "2" } else { "3" };
    for gone in [leader.as_str(), other] {
        cluster.ashlar(&["admin", "raft", "remove", gone])?;
        cluster.gone(&format!("nn{gone}")).await?;
    }
    let left: Vec<u64> =
        (1..=5).filter(|node| ![leader.as_str(), other].contains(&node.to_string().as_str())).collect();
    ensure!(voters(&cluster)? == left, "{:?}", members(&cluster)?);
    cluster.ashlar(&["fs", "stat", "/kept"])?;
    cluster.ashlar(&["fs", "mkdir", "/more"])?;
    cluster.until_healthy().await?;
    cluster.finish(&["quarantined", "the namenode failed"]).await
}

/// A sync that fails ends the process: it is not tried again, and the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_sync_ends_the_namenode() -> Result<()> {
    if Command::new("strace").arg("-V").output().is_err() {
        #[expect(clippy::print_stderr, reason = "whoever runs the tests should know")]
        {
            eprintln!("SKIPPED a_failing_sync_ends_the_namenode: there is no strace");
        }
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::default()).await?;
    let victim = cluster.leader().await?;
    let pid = cluster.pid(&victim)?.to_string();
    let inject = "inject=fdatasync,fsync:error=EIO";
    let mut tracer = Command::new("strace");
    let tracer = tracer.args(["-f", "-q", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", inject, "-p", &pid]);
    let mut strace = tracer.spawn()?;
    // Whatever the client is told, it is told it by a member whose disk works.
    until("a change is made", async || Ok(cluster.ashlar(&["fs", "mkdir", "-p", "/made"]).is_ok())).await?;
    cluster.gone(&victim).await?;
    strace.wait()?;
    ensure!(cluster.leader().await? != victim);
    cluster.spawn(&victim)?;
    cluster.until_healthy().await?;
    cluster.finish(&["stable storage failed", "panicked at"]).await
}
