//! Snapshots: how a member gets the state when the log does not reach back far enough for it.
//!
//! The source makes a checkpoint of its store (`state-snapshot-<index>/`, hard links) and tells in a [`Manifest`] what
//! is in it. Raft's own message carries the manifest only; the follower pulls the files into `state-incoming/` and steps
//! the message when it has all of them. Then the state directory is swapped and the log begins anew behind it.
//!
//! Invariants, cited by tests:
//! 1. Raft sees a snapshot only when every file of it is on the follower's disk, synced, with the length and checksum
//!    that the manifest tells.
//! 2. A pull that broke off goes on where it was; what does not fit the manifest is fetched again, or refused.
//! 3. An installation that was cut short at any step is finished by the next start, before anything is served.
//! 4. While a checkpoint is in use, the log is not cut behind it: who has installed it can go on from it.

mod export;
mod install;
mod staging;
#[cfg(test)]
mod tests;

use consensus::Manifest;

pub(crate) use export::{Export, Exporter, Exports};
pub use install::InstallError;
pub(crate) use install::{Home, finish, install};
pub(crate) use staging::{Incoming, Staging, StagingError};

/// A snapshot that is needed, and the member that has it.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    pub(crate) from: u64,
    pub(crate) manifest: Manifest,
}
