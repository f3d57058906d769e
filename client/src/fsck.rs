//! The check of a tree, as the leader tells it.

use std::time::Duration;

use proto::v1;
use tonic::Streaming;
use types::{BlockId, ByteSize, GenStamp, InodeId, NodeId, Path};

use crate::error::{Error, Fault};
use crate::wire::broken;

/// The leader tells how far it is several times a second; one that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// Something found, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub path: Vec<u8>,
    /// Not known of an entry that cannot be read.
    pub inode: Option<InodeId>,
    pub what: Found,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// An invariant of the namespace that does not hold, in words.
    Broken(String),
    Block(CheckedBlock),
}

/// How one block of a file stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedBlock {
    pub block: BlockId,
    pub generation: GenStamp,
    /// In the file.
    pub offset: u64,
    /// Of the file's bytes in it.
    pub length: ByteSize,
    /// It is not committed: nothing is wanted of it yet.
    pub writing: bool,
    pub wanted: u32,
    /// Good replicas on datanodes that are not dead.
    pub live: u32,
    /// Good ones on others.
    pub unreachable: u32,
    pub replicas: Vec<ReplicaPlace>,
    /// The damaged ones.
    pub bad: Vec<ReplicaPlace>,
    /// When datanodes were to read them: those whose bytes are damaged or gone, which is news,
    pub found_bad: Vec<ReplicaPlace>,
    /// and those that could not be read just now.
    pub unverified: Vec<ReplicaPlace>,
}

/// The datanode of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaPlace {
    pub node: NodeId,
    pub host: String,
    /// `ip:port` of its transfer server.
    pub address: String,
}

/// What has been looked at so far. A block that two files share counts with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looked {
    pub files: u64,
    pub directories: u64,
    pub blocks: u64,
    pub bytes: u64,
}

/// A check under way; see [`Admin::fsck`](crate::Admin::fsck).
#[derive(Debug)]
pub struct Fsck {
    path: Path,
    stream: Streaming<v1::FsckBatch>,
    done: bool,
}

impl Fsck {
    pub(crate) const fn new(path: Path, stream: Streaming<v1::FsckBatch>) -> Self {
        Self { path, stream, done: false }
    }

    /// What was found since, and how far the check is; nothing at its end.
    ///
    /// # Errors
    /// The leader is gone, or does not lead any more: what was told so far is true, and not all there is to tell.
    pub async fn next(&mut self) -> Result<Option<(Vec<Finding>, Looked)>, Error> {
        if self.done {
            return Ok(None);
        }
        let batch = match tokio::time::timeout(SILENCE, self.stream.message()).await {
            Ok(Ok(Some(batch))) => self.understand(batch),
            Ok(Ok(None)) => Err(broken("it stopped before the end of the check")),
            Ok(Err(status)) => Err(crate::admin::failed(&status)),
            Err(_) => Err(Fault::NoAnswer { after: SILENCE, reason: "the leader is silent".to_owned() }),
        };
        batch.map(Some).map_err(|fault| Error::new("check", &self.path, fault))
    }

    fn understand(&mut self, batch: v1::FsckBatch) -> Result<(Vec<Finding>, Looked), Fault> {
        self.done = batch.done;
        let v1::FsckLooked { files, directories, blocks, bytes } = batch.looked.unwrap_or_default();
        let findings = batch.told.into_iter().map(finding).collect::<Result<_, _>>()?;
        Ok((findings, Looked { files, directories, blocks, bytes }))
    }
}

fn finding(wire: v1::FsckTold) -> Result<Finding, Fault> {
    let what = match wire.what {
        Some(v1::fsck_told::What::Broken(what)) => Found::Broken(what),
        Some(v1::fsck_told::What::Block(block)) => Found::Block(CheckedBlock {
            block: proto::block_id(block.block, "FsckBlock.block")?,
            generation: GenStamp::new(block.generation),
            offset: block.offset,
            length: ByteSize::new(block.length),
            writing: block.writing,
            wanted: block.wanted,
            live: block.live,
            unreachable: block.unreachable,
            replicas: block.replicas.into_iter().map(place).collect(),
            bad: block.bad.into_iter().map(place).collect(),
            found_bad: block.found_bad.into_iter().map(place).collect(),
            unverified: block.unverified.into_iter().map(place).collect(),
        }),
        None => return Err(broken("it told of a path, and nothing of it")),
    };
    let inode = (wire.inode != 0).then(|| InodeId::new(wire.inode));
    Ok(Finding { path: wire.path, inode, what })
}

fn place(wire: v1::Location) -> ReplicaPlace {
    ReplicaPlace { node: NodeId::new(wire.node), host: wire.host, address: wire.transfer }
}
