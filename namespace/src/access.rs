//! Who may do what: the bits of owner, group and others, or an access control list (module `acl`), as on Linux.
//!
//! 1. A request without a principal is the system's own; it, uid 0 and the members of the supergroup may do everything.
//! 2. Every directory on the way from the root to an object must let the caller through, also when the object is named
//!    by its inode: a number that was guessed opens nothing.
//! 3. What is granted when a file is opened for writing lasts as long as its lease.

use std::fmt;

use minicbor::{Decode, Encode};
use types::InodeId;
use types::acl::Permissions;

use crate::acl;
use crate::command::{AttrChange, Ownership, Principal};
use crate::error::Error;
use crate::key;
use crate::limits::MAX_CHECKED;
use crate::row::{Body, DirectoryRow, InodeRow};
use crate::rows::Rows;
use crate::transaction::Outcome;
use crate::view::{View, ViewError};

pub(crate) const SETUID: u32 = 0o4000;
pub(crate) const SETGID: u32 = 0o2000;
const STICKY: u32 = 0o1000;
/// Of anybody.
const EXECUTE: u32 = 0o111;
const GROUP_EXECUTE: u32 = 0o010;

/// What the bits of a mode grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Right {
    #[n(0)]
    Read,
    /// Of a directory: to change its entries.
    #[n(1)]
    Write,
    /// Of a directory: to get to what is in it.
    #[n(2)]
    Search,
}

impl Right {
    const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Search];

    pub(crate) const fn bit(self) -> u32 {
        match self {
            Self::Read => 0o4,
            Self::Write => 0o2,
            Self::Search => 0o1,
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read permission (r)",
            Self::Write => "write permission (w)",
            Self::Search => "search permission (x)",
        })
    }
}

/// Who asks, and the group whose members may do everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller<'a> {
    principal: Option<&'a Principal>,
    supergroup: Option<u32>,
}

/// Where there is no supergroup.
#[cfg(test)]
impl<'a> From<Option<&'a Principal>> for Caller<'a> {
    fn from(principal: Option<&'a Principal>) -> Self {
        Self::new(principal, None)
    }
}

impl<'a> Caller<'a> {
    /// The system itself.
    pub const SYSTEM: Self = Self::new(None, None);

    pub(crate) const fn new(principal: Option<&'a Principal>, supergroup: Option<u32>) -> Self {
        Self { principal, supergroup }
    }

    /// Who asks a question of a state.
    pub fn of_query(view: &impl View, principal: Option<&'a Principal>) -> Result<Self, ViewError> {
        let supergroup = match principal {
            Some(principal) if principal.uid != 0 => view.system()?.and_then(|system| system.supergroup),
            Some(_) | None => None,
        };
        Ok(Self::new(principal, supergroup))
    }

