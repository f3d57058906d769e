//! The datanodes run out of space.

use std::process::Command;

use anyhow::{Result, ensure};
use integration_tests::{Cluster, Options, Pattern, until};

/// Small file systems for the volumes of a cluster, unmounted at the end.
struct SmallDisks(Vec<String>);

impl SmallDisks {
    fn mount(paths: Vec<String>) -> Result<Self> {
        let mut mounted = Self(Vec::new());
        for path in paths {
            let status =
                Command::new("mount").args(["-t", "tmpfs", "-o", "size=96m", "ashlar-test", &path]).status()?;
            ensure!(status.success(), "mounting {path} failed");
            mounted.0.push(path);
        }
        Ok(mounted)
    }
}

impl Drop for SmallDisks {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = Command::new("umount").args(["-l", path]).status();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
async fn a_full_disk_is_named_and_nothing_is_half_there() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can mount the small file systems that this test fills");
        return Ok(());
    }
    let base = tempfile::tempdir()?;
    let paths: Vec<String> = (1..=3).map(|at| base.path().join(format!("d{at}")).display().to_string()).collect();
    for path in &paths {
        std::fs::create_dir(path)?;
    }
    let _disks = SmallDisks::mount(paths.clone())?;
    // The grace of deleted files is long here: what never had a name must give its space back all the same.
    let options = Options::default()
        .with("ASHLAR_DATANODE__RESERVE", "4MiB")
        .with("ASHLAR_NAMENODE__BLOCK_SIZE", "16MiB")
        .with("ASHLAR_NAMENODE__DELETE_HOLDOFF", "1s");
    let mut cluster = Cluster::start(options).await?;

    // Move each node's volume onto its small disk.
    for (at, disk) in paths.iter().enumerate() {
        let name = format!("dn{}", at + 1);
        cluster.stop(&name).await?;
        let volume = cluster.root().join(&name);
        let target = format!("{disk}/volume");
        ensure!(
            Command::new("cp").args(["-a", &volume.display().to_string(), &target]).status()?.success(),
            "cp failed"
        );
        std::fs::remove_dir_all(&volume)?;
        std::os::unix::fs::symlink(&target, &volume)?;
        cluster.spawn(&name)?;
    }
    cluster.until_healthy().await?;

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
    cluster.finish(&[]).await
}
