//! Typed reading of a state: a key in, its row out.

use minicbor::Decode;
use types::{BlockId, InodeId, SessionId};

use crate::key::{self, Range};
use crate::row::{self, BlockRow, DirectoryRow, EntryRow, InodeRow, LeaseRow, LinkRow, SessionRow, SystemRow};
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

    /// The inode under a name, wherever its row is.
    fn entry(&self, directory: InodeId, name: &[u8]) -> Result<Option<InodeRow>, ViewError> {
        let key = key::entry(directory, name);
        self.get(&key)?.map(|value| self.entry_of(&key, &value)).transpose()
    }

    /// The inode that an entry stands for.
    fn entry_of(&self, key: &[u8], value: &[u8]) -> Result<InodeRow, ViewError> {
        match row::decode(key, value)? {
            EntryRow::Inode(row) => Ok(row),
            EntryRow::Reference(inode) => self.need_shared(inode),
        }
    }

    fn directory(&self, inode: InodeId) -> Result<Option<DirectoryRow>, ViewError> {
        self.row(&key::directory(inode))
    }

    fn link(&self, inode: InodeId) -> Result<Option<LinkRow>, ViewError> {
        self.row(&key::link(inode))
    }

    /// The row of an inode with several names or none.
    fn shared(&self, inode: InodeId) -> Result<Option<InodeRow>, ViewError> {
        let mut row: Option<InodeRow> = self.row(&key::shared(inode))?;
        if let Some(row) = &mut row {
            // Rows of before the count was kept belong to files without a name.
            row.names.get_or_insert(0);
        }
        Ok(row)
    }

    fn need_shared(&self, inode: InodeId) -> Result<InodeRow, ViewError> {
        let key = key::shared(inode);
        let missing = || ViewError::Row { key: key::show(&key), reason: "it is missing".to_owned() };
        self.shared(inode)?.ok_or_else(missing)
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
