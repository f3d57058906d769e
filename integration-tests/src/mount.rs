//! A mount of a test's cluster.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::Cluster;
use crate::wait::until;

/// Why no mount can be tested here, if so. Said loudly by every test that skips.
pub fn no_mounts_here() -> Option<&'static str> {
    if !Path::new("/dev/fuse").exists() {
        return Some("there is no /dev/fuse");
    }
    (!rustix::process::geteuid().is_root()).then_some("only root may mount without fusermount3")
}

/// A directory on which the cluster is mounted, by a daemon of its own. Both go with it.
#[derive(Debug)]
pub struct Mounted {
    point: tempfile::TempDir,
    daemon: Child,
}

impl Mounted {
    /// Mounts the cluster; `arguments` are more of `ashlar mount`.
    pub fn start(cluster: &Cluster, arguments: &[&str]) -> Result<Self> {
        let point = tempfile::Builder::new().prefix("ashlar-mount-").tempdir()?;
        let daemon = spawn(cluster, point.path(), arguments)?;
        Ok(Self { point, daemon })
    }

    pub fn path(&self) -> &Path {
        self.point.path()
    }

    /// kill -9 of the daemon. The mount stays, and answers nothing.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.kill()?;
        self.daemon.wait()?;
        Ok(())
    }

    /// SIGSTOP: what the kernel does not know by itself, nobody answers.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.daemon.id())?).context("a process has an id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// The memory of the daemon, as it is now.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the daemon runs")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }

    /// A new daemon takes the place of one that was killed.
    pub fn restart(&mut self, cluster: &Cluster, arguments: &[&str]) -> Result<()> {
        self.daemon = spawn(cluster, self.point.path(), arguments)?;
        Ok(())
    }

    /// SIGTERM: the daemon writes what is left, unmounts and ends.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        until("the mount ends", async || Ok(self.daemon.try_wait()?.is_some())).await?;
        Ok(self.daemon.wait()?)
    }

    /// As [`Self::stop`], and with success.
    pub async fn finish(mut self) -> Result<()> {
        let status = self.stop().await?;
        ensure!(status.success(), "the mount ended with {status}");
        Ok(())
    }
}

fn spawn(cluster: &Cluster, point: &Path, arguments: &[&str]) -> Result<Child> {
    let mut command = cluster.command();
    command.arg("mount").arg(point).arg("--foreground").args(arguments).stdout(Stdio::piped());
    let mut daemon = command.spawn().context("starting the mount")?;
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().expect("it is piped")).read_line(&mut line)?;
    if !line.starts_with("mounted on ") {
        let status = daemon.wait()?;
        anyhow::bail!("the mount did not come up: {status}");
    }
    Ok(daemon)
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Either may be gone already; what is left must not outlive the test.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let point: PathBuf = self.point.path().into();
        let _ = rustix::mount::unmount(point, UnmountFlags::DETACH);
    }
}
