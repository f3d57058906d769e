//! The state as `apply` and the queries see it: an ordered map of bytes.

/// The store could not answer. The caller stops the process: a state machine that guesses is worse than none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// Reading failed below.
    #[error("reading the state failed: {0}")]
    Store(String),
    /// A row is there and cannot be read.
    #[error("the row under {key} is damaged: {reason}")]
    Row { key: String, reason: String },
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Rows in key order.
pub type Page = Vec<Row>;

/// A consistent state, read-only.
pub trait View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError>;

    /// At most `limit` rows with `from <= key < to`, in key order.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewError>;

    /// The last row with `from <= key < to`.
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, ViewError>;
}

/// One change of the state: a value, or nothing for a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}
