//! What `docs/operations/first-cluster.md` tells somebody who has never seen Ashlar to do, command by command. Balancing, which
//! needs disks that fill up, has a test of its own.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context, Result, ensure};
use integration_tests::{Cluster, Options, Pattern, host_address, until};
use serde_json::Value;

use crate::web::{Browser, door, key};

fn json(cluster: &Cluster, arguments: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&cluster.ashlar(arguments)?)?)
}

fn text(path: &std::path::Path) -> Result<&str> {
    path.to_str().context("a plain name")
}

/// The kinds of the jobs that have ended well.
fn done(cluster: &Cluster) -> Result<Vec<String>> {
    let jobs = json(cluster, &["admin", "job", "ls", "--json"])?;
    let jobs = jobs.as_array().context("an array")?.iter().filter(|job| job["state"] == "done");
    Ok(jobs.filter_map(|job| job["kind"].as_str()).map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_on_seven_hosts_grows_shrinks_and_heals_by_the_book() -> Result<()> {
    let options = Options { namenodes: 3, datanodes: 4, hosts: true, ..Options::default() };
    let mut cluster = Cluster::start(options.fast_repair()).await?;
    let root = cluster.root();
    ensure!(root.join("dn4/client.toml").exists(), "each host has what a client needs");

    // Store something.
    let local = tempfile::tempdir()?;
    let content = Pattern(1).bytes(0, 8 << 20);
    let file = local.path().join("file");
    std::fs::write(&file, &content)?;
    cluster.ashlar(&["fs", "put", "--block-size", "1MiB", text(&file)?, "/file"])?;
    let same =
        |cluster: &Cluster| Ok::<_, anyhow::Error>(cluster.ashlar_raw(&["fs", "cat", "/file"]).stdout == content);
    ensure!(same(&cluster)?);

    // Add a datanode.
    let seed = cluster.address("nn1")?;
    let (home, listen) = (root.join("dn5"), format!("{}:9866", host_address(25)));
    let add = ["init", text(&home)?, "--join", &seed, "--datanode", "dn5", "--listen", &listen, "--rack", "/r2"];
    let said = cluster.ashlar(&add)?;
    ensure!(said.contains("ashlar admin balance"), "{said}");
    cluster.spawn("dn5")?;
    until("the new datanode is alive", async || {
        let report = json(&cluster, &["admin", "report", "--json"])?;
        let new = |node: &Value| node["host"] == "dn5" && node["state"] == "alive" && node["rack"] == "/r2";
        Ok(report["datanodes"].as_array().context("an array")?.iter().any(new))
    })
    .await?;
    let balanced = cluster.ashlar(&["admin", "balance"])?;
    ensure!(balanced.contains("around the mean"), "{balanced}");
    let again = cluster.ashlar_raw(&add);
    ensure!(String::from_utf8_lossy(&again.stderr).contains("is there already"), "{again:?}");

    // Drain a datanode, and stop it.
    let drained = cluster.ashlar(&["admin", "decommission", "--yes", "dn2"])?;
    ensure!(drained.contains("is decommissioned, and may be stopped"), "{drained}");
    cluster.stop("dn2").await?;
    ensure!(same(&cluster)?);

    // A namenode dies with its disk: another takes its place.
    cluster.kill("nn2")?;
    std::fs::remove_dir_all(root.join("nn2"))?;
    let (home, listen) = (root.join("nn4"), format!("{}:8020", host_address(14)));
    cluster.ashlar(&["init", text(&home)?, "--join", &seed, "--listen", &listen])?;
    cluster.spawn("nn4")?;
    let added = cluster.ashlar(&["admin", "raft", "add", &listen])?;
    ensure!(added.contains("namenode 4 votes"), "{added}");
    cluster.ashlar(&["admin", "raft", "remove", "2"])?;
    cluster.until_healthy().await?;

    // A block rots: it is found, and another copy takes its place.
    let mut replicas = Vec::new();
    for datanode in ["dn1", "dn3", "dn4", "dn5"] {
        replicas.extend(cluster.replicas(datanode)?);
    }
    let replica = replicas.into_iter().next().context("somebody has some")?;
    let damaged = File::options().read(true).write(true).open(&replica)?;
    let (place, mut byte) = (damaged.metadata()?.len() - 100, [0]);
    damaged.read_exact_at(&mut byte, place)?;
    damaged.write_all_at(&[byte[0] ^ 1], place)?;
    let found = json(&cluster, &["admin", "scrub", "--json"])?;
    ensure!(found["bad"] == 1, "{found}");
    until("every block is whole again", async || {
        let checked = cluster.ashlar_raw(&["admin", "fsck", "/"]);
        Ok(checked.status.success() && cluster.is_redundant()? && !replica.exists())
    })
    .await?;
    ensure!(same(&cluster)?);

    // What was done is told.
    until("all jobs have ended", async || {
        let done = done(&cluster)?;
        Ok(["balance", "decommission", "scrub"].iter().all(|kind| done.iter().any(|done| done == kind)))
    })
    .await
    .with_context(|| format!("{:?}", cluster.ashlar(&["admin", "job", "ls"])))?;
    // The web page tells it too, of any namenode, also of one that came later.
    let browser = Browser::sign_in(door(&root.join("nn1/node-nn1.toml"))?, &key(&cluster, "0")?).await?;
    let jobs = browser.get("/jobs").await?.text();
    ensure!(["balance", "decommission", "scrub"].iter().all(|kind| jobs.contains(kind)), "{jobs}");
    let audit = browser.get("/audit").await?.text();
    ensure!(audit.contains("/file"), "{audit}");
    let namenodes = browser.get("/namenodes").await?.text();
    ensure!(namenodes.contains(&listen) && !namenodes.contains(&host_address(12)), "{namenodes}");
    cluster.finish(&[]).await
}
