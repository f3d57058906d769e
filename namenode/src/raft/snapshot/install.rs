//! Installing a snapshot that is whole: the marker, the swap of the directories, the log, and the marker's removal.
//!
//! ```text
//!                         state/     state-incoming/   state-replaced/   log          state-install
//! 0 pulled                old        new               -                 old          -
//! 1 marked                old        new               -                 old          manifest
//! 2 set aside             -          new               old               old          manifest
//! 3 swapped               new        -                 old               old          manifest
//! 4 the log begins anew   new        -                 old               begins anew  manifest
//! 5 done                  new        -                 -                 begins anew  -
//! ```
//!
//! From step 1 on, [`finish`] goes forward only; each step is harmless when it has been done already. Before it, the
//! pulled files are just files that the next pull need not fetch.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use consensus::{LogError, LogStore, Manifest};

use super::staging;

const MARKER: &str = "state-install";
const REPLACED: &str = "state-replaced";

#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} cannot be read: {reason}")]
    Marker { path: PathBuf, reason: String },
    #[error("neither state nor state-incoming is in {home}, and an installation is under way")]
    Lost { home: PathBuf },
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The directory of a member, as far as an installation changes it.
#[derive(Debug, Clone)]
pub(crate) struct Home(PathBuf);

fn failed(path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    move |source| InstallError::Io { path: path.to_owned(), source }
}

impl Home {
    pub(crate) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn sync(&self) -> Result<(), InstallError> {
        File::open(&self.0).and_then(|dir| dir.sync_all()).map_err(failed(&self.0))
    }

    /// Step 1: from here on the installation is finished, now or by the next start.
    pub(super) fn mark(&self, manifest: &Manifest) -> Result<(), InstallError> {
        let (path, temporary) = (self.path(MARKER), self.path("state-install.new"));
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&manifest.encode())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(failed(&path))?;
        self.sync()
    }

    fn marked(&self) -> Result<Option<Manifest>, InstallError> {
        let path = self.path(MARKER);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(InstallError::Io { path, source }),
        };
        match Manifest::decode(&bytes) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(reason) => Err(InstallError::Marker { path, reason }),
        }
    }

    /// Step 2.
    pub(super) fn set_aside(&self) -> Result<(), InstallError> {
        let (state, replaced) = (self.state(), self.path(REPLACED));
        if self.path(staging::NAME).exists() && state.exists() {
            // What an earlier installation could not remove.
            remove(&replaced)?;
            fs::rename(&state, &replaced).map_err(failed(&state))?;
            self.sync()?;
        }
        Ok(())
    }

    /// Step 3.
    pub(super) fn swap(&self) -> Result<(), InstallError> {
        let (state, incoming) = (self.state(), self.path(staging::NAME));
        if incoming.exists() {
            fs::rename(&incoming, &state).map_err(failed(&state))?;
            self.sync()?;
        }
        if state.exists() { Ok(()) } else { Err(InstallError::Lost { home: self.0.clone() }) }
    }

    /// Step 5.
    pub(super) fn done(&self) -> Result<(), InstallError> {
        remove(&self.path(REPLACED))?;
        let marker = self.path(MARKER);
        match fs::remove_file(&marker) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&marker)(error)),
            _ => {}
        }
        self.sync()
    }
}

fn remove(dir: &Path) -> Result<(), InstallError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(dir)(error)),
        _ => Ok(()),
    }
}

/// Installs the snapshot that was pulled. The store must be closed; nobody else writes the log meanwhile.
pub(crate) fn install(home: &Home, manifest: &Manifest, log: &dyn LogStore) -> Result<(), InstallError> {
    home.mark(manifest)?;
    forward(home, manifest, log)
}

/// Finishes an installation that was cut short (invariant 3 of the module). Before store and log are opened.
pub(crate) fn finish<L: LogStore>(
    home: &Home,
    open: impl FnOnce(&Path) -> Result<L, LogError>,
) -> Result<(), InstallError> {
    match home.marked()? {
        Some(manifest) => {
            tracing::info!(index = manifest.index, "the installation of a snapshot is finished");
            forward(home, &manifest, &open(&home.log())?)
        }
        None => Ok(()),
    }
}

fn forward(home: &Home, manifest: &Manifest, log: &dyn LogStore) -> Result<(), InstallError> {
    home.set_aside()?;
    home.swap()?;
    log.reset(manifest.index, manifest.term)?;
    home.done()
}
