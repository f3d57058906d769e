//! Reading a file: in sequence, with read-ahead, or anywhere.

mod ahead;
mod attempt;
mod blocks;
mod choice;
mod near;
mod race;
mod range;

use std::sync::Arc;

use bytes::Bytes;
use proto::v1;
use transfer::frame::MAX_DATA;

use crate::error::{Error, Fault};
use crate::object::Attributes;
use crate::place::Place;
use crate::store::Client;

use ahead::Ahead;
use blocks::OpenFile;
use range::Range;

/// A file open for reading. It has the length that it had when it was opened.
#[derive(Debug)]
pub struct FileReader {
    file: Arc<OpenFile>,
    position: u64,
    /// Where [`Self::read`] and [`Self::next_chunk`] end; the length of the file, mostly.
    end: u64,
    /// Received, and not yet handed out; starts at `position`.
    rest: Bytes,
    /// Reads on from behind `rest`.
    ahead: Option<Ahead>,
}

impl FileReader {
    pub(crate) async fn open(client: Client, place: Place) -> Result<Self, Error> {
        let file = OpenFile::open(client, &place).await.map_err(|fault| Error::new("open", &place, fault))?;
        Ok(Self::of(file))
    }

    /// A file that the namenode has told everything of.
    pub(crate) fn of_object(
        client: Client,
        shown: String,
        attributes: Attributes,
        opened: v1::Opened,
    ) -> Result<Self, Fault> {
        OpenFile::opened(client, shown, attributes, opened).map(Self::of)
    }

    fn of(file: OpenFile) -> Self {
        let end = file.length();
        Self { file: Arc::new(file), position: 0, end, rest: Bytes::new(), ahead: None }
    }

    /// Reads end at `end`, or where the file does.
    pub(crate) fn limit(&mut self, end: u64) {
        self.end = end.min(self.file.length());
        self.rest = Bytes::new();
        self.ahead = None;
    }

    pub fn attributes(&self) -> &Attributes {
        &self.file.attributes
    }

    /// Where [`Self::read`] and [`Self::next_chunk`] go on.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes on at `offset`. Behind the end of the file there is nothing to read.
    pub fn seek(&mut self, offset: u64) {
        if let Some(ahead) = offset.checked_sub(self.position)
            && ahead <= self.rest.len() as u64
        {
            self.rest = self.rest.split_off(ahead as usize);
        } else {
            self.rest = Bytes::new();
            self.ahead = None;
        }
        self.position = offset;
    }

    /// Reads on from the present position; 0 at the end of the file only, or for an empty buffer.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.rest.is_empty() && !self.fetch().await? {
            return Ok(0);
        }
        let bytes = self.rest.split_to(self.rest.len().min(buffer.len()));
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    /// The next bytes, up to 1 MiB, without copying; none at the end of the file.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if self.rest.is_empty() && !self.fetch().await? {
            return Ok(None);
        }
        let chunk = self.rest.split_to(self.rest.len().min(MAX_DATA));
        self.position += chunk.len() as u64;
        Ok(Some(chunk))
    }

    /// Reads at `offset`; shorter than the buffer only at the end of the file. The position stays, and several of these
    /// may run at once.
    pub async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let end = self.file.length().min(offset.saturating_add(buffer.len() as u64));
        let mut range = Range::new(Arc::clone(&self.file), offset.min(end), end);
        let mut filled = 0;
        while let Some(bytes) = range.next().await.map_err(|fault| self.failed(fault))? {
            buffer[filled..filled + bytes.len()].copy_from_slice(&bytes);
            filled += bytes.len();
        }
        Ok(filled)
    }

    /// Puts the next bytes into `rest`; false at the end of the file.
    async fn fetch(&mut self) -> Result<bool, Error> {
        if self.position >= self.end {
            return Ok(false);
        }
        if let Some(content) = self.file.inline() {
            self.rest = content.slice(self.position as usize..self.end as usize);
            return Ok(true);
        }
        let ahead = self.ahead.get_or_insert_with(|| Ahead::new(Arc::clone(&self.file), self.position, self.end));
        let next = ahead.next().await;
        let next = next.and_then(|bytes| bytes.ok_or_else(|| Fault::Broken("reading ahead ended early".to_owned())));
        match next {
            Ok(bytes) => {
                self.rest = bytes;
                Ok(true)
            }
            Err(fault) => {
                self.ahead = None;
                Err(self.failed(fault))
            }
        }
    }

    fn failed(&self, fault: Fault) -> Error {
        Error::new("read", &self.file.shown, fault)
    }
}
