//! Processes of one cluster in one temporary directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};
use client::{Client, Config};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::loop_disk::LoopDisk;
use crate::wait::until;

/// The path of the `ashlar` binary, built first if the sources are newer (invariant 1).
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
        let mut command = Command::new(cargo);
        // One dependency declares a newer Rust than ours, and compiles with it.
        let build = ["build", "--quiet", "--locked", "--ignore-rust-version", "-p", "cli"];
        command.args(build).current_dir(workspace);
        // Tests run from <target>/<profile>/deps; the binary lies beside that directory.
        let here = std::env::current_exe().expect("a running test has a path");
        let profile = here.parent().and_then(Path::parent).expect("deps lies in the profile's directory");
        if profile.ends_with("release") {
            command.arg("--release");
        }
        let target = profile.parent().expect("the profile's directory lies in the target directory");
        let status = command.env("CARGO_TARGET_DIR", target).status().expect("cargo can be started");
        assert!(status.success(), "building the binary failed");
        profile.join("ashlar")
    })
}

/// What a cluster is made of. The settings are short, so that tests see repair within seconds.
#[derive(Debug, Clone)]
pub struct Options {
    pub namenodes: usize,
    pub datanodes: usize,
    /// Each node on a host of its own: a directory and a loopback address that no other has.
    pub hosts: bool,
    /// Environment of every process: overrides of the configuration.
    pub environment: Vec<(&'static str, String)>,
    /// What processes are told beside, by their names: `--set` and a value.
    pub settings: Vec<(&'static str, String)>,
    /// Processes whose directory is on a disk of its own, and its size in MiB.
    pub disks: Vec<(&'static str, u64)>,
}

impl Default for Options {
    fn default() -> Self {
        let (environment, settings, disks) = (Vec::new(), Vec::new(), Vec::new());
        Self { namenodes: 3, datanodes: 3, hosts: false, environment, settings, disks }
    }
}

impl Options {
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// One process has another value than the others: `section.key=value`.
    pub fn set(mut self, process: &'static str, setting: impl Into<String>) -> Self {
        self.settings.push((process, setting.into()));
        self
    }

    /// The directory of a process is on a disk of its own; see [`crate::no_disks_here`].
    pub fn on_disk(mut self, process: &'static str, mib: u64) -> Self {
        self.disks.push((process, mib));
        self
    }

    /// A dead datanode is noticed, and its replicas are made anew, within seconds.
    pub fn fast_repair(self) -> Self {
        self.with("ASHLAR_NAMENODE__SUSPECT_AFTER", "2s")
            .with("ASHLAR_NAMENODE__DEAD_AFTER", "3s")
            .with("ASHLAR_NAMENODE__REPAIR_AFTER", "4s")
            .with("ASHLAR_NAMENODE__SCAN_INTERVAL", "500ms")
            .with("ASHLAR_NAMENODE__DELETE_HOLDOFF", "1s")
            .with("ASHLAR_NAMENODE__DELETE_GRACE", "1s")
    }
}

/// A running cluster. Every process dies with it (invariant 2).
#[derive(Debug)]
pub struct Cluster {
    directory: tempfile::TempDir,
    options: Options,
    processes: BTreeMap<String, Child>,
    disks: BTreeMap<String, LoopDisk>,
}

impl Cluster {
    /// Formats, starts everything, and waits until it is healthy.
    pub async fn start(options: Options) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("ashlar-test-").tempdir()?;
        let mut cluster = Self { directory, options, processes: BTreeMap::new(), disks: BTreeMap::new() };
        let (namenodes, datanodes) = (cluster.options.namenodes, cluster.options.datanodes);
        let mut init = vec!["init".to_owned(), path_text(&cluster.root()).to_owned()];
        if cluster.options.hosts {
            let at = |flag: &str, address: String| [flag.to_owned(), address];
            init.extend((1..=namenodes).flat_map(|node| at("--namenode-at", host_address(10 + node))));
            init.extend((1..=datanodes).flat_map(|node| at("--datanode-at", host_address(20 + node))));
        } else {
            let count = |flag: &str, count: usize| [flag.to_owned(), count.to_string()];
            init.extend(count("--namenodes", namenodes).into_iter().chain(count("--datanodes", datanodes)));
        }
        let init: Vec<&str> = init.iter().map(String::as_str).collect();
        let made = cluster.ashlar_raw(&init);
        ensure!(made.status.success(), "init failed: {}", String::from_utf8_lossy(&made.stderr));
        for (name, mib) in cluster.options.disks.clone() {
            cluster.disks.insert(name.to_owned(), LoopDisk::under(&cluster.root().join(name), mib)?);
        }
        for name in cluster.names() {
            cluster.spawn(&name)?;
        }
        cluster.until_healthy().await?;
        // Health is about datanodes that the namenodes have heard of.
        until("every datanode is known", async || Ok(cluster.known_datanodes()? == datanodes)).await?;
        Ok(cluster)
    }

    fn known_datanodes(&self) -> Result<usize> {
        let report: Value = serde_json::from_str(&self.ashlar(&["admin", "report", "--json"])?)?;
        Ok(report["datanodes"].as_array().context("a report lists the datanodes")?.len())
    }

    /// Where the cluster lives: configuration, volumes, logs.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("cluster")
    }

    /// All names: `nn1`.., `dn1`..
    pub fn names(&self) -> Vec<String> {
        let namenodes = (1..=self.options.namenodes).map(|at| format!("nn{at}"));
        namenodes.chain((1..=self.options.datanodes).map(|at| format!("dn{at}"))).collect()
    }

    /// Starts one process and waits for its ready line.
    pub fn spawn(&mut self, name: &str) -> Result<()> {
        self.spawn_with(name, binary(), &[])
    }

    /// As [`spawn`](Self::spawn), another program, or with variables of its own.
    pub fn spawn_with(&mut self, name: &str, program: &Path, environment: &[(&str, String)]) -> Result<()> {
        let role = if name.starts_with("nn") { "namenode" } else { "datanode" };
        let file = format!("node-{name}.toml");
        let own = self.root().join(name).join(&file);
        let config = if own.exists() { own } else { self.root().join(file) };
        let log = File::options().create(true).append(true).open(self.log(name))?;
        let mut child = self
            .command_of(program)
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .args([role, "-c", path_text(&config)])
            .args(self.options.settings.iter().filter(|(of, _)| *of == name).flat_map(|(_, set)| ["--set", set]))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let stdout = child.stdout.take().expect("stdout is piped");
        self.processes.insert(name.to_owned(), child);
        // A process that cannot start closes its output: the wait ends either way.
        let ready = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line.contains("is ready"));
        ensure!(ready, "{name} did not become ready:\n{}", self.log_of(name));
        Ok(())
    }

