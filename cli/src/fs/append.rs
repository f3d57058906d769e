//! `ashlar fs append`

use std::fs::File;
use std::io;
use std::path::{Path as LocalPath, PathBuf};

use bytes::Bytes;
use client::{AppendOptions, Client, Durability, FileWriter};
use tokio::sync::mpsc;

use super::remote::{self, RemotePath};
use super::upload::pieces;
use crate::exit::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct AppendArgs {
    /// Local files, in this order; - is the standard input
    #[arg(required = true)]
    sources: Vec<PathBuf>,
    /// The file in the cluster to continue
    #[arg(value_parser = remote::argument())]
    destination: RemotePath,
    /// When what is appended counts as stored: memory, close or always [default: what the cluster says]
    #[arg(long, value_name = "LEVEL")]
    durability: Option<Durability>,
}

pub(crate) async fn run(client: &Client, args: AppendArgs) -> Result<(), Failure> {
    let mut opened = Vec::new();
    for source in &args.sources {
        opened.push(open(source)?);
    }
    let failed = |error: client::Error| Failure::Failed(error.brief());
    let options = AppendOptions { durability: args.durability };
    let mut writer = client.append(&args.destination.path, options).await.map_err(failed)?;
    for (source, pieces) in args.sources.iter().zip(opened) {
        if let Err(failure) = send(&mut writer, source, pieces).await {
            // What was appended so far stays, and the file is closed.
            if let Err(error) = writer.abort().await {
                tracing::debug!(%error, "the file was not closed in order");
            }
            return Err(failure);
        }
    }
    writer.close().await.map(|_| ()).map_err(failed)
}

/// Nothing is appended unless every source can be opened.
fn open(source: &LocalPath) -> Result<mpsc::Receiver<io::Result<Bytes>>, Failure> {
    if source.as_os_str() == "-" {
        return Ok(pieces(io::stdin()));
    }
    File::open(source).map(pieces).map_err(|error| Failure::local(source, &error))
}

async fn send(
    writer: &mut FileWriter,
    source: &LocalPath,
    mut pieces: mpsc::Receiver<io::Result<Bytes>>,
) -> Result<(), Failure> {
    while let Some(piece) = pieces.recv().await {
        let piece = piece.map_err(|error| Failure::local(source, &error))?;
        writer.write(piece).await.map_err(|error| Failure::Failed(error.brief()))?;
    }
    Ok(())
}
