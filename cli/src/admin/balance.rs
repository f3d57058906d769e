//! `ashlar admin balance`

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::health::{Facts, leader_first};
use client::{Admin, BalanceOptions, BalanceOutline, Config, JobState};
use serde::Serialize;
use types::ByteSize;

use super::job::{Shown, progress};
use crate::exit::{Failure, complain};
use crate::output::{Align, Output, Sizes, Table, count};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The command shows what is to be moved, has it done as a job, and waits for the end; stopping the command does \
not stop the job, see `ashlar admin job`. A replica is copied and read back before the old one goes; replicas stay on different \
hosts and racks."
)]
pub(crate) struct BalanceArgs {
    /// How far from the mean a volume may be, as a part of its capacity
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = permille)]
    threshold: u32,
    /// What a datanode takes in, or gives away, in a second at most; at least 1MiB
    #[arg(long, value_name = "SIZE", default_value = "100MiB")]
    bandwidth: ByteSize,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do not wait for the end
    #[arg(long)]
    no_wait: bool,
    /// One JSON object: of the plan with --dry-run, else of the job
    #[arg(long)]
    json: bool,
}

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(500);
/// Between two lines that say so.
const LINE: Duration = Duration::from_secs(10);

/// `5%`, `5` or `2.5%` in parts of a thousand.
fn permille(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is not a percentage from 0.1% to 100%");
    let percent: f64 = text.strip_suffix('%').unwrap_or(text).parse().map_err(|_| wrong())?;
    let permille = (percent * 10.0).round();
    if (1.0..=1000.0).contains(&permille) { Ok(permille as u32) } else { Err(wrong()) }
}

pub(crate) async fn run(config: Config, args: BalanceArgs) -> Result<(), Failure> {
    let leader = Facts::ask_namenodes(&config).await.leader_address();
    let admin = Admin::unconnected(&leader_first(&config, leader));
    let options = BalanceOptions { threshold_permille: args.threshold, bandwidth: args.bandwidth };
    let mut out = Output::stdout();
    let outline = admin.plan_balance(options).await?;
    if args.dry_run {
        if args.json {
            out.json(&Planned::of(&outline))?;
        } else {
            show(&outline, &mut out)?;
        }
        return out.flush();
    }
    if !args.json {
        show(&outline, &mut out)?;
        out.flush()?;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let token = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).max(1);
    let id = admin.balance(options, token).await?;
    let mut job = admin.job(id).await?;
    if args.no_wait {
        if args.json {
            out.json(&Shown::of(&job))?;
        } else {
            out.line(format!("{id} is under way; see ashlar admin job show {}", id.get()))?;
        }
        return out.flush();
    }
    let mut said = Instant::now();
    while !job.state.has_ended() {
        tokio::time::sleep(LOOK).await;
        // No leader answers for a while: the next one goes on.
        if let Ok(now) = admin.job(id).await {
            job = now;
        }
        if said.elapsed() >= LINE {
            said = Instant::now();
            complain(&format!("{}: {}", progress(&job), job.note));
        }
    }
    if args.json {
        out.json(&Shown::of(&job))?;
        out.flush()?;
    }
    let result = job.result.clone().unwrap_or_default();
    match job.state {
        JobState::Done if args.json => Ok(()),
        JobState::Done => {
            out.line(result)?;
            out.flush()
        }
        JobState::Failed | JobState::Cancelled | JobState::Running | JobState::Paused => {
            Err(Failure::Failed(format!("{id} {}: {result}", job.state.word())))
        }
    }
}

/// A plan as `--json` prints it. The keys are an interface.
#[derive(Debug, Serialize)]
struct Planned {
    moves: u64,
    bytes: u64,
    eta_ms: u64,
    mean: f64,
    volumes: Vec<PlannedVolume>,
}

#[derive(Debug, Serialize)]
struct PlannedVolume {
    node: u64,
    storage: String,
    capacity: u64,
    used: u64,
    used_after: u64,
    outside: bool,
}

impl Planned {
    fn of(outline: &BalanceOutline) -> Self {
        let volumes = outline.volumes.iter().map(|volume| PlannedVolume {
            node: volume.node.get(),
            storage: volume.storage.to_string(),
            capacity: volume.capacity.get(),
            used: volume.used.get(),
            used_after: volume.used_after.get(),
            outside: volume.outside,
        });
        Self {
            moves: outline.moves,
            bytes: outline.bytes.get(),
            eta_ms: u64::try_from(outline.eta.as_millis()).unwrap_or(u64::MAX),
            mean: outline.mean_millionths as f64 / 1_000_000.0,
            volumes: volumes.collect(),
        }
    }
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1}%", part as f64 * 100.0 / whole.max(1) as f64)
}

fn show(outline: &BalanceOutline, out: &mut Output) -> Result<(), Failure> {
    use Align::{Left, Right};
    let mut table = Table::new(&[Right, Left, Right, Right, Right, Left]);
    table.row(["NODE", "VOLUME", "CAPACITY", "NOW", "THEN", ""]);
    for volume in &outline.volumes {
        let capacity = volume.capacity.get();
        table.row([
            volume.node.get().to_string(),
            volume.storage.to_string(),
            Sizes::Human.show(capacity),
            percent(volume.used.get(), capacity),
            percent(volume.used_after.get(), capacity),
            if volume.outside { "still away from the mean".to_owned() } else { String::new() },
        ]);
    }
    table.print(out)?;
    let mean = percent(outline.mean_millionths, 1_000_000);
    let moves = count(outline.moves, "replica", "replicas");
    let seconds = Duration::from_secs(outline.eta.as_secs());
    let eta = humantime::format_duration(seconds);
    out.line(format!("mean {mean}; to be moved: {moves}, {}, about {eta}", outline.bytes.human()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_percentages() {
        assert_eq!(
            [permille("5%"), permille("5"), permille("2.5%"), permille("100%")],
            [Ok(50), Ok(50), Ok(25), Ok(1000)]
        );
        for wrong in ["", "%", "0%", "0.01%", "101%", "-5%", "five", "NaN", "inf"] {
            assert!(permille(wrong).is_err(), "{wrong}");
        }
    }
}
