//! The order in which a replica reaches the disk: the one place that decides it.
//!
//! While a replica is written, its file is in `writing/`, and its header says that it is being written. To finish:
//!
//! 1. The header with the final length is written. Nobody believes it yet: the file is in `writing/`.
//! 2. The file is synced: data, checksums and header in one go. Their order among themselves does not matter, because
//!    none of them counts before the rename.
//! 3. The file is renamed into `final/`. It must not get there before step 2 is done: what is in `final/` is complete.
//! 4. The directory is synced: now the name outlives a power cut, too, and the block may be acknowledged.
//!
//! At level memory, steps 2 and 4 are left out.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use transfer::Level;
use types::{BlockId, GenStamp};

use super::StoreError;
use super::error::during;
use super::volume::Volume;
use crate::replica::{Header, final_directory, final_path, writing_path};

impl Volume {
    /// Makes a written replica a complete one. `header` says the final length.
    pub(super) fn finish_file(&self, file: &File, header: &Header, level: Level) -> Result<(), StoreError> {
        let (block, generation) = (header.block, header.generation);
        file.write_all_at(&header.encode(), 0).map_err(|error| self.write_failed("writing the header", error))?;
        if level != Level::Memory {
            self.sync(file, "syncing the replica")?;
        }
        let directory = final_directory(&self.root, block);
        self.make_final_directory(&directory, level)?;
        fs::rename(writing_path(&self.root, block, generation), final_path(&self.root, block, generation))
            .map_err(|error| self.write_failed("moving the replica to its place", error))?;
        if level != Level::Memory {
            self.sync_directory(&directory)?;
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
        if named { Ok(()) } else { self.sync_directory(&self.root.join(crate::replica::WRITING)) }
    }

    /// Makes a complete replica outlive a power cut, whoever left it.
    pub(crate) fn sync_final(&self, block: BlockId, generation: GenStamp) -> Result<(), StoreError> {
        let path = final_path(&self.root, block, generation);
        let file = File::open(path).map_err(during("opening a replica"))?;
        self.sync(&file, "syncing the replica")?;
        self.sync_directory(&final_directory(&self.root, block))
    }

    fn sync(&self, file: &File, action: &'static str) -> Result<(), StoreError> {
        file.sync_data().map_err(|error| self.sync_failed(action, &error))
    }

    fn sync_directory(&self, directory: &Path) -> Result<(), StoreError> {
        let opened = File::open(directory).map_err(during("opening a directory"))?;
        opened.sync_all().map_err(|error| self.sync_failed("syncing a directory", &error))
    }

    /// Invariant 4.
    fn sync_failed(&self, action: &'static str, error: &io::Error) -> StoreError {
        let reason = format!("{action}: {error}");
        self.fail(&reason);
        StoreError::Volume { reason }
    }

    /// Makes the two levels of directories, and syncs the ones that hold a new name.
    fn make_final_directory(&self, directory: &Path, level: Level) -> Result<(), StoreError> {
        let upper = directory.parent().expect("a final directory has two levels");
        for (made, holder) in [(upper, upper.parent().expect("final/ itself")), (directory, upper)] {
            match fs::create_dir(made) {
                Ok(()) if level != Level::Memory => self.sync_directory(holder)?,
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.write_failed("making a directory", error)),
            }
        }
        Ok(())
    }
}
