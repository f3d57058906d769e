//! What the state machine promises, one claim a test.

mod access;
mod acl;
mod ageing;
mod bad_input;
mod buckets;
mod changes;
mod content;
mod directory_policies;
mod exactly_once;
mod fsck;
mod garbage;
mod handles;
mod jobs;
mod keys;
mod links;
mod locks;
mod policies;
mod quota;
mod recovery;
mod replicas;
mod sessions;
mod token_keys;
mod trash;
mod tree;
mod unlisted;
mod uploads;
mod users;
mod writers;
mod xattr;

use types::{BlockId, ByteSize, Code, GenStamp, InodeId, SessionId};

use super::{CLUSTER, Cluster, LAYOUT, OWNER, at, invariants, location, locations, over, storage, storages, to};
use crate::access::Caller;
use crate::command::{BlockDone, Command, Destination, NewBlock, Reply, Where};
use crate::error::Error;
use crate::query;
use crate::row::Attributes;

fn code(result: Result<Reply, Error>) -> Code {
    result.expect_err("it must be refused").code()
}

fn mkdir(path: &str) -> Command {
    Command::Mkdir { place: at(path), ownership: OWNER, parents: true }
}

fn put(destination: Destination, content: &[u8]) -> Command {
    Command::PutInline { destination, ownership: OWNER, layout: LAYOUT, content: content.to_vec(), mtime: None }
}

fn delete(path: &str) -> Command {
    Command::Delete { place: at(path), recursive: true }
}

fn rename(from: &str, to: &str, overwrite: bool) -> Command {
    Command::Rename { from: at(from), to: at(to), overwrite }
}

fn create(destination: Option<Destination>, targets: &[u8]) -> Command {
    Command::Create { destination, ownership: OWNER, layout: LAYOUT, targets: locations(targets) }
}

fn inode(number: u64, path: &str) -> Where {
    Where { base: InodeId::new(number), path: path.as_bytes().to_vec() }
}

fn done(block: BlockId, length: u64, replicas: &[u8]) -> BlockDone {
    BlockDone { block, generation: GenStamp::FIRST, length: ByteSize::new(length), replicas: storages(replicas) }
}

fn complete(inode: InodeId, last: Option<BlockDone>, publish: Option<Destination>) -> Command {
    Command::Complete { inode, last, min_replicas: 2, publish, mtime: None }
}

impl Cluster {
    fn stat(&self, path: &str) -> Attributes {
        query::stat(&self.state, Caller::SYSTEM, &at(path)).expect("it is there")
    }

    fn is_there(&self, path: &str) -> bool {
        query::stat(&self.state, Caller::SYSTEM, &at(path)).is_ok()
    }

    /// A file open for writing on storages 1, 2 and 3.
    fn create(&mut self, session: SessionId, destination: Option<Destination>) -> (InodeId, NewBlock) {
        match self.by(session, create(destination, &[1, 2, 3])) {
            Ok(Reply::Created { attributes, block: Some(block) }) => (attributes.inode, block),
            other => panic!("a file was asked for: {other:?}"),
        }
    }

    /// A closed file of one block of 10 bytes on storages 1, 2 and 3.
    fn write(&mut self, session: SessionId, path: &str) -> BlockId {
        let (inode, block) = self.create(session, Some(over(path)));
        let last = done(block.block, 10, &[1, 2, 3]);
        self.by(session, complete(inode, Some(last), None)).expect("completes");
        block.block
    }

    fn collect(&mut self) {
        while self.run(Command::GcStep { limit: 2, grace_nanos: 0 }) != Ok(Reply::Step { more: false }) {}
    }
}
