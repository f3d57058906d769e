//! `ashlar object multipart`: uploads that were begun and are not complete.

use client::Client;
use client::objects::{ListUploads, MAX_KEYS, Part, Upload, UploadId, UploadItem, UploadName};
use serde::Serialize;

use super::name::{ObjectName, Prefix};
use crate::exit::Failure;
use crate::output::{Align, JsonArray, Output, Sizes, Table, local_minutes, rfc3339, shown};

#[derive(Debug, clap::Args)]
pub(super) struct MultipartArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the uploads to a bucket
    Ls(LsArgs),
    /// List the parts of an upload
    Parts(PartsArgs),
    /// Give uploads up; their parts go
    Abort(AbortArgs),
}

#[derive(Debug, clap::Args)]
struct LsArgs {
    #[arg(value_name = "BUCKET[/PREFIX]")]
    of: Prefix,
    /// A JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct PartsArgs {
    #[arg(value_name = "BUCKET/KEY")]
    object: ObjectName,
    /// Of the upload, as `ls` tells it
    #[arg(value_name = "ID")]
    id: UploadId,
    /// Exact sizes
    #[arg(long)]
    bytes: bool,
    /// A JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct AbortArgs {
    #[arg(value_name = "BUCKET/KEY")]
    object: ObjectName,
    #[arg(required = true, value_name = "ID")]
    ids: Vec<UploadId>,
}

/// The keys of the JSON are an interface.
#[derive(Debug, Serialize)]
struct ListedUpload {
    key: String,
    id: String,
    initiated: String,
    uid: u32,
}

#[derive(Debug, Serialize)]
struct ListedPart {
    number: u16,
    length: u64,
    etag: String,
    modified: String,
}

pub(super) async fn run(client: &Client, args: MultipartArgs) -> Result<(), Failure> {
    match args.command {
        Command::Ls(args) => list(client, args).await,
        Command::Parts(args) => parts(client, args).await,
        Command::Abort(args) => abort(client, args).await,
    }
}

async fn list(client: &Client, args: LsArgs) -> Result<(), Failure> {
    let (mut out, mut array) = (Output::stdout(), JsonArray::default());
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Left, Align::Left]);
    let mut list = ListUploads { prefix: args.of.prefix.into_bytes(), max: MAX_KEYS, ..ListUploads::default() };
    loop {
        let page = client.objects().uploads(&args.of.bucket, list.clone()).await?;
        let found = page.items.into_iter().filter_map(|item| match item {
            UploadItem::Upload(upload) => Some(upload),
            // Only with a delimiter.
            UploadItem::Prefix(_) => None,
        });
        let mut last = None;
        for Upload { key, id, initiated, uid, .. } in found {
            if args.json {
                let key = String::from_utf8_lossy(&key).into_owned();
                array.push(&mut out, &ListedUpload { key, id: id.to_string(), initiated: rfc3339(initiated), uid })?;
            } else {
                let name = String::from_utf8_lossy(&shown(&key, out.is_terminal())).into_owned();
                table.row([local_minutes(initiated), format!("uid {uid}"), id.to_string(), name]);
            }
            last = Some((key, id));
        }
        match last.filter(|_| page.more) {
            Some((key, id)) => (list.after, list.after_id) = (key, Some(id)),
            None => break,
        }
    }
    if args.json {
        array.end(&mut out)?
    } else {
        table.print(&mut out)?
    }
    out.flush()
}

async fn parts(client: &Client, args: PartsArgs) -> Result<(), Failure> {
    let upload = name(&args.object, args.id);
    let (mut out, mut array) = (Output::stdout(), JsonArray::default());
    let mut table = Table::new(&[Align::Right, Align::Left, Align::Right, Align::Left]);
    let sizes = Sizes::exact(args.bytes);
    let mut after = 0;
    loop {
        let page = client.objects().parts(&upload, after, MAX_KEYS).await?;
        for Part { number, length, etag, modified, .. } in page.parts {
            after = number;
            if args.json {
                array.push(&mut out, &ListedPart { number, length, etag, modified: rfc3339(modified) })?;
            } else {
                table.row([number.to_string(), local_minutes(modified), sizes.show(length), etag]);
            }
        }
        if !page.more {
            break;
        }
    }
    if args.json {
        array.end(&mut out)?
    } else {
        table.print(&mut out)?
    }
    out.flush()
}

async fn abort(client: &Client, args: AbortArgs) -> Result<(), Failure> {
    for id in args.ids {
        client.objects().abort_upload(&name(&args.object, id)).await?;
    }
    Ok(())
}

fn name(object: &ObjectName, id: UploadId) -> UploadName {
    UploadName { bucket: object.bucket.clone(), key: object.key.clone().into_bytes(), id }
}
