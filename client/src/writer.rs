//! Writing a file.

use bytes::Bytes;
use types::Path;

use crate::error::{Error, Fault};
use crate::object::{Attributes, CreateOptions};
use crate::store::Client;

/// A file open for writing.
#[derive(Debug)]
pub struct FileWriter {
    path: Path,
}

impl FileWriter {
    pub(crate) async fn create(_client: Client, path: Path, _options: CreateOptions) -> Result<Self, Error> {
        Err(Error::new("create", path, Fault::Closed))
    }

    pub async fn write(&mut self, _data: Bytes) -> Result<(), Error> {
        Err(Error::new("write", &self.path, Fault::Closed))
    }

    pub async fn write_all(&mut self, data: &[u8]) -> Result<(), Error> {
        self.write(Bytes::copy_from_slice(data)).await
    }

    /// Makes what was written so far visible to new readers.
    pub async fn flush(&mut self) -> Result<(), Error> {
        Err(Error::new("flush", &self.path, Fault::Closed))
    }

    /// As [`Self::flush`], and on the disks of all live members of the pipeline.
    pub async fn sync(&mut self) -> Result<(), Error> {
        Err(Error::new("sync", &self.path, Fault::Closed))
    }

    pub async fn close(self) -> Result<Attributes, Error> {
        Err(Error::new("close", &self.path, Fault::Closed))
    }

    pub async fn abort(self) -> Result<(), Error> {
        Err(Error::new("abort", &self.path, Fault::Closed))
    }

    /// Bytes written so far.
    pub fn position(&self) -> u64 {
        0
    }
}
