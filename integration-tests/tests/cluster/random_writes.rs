//! Files are changed anywhere, by several clients, and every byte is where it was put.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use client::{Client, ContentOptions, CreateOptions, Place};
use integration_tests::{Cluster, Options};
use types::Path;

const NONE: ContentOptions = ContentOptions { mtime: None, clear_suid: false, durability: None };

fn path(text: &str) -> Path {
    Path::parse(text.as_bytes()).expect("a path")
}

async fn read(client: &Client, at: &str) -> Result<Vec<u8>> {
    let mut reader = client.open(&path(at)).await?;
    let mut content = Vec::new();
    while let Some(chunk) = reader.next_chunk().await? {
        content.extend_from_slice(&chunk);
    }
    ensure!(content.len() as u64 == reader.attributes().length.get());
    Ok(content)
}

/// Bytes that tell where they come from.
fn stamp(seed: usize, length: usize) -> Bytes {
    (0..length).map(|at| (seed * 31 + at * 7 + at / 251) as u8 | 1).collect()
}

/// The same on a file and on a vector.
struct Twin {
    client: Client,
    expected: Vec<u8>,
}

impl Twin {
    const AT: &str = "/file";

    async fn write(&mut self, offset: usize, data: Bytes) -> Result<()> {
        let end = offset + data.len();
        self.expected.resize(self.expected.len().max(end), 0);
        self.expected[offset..end].copy_from_slice(&data);
        self.client.write_at(&path(Self::AT), offset as u64, data, NONE).await?;
        self.check().await
    }

    async fn truncate(&mut self, length: usize) -> Result<()> {
        self.expected.resize(length, 0);
        self.client.truncate(&path(Self::AT), length as u64, NONE).await?;
        self.check().await
    }

    async fn punch(&mut self, offset: usize, length: usize) -> Result<()> {
        let end = (offset + length).min(self.expected.len());
        self.expected[offset..end].fill(0);
        self.client.punch(&path(Self::AT), offset as u64, length as u64, NONE).await?;
        self.check().await
    }

    async fn check(&self) -> Result<()> {
        let content = read(&self.client, Self::AT).await?;
        let differ = content.iter().zip(&self.expected).position(|(one, other)| one != other);
        ensure!(differ.is_none() && content.len() == self.expected.len(), "{} bytes, {differ:?}", content.len());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_what_was_written_over_it_also_after_a_power_cut() -> Result<()> {
    let mut cluster = Cluster::start(Options { namenodes: 1, ..Options::default() }).await?;
    let client = cluster.client().await?;
    client.put(&path(Twin::AT), Bytes::from_static(b"short"), CreateOptions::default()).await?;
    let mut twin = Twin { client: client.clone(), expected: b"short".to_vec() };
    twin.write(9, stamp(1, 20)).await?;
    ensure!(client.extents(&path(Twin::AT), 0).await?.count == 0, "it lives with its inode still");
    // It grows out of its inode, has holes, and is overwritten across the edges of blocks.
    twin.truncate(300_000).await?;
    twin.write(100_001, stamp(2, 100_000)).await?;
    twin.write(99_000, stamp(3, 5_000)).await?;
    twin.write(150_000, stamp(4, 1)).await?;
    twin.punch(120_000, 40_000).await?;
    twin.write(400_000, stamp(5, 3_000_000)).await?;
    twin.truncate(3_000_001).await?;
    let map = client.extents(&path(Twin::AT), 0).await?;
    let held: u64 = map.data.iter().map(|(_, length)| length).sum();
    ensure!(held < twin.expected.len() as u64 - 200_000 && map.count == 5, "{map:?}");
    // A copy shares what was there, and stays when the file changes.
    let replicas = cluster.replicas("dn1")?.len();
    cluster.ashlar(&["fs", "cp", "/file", "/copy"])?;
    let copied = twin.expected.clone();
    client.clone_range(&path("/file"), (99_500, 1_000_000), &path("/file"), 5_000_000, NONE).await?;
    twin.expected.resize(6_000_000, 0);
    twin.expected.copy_within(99_500..1_099_500, 5_000_000);
    twin.check().await?;
    ensure!(cluster.replicas("dn1")?.len() == replicas, "no byte was copied");
    twin.write(500_000, stamp(6, 70_000)).await?;
    ensure!(read(&client, "/copy").await? == copied, "the copy changed");
    client.concat(&path("/file"), &[Place::from(path("/copy"))], NONE).await?;
    twin.expected.extend_from_slice(&copied);
    twin.check().await?;
    ensure!(client.stat(&path("/copy")).await.is_err(), "it has vanished");
    let names = cluster.names();
    cluster.kill_all()?;
    for name in names {
        cluster.spawn(&name)?;
    }
    twin.check().await?;
    cluster.ashlar(&["fs", "truncate", "-s", "5", "/file"])?;
    ensure!(cluster.ashlar(&["fs", "cat", "/file"])? == "short");
    cluster.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_clients_append_at_once_are_all_there() -> Result<()> {
    const CLIENTS: usize = 3;
    const LINES: usize = 25;
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 1, ..Options::default() }).await?;
    // Long enough that the file grows out of its inode on the way.
    let line = |client: usize, number: usize| format!("{client} {number} {}\n", "x".repeat(400));
    let first = cluster.client().await?;
    first.put(&path("/log"), Bytes::new(), CreateOptions::default()).await?;
    let mut writers = Vec::new();
    for number in 0..CLIENTS {
        let client = cluster.client().await?;
        writers.push(tokio::spawn(async move {
            for at in 0..LINES {
                client.append_whole(&path("/log"), Bytes::from(line(number, at)), NONE).await?;
            }
            client.close().await
        }));
    }
    for writer in writers {
        writer.await??;
    }
    let content = String::from_utf8(read(&first, "/log").await?).context("text")?;
    for number in 0..CLIENTS {
        let prefix = format!("{number} ");
        let lines: Vec<&str> = content.split_inclusive('\n').filter(|line| line.starts_with(&prefix)).collect();
        let expected: Vec<String> = (0..LINES).map(|at| line(number, at)).collect();
        ensure!(lines == expected, "the lines of client {number}");
    }
    ensure!(content.lines().count() == CLIENTS * LINES);
    ensure!(first.extents(&path("/log"), 0).await?.count > 0, "it is in blocks");
    cluster.finish(&[]).await
}

async fn status(client: &Client) -> Result<client::MemberStatus> {
    let (_, status) = client.admin().status().await.pop().context("one namenode")?;
    Ok(status?)
}

/// Blocks that were taken in advance go with the client, and no file is left half-made.
#[tokio::test(flavor = "multi_thread")]
async fn small_files_cost_one_operation_each_and_leave_nothing_behind() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 1, ..Options::default() }).await?;
    let client = cluster.client().await?;
    let other = cluster.client().await?;
    let before = status(&other).await?.log.commands;
    for number in 0..100_usize {
        let at = path(&format!("/f{number}"));
        client.put(&at, stamp(number, 20_000), CreateOptions::default()).await?;
    }
    let commands = status(&other).await?.log.commands - before;
    ensure!((100..140).contains(&commands), "{commands} commands for 100 files");
    ensure!(read(&client, "/f7").await? == stamp(7, 20_000));
    let refused = client.put(&path("/f7"), stamp(1, 20_000), CreateOptions::default()).await;
    ensure!(refused.is_err_and(|error| error.code() == types::Code::Exists));
    client.close().await?;
    ensure!(status(&other).await?.blocks == 100, "blocks in advance are freed");
    cluster.finish(&[]).await
}
