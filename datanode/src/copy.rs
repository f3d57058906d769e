//! Copies a replica from another node.

use proto::{WireError, v1};
use types::{BlockId, ByteSize, Code, GenStamp, StorageId};

use crate::making::{Begun, Making};
use crate::node::Node;
use crate::pull::{Part, Pulled, Source, pull};

/// A task, read.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) storage: StorageId,
    pub(crate) block: BlockId,
    pub(crate) generation: GenStamp,
    whole: Part,
    rate: u64,
}

impl Copy {
    pub(crate) fn read(task: &v1::CopyReplica) -> Result<Self, WireError> {
        let length = ByteSize::new(task.length);
        if length > transfer::message::MAX_BLOCK {
            return Err(WireError { field: "CopyReplica.length", problem: "is longer than any block" });
        }
        let block = proto::block_id(task.block, "CopyReplica.block")?;
        let generation = GenStamp::new(task.generation);
        let sources = task.sources.iter().map(Source::read).collect::<Result<_, _>>()?;
        let token = proto::token(task.token.clone());
        Ok(Self {
            storage: proto::storage_id(&task.storage, "CopyReplica.storage")?,
            block,
            generation,
            whole: Part { block, generation, offset: 0, length, sources, token },
            rate: task.rate,
        })
    }
}

pub(crate) async fn run(node: &Node, copy: &Copy) -> Pulled {
    let Copy { storage, block, generation, whole, rate } = copy;
    let nothing_bad = |result| Pulled { result, bad_sources: Vec::new() };
    let Some(volume) = node.volumes.get(storage) else {
        return nothing_bad(Err((Code::NotFound, format!("storage {storage} is not on this node"))));
    };
    let mut making = match Making::begin(volume, *block, *generation, whole.length).await {
        Ok(Begun::Making(making)) => making,
        Ok(Begun::AlreadyThere) => return nothing_bad(Ok(())),
        Err(error) => return nothing_bad(Err(error)),
    };
    let Pulled { result, bad_sources } = pull(node, whole, *rate, &mut making).await;
    let result = match result {
        Ok(()) => making.finish().await.map(drop),
        Err(error) => {
            making.abandon().await;
            Err(error)
        }
    };
    Pulled { result, bad_sources }
}
