//! What the namenode said of an open file: its attributes, and where its blocks are.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use proto::v1;

use crate::error::Fault;
use crate::metadata::{Metadata, Scope};
use crate::object::Attributes;
use crate::place::Place;
use crate::store::Client;
use crate::wire::{self, LocatedBlock};

/// The part of the block map that is asked for at a time.
const PAGE: u64 = 256 << 20;
/// Blocks remembered of one file.
const REMEMBERED: usize = 4096;

/// An open file, shared by all that read it at once.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) client: Client,
    pub(super) place: Place,
    pub(super) attributes: Attributes,
    inline: Option<Bytes>,
    /// By offset in the file.
    blocks: Mutex<BTreeMap<u64, LocatedBlock>>,
}

impl OpenFile {
    pub(super) async fn open(client: Client, place: &Place) -> Result<Self, Fault> {
        let opened = ask(&client, wire::place(place), 0).await?;
        let attributes = wire::attributes(opened.attributes.ok_or_else(|| broken("an open file has no attributes"))?)?;
        let inline = opened.inline.map(Bytes::from);
        if inline.as_ref().is_some_and(|content| content.len() as u64 != attributes.length.get()) {
            return Err(broken("the content of a small file is not as long as the file"));
        }
        let blocks = read_map(opened.blocks)?;
        Ok(Self { client, place: place.clone(), attributes, inline, blocks: Mutex::new(blocks) })
    }

    pub(super) fn length(&self) -> u64 {
        self.attributes.length.get()
    }

    /// The whole content, if it lives with the inode.
    pub(super) fn inline(&self) -> Option<&Bytes> {
        self.inline.as_ref()
    }

    /// The block that holds the byte at `offset`, which is below the length of the file.
    pub(super) async fn locate(&self, offset: u64) -> Result<LocatedBlock, Fault> {
        if let Some(found) = self.known(offset) {
            return Ok(found);
        }
        self.refresh(offset).await?;
        self.known(offset).ok_or_else(|| broken(format!("the block map has a gap at offset {offset}")))
    }

    /// Asks again where the bytes from `offset` on are.
    pub(super) async fn refresh(&self, offset: u64) -> Result<(), Fault> {
        let opened = ask(&self.client, wire::inode(self.attributes.inode), offset).await?;
        let fresh = read_map(opened.blocks)?;
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if blocks.len() + fresh.len() > REMEMBERED {
            blocks.clear();
        }
        blocks.extend(fresh);
        Ok(())
    }

    fn known(&self, offset: u64) -> Option<LocatedBlock> {
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, block) = blocks.range(..=offset).next_back()?;
        (offset < block.offset + block.length).then(|| block.clone())
    }
}

fn broken(problem: impl Into<String>) -> Fault {
    Fault::Protocol { peer: "the namenode".to_owned(), problem: problem.into() }
}

async fn ask(client: &Client, place: v1::Where, offset: u64) -> Result<v1::Opened, Fault> {
    let client_host = client.0.config.host.clone();
    let open = v1::Open { place: Some(place), offset, length: PAGE, client_host };
    match client.0.metadata.call(v1::op::Kind::Open(open), Scope::Read).await?.0 {
        v1::reply::Result::Opened(opened) => Ok(opened),
        other => Err(Metadata::unexpected(&other)),
    }
}

fn read_map(blocks: Vec<v1::LocatedBlock>) -> Result<BTreeMap<u64, LocatedBlock>, Fault> {
    blocks.into_iter().map(|block| wire::located_block(block).map(|block| (block.offset, block))).collect()
}