    /// The disk of a process that was given one.
    pub fn disk(&self, name: &str) -> Result<&LoopDisk> {
        self.disks.get(name).with_context(|| format!("{name} has no disk of its own"))
    }

    /// kill -9.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let mut child = self.processes.remove(name).with_context(|| format!("{name} does not run"))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGSTOP: the process is there and does nothing, as on a machine that hangs.
    pub fn pause(&self, name: &str) -> Result<()> {
        self.signal(name, Signal::STOP)
    }

    /// SIGCONT: it goes on as if nothing had been.
    pub fn resume(&self, name: &str) -> Result<()> {
        self.signal(name, Signal::CONT)
    }

    fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        let child = self.processes.get(name).with_context(|| format!("{name} does not run"))?;
        let pid = Pid::from_raw(i32::try_from(child.id())?).context("a process has an id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// The RPC address of a namenode.
    pub fn address(&self, name: &str) -> Result<String> {
        let status: Value = serde_json::from_str(&self.ashlar(&["admin", "status", "--json"])?)?;
        let node = name.strip_prefix("nn").and_then(|node| node.parse::<u64>().ok());
        let members = status["members"].as_array().context("status lists the members")?;
        let member = members.iter().find(|member| member["node"].as_u64() == node);
        let address = member.and_then(|member| member["address"].as_str());
        Ok(address.with_context(|| format!("{name} is no member"))?.to_owned())
    }

    /// kill -9 of every process, before any of them is waited for.
    pub fn kill_all(&mut self) -> Result<()> {
        for child in self.processes.values_mut() {
            child.kill()?;
        }
        for child in self.processes.values_mut() {
            child.wait()?;
        }
        self.processes.clear();
        Ok(())
    }

    /// The id of a running process.
    pub fn pid(&self, name: &str) -> Result<u32> {
        Ok(self.processes.get(name).with_context(|| format!("{name} does not run"))?.id())
    }

    /// Waits until a process has ended by itself, without success.
    pub async fn gone(&mut self, name: &str) -> Result<()> {
        let mut child = self.processes.remove(name).with_context(|| format!("{name} does not run"))?;
        let ended = until(&format!("{name} ends"), async || Ok(child.try_wait()?.is_some())).await;
        if ended.is_err() {
            child.kill()?;
        }
        let status = child.wait()?;
        ended?;
        ensure!(!status.success(), "{name} ended with {status}");
        Ok(())
    }

    /// SIGTERM; the process must end by itself, with success.
    pub async fn stop(&mut self, name: &str) -> Result<()> {
        let mut child = self.processes.remove(name).with_context(|| format!("{name} does not run"))?;
        let pid = Pid::from_raw(i32::try_from(child.id())?).context("a process has an id")?;
        kill_process(pid, Signal::TERM)?;
        let ended = until(&format!("{name} stops"), async || Ok(child.try_wait()?.is_some())).await;
        if ended.is_err() {
            child.kill()?;
        }
        let status = child.wait()?;
        ended?;
        ensure!(status.success(), "{name} stopped with {status}:\n{}", self.log_of(name));
        Ok(())
    }

    /// The name of the leader, as a majority of the namenodes see it.
    pub async fn leader(&self) -> Result<String> {
        crate::until_some("there is a leader", async || {
            let status = self.ashlar_raw(&["admin", "status", "--json"]);
            let leader = serde_json::from_slice::<Value>(&status.stdout).ok().and_then(|json| json["leader"].as_u64());
            Ok(leader.filter(|leader| *leader > 0).map(|leader| format!("nn{leader}")))
        })
        .await
    }

    /// Waits until `admin status` says healthy.
    pub async fn until_healthy(&self) -> Result<()> {
        until("the cluster is healthy", async || Ok(self.ashlar_raw(&["admin", "status"]).status.success()))
            .await
            .with_context(|| String::from_utf8_lossy(&self.ashlar_raw(&["admin", "status"]).stdout).into_owned())
    }

    /// Whether the last scan found every block with all its replicas.
    pub fn is_redundant(&self) -> Result<bool> {
        Ok(self.wanting()? == Some(0))
    }

    /// Whether the last scan found blocks without all their replicas.
    pub fn is_short(&self) -> Result<bool> {
        Ok(self.wanting()?.is_some_and(|count| count > 0))
    }

    /// How many blocks and replicas the last scan found not as they should be; a new leader has not scanned yet.
    fn wanting(&self) -> Result<Option<u64>> {
        let json: Value = serde_json::from_slice(&self.ashlar_raw(&["admin", "status", "--json"]).stdout)?;
        if json["redundancy"].is_null() {
            return Ok(None);
        }
        let count = |key: &str| json["redundancy"][key].as_u64().with_context(|| format!("status has {key}: {json}"));
        Ok(Some(count("under_replicated")? + count("missing")? + count("corrupt_replicas")?))
    }

    /// Whether every block has all its copies now, as `admin fsck` finds it, on datanodes that are not dead.
    pub fn is_whole(&self) -> bool {
        self.ashlar_raw(&["admin", "fsck"]).status.success()
    }

    /// Runs the command line against this cluster; whatever comes out.
    pub fn ashlar_raw(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().expect("the binary can be started")
    }

    /// Runs the command line against this cluster; its output when it succeeds, an error with what it said otherwise.
    pub fn ashlar(&self, arguments: &[&str]) -> Result<String> {
        let output = self.ashlar_raw(arguments);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("ashlar {} ended with {}: {said}", arguments.join(" "), output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A command that runs the binary with the configuration of this cluster.
    pub fn command(&self) -> Command {
        self.command_of(binary())
    }

    fn command_of(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("ASHLAR_CONFIG", self.root().join("client.toml")).env_remove("ASHLAR_CLUSTER").stdin(Stdio::null());
        // Tests restart datanodes more often than operators do.
        command.env("ASHLAR_NAMENODE__HOLD_DOWN", "1s");
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A client of this cluster, as the configuration for clients says.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::connect(self.client_config()?).await?)
    }

    /// Of a client of this cluster, to be changed.
    pub fn client_config(&self) -> Result<Config> {
        // Whether it is well or not: a client is wanted then too.
        let json: Value = serde_json::from_slice(&self.ashlar_raw(&["admin", "status", "--json"]).stdout)?;
        let members = json["members"].as_array().context("status lists the members")?;
        let namenodes = members.iter().filter_map(|member| member["address"].as_str()).map(str::to_owned).collect();
        Ok(Config { namenodes, ..Config::default() })
    }

    /// All block files of one datanode that are final.
    pub fn replicas(&self, name: &str) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut left = vec![self.root().join(name)];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                if path.is_dir() {
                    left.push(path);
                } else if path.to_string_lossy().contains("/final/") {
                    found.push(path);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Stops everything in order, and fails on any ERROR in a log that does not contain one of `expected` (invariant 4).
    pub async fn finish(mut self, expected: &[&str]) -> Result<()> {
        for name in self.processes.keys().cloned().collect::<Vec<_>>().into_iter().rev() {
            self.stop(&name).await?;
        }
        for name in self.names() {
            let bad = |line: &&str| line.contains("\"level\":\"ERROR\"") || line.contains("panicked at");
            for line in self.log_of(&name).lines().filter(bad) {
                ensure!(expected.iter().any(|text| line.contains(text)), "{name} logged: {line}");
            }
        }
        // Before the directory that they are mounted in goes.
        self.disks.clear();
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.log"))
    }

    /// What a process has logged so far.
    pub fn log_of(&self, name: &str) -> String {
        fs::read_to_string(self.log(name)).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.processes.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.disks.clear();
        if std::thread::panicking() {
            self.directory.disable_cleanup(true);
        }
    }
}

/// A loopback address for a host, in a network that no other test process has.
pub fn host_address(host: usize) -> String {
    let process = std::process::id();
    format!("127.{}.{}.{host}", 64 + process % 128, process / 128 % 256)
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}
