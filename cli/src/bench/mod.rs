//! `ashlar bench`: how fast the cluster is, and how fast this machine would let it be.
//!
//! Every number is a median over runs; a number with a natural bound is reported with that bound, measured beside it.

mod cost;
mod failover;
mod limits;
mod load;
mod meta;
mod mount;
mod populate;
mod processes;
mod read;
mod repair;
mod report;
mod s3;
mod small;
mod start;
mod testbed;
mod write;

use types::ByteSize;

use limits::{Ground, Stop};
use meta::MetaArgs;
use mount::MountArgs;
use read::ReadArgs;
use repair::RepairArgs;
use report::Reporter;
use s3::S3Args;
use small::SmallArgs;
use testbed::{Place, Testbed};
use write::WriteArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// What this machine gives without any of Ashlar: memory, loopback, page cache, disk
    Limits(LimitsArgs),
    /// Operations on the namespace: create, stat, list, rename, delete, small files, failover
    Meta(MetaArgs),
    /// What programs get through a mount, beside a FUSE file system over the local disk
    Mount(MountArgs),
    /// Large files, read from end to end and at random
    Read(ReadArgs),
    /// Objects through an S3 gateway, large and small, and a listing
    S3(S3Args),
    /// How fast the replicas of a lost datanode are made anew; on a cluster of its own
    Repair(RepairArgs),
    /// Many small files, written and read whole
    Small(SmallArgs),
    /// Large files, written with three replicas
    Write(WriteArgs),
}

#[derive(Debug, clap::Args)]
struct LimitsArgs {
    /// Runs of each; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Bytes to move in each run
    #[arg(long, default_value = "1GiB")]
    size: ByteSize,
    #[command(flatten)]
    place: Place,
}

/// Runs one benchmark: on the cluster that `named` tells of, or else on one of its own. `json` asks for one object per
/// line instead of a table.
pub(crate) async fn run(args: BenchArgs, named: Option<client::Config>, json: bool) -> anyhow::Result<()> {
    let mut reporter = Reporter::new(json);
    match args.what {
        What::Limits(args) => measure_limits(args, reporter).await,
        What::Meta(args) => args.run(named, &mut reporter).await,
        What::Mount(args) => {
            if let Some(served) = args.serves() {
                return served;
            }
            let testbed = Testbed::start(named, args.shape(), &args.place, &reporter).await?;
            testbed.during(async |testbed| args.measure(testbed, &mut reporter).await).await
        }
        What::Read(args) => {
            let testbed = Testbed::start(named, ReadArgs::SHAPE, &args.place, &reporter).await?;
            testbed.during(async |testbed| args.measure(testbed, &mut reporter).await).await
        }
        What::S3(args) => {
            let testbed = Testbed::start(named, S3Args::SHAPE, &args.place, &reporter).await?;
            testbed.during(async |testbed| args.measure(testbed, &mut reporter).await).await
        }
        What::Repair(args) => {
            anyhow::ensure!(
                named.is_none(),
                "a datanode is killed only in a cluster of the benchmark's own: name none"
            );
            args.run(&mut reporter).await
        }
        What::Small(args) => {
            let testbed = Testbed::start(named, SmallArgs::SHAPE, &args.place, &reporter).await?;
            testbed.during(async |testbed| args.measure(testbed, &mut reporter).await).await
        }
        What::Write(args) => {
            let testbed = Testbed::start(named, WriteArgs::SHAPE, &args.place, &reporter).await?;
            testbed.during(async |testbed| args.measure(testbed, &mut reporter).await).await
        }
    }
}

async fn measure_limits(args: LimitsArgs, mut reporter: Reporter) -> anyhow::Result<()> {
    let dir = args.place.make(&reporter)?;
    let stop = Stop::default();
    let mut work = tokio::task::spawn_blocking({
        let stop = stop.clone();
        move || {
            let ground = Ground { dir: dir.path(), bytes: args.size, stop };
            let done = limits::run(&ground, args.runs as usize, &mut reporter);
            dir.close()?;
            done
        }
    });
    tokio::select! {
        done = &mut work => return done?,
        _ = tokio::signal::ctrl_c() => stop.set(),
    }
    work.await?
}
