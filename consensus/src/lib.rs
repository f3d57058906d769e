//! The Raft core of a metadata member: what happens goes in, what is to be done comes out as data.
//!
//! [`Core`] wraps the library's `RawNode`. It has no threads, no clock, no dice and no IO: the time is an argument,
//! election timeouts come from a seed, the log is behind [`LogStore`], and everything that a member has to do is an
//! [`Output`]. The namenode runs it between three threads; the simulator runs many in one.
//!
//! Invariants, cited by tests and comments:
//! 1. A message of a follower or candidate leaves only after everything it acknowledges is durable.
//! 2. Only the leader proposes, and only itself: no proposal is forwarded. Who does not lead may ask the leader how far its
//!    state must be for a read, and is told an index, never an answer.
//! 3. A proposal is answered by the entry that has its index *and* its term; otherwise its outcome is unknown.
//! 4. Outputs are carried out in their order. An error of the log ends the member.
//! 5. The log is cut only below what the state of this member has on disk, and below what *every* member has, unless it
//!    grew longer than is kept for one that is away: that one gets a snapshot, and the log stays behind it while it is
//!    pulled. The leader tells how far all may cut.
//! 6. A read is answered by a state that includes everything acknowledged before the read was asked for.
//! 7. The same inputs at the same times give the same outputs.
//! 8. Raft sees a snapshot only when all of it is on this member's disk.
//! 9. A log that has a change of the members tells too that the change before it is committed. A member applies what it
//!    knows to be committed before it campaigns, so it counts votes by the last change or the one before it, never by an
//!    older one, whose majorities may have none in common with those of today.

mod core;
mod dice;
mod execute;
mod group;
mod lease;
mod length;
mod log;
mod logger;
mod manifest;
mod reads;
mod storage;
#[cfg(test)]
mod tests;
mod write;

use namespace::command::Request;

pub use crate::core::{Core, Output, Progressed, Settings, StartError};
pub use execute::{Answered, Committed, ExecuteError, Executed, Waiter, execute, execute_watched};
pub use group::{Change, ChangeError, Group, Member};
pub use log::{Append, Contents, LogError, LogStore};
pub use manifest::{AppliedState, Manifest, ManifestFile};
pub use storage::Snapshots;
pub use write::{Merged, Write};

/// Requests in one entry, and their bytes: past either, the next entry begins.
pub const ENTRY_REQUESTS: usize = 512;
pub const ENTRY_BYTES: usize = 256 << 10;

/// Why a proposal or a read got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// This member does not lead, or has lost the lead meanwhile; or, for a read, hears of no leader how far its state must
    /// be, or does not get there. A proposal may still take effect.
    NotLeader,
    /// Too much is under way. The proposal has no effect.
    Busy,
    /// Another entry took the place of the proposal in the log.
    Unknown,
}

/// Requests that are applied in their order, side by side. At most [`ENTRY_REQUESTS`] of about [`ENTRY_BYTES`].
#[derive(Debug)]
pub struct Proposal<P> {
    pub requests: Vec<Request>,
    /// Who is to be answered; comes back with the entry, or with a refusal.
    pub ticket: P,
}

/// Who leads, as this member knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leadership {
    pub term: u64,
    /// 0: not known.
    pub leader: u64,
    /// This member leads, has applied an entry of its own term, and the namespace is formatted.
    pub serving: bool,
}

/// How the protocol stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub term: u64,
    pub leader: u64,
    pub commit: u64,
    /// The log begins here; it may be empty.
    pub first: u64,
    pub last: u64,
    /// Members and how far their logs match; zeros unless this member leads.
    pub matched: Vec<(u64, u64)>,
    /// As of the last entry that was given out to be applied.
    pub group: Group,
}
