//! What was removed can be had back, by whom it belongs to, until its time is over.

use anyhow::{Context, Result, ensure};
use integration_tests::{Cluster, Options, until};
use serde_json::Value;

fn trash(cluster: &Cluster) -> Result<Vec<Value>> {
    let listed: Value = serde_json::from_str(&cluster.ashlar(&["fs", "trash", "ls", "--json"])?)?;
    Ok(listed.as_array().context("an array")?.clone())
}

fn refused(cluster: &Cluster, arguments: &[&str], says: &str) -> Result<()> {
    let output = cluster.ashlar_raw(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && said.contains(says), "{arguments:?} said {said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_is_had_back_byte_by_byte() -> Result<()> {
    let mut cluster = Cluster::start(Options { namenodes: 1, datanodes: 1, ..Options::default() }).await?;
    let file = cluster.root().join("local");
    let content: Vec<u8> = (0..3_u32 << 20).map(|at| (at % 251) as u8).collect();
    std::fs::write(&file, &content)?;
    let local = file.to_str().expect("a plain name");
    cluster.ashlar(&["fs", "mkdir", "-p", "/a/b"])?;
    cluster.ashlar(&["fs", "put", local, "/a/b/f"])?;
    let before = cluster.ashlar(&["fs", "stat", "--json", "/a/b/f"])?;
    cluster.ashlar(&["fs", "rm", "-r", "/a"])?;
    ensure!(cluster.ashlar(&["fs", "ls", "/"])? == "");
    let items = trash(&cluster)?;
    ensure!(items.len() == 1 && items[0]["path"] == "/a" && items[0]["bytes"] == content.len(), "{items:?}");

    // It is still there after the namenode was.
    cluster.kill("nn1")?;
    cluster.spawn("nn1")?;
    cluster.until_healthy().await?;
    cluster.ashlar(&["fs", "mkdir", "/a"])?;
    refused(&cluster, &["fs", "trash", "restore", "/a"], "/a exists already")?;
    refused(&cluster, &["fs", "trash", "restore", "/b"], "nothing that was removed from there")?;
    refused(&cluster, &["fs", "trash", "restore", "999999"], "there is no trash_999999")?;
    refused(&cluster, &["fs", "trash", "restore", "--to", "/x/y", "/a"], "/x: no such file")?;
    cluster.ashlar(&["fs", "rm", "-r", "--skip-trash", "/a"])?;
    cluster.ashlar(&["fs", "trash", "restore", "/a"])?;
    ensure!(trash(&cluster)?.is_empty());
    ensure!(cluster.ashlar(&["fs", "stat", "--json", "/a/b"])?.contains("\"files\":1"));
    let fetched = cluster.root().join("fetched");
    cluster.ashlar(&["fs", "get", "/a/b/f", fetched.to_str().expect("a plain name")])?;
    ensure!(std::fs::read(fetched)? == content, "the bytes differ");
    let after = cluster.ashlar(&["fs", "stat", "--json", "/a/b/f"])?;
    ensure!(after == before, "the attributes differ: {before} and {after}");

    cluster.ashlar(&["fs", "rm", "/a/b/f"])?;
    let item = trash(&cluster)?[0]["item"].to_string();
    cluster.ashlar(&["fs", "trash", "restore", "--to", "/new/place", "-p", &item])?;
    cluster.ashlar(&["fs", "rm", "-r", "/a", "/new"])?;
    ensure!(trash(&cluster)?.len() == 2);
    cluster.ashlar(&["fs", "trash", "empty", "/new"])?;
    ensure!(trash(&cluster)?.len() == 1);
    cluster.ashlar(&["fs", "trash", "empty"])?;
    ensure!(trash(&cluster)?.is_empty());

    // What was removed for good is root's to have back for a while.
    cluster.ashlar(&["fs", "put", local, "/gone"])?;
    // As a rename does, it changes the time of the last change of the attributes.
    let stat = |cluster: &Cluster| -> Result<Value> {
        let mut stated: Value = serde_json::from_str(&cluster.ashlar(&["fs", "stat", "--json", "/gone"])?)?;
        stated[0]["ctime"].take();
        Ok(stated)
    };
    let before = stat(&cluster)?;
    cluster.ashlar(&["fs", "rm", "--skip-trash", "/gone"])?;
    ensure!(trash(&cluster)?.is_empty(), "the user does not see it");
    let buried: Vec<Value> = serde_json::from_str(&cluster.ashlar(&["admin", "undelete", "ls", "--json"])?)?;
    ensure!(buried.iter().any(|item| item["path"] == "/gone"), "{buried:?}");
    let user = ["ASHLAR_CLIENT__USER__UID", "ASHLAR_CLIENT__USER__GID"].map(|name| (name, "1000"));
    let denied = cluster.command().envs(user).args(["admin", "undelete", "ls"]).output()?;
    ensure!(!denied.status.success(), "{denied:?}");
    cluster.ashlar(&["admin", "undelete", "restore", "/gone"])?;
    let after = stat(&cluster)?;
    ensure!(after == before, "the attributes differ: {before} and {after}");
    let again = cluster.root().join("again");
    cluster.ashlar(&["fs", "get", "/gone", again.to_str().expect("a plain name")])?;
    ensure!(std::fs::read(again)? == content, "the bytes differ");
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_wants_back_goes_and_its_blocks_with_it() -> Result<()> {
    let options = Options { namenodes: 1, datanodes: 1, ..Options::default() }.fast_repair();
    let cluster = Cluster::start(options.with("ASHLAR_NAMENODE__TRASH_EXPIRY", "1s")).await?;
    let file = cluster.root().join("local");
    std::fs::write(&file, vec![7; 1 << 20])?;
    cluster.ashlar(&["fs", "put", file.to_str().expect("a plain name"), "/f"])?;
    cluster.ashlar(&["fs", "rm", "/f"])?;
    until("the trash is empty, and the blocks are gone", async || {
        let status: Value = serde_json::from_str(&cluster.ashlar(&["admin", "status", "--json"])?)?;
        Ok(trash(&cluster)?.is_empty() && status["blocks"] == 0)
    })
    .await?;
    refused(&cluster, &["fs", "trash", "restore", "/f"], "nothing that was removed from there")?;
    cluster.finish(&[]).await
}
