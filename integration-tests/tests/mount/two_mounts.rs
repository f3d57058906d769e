//! Two mounts of one cluster, as on two machines.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use integration_tests::{Cluster, Mounted, Options, until};
use rustix::fs::{FlockOperation, flock};

/// Lines that each of two writers appends.
const LINES: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn two_mounts_are_one_file_system() -> Result<()> {
    if crate::skipped("two_mounts_are_one_file_system") {
        return Ok(());
    }
    let cluster = Cluster::start(Options { namenodes: 1, ..Options::default() }).await?;
    // Nothing is kept: what one changes, the other sees when it asks.
    let mounts =
        [Mounted::start(&cluster, &["-o", "attr_timeout=0s"])?, Mounted::start(&cluster, &["-o", "attr_timeout=0s"])?];
    let [one, other] = [mounts[0].path().to_owned(), mounts[1].path().to_owned()];
    tokio::task::spawn_blocking(move || {
        appends_lose_no_line(&one, &other).context("appends")?;
        what_is_closed_is_seen(&one, &other).context("close to open")?;
        a_removed_file_lives_while_it_is_open(&one, &other).context("removed while open")?;
        locks_hold_across_mounts(&one, &other).context("locks")
    })
    .await??;
    for mount in mounts {
        mount.finish().await?;
    }
    cluster.finish(&[]).await
}

fn appends_lose_no_line(one: &Path, other: &Path) -> Result<()> {
    let append = |root: &Path, who: &'static str| {
        let path = root.join("log");
        std::thread::spawn(move || -> Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            for line in 0..LINES {
                file.write_all(format!("{who} {line}\n").as_bytes())?;
            }
            Ok(())
        })
    };
    let writers = [append(one, "one"), append(other, "other")];
    for writer in writers {
        writer.join().expect("a writer does not panic")?;
    }
    let text = fs::read_to_string(one.join("log"))?;
    ensure!(text == fs::read_to_string(other.join("log"))?, "both read the same");
    for who in ["one", "other"] {
        let lines = text.lines().filter_map(|line| line.strip_prefix(who)?.trim().parse::<usize>().ok());
        ensure!(lines.eq(0..LINES), "{who} finds its lines, in their order: {text}");
    }
    Ok(())
}

fn what_is_closed_is_seen(one: &Path, other: &Path) -> Result<()> {
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 249) as u8).collect();
    fs::write(one.join("file"), &bytes)?;
    ensure!(fs::read(other.join("file"))? == bytes);
    // Overwritten in the middle, shortened and renamed there; seen here.
    let mut file = OpenOptions::new().write(true).open(other.join("file"))?;
    file.seek(SeekFrom::Start(100_000))?;
    file.write_all(b"changed")?;
    file.set_len(200_000)?;
    drop(file);
    let mut wanted = bytes[..200_000].to_vec();
    wanted[100_000..100_007].copy_from_slice(b"changed");
    ensure!(fs::read(one.join("file"))? == wanted);
    fs::rename(other.join("file"), other.join("renamed"))?;
    ensure!(!one.join("file").exists() && fs::metadata(one.join("renamed"))?.size() == 200_000);
    Ok(())
}

fn a_removed_file_lives_while_it_is_open(one: &Path, other: &Path) -> Result<()> {
    fs::write(one.join("gone"), b"still here")?;
    let mut open = File::options().read(true).write(true).open(one.join("gone"))?;
    fs::remove_file(other.join("gone"))?;
    ensure!(!one.join("gone").exists(), "its name is gone");
    let mut text = String::new();
    open.read_to_string(&mut text)?;
    ensure!(text == "still here" && open.metadata()?.nlink() == 0);
    open.write_all(b", and longer")?;
    open.sync_all()?;
    open.seek(SeekFrom::Start(0))?;
    text.clear();
    open.read_to_string(&mut text)?;
    ensure!(text == "still here, and longer", "{text}");
    Ok(())
}

fn locks_hold_across_mounts(one: &Path, other: &Path) -> Result<()> {
    let open = |root: &Path| File::options().create(true).truncate(false).write(true).open(root.join("lock"));
    let (here, there) = (open(one)?, open(other)?);
    flock(&here, FlockOperation::LockExclusive)?;
    let refused = flock(&there, FlockOperation::NonBlockingLockExclusive);
    ensure!(refused == Err(rustix::io::Errno::WOULDBLOCK), "{refused:?}");
    let waiting = std::thread::spawn(move || flock(&there, FlockOperation::LockExclusive).map(|()| there));
    // Closing the file releases it.
    drop(here);
    let there = waiting.join().expect("it does not panic")?;
    let again = open(one)?;
    ensure!(flock(&again, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK));
    drop(there);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_daemon_takes_the_place_of_one_that_was_killed() -> Result<()> {
    if crate::skipped("a_new_daemon_takes_the_place_of_one_that_was_killed") {
        return Ok(());
    }
    let cluster = Cluster::start(Options { namenodes: 1, ..Options::default() }).await?;
    let mut mount = Mounted::start(&cluster, &[])?;
    let path = mount.path().join("file");
    let mut file = File::create(&path)?;
    file.write_all(&[7; 100_000])?;
    file.sync_all()?;
    mount.kill()?;
    let gone = fs::read(&path);
    ensure!(gone.is_err(), "nobody answers");
    mount.restart(&cluster, &[])?;
    ensure!(fs::read(&path)? == [7; 100_000], "what was synced is there");
    until("the file can be written again", async || Ok(fs::write(&path, b"again").is_ok())).await?;
    ensure!(fs::read(&path)? == b"again");
    mount.finish().await?;
    cluster.finish(&[]).await
}
