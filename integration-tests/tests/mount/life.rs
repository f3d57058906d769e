//! How a mount begins and ends, and what programs on it see when parts of the cluster are lost.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use anyhow::{Context, Result, ensure};
use integration_tests::{Cluster, DEADLINE, Mounted, Options, binary, until};
use rustix::process::{Pid, Signal, kill_process};

/// What a program writes at a time while parts of the cluster are lost.
const PIECE: usize = 64 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn quickstart_mounts_and_takes_it_away_again() -> Result<()> {
    if crate::skipped("quickstart_mounts_and_takes_it_away_again") {
        return Ok(());
    }
    let base = tempfile::tempdir()?;
    // The mount point is made.
    let (dir, point) = (base.path().join("q"), base.path().join("some/where"));
    for run in 0..2 {
        let mut command = Command::new(binary());
        command.args(["quickstart", "--namenodes", "1", "--datanodes", "1", "--dir"]).arg(&dir);
        if run > 0 {
            // What is there decides.
            command = Command::new(binary());
            command.args(["quickstart", "--dir"]).arg(&dir);
        }
        let mut quickstart = Killed(command.arg("--mount").arg(&point).stdout(Stdio::piped()).spawn()?);
        let stdout = quickstart.0.stdout.take().context("it is piped")?;
        let lines: Vec<String> =
            BufReader::new(stdout).lines().map_while(Result::ok).take_while(|line| line != "ashlar is ready").collect();
        let says = format!("its files are in {}", point.display());
        ensure!(lines.contains(&says), "{lines:?}");
        ensure!(fs::read_dir(&point)?.count() == run, "what was written is found again");
        fs::write(point.join(run.to_string()), b"through the mount")?;
        // Not closed: it is written all the same.
        let mut open = OpenOptions::new().write(true).open(point.join("0"))?;
        open.write_all(b"THROUGH")?;
        drop(open);
        quickstart.signal(Signal::INT)?;
        until("quickstart stops", async || Ok(quickstart.0.try_wait()?.is_some())).await?;
        ensure!(quickstart.0.wait()?.success());
        ensure!(fs::read_dir(&point)?.count() == 0, "nothing is mounted there any more");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mount_and_umount_find_their_helper() -> Result<()> {
    if crate::skipped("mount_and_umount_find_their_helper") {
        return Ok(());
    }
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 1, ..Options::default() }).await?;
    let address = cluster.address("nn1")?;
    let base = tempfile::tempdir()?;
    let (helper, point) = (base.path().join("mount.ashlar"), base.path().join("point"));
    symlink(binary(), &helper)?;
    fs::create_dir(&point)?;
    let _detached = Detached(&point);
    let run = |options: &str| {
        let mut command = Command::new(&helper);
        command.arg0(&helper).arg(&address).arg(&point).args(["-o", options]).current_dir(base.path());
        // It ends although the mount goes on: what it inherited, the mount has let go of.
        command.output()
    };
    let fake = Command::new(&helper).arg(&address).arg(&point).args(["-f", "-o", "rw"]).output()?;
    ensure!(fake.status.success() && fs::read_dir(&point)?.count() == 0, "{fake:?}");
    let wrong = run("rw,allow_others")?;
    ensure!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean allow_other?"), "{wrong:?}");
    let mounted = run("rw,nosuid,nodev,noatime,_netdev,allow_other")?;
    ensure!(mounted.status.success(), "{mounted:?}");
    fs::write(point.join("file"), b"text")?;
    let table = fs::read_to_string("/proc/self/mounts")?;
    let line = table.lines().find(|line| line.contains(point.to_str().unwrap_or_default())).context("it is listed")?;
    ensure!(line.contains("fuse.ashlar") && line.contains("nosuid") && line.contains("nodev"), "{line}");
    let remounted = run("remount,ro,nosuid")?;
    ensure!(remounted.status.success(), "{remounted:?}");
    let refused = fs::write(point.join("file"), b"more").expect_err("it is read-only");
    ensure!(refused.raw_os_error() == Some(30), "EROFS: {refused}");
    ensure!(fs::read(point.join("file"))? == b"text");
    let daemon = daemon_of(&point)?;
    let umounted = Command::new("umount").arg(&point).output()?;
    ensure!(umounted.status.success(), "{umounted:?}");
    until("the daemon ends", async || Ok(!Path::new(&format!("/proc/{daemon}")).exists())).await?;
    ensure!(cluster.ashlar(&["fs", "cat", "/file"])? == "text");
    cluster.finish(&[]).await
}

