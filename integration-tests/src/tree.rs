//! Trees of local files, made and compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::Pattern;

/// Relative path to content; directories map to nothing.
pub type Snapshot = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// A tree that holds what real ones hold: empty files, names with blanks and umlauts, deep directories, sizes around the
/// limits of inline files and of packets.
#[derive(Debug)]
pub struct Tree;

impl Tree {
    /// Makes some `files` files below `root`.
    pub fn make(root: &Path, files: usize) -> Result<()> {
        let sizes = [0, 1, 700, 4095, 4096, 4097, 16 << 10, (16 << 10) + 1, 100_000, (1 << 20) + 3];
        let directories = ["", "a", "a/b", "a/b/c/d/e", "with blank", "\u{e4}\u{f6}\u{fc}", ".hidden"];
        for at in 0..files {
            let directory = root.join(directories[at % directories.len()]);
            fs::create_dir_all(&directory)?;
            let content = Pattern(at as u64).bytes(0, sizes[at % sizes.len()]);
            fs::write(directory.join(format!("file {at}.dat")), content)?;
        }
        fs::create_dir_all(root.join("empty/directory"))?;
        Ok(())
    }
}

/// Everything below `root`.
pub fn snapshot(root: &Path) -> Result<Snapshot> {
    let mut found = Snapshot::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let path = entry?.path();
            let relative = path.strip_prefix(root).expect("below the root").to_owned();
            if path.is_dir() {
                found.insert(relative, None);
                left.push(path);
            } else {
                found.insert(relative, Some(fs::read(&path)?));
            }
        }
    }
    Ok(found)
}
