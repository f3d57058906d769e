//! Datanodes in racks, told by a map: a rack is lost as a whole, and the map changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, ensure};
use client::CreateOptions;
use integration_tests::{Cluster, Options, Pattern, check_content, until};
use serde_json::Value;
use types::{ByteSize, Path};

const PIECE: usize = 1 << 20;
const FILES: u64 = 8;
/// Of each file: blocks of a piece.
const BLOCKS: usize = 4;

fn path(name: &str) -> Path {
    Path::parse(name.as_bytes()).expect("a plain path")
}

fn options() -> CreateOptions {
    CreateOptions { block_size: Some(ByteSize::mib(1)), ..CreateOptions::default() }
}

/// The rack of each datanode, as an operator sees it.
fn racks(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let report: Value = serde_json::from_str(&cluster.ashlar(&["admin", "report", "--json"])?)?;
    let text = |datanode: &Value, key: &str| datanode[key].as_str().map(str::to_owned).context("a text");
    let datanodes = report["datanodes"].as_array().context("an array")?;
    datanodes.iter().map(|datanode| Ok((text(datanode, "host")?, text(datanode, "rack")?))).collect()
}

/// For each block, by the name of its file, the datanodes that have it.
fn blocks(cluster: &Cluster) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut blocks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for datanode in cluster.names().into_iter().filter(|name| name.starts_with("dn")) {
        for replica in cluster.replicas(&datanode)? {
            let name = replica.file_name().and_then(|name| name.to_str()).context("a plain name")?;
            // Of all generations of a block.
            let block = name.rsplit_once('-').map_or(name, |(block, _)| block);
            blocks.entry(block.to_owned()).or_default().insert(datanode.clone());
        }
    }
    Ok(blocks)
}

fn is_spread(cluster: &Cluster, map: &BTreeMap<&str, &str>) -> Result<bool> {
    let racks = |on: &BTreeSet<String>| on.iter().map(|datanode| map[datanode.as_str()]).collect::<BTreeSet<_>>().len();
    Ok(blocks(cluster)?.values().all(|on| racks(on) > 1))
}

fn write_map(path: &std::path::Path, map: &BTreeMap<&str, &str>) -> Result<()> {
    let lines: Vec<String> = map.iter().map(|(host, rack)| format!("{host} {rack}\n")).collect();
    // In one step: a namenode may be reading.
    let new = path.with_extension("new");
    fs::write(&new, lines.concat())?;
    Ok(fs::rename(new, path)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_rack_loses_nothing_and_a_changed_map_moves_replicas() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let rack_map = directory.path().join("racks");
    let mut map = BTreeMap::from([("dn1", "/a"), ("dn2", "/a"), ("dn3", "/b"), ("dn4", "/b"), ("dn5", "/c")]);
    write_map(&rack_map, &map)?;
    let settings = Options { datanodes: 5, ..Options::default() }
        .fast_repair()
        .with("ASHLAR_NAMENODE__RACK_MAP", rack_map.to_str().context("a plain path")?)
        .with("ASHLAR_NAMENODE__RACK_INTERVAL", "200ms");
    let mut cluster = Cluster::start(settings).await?;
    let expected = || map.iter().map(|(host, rack)| ((*host).to_owned(), (*rack).to_owned())).collect();
    assert_eq!(racks(&cluster)?, expected());

    let client = cluster.client().await?;
    for file in 0..FILES {
        let content = Pattern(file).bytes(0, BLOCKS * PIECE);
        client.put(&path(&format!("/f{file}")), content, options()).await?;
    }
    ensure!(is_spread(&cluster, &map)?, "a block is in one rack: {:?}", blocks(&cluster)?);

    // A rack is lost in the middle of a write.
    let mut writer = client.create(&path("/written"), options()).await?;
    let pattern = Pattern(FILES);
    for piece in 0..2 * BLOCKS {
        if piece == BLOCKS {
            cluster.kill("dn3")?;
            cluster.kill("dn4")?;
        }
        writer.write(pattern.bytes((piece * PIECE) as u64, PIECE)).await?;
    }
    writer.close().await?;
    check_content(&mut client.open(&path("/written")).await?, pattern, (2 * BLOCKS * PIECE) as u64).await?;
    for file in 0..FILES {
        let mut reader = client.open(&path(&format!("/f{file}"))).await?;
        check_content(&mut reader, Pattern(file), (BLOCKS * PIECE) as u64).await?;
    }
    until("the blocks of the lost rack are made anew", async || cluster.is_redundant()).await?;

    // It comes back; one machine is carried to another rack, and what has its replicas there only is spread anew.
    cluster.spawn("dn3")?;
    cluster.spawn("dn4")?;
    map.insert("dn5", "/a");
    write_map(&rack_map, &map)?;
    until("the map is heeded", async || Ok(racks(&cluster)?.get("dn5").is_some_and(|rack| rack == "/a"))).await?;
    until("every block is in two racks", async || is_spread(&cluster, &map)).await?;
    until("nothing is short of replicas", async || cluster.is_redundant()).await?;
    cluster.finish(&[]).await
}
