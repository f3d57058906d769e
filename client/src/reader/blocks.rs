//! What the namenode said of an open file: its attributes, and where its bytes are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use proto::v1;

use super::near::Near;
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
    /// As error messages show it.
    pub(super) shown: String,
    pub(super) attributes: Attributes,
    inline: Option<Bytes>,
    /// Replicas on this machine.
    pub(super) near: Near,
    /// By offset in the file.
    pieces: Mutex<BTreeMap<u64, Piece>>,
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Block(Arc<LocatedBlock>),
    /// Zeros, up to this offset.
    Hole {
        end: u64,
    },
}

impl Piece {
    fn end(&self) -> u64 {
        match self {
            Self::Block(block) => block.offset + block.length,
            Self::Hole { end } => *end,
        }
    }
}

impl OpenFile {
    pub(super) async fn open(client: Client, place: &Place) -> Result<Self, Fault> {
        let mut opened = ask(&client, wire::place(place), 0).await?;
        let attributes = opened.attributes.take().ok_or_else(|| broken("an open file has no attributes"))?;
        Self::opened(client, place.to_string(), wire::attributes(attributes)?, opened)
    }

    /// From what the namenode has told already.
    pub(super) fn opened(
        client: Client,
        shown: String,
        attributes: Attributes,
        opened: v1::Opened,
    ) -> Result<Self, Fault> {
        let inline = opened.inline.map(Bytes::from);
        if inline.as_ref().is_some_and(|content| content.len() as u64 != attributes.length.get()) {
            return Err(broken("the content of a small file is not as long as the file"));
        }
        let pieces = read_map(opened.blocks, 0, opened.known_to)?;
        Ok(Self { client, shown, attributes, inline, near: Near::default(), pieces: Mutex::new(pieces) })
    }

    pub(super) fn length(&self) -> u64 {
        self.attributes.length.get()
    }

    /// The whole content, if it lives with the inode.
    pub(super) fn inline(&self) -> Option<&Bytes> {
        self.inline.as_ref()
    }

    /// The piece that the byte at `offset` is in, which is below the length of the file.
    pub(super) async fn locate(&self, offset: u64) -> Result<Piece, Fault> {
        if let Some(found) = self.known(offset) {
            return Ok(found);
        }
        self.refresh(offset).await?;
        self.known(offset).ok_or_else(|| broken(format!("the block map has a gap at offset {offset}")))
    }

    /// Asks again where the bytes from `offset` on are.
    pub(super) async fn refresh(&self, offset: u64) -> Result<(), Fault> {
        let opened = ask(&self.client, wire::inode(self.attributes.inode), offset).await?;
        let length = opened.attributes.as_ref().map_or(0, |attributes| attributes.length);
        if opened.inline.is_some() || length <= offset {
            return Err(Fault::Broken(format!("it was made {length} bytes long while it was read; open it again")));
        }
        let known_to = opened.known_to;
        self.near.clear();
        let fresh = read_map(opened.blocks, offset, known_to)?;
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if pieces.len() + fresh.len() > REMEMBERED {
            pieces.clear();
        }
        replace(&mut pieces, fresh, (offset, known_to));
        Ok(())
    }

    fn known(&self, offset: u64) -> Option<Piece> {
        let pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, piece) = pieces.range(..=offset).next_back()?;
        (offset < piece.end()).then(|| piece.clone())
    }
}

fn broken(problem: impl Into<String>) -> Fault {
    Fault::Protocol { peer: "the namenode".to_owned(), problem: problem.into() }
}

async fn ask(client: &Client, place: v1::Where, offset: u64) -> Result<v1::Opened, Fault> {
    let reader = Some(client.0.config.reader());
    let open = v1::Open { place: Some(place), offset, length: PAGE, reader };
    match client.0.metadata.call(v1::op::Kind::Open(open), Scope::Read).await?.0 {
        v1::reply::Result::Opened(opened) => Ok(opened),
        other => Err(Metadata::unexpected(&other)),
    }
}

/// Puts what is known now of a range in the place of what was known before. The first of the new pieces may begin before the
/// range: what lies there may be of the past too.
fn replace(pieces: &mut BTreeMap<u64, Piece>, fresh: BTreeMap<u64, Piece>, (from, to): (u64, u64)) {
    let from = fresh.keys().next().map_or(from, |first| from.min(*first));
    pieces.retain(|start, piece| piece.end() <= from || *start >= to);
    pieces.extend(fresh);
}

/// The pieces of a file from `from` on, of which everything is known up to `known_to`.
fn read_map(blocks: Vec<v1::LocatedBlock>, from: u64, known_to: u64) -> Result<BTreeMap<u64, Piece>, Fault> {
    let mut pieces = BTreeMap::new();
    let mut end = from;
    for block in blocks {
        let block = wire::located_block(block)?;
        if block.length == 0 || (block.offset < end && !pieces.is_empty()) {
            return Err(broken("the block map is out of order"));
        }
        if block.offset > end {
            pieces.insert(end, Piece::Hole { end: block.offset });
        }
        end = block.offset + block.length;
        pieces.insert(block.offset, Piece::Block(Arc::new(block)));
    }
    if end < known_to {
        pieces.insert(end, Piece::Hole { end: known_to });
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hole(start: u64, end: u64) -> (u64, Piece) {
        (start, Piece::Hole { end })
    }

    /// Many pieces that were joined to one, which is met in its middle.
    #[test]
    fn a_piece_that_begins_before_what_was_asked_for_replaces_what_lies_there() {
        let mut pieces = BTreeMap::from([hole(0, 10), hole(10, 20), hole(20, 30), hole(30, 40), hole(40, 50)]);
        replace(&mut pieces, BTreeMap::from([hole(5, 35)]), (30, 40));
        assert_eq!(pieces, BTreeMap::from([hole(5, 35), hole(40, 50)]));
        replace(&mut pieces, BTreeMap::from([hole(40, 60)]), (40, 60));
        assert_eq!(pieces, BTreeMap::from([hole(5, 35), hole(40, 60)]));
        replace(&mut pieces, BTreeMap::new(), (0, 100));
        assert_eq!(pieces, BTreeMap::new());
    }
}
