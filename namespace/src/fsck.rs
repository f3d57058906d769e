//! The check of a tree: what must hold of the rows below a place, and how the blocks of its files stand.
//!
//! 1. It changes nothing. It holds one page of entries for each directory on the way down, and no more, however large
//!    the tree is.
//! 2. A row that cannot be read, or is missing, is told; what lies elsewhere is checked all the same.
//! 3. Wrong sums are told of the directory in which they arise: of those above it neither when they followed nor when
//!    they did not.
//! 4. A file with several names is checked under the one that it counts under.

use std::collections::VecDeque;

use types::{BlockId, ByteSize, InodeId};

use crate::access::Caller;
use crate::command::Where;
use crate::error::QueryError;
use crate::key;
use crate::repair::{self, Facts, Health};
use crate::resolve::{self, Slot};
use crate::row::{
    self, BlockRow, BlockState, Body, Data, DirectoryRow, EntryRow, ExtentRow, FileBody, InodeRow, Usage,
};
use crate::rows::Rows;
use crate::view::{Page, Row, View, ViewError};

/// Entries of a directory read at a time.
const ENTRIES: usize = 64;
/// Extents of a file read at a time.
const EXTENTS: usize = 256;

/// Something to tell of what is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub path: Vec<u8>,
    pub inode: InodeId,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An invariant of the namespace does not hold.
    Broken(Broken),
    /// Where some of its bytes are: every extent, in order of offsets.
    Block { offset: u64, length: ByteSize, block: BlockId, row: BlockRow, health: Health },
}

/// What does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("{0}")]
    Unreadable(ViewError),
    #[error("its sums say {stored:?}, and what is in it sums up to {counted:?}")]
    Sums { stored: Usage, counted: Usage },
    #[error("it says that it has {stored} directories in it, and has {counted}")]
    Subdirectories { stored: u64, counted: u64 },
    #[error("no row leads from the inode back to a name")]
    NoWayBack,
    #[error("the row that leads back from the inode means another name")]
    OtherWayBack,
    #[error("extents overlap at offset {offset}")]
    Overlap { offset: u64 },
    #[error("it has {length} bytes, and the extent at offset {offset} ends behind them")]
    BehindTheEnd { offset: u64, length: ByteSize },
    #[error("the extent at offset {offset} lies in {block}, which does not exist")]
    NoBlock { offset: u64, block: BlockId },
    #[error("the extent at offset {offset} ends behind the end of {block}")]
    OutOfBlock { offset: u64, block: BlockId },
    #[error("{block} counts {live} bytes in use, and the extent at offset {offset} alone uses {held}")]
    LiveBytes { offset: u64, block: BlockId, live: ByteSize, held: ByteSize },
    #[error("{block} is wanted on {wanted} datanodes, and the file asks for {asked}")]
    Wanted { block: BlockId, wanted: u8, asked: u8 },
    #[error("the file asks for {block} to be in more racks than the block does")]
    Spread { block: BlockId },
    #[error("it says that it has {stored} extents, and has {counted}")]
    Extents { stored: u64, counted: u64 },
}

/// What has been looked at so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looked {
    pub files: u64,
    pub directories: u64,
    /// Blocks that extents lie in; one that two files share counts with each.
    pub blocks: u64,
    pub bytes: u64,
}

/// A directory on the way down.
#[derive(Debug)]
struct Level {
    inode: InodeId,
    path: Vec<u8>,
    row: DirectoryRow,
    /// What was counted in it, at any depth.
    counted: Usage,
    /// The same, if the sums that directories in it say of themselves are right.
    told: Usage,
    subdirectories: u64,
    /// The last entry read.
    after: Vec<u8>,
    entries: VecDeque<Row>,
    read_to_end: bool,
}

/// A check under way. It is taken further step by step, all of them on one state.
#[derive(Debug)]
pub struct Fsck {
    levels: Vec<Level>,
    /// What was asked for, until the first step.
    start: Option<(Slot, Vec<u8>, InodeRow)>,
    looked: Looked,
}

impl Fsck {
    /// Of what is at `place` and below.
    ///
    /// # Errors
    /// Nothing is there, or it is not for the caller to list: who may see everything may check everything.
    pub fn new(view: &impl View, caller: Caller<'_>, place: &Where) -> Result<Self, QueryError> {
        caller.check_superuser(|| resolve::show(place))?;
        let (slot, row) = resolve::find(view, caller, place)?;
        let path = resolve::show(place).into_bytes();
        Ok(Self { levels: Vec::new(), start: Some((slot, path, row)), looked: Looked::default() })
    }

    pub const fn looked(&self) -> Looked {
        self.looked
    }

