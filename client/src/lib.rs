//! The client library of Ashlar: files and directories of the namespace, and what an administrator asks.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use client::{Client, Config, CreateOptions};
//! use types::Path;
//!
//! let config = Config { namenodes: vec!["127.0.0.1:7400".to_owned()], ..Config::default() };
//! let client = Client::connect(config).await?;
//!
//! let path = Path::parse(b"/reports/today")?;
//! let mut writer = client.create(&path, CreateOptions { parents: true, ..CreateOptions::default() }).await?;
//! writer.write_all(b"all is well\n").await?;
//! let attributes = writer.close().await?;
//!
//! let mut reader = client.open(&path).await?;
//! let mut content = Vec::new();
//! while let Some(chunk) = reader.next_chunk().await? {
//!     content.extend_from_slice(&chunk);
//! }
//! assert_eq!(attributes.length.get(), content.len() as u64);
//! client.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants, cited by tests:
//! 1. An operation that changes something is applied once, however often it had to be sent: every attempt carries the
//!    same session and sequence number.
//! 2. Each operation ends by its deadline, with an answer or with an error that names what could not be reached.
//! 3. No error reaches the application that another member, another replica or a little patience would have spared it.
//! 4. A read yields exactly the bytes that were written, or an error: each chunk is verified here, against a checksum that
//!    the writer made.
//! 5. What a client has seen it never unsees: no answer is older than the newest one before the question, whichever members
//!    gave the two.
//! 6. Memory and queues are bounded: operations in flight, unacknowledged packets of a writer, read-ahead of a reader.
//! 7. A replica is reported as holding a block only if it acknowledged every byte of it at the durability level asked for.

mod acl;
mod admin;
mod audit;
mod balance;
mod config;
mod content;
mod datanode;
mod directory_policy;
mod error;
mod examine;
mod fsck;
pub mod health;
mod jobs;
mod listing;
mod local;
mod memory;
mod metadata;
mod object;
pub mod objects;
mod place;
mod policies;
mod reader;
mod session;
mod store;
mod trash;
mod users;
mod watcher;
mod wire;
mod writer;

pub use admin::Admin;
pub use audit::AuditEntry;
pub use balance::{BalanceOptions, BalanceOutline, BalanceVolume};
pub use config::{Config, ReadFrom, User};
pub use content::{ContentOptions, Edit, ExtentMap, Written};
pub use directory_policy::{Copies, DirectoryPolicy, DirectorySetting, InForce, ParseSpreadError, Spread};
pub use error::Error;
pub use examine::{DatanodeSigns, Examined, StuckFile};
pub use fsck::{CheckedBlock, Finding, Found, Fsck, Looked, ReplicaPlace};
pub use jobs::{Background, HeldBlock, HoldReason, Job, JobAction, JobPlan, JobState, StandingJob};
pub use listing::Listing;
pub use object::{
    AppendOptions, AttrChange, Attributes, CreateOptions, DatanodeReport, Defaults, Durability, Entry, HandleOptions,
    Held, HeldLock, Kind, Liveness, LockFamily, LockKind, LockRequest, LogStatistics, Member, MemberStatus,
    MkdirOptions, NewHandleFile, NodeOptions, ParseDurabilityError, Quota, Redundancy, SafeMode, ScrubPass, Service,
    StorageReport, Tally, Usage, XattrMode,
};
pub use place::Place;
pub use policies::PolicyState;
pub use reader::FileReader;
pub use store::Client;
pub use trash::{BURIED, TrashItem, Trashed};
pub use users::{NamedUser, UserChange};
pub use watcher::{Changed, ChangedChild, Event, Watcher};
pub use writer::{FileWriter, StoredBlock};
