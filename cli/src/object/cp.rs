//! `ashlar object cp`

use client::Client;
use client::objects::Condition;
use types::Code;

use super::name::{ObjectName, Prefix};
use crate::exit::{Failure, advise};

#[derive(Debug, clap::Args)]
pub(super) struct CpArgs {
    #[arg(value_name = "BUCKET/KEY")]
    from: ObjectName,
    /// What is only a bucket, or ends with a slash, gets the last name of the source
    #[arg(value_name = "BUCKET/KEY")]
    to: Prefix,
    /// Only if nothing is at the key
    #[arg(long)]
    if_absent: bool,
}

/// The copy shares blocks with its source: no byte is read or written.
pub(super) async fn run(client: &Client, args: CpArgs) -> Result<(), Failure> {
    let CpArgs { from, to, if_absent } = args;
    let key = target(&from.key, &to.prefix);
    let condition = if_absent.then_some(Condition::Absent);
    let (source, target) = ((from.bucket.as_str(), from.key.as_bytes()), (to.bucket.as_str(), key.as_bytes()));
    let copied = client.objects().duplicate(source, target, condition).await;
    copied.map(drop).map_err(|error| {
        advise(
            &error,
            &[
                (Code::NoSuchBucket, "make it first, with object mb"),
                (Code::PreconditionFailed, "something is at the key"),
            ],
        )
    })
}

fn target(from: &str, to: &str) -> String {
    if to.is_empty() || to.ends_with('/') {
        format!("{to}{}", from.trim_end_matches('/').rsplit('/').next().unwrap_or_default())
    } else {
        to.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_without_a_last_name_gets_that_of_the_source() {
        for (to, key) in [("", "c"), ("d/", "d/c"), ("d", "d"), ("d/e", "d/e")] {
            assert_eq!(target("a/b/c", to), key, "{to}");
        }
    }
}
