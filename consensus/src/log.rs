//! Where the log is kept.

use raft::eraftpb::{Entry, HardState};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("the log cannot {action}: {reason}")]
    Engine { action: &'static str, reason: String },
    #[error("the log is damaged: {0}")]
    Damaged(String),
}

/// What a log holds when it is opened.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Contents {
    pub hard_state: HardState,
    /// Index and term of the last entry that was cut off at the front; zeros when none was.
    pub truncated: (u64, u64),
    /// Index of the last entry; that of `truncated` when there is none.
    pub last: u64,
}

/// What goes to the log in one write.
#[derive(Debug, Default)]
pub struct Append {
    /// Contiguous. They replace what the log holds from the first of them on.
    pub entries: Vec<Entry>,
    pub hard_state: Option<HardState>,
}

/// A log on stable storage. One thread writes; reads come from others.
pub trait LogStore: Send + Sync + 'static {
    fn contents(&self) -> Result<Contents, LogError>;

    /// Entries with `low <= index < high`: the first always, more while the sum of their lengths stays within `budget`.
    fn entries(&self, low: u64, high: u64, budget: u64) -> Result<Vec<Entry>, LogError>;

    /// Stores; on return it survives a power cut. Tells the number of bytes. An error leaves the log in an unknown
    /// state: the caller must not write again.
    fn append(&self, append: &Append) -> Result<u64, LogError>;

    /// Forgets the entries up to `index`, which has `term`.
    fn truncate(&self, index: u64, term: u64) -> Result<(), LogError>;

    /// Forgets every entry: the log begins anew behind `index`, which has `term`. The vote stays, unless `term` is
    /// later. Harmless when it has been done. On return it survives a power cut.
    fn reset(&self, index: u64, term: u64) -> Result<(), LogError>;
}
