//! `ashlar object get`

use std::io::Write as _;
use std::path::{Path, PathBuf};

use client::Client;
use client::objects::ObjectReader;

use super::name::ObjectName;
use crate::exit::Failure;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    #[arg(value_name = "BUCKET/KEY")]
    from: ObjectName,
    /// A local file, or - for the standard output; by default a file of the key's last name
    #[arg(value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(short, long)]
    force: bool,
}

pub(super) async fn run(client: &Client, args: GetArgs) -> Result<(), Failure> {
    let GetArgs { from, to, force } = args;
    let last = from.key.rsplit('/').find(|name| !name.is_empty()).unwrap_or_default();
    let to = to.unwrap_or_else(|| PathBuf::from(last));
    let mut reader = client.objects().open(&from.bucket, from.key.as_bytes()).await?;
    if to.as_os_str() == "-" {
        let mut out = Output::stdout();
        while let Some(chunk) = reader.next_chunk().await? {
            out.bytes(&chunk)?;
        }
        return out.flush();
    }
    download(&mut reader, &to, force).await
}

/// The file appears whole or not at all.
async fn download(reader: &mut ObjectReader, to: &Path, force: bool) -> Result<(), Failure> {
    let failed = |error: &std::io::Error| Failure::local(to, error);
    if !force && to.exists() {
        return Err(Failure::Failed(format!("{}: exists already (use -f to replace it)", to.display())));
    }
    let beside = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".ashlar-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(beside)
        .map_err(|error| failed(&error))?;
    while let Some(chunk) = reader.next_chunk().await? {
        file.write_all(&chunk).map_err(|error| failed(&error))?;
    }
    let kept = if force { file.persist(to) } else { file.persist_noclobber(to) };
    kept.map(|_| ()).map_err(|error| failed(&error.error))
}
