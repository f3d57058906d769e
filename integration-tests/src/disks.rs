//! Small file systems under the volumes of datanodes. Only root can mount them.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;

/// Unmounted at the end.
#[derive(Debug)]
pub struct SmallDisks {
    directory: tempfile::TempDir,
    mounted: Vec<String>,
}

impl SmallDisks {
    /// Moves the volumes of running datanodes onto file systems of this size, such as `96m`, and starts them again.
    pub async fn of(cluster: &mut Cluster, names: &[&str], size: &str) -> Result<Self> {
        let mut disks = Self { directory: tempfile::tempdir()?, mounted: Vec::new() };
        for name in names {
            let disk = disks.mount(name, size)?;
            cluster.stop(name).await?;
            let (volume, target) = (cluster.root().join(name), format!("{disk}/volume"));
            let copied = Command::new("cp").arg("-a").arg(&volume).arg(&target).status()?;
            ensure!(copied.success(), "cp failed");
            std::fs::remove_dir_all(&volume)?;
            std::os::unix::fs::symlink(&target, &volume)?;
            cluster.spawn(name)?;
        }
        cluster.until_healthy().await?;
        Ok(disks)
    }

    fn mount(&mut self, name: &str, size: &str) -> Result<String> {
        let path = self.directory.path().join(name);
        std::fs::create_dir(&path)?;
        let path = path.to_str().context("a plain name")?.to_owned();
        let options = format!("size={size}");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "ashlar-test", &path]).status()?;
        ensure!(status.success(), "mounting {path} failed");
        self.mounted.push(path.clone());
        Ok(path)
    }
}

impl Drop for SmallDisks {
    fn drop(&mut self) {
        for path in &self.mounted {
            let _ = Command::new("umount").args(["-l", path]).status();
        }
    }
}
