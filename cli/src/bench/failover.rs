//! `meta.failover` and `meta.transfer`: how long clients wait when the leader is killed, and when it hands over.
//!
//! Sessions create files and read without a pause. What counts is the longest time in which no change, or no read, was
//! answered, from the kill until the killed namenode is back and has caught up. No operation may fail, and every file
//! that was acknowledged must be there in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use bytes::Bytes;
use client::{Admin, Client, CreateOptions, MemberStatus, MkdirOptions};
use tokio::task::JoinSet;
use tracing::info;
use types::{Name, NodeId, Path};

use super::processes::Processes;
use super::report::{Measurement, Reporter, Sample, latencies};

/// Clients that create, and as many that read; each has a session of its own, and one operation under way.
const SESSIONS: u64 = 4;
/// A cluster that has not recovered by then does not.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the members.
const LOOK: Duration = Duration::from_millis(20);

/// When something was last answered, and the longest time between two answers.
#[derive(Debug)]
struct Pulse {
    since: Instant,
    last_nanos: AtomicU64,
    longest_nanos: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Self { since: Instant::now(), last_nanos: AtomicU64::new(0), longest_nanos: AtomicU64::new(0) }
    }

    fn beat(&self) {
        let now = self.since.elapsed().as_nanos() as u64;
        let last = self.last_nanos.fetch_max(now, Ordering::Relaxed);
        self.longest_nanos.fetch_max(now.saturating_sub(last), Ordering::Relaxed);
    }

    /// Waits for the next answer.
    async fn next(&self) -> anyhow::Result<()> {
        let last = self.last_nanos.load(Ordering::Relaxed);
        let until = Instant::now() + PATIENCE;
        while self.last_nanos.load(Ordering::Relaxed) == last {
            ensure!(Instant::now() < until, "nothing was answered for {PATIENCE:?}");
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Forgets the gaps so far.
    fn restart(&self) {
        self.longest_nanos.store(0, Ordering::Relaxed);
    }

    /// The longest gap since the restart, the one that lasts included.
    fn longest(&self) -> Duration {
        let lasting = (self.since.elapsed().as_nanos() as u64).saturating_sub(self.last_nanos.load(Ordering::Relaxed));
        Duration::from_nanos(self.longest_nanos.load(Ordering::Relaxed).max(lasting))
    }
}

#[derive(Debug)]
struct Load {
    changes: Pulse,
    reads: Pulse,
    created: AtomicU64,
    errors: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    fn restart(&self) {
        self.changes.restart();
        self.reads.restart();
    }

    /// Waits until the clients work again. Killing earlier would count two losses as one.
    async fn answered(&self) -> anyhow::Result<()> {
        self.changes.next().await?;
        self.reads.next().await
    }

    fn longest(&self) -> Duration {
        self.changes.longest().max(self.reads.longest())
    }

    fn running(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Kills the leader `kills` times, and has it hand over as often.
pub(super) async fn measure(cluster: &mut Processes, kills: u32, reporter: &mut Reporter) -> anyhow::Result<()> {
    cluster.start()?;
    cluster.ready().await?;
    let config = cluster.client_config();
    let admin = Admin::unconnected(&config);
    let base = Path::parse(format!("/ashlar-bench-{}", std::process::id()).as_bytes())?;
    let probe = Client::connect(config.clone()).await?;
    probe.mkdir(&base, MkdirOptions::default()).await?;

    let (load, mut sessions) = load(&config, &base).await?;
    load.answered().await?;
    let mut killed = Vec::new();
    for _ in 0..kills {
        load.restart();
        let new = fail_over(cluster, &admin).await?;
        load.answered().await?;
        let (changes, reads) = (load.changes.longest(), load.reads.longest());
        info!(%new, ?changes, ?reads, "another leads");
        killed.push(changes.max(reads));
    }
    let mut transferred = Vec::new();
    for _ in 0..kills {
        load.restart();
        admin.transfer(None).await?;
        steady(&admin, config.namenodes.len(), 0).await?;
        load.answered().await?;
        transferred.push(load.longest());
    }
    load.stop.store(true, Ordering::Relaxed);
    let mut failed = None;
    while let Some(ended) = sessions.join_next().await {
        failed = failed.or(ended?.err());
    }

    let errors = load.errors.load(Ordering::Relaxed);
    reporter.print(&measurement("meta.failover", &killed, errors)?)?;
    reporter.print(&measurement("meta.transfer", &transferred, errors)?)?;
    if let Some(error) = failed {
        return Err(error.context(format!("{errors} operations failed; the first of them")));
    }
    let created = load.created.load(Ordering::Relaxed);
    let there = probe.stat(&base).await?.usage.map_or(0, |usage| usage.files);
    ensure!(there == created, "{created} files were acknowledged, and {there} are there");
    probe.delete(&base, true).await?;
    probe.close().await?;
    Ok(())
}

type Sessions = JoinSet<anyhow::Result<()>>;

/// Sets the sessions to work.
async fn load(config: &client::Config, base: &Path) -> anyhow::Result<(Arc<Load>, Sessions)> {
    let load = Arc::new(Load {
        changes: Pulse::new(),
        reads: Pulse::new(),
        created: AtomicU64::new(0),
        errors: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let mut sessions = Sessions::new();
    for session in 0..SESSIONS {
        let (writer, reader) = (Client::connect(config.clone()).await?, Client::connect(config.clone()).await?);
        sessions.spawn(create(writer, base.clone(), session, load.clone()));
        sessions.spawn(read(reader, base.clone(), load.clone()));
    }
    Ok((load, sessions))
}

async fn create(client: Client, base: Path, session: u64, load: Arc<Load>) -> anyhow::Result<()> {
    let mut first = None;
    for number in 0_u64.. {
        if !load.running() {
            break;
        }
        let path = base.join(Name::new(format!("f{session}-{number}").as_bytes())?)?;
        match client.put(&path, Bytes::new(), CreateOptions::default()).await {
            Ok(_) => {
                load.changes.beat();
                load.created.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                load.errors.fetch_add(1, Ordering::Relaxed);
                first.get_or_insert(error);
            }
        }
    }
    leave(client, first).await
}

async fn read(client: Client, base: Path, load: Arc<Load>) -> anyhow::Result<()> {
    let mut first = None;
    while load.running() {
        match client.stat(&base).await {
            Ok(_) => load.reads.beat(),
            Err(error) => {
                load.errors.fetch_add(1, Ordering::Relaxed);
                first.get_or_insert(error);
            }
        }
    }
    leave(client, first).await
}

async fn leave(client: Client, failed: Option<client::Error>) -> anyhow::Result<()> {
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(client.close().await?),
    }
}

/// Kills the leader, starts it again once another leads, and waits until it has caught up.
async fn fail_over(cluster: &mut Processes, admin: &Admin) -> anyhow::Result<NodeId> {
    let (leader, members) = led(admin, |_| true).await?;
    let old = leader.node;
    let name = format!("nn{}", old.get());
    cluster.kill(&name)?;
    let (new, _) = led(admin, |status| status.node != old && status.term > leader.term).await?;
    cluster.start_one(&name)?;
    steady(admin, members, new.commit).await?;
    cluster.check()?;
    Ok(new.node)
}

/// Waits for a leader that will do, as it sees itself; and how many members it has.
async fn led(admin: &Admin, good: impl Fn(&MemberStatus) -> bool) -> anyhow::Result<(MemberStatus, usize)> {
    let until = Instant::now() + PATIENCE;
    loop {
        let answers = admin.status().await.into_iter().filter_map(|(_, status)| status.ok());
        let leader = answers.filter(|status| status.leader == Some(status.node)).max_by_key(|status| status.term);
        if let Some(leader) = leader.filter(&good) {
            let members = leader.members.len();
            return Ok((leader, members));
        }
        ensure!(Instant::now() < until, "no namenode leads after {PATIENCE:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until all members follow one leader and have applied the log up to `index`.
async fn steady(admin: &Admin, members: usize, index: u64) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let answers: Vec<MemberStatus> =
            admin.status().await.into_iter().filter_map(|(_, status)| status.ok()).collect();
        let leader: Option<NodeId> = answers.first().and_then(|status| status.leader);
        let follow = |status: &MemberStatus| status.leader == leader && status.applied >= index;
        if leader.is_some() && answers.len() == members && answers.iter().all(follow) {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(anyhow!(
                "{} of {members} members answer, and they are not in step after {PATIENCE:?}",
                answers.len()
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn measurement(metric: &'static str, gaps: &[Duration], errors: u64) -> anyhow::Result<Measurement> {
    let mut histogram = latencies();
    for gap in gaps {
        histogram.record(gap.as_nanos() as u64)?;
    }
    let sample = |gap: &Duration| {
        Sample { value: gap.as_secs_f64() * 1e3, ..Sample::default() }
            .with_latencies(&histogram)
            .with_extra("client_errors", errors as f64)
    };
    Ok(Measurement::new(metric, "ms", &gaps.iter().map(sample).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_that_lasts_counts_and_one_before_the_restart_does_not() {
        let hour = 3_600_000_000_000;
        let began = Instant::now().checked_sub(Duration::from_nanos(3 * hour)).expect("the machine runs long enough");
        let pulse = Pulse { since: began, last_nanos: AtomicU64::new(hour), longest_nanos: AtomicU64::new(0) };
        assert!(pulse.longest() >= Duration::from_nanos(2 * hour), "nothing was answered for two hours");
        pulse.beat();
        assert!(pulse.longest() >= Duration::from_nanos(2 * hour), "and that was the longest gap");
        pulse.restart();
        assert!(pulse.longest() < Duration::from_nanos(hour));
    }

    #[test]
    fn the_middle_and_the_worst_gap_are_reported() {
        let gaps: Vec<Duration> = (1..=50).map(|gap| Duration::from_millis(gap * 10)).collect();
        let json = serde_json::to_value(measurement("meta.failover", &gaps, 0).expect("counts")).expect("plain");
        assert_eq!((&json["unit"], &json["runs"]), (&"ms".into(), &50.into()));
        assert_eq!((&json["min"], &json["max"], &json["client_errors"]), (&10.0.into(), &500.0.into(), &0.0.into()));
        assert!(json["p50_us"].as_f64().is_some_and(|p50| (249_000.0..=251_000.0).contains(&p50)), "{json}");
        assert!(json["p99_us"].as_f64().is_some_and(|p99| (499_000.0..=501_000.0).contains(&p99)), "{json}");
    }
}
