//! Workers write, read, append to, rename and remove files while datanodes and leading namenodes are killed, stopped and
//! restarted and replicas are damaged and lost; a ledger outside of the system knows what was acknowledged. Then everything
//! heals, and nothing may be missing, short, left over or stuck.
//!
//! `ASHLAR_THRASHER_SECONDS` makes it longer, `ASHLAR_THRASHER_SEED` makes the same faults and choices come again.

mod checks;
mod disks;
mod trouble;
mod worker;
mod world;
mod writing;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use client::{Client, Config};
use integration_tests::thrasher::{DATANODES, Dice, plan};
use integration_tests::{Cluster, Options};

use worker::Worker;
use world::World;

const DURATION: Duration = Duration::from_secs(180);
/// Workers that wait for answers as long as it takes, and must get them.
const PATIENT: u64 = 3;
/// Workers that give up soon, and then do not know what they did.
const HASTY: u64 = 1;
const HASTE: Duration = Duration::from_millis(1500);
/// These only read what others write.
const READERS: u64 = 1;
/// Longer than anything takes that ends at all.
const END: Duration = Duration::from_secs(240);

fn options() -> Options {
    Options { datanodes: DATANODES, ..Options::default() }
        .fast_repair()
        .with("ASHLAR_NAMENODE__SESSION_TIMEOUT", "10s")
        .with("ASHLAR_NAMENODE__LEASE_SOFT_LIMIT", "2s")
        .with("ASHLAR_NAMENODE__RECOVERY_PATIENCE", "3s")
        .with("ASHLAR_NAMENODE__DIGEST_INTERVAL", "10s")
        .with("ASHLAR_DATANODE__INVENTORY_INTERVAL", "10s")
        .with("ASHLAR_DATANODE__SCRUB_INTERVAL", "60s")
}

fn number(variable: &str) -> Result<Option<u64>> {
    let Ok(text) = std::env::var(variable) else { return Ok(None) };
    Ok(Some(text.parse().with_context(|| format!("{variable}={text}"))?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[expect(clippy::print_stdout, reason = "a seed is worth nothing unless it is told")]
async fn what_was_acknowledged_outlives_every_fault() -> Result<()> {
    let by_time = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64 % 1_000_000;
    let seed = number("ASHLAR_THRASHER_SEED")?.unwrap_or(by_time);
    let duration = number("ASHLAR_THRASHER_SECONDS")?.map_or(DURATION, Duration::from_secs);
    println!("ASHLAR_THRASHER_SEED={seed} ASHLAR_THRASHER_SECONDS={}", duration.as_secs());

    let mut cluster = Cluster::start(options()).await?;
    let world = Arc::new(World::default());
    let outcome = thrash(&mut cluster, &world, seed, duration).await;
    println!("{world}");
    // The cluster is dropped while this panics, which keeps its directory.
    assert!(outcome.is_ok(), "seed {seed}: {:?}; what is left is in {}", outcome, cluster.root().display());
    cluster.finish(&[]).await
}

async fn thrash(cluster: &mut Cluster, world: &Arc<World>, seed: u64, duration: Duration) -> Result<()> {
    let dice = Dice::new(seed);
    let namenodes: Vec<String> =
        ["nn1", "nn2", "nn3"].into_iter().map(|name| cluster.address(name)).collect::<Result<_>>()?;
    let mut workers = Vec::new();
    for number in 0..PATIENT + HASTY + READERS {
        let is_hasty = (PATIENT..PATIENT + HASTY).contains(&number);
        let op_timeout = if is_hasty { HASTE } else { Config::default().op_timeout };
        let config = Config { namenodes: namenodes.clone(), op_timeout, ..Config::default() };
        let client = Client::connect(config.clone()).await?;
        let worker = Worker::new(number, !is_hasty, client, config, Arc::clone(world), dice.child(number));
        workers.push(if number < PATIENT + HASTY { tokio::spawn(worker.work()) } else { tokio::spawn(worker.read()) });
    }
    let troubled = trouble::make(cluster, world, plan(seed, duration), dice.child(u64::MAX)).await;
    world.end();
    for worker in workers {
        tokio::time::timeout(END, worker).await.context("a worker hangs")???;
    }
    troubled?;
    let wrong = world.violations();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    checks::healed(cluster, world).await?;
    world.ensure_progress(duration)
}
