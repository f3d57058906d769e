//! Typed reading of a state: a key in, its row out.

use minicbor::Decode;
use types::{BlockId, InodeId, SessionId};

use crate::key::{self, Range};
use crate::row::{self, BlockRow, DirectoryRow, InodeRow, LeaseRow, LinkRow, SessionRow, SystemRow};
use crate::view::{Page, View, ViewError};

pub(crate) trait Rows: View {
    fn row<T: for<'b> Decode<'b, ()>>(&self, key: &[u8]) -> Result<Option<T>, ViewError> {
        self.get(key)?.map(|bytes| row::decode(key, &bytes)).transpose()
    }

    /// A row that another row says is there.
    fn need<T: for<'b> Decode<'b, ()>>(&self, key: &[u8]) -> Result<T, ViewError> {
        let missing = || ViewError::Row { key: key::show(key), reason: "it is missing".to_owned() };
        self.row(key)?.ok_or_else(missing)
    }

    fn page(&self, range: &Range, limit: usize) -> Result<Page, ViewError> {
        self.scan(&range.from, &range.to, limit)
    }

    fn system(&self) -> Result<Option<SystemRow>, ViewError> {
        self.row(key::SYSTEM)
    }

    fn entry(&self, directory: InodeId, name: &[u8]) -> Result<Option<InodeRow>, ViewError> {
        self.row(&key::entry(directory, name))
    }

    fn directory(&self, inode: InodeId) -> Result<Option<DirectoryRow>, ViewError> {
        self.row(&key::directory(inode))
    }

    fn link(&self, inode: InodeId) -> Result<Option<LinkRow>, ViewError> {
        self.row(&key::link(inode))
    }

    fn unnamed(&self, inode: InodeId) -> Result<Option<InodeRow>, ViewError> {
        self.row(&key::unnamed(inode))
    }

    fn block(&self, block: BlockId) -> Result<Option<BlockRow>, ViewError> {
        self.row(&key::block(block))
    }

    fn lease(&self, inode: InodeId) -> Result<Option<LeaseRow>, ViewError> {
        self.row(&key::lease(inode))
    }

    fn session(&self, session: SessionId) -> Result<Option<SessionRow>, ViewError> {
        self.row(&key::session(session))
    }
}

impl<V: View + ?Sized> Rows for V {}
