//! The S3 door of Ashlar: buckets and objects over HTTP, on the same inodes as files.
//!
//! A gateway holds no state of its own: any number of them serve one cluster, and any may die at any moment.
//!
//! Invariants, cited by tests:
//! 1. Nothing is done before the request's signature is verified; what a request may do is decided by the namenode, on
//!    behalf of the user that the access key belongs to, or of the bucket's owner where its policy allows it (`access`).
//! 2. An object is seen whole or not at all; what a client leaves half-sent leaves nothing.
//! 3. A condition is decided in the same step as the change that it guards.
//! 4. Bytes that do not match a checksum, a digest or a length that came with them are not stored.
//! 5. What is not supported is answered with `NotImplemented`, never with success.

mod access;
mod access_log;
mod authorization;
mod buckets;
mod condition;
mod cors;
mod digest;
mod document;
mod door;
mod exchange;
mod failure;
mod form;
mod http;
mod identity;
mod key;
mod leftover;
mod lenient;
mod metrics;
mod operations;
mod pace;
mod parts;
mod policy;
mod preflight;
mod presign;
mod properties;
mod public_access;
mod server;
mod settings;
mod tagging;
mod users;

pub use http::{Error, Gateway};
pub use presign::{MAX_LIFETIME, Presign, PresignError};
pub use settings::{Settings, TlsSettings};

/// Where buckets are unless settings say otherwise.
pub const DEFAULT_ROOT: &str = "/s3";
