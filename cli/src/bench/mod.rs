//! `ashlar bench`: how fast the cluster is, and how fast this machine would let it be.
//!
//! Every number is a median over runs; a number with a natural bound is reported with that bound, measured beside it.

mod cost;
mod limits;
mod report;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;
use types::ByteSize;

use limits::{Ground, Stop};
use report::Reporter;

#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// What this machine gives without any of Ashlar: memory, loopback, page cache, disk
    Limits(LimitsArgs),
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

#[derive(Debug, clap::Args)]
struct Place {
    /// Where temporary files go [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Place {
    /// A directory of our own, which goes when it is dropped.
    fn make(&self, reporter: &Reporter) -> anyhow::Result<TempDir> {
        let parent = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        let dir = tempfile::Builder::new()
            .prefix("ashlar-bench-")
            .tempdir_in(&parent)
            .with_context(|| format!("cannot make a directory in {}", parent.display()))?;
        if in_memory(dir.path())? {
            reporter.note(&format!(
                "warning: {} is held in memory: syncs cost nothing there; use --dir to name a directory on a disk",
                parent.display()
            ))?;
        }
        Ok(dir)
    }
}

fn in_memory(dir: &Path) -> anyhow::Result<bool> {
    /// TMPFS_MAGIC, see statfs(2).
    const TMPFS: i64 = 0x0102_1994;
    Ok(rustix::fs::statfs(dir)?.f_type as i64 == TMPFS)
}

/// Runs one benchmark; `json` asks for one object per line instead of a table.
pub(crate) async fn run(args: BenchArgs, json: bool) -> anyhow::Result<()> {
    let reporter = Reporter::new(json);
    match args.what {
        What::Limits(args) => measure_limits(args, reporter).await,
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
