//! A cluster of real processes for tests: started, killed and restarted one by one.
//!
//! Invariants, on which the tests rely:
//! 1. The binary under test is built from the sources as they are: a stale one is never run.
//! 2. No process outlives its [`Cluster`], however the test ends.
//! 3. Every wait has a deadline, and says what it waited for when the deadline passes.
//! 4. A test that calls [`Cluster::finish`] fails on any ERROR in the logs that it did not expect.

mod cluster;
mod content;
mod disks;
pub mod http;
pub mod linearizability;
mod loop_disk;
mod mount;
mod skip;
mod strace;
pub mod thrasher;
mod tree;
mod wait;
mod wire;

pub use cluster::{Cluster, Options, binary, host_address};
pub use content::{Pattern, check_content};
pub use disks::SmallDisks;
pub use loop_disk::{LoopDisk, no_disks_here};
pub use mount::{Mounted, no_mounts_here};
pub use skip::skipped;
pub use strace::{Tampering, no_strace_here};
pub use tree::{Snapshot, Tree, snapshot};
pub use wait::{DEADLINE, until, until_some};
pub use wire::{Way, Wire};