    /// Looks at about `rows` more entries and extents, and tells what there is to tell. True: that was all.
    ///
    /// # Errors
    /// The store failed; a row that is damaged is told instead.
    pub fn step(
        &mut self,
        view: &impl View,
        facts: &Facts,
        rows: usize,
        tell: &mut impl FnMut(Told),
    ) -> Result<bool, ViewError> {
        let mut check = Check { view, facts, tell, left: rows };
        if let Some((slot, path, row)) = self.start.take() {
            self.inode(&mut check, &slot, path, row)?;
        }
        while check.left > 0 {
            let Some(level) = self.levels.last_mut() else { return Ok(true) };
            match level.next(&mut check)? {
                Some((key, value)) => self.entry(&mut check, &key, &value)?,
                None => {
                    let level = self.levels.pop().expect("just looked at");
                    if let Some(above) = self.levels.last_mut() {
                        add(&mut above.counted, level.counted);
                    }
                    level.finish(&mut check);
                }
            }
        }
        Ok(self.levels.is_empty())
    }

    fn entry<V: View, T: FnMut(Told)>(
        &mut self,
        check: &mut Check<'_, V, T>,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ViewError> {
        check.left = check.left.saturating_sub(1);
        let level = self.levels.last_mut().expect("the entry is of the last one");
        level.counted.entries += 1;
        level.told.entries += 1;
        let name = key::name_of(key)?;
        let slot = Slot { directory: level.inode, name: name.to_vec() };
        let mut path = level.path.clone();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        match check.entry_of(key, value) {
            Err(ViewError::Store(reason)) => return Err(ViewError::Store(reason)),
            Err(damaged) => check.broken(&path, InodeId::NONE, Broken::Unreadable(damaged)),
            Ok((row, is_reference)) => {
                let back = key::back_link(row.inode, &slot);
                if is_reference && check.view.get(&back)?.is_none() {
                    check.broken(&path, row.inode, Broken::NoWayBack);
                }
                self.inode(check, &slot, path, row)?;
            }
        }
        Ok(())
    }

    /// `slot`: where it was found, and counts if that is the name it counts under.
    fn inode<V: View, T: FnMut(Told)>(
        &mut self,
        check: &mut Check<'_, V, T>,
        slot: &Slot,
        path: Vec<u8>,
        row: InodeRow,
    ) -> Result<(), ViewError> {
        let inode = row.inode;
        if row.body == Body::Directory {
            let Some(directory) = check.told(&path, inode, |view| view.need::<DirectoryRow>(&key::directory(inode)))?
            else {
                return Ok(());
            };
            if (directory.parent, &directory.name) != (slot.directory, &slot.name) {
                check.broken(&path, inode, Broken::OtherWayBack);
            }
            if let Some(above) = self.levels.last_mut() {
                above.subdirectories += 1;
                above.counted.directories += 1;
                above.told.directories += 1;
                add(&mut above.told, directory.usage);
            }
            self.looked.directories += 1;
            self.levels.push(Level::new(inode, path, directory));
            return Ok(());
        }
        let Some(link) = check.told(&path, inode, |view| view.link(inode))? else { return Ok(()) };
        let Some(link) = link else {
            check.broken(&path, inode, Broken::NoWayBack);
            return Ok(());
        };
        if (link.parent, &link.name) != (slot.directory, &slot.name) {
            if row.names.is_none() {
                check.broken(&path, inode, Broken::OtherWayBack);
            }
            return Ok(());
        }
        self.looked.files += 1;
        let mut own = Usage { files: 1, ..Usage::default() };
        if let Body::File(file) = &row.body {
            own.bytes = file.length.get();
            own.raw_bytes = file.length.get() * u64::from(file.replication);
        }
        if let Some(above) = self.levels.last_mut() {
            add(&mut above.counted, own);
            add(&mut above.told, own);
        }
        if let Body::File(file) = &row.body {
            self.looked.bytes += file.length.get();
            self.looked.blocks += check.file(&path, inode, file)?;
        }
        Ok(())
    }
}

impl Level {
    fn new(inode: InodeId, path: Vec<u8>, row: DirectoryRow) -> Self {
        Self {
            inode,
            path,
            row,
            counted: Usage::default(),
            told: Usage::default(),
            subdirectories: 0,
            after: Vec::new(),
            entries: VecDeque::new(),
            read_to_end: false,
        }
    }

    fn next<V: View, T: FnMut(Told)>(&mut self, check: &mut Check<'_, V, T>) -> Result<Option<Row>, ViewError> {
        if self.entries.is_empty() && !self.read_to_end {
            let mut range = key::entries(self.inode);
            if !self.after.is_empty() {
                range = range.after(std::mem::take(&mut self.after));
            }
            let page: Page = check.view.page(&range, ENTRIES)?;
            self.read_to_end = page.len() < ENTRIES;
            self.after = page.last().map(|(key, _)| key.clone()).unwrap_or_default();
            self.entries = page.into();
        }
        Ok(self.entries.pop_front())
    }

