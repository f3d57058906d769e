//! POSIX access control lists (acl(5), the withdrawn POSIX.1e), and their form in extended attributes on Linux.
//!
//! 1. A list has owner, group and others once each, every named user and group once, and a mask if anybody is named.
//! 2. Where an object has a list, the permission bits of its mode are a view of it: owner, mask (without one, the group)
//!    and others.

use std::fmt;

use minicbor::{Decode, Encode};

/// The extended attribute that an access list is reached as.
pub const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
/// That of the default list of a directory.
pub const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// The most entries that a list may have: it stands in the row of its inode, which every step of a path reads.
pub const MAX_ACL_ENTRIES: usize = 256;

/// The form in attributes: this, and then for each entry tag (2 bytes), permissions (2) and id (4), little-endian.
const VERSION: [u8; 4] = [2, 0, 0, 0];
const ENTRY: usize = 8;
/// The id of an entry that names nobody.
const NOBODY: u32 = u32::MAX;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// What an entry grants: bits of read (4), write (2) and execute or search (1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Permissions(#[n(0)] u8);

impl Permissions {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(7);

    /// The three lowest bits.
    pub const fn of_bits(bits: u32) -> Self {
        Self((bits & 7) as u8)
    }

    pub const fn bits(self) -> u32 {
        (self.0 & 7) as u32
    }

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether these are all of `asked`.
    pub const fn contain(self, asked: Self) -> bool {
        self.0 & asked.0 == asked.0
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |bit: u8, letter| if self.0 & bit == 0 { '-' } else { letter };
        write!(f, "{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x'))
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What one user or group is granted, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Named {
    #[n(0)]
    pub id: u32,
    #[n(1)]
    pub permissions: Permissions,
}

/// A list that is whole (invariant 1).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Acl {
    #[n(0)]
    owner: Permissions,
    #[n(1)]
    group: Permissions,
    #[n(2)]
    others: Permissions,
    /// Bounds what the group and everybody named has.
    #[n(3)]
    mask: Option<Permissions>,
    /// By id.
    #[n(4)]
    users: Vec<Named>,
    #[n(5)]
    groups: Vec<Named>,
}

/// Why a list makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    #[error("it is not of version 2")]
    Version,
    #[error("its last entry is cut off")]
    Cut,
    #[error("it has an entry of unknown kind, {0:#x}")]
    UnknownTag(u16),
    #[error("an entry has permissions other than r, w and x: {0:#o}")]
    UnknownPermission(u16),
    #[error("an entry for a named user or group names nobody")]
    NoName,
    #[error("it has two entries for the {0}")]
    Twice(&'static str),
    #[error("it names user {0} twice")]
    UserTwice(u32),
    #[error("it names group {0} twice")]
    GroupTwice(u32),
    #[error("it has no entry for the {0}")]
    Missing(&'static str),
    #[error("it names users or groups and has no mask")]
    NoMask,
    #[error("it has more than {MAX_ACL_ENTRIES} entries")]
    TooMany,
}

/// A list as it is put together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AclEntries {
    pub owner: Option<Permissions>,
    pub group: Option<Permissions>,
    pub others: Option<Permissions>,
    pub mask: Option<Permissions>,
    pub users: Vec<Named>,
    pub groups: Vec<Named>,
}

impl AclEntries {
    /// The list, if it makes sense (invariant 1).
    pub fn build(mut self) -> Result<Acl, AclError> {
        self.users.sort_unstable();
        self.groups.sort_unstable();
        let twice = |named: &[Named]| named.windows(2).find(|pair| pair[0].id == pair[1].id).map(|pair| pair[0].id);
        if let Some(id) = twice(&self.users) {
            return Err(AclError::UserTwice(id));
        }
        if let Some(id) = twice(&self.groups) {
            return Err(AclError::GroupTwice(id));
        }
        if self.mask.is_none() && !(self.users.is_empty() && self.groups.is_empty()) {
            return Err(AclError::NoMask);
        }
        let acl = Acl {
            owner: self.owner.ok_or(AclError::Missing("owner"))?,
            group: self.group.ok_or(AclError::Missing("owning group"))?,
            others: self.others.ok_or(AclError::Missing("others"))?,
            mask: self.mask,
            users: self.users,
            groups: self.groups,
        };
        if acl.len() > MAX_ACL_ENTRIES { Err(AclError::TooMany) } else { Ok(acl) }
    }
}

impl Acl {
    /// The list that says what the permission bits of a mode do.
    pub const fn of_mode(mode: u32) -> Self {
        Self {
            owner: Permissions::of_bits(mode >> 6),
            group: Permissions::of_bits(mode >> 3),
            others: Permissions::of_bits(mode),
            mask: None,
            users: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Reads the value of an extended attribute, with its entries in any order. A value without entries is no list.
    pub fn of_xattr(value: &[u8]) -> Result<Option<Self>, AclError> {
        let entries = value.strip_prefix(&VERSION).ok_or(AclError::Version)?;
        let chunks = entries.chunks_exact(ENTRY);
        if !chunks.remainder().is_empty() {
            return Err(AclError::Cut);
        }
        if entries.is_empty() {
            return Ok(None);
        }
        if chunks.len() > MAX_ACL_ENTRIES {
            return Err(AclError::TooMany);
        }
        let mut list = AclEntries::default();
        for entry in chunks {
            let half = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            list.add(half(0), half(2), id)?;
        }
        list.build().map(Some)
    }

    /// The value of an extended attribute, with its entries in the order that Linux wants.
    pub fn to_xattr(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_vec();
        let mut entry = |tag: u16, permissions: Permissions, id: u32| {
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&u16::from(permissions.0).to_le_bytes());
            bytes.extend_from_slice(&id.to_le_bytes());
        };
        entry(USER_OBJ, self.owner, NOBODY);
        self.users.iter().for_each(|user| entry(USER, user.permissions, user.id));
        entry(GROUP_OBJ, self.group, NOBODY);
        self.groups.iter().for_each(|group| entry(GROUP, group.permissions, group.id));
        if let Some(mask) = self.mask {
            entry(MASK, mask, NOBODY);
        }
        entry(OTHER, self.others, NOBODY);
        bytes
    }

    /// The list in parts, to change it.
    pub fn into_entries(self) -> AclEntries {
        let Self { owner, group, others, mask, users, groups } = self;
        AclEntries { owner: Some(owner), group: Some(group), others: Some(others), mask, users, groups }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        3 + usize::from(self.mask.is_some()) + self.users.len() + self.groups.len()
    }

    /// Never: there are owner, group and others at least.
    pub const fn is_empty(&self) -> bool {
        false
    }

    pub const fn owner(&self) -> Permissions {
        self.owner
    }

    pub const fn group(&self) -> Permissions {
        self.group
    }

    pub const fn others(&self) -> Permissions {
        self.others
    }

    pub const fn mask(&self) -> Option<Permissions> {
        self.mask
    }

    /// By id, each once.
    pub fn users(&self) -> &[Named] {
        &self.users
    }

    pub fn groups(&self) -> &[Named] {
        &self.groups
    }

    /// Whether it says more than a mode can.
    pub const fn is_extended(&self) -> bool {
        self.mask.is_some()
    }

    /// The permission bits of the mode that shows this list (invariant 2).
    pub fn mode(&self) -> u32 {
        let group = self.mask.unwrap_or(self.group);
        self.owner.bits() << 6 | group.bits() << 3 | self.others.bits()
    }

    /// What chmod(2) does to a list: the bits of the group go to the mask, if there is one.
    pub const fn set_mode(&mut self, mode: u32) {
        self.owner = Permissions::of_bits(mode >> 6);
        self.others = Permissions::of_bits(mode);
        let class = Permissions::of_bits(mode >> 3);
        match &mut self.mask {
            Some(mask) => *mask = class,
            None => self.group = class,
        }
    }

    /// As a default list: what something new gets that is asked for with `mode`.
    pub fn limited_to(&self, mode: u32) -> Self {
        let mut acl = self.clone();
        acl.set_mode(self.mode() & mode);
        acl
    }
}

impl AclEntries {
    fn add(&mut self, tag: u16, bits: u16, id: u32) -> Result<(), AclError> {
        if u32::from(bits) & !Permissions::ALL.bits() != 0 {
            return Err(AclError::UnknownPermission(bits));
        }
        let permissions = Permissions::of_bits(bits.into());
        let (one, name) = match tag {
            USER_OBJ => (&mut self.owner, "owner"),
            GROUP_OBJ => (&mut self.group, "owning group"),
            OTHER => (&mut self.others, "others"),
            MASK => (&mut self.mask, "mask"),
            USER | GROUP if id == NOBODY => return Err(AclError::NoName),
            USER => {
                self.users.push(Named { id, permissions });
                return Ok(());
            }
            GROUP => {
                self.groups.push(Named { id, permissions });
                return Ok(());
            }
            other => return Err(AclError::UnknownTag(other)),
        };
        if one.replace(permissions).is_some() { Err(AclError::Twice(name)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
