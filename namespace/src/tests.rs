//! Random histories against the model, and claims one by one.

mod claims;
mod golden;
mod golden_keys;
mod histories;
mod model;

use types::{ByteSize, ClusterId, InodeId, NodeId, Sequence, SessionId, StorageId, Timestamp};

use crate::apply::{Applied, apply};
use crate::command::{Command, Destination, Layout, Origin, Ownership, Reply, Request, Where};
use crate::error::Error;
use crate::invariants;
use crate::memory::MemoryView;
use crate::row::BlockLocation;

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes(*b"cluster of tests");
pub(crate) const OWNER: Ownership = Ownership { uid: 1000, gid: 100, mode: 0o644, umask: None };
pub(crate) const LAYOUT: Layout = Layout { replication: 3, block_size: ByteSize::new(16), spread: None };
const START: u64 = 1_000_000;

pub(crate) fn at(path: &str) -> Where {
    Where { base: InodeId::ROOT, path: path.as_bytes().to_vec() }
}

pub(crate) fn to(path: &str) -> Destination {
    Destination { place: at(path), overwrite: false, parents: false }
}

pub(crate) fn over(path: &str) -> Destination {
    Destination { overwrite: true, ..to(path) }
}

pub(crate) fn storage(number: u8) -> StorageId {
    StorageId::from_bytes([number; 16])
}

pub(crate) fn location(number: u8) -> BlockLocation {
    BlockLocation { node: NodeId::new(100 + u64::from(number)), storage: storage(number) }
}

pub(crate) fn locations(numbers: &[u8]) -> Vec<BlockLocation> {
    numbers.iter().map(|number| location(*number)).collect()
}

pub(crate) fn storages(numbers: &[u8]) -> Vec<StorageId> {
    numbers.iter().map(|number| storage(*number)).collect()
}

/// A state that commands run on, as a leader would number and stamp them.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) state: MemoryView,
    pub(crate) clock: u64,
    sequence: u64,
}

impl Cluster {
    pub(crate) fn formatted() -> Self {
        Self::with_root(None)
    }

    /// The root directory belongs to this uid and gid.
    pub(crate) fn formatted_for(owner: (u32, u32)) -> Self {
        Self::with_root(Some(owner))
    }

    fn with_root(owner: Option<(u32, u32)>) -> Self {
        let mut cluster = Self { state: MemoryView::new(), clock: START, sequence: 0 };
        cluster.run(Command::Format { cluster: CLUSTER, owner }).expect("the first command");
        cluster
    }

    pub(crate) fn request(&mut self, session: Option<SessionId>, command: Command) -> Request {
        self.clock += 1;
        let origin = session.map(|session| {
            self.sequence += 1;
            Origin { session, sequence: Sequence::new(self.sequence) }
        });
        Request { time: Timestamp::from_nanos(self.clock), origin, command, principal: None }
    }

    pub(crate) fn apply(&mut self, request: &Request) -> Applied {
        let applied = apply(&self.state, request).expect("a state in memory is readable");
        self.state.store(applied.writes.clone());
        applied
    }

    /// A command of nobody's session.
    pub(crate) fn run(&mut self, command: Command) -> Result<Reply, Error> {
        let request = self.request(None, command);
        self.apply(&request).reply
    }

    /// A client's command.
    pub(crate) fn by(&mut self, session: SessionId, command: Command) -> Result<Reply, Error> {
        let request = self.request(Some(session), command);
        self.apply(&request).reply
    }

    pub(crate) fn open_session(&mut self) -> SessionId {
        match self.run(Command::OpenSession { client: "test".to_owned() }) {
            Ok(Reply::Session { session }) => session,
            other => panic!("a session was asked for: {other:?}"),
        }
    }
}