/// The process that serves a mount point, by its command line.
fn daemon_of(point: &Path) -> Result<u32> {
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may have ended meanwhile.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains("--detached") && line.contains(point.to_str().context("a plain name")?) {
            return Ok(pid);
        }
    }
    anyhow::bail!("no process serves {}", point.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_is_taken_away_leaves_nothing_unwritten() -> Result<()> {
    if crate::skipped("a_mount_that_is_taken_away_leaves_nothing_unwritten") {
        return Ok(());
    }
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 1, ..Options::default() }).await?;
    let mount = Mounted::start(&cluster, &[])?;
    let mut file = File::create(mount.path().join("open"))?;
    file.write_all(&[5; 300_000])?;
    let point = mount.path().to_owned();
    let (ended, used) = tokio::join!(mount.finish(), async {
        // The name goes at once, and by then everything is in the cluster; the program still has its file.
        until("the name is gone", async || Ok(!point.join("open").exists())).await?;
        ensure!(cluster.ashlar(&["fs", "cat", "/open"])?.len() == 300_000);
        file.write_all(b"more")?;
        drop(file);
        anyhow::Ok(())
    });
    used?;
    ended?;
    ensure!(cluster.ashlar(&["fs", "cat", "/open"])?.ends_with("more"));
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_stored_is_told_to_the_program_and_in_the_end() -> Result<()> {
    if crate::skipped("what_could_not_be_stored_is_told_to_the_program_and_in_the_end") {
        return Ok(());
    }
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 1, ..Options::default() }).await?;
    cluster.ashlar(&["fs", "mkdir", "/small"])?;
    cluster.ashlar(&["fs", "quota", "--space", "1MiB", "/small"])?;
    let mut mount = Mounted::start(&cluster, &[])?;
    let file = File::create(mount.path().join("small/file"))?;
    file.write_all_at(&vec![1; 2 << 20], 0)?;
    for _ in 0..2 {
        let told = file.sync_all().expect_err("it does not fit");
        ensure!(told.raw_os_error() == Some(122), "EDQUOT, again and again: {told}");
    }
    let told = file.write_at(b"x", 0).expect_err("it stays failed");
    ensure!(told.raw_os_error() == Some(122), "{told}");
    drop(file);
    // The next one begins anew.
    fs::write(mount.path().join("small/file"), b"fits")?;
    let status = mount.stop().await?;
    ensure!(status.code() == Some(1), "something was lost: {status}");
    cluster.finish(&[]).await
}

/// Writes, appends, syncs and reads all the time, until it is told to stop. Every error is one too many.
fn worker(root: &Path, stop: Arc<AtomicBool>, progress: mpsc::Sender<u64>) -> Result<u64> {
    let directory = root.join("work");
    fs::create_dir(&directory)?;
    let mut log = OpenOptions::new().create(true).append(true).open(directory.join("log"))?;
    let mut turn = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let path = directory.join(format!("file{}", turn % 7));
        let bytes = vec![(turn % 251) as u8; PIECE];
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&path, directory.join("renamed"))?;
        ensure!(fs::read(directory.join("renamed"))? == bytes, "turn {turn}");
        writeln!(log, "{turn}")?;
        turn += 1;
        // Nobody may listen any more.
        let _ = progress.send(turn);
    }
    drop(log);
    let lines = fs::read_to_string(directory.join("log"))?;
    ensure!(lines.lines().filter_map(|line| line.parse::<u64>().ok()).eq(0..turn), "every line is there once");
    Ok(turn)
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_notice_nothing_of_a_lost_leader_and_a_lost_datanode() -> Result<()> {
    if crate::skipped("programs_notice_nothing_of_a_lost_leader_and_a_lost_datanode") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::default().fast_repair()).await?;
    let mount = Mounted::start(&cluster, &[])?;
    let (root, stop) = (mount.path().to_owned(), Arc::new(AtomicBool::new(false)));
    let (sender, progress) = mpsc::channel();
    let stopped = stop.clone();
    let worker = std::thread::spawn(move || worker(&root, stopped, sender));
    // Some turns of the work that began after now.
    let goes_on = |what: &str| -> Result<()> {
        progress.try_iter().for_each(drop);
        for _ in 0..5 {
            progress.recv_timeout(DEADLINE).with_context(|| format!("the program goes on after {what}"))?;
        }
        Ok(())
    };
    goes_on("the beginning")?;
    let leader = cluster.leader().await?;
    cluster.kill(&leader)?;
    goes_on("the loss of the leader")?;
    cluster.spawn(&leader)?;
    cluster.kill("dn2")?;
    goes_on("the loss of a datanode")?;
    cluster.spawn("dn2")?;
    goes_on("its return")?;
    let leader = cluster.leader().await?;
    cluster.pause(&leader)?;
    goes_on("a leader that hangs")?;
    cluster.resume(&leader)?;
    stop.store(true, Ordering::Relaxed);
    worker.join().expect("it does not panic").context("the program")?;
    mount.finish().await?;
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_synced_outlives_a_killed_daemon_and_a_killed_cluster() -> Result<()> {
    if crate::skipped("what_was_synced_outlives_a_killed_daemon_and_a_killed_cluster") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options { namenodes: 1, datanodes: 2, ..Options::default() }).await?;
    let mut mount = Mounted::start(&cluster, &[])?;
    let path = mount.path().join("file");
    let file = File::create(&path)?;
    file.write_all_at(&[1; 100_000], 0)?;
    file.sync_all()?;
    // On its way, and nobody was told that it is safe.
    file.write_all_at(&[2; 50_000], 20_000)?;
    mount.kill()?;
    cluster.kill_all()?;
    for name in cluster.names() {
        cluster.spawn(&name)?;
    }
    cluster.until_healthy().await?;
    drop(file);
    mount.restart(&cluster, &[])?;
    let mut bytes = Vec::new();
    File::open(&path)?.read_to_end(&mut bytes)?;
    ensure!(bytes.len() == 100_000, "{}", bytes.len());
    let middle = &bytes[20_000..70_000];
    ensure!(middle == [1; 50_000] || middle == [2; 50_000], "the write is there as a whole or not at all");
    ensure!(bytes[..20_000] == [1; 20_000] && bytes[70_000..] == [1; 30_000]);
    mount.finish().await?;
    cluster.finish(&[]).await
}

/// What is mounted here does not outlive its test: a directory whose cluster is gone could not be removed.
struct Detached<'a>(&'a Path);

impl Drop for Detached<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// A process that does not outlive its test.
struct Killed(Child);

impl Killed {
    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.0.id())?).context("a process has an id")?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
