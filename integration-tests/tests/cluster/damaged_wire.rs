//! Bits change on the way to a datanode, or back, and TCP does not see it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use client::{Client, Config, CreateOptions};
use integration_tests::{Cluster, Options, Pattern, Way, Wire, check_content, until};
use serde_json::Value;
use tokio::net::TcpListener;
use types::{ByteSize, Path};

const LENGTH: usize = 3 << 20;
const FILES: u64 = 8;
/// One bit in so many bytes of each wire: less than one in a file, and at other places on each.
const EVERY: [u64; 3] = [5_000_011, 7_300_003, 9_100_009];
const CLEAN: [u64; 3] = [0; 3];
const NAMES: [&str; 3] = ["dn1", "dn2", "dn3"];

/// Three datanodes, each behind a wire of its own: everybody goes through it, clients and other datanodes.
struct Wired {
    cluster: Cluster,
    wires: Vec<Wire>,
    every: Vec<Arc<AtomicU64>>,
}

impl Wired {
    async fn start(way: Way) -> Result<Self> {
        let (mut options, mut wires) = (Options { namenodes: 1, ..Options::default() }.fast_repair(), Vec::new());
        let every: Vec<_> = CLEAN.into_iter().map(|every| Arc::new(AtomicU64::new(every))).collect();
        for (name, every) in NAMES.into_iter().zip(&every) {
            // A port that is free now: whoever is given it next would have to be very quick.
            let target = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
            let wire = Wire::to(target, way, Arc::clone(every)).await?;
            options = options.set(name, format!("datanode.listen={target}"));
            options = options.set(name, format!("datanode.advertise={}", wire.address));
            wires.push(wire);
        }
        Ok(Self { cluster: Cluster::start(options).await?, wires, every })
    }

    fn damage(&self, every: [u64; 3]) {
        self.every.iter().zip(every).for_each(|(wire, every)| wire.store(every, Ordering::Relaxed));
    }

    fn flipped(&self) -> u64 {
        self.wires.iter().map(Wire::flipped).sum()
    }
}

fn path(file: u64) -> Path {
    Path::parse(format!("/f{file}").as_bytes()).expect("a plain name")
}

async fn put(cluster: &Cluster, files: std::ops::Range<u64>) -> Result<()> {
    let client = cluster.client().await?;
    for file in files {
        let options = CreateOptions { block_size: Some(ByteSize::mib(1)), ..CreateOptions::default() };
        client.put(&path(file), Pattern(file).bytes(0, LENGTH), options).await?;
    }
    Ok(client.close().await?)
}

/// Over the wires, and not from the files of the replicas.
async fn check(cluster: &Cluster, files: std::ops::Range<u64>) -> Result<()> {
    let client = Client::connect(Config { local_reads: false, ..cluster.client_config()? }).await?;
    for file in files {
        let checked = check_content(&mut client.open(&path(file)).await?, Pattern(file), LENGTH as u64).await;
        checked.with_context(|| format!("file {file}"))?;
    }
    Ok(client.close().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn bits_that_change_on_the_way_to_a_datanode_are_never_stored() -> Result<()> {
    let wired = Wired::start(Way::Up).await?;
    let cluster = &wired.cluster;
    wired.damage(EVERY);
    // Writers are not told: what was damaged is sent once more.
    put(cluster, 0..FILES).await?;
    ensure!(wired.flipped() >= FILES, "{} bits changed", wired.flipped());
    wired.damage(CLEAN);
    until("every block has its copies", async || Ok(cluster.is_whole())).await?;
    let scrubbed: Value = serde_json::from_str(&cluster.ashlar(&["admin", "scrub", "--json"])?)?;
    ensure!(scrubbed["bad"] == 0, "{scrubbed}");
    check(cluster, 0..FILES).await?;
    wired.cluster.finish(&[]).await
}

/// A reader reports what it cannot use. Whether the replica is damaged, its datanode alone can tell.
#[tokio::test(flavor = "multi_thread")]
async fn bits_that_change_on_the_way_to_a_reader_are_never_shown_and_take_no_replica_away() -> Result<()> {
    let wired = Wired::start(Way::Down).await?;
    let cluster = &wired.cluster;
    put(cluster, 0..FILES).await?;
    let before = on_disk(cluster)?;
    wired.damage(EVERY);
    until("bits have changed on the way", async || {
        check(cluster, 0..FILES).await?;
        Ok(wired.flipped() >= 2 * FILES)
    })
    .await?;
    wired.damage(CLEAN);
    // What was reported is looked at when this is through: nobody hears of a replica after that.
    cluster.ashlar(&["admin", "scrub"])?;
    let fsck = cluster.ashlar(&["admin", "fsck", "--json", "--blocks"])?;
    ensure!(!fsck.contains("\"live\":2") && !fsck.contains("\"live\":1,"), "{fsck}");
    ensure!(on_disk(cluster)? == before, "the replicas are those that were written");
    check(cluster, 0..FILES).await?;
    wired.cluster.finish(&[]).await
}

fn on_disk(cluster: &Cluster) -> Result<Vec<PathBuf>> {
    Ok(NAMES.iter().map(|name| cluster.replicas(name)).collect::<Result<Vec<_>>>()?.concat())
}
