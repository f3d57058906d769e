//! `ashlar object mv`

use client::Client;
use client::objects::{Condition, RenameConditions};
use types::Code;

use super::name::ObjectName;
use crate::exit::{Failure, advise};

#[derive(Debug, clap::Args)]
pub(super) struct MvArgs {
    #[arg(value_name = "BUCKET/KEY")]
    from: ObjectName,
    /// In the same bucket
    #[arg(value_name = "BUCKET/KEY")]
    to: ObjectName,
    /// Only if nothing is at the new key
    #[arg(long)]
    if_absent: bool,
}

pub(super) async fn run(client: &Client, args: MvArgs) -> Result<(), Failure> {
    let MvArgs { from, to, if_absent } = args;
    if from.bucket != to.bucket {
        let message = format!("{} and {} are two buckets: copy the object, and remove it", from.bucket, to.bucket);
        return Err(Failure::Usage(message));
    }
    let conditions = RenameConditions { from: None, to: if_absent.then_some(Condition::Absent) };
    let moved = client.objects().rename(&from.bucket, from.key.as_bytes(), to.key.as_bytes(), conditions).await;
    moved.map_err(|error| advise(&error, &[(Code::PreconditionFailed, "something is at the new key")]))
}