    /// The principal whose rights are to be looked at; none for those who may do everything.
    fn limited(self) -> Option<&'a Principal> {
        let is_super =
            |principal: &Principal| principal.uid == 0 || self.supergroup.is_some_and(|group| principal.is_in(group));
        self.principal.filter(|principal| !is_super(principal))
    }

    /// The uid that counts as the caller's.
    pub(crate) fn uid(self) -> u32 {
        self.principal.map_or(0, |principal| principal.uid)
    }

    /// Refuses unless the bits of `row` grant `right`; `place` is what the refusal names.
    pub(crate) fn check(self, row: &InodeRow, right: Right, place: impl FnOnce() -> String) -> Result<(), Error> {
        self.check_all(row, right.bit(), place)
    }

    /// Refuses unless `row` grants every right of a mask together: of an access control list, one entry must have them all.
    pub(crate) fn check_all(self, row: &InodeRow, mask: u32, place: impl FnOnce() -> String) -> Result<(), Error> {
        let Some(principal) = self.limited() else { return Ok(()) };
        if acl::grants(principal, row, Permissions::of_bits(mask)) {
            return Ok(());
        }
        let asked = || Right::ALL.into_iter().filter(|right| mask & right.bit() != 0);
        let lacks = |right: &Right| !acl::grants(principal, row, Permissions::of_bits(right.bit()));
        let right = asked().find(lacks).or_else(|| asked().next()).expect("a mask that is refused asks for something");
        Err(Error::AccessDenied { place: place(), uid: principal.uid, right })
    }

    /// Refuses unless `row` grants every right of a mask. What nobody may execute, not even the superuser does.
    pub(crate) fn check_access(self, row: &InodeRow, mask: u32, place: impl Fn() -> String) -> Result<(), Error> {
        self.check_all(row, mask, &place)?;
        let is_executable = row.body == Body::Directory || row.mode & EXECUTE != 0;
        if mask & Right::Search.bit() != 0 && !is_executable {
            let uid = self.principal.map_or(0, |principal| principal.uid);
            return Err(Error::AccessDenied { place: place(), uid, right: Right::Search });
        }
        Ok(())
    }

    /// Whether the caller could give himself any right to what `row` is of.
    pub(crate) fn owns(self, row: &InodeRow) -> bool {
        self.limited().is_none_or(|principal| principal.uid == row.uid)
    }

    /// Refuses unless every directory from `directory` up to the root lets the caller through (invariant 2). The
    /// directory must hang below the root.
    pub(crate) fn check_way(self, view: &impl View, directory: InodeId) -> Outcome<()> {
        if self.limited().is_none() {
            return Ok(());
        }
        let mut at = directory;
        while at != InodeId::NONE {
            let (row, parent) = directory_entry(view, at)?;
            self.check(&row, Right::Search, || show(at))?;
            at = parent;
        }
        Ok(())
    }

    /// Uid and gid of who asks; the system counts as the superuser.
    pub(crate) fn ids(self) -> (u32, u32) {
        self.principal.map_or((0, 0), |principal| (principal.uid, principal.gid))
    }

    pub(crate) fn is_unlimited(self) -> bool {
        self.limited().is_none()
    }

    /// Refuses everybody but the owner and the superuser.
    pub(crate) fn check_owner(self, row: &InodeRow, place: impl FnOnce() -> String) -> Result<(), Error> {
        match self.limited() {
            Some(principal) if principal.uid != row.uid => Err(Error::NotOwner { place: place(), uid: principal.uid }),
            _ => Ok(()),
        }
    }

    /// Refuses everybody but the superuser.
    pub(crate) fn check_superuser(self, place: impl FnOnce() -> String) -> Result<(), Error> {
        match self.limited() {
            Some(principal) => Err(Error::OnlySuperuser { place: place(), uid: principal.uid }),
            None => Ok(()),
        }
    }

    /// Refuses unless entries of `directory` may be added.
    pub(crate) fn check_add(self, view: &impl View, directory: InodeId, place: impl FnOnce() -> String) -> Outcome<()> {
        if self.limited().is_some() {
            let (row, _) = directory_entry(view, directory)?;
            self.check(&row, Right::Write, place)?;
        }
        Ok(())
    }

    /// Refuses unless the entry of `row` in `directory` may be taken out or replaced. `parent` and `place` are what the
    /// refusal names.
    pub(crate) fn check_remove(
        self,
        view: &impl View,
        directory: InodeId,
        row: &InodeRow,
        parent: impl FnOnce() -> String,
        place: impl FnOnce() -> String,
    ) -> Outcome<()> {
        let Some(principal) = self.limited() else { return Ok(()) };
        let (holder, _) = directory_entry(view, directory)?;
        self.check(&holder, Right::Write, parent)?;
        if is_kept_by_sticky(principal, &holder, row) {
            return Err(Error::Sticky { place: place(), uid: principal.uid }.into());
        }
        Ok(())
    }

    /// Refuses unless everything in the directory of `top` may be removed: each directory below that holds something
    /// must be the caller's to read, search and change, as for `rm -r`.
    pub(crate) fn check_remove_below(self, view: &impl View, top: &InodeRow, place: &str) -> Outcome<()> {
        let Some(principal) = self.limited() else { return Ok(()) };
        let mut left = vec![top.clone()];
        let mut looked_at = 0;
        while let Some(row) = left.pop() {
            let usage = view.need::<DirectoryRow>(&key::directory(row.inode))?.usage;
            if usage.entries == 0 {
                continue;
            }
            let shown = || if row.inode == top.inode { place.to_owned() } else { row.inode.to_string() };
            self.check_all(&row, Permissions::ALL.bits(), shown)?;
            if usage.directories == 0 && row.mode & STICKY == 0 {
                continue;
            }
            let entries = view.page(&key::entries(row.inode), MAX_CHECKED - looked_at + 1)?;
            looked_at += entries.len();
            if looked_at > MAX_CHECKED {
                return Err(Error::TreeTooLarge { place: place.to_owned(), limit: MAX_CHECKED as u32 }.into());
            }
            for (key, value) in entries {
                let entry = view.entry_of(&key, &value)?;
                if is_kept_by_sticky(principal, &row, &entry) {
                    return Err(Error::Sticky { place: entry.inode.to_string(), uid: principal.uid }.into());
                }
                if entry.body == Body::Directory {
                    left.push(entry);
                }
            }
        }
        Ok(())
    }

    /// Refuses a change of attributes that is not the caller's to make; `place` is what the refusal names.
    pub(crate) fn check_attributes(
        self,
        row: &InodeRow,
        change: &AttrChange,
        place: impl Fn() -> String,
    ) -> Result<(), Error> {
        let Some(principal) = self.limited() else { return Ok(()) };
        let (uid, is_owner) = (principal.uid, principal.uid == row.uid);
        let keeps_owner = change.uid.is_none_or(|uid| uid == row.uid);
        let own_group = change.gid.is_none_or(|gid| gid == row.gid || principal.is_in(gid));
        if (change.uid.is_some() || change.gid.is_some()) && !(is_owner && keeps_owner && own_group) {
            return Err(Error::OwnerFixed { place: place(), uid });
        }
        let own_times = change.mtime.is_some() || change.atime.is_some() || change.present.is_some();
        if !is_owner && (change.mode.is_some() || own_times) {
            return Err(Error::NotOwner { place: place(), uid });
        }
        if change.replication.is_some() || (change.touch && !is_owner) {
            self.check(row, Right::Write, place)?;
        }
        Ok(())
    }

    /// The bits that are left of `mode` when the caller sets it on what belongs to the group `gid`: nobody lends a
    /// group that he is not in.
    pub(crate) fn settable(self, mode: u32, gid: u32) -> u32 {
        match self.limited() {
            Some(principal) if !principal.is_in(gid) => mode & !SETGID,
            _ => mode,
        }
    }

    /// The ownership that a new object gets, before it is known where: what the superuser asks for; for everybody else
    /// the own uid, and the group asked for if it is one of the own.
    pub(crate) fn ownership(self, asked: Ownership) -> Ownership {
        match self.limited() {
            Some(principal) if principal.is_in(asked.gid) => Ownership { uid: principal.uid, ..asked },
            Some(principal) => Ownership { uid: principal.uid, gid: principal.gid, ..asked },
            None => asked,
        }
    }

    /// Gives a new object what it has from its directory: the group of a setgid directory (a new directory is setgid itself
    /// then), and what a default access control list grants.
    pub(crate) fn inherit(self, view: &impl View, directory: InodeId, row: &mut InodeRow) -> Result<(), ViewError> {
        let (holder, _) = directory_entry(view, directory)?;
        if holder.mode & SETGID != 0 {
            row.gid = holder.gid;
            if row.body == Body::Directory {
                row.mode |= SETGID;
            } else if (row.mode | row.withheld.unwrap_or(0)) & GROUP_EXECUTE != 0 {
                row.mode = self.settable(row.mode, row.gid);
            }
        }
        acl::inherit(&holder, row);
        Ok(())
    }
}

/// Takes setuid and setgid from a file that gets another owner or group, whoever gives it. Setgid without execution by
/// the group is no privilege but a mark, and stays.
pub(crate) const fn without_privileges(mode: u32) -> u32 {
    let mode = mode & !SETUID;
    if mode & GROUP_EXECUTE != 0 { mode & !SETGID } else { mode }
}

fn is_kept_by_sticky(principal: &Principal, directory: &InodeRow, row: &InodeRow) -> bool {
    directory.mode & STICKY != 0 && principal.uid != row.uid && principal.uid != directory.uid
}

/// The row of a directory that is in the tree, and the directory above.
pub(crate) fn directory_entry(view: &impl View, directory: InodeId) -> Result<(InodeRow, InodeId), ViewError> {
    let DirectoryRow { parent, name, .. } = view.need(&key::directory(directory))?;
    Ok((view.need::<InodeRow>(&key::entry(parent, &name))?, parent))
}

fn show(directory: InodeId) -> String {
    if directory == InodeId::ROOT { "/".to_owned() } else { directory.to_string() }
}
