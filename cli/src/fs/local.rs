//! Trees of this machine.

use std::ffi::OsStr;
use std::fs::{FileType, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path as LocalPath, PathBuf};

use tokio::sync::mpsc;
use types::{Name, Path};
use walkdir::WalkDir;

use crate::exit::{Failure, reason};

/// Entries that are found ahead of the copying.
const AHEAD: usize = 256;
/// So many special files are named.
const NAMED: usize = 10;

/// What a tree holds, counted before anything is copied.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Neither files nor directories; the first few by name and kind.
    pub(crate) special: u64,
    pub(crate) named: Vec<(PathBuf, &'static str)>,
}

impl Survey {
    pub(crate) fn of(root: &LocalPath) -> Self {
        let mut survey = Self::default();
        // What cannot be read is reported by the walk that copies.
        for entry in walk(root).into_iter().flatten() {
            let kind = entry.file_type();
            if kind.is_file() {
                survey.files += 1;
                survey.bytes += entry.metadata().map_or(0, |metadata| metadata.len());
            } else if !kind.is_dir() {
                survey.special += 1;
                if survey.named.len() < NAMED {
                    survey.named.push((entry.path().to_owned(), special_name(kind)));
                }
            }
        }
        survey
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.special += other.special;
        self.named.extend(other.named);
        self.named.truncate(NAMED);
    }
}

fn walk(root: &LocalPath) -> WalkDir {
    WalkDir::new(root).sort_by_file_name()
}

/// What a file is that is neither a regular file nor a directory.
pub(crate) fn special_name(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_symlink() => "symbolic link",
        kind if kind.is_fifo() => "named pipe",
        kind if kind.is_socket() => "socket",
        kind if kind.is_block_device() || kind.is_char_device() => "device",
        _ => "special file",
    }
}

/// Something in a local tree, by its path seen from the top.
#[derive(Debug)]
pub(crate) enum Entry {
    Directory { below: Path, metadata: Metadata },
    File { below: Path, path: PathBuf, length: u64 },
    Special { path: PathBuf, what: &'static str },
    Failed(Failure),
}

/// Walks a tree, directories before what is in them. Runs until the receiver is gone.
pub(crate) fn entries(root: PathBuf) -> mpsc::Receiver<Entry> {
    let (found, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        for entry in walk(&root) {
            if found.blocking_send(describe(&root, entry)).is_err() {
                return;
            }
        }
    });
    receiver
}

fn describe(root: &LocalPath, entry: walkdir::Result<walkdir::DirEntry>) -> Entry {
    let failed = |path: &LocalPath, error: &walkdir::Error| {
        let reason = error.io_error().map_or_else(|| error.to_string(), reason);
        Entry::Failed(Failure::Failed(format!("{}: {reason}", path.display())))
    };
    let entry = match entry {
        Ok(entry) => entry,
        Err(error) => return failed(error.path().unwrap_or(root), &error),
    };
    let relative = entry.path().strip_prefix(root).unwrap_or(LocalPath::new(""));
    let below = match Path::parse(relative.as_os_str().as_bytes()) {
        Ok(below) => below,
        Err(error) => return Entry::Failed(Failure::Failed(format!("{}: {error}", entry.path().display()))),
    };
    let kind = entry.file_type();
    if kind.is_dir() {
        match entry.metadata() {
            Ok(metadata) => Entry::Directory { below, metadata },
            Err(error) => failed(entry.path(), &error),
        }
    } else if kind.is_file() {
        // A file that cannot be looked at fails when it is opened.
        let length = entry.metadata().map_or(0, |metadata| metadata.len());
        Entry::File { below, length, path: entry.into_path() }
    } else {
        Entry::Special { what: special_name(kind), path: entry.into_path() }
    }
}

/// The name that a local source keeps in the cluster; none for `.`, `..` and `/`, whose content is meant.
pub(crate) fn name_of(path: &LocalPath) -> Option<Name> {
    Name::new(path.file_name()?.as_bytes()).ok()
}

/// The local name of something in the cluster. A name there has no slash and is not `.` or `..`, so it never leaves the
/// directory that it is joined to.
pub(crate) fn local_name(name: &Name) -> &OsStr {
    OsStr::from_bytes(name.as_bytes())
}

/// Joins all names of `below` to `top`.
pub(crate) fn join(top: &Path, below: &Path) -> Result<Path, Failure> {
    below
        .names()
        .iter()
        .try_fold(top.clone(), |path, name| path.join(name.clone()))
        .map_err(|error| Failure::Failed(format!("{top}{below}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_keep_their_names() {
        let name = |path: &str| name_of(LocalPath::new(path)).map(|name| name.to_string());
        assert_eq!(name("a/b/"), Some("b".to_owned()));
        assert_eq!(name("a/."), Some("a".to_owned()));
        assert_eq!([".", "..", "/"].map(name), [None, None, None]);
    }

    #[tokio::test]
    async fn a_tree_is_walked_from_the_top_and_special_files_are_told_apart() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("d")).expect("makes");
        std::fs::write(dir.path().join("d/f"), b"12345").expect("writes");
        std::os::unix::fs::symlink("f", dir.path().join("d/l")).expect("links");

        let link = (dir.path().join("d/l"), "symbolic link");
        assert_eq!(Survey::of(dir.path()), Survey { files: 1, bytes: 5, special: 1, named: vec![link.clone()] });
        let mut entries = entries(dir.path().to_owned());
        let mut seen = Vec::new();
        while let Some(entry) = entries.recv().await {
            seen.push(match entry {
                Entry::Directory { below, .. } => format!("directory {below}"),
                Entry::File { below, length, .. } => format!("file {below} of {length}"),
                Entry::Special { path, what } => {
                    assert_eq!((path, what), link);
                    "link".to_owned()
                }
                Entry::Failed(failure) => failure.to_string(),
            });
        }
        assert_eq!(seen, ["directory /", "directory /d", "file /d/f of 5", "link"]);
    }
}
