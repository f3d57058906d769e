//! `ashlar object put`

use std::path::PathBuf;

use client::Client;
use client::objects::{Condition, PutOptions};
use types::Code;

use super::name::ObjectName;
use crate::exit::{Failure, advise};
use crate::fs::pieces;

#[derive(Debug, clap::Args)]
pub(super) struct PutArgs {
    /// A local file, or - for the standard input
    #[arg(value_name = "FILE")]
    from: PathBuf,
    #[arg(value_name = "BUCKET/KEY")]
    to: ObjectName,
    /// Only if nothing is at the key
    #[arg(long, conflicts_with = "if_match")]
    if_absent: bool,
    /// Only if the object at the key has this etag
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
}

pub(super) async fn run(client: &Client, args: PutArgs) -> Result<(), Failure> {
    let PutArgs { from, to, if_absent, if_match } = args;
    let condition = match if_match {
        Some(etag) => Some(Condition::Matches(vec![etag.trim_matches('"').to_owned()])),
        None => if_absent.then_some(Condition::Absent),
    };
    let local = |error: &std::io::Error| Failure::local(&from, error);
    let (mut pieces, length) = if from.as_os_str() == "-" {
        (pieces(std::io::stdin()), None)
    } else {
        let file = std::fs::File::open(&from).map_err(|error| local(&error))?;
        let metadata = file.metadata().map_err(|error| local(&error))?;
        if metadata.is_dir() {
            return Err(Failure::Failed(format!("{}: is a directory; objects are put one by one", from.display())));
        }
        (pieces(file), metadata.is_file().then_some(metadata.len()))
    };
    let failed = |error: client::Error| {
        advise(&error, &[(Code::NoSuchBucket, "make it first, with object mb"), (Code::NotFound, "nothing is there")])
    };
    let mut writer = client.objects().writer(&to.bucket, to.key.as_bytes(), length).await.map_err(failed)?;
    while let Some(piece) = pieces.recv().await {
        // Dropped, the writer leaves nothing.
        writer.write(piece.map_err(|error| local(&error))?).await.map_err(failed)?;
    }
    writer.finish(PutOptions { condition, ..PutOptions::default() }).await.map_err(failed)?;
    Ok(())
}
