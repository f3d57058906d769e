//! How one object of the namespace is shown.

use std::collections::HashMap;
use std::sync::LazyLock;

use client::{Attributes, DirectoryPolicy, Kind, Quota, Spread, Usage};
use serde::Serialize;
use types::Path;

use crate::output::rfc3339;

/// An object as `--json` prints it. The keys are an interface.
#[derive(Debug, Serialize)]
pub(crate) struct Object {
    path: String,
    /// The bytes of the path in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    kind: Kind,
    length: u64,
    /// Octal.
    mode: String,
    uid: u32,
    gid: u32,
    mtime: String,
    atime: String,
    ctime: String,
    inode: u64,
    links: u32,
    replication: Option<u8>,
    block_size: Option<u64>,
    writing: bool,
    usage: Option<Usage>,
    quota: Option<Quota>,
    /// Of files whose copies are not spread as the cluster does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<Spread>,
    /// Of directories that have one of their own: what they say of the files that are made below.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<DirectoryPolicy>,
    /// Of directories that have one of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    /// It has an access control list beyond its mode.
    acl: bool,
    /// What is made in it inherits a list.
    default_acl: bool,
    /// Of symbolic links.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// Of devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<u64>,
}

impl Object {
    pub(crate) fn new(path: &Path, attributes: &Attributes) -> Self {
        let bytes = path.to_bytes();
        let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let of_file = attributes.kind == Kind::File;
        Self {
            path: path.to_string(),
            path_hex: str::from_utf8(&bytes).is_err().then(hex),
            kind: attributes.kind,
            length: attributes.length.get(),
            mode: format!("{:04o}", attributes.mode),
            uid: attributes.uid,
            gid: attributes.gid,
            mtime: rfc3339(attributes.mtime),
            atime: rfc3339(attributes.atime),
            ctime: rfc3339(attributes.ctime),
            inode: attributes.inode.get(),
            links: attributes.links,
            replication: of_file.then_some(attributes.replication),
            block_size: of_file.then_some(attributes.block_size.get()),
            writing: attributes.writing,
            usage: attributes.usage,
            quota: attributes.quota,
            spread: attributes.spread,
            policy: attributes.policy,
            ttl_ms: attributes.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            acl: attributes.access_acl,
            default_acl: attributes.default_acl,
            target: attributes.target.as_ref().map(|target| String::from_utf8_lossy(target).into_owned()),
            device: attributes.device,
        }
    }
}

/// What a kind of object is called.
pub(crate) const fn kind_text(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "symbolic link",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::CharDevice => "character device",
        Kind::BlockDevice => "block device",
    }
}

/// `drwxr-xr-x`
pub(crate) fn mode_text(kind: Kind, mode: u32) -> String {
    let mut text = String::with_capacity(10);
    text.push(match kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
    });
    // For owner, group and others: the special bit, and how it shows with and without the permission to execute.
    for (shift, special, with, without) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => with,
            (false, true) => without,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// The name of a user as this machine knows it, else the number.
pub(crate) fn user(uid: u32) -> String {
    if uid == client::BURIED {
        return "(removed for good)".to_owned();
    }
    static USERS: LazyLock<HashMap<u32, String>> = LazyLock::new(|| names_in("/etc/passwd"));
    USERS.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
}

/// The name of a group as this machine knows it, else the number.
pub(crate) fn group(gid: u32) -> String {
    static GROUPS: LazyLock<HashMap<u32, String>> = LazyLock::new(|| names_in("/etc/group"));
    GROUPS.get(&gid).cloned().unwrap_or_else(|| gid.to_string())
}

/// The number of a user, given by name or as a number.
pub(crate) fn uid(text: &str) -> Result<u32, String> {
    id(text, "/etc/passwd").ok_or_else(|| format!("no user {text:?} is known here; a number works too"))
}

/// The number of a group, given by name or as a number.
pub(crate) fn gid(text: &str) -> Result<u32, String> {
    id(text, "/etc/group").ok_or_else(|| format!("no group {text:?} is known here; a number works too"))
}

/// A name goes before a number, as everywhere.
fn id(text: &str, file: &str) -> Option<u32> {
    let named = names_in(file).into_iter().filter(|(_, name)| name == text).map(|(id, _)| id).min();
    named.or_else(|| text.parse().ok())
}

fn names_in(file: &str) -> HashMap<u32, String> {
    names(&std::fs::read_to_string(file).unwrap_or_default())
}

/// Both files have the name first and the number third, between colons. The first name of a number counts.
fn names(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(id))) = (fields.next(), fields.nth(1).map(str::parse)) {
            names.entry(id).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_in_ls() {
        assert_eq!(mode_text(Kind::Directory, 0o755), "drwxr-xr-x");
        assert_eq!(mode_text(Kind::Symlink, 0o777), "lrwxrwxrwx");
        assert_eq!(mode_text(Kind::File, 0o640), "-rw-r-----");
        assert_eq!(mode_text(Kind::File, 0o4755), "-rwsr-xr-x");
        assert_eq!(mode_text(Kind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(mode_text(Kind::File, 0o2644), "-rw-r-Sr--");
    }

    #[test]
    fn names_come_from_the_first_and_third_field() {
        let names = names("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n\nodd\na:x:7:1::/:");
        assert_eq!(names.get(&0).map(String::as_str), Some("root"));
        assert_eq!(names.get(&7).map(String::as_str), Some("a"));
        assert_eq!(names.len(), 2);
    }
}
