//! `sim --seeds A..B`: runs seeds, and prints a line for each that fails.

use std::io::Write as _;
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser;

/// Runs a metadata cluster in one thread under faults drawn from a seed, and checks what must hold.
#[derive(Debug, Parser)]
struct Arguments {
    /// The seeds to run, from..to, without the last.
    #[arg(long, value_parser = range, default_value = "0..100")]
    seeds: Range<u64>,
    /// Print what happens. For one seed.
    #[arg(long)]
    trace: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let parse = |part: &str| part.parse::<u64>().map_err(|error| format!("{part:?} is no seed: {error}"));
    match text.split_once("..") {
        Some((from, to)) => Ok(parse(from)?..parse(to)?),
        None => parse(text).map(|seed| seed..seed + 1),
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout();
    let started = Instant::now();
    sim::keep_panics();
    let (mut failed, mut runs) = (0, 0);
    let mut sum = sim::Seen::default();
    for seed in arguments.seeds {
        runs += 1;
        match sim::run(seed, arguments.trace) {
            Ok(seen) => {
                if arguments.trace {
                    writeln!(out, "{seen:?}").context("print")?;
                }
                sum.add(&seen);
            }
            Err(violation) => {
                failed += 1;
                writeln!(out, "seed {seed} fails: {}", violation.what.replace('\n', " ")).context("print")?;
                writeln!(out, "  again: cargo run -p sim -- --seeds {seed} --trace").context("print")?;
            }
        }
    }
    writeln!(out, "{runs} seeds in {:.1} s, {failed} failed: {sum}", started.elapsed().as_secs_f64())
        .context("print")?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
