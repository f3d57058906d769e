//! `ashlar fs mkdir`

use client::{Client, MkdirOptions};
use types::Code;

use super::Failures;
use super::remote::{self, RemotePath};
use crate::exit::{Failure, advise};

#[derive(Debug, clap::Args)]
pub(crate) struct MkdirArgs {
    /// Directories to make
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// Make missing parents too; a directory that is there is fine
    #[arg(short, long)]
    parents: bool,
    /// Permission bits, in octal [default: 755, or what a default access control list says]
    #[arg(short, long, value_parser = mode)]
    mode: Option<u32>,
}

/// Reads permission bits in octal.
pub(crate) fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => Err("write permission bits in octal, such as 755".to_owned()),
    }
}

pub(crate) async fn run(client: &Client, args: MkdirArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    for RemotePath { path, .. } in &args.paths {
        if path.is_root() && args.parents {
            continue;
        }
        let (mode, umask) = args.mode.map_or((0o777, 0o022), |mode| (mode, 0));
        let options = MkdirOptions { parents: args.parents, mode, umask, ..MkdirOptions::default() };
        if let Err(error) = client.mkdir(path, options).await {
            let advice = [
                (Code::NotFound, "use -p to make the missing parents too"),
                (Code::Exists, "use -p if an existing directory is fine"),
            ];
            failures.add(advise(&error, if args.parents { &[] } else { &advice }))?;
        }
    }
    failures.result()
}
