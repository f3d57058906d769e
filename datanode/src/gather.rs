//! Makes a replica of a new block of parts of others, so that a file in many short pieces becomes one in few.

use proto::{WireError, v1};
use types::{BlockId, ByteSize, Code, GenStamp, StorageId};

use crate::making::{Begun, Making};
use crate::node::Node;
use crate::pull::{Part, Source, pull};

/// The most parts of one block.
const MAX_PARTS: usize = 1024;

/// A task, read.
#[derive(Debug, Clone)]
pub(crate) struct Gather {
    pub(crate) storage: StorageId,
    pub(crate) block: BlockId,
    pub(crate) generation: GenStamp,
    length: ByteSize,
    parts: Vec<Part>,
    rate: u64,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// Over the checksums of all its chunks.
    pub(crate) result: Result<u32, (Code, String)>,
    pub(crate) bad: Vec<v1::BadReplica>,
}

impl Gather {
    pub(crate) fn read(task: &v1::GatherReplica) -> Result<Self, WireError> {
        if task.pieces.is_empty() || task.pieces.len() > MAX_PARTS {
            return Err(WireError { field: "GatherReplica.pieces", problem: "are none, or too many" });
        }
        let parts = task.pieces.iter().map(part).collect::<Result<Vec<_>, _>>()?;
        let length = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.length.get()));
        let length = length.map(ByteSize::new).filter(|length| *length <= transfer::message::MAX_BLOCK);
        Ok(Self {
            storage: proto::storage_id(&task.storage, "GatherReplica.storage")?,
            block: proto::block_id(task.block, "GatherReplica.block")?,
            generation: GenStamp::new(task.generation),
            length: length
                .ok_or(WireError { field: "GatherReplica.pieces", problem: "are longer together than any block" })?,
            parts,
            rate: task.rate,
        })
    }
}

fn part(piece: &v1::GatherPiece) -> Result<Part, WireError> {
    let end = piece.offset.checked_add(piece.length);
    if piece.length == 0 || end.is_none_or(|end| end > transfer::message::MAX_BLOCK.get()) {
        return Err(WireError { field: "GatherPiece.length", problem: "is nothing, or past the end of any block" });
    }
    Ok(Part {
        block: proto::block_id(piece.block, "GatherPiece.block")?,
        generation: GenStamp::new(piece.generation),
        offset: piece.offset,
        length: ByteSize::new(piece.length),
        sources: piece.sources.iter().map(Source::read).collect::<Result<_, _>>()?,
        token: proto::token(piece.token.clone()),
    })
}

pub(crate) async fn run(node: &Node, gather: &Gather) -> Gathered {
    let Gather { storage, block, generation, length, parts, rate } = gather;
    let nothing_bad = |result| Gathered { result, bad: Vec::new() };
    let Some(volume) = node.volumes.get(storage) else {
        return nothing_bad(Err((Code::NotFound, format!("storage {storage} is not on this node"))));
    };
    let mut making = match Making::begin(volume, *block, *generation, *length).await {
        Ok(Begun::Making(making)) => making,
        // The result of an earlier attempt may have been heard, and the replica be in use.
        Ok(Begun::AlreadyThere) => {
            return nothing_bad(Err((
                Code::Exists,
                "it was made before, and what it holds is not known now".to_owned(),
            )));
        }
        Err(error) => return nothing_bad(Err(error)),
    };
    let mut bad = Vec::new();
    for part in parts {
        let pulled = pull(node, part, *rate, &mut making).await;
        bad.extend(pulled.bad_sources.iter().map(|storage| v1::BadReplica {
            storage: storage.as_bytes().to_vec(),
            block: Some(part.block.into()),
            generation: part.generation.get(),
        }));
        if let Err(error) = pulled.result {
            making.abandon().await;
            return Gathered { result: Err(error), bad };
        }
    }
    Gathered { result: making.finish().await, bad }
}

#[cfg(test)]
mod tests {
    use types::InodeId;

    use super::*;

    fn task(pieces: Vec<v1::GatherPiece>) -> v1::GatherReplica {
        let block = Some(BlockId::new(InodeId::new(9), 0).into());
        v1::GatherReplica { storage: vec![7; 16], block, generation: 1, pieces, rate: 0 }
    }

    fn piece(offset: u64, length: u64) -> v1::GatherPiece {
        let block = Some(BlockId::new(InodeId::new(5), 0).into());
        v1::GatherPiece { block, generation: 1, offset, length, sources: Vec::new(), token: None }
    }

    #[test]
    fn rubbish_about_what_is_to_be_gathered_is_refused() {
        let read = |pieces| Gather::read(&task(pieces)).map(|gather| gather.length.get());
        assert_eq!(read(vec![piece(5, 10), piece(0, 3)]), Ok(13));
        let most = transfer::message::MAX_BLOCK.get();
        for bad in [
            vec![],
            vec![piece(0, 0)],
            vec![piece(u64::MAX, 2)],
            vec![piece(1, most)],
            vec![piece(0, most), piece(0, 1)],
            vec![piece(0, 1); MAX_PARTS + 1],
            vec![v1::GatherPiece { block: None, ..piece(0, 1) }],
        ] {
            assert!(read(bad.clone()).is_err(), "{:?}", bad.first());
        }
        let elsewhere = v1::Location { transfer: "192.0.2.1:1".to_owned(), ..v1::Location::default() };
        assert!(read(vec![v1::GatherPiece { sources: vec![elsewhere], ..piece(0, 1) }]).is_err());
        assert!(Gather::read(&v1::GatherReplica { storage: vec![1], ..task(vec![piece(0, 1)]) }).is_err());
    }
}
