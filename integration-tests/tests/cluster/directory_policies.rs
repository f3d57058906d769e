//! What directories say of copies holds for the files that are made below them, by whatever way, and for no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use client::objects::PutOptions;
use client::{CreateOptions, DirectorySetting, Spread};
use integration_tests::{Cluster, Options, Pattern, until};
use serde_json::Value;
use types::{ByteSize, Path};

const PIECE: usize = 1 << 20;
const RACKS: &str = "dn1 /a\ndn2 /a\ndn3 /b\ndn4 /b\ndn5 /c\ndn6 /c\n";

fn path(name: &str) -> Path {
    Path::parse(name.as_bytes()).expect("a plain path")
}

/// Of each block below a directory: how many copies it has, and in how many racks.
fn copies(cluster: &Cluster, below: &str) -> Result<Vec<(usize, usize)>> {
    let report: Value = serde_json::from_str(&cluster.ashlar(&["admin", "report", "--json"])?)?;
    let datanodes = report["datanodes"].as_array().context("an array")?;
    let racks: BTreeMap<u64, &str> = datanodes
        .iter()
        .map(|datanode| {
            Ok((datanode["node"].as_u64().context("a number")?, datanode["rack"].as_str().context("a rack")?))
        })
        .collect::<Result<_>>()?;
    let output = cluster.ashlar_raw(&["admin", "fsck", "--blocks", "--json", below]);
    let found: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let blocks = found.iter().filter_map(|found| found["block"]["replicas"].as_array());
    let of_block = |replicas: &Vec<Value>| {
        let nodes: BTreeSet<u64> = replicas.iter().filter_map(Value::as_u64).collect();
        (nodes.len(), nodes.iter().filter_map(|node| racks.get(node)).collect::<BTreeSet<_>>().len())
    };
    Ok(blocks.map(of_block).collect())
}

/// Every block below has so many copies in so many racks, and there are some.
fn all_have(cluster: &Cluster, below: &str, expected: (usize, usize)) -> Result<bool> {
    let found = copies(cluster, below)?;
    Ok(!found.is_empty() && found.iter().all(|found| *found == expected))
}

