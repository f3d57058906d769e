//! `ashlar object mb` and `rb`

use client::{Client, MkdirOptions};
use types::{Code, Name, Path};

use super::name;
use crate::exit::{Failure, advise};
use crate::fs::Failures;

/// Where gateways make buckets, unless they are told otherwise.
const ROOT: &str = s3_gateway::DEFAULT_ROOT;
/// Everybody may make a bucket there, and remove only one's own.
const ROOT_MODE: u32 = 0o1777;
/// Others have no right in a bucket unless its owner gives it, by mode or by policy.
const BUCKET_MODE: u32 = 0o700;

#[derive(Debug, clap::Args)]
pub(super) struct MakeArgs {
    #[arg(required = true, value_name = "BUCKET", value_parser = name::bucket)]
    buckets: Vec<String>,
    /// The directory that buckets are made in
    #[arg(long, value_name = "PATH", default_value = ROOT)]
    root: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct RemoveArgs {
    #[arg(required = true, value_name = "BUCKET", value_parser = name::bucket)]
    buckets: Vec<String>,
}

pub(super) async fn make(client: &Client, args: MakeArgs) -> Result<(), Failure> {
    let usage = |error: types::PathError| Failure::Usage(format!("{}: {error}", args.root));
    let root = Path::parse(args.root.as_bytes()).map_err(usage)?;
    let mut failures = Failures::default();
    for bucket in &args.buckets {
        let place = Name::new(bucket.as_bytes()).and_then(|name| root.join(name)).map_err(usage)?;
        if let Err(failure) = make_one(client, bucket, &root, &place).await {
            failures.add(failure)?;
        }
    }
    failures.result()
}

async fn make_one(client: &Client, bucket: &str, root: &Path, place: &Path) -> Result<(), Failure> {
    let objects = client.objects();
    let made = match objects.create_bucket(bucket, place, BUCKET_MODE).await {
        // Before the first gateway has started there is no place for buckets.
        Err(error) if error.code() == Code::NotFound => {
            let options = MkdirOptions { parents: true, mode: ROOT_MODE, ..MkdirOptions::default() };
            client.mkdir(root, options).await?;
            objects.create_bucket(bucket, place, BUCKET_MODE).await
        }
        made => made,
    };
    made.map(|_| ()).map_err(Failure::from)
}

pub(super) async fn remove(client: &Client, args: RemoveArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    for bucket in &args.buckets {
        if let Err(error) = client.objects().delete_bucket(bucket).await {
            failures.add(advise(&error, &[(Code::NotEmpty, "remove what is in it first, with object rm -r")]))?;
        }
    }
    failures.result()
}
