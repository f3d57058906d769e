//! `ashlar fs`: files and directories of the cluster, with the manners of coreutils and `hdfs dfs`.

mod acl;
mod append;
mod cat;
mod chmod;
mod chown;
mod cp;
mod destination;
mod download;
mod du;
mod get;
mod ln;
mod local;
mod ls;
mod mkdir;
mod mv;
mod object;
mod parallel;
mod put;
mod quota;
mod recover;
mod remote;
mod rm;
mod setrep;
mod stat;
mod touch;
pub(crate) mod trash;
mod truncate;
mod ttl;
mod upload;
mod walk;
mod xattr;

pub(crate) use object::{gid, group};
pub(crate) use parallel::Failures;
pub(crate) use remote::{RemotePath, argument};
pub(crate) use upload::pieces;

use crate::cluster::ClusterArgs;
use crate::exit::Failure;

const PATTERNS: &str = "\
Paths in the cluster start with a slash. They may hold patterns: * ? [a-z] {one,two}; quote them, so that the shell \
leaves them alone. Unlike in a shell, * also matches names that start with a dot.";

#[derive(Debug, clap::Args)]
pub(crate) struct FsArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, clap::Subcommand)]
#[command(after_help = PATTERNS)]
enum Command {
    /// List directories
    Ls(ls::LsArgs),
    /// Print files
    Cat(cat::CatArgs),
    /// Copy local files and directories into the cluster
    Put(put::PutArgs),
    /// Add local files to the end of a file in the cluster
    Append(append::AppendArgs),
    /// Copy files and directories of the cluster to this machine
    Get(get::GetArgs),
    /// Copy inside the cluster
    Cp(cp::CpArgs),
    /// Move or rename
    Mv(mv::MvArgs),
    /// Give a file another name, or make a symbolic link
    Ln(ln::LnArgs),
    /// Remove files and directories, to the trash
    Rm(rm::RmArgs),
    /// List, restore or remove for good what was removed
    Trash(trash::TrashArgs),
    /// Make directories
    Mkdir(mkdir::MkdirArgs),
    /// Show everything about files and directories
    Stat(stat::StatArgs),
    /// Sum up the space that files take
    Du(du::DuArgs),
    /// Show or set bounds on what directories hold
    Quota(quota::QuotaArgs),
    /// Show, set or take away the time after which what is in directories goes
    Ttl(ttl::TtlArgs),
    /// Show extended attributes
    Getfattr(xattr::GetArgs),
    /// Set or remove an extended attribute
    Setfattr(xattr::SetArgs),
    /// Show access control lists
    Getfacl(acl::GetArgs),
    /// Change access control lists
    Setfacl(acl::SetArgs),
    /// Change permission bits
    Chmod(chmod::ChmodArgs),
    /// Change owner and group
    Chown(chown::ChownArgs),
    /// Change how many copies of files there are
    Setrep(setrep::SetrepArgs),
    /// Set times to the present, and make files that are not there
    Touch(touch::TouchArgs),
    /// Make files shorter or longer
    Truncate(truncate::TruncateArgs),
    /// End files that their writers left open
    Recover(recover::RecoverArgs),
}

pub(crate) async fn run(args: FsArgs) -> Result<(), Failure> {
    let FsArgs { command, cluster } = args;
    let client = cluster.connect().await?;
    let done = match command {
        Command::Ls(args) => ls::run(&client, args).await,
        Command::Cat(args) => cat::run(&client, args).await,
        Command::Put(args) => put::run(&client, args).await,
        Command::Append(args) => append::run(&client, args).await,
        Command::Get(args) => get::run(&client, args).await,
        Command::Cp(args) => cp::run(&client, args).await,
        Command::Mv(args) => mv::run(&client, args).await,
        Command::Ln(args) => ln::run(&client, args).await,
        Command::Rm(args) => rm::run(&client, args).await,
        Command::Trash(args) => trash::run(&client, args).await,
        Command::Mkdir(args) => mkdir::run(&client, args).await,
        Command::Stat(args) => stat::run(&client, args).await,
        Command::Du(args) => du::run(&client, args).await,
        Command::Quota(args) => quota::run(&client, args).await,
        Command::Ttl(args) => ttl::run(&client, args).await,
        Command::Getfattr(args) => xattr::get(&client, args).await,
        Command::Setfattr(args) => xattr::set(&client, args).await,
        Command::Getfacl(args) => acl::get(&client, args).await,
        Command::Setfacl(args) => acl::set(&client, args).await,
        Command::Chmod(args) => chmod::run(&client, args).await,
        Command::Chown(args) => chown::run(&client, args).await,
        Command::Setrep(args) => setrep::run(&client, &cluster, args).await,
        Command::Touch(args) => touch::run(&client, args).await,
        Command::Truncate(args) => truncate::run(&client, args).await,
        Command::Recover(args) => recover::run(&client, args).await,
    };
    // The work is done or has failed; a session that cannot be closed in order ends by itself.
    if let Err(error) = client.close().await {
        tracing::debug!(%error, "the session was not closed in order");
    }
    done
}
