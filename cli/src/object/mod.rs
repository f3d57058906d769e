//! `ashlar object`: buckets and the objects in them, through the library and not over HTTP.

mod bucket;
mod cp;
mod get;
mod ls;
mod multipart;
mod mv;
mod name;
mod presign;
mod put;
mod rm;
mod stat;

use crate::cluster::ClusterArgs;
use crate::exit::Failure;

const NAMES: &str = "\
Objects are named BUCKET/KEY, or s3://BUCKET/KEY. They are the files below /s3/BUCKET unless the bucket was made elsewhere.";

#[derive(Debug, clap::Args)]
pub(crate) struct ObjectArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, clap::Subcommand)]
#[command(after_help = NAMES)]
enum Command {
    /// Make buckets
    Mb(bucket::MakeArgs),
    /// Remove buckets that hold no object
    Rb(bucket::RemoveArgs),
    /// List buckets, or the objects in one
    Ls(ls::LsArgs),
    /// Store a local file, or the standard input, as an object
    Put(put::PutArgs),
    /// Copy an object to this machine, or to the standard output
    Get(get::GetArgs),
    /// Show everything about objects
    #[command(visible_alias = "head")]
    Stat(stat::StatArgs),
    /// Copy an object within the cluster, without moving a byte
    Cp(cp::CpArgs),
    /// Give an object another key of its bucket, in one step
    Mv(mv::MvArgs),
    /// Remove objects
    Rm(rm::RmArgs),
    /// Uploads in parts that are not complete
    Multipart(multipart::MultipartArgs),
    /// Make a URL that lets whoever has it at an object for a while
    Presign(presign::PresignArgs),
}

pub(crate) async fn run(args: ObjectArgs) -> Result<(), Failure> {
    let command = match args.command {
        // The cluster is not asked for it.
        Command::Presign(args) => return presign::run(&args),
        command => command,
    };
    let client = args.cluster.connect().await?;
    let done = match command {
        Command::Mb(args) => bucket::make(&client, args).await,
        Command::Rb(args) => bucket::remove(&client, args).await,
        Command::Ls(args) => ls::run(&client, args).await,
        Command::Put(args) => put::run(&client, args).await,
        Command::Get(args) => get::run(&client, args).await,
        Command::Stat(args) => stat::run(&client, args).await,
        Command::Cp(args) => cp::run(&client, args).await,
        Command::Mv(args) => mv::run(&client, args).await,
        Command::Rm(args) => rm::run(&client, args).await,
        Command::Multipart(args) => multipart::run(&client, args).await,
        Command::Presign(_) => unreachable!("done above"),
    };
    // The work is done or has failed; a session that cannot be closed in order ends by itself.
    if let Err(error) = client.close().await {
        tracing::debug!(%error, "the session was not closed in order");
    }
    done
}
