//! What `admin fsck` says of a cluster that is well, and of one that is not.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context, Result};
use client::CreateOptions;
use integration_tests::{Cluster, Options, Pattern, until};
use serde_json::{Value, json};
use types::{ByteSize, Path};

const BLOCKS: u64 = 4;

/// The exit code, the findings, and the summary.
fn fsck(cluster: &Cluster, arguments: &[&str]) -> Result<(Option<i32>, Vec<Value>, Value)> {
    let output = cluster.ashlar_raw(&[&["admin", "fsck", "--json"], arguments].concat());
    let mut findings: Vec<Value> =
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let last = findings.pop().context("the last object has the sums")?;
    Ok((output.status.code(), findings, last["summary"].clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn fsck_tells_each_block_that_lacks_copies_until_it_has_them() -> Result<()> {
    let mut cluster = Cluster::start(Options::default().fast_repair()).await?;
    let client = cluster.client().await?;
    let options = CreateOptions { block_size: Some(ByteSize::mib(1)), parents: true, ..CreateOptions::default() };
    client.put(&Path::parse(b"/a/b/large")?, Pattern(1).bytes(0, (BLOCKS << 20) as usize), options.clone()).await?;
    client.put(&Path::parse(b"/a/small")?, Pattern(2).bytes(0, 10), options).await?;

    let (code, findings, summary) = fsck(&cluster, &[])?;
    let well = json!({
        "healthy": true, "files": 2, "directories": 3, "blocks": BLOCKS, "bytes": (BLOCKS << 20) + 10,
        "broken": 0, "missing": 0, "under_replicated": 0, "corrupt_replicas": 0, "unverified_replicas": 0,
    });
    assert_eq!((code, findings, &summary), (Some(0), vec![], &well));
    let (_, blocks, summary) = fsck(&cluster, &["--blocks", "/a/b"])?;
    assert_eq!((blocks.len() as u64, &summary["directories"]), (BLOCKS, &json!(1)));
    let offsets: Vec<_> = blocks.iter().filter_map(|found| found["block"]["offset"].as_u64()).collect();
    assert_eq!(offsets, (0..BLOCKS).map(|block| block << 20).collect::<Vec<_>>());
    assert_eq!(blocks[0]["block"]["replicas"].as_array().map(Vec::len), Some(3));

    cluster.kill("dn2")?;
    until("fsck sees that copies are missing", async || {
        let (code, findings, summary) = fsck(&cluster, &["/"])?;
        if summary["under_replicated"] != json!(BLOCKS) {
            return Ok(false);
        }
        assert_eq!((code, findings.len() as u64), (Some(3), BLOCKS));
        assert!(findings.iter().all(|found| found["path"] == "/a/b/large" && found["block"]["live"] == json!(2)));
        Ok(true)
    })
    .await?;
    cluster.spawn("dn2")?;
    until("fsck sees that they are back", async || Ok(fsck(&cluster, &[])?.0 == Some(0))).await?;

    let nothing = cluster.ashlar_raw(&["admin", "fsck", "/nothing"]);
    assert_eq!(nothing.status.code(), Some(1));
    let complaint = String::from_utf8(nothing.stderr)?;
    assert!(complaint.contains("/nothing"), "{complaint}");
    cluster.finish(&[]).await
}

/// What the state believes is well, and the disk has not: only who reads it finds out.
#[tokio::test(flavor = "multi_thread")]
async fn fsck_that_verifies_finds_what_has_changed_on_a_disk() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, ..Options::default() }.fast_repair()).await?;
    let client = cluster.client().await?;
    let options = CreateOptions { block_size: Some(ByteSize::mib(1)), parents: true, ..CreateOptions::default() };
    client.put(&Path::parse(b"/a/large")?, Pattern(1).bytes(0, (BLOCKS << 20) as usize), options.clone()).await?;
    client.put(&Path::parse(b"/b/other")?, Pattern(2).bytes(0, 2 << 20), options).await?;
    let (code, blocks, summary) = fsck(&cluster, &["--verify", "--blocks"])?;
    assert_eq!((code, blocks.len() as u64, &summary["healthy"]), (Some(0), BLOCKS + 2, &json!(true)));

    let replica = cluster.replicas("dn1")?.into_iter().next().context("dn1 has some")?;
    let file = File::options().read(true).write(true).open(&replica)?;
    let (place, mut byte) = (file.metadata()?.len() - 100, [0]);
    file.read_exact_at(&mut byte, place)?;
    file.write_all_at(&[byte[0] ^ 1], place)?;
    assert_eq!(fsck(&cluster, &["/"])?.0, Some(0), "nobody has looked");
    let (code, findings, summary) = fsck(&cluster, &["--verify"])?;
    assert_eq!((code, findings.len(), &summary["corrupt_replicas"]), (Some(3), 1, &json!(1)));
    assert_eq!(findings[0]["block"]["found_bad"].as_array().map(Vec::len), Some(1), "{findings:?}");
    until("what was found is replaced", async || Ok(fsck(&cluster, &["--verify"])?.0 == Some(0))).await?;
    client.close().await?;
    cluster.finish(&[]).await
}
