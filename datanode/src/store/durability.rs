//! The order in which a replica reaches the disk: the one place that decides it.
//!
//! While a replica is written, its file is in `writing/`, and its header says that it is being written. To finish:
//!
//! 1. The header with the final length is written. Nobody believes it yet: the file is in `writing/`.
//! 2. The file is synced: data, checksums and header in one go. Their order among themselves does not matter, because
//!    none of them counts before the rename.
//! 3. The file is renamed into `final/`. It must not get there before step 2 is done: what is in `final/` is complete.
//! 4. The directories that hold the directory's own name are synced, unless this process has done so before, and then the
//!    directory: now the name outlives a power cut, too, and the block may be acknowledged.
//!
//! At level memory, steps 2 and 4 are left out.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use transfer::Level;
use types::{BlockId, GenStamp};

use super::StoreError;
use super::directories::SyncFailed;
use super::error::during;
use super::volume::Volume;
use crate::replica::{Header, WRITING, final_directory, final_path, writing_path};

impl Volume {
    /// Makes a written replica a complete one. `header` says the final length.
    pub(super) fn finish_file(&self, file: &File, header: &Header, level: Level) -> Result<(), StoreError> {
        let (block, generation) = (header.block, header.generation);
        file.write_all_at(&header.encode(), 0).map_err(|error| self.write_failed("writing the header", error))?;
        if level != Level::Memory {
            self.sync(file, "syncing the replica")?;
        }
        let directory = final_directory(&self.root, block);
        self.make_final_directory(&directory, block)?;
        fs::rename(writing_path(&self.root, block, generation), final_path(&self.root, block, generation))
            .map_err(|error| self.write_failed("moving the replica to its place", error))?;
        if level != Level::Memory {
            self.sync_final_directory(block)?;
        }
        Ok(())
    }

    /// See the caller: what comes next must not reach the disk before this.
    pub(super) fn sync_before_cut(&self, file: &File) -> Result<(), StoreError> {
        self.sync(file, "syncing a checksum")
    }

    /// Makes what was written so far outlive a power cut. `named`: whether the file's name already does.
    pub(super) fn sync_writing(&self, file: &File, named: bool) -> Result<(), StoreError> {
        self.sync(file, "syncing the replica")?;
        if named { Ok(()) } else { self.sync_directory(&self.root.join(WRITING)) }
    }

    /// Makes a complete replica outlive a power cut, whoever left it.
    pub(crate) fn sync_final(&self, block: BlockId, generation: GenStamp) -> Result<(), StoreError> {
        let path = final_path(&self.root, block, generation);
        let file = File::open(path).map_err(during("opening a replica"))?;
        self.sync(&file, "syncing the replica")?;
        self.sync_final_directory(block)
    }

    fn sync(&self, file: &File, action: &'static str) -> Result<(), StoreError> {
        file.sync_data().map_err(|error| self.sync_failed(action, &error))
    }

    /// Makes the name of a complete replica outlive a power cut, with all directories above it.
    fn sync_final_directory(&self, block: BlockId) -> Result<(), StoreError> {
        self.directories.name(&self.root, block).map_err(|failed| self.directory_failed(failed))?;
        self.sync_directory(&final_directory(&self.root, block))
    }

    fn sync_directory(&self, directory: &Path) -> Result<(), StoreError> {
        self.directories.sync(directory).map_err(|failed| self.directory_failed(failed))
    }

    fn directory_failed(&self, failed: SyncFailed) -> StoreError {
        match failed {
            SyncFailed::Open(error) => error,
            SyncFailed::Sync(reason) => self.sync_failed("syncing a directory", &reason),
        }
    }

    /// Invariant 4.
    fn sync_failed(&self, action: &'static str, error: &dyn std::fmt::Display) -> StoreError {
        let reason = format!("{action}: {error}");
        self.fail(&reason);
        StoreError::Volume { reason }
    }

    /// Makes the two levels of directories. Whoever needs their names on disk sees to that.
    fn make_final_directory(&self, directory: &Path, block: BlockId) -> Result<(), StoreError> {
        let upper = directory.parent().expect("a final directory has two levels");
        for made in [upper, directory] {
            match fs::create_dir(made) {
                Ok(()) => self.directories.made(block),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.write_failed("making a directory", error)),
            }
        }
        Ok(())
    }
}
