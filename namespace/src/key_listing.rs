//! The keys of a bucket in the byte order of whole keys, straight from the directories.
//!
//! The entries of a directory are stored in the order of their names, while a directory `foo` stands for keys that begin
//! with `foo/`: `foo-1` and `foo.txt` come before them. So a directory that is met is kept *pending* until no later entry
//! can come before it. Pending directories of one directory are each the beginning of the next, hence few.
//!
//! 1. Keys come in byte order, each once, and all that are there throughout.
//! 2. What is held is bounded by the depth of the tree, not by the size of a directory.
//! 3. A call reads a bounded number of rows, and says where to go on.

use std::collections::VecDeque;

use types::InodeId;

use crate::access::{self, Caller, Right};
use crate::bucket;
use crate::error::QueryError;
use crate::key::{self, Range};
use crate::row::{Attributes, Body, DirectoryRow, InodeRow};
use crate::rows::Rows;
use crate::transaction::Outcome;
use crate::view::View;

/// The most keys and prefixes of one answer.
pub const MAX_KEYS: usize = 1000;
/// Rows that one call reads (invariant 3).
const MAX_READ: usize = 20_000;
/// Entries read at a time.
const PAGE: usize = 128;
const SLASH: u8 = b'/';

/// Which keys are asked for. What is empty does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyQuery<'a> {
    pub prefix: &'a [u8],
    /// Keys with this behind the prefix are told as one prefix, which ends with it.
    pub delimiter: &'a [u8],
    /// Keys and prefixes up to this are left out.
    pub after: &'a [u8],
    pub max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    pub items: Vec<KeyItem>,
    /// Where to go on, if there is or may be more.
    pub resume: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "most items are objects")]
pub enum KeyItem {
    Object { key: Vec<u8>, attributes: Attributes, etag: String },
    Prefix(Vec<u8>),
}

impl KeyItem {
    fn key(&self) -> &[u8] {
        match self {
            Self::Object { key, .. } | Self::Prefix(key) => key,
        }
    }
}

/// One page of the keys of a bucket.
pub fn list(view: &impl View, caller: Caller<'_>, bucket: &str, query: &KeyQuery<'_>) -> Result<KeyPage, QueryError> {
    let bucket = bucket::open(view, caller, bucket)?;
    let max = query.max.min(MAX_KEYS);
    let nothing = KeyPage { items: Vec::new(), resume: None };
    if max == 0 {
        return Ok(nothing);
    }
    let (path, frames, position) = (Vec::new(), Vec::new(), query.after.to_vec());
    let mut walk = Walk { view, caller, query, path, frames, read: 0, position };
    if !walk.start(bucket.inode)? {
        return Ok(nothing);
    }
    let mut items: Vec<KeyItem> = Vec::new();
    while walk.read < MAX_READ {
        let last = items.last().map(KeyItem::key).unwrap_or_default();
        let last = if last.is_empty() { query.after } else { last };
        let Some(item) = walk.next(last)? else { return Ok(KeyPage { items, resume: None }) };
        match item {
            Step::Item(_) if items.len() == max => {
                let resume = items.last().map(|item| item.key().to_vec());
                return Ok(KeyPage { items, resume });
            }
            Step::Item(item) => items.push(item),
            Step::Nothing => {}
        }
    }
    Ok(KeyPage { items, resume: Some(walk.position) })
}

/// What one step of the walk came to.
#[expect(clippy::large_enum_variant, reason = "one at a time")]
enum Step {
    Item(KeyItem),
    /// Something that is no key, or one that was told of already.
    Nothing,
}

/// A directory that is being listed.
struct Frame {
    /// How much of the path leads here, the slash included.
    path: usize,
    range: Range,
    page: VecDeque<(Vec<u8>, InodeRow)>,
    /// Whether entries may follow the page.
    more: bool,
    /// Directories whose keys come behind entries that are still to be looked at; the next one last.
    pending: Vec<(Vec<u8>, InodeRow)>,
}

struct Walk<'a, V> {
    view: &'a V,
    caller: Caller<'a>,
    query: &'a KeyQuery<'a>,
    /// Of the last frame: empty, or ending with a slash.
    path: Vec<u8>,
    frames: Vec<Frame>,
    read: usize,
    /// No key up to this is still to come.
    position: Vec<u8>,
}

