//! The `ashlar` command: every role of the system, and what people do with it.
//!
//! Names, files, JSON keys and exit codes are an interface: scripts depend on them (see `docs/operations/cli.md`).

mod admin;
mod args;
mod bench;
mod cluster;
mod config;
mod exit;
mod fs;
mod logging;
mod manual;
mod mount;
mod object;
mod output;
mod progress;
mod serve;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use args::{Arguments, Command};
use exit::Failure;

/// What one thread allocates, another frees here: requests, replies and packets cross threads. With the C library's
/// allocator, a cluster on two cores makes and removes a fifth fewer files per second.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long threads that are still reading or writing files may take to clean up at the end.
const CLEAN_UP: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments = Arguments::parse_from(mount::helper_arguments(std::env::args_os().collect()));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::Failed(format!("cannot start: {}", exit::reason(&error))).exit(),
    };
    let done = runtime.block_on(run(arguments.command));
    runtime.shutdown_timeout(CLEAN_UP);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(),
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Quickstart(args) => serve::quickstart::run(args).await,
        Command::Init(args) => serve::init::run(&args).await,
        Command::Namenode(args) => serve::namenode::run(args).await,
        Command::Datanode(args) => serve::datanode::run(args).await,
        Command::S3(args) => serve::s3::run(args).await,
        Command::Mount(args) => mount::run(args).await,
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::pages(&args),
        Command::Fs(args) => {
            log_for_clients()?;
            until_interrupted(fs::run(args)).await
        }
        Command::Object(args) => {
            log_for_clients()?;
            until_interrupted(object::run(args)).await
        }
        Command::Admin(args) => {
            log_for_clients()?;
            until_interrupted(admin::run(args)).await
        }
        Command::Bench(args) => {
            log_for_clients()?;
            let named = args.cluster.named()?;
            // It ends by itself on Ctrl-C, to clean up what it made.
            Ok(bench::run(args.bench, named, args.json).await?)
        }
    }
}

/// A command that people wait for says what matters itself: its log is for those who ask for it.
fn log_for_clients() -> Result<(), Failure> {
    logging::to_stderr(logging::filter(None, None, "off")?, config::LogFormat::Auto);
    Ok(())
}

/// Ctrl-C and SIGTERM drop the work: what was not finished is cleaned up on the way out.
async fn until_interrupted(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let interrupted = || Failure::Failed("interrupted".to_owned());
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| Failure::Failed(exit::reason(&error)))?;
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Err(interrupted()),
        _ = terminate.recv() => Err(interrupted()),
    }
}
