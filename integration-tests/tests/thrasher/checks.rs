//! What must hold when everything runs again and nobody does anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use client::{Client, CreateOptions};
use integration_tests::thrasher::{DATANODES, Replica};
use integration_tests::{Cluster, DEADLINE, Pattern};
use serde_json::Value;
use types::Path;

use crate::disks::{self, OnDisk};
use crate::worker::{path, read_whole};
use crate::world::World;

/// Waits until the cluster has healed (I7), and compares everything with the ledger (I1).
pub(crate) async fn healed(cluster: &Cluster, world: &World) -> Result<()> {
    cluster.until_healthy().await?;
    // Damage that nobody read is found now. What is found is made up for while the next check waits.
    cluster.ashlar(&["admin", "scrub"])?;
    settled(cluster, &cluster.client().await?).await?;
    let again: Value = serde_json::from_str(&cluster.ashlar(&["admin", "scrub", "--json"])?)?;
    ensure!(again["bad"] == 0, "damage was left: {again}");

    let client = cluster.client().await?;
    let mut found = BTreeMap::new();
    for name in names(&client).await? {
        let bytes = read_whole(&client, &name).await.with_context(|| format!("reading {name} at the end"))?;
        found.insert(name, bytes.context("it was listed")?);
    }
    let wrong = world.ledger().check_all(&found);
    ensure!(wrong.is_empty(), "{}", wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));

    client.put(&path("/fresh"), Pattern(1).bytes(0, 1 << 20), CreateOptions::default()).await?;
    let fresh = read_whole(&client, "/fresh").await?;
    ensure!(fresh.as_deref() == Some(&Pattern(1).bytes(0, 1 << 20)[..]), "a fresh file is not what was written");
    Ok(client.close().await?)
}

async fn names(client: &Client) -> Result<Vec<String>> {
    let mut listing = client.list(&Path::parse(b"/")?).await?;
    let mut names = Vec::new();
    while let Some(entries) = listing.next_page().await? {
        names.extend(entries.iter().map(|entry| format!("/{}", entry.name)));
    }
    Ok(names)
}

/// Waits until the disks hold what the namespace says, and nothing else, and nobody has a file open.
async fn settled(cluster: &Cluster, client: &Client) -> Result<()> {
    let begun = Instant::now();
    loop {
        let left = differences(cluster, client).await?;
        if left.is_empty() {
            return Ok(());
        }
        let few = left.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
        ensure!(begun.elapsed() < DEADLINE, "after {DEADLINE:?} there are still {} differences:\n{few}", left.len());
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

async fn differences(cluster: &Cluster, client: &Client) -> Result<Vec<String>> {
    let OnDisk { complete, unfinished } = disks::look(cluster)?;
    let mut left: Vec<String> = unfinished.iter().map(|path| format!("unfinished: {}", path.display())).collect();
    for name in names(client).await? {
        match client.stat(&path(&name)).await {
            Ok(attributes) if attributes.writing => left.push(format!("{name} is still being written")),
            Ok(_) => {}
            Err(error) => left.push(error.to_string()),
        }
    }
    let expected = match expected(cluster)? {
        Ok(expected) => expected,
        Err(unwell) => {
            left.push(unwell);
            return Ok(left);
        }
    };
    let there: BTreeSet<Replica> = complete.into_keys().collect();
    let name = |replica: &Replica| {
        let Replica { block, generation, datanode } = replica;
        format!("{block} of generation {generation} on {}", disks::name(*datanode))
    };
    left.extend(expected.difference(&there).map(|replica| format!("not on the disk: {}", name(replica))));
    left.extend(there.difference(&expected).map(|replica| format!("nobody knows of: {}", name(replica))));
    Ok(left)
}

/// The replicas that the namespace lists, each block with all that it wants; or what is not well.
fn expected(cluster: &Cluster) -> Result<Result<BTreeSet<Replica>, String>> {
    let report: Value = serde_json::from_str(&cluster.ashlar(&["admin", "report", "--json"])?)?;
    let mut datanodes = BTreeMap::new();
    for datanode in report["datanodes"].as_array().context("an array")? {
        let host = datanode["host"].as_str().context("a host")?;
        let number = (0..DATANODES).find(|number| disks::name(*number) == host).context("a datanode of ours")?;
        datanodes.insert(datanode["node"].as_u64().context("a number")?, number);
    }
    let checked = cluster.ashlar_raw(&["admin", "fsck", "--blocks", "--json"]);
    if !checked.status.success() {
        return Ok(Err(format!("fsck: {}", String::from_utf8_lossy(&checked.stdout).trim())));
    }
    let findings: Vec<Value> = serde_json::from_slice(&checked.stdout)?;
    let mut expected = BTreeSet::new();
    for block in findings.iter().map(|finding| &finding["block"]).filter(|block| !block.is_null()) {
        let (id, wanted) = (block["block"].as_str().context("an id")?, block["wanted"].as_u64());
        let replicas = block["replicas"].as_array().context("an array")?;
        if block["writing"] == true || wanted != Some(replicas.len() as u64) {
            return Ok(Err(format!("{block}")));
        }
        let (inode, number) = id.strip_prefix("blk_").and_then(|id| id.split_once('.')).context("a block's id")?;
        let (inode, number): (u64, u32) = (inode.parse()?, number.parse()?);
        for node in replicas {
            let datanode = *node.as_u64().and_then(|node| datanodes.get(&node)).context("a datanode of ours")?;
            let generation = block["generation"].as_u64().context("a generation")?;
            expected.insert(Replica { block: format!("{inode:016x}-{number:08x}"), generation, datanode });
        }
    }
    Ok(Ok(expected))
}
