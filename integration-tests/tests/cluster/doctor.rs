//! Ten incidents, each of which breaks a small cluster in one way: `admin doctor` names the cause.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use integration_tests::{Cluster, Options, Pattern, SmallDisks, binary, until};
use serde_json::Value;

/// Waits until the doctor names the cause, and answers its words.
async fn diagnosis(cluster: &Cluster, cause: &str) -> Result<String> {
    integration_tests::until_some(&format!("the doctor finds {cause}"), async || {
        let output = cluster.ashlar_raw(&["admin", "doctor", "--json"]);
        let found: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let found = found.as_array().context("an array")?;
        ensure!(output.status.code() == Some(if found.is_empty() { 0 } else { 3 }), "{output:?}");
        let named = found.iter().find(|finding| finding["cause"] == cause);
        Ok(named.and_then(|finding| finding["what"].as_str()).map(str::to_owned))
    })
    .await
}

async fn small() -> Result<Cluster> {
    let cluster = Cluster::start(Options { namenodes: 1, ..Options::default() }.fast_repair()).await?;
    let well = cluster.ashlar(&["admin", "doctor"])?;
    ensure!(well == "nothing is wrong\n", "{well}");
    Ok(cluster)
}

fn put(cluster: &Cluster, name: &str) -> Result<()> {
    let local = cluster.root().join("local");
    fs::write(&local, Pattern(1).bytes(0, 4 << 20))?;
    cluster.ashlar(&["fs", "put", "--block-size", "1MiB", local.to_str().context("a plain name")?, name])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_disk() -> Result<()> {
    let cluster = small().await?;
    // As when the mount is gone: an empty directory is left.
    fs::rename(cluster.root().join("dn2"), cluster.root().join("elsewhere"))?;
    fs::create_dir(cluster.root().join("dn2"))?;
    let what = diagnosis(&cluster, "dead-disk").await?;
    ensure!(what.contains("(dn2) has failed"), "{what}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
async fn a_full_volume() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can mount the small file system that this test fills");
        return Ok(());
    }
    let options = Options { namenodes: 1, ..Options::default() }.fast_repair().with("ASHLAR_DATANODE__RESERVE", "1MiB");
    let mut cluster = Cluster::start(options).await?;
    let disks = SmallDisks::of(&mut cluster, &["dn3"], "96m").await?;
    let mut filler = File::create(cluster.root().join("dn3").join("filler"))?;
    // Somebody else's data fills the disk.
    while filler.write_all(&[7; 1 << 20]).is_ok() {}
    let what = diagnosis(&cluster, "full-volume").await?;
    ensure!(what.contains("(dn3) has") && what.contains("left"), "{what}");
    drop((cluster, disks));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_datanode() -> Result<()> {
    let options = Options { namenodes: 1, ..Options::default() };
    let cluster = Cluster::start(options).await?;
    let start = std::time::Instant::now();
    cluster.pause("dn1")?;
    // Not so long that it is suspect: it hangs, as under a load that is too much for it.
    until("some heartbeats are late", async || Ok(start.elapsed() > std::time::Duration::from_millis(3500))).await?;
    cluster.resume("dn1")?;
    let what = diagnosis(&cluster, "slow-datanode").await?;
    ensure!(what.contains("(dn1) stops for up to"), "{what}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_block() -> Result<()> {
    let cluster = small().await?;
    put(&cluster, "/file")?;
    let replica = cluster.replicas("dn1")?.into_iter().next().context("dn1 has some")?;
    let file = File::options().read(true).write(true).open(&replica)?;
    let (place, mut byte) = (file.metadata()?.len() - 100, [0]);
    file.read_exact_at(&mut byte, place)?;
    file.write_all_at(&[byte[0] ^ 1], place)?;
    cluster.ashlar(&["admin", "scrub"])?;
    let what = diagnosis(&cluster, "damaged-replicas").await?;
    ensure!(what.contains("(dn1) found 1 damaged replica"), "{what}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_quorum_member() -> Result<()> {
    let mut cluster = Cluster::start(Options::default().fast_repair()).await?;
    let lost = if cluster.leader().await? == "nn2" { "nn3" } else { "nn2" };
    let address = cluster.address(lost)?;
    cluster.kill(lost)?;
    let what = diagnosis(&cluster, "lost-namenode").await?;
    ensure!(what.contains(&address) && what.contains("does not answer"), "{what}");
    let said = String::from_utf8(cluster.ashlar_raw(&["admin", "doctor"]).stdout)?;
    ensure!(said.contains("so: one more lost namenode stops the cluster"), "{said}");
    Ok(())
}

/// A library that puts the clock of a process ahead.
fn clock_ahead(dir: &Path) -> Result<String> {
    let source = dir.join("clock.c");
    fs::write(
        &source,
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <time.h>\nint clock_gettime(clockid_t id, struct timespec *at) {\n\
         static int (*real)(clockid_t, struct timespec *);\n\
         if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, \"clock_gettime\");\n\
         int done = real(id, at);\n if (done == 0 && id == CLOCK_REALTIME) at->tv_sec += 3600;\n return done;\n}\n",
    )?;
    let library = dir.join("clock.so");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").status()?;
    ensure!(built.success(), "cc failed");
    Ok(library.to_str().context("a plain name")?.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_off() -> Result<()> {
    let mut cluster = small().await?;
    cluster.stop("dn3").await?;
    let library = clock_ahead(&cluster.root())?;
    cluster.spawn_with("dn3", binary(), &[("LD_PRELOAD", library)])?;
    let what = diagnosis(&cluster, "clock-skew").await?;
    ensure!(what.contains("(dn3)") && what.contains("ahead of the others"), "{what}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flapping_datanode() -> Result<()> {
    let mut cluster = small().await?;
    for _ in 0..3 {
        cluster.kill("dn1")?;
        cluster.spawn("dn1")?;
        cluster.until_healthy().await.ok();
    }
    let what = diagnosis(&cluster, "flapping-datanode").await?;
    ensure!(what.contains("(dn1) came back"), "{what}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_does_not_go_on() -> Result<()> {
    let options = Options { namenodes: 1, ..Options::default() }.with("ASHLAR_NAMENODE__SESSION_TIMEOUT", "30s");
    let cluster = Cluster::start(options).await?;
    let mut writer = cluster.command();
    writer.args(["fs", "append", "-", "/held"]).stdin(Stdio::piped()).stdout(Stdio::null());
    put(&cluster, "/held")?;
    let mut writer = writer.spawn()?;
    writer.stdin.as_mut().context("it is piped")?.write_all(&[1; 1 << 20])?;
    until("the file is being written", async || {
        let stat: Value = serde_json::from_str(&cluster.ashlar(&["fs", "stat", "--json", "/held"])?)?;
        Ok(stat[0]["writing"] == true)
    })
    .await?;
    let pid = rustix::process::Pid::from_raw(i32::try_from(writer.id())?).context("a process has an id")?;
    rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;
    let what = diagnosis(&cluster, "stuck-file").await;
    writer.kill()?;
    writer.wait()?;
    let what = what?;
    ensure!(what.starts_with("/held is held by a writer that is silent"), "{what}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_rack_map() -> Result<()> {
    let mut cluster = small().await?;
    let (root, seed) = (cluster.root(), cluster.address("nn1")?);
    let root = root.to_str().context("a plain name")?;
    cluster.ashlar(&["init", root, "--join", &seed, "--datanode", "dn4", "--rack", "/r9"])?;
    cluster.spawn("dn4")?;
    let what = diagnosis(&cluster, "wrong-rack-map").await?;
    ensure!(what.contains("(dn3)") && what.contains("stand in no rack"), "{what}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datanode_of_another_version() -> Result<()> {
    let mut cluster = small().await?;
    // The same program, which says that it is another one.
    let mut program = fs::read(binary())?;
    let said = format!("ashlar-{}", env!("CARGO_PKG_VERSION"));
    let places: Vec<usize> =
        program.windows(said.len()).enumerate().filter(|(_, at)| *at == said.as_bytes()).map(|(at, _)| at).collect();
    ensure!(!places.is_empty(), "the program does not hold {said}");
    for place in places {
        program[place + "ashlar-".len()] = b'9';
    }
    let other = cluster.root().join("ashlar-9");
    fs::write(&other, program)?;
    ensure!(Command::new("chmod").arg("+x").arg(&other).status()?.success(), "chmod failed");
    cluster.stop("dn2").await?;
    cluster.spawn_with("dn2", &other, &[])?;
    let what = diagnosis(&cluster, "version-skew").await?;
    ensure!(what.contains("(dn2) runs ashlar-9"), "{what}");
    Ok(())
}
