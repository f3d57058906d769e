//! A directory that is full is full for everyone, and only that directory.

use anyhow::{Result, ensure};
use integration_tests::{Cluster, Options};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_directory_refuses_more_and_nothing_half_written_stays() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 1, ..Options::default() }).await?;
    let file = cluster.root().join("local");
    std::fs::write(&file, vec![7; 1 << 20])?;
    let local = file.to_str().expect("a plain name");
    cluster.ashlar(&["fs", "mkdir", "-p", "/team/a"])?;
    cluster.ashlar(&["fs", "quota", "--space", "1MiB", "--inodes", "3", "/team"])?;
    cluster.ashlar(&["fs", "put", local, "/team/a/one"])?;
    let refused = |arguments: &[&str]| {
        let output = cluster.ashlar_raw(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1) && said.contains("/team: quota exceeded"), "{arguments:?}: {said}");
        Ok(())
    };
    refused(&["fs", "put", local, "/team/a/two"])?;
    ensure!(cluster.ashlar(&["fs", "ls", "/team/a"])? == "one\n");
    cluster.ashlar(&["fs", "touch", "/team/a/empty"])?;
    refused(&["fs", "mkdir", "/team/b"])?;
    cluster.ashlar(&["fs", "put", local, "/elsewhere"])?;
    refused(&["fs", "mv", "/elsewhere", "/team/a/"])?;
    let shown = cluster.ashlar(&["fs", "quota", "--json", "/team"])?;
    ensure!(shown.contains("\"raw_bytes\":1048576,\"raw_bytes_quota\":1048576,\"inodes\":3"), "{shown}");
    cluster.ashlar(&["fs", "quota", "--space", "none", "--inodes", "4", "/team"])?;
    cluster.ashlar(&["fs", "mv", "/elsewhere", "/team/a/"])?;
    ensure!(cluster.ashlar(&["fs", "du", "-s", "--bytes", "/team"])?.starts_with("2097152"));
    cluster.finish(&[]).await
}
