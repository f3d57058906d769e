//! `ashlar object stat`

use std::collections::BTreeMap;

use client::Client;
use client::objects::{Found, Properties};
use serde::Serialize;

use super::name::ObjectName;
use crate::exit::Failure;
use crate::fs::Failures;
use crate::output::{Align, JsonArray, Output, Sizes, Table, local_exact, rfc3339};

#[derive(Debug, clap::Args)]
pub(super) struct StatArgs {
    #[arg(required = true, value_name = "BUCKET/KEY")]
    objects: Vec<ObjectName>,
    /// A JSON array
    #[arg(long)]
    json: bool,
}

/// The keys of the JSON are an interface.
#[derive(Debug, Serialize)]
struct Object<'a> {
    bucket: &'a str,
    key: &'a str,
    length: u64,
    etag: &'a str,
    modified: String,
    uid: u32,
    gid: u32,
    inode: u64,
    content_type: Option<String>,
    metadata: BTreeMap<String, String>,
    /// As a query string.
    tags: String,
}

pub(super) async fn run(client: &Client, args: StatArgs) -> Result<(), Failure> {
    let (mut out, mut failures, mut array) = (Output::stdout(), Failures::default(), JsonArray::default());
    for name in &args.objects {
        match client.objects().head(&name.bucket, name.key.as_bytes()).await {
            Ok(found) if args.json => array.push(&mut out, &as_json(name, &found))?,
            Ok(found) => table(name, &found).print(&mut out)?,
            Err(error) => failures.add(error.into())?,
        }
    }
    if args.json {
        array.end(&mut out)?;
    }
    out.flush()?;
    failures.result()
}

fn as_json<'a>(name: &'a ObjectName, found: &'a Found) -> Object<'a> {
    let properties = Properties::decode(&found.properties);
    Object {
        bucket: &name.bucket,
        key: &name.key,
        length: found.attributes.length.get(),
        etag: &found.etag,
        modified: rfc3339(found.attributes.mtime),
        uid: found.attributes.uid,
        gid: found.attributes.gid,
        inode: found.attributes.inode.get(),
        content_type: properties.content_type,
        metadata: properties.metadata,
        tags: String::from_utf8_lossy(&found.tags).into_owned(),
    }
}

fn table(name: &ObjectName, found: &Found) -> Table {
    let mut table = Table::new(&[Align::Left, Align::Left]);
    let length = found.attributes.length.get();
    table.row(["object".to_owned(), format!("{}/{}", name.bucket, name.key)]);
    table.row(["length".to_owned(), format!("{} ({length} bytes)", Sizes::Human.show(length))]);
    table.row(["etag".to_owned(), found.etag.clone()]);
    table.row(["modified".to_owned(), local_exact(found.attributes.mtime)]);
    table.row(["owner".to_owned(), format!("{}:{}", found.attributes.uid, found.attributes.gid)]);
    table.row(["inode".to_owned(), found.attributes.inode.get().to_string()]);
    let properties = Properties::decode(&found.properties);
    if let Some(kind) = properties.content_type {
        table.row(["type".to_owned(), kind]);
    }
    for (name, value) in properties.metadata {
        table.row([format!("x-amz-meta-{name}"), value]);
    }
    if !found.tags.is_empty() {
        table.row(["tags".to_owned(), String::from_utf8_lossy(&found.tags).into_owned()]);
    }
    table
}
