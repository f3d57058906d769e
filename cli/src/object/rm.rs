//! `ashlar object rm`

use client::Client;
use client::objects::{ListKeys, MAX_KEYS};
use futures::{StreamExt as _, stream};

use super::name::Prefix;
use crate::exit::Failure;
use crate::fs::Failures;

/// Objects removed at a time.
const AT_ONCE: usize = 16;

#[derive(Debug, clap::Args)]
pub(super) struct RmArgs {
    #[arg(required = true, value_name = "BUCKET/KEY")]
    objects: Vec<Prefix>,
    /// Every object whose key begins like this
    #[arg(short, long)]
    recursive: bool,
}

pub(super) async fn run(client: &Client, args: RmArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    for of in &args.objects {
        if args.recursive {
            remove_all(client, of, &mut failures).await?;
        } else if of.prefix.is_empty() {
            failures.add(Failure::Usage(format!("{}: names no object (use -r for all of a bucket)", of.bucket)))?;
        } else if let Err(error) = client.objects().delete(&of.bucket, of.prefix.as_bytes(), None).await {
            failures.add(error.into())?;
        }
    }
    failures.result()
}

async fn remove_all(client: &Client, of: &Prefix, failures: &mut Failures) -> Result<(), Failure> {
    let mut list =
        ListKeys { prefix: of.prefix.clone().into_bytes(), delimiter: Vec::new(), after: Vec::new(), max: MAX_KEYS };
    loop {
        let page = client.objects().list(&of.bucket, list.clone()).await?;
        let keys: Vec<Vec<u8>> = page.items.iter().map(|item| item.name().to_vec()).collect();
        let last = keys.last().cloned();
        let removed = stream::iter(keys).map(|key| {
            let (objects, bucket) = (client.objects(), of.bucket.clone());
            async move { objects.delete(&bucket, &key, None).await }
        });
        let mut removed = removed.buffer_unordered(AT_ONCE);
        while let Some(removed) = removed.next().await {
            if let Err(error) = removed {
                failures.add(error.into())?;
            }
        }
        match last.filter(|_| page.more) {
            Some(last) => list.after = last,
            None => return Ok(()),
        }
    }
}
