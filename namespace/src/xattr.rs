//! Extended attributes: names and short values stand in the row of the inode, long values in rows of their own.
//!
//! The first part of a name decides who may do what, as on Linux: `user.` goes by the mode of the object, `trusted.` is
//! for the superuser and hidden from others, `security.` is read by all and written by the superuser. Access control lists
//! are reached as `system.posix_acl_access` and `system.posix_acl_default` (module `acl`).

use crate::access::{Caller, Right};
use crate::acl::{self, Which};
use crate::command::XattrMode;
use crate::error::Error;
use crate::key;
use crate::limits::{MAX_XATTR_NAME, MAX_XATTR_VALUE, MAX_XATTRS, SMALL_XATTR, SMALL_XATTRS};
use crate::row::{Body, InodeRow, Xattr, XattrRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::{View, ViewError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    User,
    Trusted,
    Security,
}

fn class(name: &[u8]) -> Result<Class, Error> {
    let class = [(&b"user."[..], Class::User), (b"trusted.", Class::Trusted), (b"security.", Class::Security)]
        .into_iter()
        .find(|(prefix, _)| name.starts_with(prefix) && name.len() > prefix.len());
    match class {
        Some((_, class)) if name.len() <= MAX_XATTR_NAME && !name.contains(&0) => Ok(class),
        _ => Err(Error::XattrName { name: show(name) }),
    }
}

pub(crate) fn show(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(MAX_XATTR_NAME)]).into_owned()
}

pub(crate) fn set<V: View>(
    txn: &mut Transaction<'_, V>,
    row: &mut InodeRow,
    name: &[u8],
    value: &[u8],
    mode: XattrMode,
    place: impl Fn() -> String,
) -> Outcome<()> {
    if let Some(which) = Which::of(name) {
        acl::check_presence(row, which, mode, &place)?;
        return Ok(acl::set(txn.caller, row, which, value, &place)?);
    }
    check_change(txn.caller, row, name, &place)?;
    if value.len() > MAX_XATTR_VALUE {
        return Err(Error::XattrTooLarge { place: place(), name: show(name), limit: MAX_XATTR_VALUE as u64 }.into());
    }
    let xattrs = row.xattrs.as_deref().unwrap_or_default();
    let found = xattrs.binary_search_by(|xattr| xattr.name.as_slice().cmp(name));
    match (found, mode) {
        (Ok(_), XattrMode::Create) => return Err(Error::XattrExists { place: place(), name: show(name) }.into()),
        (Err(_), XattrMode::Replace) => return Err(Error::NoXattr { place: place(), name: show(name) }.into()),
        (Err(_), _) if xattrs.len() >= MAX_XATTRS => {
            return Err(Error::TooManyXattrs { place: place(), limit: MAX_XATTRS as u32 }.into());
        }
        (Ok(_) | Err(_), _) => {}
    }
    put(txn, row, name, value);
    Ok(())
}

/// Sets an attribute, whoever asks. The name is legal and the value not too long.
pub(crate) fn put<V: View>(txn: &mut Transaction<'_, V>, row: &mut InodeRow, name: &[u8], value: &[u8]) {
    let inode = row.inode;
    let xattrs = row.xattrs.get_or_insert_default();
    let found = xattrs.binary_search_by(|xattr| xattr.name.as_slice().cmp(name));
    let others = xattrs.iter().filter(|xattr| xattr.name != name);
    let small: usize = others.filter_map(|xattr| xattr.value.as_ref().map(Vec::len)).sum();
    let is_small = value.len() <= SMALL_XATTR && small + value.len() <= SMALL_XATTRS;
    let xattr = Xattr { name: name.to_vec(), value: is_small.then(|| value.to_vec()) };
    let key = key::xattr(inode, name);
    match found {
        Ok(at) => {
            if is_small && xattrs[at].value.is_none() {
                txn.remove(key.clone());
            }
            xattrs[at] = xattr;
        }
        Err(at) => xattrs.insert(at, xattr),
    }
    if !is_small {
        txn.put(key, &XattrRow { value: value.to_vec() });
    }
}

