//! `ashlar fs mv`

use client::Client;
use types::Code;

use super::Failures;
use super::destination::{Existing, Placement, Wanted};
use super::remote::{self, RemotePath};
use crate::exit::{Failure, advise};

#[derive(Debug, clap::Args)]
pub(crate) struct MvArgs {
    /// What to move
    #[arg(required = true, value_parser = remote::argument())]
    sources: Vec<RemotePath>,
    /// The new name, or a directory to move into
    #[arg(value_parser = remote::argument())]
    destination: RemotePath,
    /// Replace a file that is there
    #[arg(short, long, conflicts_with = "exchange")]
    force: bool,
    /// Let two objects change places; both must be there, and the second is never moved into
    #[arg(long)]
    exchange: bool,
}

pub(crate) async fn run(client: &Client, args: MvArgs) -> Result<(), Failure> {
    if args.exchange {
        return exchange(client, &args).await;
    }
    let mut failures = Failures::default();
    let sources = remote::expand_as_named(client, &args.sources, &mut failures).await?;
    let wanted = wanted(client, &args.destination, args.sources.len() > 1 || sources.len() > 1).await?;
    for source in sources {
        let to = &args.destination.path;
        let to = match wanted.place(source.attributes.is_directory()) {
            Ok(Placement::Itself) => to.clone(),
            Ok(Placement::Below) => match source.path.last() {
                Some(name) => to.join(name.clone()).map_err(|error| Failure::Failed(format!("{to}: {error}")))?,
                None => {
                    failures.add(Failure::Failed("/: the top directory cannot be moved".to_owned()))?;
                    continue;
                }
            },
            Err(reason) => {
                failures.add(Failure::Failed(format!("{to}: {reason}")))?;
                continue;
            }
        };
        if source.path == to {
            failures.add(Failure::Failed(format!("{to}: is the source and the destination")))?;
        } else if let Err(error) = client.rename(&source.path, &to, args.force).await {
            let advice = [(Code::Exists, "use -f to replace a file")];
            failures.add(advise(&error, if args.force { &[] } else { &advice }))?;
        }
    }
    failures.result()
}

async fn exchange(client: &Client, args: &MvArgs) -> Result<(), Failure> {
    let [source] = args.sources.as_slice() else {
        return Err(Failure::Usage("--exchange takes two paths".to_owned()));
    };
    Ok(client.exchange(&source.path, &args.destination.path).await?)
}

/// Looks at a destination in the cluster.
pub(super) async fn wanted(client: &Client, to: &RemotePath, several_sources: bool) -> Result<Wanted, Failure> {
    let existing = match remote::stat_if_there(client, &to.path).await? {
        None => Existing::Nothing,
        Some(attributes) if attributes.is_directory() => Existing::Directory,
        Some(_) => Existing::File,
    };
    let wanted = Wanted { existing, trailing_slash: to.trailing_slash, several_sources };
    wanted.check().map_err(|reason| Failure::Failed(format!("{}: {reason}", to.path)))
}
