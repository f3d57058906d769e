//! An empty datanode comes to a cluster that is full: `admin balance` evens them out.

use anyhow::{Context, Result, ensure};
use client::CreateOptions;
use integration_tests::{Cluster, Options, Pattern, SmallDisks, check_content, until};
use serde_json::Value;
use types::{ByteSize, Path};

const LENGTH: u64 = 48 << 20;
const BLOCK: ByteSize = ByteSize::mib(1);

fn json(text: &str) -> Result<Value> {
    Ok(serde_json::from_str(text)?)
}

/// How full each datanode is, by its host.
fn fullness(cluster: &Cluster) -> Result<Vec<(String, f64)>> {
    let report = json(&cluster.ashlar(&["admin", "report", "--json"])?)?;
    let datanodes = report["datanodes"].as_array().context("an array")?;
    let of = |datanode: &Value| {
        let number = |key: &str| datanode[key].as_f64().context("a number");
        let host = datanode["host"].as_str().context("a name")?.to_owned();
        Ok((host, number("used")? / number("capacity")?))
    };
    datanodes.iter().map(of).collect()
}

fn job(cluster: &Cluster, id: u64) -> Result<Value> {
    json(&cluster.ashlar(&["admin", "job", "show", &id.to_string(), "--json"])?)
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
async fn an_empty_datanode_in_a_full_cluster_gets_its_share() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can mount the small file systems that this test fills");
        return Ok(());
    }
    let options = Options { namenodes: 3, datanodes: 4, ..Options::default() }
        .fast_repair()
        .with("ASHLAR_DATANODE__RESERVE", "4MiB");
    let mut cluster = Cluster::start(options).await?;
    let disks = SmallDisks::of(&mut cluster, &["dn1", "dn2", "dn3", "dn4"], "96m").await?;
    // What is written now finds three datanodes.
    cluster.stop("dn4").await?;
    let client = cluster.client().await?;
    let path = Path::parse(b"/full")?;
    let put = CreateOptions { block_size: Some(BLOCK), ..CreateOptions::default() };
    client.put(&path, Pattern(3).bytes(0, LENGTH as usize), put).await?;
    cluster.spawn("dn4")?;
    cluster.until_healthy().await?;
    ensure!(cluster.replicas("dn4")?.is_empty());

    let planned = json(&cluster.ashlar(&["admin", "balance", "--dry-run", "--json"])?)?;
    ensure!(planned["moves"].as_u64().is_some_and(|moves| moves > 20), "{planned}");
    ensure!(cluster.replicas("dn4")?.is_empty(), "only said, not done");

    // So slowly that it can be watched.
    let begun = ["admin", "balance", "--bandwidth", "2MiB", "--no-wait", "--json"];
    let id = json(&cluster.ashlar(&begun)?)?["id"].as_u64().context("the number of the job")?;
    let twice = cluster.ashlar_raw(&begun);
    ensure!(String::from_utf8_lossy(&twice.stderr).contains("is a balance that is under way"), "{twice:?}");
    until("some replicas have moved", async || Ok(job(&cluster, id)?["done"].as_u64() > Some(0))).await?;
    cluster.ashlar(&["admin", "job", "pause", &id.to_string()])?;
    until("it waits", async || {
        let job = job(&cluster, id)?;
        Ok(job["state"] == "paused" && job["note"].as_str().is_some_and(|note| note.contains("; 0 moves are on")))
    })
    .await?;
    ensure!(cluster.replicas("dn4")?.len() < 36, "it was paused before the end");
    cluster.ashlar(&["admin", "job", "resume", &id.to_string()])?;

    // The leader dies, and so does the target; both are back later. The next leader goes on with the same job.
    let leader = cluster.leader().await?;
    cluster.kill(&leader)?;
    cluster.kill("dn4")?;
    cluster.spawn("dn4")?;
    cluster.spawn(&leader)?;
    until("the balance has ended", async || {
        let job = cluster.ashlar_raw(&["admin", "job", "show", &id.to_string(), "--json"]);
        let state = serde_json::from_slice::<Value>(&job.stdout).ok().map(|job| job["state"].clone());
        Ok(state.is_some_and(|state| state == "done"))
    })
    .await
    .with_context(|| format!("{:?}", job(&cluster, id)))?;

    until("what was given up has left the disks", async || {
        let full = fullness(&cluster)?;
        let mean = full.iter().map(|(_, full)| full).sum::<f64>() / full.len() as f64;
        Ok(full.iter().all(|(_, full)| (full - mean).abs() < 0.06))
    })
    .await
    .with_context(|| format!("{:?}", fullness(&cluster)))?;
    // Nothing is short, nothing is left over, and every byte is there.
    until("each block has three replicas", async || {
        let replicas: usize =
            ["dn1", "dn2", "dn3", "dn4"].iter().map(|node| Ok(cluster.replicas(node)?.len())).sum::<Result<usize>>()?;
        Ok(cluster.is_redundant()? && replicas == 3 * (LENGTH / BLOCK.get()) as usize)
    })
    .await?;
    check_content(&mut client.open(&path).await?, Pattern(3), LENGTH).await?;
    let again = cluster.ashlar(&["admin", "balance"])?;
    ensure!(again.contains("to be moved: 0 replicas") && again.contains("0B moved in 0 moves"), "{again}");
    client.close().await?;
    let ended = cluster.finish(&[]).await;
    drop(disks);
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_that_is_cancelled_stops_and_one_that_makes_no_sense_is_refused() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, ..Options::default() }.fast_repair()).await?;
    for nonsense in [["--threshold", "0%"], ["--threshold", "101%"], ["--bandwidth", "fast"]] {
        let output = cluster.ashlar_raw(&[&["admin", "balance"][..], &nonsense[..]].concat());
        ensure!(output.status.code() == Some(2), "{output:?}");
    }
    let slow = cluster.ashlar_raw(&["admin", "balance", "--bandwidth", "1KiB"]);
    ensure!(String::from_utf8_lossy(&slow.stderr).contains("1MiB or more"), "{slow:?}");
    let begun = json(&cluster.ashlar(&["admin", "balance", "--no-wait", "--json"])?)?;
    let id = begun["id"].as_u64().context("the number of the job")?;
    // There is nothing to do: it ends by itself, or is cancelled before.
    let cancelled = cluster.ashlar_raw(&["admin", "job", "cancel", &id.to_string()]).status.success();
    until("it has ended", async || {
        let state = &job(&cluster, id)?["state"];
        Ok(*state == if cancelled { "cancelled" } else { "done" })
    })
    .await?;
    for order in ["pause", "resume", "cancel"] {
        let late = cluster.ashlar_raw(&["admin", "job", order, &id.to_string()]);
        ensure!(String::from_utf8_lossy(&late.stderr).contains("has ended already"), "{late:?}");
    }
    let unknown = cluster.ashlar_raw(&["admin", "job", "show", "999"]);
    ensure!(unknown.status.code() == Some(1), "{unknown:?}");
    let list = json(&cluster.ashlar(&["admin", "job", "ls", "--json"])?)?;
    let jobs = list.as_array().context("an array")?;
    let owner = jobs.first().and_then(|job| job["owner"].as_str()).unwrap_or_default();
    ensure!(jobs.len() == 1 && owner.starts_with("uid "), "{list}");
    let running = json(&cluster.ashlar(&["admin", "job", "ls", "--running", "--json"])?)?;
    ensure!(running == Value::Array(vec![]), "{running}");
    cluster.finish(&[]).await
}
