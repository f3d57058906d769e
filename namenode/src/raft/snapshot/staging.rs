//! The files of a snapshot on their way in.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::export::checksum;
use consensus::{Manifest, ManifestFile};

use crate::store::{self, StoreError};

pub(super) const NAME: &str = "state-incoming";

#[derive(Debug, thiserror::Error)]
pub(crate) enum StagingError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{name} is not what the manifest tells: {length} bytes, checksum {crc:08x}")]
    Corrupt { name: String, length: u64, crc: u32 },
    #[error("the state in it: {0}")]
    Store(#[from] StoreError),
    #[error("the state in it is at {found:?}, and the manifest tells {told:?}")]
    Index { found: (u64, u64), told: (u64, u64) },
}

/// The directory that a snapshot is pulled into.
#[derive(Debug)]
pub(crate) struct Staging {
    dir: PathBuf,
}

/// One file that is being received.
#[derive(Debug)]
pub(crate) struct Incoming {
    file: File,
    path: PathBuf,
    told: ManifestFile,
    hasher: crc32fast::Hasher,
    length: u64,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StagingError {
    move |source| StagingError::Io { path: path.to_owned(), source }
}

impl Staging {
    /// Opens the directory for `manifest`: what an earlier pull left stays if the manifest knows its name.
    pub(crate) fn open(home: &Path, manifest: &Manifest) -> Result<Self, StagingError> {
        let dir = home.join(NAME);
        fs::create_dir_all(&dir).map_err(failed(&dir))?;
        for entry in fs::read_dir(&dir).map_err(failed(&dir))? {
            let entry = entry.map_err(failed(&dir))?;
            let known = entry.file_name().to_str().and_then(|name| manifest.file(name)).is_some();
            if !known {
                let path = entry.path();
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(failed(&path))?;
            }
        }
        Ok(Self { dir })
    }

    /// Where to go on with a file (invariant 2); nothing when it is there, whole.
    pub(crate) fn resume(&self, told: &ManifestFile) -> Result<Option<Incoming>, StagingError> {
        let path = self.dir.join(&told.name);
        let there = match fs::metadata(&path) {
            Ok(metadata) => Some(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(StagingError::Io { path, source }),
        };
        match there {
            Some(length) if length < told.length => {
                let file = OpenOptions::new().append(true).open(&path).map_err(failed(&path))?;
                let mut hasher = crc32fast::Hasher::new();
                io::copy(&mut File::open(&path).map_err(failed(&path))?, &mut HashOnly(&mut hasher))
                    .map_err(failed(&path))?;
                Ok(Some(Incoming { file, path, told: told.clone(), hasher, length }))
            }
            Some(_) if checksum(&path).map_err(failed(&path))? == (told.length, told.crc) => {
                // It may have been written by a process that was killed before it synced it.
                File::open(&path).and_then(|file| file.sync_all()).map_err(failed(&path))?;
                Ok(None)
            }
            // Of an older snapshot, or damaged.
            Some(_) | None => self.restart(told).map(Some),
        }
    }

    /// Begins a file anew.
    pub(crate) fn restart(&self, told: &ManifestFile) -> Result<Incoming, StagingError> {
        let path = self.dir.join(&told.name);
        let file = File::create(&path).map_err(failed(&path))?;
        Ok(Incoming { file, path, told: told.clone(), hasher: crc32fast::Hasher::new(), length: 0 })
    }

    /// Checks that the files hold the state they should, and makes their names durable (invariant 1).
    pub(crate) fn complete(&self, manifest: &Manifest) -> Result<(), StagingError> {
        for told in &manifest.files {
            let path = self.dir.join(&told.name);
            let length = fs::metadata(&path).map_err(failed(&path))?.len();
            if length != told.length {
                return Err(StagingError::Corrupt { name: told.name.clone(), length, crc: 0 });
            }
        }
        let found = store::peek(&self.dir)?;
        if (found.index, found.term) != manifest.at() {
            return Err(StagingError::Index { found: (found.index, found.term), told: manifest.at() });
        }
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(failed(&self.dir))
    }
}

impl Incoming {
    /// Where the next bytes belong.
    pub(crate) fn offset(&self) -> u64 {
        self.length
    }

    /// Bytes that are still missing.
    pub(crate) fn missing(&self) -> u64 {
        self.told.length - self.length
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StagingError> {
        let length = self.length + bytes.len() as u64;
        if length > self.told.length {
            return Err(StagingError::Corrupt { name: self.told.name.clone(), length, crc: 0 });
        }
        self.file.write_all(bytes).map_err(failed(&self.path))?;
        self.hasher.update(bytes);
        self.length = length;
        Ok(())
    }

    /// Compares with the manifest, and makes the file durable. A file that differs is removed.
    pub(crate) fn finish(self) -> Result<(), StagingError> {
        let Self { file, path, told, hasher, length } = self;
        let crc = hasher.finalize();
        if (length, crc) != (told.length, told.crc) {
            fs::remove_file(&path).map_err(failed(&path))?;
            return Err(StagingError::Corrupt { name: told.name, length, crc });
        }
        file.sync_all().map_err(failed(&path))
    }
}

struct HashOnly<'a>(&'a mut crc32fast::Hasher);

impl Write for HashOnly<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
