//! `ashlar object ls`

use client::Client;
use client::objects::{KeyItem, ListKeys, MAX_KEYS};
use serde::Serialize;

use super::name::Prefix;
use crate::exit::Failure;
use crate::output::{Align, JsonArray, Output, Sizes, Table, local_minutes, rfc3339, shown};

#[derive(Debug, clap::Args)]
pub(super) struct LsArgs {
    /// What to list; without it, the buckets
    #[arg(value_name = "BUCKET[/PREFIX]")]
    of: Option<Prefix>,
    /// All objects below, not only those up to the next slash
    #[arg(short, long)]
    recursive: bool,
    /// Exact sizes
    #[arg(long)]
    bytes: bool,
    /// A JSON array
    #[arg(long)]
    json: bool,
}

/// The keys of the JSON are an interface.
#[derive(Debug, Serialize)]
struct Bucket {
    bucket: String,
    created: String,
    uid: u32,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Item {
    Object { key: String, length: u64, etag: String, modified: String, uid: u32 },
    Prefix { prefix: String },
}

pub(super) async fn run(client: &Client, args: LsArgs) -> Result<(), Failure> {
    let mut out = Output::stdout();
    match &args.of {
        None => buckets(client, &args, &mut out).await?,
        Some(of) => objects(client, &args, of, &mut out).await?,
    }
    out.flush()
}

async fn buckets(client: &Client, args: &LsArgs, out: &mut Output) -> Result<(), Failure> {
    let found = client.objects().buckets().await?;
    if args.json {
        let mut array = JsonArray::default();
        for bucket in found {
            let created = rfc3339(bucket.created);
            array.push(out, &Bucket { bucket: bucket.name, created, uid: bucket.attributes.uid })?;
        }
        return array.end(out);
    }
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Left]);
    for bucket in found {
        table.row([local_minutes(bucket.created), format!("uid {}", bucket.attributes.uid), bucket.name]);
    }
    table.print(out)
}

async fn objects(client: &Client, args: &LsArgs, of: &Prefix, out: &mut Output) -> Result<(), Failure> {
    let sizes = Sizes::exact(args.bytes);
    let mut array = JsonArray::default();
    let mut list = ListKeys {
        prefix: of.prefix.clone().into_bytes(),
        delimiter: if args.recursive { Vec::new() } else { b"/".to_vec() },
        after: Vec::new(),
        max: MAX_KEYS,
    };
    loop {
        let page = client.objects().list(&of.bucket, list.clone()).await?;
        let last = page.items.last().map(|item| item.name().to_vec());
        for item in &page.items {
            if args.json {
                array.push(out, &as_json(item))?;
            } else {
                print(item, sizes, out)?;
            }
        }
        match last.filter(|_| page.more) {
            Some(last) => list.after = last,
            None => break,
        }
    }
    if args.json { array.end(out) } else { Ok(()) }
}

fn as_json(item: &KeyItem) -> Item {
    match item {
        KeyItem::Prefix(prefix) => Item::Prefix { prefix: String::from_utf8_lossy(prefix).into_owned() },
        KeyItem::Object { key, attributes, etag } => Item::Object {
            key: String::from_utf8_lossy(key).into_owned(),
            length: attributes.length.get(),
            etag: etag.clone(),
            modified: rfc3339(attributes.mtime),
            uid: attributes.uid,
        },
    }
}

fn print(item: &KeyItem, sizes: Sizes, out: &mut Output) -> Result<(), Failure> {
    let terminal = out.is_terminal();
    match item {
        KeyItem::Prefix(prefix) => {
            out.bytes(format!("{:>16}  {:>10}  ", "", "-"))?;
            out.line(shown(prefix, terminal))
        }
        KeyItem::Object { key, attributes, .. } => {
            out.bytes(format!("{}  {:>10}  ", local_minutes(attributes.mtime), sizes.show(attributes.length.get())))?;
            out.line(shown(key, terminal))
        }
    }
}