#[tokio::test(flavor = "multi_thread")]
async fn files_get_the_copies_that_the_nearest_directory_wants_and_others_the_default() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let rack_map = directory.path().join("racks");
    fs::write(&rack_map, RACKS)?;
    let settings = Options { namenodes: 1, datanodes: 6, ..Options::default() }
        .fast_repair()
        .with("ASHLAR_NAMENODE__RACK_MAP", rack_map.to_str().context("a plain path")?);
    let mut cluster = Cluster::start(settings).await?;
    let client = cluster.client().await?;
    client.objects().create_bucket("lake", &path("/lake"), 0o755).await?;
    cluster.ashlar(&["fs", "mkdir", "-p", "/wide/in", "/archive", "/plain"])?;
    cluster.ashlar(&["admin", "policy", "set", "spread", "spread", "--path", "/wide"])?;
    cluster.ashlar(&["admin", "policy", "set", "replication", "2", "--path", "/archive"])?;
    client.set_directory_policy(&path("/lake"), DirectorySetting::Replication(Some(4))).await?;
    client.set_directory_policy(&path("/lake"), DirectorySetting::Spread(Some(Spread::Wide))).await?;

    // From a stream, in whole blocks, under a name at once, by the command, as an object.
    let options = || CreateOptions { block_size: Some(ByteSize::mib(1)), parents: true, ..CreateOptions::default() };
    let local = cluster.root().join("local");
    fs::write(&local, Pattern(9).bytes(0, 3 * PIECE))?;
    for below in ["/wide/in", "/archive", "/plain"] {
        let at = |name: &str| path(&format!("{below}/{name}"));
        client.put(&at("long"), Pattern(1).bytes(0, 3 * PIECE), options()).await?;
        for name in ["block", "another", "third"] {
            client.put(&at(name), Pattern(2).bytes(0, PIECE), options()).await?;
        }
        let mut writer = client.create(&at("made/streamed"), options()).await?;
        writer.write(Pattern(3).bytes(0, 2 * PIECE)).await?;
        writer.close().await?;
        cluster.ashlar(&["fs", "put", local.to_str().context("a plain name")?, &at("put").to_string()])?;
    }
    let object: Bytes = Pattern(4).bytes(0, 2 * PIECE);
    client.objects().put("lake", b"a/b/object", object, PutOptions::default()).await?;
    let expected = [("/wide", (3, 3)), ("/archive", (2, 2)), ("/plain", (3, 2)), ("/lake", (4, 3))];
    for (below, copies_in_racks) in expected {
        let reached = async || all_have(&cluster, below, copies_in_racks);
        let held = until("the blocks have the copies that the directory wants", reached).await;
        held.with_context(|| format!("{below}: {:?}", copies(&cluster, below)))?;
    }
    // What a writer asks for itself goes over it, and the rest is inherited all the same.
    let asked = CreateOptions { replication: Some(2), ..options() };
    let attributes = client.put(&path("/wide/two"), Pattern(5).bytes(0, 2 * PIECE), asked).await?;
    ensure!((attributes.replication, attributes.spread) == (2, Some(Spread::Wide)), "{attributes:?}");
    client.delete(&path("/wide/two"), false).await?;

    // A rack is lost, and comes back: what is to be in three racks is spread again, and by no other rule.
    cluster.kill("dn5")?;
    cluster.kill("dn6")?;
    until("the copies of the lost rack are made anew", async || {
        Ok(cluster.is_redundant()? && all_have(&cluster, "/wide", (3, 2))?)
    })
    .await?;
    cluster.spawn("dn5")?;
    cluster.spawn("dn6")?;
    until("each copy is in a rack of its own again", async || all_have(&cluster, "/wide", (3, 3))).await?;
    until("two copies stay two", async || all_have(&cluster, "/archive", (2, 2))).await?;

    // A moved file keeps what it was made with, and so does one whose directory says something else.
    cluster.ashlar(&["fs", "mv", "/archive/long", "/plain/moved"])?;
    cluster.ashlar(&["admin", "policy", "set", "replication", "5", "--path", "/plain"])?;
    let stat: Value =
        serde_json::from_str(&cluster.ashlar(&["fs", "stat", "--json", "/plain/moved", "/plain/long"])?)?;
    ensure!(stat[0]["replication"] == 2 && stat[1]["replication"] == 3, "{stat}");
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_shows_what_holds_and_where_it_comes_from() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, ..Options::default() }).await?;
    cluster.ashlar(&["fs", "mkdir", "-p", "/d/in/deep"])?;
    let show = |at: &str| -> Result<Value> {
        Ok(serde_json::from_str(&cluster.ashlar(&["admin", "policy", "show", "--path", at, "--json"])?)?)
    };
    let expected = |replication: (&str, Option<&str>), spread: (&str, Option<&str>)| {
        let row = |name, (value, from)| serde_json::json!({"name": name, "value": value, "from": from});
        serde_json::json!([row("replication", replication), row("spread", spread)])
    };
    ensure!(show("/d/in")? == expected(("3", None), ("two-racks", None)), "{}", show("/d/in")?);
    cluster.ashlar(&["admin", "policy", "set", "replication", "2", "--path", "/d"])?;
    cluster.ashlar(&["admin", "policy", "set", "spread", "spread", "--path", "/d/in"])?;
    let both = expected(("2", Some("/d")), ("spread", Some("/d/in")));
    ensure!(show("/d/in/deep")? == both && show("/d/in")? == both, "{}", show("/d/in")?);
    let stat = cluster.ashlar(&["fs", "stat", "/d/in"])?;
    ensure!(stat.contains("for what is made below") && stat.contains("spread spread"), "{stat}");
    let log = cluster.root().join(cluster.leader().await?).join("audit.log");
    until("the audit log knows of it", async || Ok(fs::read_to_string(&log)?.contains("SetDirectoryPolicy"))).await?;
    cluster.ashlar(&["admin", "policy", "unset", "replication", "--path", "/d"])?;
    ensure!(show("/d/in")? == expected(("3", None), ("spread", Some("/d/in"))), "{}", show("/d/in")?);
    let refused = [
        (&["set", "replication", "0", "--path", "/d"][..], 2),
        (&["set", "replication", "33", "--path", "/d"], 1),
        (&["set", "spread", "wide", "--path", "/d"], 2),
        (&["set", "block_size", "1MiB", "--path", "/d"], 2),
        (&["set", "spread", "spread"], 2),
        (&["unset", "spread"], 2),
        (&["set", "replication", "2", "--path", "/none"], 1),
        (&["show", "--path", "/none"], 1),
    ];
    for (arguments, code) in refused {
        let output = cluster.ashlar_raw(&[&["admin", "policy"], arguments].concat());
        ensure!(output.status.code() == Some(code), "{arguments:?}: {output:?}");
    }
    cluster.finish(&[]).await
}