pub(crate) fn remove<V: View>(
    txn: &mut Transaction<'_, V>,
    row: &mut InodeRow,
    name: &[u8],
    place: impl Fn() -> String,
) -> Outcome<()> {
    if let Some(which) = Which::of(name) {
        return Ok(acl::remove(txn.caller, row, which, &place)?);
    }
    check_change(txn.caller, row, name, &place)?;
    if take(txn, row, name) { Ok(()) } else { Err(Error::NoXattr { place: place(), name: show(name) }.into()) }
}

/// Removes an attribute, whoever asks; false if there is none.
pub(crate) fn take<V: View>(txn: &mut Transaction<'_, V>, row: &mut InodeRow, name: &[u8]) -> bool {
    let mut xattrs = row.xattrs.take().unwrap_or_default();
    let found = xattrs.iter().position(|xattr| xattr.name == name);
    if let Some(at) = found
        && xattrs.remove(at).value.is_none()
    {
        txn.remove(key::xattr(row.inode, name));
    }
    row.xattrs = Some(xattrs).filter(|xattrs| !xattrs.is_empty());
    found.is_some()
}

/// As on Linux, a program loses its capabilities when it is changed or given to another, whoever does that.
pub(crate) fn drop_capabilities<V: View>(txn: &mut Transaction<'_, V>, row: &mut InodeRow) {
    if row.xattrs.is_some() {
        take(txn, row, b"security.capability");
    }
}

/// The long values of an inode that goes.
pub(crate) fn drop_all<V: View>(txn: &mut Transaction<'_, V>, row: &InodeRow) {
    for xattr in row.xattrs.iter().flatten().filter(|xattr| xattr.value.is_none()) {
        txn.remove(key::xattr(row.inode, &xattr.name));
    }
}

/// The names that the caller may know of.
pub(crate) fn names(caller: Caller<'_>, row: &InodeRow) -> Vec<Vec<u8>> {
    let all = row.xattrs.iter().flatten().map(|xattr| &xattr.name);
    let seen = all.filter(|name| class(name) != Ok(Class::Trusted) || caller.check_superuser(String::new).is_ok());
    let mut names: Vec<Vec<u8>> = seen.cloned().chain(acl::names(row)).collect();
    names.sort_unstable();
    names
}

pub(crate) fn get(
    view: &impl View,
    caller: Caller<'_>,
    row: &InodeRow,
    name: &[u8],
    place: impl Fn() -> String,
) -> Outcome<Vec<u8>> {
    if let Some(which) = Which::of(name) {
        return Ok(acl::get(row, which, &place)?);
    }
    match class(name)? {
        Class::User => caller.check(row, Right::Read, &place)?,
        Class::Trusted => caller.check_superuser(&place)?,
        Class::Security => {}
    }
    stored(view, row, name)?.ok_or_else(|| Error::NoXattr { place: place(), name: show(name) }.into())
}

/// The value of an attribute, whoever asks.
pub(crate) fn stored(view: &impl View, row: &InodeRow, name: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
    match row.xattrs.iter().flatten().find(|xattr| xattr.name == name) {
        Some(Xattr { value: Some(value), .. }) => Ok(Some(value.clone())),
        Some(Xattr { value: None, .. }) => long(view, row, name).map(Some),
        None => Ok(None),
    }
}

fn long(view: &impl View, row: &InodeRow, name: &[u8]) -> Result<Vec<u8>, ViewError> {
    Ok(view.need::<XattrRow>(&key::xattr(row.inode, name))?.value)
}

fn check_change(caller: Caller<'_>, row: &InodeRow, name: &[u8], place: &impl Fn() -> String) -> Result<(), Error> {
    match class(name)? {
        Class::User if !matches!(row.body, Body::File(_) | Body::Directory) => Err(Error::UserXattr { place: place() }),
        Class::User => caller.check(row, Right::Write, place),
        Class::Trusted | Class::Security => caller.check_superuser(place),
    }
}
