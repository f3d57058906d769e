//! A datanode has so much memory and no more.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use client::CreateOptions;
use integration_tests::{Cluster, Options, Pattern, Tampering, check_content, no_strace_here, skipped, until};
use types::Path;

/// All that they have on their way is more than the datanode is given.
const WRITERS: u64 = 40;
const LENGTH: usize = 12 << 20;
/// All windows of a datanode have 256 MiB, and the process itself wants some.
const MEMORY: u64 = 352 << 20;
/// The windows are full, or nearly.
const FULL: u64 = 200 << 20;
const GROUPS: &str = "/sys/fs/cgroup/memory";

/// A control group whose processes are killed when they want more memory.
struct Group(PathBuf);

impl Group {
    fn missing() -> Option<&'static str> {
        let here = rustix::process::geteuid().is_root() && std::path::Path::new(GROUPS).join("tasks").exists();
        (!here).then_some("only root can make control groups, and those of version 1 for memory must be mounted")
    }

    fn new(name: &str) -> Result<Self> {
        let group = Self(PathBuf::from(GROUPS).join(format!("{name}-{}", std::process::id())));
        fs::create_dir(&group.0).context("making a control group")?;
        group.set("memory.limit_in_bytes", MEMORY)?;
        Ok(group)
    }

    fn set(&self, key: &str, value: u64) -> Result<()> {
        Ok(fs::write(self.0.join(key), value.to_string())?)
    }

    fn add(&self, pid: u32) -> Result<()> {
        self.set("cgroup.procs", u64::from(pid))
    }

    fn holds(&self, pid: u32) -> Result<bool> {
        Ok(fs::read_to_string(self.0.join("cgroup.procs"))?.trim() == pid.to_string())
    }

    fn peak(&self) -> Result<u64> {
        Ok(fs::read_to_string(self.0.join("memory.max_usage_in_bytes"))?.trim().parse()?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Its disk takes nothing for a while, so that everything stays in memory.
#[tokio::test(flavor = "multi_thread")]
async fn many_writers_do_not_take_a_datanode_beyond_its_memory() -> Result<()> {
    let missing = [Group::missing(), no_strace_here()];
    if skipped("many_writers_do_not_take_a_datanode_beyond_its_memory", &missing) {
        return Ok(());
    }
    // Made first, so that it goes last: a group with a process in it stays.
    let group = Group::new("ashlar-test")?;
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 1, ..Options::default() }).await?;
    let pid = cluster.pid("dn1")?;
    group.add(pid)?;
    let client = cluster.client().await?;
    let path = |writer: u64| Path::parse(format!("/w{writer}").as_bytes());
    let tampering = Tampering::with(pid, "pwrite64", "delay_enter=2s", None).await?;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        // A client bounds what all its writers have on their way: they are of many clients.
        let (client, path) = (cluster.client().await?, path(writer)?);
        writers.push(tokio::spawn(async move {
            let mut file = client.create(&path, CreateOptions::default()).await?;
            for offset in (0..LENGTH).step_by(1 << 20) {
                file.write(Pattern(writer).bytes(offset as u64, 1 << 20)).await?;
            }
            file.close().await?;
            client.close().await
        }));
    }
    until("the windows are full", async || {
        ensure!(group.holds(pid)?, "the datanode was killed, with {} bytes", group.peak()?);
        Ok(group.peak()? >= FULL)
    })
    .await?;
    drop(tampering);
    for writer in writers {
        writer.await??;
    }
    // Its cache is counted, and given back before anybody is killed.
    ensure!(group.holds(pid)?, "the datanode was killed, with {} bytes", group.peak()?);
    for writer in 0..WRITERS {
        check_content(&mut client.open(&path(writer)?).await?, Pattern(writer), LENGTH as u64).await?;
    }
    client.close().await?;
    cluster.finish(&[]).await
}
