//! The RPC messages of Ashlar ([`v1`], generated from `proto/ashlar/v1/*.proto`), and the conversions between them and
//! the types of the house.
//!
//! Invariants, cited by tests:
//! 1. What a peer sends is checked when it is converted: a missing field, an id of the wrong length or an unknown code is
//!    a typed error, never a panic and never a default that means something else.

mod convert;
mod secret;

pub use convert::{WireError, block_id, cluster_id, error, location_storage, storage_id};
pub use secret::{token, token_key};

/// The generated code. Its lints are its generator's business.
#[allow(missing_debug_implementations, unreachable_pub, unused_qualifications, clippy::all, missing_docs)]
pub mod v1 {
    tonic::include_proto!("ashlar.v1");
}

/// The version of the RPC protocol, said in [`v1::Hello`].
pub const PROTOCOL: u32 = 1;
/// No RPC message is longer.
pub const MAX_MESSAGE: usize = 4 << 20;
