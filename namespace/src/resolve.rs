//! From a place to what is there. A directory that was removed with what it holds is not found, although its rows are
//! still there until garbage collection comes by.

use types::{InodeId, Path};

use crate::access::{Caller, Right};
use crate::command::Where;
use crate::error::{Error, QueryError};
use crate::handles;
use crate::home::Home;
use crate::names;
use crate::row::{Body, InodeRow};
use crate::rows::Rows;
use crate::transaction::Outcome;
use crate::view::{View, ViewError};

/// A directory and a name in it, whether or not something is there. The root is no name in [`InodeId::NONE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) directory: InodeId,
    pub(crate) name: Vec<u8>,
}

impl Slot {
    pub(crate) const fn root() -> Self {
        Self { directory: InodeId::NONE, name: Vec::new() }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.directory == InodeId::NONE
    }
}

/// A place as error messages show it.
pub(crate) fn show(place: &Where) -> String {
    show_part(place.base, &place.path)
}

fn show_part(base: InodeId, path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let path = path.trim_matches('/');
    match base {
        InodeId::ROOT => format!("/{path}"),
        _ if path.is_empty() => base.to_string(),
        _ => format!("{base}:/{path}"),
    }
}

/// The first `count` names of a path, as error messages show them.
pub(crate) fn show_names(base: InodeId, path: &Path, count: usize) -> String {
    let mut shown = Vec::new();
    for name in &path.names()[..count] {
        shown.push(b'/');
        shown.extend_from_slice(name.as_bytes());
    }
    show_part(base, &shown)
}

pub(crate) fn parse(place: &Where) -> Outcome<Path> {
    Path::parse(&place.path).map_err(|reason| Error::path(&place.path, &reason).into())
}

/// How many names the path of a place has.
pub(crate) fn count(place: &Where) -> Outcome<usize> {
    Ok(parse(place)?.names().len())
}

/// The directory of a slot that `place` means, as error messages show it.
pub(crate) fn show_parent(place: &Where, slot: &Slot) -> String {
    match Path::parse(&place.path) {
        Ok(path) if !path.is_root() => show_names(place.base, &path, path.names().len() - 1),
        _ => slot.directory.to_string(),
    }
}

/// The slot that a place means. Every directory on the way must be there, and let the caller through.
pub(crate) fn slot(view: &impl View, caller: Caller<'_>, place: &Where) -> Outcome<Slot> {
    let path = parse(place)?;
    let Some(name) = path.last() else { return slot_of_inode(view, caller, place.base) };
    let mut directory = base_directory(view, caller, place.base)?;
    let parents = path.names().len() - 1;
    for (at, parent) in path.names()[..parents].iter().enumerate() {
        let shown = || show_names(place.base, &path, at + 1);
        directory = match view.entry(directory, parent.as_bytes())? {
            Some(row) if row.body == Body::Directory => {
                caller.check(&row, Right::Search, shown)?;
                row.inode
            }
            Some(row) => return Err(not_a_directory(place, at + 1, &row).into()),
            None => return Err(Error::NotFound { place: shown() }.into()),
        };
    }
    Ok(Slot { directory, name: name.as_bytes().to_vec() })
}

/// Why the way ends at what the first `names` names of a place lead to.
pub(crate) fn not_a_directory(place: &Where, names: usize, row: &InodeRow) -> Error {
    if let Body::Symlink(link) = &row.body {
        let names = u32::try_from(names).expect("a path has few names");
        return Error::SymlinkOnTheWay { place: place.clone(), names, target: link.target.clone() };
    }
    let shown = Path::parse(&place.path).map(|path| show_names(place.base, &path, names));
    Error::NotDirectory { place: shown.unwrap_or_else(|_| show(place)) }
}

/// Why there are no bytes at a place.
pub(crate) fn not_a_file(place: &Where, row: &InodeRow) -> Outcome<Error> {
    Ok(match &row.body {
        Body::Directory => Error::IsDirectory { place: show(place) },
        Body::Symlink(_) => not_a_directory(place, count(place)?, row),
        Body::File(_) | Body::Special(_) => Error::NotAFile { place: show(place) },
    })
}

/// What is at a place.
pub(crate) fn find(view: &impl View, caller: Caller<'_>, place: &Where) -> Outcome<(Slot, InodeRow)> {
    let slot = slot(view, caller, place)?;
    match view.entry(slot.directory, &slot.name)? {
        Some(row) => Ok((slot, row)),
        None => Err(Error::NotFound { place: show(place) }.into()),
    }
}

