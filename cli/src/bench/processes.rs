//! A cluster whose servers are processes of their own, so that they can be killed and measured one by one.
//!
//! 1. No server outlives the benchmark, unless that is killed itself.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use client::Config;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::cost::Meter;
use super::report::Reporter;
use super::testbed::{Place, Shape};
use crate::config;
use crate::exit::Failure;
use crate::serve::quickstart::{Options, claim};
use crate::serve::{layout, ready};

/// A server that does not stop by then is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Namenode,
    Datanode,
}

/// The servers by their names, `nn1` and so on.
pub(super) struct Processes {
    dir: PathBuf,
    roles: BTreeMap<String, Role>,
    running: BTreeMap<String, Child>,
    replication: usize,
    client: Config,
    /// Overrides of the configuration, for every server.
    environment: Vec<(&'static str, &'static str)>,
    /// What goes with the benchmark.
    temporary: Option<TempDir>,
    _lock: File,
}

impl Processes {
    /// A cluster in `dir`, which stays, or else in a directory of our own. Nothing runs yet.
    pub(super) fn prepare(
        dir: Option<&Path>,
        shape: Shape,
        place: &Place,
        reporter: &Reporter,
    ) -> anyhow::Result<Self> {
        let temporary = if dir.is_none() { Some(place.make(reporter)?) } else { None };
        let dir = match (dir, &temporary) {
            (Some(dir), _) => dir.to_owned(),
            (None, Some(temporary)) => temporary.path().join("cluster"),
            (None, None) => unreachable!("one of the two is there"),
        };
        let dir = layout::make(&dir).map_err(plain)?;
        let options = Options::found_or(dir.clone(), shape.namenodes, shape.datanodes).map_err(plain)?;
        let (layout, lock) = claim(&options).map_err(plain)?;
        let file = config::load(&layout::client_file(&dir), &[])?;
        let namenodes = layout.namenode_names().into_iter().map(|name| (name, Role::Namenode));
        let datanodes = layout.datanode_names().into_iter().map(|name| (name, Role::Datanode));
        Ok(Self {
            roles: namenodes.chain(datanodes).collect(),
            running: BTreeMap::new(),
            replication: layout.replication(),
            client: Config { namenodes: file.namenodes, ..file.client },
            environment: Vec::new(),
            temporary,
            dir,
            _lock: lock,
        })
    }

    pub(super) fn client_config(&self) -> Config {
        self.client.clone()
    }

    /// Overrides a setting of the servers that are started from now on.
    pub(super) fn set(&mut self, name: &'static str, value: &'static str) {
        self.environment.push((name, value));
    }

    /// Where the cluster lives.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts every server that does not run.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        for name in self.roles.keys().cloned().collect::<Vec<_>>() {
            if !self.running.contains_key(&name) {
                self.start_one(&name)?;
            }
        }
        Ok(())
    }

    pub(super) fn start_one(&mut self, name: &str) -> anyhow::Result<()> {
        let role = match self.roles.get(name) {
            Some(Role::Namenode) => "namenode",
            Some(Role::Datanode) => "datanode",
            None => return Err(anyhow!("there is no server {name}")),
        };
        let path = self.dir.join("logs").join(format!("{name}.log"));
        let log = fs::create_dir_all(self.dir.join("logs"))
            .and_then(|()| File::options().create(true).append(true).open(&path))
            .with_context(|| path.display().to_string())?;
        let child = Command::new(std::env::current_exe()?)
            .args([role, "--log-level", "info,raft_engine=warn,raft=warn", "--config"])
            .arg(layout::node_file(&self.dir, name))
            .envs(self.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C is for the benchmark, which stops them in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        self.running.insert(name.to_owned(), child);
        Ok(())
    }

    /// Waits until a file can be written with all its copies.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        ready::wait(self.client_config(), self.replication).await.map_err(plain)
    }

    /// Ends one server as a power cut would, but for what the kernel holds.
    pub(super) fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        let mut child = self.running.remove(name).ok_or_else(|| anyhow!("{name} does not run"))?;
        child.kill().with_context(|| format!("cannot kill {name}"))?;
        child.wait().with_context(|| format!("cannot wait for {name}"))?;
        Ok(())
    }

    pub(super) fn kill_all(&mut self) -> anyhow::Result<()> {
        let names: Vec<String> = self.running.keys().cloned().collect();
        names.iter().try_for_each(|name| self.kill(name))
    }

    /// Fails if a server has ended that nobody told to.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        for (name, child) in &mut self.running {
            if let Some(status) = child.try_wait()? {
                let log = self.dir.join("logs").join(format!("{name}.log"));
                return Err(anyhow!("{name} ended with {status}; see {}", log.display()));
            }
        }
        Ok(())
    }

    /// Measures this process and every server.
    pub(super) fn meter(&self) -> Meter {
        Meter::start_with(&self.running.values().map(Child::id).collect::<Vec<_>>())
    }

    /// The memory that the namenode with the most has in use.
    pub(super) fn namenode_memory_mib(&self) -> Option<f64> {
        let namenodes = self.running.iter().filter(|(name, _)| self.roles.get(*name) == Some(&Role::Namenode));
        let bytes = namenodes.filter_map(|(_, child)| resident(child.id())).max()?;
        Some(bytes as f64 / MIB as f64)
    }

    /// Stops all servers in order, and removes what goes with the benchmark.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        // The datanodes first: they say good-bye to namenodes that still listen.
        for role in [Role::Datanode, Role::Namenode] {
            let names = self.running.keys().filter(|name| self.roles.get(*name) == Some(&role));
            let names: Vec<String> = names.cloned().collect();
            let ending: Vec<_> = names.iter().filter_map(|name| self.running.remove(name)).map(end).collect();
            for ended in futures::future::join_all(ending).await {
                ended?;
            }
        }
        if let Some(temporary) = self.temporary.take() {
            temporary.close()?;
        }
        Ok(())
    }
}

/// Invariant 1.
impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            // One that has ended by itself needs no killing.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn end(child: Child) -> anyhow::Result<()> {
    let pid = Pid::from_child(&child);
    // It may have ended by itself.
    let _ = kill_process(pid, Signal::TERM);
    let mut waiting = tokio::task::spawn_blocking(move || {
        let mut child = child;
        child.wait()
    });
    match tokio::time::timeout(STOP_PATIENCE, &mut waiting).await {
        Ok(ended) => drop(ended??),
        Err(_) => {
            // Not waited for yet, so the number is still its own.
            let _ = kill_process(pid, Signal::KILL);
            waiting.await??;
        }
    }
    Ok(())
}

fn plain(failure: Failure) -> anyhow::Error {
    anyhow!("{failure}")
}

/// Bytes of memory of a process that are not swapped out, see proc_pid_status(5).
fn resident(pid: u32) -> Option<u64> {
    parse_resident(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse_resident(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_process_is_found_in_its_status() {
        assert_eq!(parse_resident("Name:\tx\nVmHWM:\t   9 kB\nVmRSS:\t   42 kB\n"), Some(42 * 1024));
        assert_eq!(parse_resident("Name:\tkernel thread\n"), None);
        assert!(resident(std::process::id()).is_some_and(|bytes| bytes > MIB));
    }
}
