//! Reading a file.

use bytes::Bytes;
use types::Path;

use crate::error::{Error, Fault};
use crate::object::Attributes;
use crate::store::Client;

/// A file open for reading.
#[derive(Debug)]
pub struct FileReader {
    path: Path,
    attributes: Attributes,
}

impl FileReader {
    pub(crate) async fn open(_client: Client, path: Path) -> Result<Self, Error> {
        Err(Error::new("open", path, Fault::Closed))
    }

    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// Reads on from the present position; 0 at the end of the file.
    pub async fn read(&mut self, _buffer: &mut [u8]) -> Result<usize, Error> {
        Err(Error::new("read", &self.path, Fault::Closed))
    }

    /// The next bytes, up to 1 MiB, without copying; none at the end of the file.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        Err(Error::new("read", &self.path, Fault::Closed))
    }

    pub fn seek(&mut self, _offset: u64) {}

    pub fn position(&self) -> u64 {
        0
    }

    /// Reads at `offset`; shorter than the buffer only at the end of the file. The position stays.
    pub async fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> Result<usize, Error> {
        Err(Error::new("read", &self.path, Fault::Closed))
    }
}