/// The inode at a place, even a file without a name, and where its row is.
pub(crate) fn find_inode(view: &impl View, caller: Caller<'_>, place: &Where) -> Outcome<(Home, InodeRow)> {
    match find(view, caller, place) {
        Err(QueryError::Refused(Error::NotFound { place: shown })) => {
            let shared = if place.path.is_empty() { view.shared(place.base)? } else { None };
            if let Some(unnamed) = shared.filter(|row| row.links() == 0) {
                return Ok((Home::Shared, unnamed));
            }
            // In a removed tree, a file that is open somewhere.
            let open = if place.path.is_empty() && handles::is_open(view, place.base)? {
                Home::of(view, place.base)?
            } else {
                None
            };
            open.ok_or_else(|| Error::NotFound { place: shown }.into())
        }
        found => found.map(|(slot, row)| (Home::at(&slot, &row), row)),
    }
}

/// The directory that a path starts from, which must let the caller through like all those above it.
pub(crate) fn base_directory(view: &impl View, caller: Caller<'_>, base: InodeId) -> Outcome<InodeId> {
    if base == InodeId::ROOT || is_attached(view, base)? {
        caller.check_way(view, base)?;
        return Ok(base);
    }
    let place = base.to_string();
    let there = match view.shared(base)?.is_some_and(|row| row.links() == 0) {
        true => Ok(()),
        false => slot_of_inode(view, Caller::SYSTEM, base).map(drop),
    };
    Err(match there {
        Ok(()) => Error::NotDirectory { place }.into(),
        Err(error) => error,
    })
}

fn slot_of_inode(view: &impl View, caller: Caller<'_>, inode: InodeId) -> Outcome<Slot> {
    if inode == InodeId::ROOT {
        return Ok(Slot::root());
    }
    let slot = match view.link(inode)? {
        Some(link) => Some(Slot { directory: link.parent, name: link.name }),
        None => view.directory(inode)?.map(|row| Slot { directory: row.parent, name: row.name }),
    };
    let Some(slot) = slot else { return Err(Error::NotFound { place: inode.to_string() }.into()) };
    let first = match is_attached(view, slot.directory)? {
        true => caller.check_way(view, slot.directory).map(|()| slot),
        false => Err(Error::NotFound { place: inode.to_string() }.into()),
    };
    if first.is_ok() || view.directory(inode)?.is_some() {
        return first;
    }
    // Any of several names does.
    for slot in names::all(view, inode)? {
        if is_attached(view, slot.directory)? && caller.check_way(view, slot.directory).is_ok() {
            return Ok(slot);
        }
    }
    first
}

/// The path of a directory, as error messages show it.
pub(crate) fn path_of(view: &impl View, directory: InodeId) -> Result<String, ViewError> {
    let mut path = String::new();
    let mut at = directory;
    while at != InodeId::ROOT && at != InodeId::NONE {
        let Some(row) = view.directory(at)? else { break };
        path = format!("/{}{path}", String::from_utf8_lossy(&row.name));
        at = row.parent;
    }
    Ok(if path.is_empty() { "/".to_owned() } else { path })
}

/// Where an inode is now, by one of its names; none if it has none in the tree.
pub(crate) fn path_to(view: &impl View, inode: InodeId) -> Result<Option<Vec<u8>>, ViewError> {
    let slot = match slot_of_inode(view, Caller::SYSTEM, inode) {
        Ok(slot) => slot,
        Err(QueryError::Refused(_)) => return Ok(None),
        Err(QueryError::View(error)) => return Err(error),
    };
    let (mut names, mut at) = (vec![slot.name], slot.directory);
    while at != InodeId::ROOT && at != InodeId::NONE {
        let Some(row) = view.directory(at)? else { return Ok(None) };
        names.push(row.name);
        at = row.parent;
    }
    Ok(Some(names.iter().rev().flat_map(|name| [b"/", &name[..]].concat()).collect()))
}

/// Whether a directory hangs below the root, rather than in a removed tree.
pub(crate) fn is_attached(view: &impl View, directory: InodeId) -> Result<bool, ViewError> {
    let mut at = directory;
    while at != InodeId::ROOT {
        match view.directory(at)? {
            Some(row) => at = row.parent,
            None => return Ok(false),
        }
    }
    Ok(true)
}
