//! The datanodes run out of space.

use anyhow::Result;
use integration_tests::{Cluster, Options, Pattern, SmallDisks, until};

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
async fn a_full_disk_is_named_and_nothing_is_half_there() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can mount the small file systems that this test fills");
        return Ok(());
    }
    // The grace of deleted files is long here: what never had a name must give its space back all the same.
    let options = Options::default()
        .with("ASHLAR_DATANODE__RESERVE", "4MiB")
        .with("ASHLAR_NAMENODE__BLOCK_SIZE", "16MiB")
        .with("ASHLAR_NAMENODE__DELETE_HOLDOFF", "1s");
    let mut cluster = Cluster::start(options).await?;

    let disks = SmallDisks::of(&mut cluster, &["dn1", "dn2", "dn3"], "96m").await?;

    let local = tempfile::tempdir()?;
    let (large, small) = (local.path().join("large"), local.path().join("small"));
    std::fs::write(&large, Pattern(1).bytes(0, 200 << 20))?;
    std::fs::write(&small, Pattern(2).bytes(0, 1 << 20))?;
    let put = cluster.ashlar_raw(&["fs", "put", large.to_str().expect("plain"), "/large"]);
    let said = String::from_utf8_lossy(&put.stderr).into_owned();
    assert_eq!(put.status.code(), Some(1), "{said}");
    assert!(said.contains("/large") && said.contains("space"), "{said}");
    assert_eq!(cluster.ashlar_raw(&["fs", "stat", "/large"]).status.code(), Some(1));

    until("the space of the failed put is free again", async || {
        Ok(cluster.ashlar_raw(&["fs", "put", small.to_str().expect("plain"), "/small"]).status.success())
    })
    .await?;
    let output = cluster.ashlar_raw(&["fs", "cat", "/small"]);
    assert!(output.stdout == std::fs::read(&small)?, "the bytes differ");
    let ended = cluster.finish(&[]).await;
    drop(disks);
    ended
}
