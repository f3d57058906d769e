//! The metadata state machine: a pure function from state and command to reply and writes.
//!
//! The state is an ordered map of bytes ([`view::View`]); [`apply()`] runs one [`command::Request`] against it and says what
//! is answered and what is written. Nothing here reads a clock, draws dice or does IO: the same log gives the same
//! state, byte for byte, on every member.
//!
//! Invariants, cited by tests:
//! 1. The writes of a command are all or nothing; one that is refused writes at most its stored result.
//! 2. A (session, sequence) pair is applied once; sent again it gets the answer of the first time.
//! 3. The counters of a directory are the exact sums over what is below it, after every command.
//! 4. Every block row is held by extents of files that can be found or of garbage that steps are freeing, or by the session
//!    that allocated it: nothing leaks.
//! 5. The visible length of a file being written never shrinks, and only the holder of its lease changes it.
//! 6. The last good replica of a block is never scheduled for deletion while the block exists.
//! 7. A replica scheduled for deletion is not added again before the deletion is confirmed.
//! 8. Ids of inodes, blocks, sessions and datanodes are handed out once, and time never runs backwards.
//! 9. What a caller may not do is refused, and changes nothing (see module `access`).
//! 10. No command makes the sums of a directory grow beyond its quota.
//! 11. The live bytes of a block are exactly those that extents of files hold; a block without any is gone.

mod access;
pub mod access_key;
mod acl;
pub mod ageing;
mod apply;
pub mod balance;
pub mod bucket;
pub mod changes;
pub mod codec;
pub mod command;
mod commands;
pub mod compaction;
mod content;
pub mod directory_policy;
mod error;
mod exactly_once;
mod extents;
pub mod fsck;
mod handles;
mod home;
#[cfg(any(test, feature = "invariants"))]
pub mod invariants;
pub mod inventory;
pub mod job;
mod key;
pub mod key_listing;
mod limits;
pub mod lock;
pub mod memory;
mod names;
pub mod overlay;
mod pending;
pub mod placement;
pub mod policy;
mod publication;
pub mod query;
mod quota;
pub mod recovery;
pub mod repair;
mod replicas;
mod resolve;
pub mod row;
mod rows;
pub mod token_key;
mod transaction;
pub mod trash;
mod tree;
pub mod upload;
pub mod user;
pub mod view;
mod writer;
mod xattr;

#[cfg(test)]
mod tests;

pub use access::{Caller, Right};
pub use apply::{Applied, Effect, apply};
pub use error::{Error, QueryError};
pub use quota::Counted;
