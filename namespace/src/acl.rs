//! Access control lists of inodes: who is granted what, how lists are set, and what is inherited. As on Linux, see acl(5).
//!
//! 1. A list that says no more than the mode is not kept. Where one is kept, the mode shows it.
//! 2. The first that fits decides: the owner, a user by name, a group with all that is asked for, others. The mask bounds
//!    all but the owner and others.
//! 3. What is made in a directory with a default list gets that list, less what the mode that was asked for lacks, and
//!    loses nothing to a umask; a new directory gets it as its default list too.

use types::acl::{ACCESS_ACL, Acl, DEFAULT_ACL, Permissions};

use crate::access::Caller;
use crate::command::{Principal, XattrMode};
use crate::error::Error;
use crate::row::{Body, InodeRow, Lists};
use crate::xattr;

/// Read, write and execute of owner, group and others.
const PERMISSIONS: u32 = 0o777;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Access,
    Default,
}

impl Which {
    /// The list that an extended attribute of this name stands for.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        match name {
            ACCESS_ACL => Some(Self::Access),
            DEFAULT_ACL => Some(Self::Default),
            _ => None,
        }
    }

    const fn name(self) -> &'static [u8] {
        match self {
            Self::Access => ACCESS_ACL,
            Self::Default => DEFAULT_ACL,
        }
    }

    fn in_row(self, row: &InodeRow) -> Option<&Acl> {
        match self {
            Self::Access => row.acl.as_deref(),
            Self::Default => row.default_acl.as_deref(),
        }
    }
}

/// Whether what `row` is of grants the principal all that it asks for (invariant 2).
pub(crate) fn grants(principal: &Principal, row: &InodeRow, asked: Permissions) -> bool {
    let Some(acl) = &row.acl else {
        // An owner has no more than the owner's bits.
        let class = match principal.uid == row.uid {
            true => 6,
            false if principal.is_in(row.gid) => 3,
            false => 0,
        };
        return Permissions::of_bits(row.mode >> class).contain(asked);
    };
    if principal.uid == row.uid {
        return acl.owner().contain(asked);
    }
    let mask = acl.mask().unwrap_or(Permissions::ALL);
    if let Ok(at) = acl.users().binary_search_by_key(&principal.uid, |user| user.id) {
        return acl.users()[at].permissions.and(mask).contain(asked);
    }
    let own = principal.is_in(row.gid).then(|| acl.group());
    let named = acl.groups().iter().filter(|group| principal.is_in(group.id)).map(|group| group.permissions);
    let mut groups = own.into_iter().chain(named).peekable();
    match groups.peek() {
        Some(_) => groups.any(|granted| granted.and(mask).contain(asked)),
        None => acl.others().contain(asked),
    }
}

/// Gives something new what its directory hands down (invariant 3).
pub(crate) fn inherit(holder: &InodeRow, row: &mut InodeRow) {
    let withheld = row.withheld.take().unwrap_or(0);
    let Some(default) = &holder.default_acl else { return };
    match row.body {
        Body::Symlink(_) => return,
        Body::Directory => row.default_acl = Some(default.clone()),
        Body::File(_) | Body::Special(_) => {}
    }
    let acl = default.limited_to(row.mode | withheld);
    row.mode = row.mode & !PERMISSIONS | acl.mode();
    row.acl = extended(acl);
}

/// Invariant 1.
fn extended(acl: Acl) -> Option<Box<Acl>> {
    acl.is_extended().then(|| Box::new(acl))
}

/// The lists that an object has.
pub(crate) const fn lists(row: &InodeRow) -> Option<Lists> {
    match (&row.acl, &row.default_acl) {
        (None, None) => None,
        (Some(_), None) => Some(Lists::Access),
        (None, Some(_)) => Some(Lists::Default),
        (Some(_), Some(_)) => Some(Lists::Both),
    }
}

/// The names of the extended attributes that stand for lists.
pub(crate) fn names(row: &InodeRow) -> impl Iterator<Item = Vec<u8>> {
    let both = [Which::Access, Which::Default].into_iter();
    both.filter(|which| which.in_row(row).is_some()).map(|which| which.name().to_vec())
}

/// A list in the form of an extended attribute. Everybody who finds the object may see it.
pub(crate) fn get(row: &InodeRow, which: Which, place: impl Fn() -> String) -> Result<Vec<u8>, Error> {
    if matches!(row.body, Body::Symlink(_)) {
        return Err(Error::AclOfSymlink { place: place() });
    }
    which
        .in_row(row)
        .map(Acl::to_xattr)
        .ok_or_else(|| Error::NoXattr { place: place(), name: xattr::show(which.name()) })
}

/// Whether the list may be there already, as for other attributes.
pub(crate) fn check_presence(
    row: &InodeRow,
    which: Which,
    mode: XattrMode,
    place: impl Fn() -> String,
) -> Result<(), Error> {
    let name = || xattr::show(which.name());
    match (which.in_row(row), mode) {
        (Some(_), XattrMode::Create) => Err(Error::XattrExists { place: place(), name: name() }),
        (None, XattrMode::Replace) => Err(Error::NoXattr { place: place(), name: name() }),
        (Some(_) | None, _) => Ok(()),
    }
}

/// Sets a list that comes in the form of an extended attribute; one without entries takes it away. It is the owner's to
/// change. The mode follows, and loses setgid where the caller could not set that.
pub(crate) fn set(
    caller: Caller<'_>,
    row: &mut InodeRow,
    which: Which,
    value: &[u8],
    place: impl Fn() -> String,
) -> Result<(), Error> {
    let acl = Acl::of_xattr(value).map_err(|reason| Error::BadAcl { place: place(), reason: reason.to_string() })?;
    let Some(acl) = acl else { return remove(caller, row, which, place) };
    if matches!(row.body, Body::Symlink(_)) {
        return Err(Error::AclOfSymlink { place: place() });
    }
    if which == Which::Default && row.body != Body::Directory {
        return Err(Error::DefaultAclOfFile { place: place() });
    }
    caller.check_owner(row, &place)?;
    match which {
        Which::Default => row.default_acl = Some(Box::new(acl)),
        Which::Access => {
            row.mode = caller.settable(row.mode & !PERMISSIONS | acl.mode(), row.gid);
            row.withheld = None;
            row.acl = extended(acl);
        }
    }
    Ok(())
}

/// Takes a list away, if there is one; what the mode shows stays.
pub(crate) fn remove(
    caller: Caller<'_>,
    row: &mut InodeRow,
    which: Which,
    place: impl Fn() -> String,
) -> Result<(), Error> {
    if matches!(row.body, Body::Symlink(_)) {
        return Err(Error::AclOfSymlink { place: place() });
    }
    if which == Which::Default && row.body != Body::Directory {
        return Ok(());
    }
    caller.check_owner(row, &place)?;
    match which {
        Which::Default => row.default_acl = None,
        Which::Access => row.acl = None,
    }
    Ok(())
}

#[cfg(test)]
mod tests;
