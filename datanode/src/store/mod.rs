//! The replicas on one volume. Everything here blocks, and runs on the threads of the volume's disk.
//!
//! Invariants, cited by tests:
//! 1. There is one writer of a block on a volume: the one whose generation is the highest seen. An older one is refused
//!    from the moment that a newer one has begun.
//! 2. What was acknowledged stays, byte for byte, whatever generation goes on with it.
//! 3. A file below `final/` is complete: everything in it was written before it got there, and synced before that unless
//!    it was written at level memory.
//! 4. A failed sync fails the volume; it is never tried again, because the kernel may have dropped what it could not
//!    write and would then report success.

mod deleted;
mod directories;
mod durability;
mod error;
mod inventory;
mod read;
mod recovery;
mod scrub;
mod scrubbing;
mod takeover;
mod verify;
mod volume;
mod write;

pub(crate) use error::StoreError;
pub(crate) use inventory::{Counted, Delta, Usage};
pub(crate) use read::Readable;
pub(crate) use scrub::UnderWay;
pub(crate) use scrubbing::Pass;
pub(crate) use takeover::Offered;
pub(crate) use verify::Verifying;
pub(crate) use volume::{Report, Volume};
pub(crate) use write::{Acked, Begin};

#[cfg(test)]
mod tests;