impl<V: View> Walk<'_, V> {
    /// Goes to the first key to look at; false if there is none.
    fn start(&mut self, bucket: InodeId) -> Outcome<bool> {
        let KeyQuery { prefix, after, .. } = *self.query;
        let base = prefix.iter().rposition(|byte| *byte == SLASH).map_or(0, |slash| slash + 1);
        let (base, name_prefix) = prefix.split_at(base);
        let mut top = None;
        let mut directory = bucket;
        for name in base.split_inclusive(|byte| *byte == SLASH) {
            let row = self.entry(directory, &name[..name.len() - 1])?;
            let Some(row) = row.filter(|row| row.body == Body::Directory) else { return Ok(false) };
            self.caller.check(&row, Right::Search, || show(&self.path, name))?;
            self.path.extend_from_slice(name);
            directory = row.inode;
            top = Some(row);
        }
        if after < prefix {
            // The directory that the prefix names is a key of its own, told of before what is in it.
            match top.filter(|_| name_prefix.is_empty()) {
                Some(row) => {
                    let name = self.leave_name();
                    let range = Range { from: Vec::new(), to: Vec::new() };
                    let (path, page, pending) = (self.path.len(), VecDeque::new(), vec![(name, row)]);
                    self.frames.push(Frame { path, range, page, more: false, pending });
                }
                None => self.enter(directory, name_prefix, None)?,
            }
            return Ok(true);
        }
        if !after.starts_with(prefix) {
            return Ok(false);
        }
        self.seek(directory, name_prefix, &after[base.len()..])?;
        Ok(true)
    }

    /// Takes the last name off the path.
    fn leave_name(&mut self) -> Vec<u8> {
        self.path.pop();
        let start = self.path.iter().rposition(|byte| *byte == SLASH).map_or(0, |slash| slash + 1);
        self.path.split_off(start)
    }

    /// Begins to list a directory whose path is the present one: names that begin with `prefix` and follow `after`.
    fn enter(&mut self, directory: InodeId, prefix: &[u8], after: Option<&[u8]>) -> Outcome<()> {
        if !self.caller.is_unlimited() {
            let shown = || show(&self.path, b"");
            let row = access::directory_entry(self.view, directory)?.0;
            self.caller.check(&row, Right::Read, shown)?;
            self.caller.check(&row, Right::Search, shown)?;
        }
        let mut range = key::entries_with(directory, prefix);
        if let Some(after) = after {
            range = range.after(key::entry(directory, after));
        }
        let (path, page, pending) = (self.path.len(), VecDeque::new(), Vec::new());
        self.frames.push(Frame { path, range, page, more: true, pending });
        Ok(())
    }

    /// Begins behind a key of the directory whose path is the present one.
    fn seek(&mut self, directory: InodeId, prefix: &[u8], after: &[u8]) -> Outcome<()> {
        let (mut directory, mut prefix, mut after) = (directory, prefix, after);
        loop {
            // No name is longer, so no entry is asked for that cannot be there.
            let slash = after.iter().position(|byte| *byte == SLASH);
            let name = &after[..slash.unwrap_or(after.len())];
            self.enter(directory, prefix, Some(after).filter(|after| !after.is_empty()))?;
            // Directories whose name is a beginning of this one come behind it, if what follows is less than a slash.
            for length in prefix.len().max(1)..=name.len().min(types::MAX_NAME) {
                let is_whole = length == name.len();
                if !is_whole && name[length] >= SLASH || is_whole && slash.is_some() {
                    continue;
                }
                if let Some(row) = self.entry(directory, &name[..length])?.filter(|row| row.body == Body::Directory) {
                    let frame = self.frames.last_mut().expect("entered above");
                    frame.pending.push((name[..length].to_vec(), row));
                }
            }
            let Some(slash) = slash else { return Ok(()) };
            if name.is_empty() || name.len() > types::MAX_NAME {
                return Ok(());
            }
            let below = self.entry(directory, name)?.filter(|row| row.body == Body::Directory);
            let Some(below) = below else { return Ok(()) };
            self.path.extend_from_slice(&after[..=slash]);
            (directory, prefix, after) = (below.inode, b"", &after[slash + 1..]);
        }
    }

    fn entry(&mut self, directory: InodeId, name: &[u8]) -> Outcome<Option<InodeRow>> {
        self.read += 1;
        Ok(self.view.entry(directory, name)?)
    }

    /// The next key; `told` is the last one that the caller knows of, or wants to know nothing up to.
    fn next(&mut self, told: &[u8]) -> Outcome<Option<Step>> {
        loop {
            let Some(frame) = self.frames.last_mut() else { return Ok(None) };
            self.path.truncate(frame.path);
            if frame.page.is_empty() && frame.more {
                let rows = self.view.page(&frame.range, PAGE)?;
                self.read += rows.len().max(1);
                frame.more = rows.len() == PAGE;
                if let Some((last, _)) = rows.last() {
                    frame.range.from = key::successor(last);
                }
                for (key, value) in rows {
                    frame.page.push_back((key::name_of(&key)?.to_vec(), self.view.entry_of(&key, &value)?));
                }
            }
            let next = frame.page.front().map(|(name, _)| name.as_slice());
            if let Some((pending, _)) = frame.pending.last()
                && next.is_none_or(|name| !comes_before(name, pending))
            {
                let (name, row) = frame.pending.pop().expect("it was just looked at");
                return self.descend(&name, &row, told).map(Some);
            }
            match frame.page.pop_front() {
                None => drop(self.frames.pop()),
                Some((name, row)) if row.body == Body::Directory => frame.pending.push((name, row)),
                Some((name, row)) => {
                    self.path.extend_from_slice(&name);
                    self.position.clone_from(&self.path);
                    let key = self.path.clone();
                    return self.file(key, &row, told).map(Some);
                }
            }
        }
    }

    fn file(&self, key: Vec<u8>, row: &InodeRow, told: &[u8]) -> Outcome<Step> {
        if let Some(rolled) = self.rolled_up(&key) {
            return Ok(Self::prefix(rolled, told));
        }
        Ok(Step::Item(KeyItem::Object { key, attributes: row.attributes(None), etag: bucket::etag(row)? }))
    }

    /// A common prefix is told once, and not when it does not follow what is known.
    fn prefix(rolled: &[u8], told: &[u8]) -> Step {
        if rolled > told { Step::Item(KeyItem::Prefix(rolled.to_vec())) } else { Step::Nothing }
    }

    /// The turn of a directory has come: its own key, if it has one, and then what is in it.
    fn descend(&mut self, name: &[u8], row: &InodeRow, told: &[u8]) -> Outcome<Step> {
        self.read += 1;
        self.path.extend_from_slice(name);
        self.path.push(SLASH);
        self.position.clone_from(&self.path);
        let directory: DirectoryRow = self.view.need(&key::directory(row.inode))?;
        if let Some(rolled) = self.rolled_up(&self.path) {
            // Whatever is in it has that prefix too: there is no need to look, as long as there is something.
            let rolled = rolled.to_vec();
            if rolled.as_slice() <= told || !self.holds_a_key(row.inode, &directory)? {
                return Ok(Step::Nothing);
            }
            return Ok(Step::Item(KeyItem::Prefix(rolled)));
        }
        let key = self.path.clone();
        if directory.usage.entries > 0 {
            self.enter(row.inode, b"", None)?;
        }
        if directory.implicit {
            return Ok(Step::Nothing);
        }
        let attributes = row.attributes(Some(&directory));
        Ok(Step::Item(KeyItem::Object { key, attributes, etag: bucket::etag(row)? }))
    }

    /// The common prefix that stands for a key, if one does.
    fn rolled_up<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        let KeyQuery { prefix, delimiter, .. } = *self.query;
        if delimiter.is_empty() {
            return None;
        }
        let rest = &key[prefix.len().min(key.len())..];
        let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
        Some(&key[..prefix.len() + at + delimiter.len()])
    }

    /// Whether any key begins with the path of a directory. One with very many implicit directories and no file below
    /// counts as if there were.
    fn holds_a_key(&mut self, inode: InodeId, directory: &DirectoryRow) -> Outcome<bool> {
        if !directory.implicit || directory.usage.files > 0 {
            return Ok(true);
        }
        let mut left = vec![inode];
        while let Some(inode) = left.pop() {
            let entries = self.view.page(&key::entries(inode), PAGE)?;
            self.read += entries.len().max(1);
            if entries.len() == PAGE || self.read >= MAX_READ {
                return Ok(true);
            }
            for (key, value) in entries {
                let row = self.view.entry_of(&key, &value)?;
                let below: DirectoryRow = self.view.need(&key::directory(row.inode))?;
                if !below.implicit {
                    return Ok(true);
                }
                left.push(row.inode);
            }
        }
        Ok(false)
    }
}

/// Whether the key of an entry comes before the keys of a directory that was met earlier, and so has a lesser name.
fn comes_before(name: &[u8], directory: &[u8]) -> bool {
    name.strip_prefix(directory).and_then(<[u8]>::first).is_some_and(|next| *next < SLASH)
}

fn show(path: &[u8], name: &[u8]) -> String {
    String::from_utf8_lossy(&[path, name].concat()).into_owned()
}
