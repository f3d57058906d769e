//! Datanodes leave while files are written, and nothing is lost with them; others are announced to be away for a while, and
//! nothing is copied for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use client::{Client, CreateOptions};
use integration_tests::{Cluster, Options, Pattern, check_content, until, until_some};
use serde_json::Value;
use types::{ByteSize, Path};

const BLOCK: ByteSize = ByteSize::kib(256);
const LENGTH: usize = 800 << 10;

fn pattern(writer: u64, file: u64) -> Pattern {
    Pattern(writer << 32 | file)
}

fn path(name: &str) -> Path {
    Path::parse(name.as_bytes()).expect("a plain path")
}

fn status(cluster: &Cluster) -> Result<Value> {
    // Exit code 3 says that it is not healthy, which is for the caller to judge.
    Ok(serde_json::from_slice(&cluster.ashlar_raw(&["admin", "status", "--json"]).stdout)?)
}

fn datanode(cluster: &Cluster, host: &str) -> Result<Value> {
    let report: Value = serde_json::from_str(&cluster.ashlar(&["admin", "report", "--json"])?)?;
    let datanodes = report["datanodes"].as_array().context("an array")?;
    datanodes.iter().find(|datanode| datanode["host"] == host).cloned().with_context(|| format!("no {host}"))
}

async fn whole(cluster: &Cluster) -> Result<()> {
    until("no block is short of replicas", async || {
        let status = status(cluster)?;
        let redundancy = &status["redundancy"];
        Ok(redundancy["under_replicated"] == 0 && redundancy["missing"] == 0 && redundancy["scanned_blocks"] != 0)
    })
    .await
}

/// Writes files of a few blocks until it is told to stop: how many.
async fn write(client: Client, writer: u64, stop: Arc<AtomicBool>) -> Result<u64> {
    let mut files = 0;
    while !stop.load(Ordering::Relaxed) {
        let options = CreateOptions { block_size: Some(BLOCK), parents: true, ..CreateOptions::default() };
        let mut file = client.create(&path(&format!("/w{writer}/{files}")), options).await?;
        for piece in pattern(writer, files).bytes(0, LENGTH).chunks(100_000) {
            file.write_all(piece).await?;
        }
        file.close().await?;
        files += 1;
    }
    Ok(files)
}

/// The newest job, as `admin job show` has it.
fn job(cluster: &Cluster) -> Result<Value> {
    let jobs: Value = serde_json::from_str(&cluster.ashlar(&["admin", "job", "ls", "--json"])?)?;
    let newest = jobs.as_array().and_then(|jobs| jobs.last()).context("a job")?["id"].to_string();
    Ok(serde_json::from_str(&cluster.ashlar(&["admin", "job", "show", "--json", &newest])?)?)
}

/// The blocks that hold back the datanode that was told to leave last.
fn held(cluster: &Cluster) -> Result<Vec<Value>> {
    Ok(job(cluster)?["held"].as_array().context("an array")?.clone())
}

