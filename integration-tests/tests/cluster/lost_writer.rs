//! Writers of visible files are killed, or stopped and let go again, and others take their files.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use client::{AppendOptions, Client, CreateOptions};
use integration_tests::{Cluster, Options, Pattern, check_content, until};
use types::{Code, Path};

const PATTERN: Pattern = Pattern(11);
const BEGINNING: u64 = 100_000;
/// What the lost writer is given. It takes it in pieces of 1 MiB.
const GIVEN: u64 = 8 << 20;

fn options() -> Options {
    Options::default()
        .fast_repair()
        .with("ASHLAR_NAMENODE__LEASE_SOFT_LIMIT", "1s")
        .with("ASHLAR_NAMENODE__RECOVERY_PATIENCE", "3s")
}

fn path() -> Result<Path> {
    Ok(Path::parse(b"/log")?)
}

/// A process that has begun to append to a file, in the middle of a block.
async fn lost_writer(cluster: &Cluster, client: &Client) -> Result<(Child, ChildStdin)> {
    client.put(&path()?, PATTERN.bytes(0, BEGINNING as usize), CreateOptions::default()).await?;
    let mut writer =
        cluster.command().args(["fs", "append", "-", "/log"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = writer.stdin.take().context("stdin is piped")?;
    for offset in (0..GIVEN).step_by(1 << 20) {
        stdin.write_all(&PATTERN.bytes(BEGINNING + offset, 1 << 20))?;
    }
    until("its block is on a datanode", async || holds_unfinished(&cluster.root().join("dn1"))).await?;
    Ok((writer, stdin))
}

/// Whether a replica of more than 1 MiB is being written below a directory.
fn holds_unfinished(directory: &std::path::Path) -> Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let long = metadata.len() > 1 << 20 && entry.path().to_string_lossy().contains("/writing/");
        if long || (metadata.is_dir() && holds_unfinished(&entry.path())?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Opens the file when the soft limit of its writer has passed, and goes on where it ended.
async fn take_over(client: &Client, more: u64) -> Result<u64> {
    let mut opened = None;
    until("the file is taken over", async || match client.append(&path()?, AppendOptions::default()).await {
        Ok(writer) => {
            opened = Some(writer);
            Ok(true)
        }
        Err(error) if error.code() == Code::LeaseHeld => Ok(false),
        Err(error) => Err(error.into()),
    })
    .await?;
    let mut writer = opened.context("it was opened")?;
    let found = writer.position();
    ensure!((BEGINNING..=BEGINNING + GIVEN).contains(&found), "it ended at {found}");
    let start = found / 8 * 8;
    writer.write(PATTERN.bytes(start, (found - start + more) as usize).slice((found - start) as usize..)).await?;
    let attributes = writer.close().await?;
    ensure!(attributes.length.get() == found + more, "{} after {found}", attributes.length);
    Ok(found + more)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_killed_in_the_middle_of_a_block_is_followed_by_another() -> Result<()> {
    let cluster = Cluster::start(options()).await?;
    let client = cluster.client().await?;
    let (mut writer, stdin) = lost_writer(&cluster, &client).await?;
    writer.kill()?;
    writer.wait()?;
    drop(stdin);
    let length = take_over(&client, 300_000).await?;
    check_content(&mut client.open(&path()?).await?, PATTERN, length).await?;
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_was_stopped_is_fenced_when_it_is_back() -> Result<()> {
    let mut cluster = Cluster::start(options()).await?;
    let client = cluster.client().await?;
    let (zombie, mut stdin) = lost_writer(&cluster, &client).await?;
    let signal = |name: &str| -> Result<()> {
        ensure!(Command::new("kill").args([name, &zombie.id().to_string()]).status()?.success(), "kill {name}");
        Ok(())
    };
    signal("-STOP")?;
    // One of the datanodes does not see the end of it.
    cluster.kill("dn3")?;
    let length = take_over(&client, 300_000).await?;
    cluster.spawn("dn3")?;
    signal("-CONT")?;
    // It may be gone already: then it was refused before it read this.
    stdin.write_all(&Pattern(12).bytes(0, 2 << 20)).ok();
    drop(stdin);
    let ended = tokio::task::spawn_blocking(move || zombie.wait_with_output());
    let output = tokio::time::timeout(Duration::from_secs(120), ended).await???;
    ensure!(!output.status.success(), "a fenced writer says so");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(said.contains("/log"), "{said}");
    check_content(&mut client.open(&path()?).await?, PATTERN, length).await?;
    ensure!(!client.stat(&path()?).await?.writing, "its lease is free");
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_datanodes_die_in_a_block_and_the_write_goes_on() -> Result<()> {
    let mut cluster = Cluster::start(options()).await?;
    let client = cluster.client().await?;
    let mut writer = client.create(&path()?, CreateOptions::default()).await?;
    const PIECE: usize = 1 << 20;
    for piece in 0..48_u64 {
        match piece {
            10 => cluster.kill("dn2")?,
            // While two live it must come to an end.
            20 => {
                cluster.kill("dn3")?;
                cluster.spawn("dn2")?;
            }
            _ => {}
        }
        writer.write(PATTERN.bytes(piece * PIECE as u64, PIECE)).await?;
    }
    writer.close().await?;
    check_content(&mut client.open(&path()?).await?, PATTERN, 48 * PIECE as u64).await?;
    cluster.finish(&[]).await
}
