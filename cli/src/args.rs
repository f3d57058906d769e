//! The command line.

use clap::{Parser, Subcommand};

use crate::cluster::ClusterArgs;
use crate::{admin, bench, fs, manual, mount, object, serve};

const EXAMPLES: &str = "\
Try it:
  ashlar quickstart --dir /tmp/ashlar        a whole cluster on this machine
  export ASHLAR_CONFIG=/tmp/ashlar/client.toml
  ashlar fs put -r ./photos /photos          store a directory
  ashlar fs ls -l /photos
  ashlar admin status

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 the cluster is not healthy.";

/// Ashlar, a distributed file and object store.
#[derive(Debug, Parser)]
#[command(name = "ashlar", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster in one process, on this machine
    Quickstart(serve::quickstart::QuickstartArgs),
    /// Write the configuration of a cluster and format its directories, to run each role as a process
    Init(serve::init::InitArgs),
    /// Run a namenode
    Namenode(serve::ServerArgs),
    /// Run a datanode
    Datanode(serve::ServerArgs),
    /// Run an S3 gateway
    S3(serve::ServerArgs),
    /// Mount a directory of the cluster on this machine
    Mount(mount::MountArgs),
    /// Work with files and directories
    Fs(fs::FsArgs),
    /// Work with buckets and objects
    Object(object::ObjectArgs),
    /// Look after the cluster
    Admin(admin::AdminArgs),
    /// Measure how fast this machine and the cluster are
    Bench(BenchCommand),
    /// Print a script that completes this command in a shell
    Completions(manual::CompletionsArgs),
    /// Write the manual pages of this command
    Man(manual::ManArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct BenchCommand {
    #[command(flatten)]
    pub(crate) bench: bench::BenchArgs,
    /// One JSON object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[cfg(test)]
mod tests;