/// Each block that keeps a datanode from leaving is named with its file and its reason, until what is behind it is over.
#[tokio::test(flavor = "multi_thread")]
async fn what_holds_a_datanode_back_is_named_with_its_file_and_the_reason() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, ..Options::default() }.fast_repair()).await?;
    let client = cluster.client().await?;
    put_all(&client, 3, 1).await?;
    let options = CreateOptions { block_size: Some(BLOCK), replication: Some(3), ..CreateOptions::default() };
    let mut open = client.create(&path("/open"), options).await?;
    open.write_all(&pattern(9, 1).bytes(0, 1000)).await?;
    open.flush().await?;
    cluster.ashlar(&["admin", "decommission", "--yes", "--no-wait", "dn3"])?;
    let of = |held: &[Value], path: &str| held.iter().find(|held| held["path"] == path).cloned();
    let (closed, open_one) = until_some("both files are named", async || {
        let held = held(&cluster)?;
        Ok(of(&held, "/0").zip(of(&held, "/open")))
    })
    .await?;
    ensure!(closed["reason"] == "no-host" && closed["last"] == false, "{closed}");
    ensure!(open_one["reason"] == "written" && open_one["session"].is_u64(), "{open_one}");
    let number = job(&cluster)?["id"].to_string();
    let said = cluster.ashlar(&["admin", "job", "show", &number])?;
    ensure!(said.contains("/0 (blk_") && said.contains("every host in service has a copy"), "{said}");
    ensure!(said.contains("/open (blk_") && said.contains("being written by session"), "{said}");
    open.close().await?;
    cluster.ashlar(&["fs", "setrep", "2", "/0", "/open"])?;
    until("nothing holds it back", async || Ok(datanode(&cluster, "dn3")?["service"] == "decommissioned")).await?;
    ensure!(held(&cluster)?.is_empty());
    client.close().await?;
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datanode_is_drained_while_files_are_written_and_nothing_is_lost_with_it() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 4, ..Options::default() }.fast_repair()).await?;
    let client = cluster.client().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2).map(|writer| tokio::spawn(write(client.clone(), writer, stop.clone()))).collect();
    let leaving = "dn2";
    until("the datanode has some blocks", async || {
        Ok(datanode(&cluster, leaving)?["replicas"].as_u64().is_some_and(|replicas| replicas > 3))
    })
    .await?;
    let number = datanode(&cluster, leaving)?["node"].to_string();
    cluster.ashlar(&["admin", "decommission", "--yes", "--no-wait", leaving])?;
    ensure!(datanode(&cluster, leaving)?["service"] == "decommissioning");
    // Writers go on without it, and it leaves while they do.
    let cluster = Arc::new(cluster);
    let waiting = tokio::task::spawn_blocking({
        let cluster = cluster.clone();
        move || cluster.ashlar(&["admin", "decommission", "--yes", &number])
    });
    let said = waiting.await??;
    ensure!(said.contains("is decommissioned, and may be stopped"), "{said}");
    ensure!(datanode(&cluster, leaving)?["service"] == "decommissioned");
    stop.store(true, Ordering::Relaxed);
    let mut files = Vec::new();
    for writer in writers {
        files.push(writer.await??);
    }
    ensure!(files.iter().all(|files| *files > 0), "{files:?}");
    let mut cluster = Arc::into_inner(cluster).context("nobody else has it")?;
    cluster.stop(leaving).await?;
    for (writer, files) in (0_u64..).zip(files) {
        for file in 0..files {
            let mut reader = client.open(&path(&format!("/w{writer}/{file}"))).await?;
            check_content(&mut reader, pattern(writer, file), LENGTH as u64).await?;
        }
    }
    whole(&cluster).await?;
    let dead = until("it is dead, and that is no trouble", async || {
        let status = status(&cluster)?;
        Ok(status["datanodes"]["dead"] == 1 && status["health"] == "healthy")
    });
    dead.await?;
    client.close().await?;
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_copied_for_a_datanode_in_maintenance_until_that_is_over() -> Result<()> {
    let mut cluster =
        Cluster::start(Options { namenodes: 1, datanodes: 4, ..Options::default() }.fast_repair()).await?;
    let client = cluster.client().await?;
    for file in 0..4 {
        client.put(&path(&format!("/{file}")), pattern(9, file).bytes(0, LENGTH), CreateOptions::default()).await?;
    }
    whole(&cluster).await?;
    cluster.ashlar(&["admin", "maintenance", "--for", "1h", "--yes", "dn1"])?;
    cluster.kill("dn1")?;
    until("the datanode is dead", async || Ok(status(&cluster)?["datanodes"]["dead"] == 1)).await?;
    // Past the time after which its blocks would be made anew, by what the leader's scans say.
    let heard = |cluster: &Cluster| Ok::<_, anyhow::Error>(datanode(cluster, "dn1")?["last_heartbeat_ms"].as_u64());
    until("it would be repaired", async || Ok(heard(&cluster)?.is_some_and(|silent| silent > 6000))).await?;
    let now = status(&cluster)?;
    ensure!(now["health"] == "healthy" && now["redundancy"]["under_replicated"] == 0, "{now}");
    ensure!(now["redundancy"]["pending_copies"] == 0, "{now}");
    let others = |cluster: &Cluster| -> Result<u64> {
        ["dn2", "dn3", "dn4"].iter().map(|host| datanode(cluster, host)?["replicas"].as_u64().context("a number")).sum()
    };
    let before = others(&cluster)?;
    cluster.ashlar(&["admin", "recommission", "dn1"])?;
    until("its blocks are made anew", async || Ok(others(&cluster)? > before)).await?;
    whole(&cluster).await?;
    let output = cluster.ashlar_raw(&["admin", "decommission", "nobody"]);
    ensure!(output.status.code() == Some(1), "there is no such datanode");
    let output = cluster.ashlar_raw(&["admin", "maintenance", "--for", "31d", "--yes", "dn1"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && said.contains("30 days"), "{said}");
    client.close().await?;
    cluster.finish(&[]).await
}

async fn put_all(client: &Client, replication: u8, files: u64) -> Result<()> {
    for file in 0..files {
        let options =
            CreateOptions { block_size: Some(BLOCK), replication: Some(replication), ..CreateOptions::default() };
        client.put(&path(&format!("/{file}")), pattern(9, file).bytes(0, LENGTH), options).await?;
    }
    Ok(())
}

/// What is to be copied away has its other copy on a datanode that has just died: whoever copies is sent there first.
#[tokio::test(flavor = "multi_thread")]
async fn a_datanode_leaves_although_the_other_sources_of_its_blocks_are_dead() -> Result<()> {
    let mut cluster =
        Cluster::start(Options { namenodes: 1, datanodes: 5, ..Options::default() }.fast_repair()).await?;
    let client = cluster.client().await?;
    const FILES: u64 = 16;
    put_all(&client, 2, FILES).await?;
    let named = |name: &str| -> Result<Vec<_>> {
        Ok(cluster.replicas(name)?.iter().filter_map(|path| path.file_name().map(ToOwned::to_owned)).collect())
    };
    let (leaving, dying) = (named("dn2")?, named("dn3")?);
    ensure!(leaving.iter().any(|replica| dying.contains(replica)), "they share blocks: {leaving:?} {dying:?}");
    cluster.kill("dn3")?;
    let said = cluster.ashlar(&["admin", "decommission", "--yes", "dn2"])?;
    ensure!(said.contains("is decommissioned, and may be stopped"), "{said}");
    cluster.stop("dn2").await?;
    for file in 0..FILES {
        let mut reader = client.open(&path(&format!("/{file}"))).await?;
        check_content(&mut reader, pattern(9, file), LENGTH as u64).await?;
    }
    whole(&cluster).await?;
    client.close().await?;
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_datanode_with_the_only_copy_of_something_is_not_through_until_it_is_back() -> Result<()> {
    let mut cluster =
        Cluster::start(Options { namenodes: 1, datanodes: 4, ..Options::default() }.fast_repair()).await?;
    let client = cluster.client().await?;
    put_all(&client, 1, 1).await?;
    let all = ["dn1", "dn2", "dn3", "dn4"];
    let holder = *all.iter().find(|name| cluster.replicas(name).is_ok_and(|found| !found.is_empty())).context("one")?;
    cluster.kill(holder)?;
    until("it is dead", async || Ok(datanode(&cluster, holder)?["state"] == "dead")).await?;
    cluster.ashlar(&["admin", "decommission", "--yes", "--no-wait", holder])?;
    until("the leader has found what is stuck", async || {
        Ok(datanode(&cluster, holder)?["blocks_left"].as_u64().is_some_and(|left| left > 0))
    })
    .await?;
    ensure!(datanode(&cluster, holder)?["service"] == "decommissioning");
    // Until nobody hopes for it any more, it is about to be copied from there.
    let held = until_some("the block is named as stuck", async || {
        Ok(held(&cluster)?.into_iter().find(|held| held["reason"] == "no-source"))
    })
    .await?;
    let number = &datanode(&cluster, holder)?["node"];
    ensure!(held["path"] == "/0" && held["silent"][0] == *number, "{held}");
    ensure!(job(&cluster)?["held_total"].as_u64() > Some(0));
    cluster.spawn(holder)?;
    until("it is through", async || Ok(datanode(&cluster, holder)?["service"] == "decommissioned")).await?;
    cluster.stop(holder).await?;
    check_content(&mut client.open(&path("/0")).await?, pattern(9, 0), LENGTH as u64).await?;
    client.close().await?;
    cluster.finish(&[]).await
}
