//! A client is killed in the middle of a write.

use std::io::Write;
use std::process::Stdio;

use anyhow::Result;
use integration_tests::{Cluster, Options, Pattern, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_put_leaves_neither_a_name_nor_replicas() -> Result<()> {
    let options = Options::default().fast_repair().with("ASHLAR_NAMENODE__SESSION_TIMEOUT", "4s");
    let cluster = Cluster::start(options).await?;
    let mut put = cluster.command().args(["fs", "put", "-", "/half"]).stdin(Stdio::piped()).spawn()?;
    let mut stdin = put.stdin.take().expect("stdin is piped");
    // Enough that its first bytes lie on the datanodes: the pipe and the buffers hold far less.
    for piece in 0..64 {
        stdin.write_all(&Pattern(1).bytes(piece << 20, 1 << 20))?;
    }
    put.kill()?;
    put.wait()?;

    assert_eq!(cluster.ashlar(&["fs", "ls", "/"])?.lines().filter(|line| line.contains("half")).count(), 0);
    let left = |name: &str| -> Result<usize> {
        let mut count = cluster.replicas(name)?.len();
        for entry in walk(&cluster.root().join(name))? {
            count += usize::from(entry.to_string_lossy().contains("/writing/"));
        }
        Ok(count)
    };
    until("no replica of it is left", async || Ok(left("dn1")? + left("dn2")? + left("dn3")? == 0)).await?;
    cluster.finish(&[]).await
}

fn walk(root: &std::path::Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        // A directory may go between being listed and being read.
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() { left.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}
