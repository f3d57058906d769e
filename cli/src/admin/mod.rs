//! `ashlar admin`: how the cluster is.

mod balance;
mod check_config;
mod doctor;
mod fsck;
mod job;
mod key;
mod policy;
mod raft;
mod report;
mod safemode;
mod scrub;
mod service;
mod status;
mod supergroup;
mod top;
mod undelete;
mod user;

use crate::cluster::ClusterArgs;
use crate::exit::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct AdminArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show on one screen how the cluster is; exit code 3 unless it is healthy
    Status(status::StatusArgs),
    /// Show what the cluster is doing, again and again
    Top(top::TopArgs),
    /// Say what is wrong with the cluster, causes before symptoms, and what to do; exit code 3 if anything is
    Doctor(doctor::DoctorArgs),
    /// List the datanodes with their state and space
    Report(report::ReportArgs),
    /// Have datanodes read and check every replica now, and wait until they have
    Scrub(scrub::ScrubArgs),
    /// Check the namespace, and every block against its replicas; exit code 3 unless all is well
    Fsck(fsck::FsckArgs),
    /// Move replicas until all volumes are about equally full
    Balance(balance::BalanceArgs),
    /// Have back what was removed for good, as long as its copies are kept
    Undelete(undelete::UndeleteArgs),
    /// Have a datanode leave: copy what it has to others, and say when it may be stopped
    Decommission(service::DecommissionArgs),
    /// Have a datanode take part again
    Recommission(service::RecommissionArgs),
    /// Announce that a datanode may be away for a while, for which nothing is copied
    Maintenance(service::MaintenanceArgs),
    /// Show, pause, resume and cancel background work that somebody asked for
    Job(job::JobArgs),
    /// Show or set values that hold for the whole cluster
    Policy(policy::PolicyArgs),
    /// Have nothing changed in the cluster, until told otherwise
    Safemode(safemode::SafemodeArgs),
    /// Add, list, change, disable and remove users, which access keys follow
    User(user::UserArgs),
    /// Make, list and remove the access keys of S3 clients
    Key(key::KeyArgs),
    /// Show every value of a configuration file and where it came from, and what is wrong with it
    CheckConfig(check_config::CheckConfigArgs),
    /// Show or set the group whose members may do what root may
    Supergroup(supergroup::SupergroupArgs),
    /// Show the namenodes' Raft group, or hand over its lead
    Raft(raft::RaftArgs),
}

pub(crate) async fn run(args: AdminArgs) -> Result<(), Failure> {
    if let Command::CheckConfig(check) = args.command {
        return check_config::run(check, args.cluster.file());
    }
    let config = args.cluster.client_config()?;
    let args_file = args.cluster.file();
    match args.command {
        Command::Status(args) => status::run(config, args).await,
        Command::Doctor(args) => doctor::run(config, args).await,
        Command::Top(args) => top::run(config, args).await,
        Command::Report(args) => report::run(config, args).await,
        Command::Scrub(args) => scrub::run(config, args).await,
        Command::Fsck(args) => fsck::run(config, args).await,
        Command::Balance(args) => balance::run(config, args).await,
        Command::Undelete(args) => undelete::run(config, args).await,
        Command::Decommission(args) => service::decommission(config, args).await,
        Command::Recommission(args) => service::recommission(config, args).await,
        Command::Maintenance(args) => service::maintenance(config, args).await,
        Command::Job(args) => job::run(config, args).await,
        Command::Policy(args) => policy::run(config, args).await,
        Command::Safemode(args) => safemode::run(config, args).await,
        Command::User(args) => user::run(config, args).await,
        Command::Key(args) => key::run(config, args_file, args).await,
        Command::CheckConfig(_) => unreachable!("it needs no cluster"),
        Command::Supergroup(args) => supergroup::run(config, args).await,
        Command::Raft(args) => raft::run(config, args).await,
    }
}