    /// Compares what was counted with what the directory says of itself.
    fn finish<V: View, T: FnMut(Told)>(self, check: &mut Check<'_, V, T>) {
        let (stored, counted) = (self.row.usage, self.counted);
        if stored != counted && stored != self.told {
            check.broken(&self.path, self.inode, Broken::Sums { stored, counted });
        }
        if let Some(stored) = self.row.subdirectories.filter(|stored| *stored != self.subdirectories) {
            let counted = self.subdirectories;
            check.broken(&self.path, self.inode, Broken::Subdirectories { stored, counted });
        }
    }
}

/// Adds what is below a directory, at any depth. Its direct entries are its own.
const fn add(sums: &mut Usage, below: Usage) {
    sums.files += below.files;
    sums.directories += below.directories;
    sums.bytes += below.bytes;
    sums.raw_bytes += below.raw_bytes;
}

/// One step: the state, and whom to tell.
struct Check<'a, V, T> {
    view: &'a V,
    facts: &'a Facts,
    tell: &'a mut T,
    left: usize,
}

impl<V: View, T: FnMut(Told)> Check<'_, V, T> {
    fn broken(&mut self, path: &[u8], inode: InodeId, broken: Broken) {
        (self.tell)(Told { path: path.to_vec(), inode, what: What::Broken(broken) });
    }

    /// The answer, or nothing once a damaged row has been told of.
    fn told<R>(
        &mut self,
        path: &[u8],
        inode: InodeId,
        read: impl FnOnce(&V) -> Result<R, ViewError>,
    ) -> Result<Option<R>, ViewError> {
        match read(self.view) {
            Ok(row) => Ok(Some(row)),
            Err(ViewError::Store(reason)) => Err(ViewError::Store(reason)),
            Err(damaged) => {
                self.broken(path, inode, Broken::Unreadable(damaged));
                Ok(None)
            }
        }
    }

    /// The row that an entry stands for, and whether that is elsewhere.
    fn entry_of(&self, key: &[u8], value: &[u8]) -> Result<(InodeRow, bool), ViewError> {
        match row::decode(key, value)? {
            EntryRow::Inode(row) => Ok((row, false)),
            EntryRow::Reference(inode) => Ok((self.view.need_shared(inode)?, true)),
        }
    }

    /// The content of a file: how many blocks it lies in.
    fn file(&mut self, path: &[u8], inode: InodeId, file: &FileBody) -> Result<u64, ViewError> {
        let mut range = key::extents(inode);
        let (mut end, mut counted, mut blocks) = (0, 0, 0);
        loop {
            let page = self.view.page(&range, EXTENTS)?;
            self.left = self.left.saturating_sub(page.len());
            for (key, value) in &page {
                counted += 1;
                let offset = key::offset_of(key)?;
                let extent = self.told(path, inode, |_| row::decode::<ExtentRow>(key, value))?;
                let Some(extent) = extent else { continue };
                if offset < end {
                    self.broken(path, inode, Broken::Overlap { offset });
                }
                let Some(block) = self.told(path, inode, |view| view.block(extent.block))? else { continue };
                match block {
                    Some(row) => {
                        blocks += 1;
                        end = offset + self.extent(path, inode, file, offset, &extent, row);
                    }
                    None => self.broken(path, inode, Broken::NoBlock { offset, block: extent.block }),
                }
            }
            match page.last() {
                Some((key, _)) if page.len() == EXTENTS => range = range.after(key.clone()),
                _ => break,
            }
        }
        match &file.data {
            Data::Blocks { extents, .. } if *extents != counted => {
                self.broken(path, inode, Broken::Extents { stored: *extents, counted });
            }
            // One that is being continued has a block that repeats the content.
            Data::Inline { next_block: None, .. } if counted != 0 => {
                self.broken(path, inode, Broken::Extents { stored: 0, counted });
            }
            Data::Blocks { .. } | Data::Inline { .. } => {}
        }
        Ok(blocks)
    }

    /// How many bytes of the file the extent holds.
    fn extent(
        &mut self,
        path: &[u8],
        inode: InodeId,
        file: &FileBody,
        offset: u64,
        extent: &ExtentRow,
        row: BlockRow,
    ) -> u64 {
        let block = extent.block;
        let length = if row.state == BlockState::Writing { row.length } else { extent.length };
        if offset + length.get() > file.length.get() {
            self.broken(path, inode, Broken::BehindTheEnd { offset, length: file.length });
        }
        if extent.block_offset.get() + length.get() > row.length.get() {
            self.broken(path, inode, Broken::OutOfBlock { offset, block });
        }
        if row.live < length {
            self.broken(path, inode, Broken::LiveBytes { offset, block, live: row.live, held: length });
        }
        if row.wanted < file.replication {
            self.broken(path, inode, Broken::Wanted { block, wanted: row.wanted, asked: file.replication });
        } else if !row.wanted().covers(file.wanted()) {
            self.broken(path, inode, Broken::Spread { block });
        }
        let health = repair::health(&row, self.facts);
        let what = What::Block { offset, length, block, row, health };
        (self.tell)(Told { path: path.to_vec(), inode, what });
        length.get()
    }
}
