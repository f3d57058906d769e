//! The identity of a namenode's directory: a small file that says whose state it holds. A directory without it, or with
//! that of another, is refused, so that an empty mount point or a mixed-up path never becomes an empty cluster.
//!
//! 1. The members that a cluster begins with are formatted together: each directory knows the disk ids of all, so that
//!    none is ever taken for a member that it is not, not even before the first entry of the log.
//! 2. A directory that is formatted later belongs to a number that the cluster has never had, and votes only when the
//!    log says so.
//! 3. A directory that has taken part says so (`begun`), from before its first vote on. If its log or its state is gone
//!    after that, it was wiped, and must not take part again.
//! 4. A member that hears from another that it does not belong (any more) notes why in the directory, and stays away.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use types::{ClusterId, DiskId};

use crate::raft::{Group, Member};

const NAME: &str = "identity.toml";
/// Version 1 had no disk ids; a directory of it is not told from another of the same number.
const VERSION: u32 = 2;
const QUARANTINE: &str = "quarantine";

/// Whose directory it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    version: u32,
    cluster: ClusterId,
    node: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disk: Option<DiskId>,
    /// Invariant 3.
    #[serde(default)]
    begun: bool,
    /// Invariant 1. A member that was added later knows them too: the log begins with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) founders: Vec<Founder>,
}

/// A member that the cluster begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Founder {
    pub node: u64,
    pub disk: DiskId,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{path} is missing: format the directory first, or check that its disk is mounted")]
    Missing { path: PathBuf },
    #[error("{path} cannot be read as an identity: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("{path} has version {version}; this program knows version {VERSION} and those before")]
    Version { path: PathBuf, version: u32 },
    #[error("{path} belongs to node {node} of cluster {cluster}")]
    Foreign { path: PathBuf, cluster: ClusterId, node: u64 },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} is there, and the directories of the other members are not formatted")]
    Partial { path: PathBuf },
    #[error("no source of randomness: {0}")]
    Random(String),
    #[error("{dir} is quarantined: {reason}. It takes no part in the cluster any more. {WAY_OUT}")]
    Quarantined { dir: PathBuf, reason: String },
}

/// What an operator does about a member that may not take part.
pub(crate) const WAY_OUT: &str = "Move the directory away, remove the member (ashlar admin raft remove), and join \
                                  with a new one (ashlar init --join)";

impl Identity {
    /// The group that the cluster began with. Directories of version 1 are those of a fixed number of members.
    pub(crate) fn founders(&self, configured: usize) -> Group {
        if self.version == 1 {
            let voters: Vec<u64> = (1..=configured as u64).collect();
            return Group::of(&voters);
        }
        let member =
            |founder: &Founder| Member { node: founder.node, address: String::new(), disk: Some(founder.disk) };
        Group::founding(self.founders.iter().map(member).collect())
    }
}

fn draw() -> Result<DiskId, IdentityError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| IdentityError::Random(error.to_string()))?;
    Ok(DiskId::from_bytes(id))
}

/// Makes `dirs` the directories of the members that `cluster` begins with, numbered from 1. Harmless when they are that
/// already; refused when one is another's, or when only some are formatted.
pub fn found(dirs: &[PathBuf], cluster: ClusterId) -> Result<(), IdentityError> {
    let mut there = Vec::new();
    for (dir, node) in dirs.iter().zip(1..) {
        match check(dir, cluster, node) {
            Ok(_) => there.push(dir.join(NAME)),
            Err(IdentityError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    match there.pop() {
        Some(_) if there.len() + 1 == dirs.len() => return Ok(()),
        Some(path) => return Err(IdentityError::Partial { path }),
        None => {}
    }
    let disks: Result<Vec<DiskId>, _> = dirs.iter().map(|_| draw()).collect();
    let founders: Vec<Founder> = (1..).zip(disks?).map(|(node, disk)| Founder { node, disk }).collect();
    for (dir, Founder { node, disk }) in dirs.iter().zip(&founders) {
        let (node, disk, founders) = (*node, Some(*disk), founders.clone());
        write(dir, &Identity { version: VERSION, cluster, node, disk, begun: false, founders })?;
    }
    Ok(())
}

/// Makes `dir` the directory of a member that is to be added to `cluster`. Harmless when it is that already; refused when
/// it is another's. The disk id of the directory.
pub fn join(dir: &Path, cluster: ClusterId, node: u64, founders: &[Founder]) -> Result<DiskId, IdentityError> {
    match check(dir, cluster, node) {
        Err(IdentityError::Missing { .. }) => {}
        Ok(Identity { disk: Some(disk), .. }) => return Ok(disk),
        Ok(_) => return Err(IdentityError::Foreign { path: dir.join(NAME), cluster, node }),
        Err(error) => return Err(error),
    }
    let disk = draw()?;
    let founders = founders.to_vec();
    write(dir, &Identity { version: VERSION, cluster, node, disk: Some(disk), begun: false, founders })?;
    Ok(disk)
}

/// Replaces a small file as a whole; on return it survives a power cut.
fn replace(dir: &Path, name: &str, text: &str) -> Result<(), IdentityError> {
    let path = dir.join(name);
    let write = || {
        fs::create_dir_all(dir)?;
        let temporary = dir.join(format!("{name}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        // The rename itself must survive a power cut before anything is stored next to it.
        File::open(dir)?.sync_all()
    };
    write().map_err(|source| IdentityError::Io { path: path.clone(), source })
}

fn write(dir: &Path, identity: &Identity) -> Result<(), IdentityError> {
    let text = toml::to_string(identity)
        .map_err(|error| IdentityError::Unreadable { path: dir.join(NAME), reason: error.to_string() })?;
    replace(dir, NAME, &text)
}

/// Checks that `dir` is the directory of member `node` of `cluster`.
pub(crate) fn check(dir: &Path, cluster: ClusterId, node: u64) -> Result<Identity, IdentityError> {
    let path = dir.join(NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(IdentityError::Missing { path }),
        Err(source) => return Err(IdentityError::Io { path, source }),
    };
    let identity: Identity = toml::from_str(&text)
        .map_err(|error| IdentityError::Unreadable { path: path.clone(), reason: error.to_string() })?;
    if !(1..=VERSION).contains(&identity.version) {
        return Err(IdentityError::Version { path, version: identity.version });
    }
    if (identity.cluster, identity.node) != (cluster, node) {
        return Err(IdentityError::Foreign { path, cluster: identity.cluster, node: identity.node });
    }
    Ok(identity)
}

/// What [`check`] does, and whether the directory may take part (invariants 3 and 4). Before store and log are opened.
pub(crate) fn admit(dir: &Path, cluster: ClusterId, node: u64) -> Result<Identity, IdentityError> {
    let identity = check(dir, cluster, node)?;
    let quarantined = |reason: String| IdentityError::Quarantined { dir: dir.to_owned(), reason };
    let noted = dir.join(QUARANTINE);
    match fs::read_to_string(&noted) {
        Ok(reason) => return Err(quarantined(reason.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(source) => return Err(IdentityError::Io { path: noted, source }),
    }
    let lost = |name: &&str| !dir.join(name).exists();
    // A state that is being replaced by a snapshot is not in its place for a moment.
    let installing = dir.join("state-install").exists();
    match ["log/watermark", "state/CURRENT"].iter().find(|name| lost(name)) {
        Some(name) if identity.begun && !(installing && name.starts_with("state")) => {
            Err(quarantined(format!("it has taken part in the cluster, and {name} is gone")))
        }
        _ => Ok(identity),
    }
}

/// Notes that the directory takes part from now on (invariant 3). Its log and state are there, maybe empty.
pub(crate) fn begin(dir: &Path, identity: &Identity) -> Result<(), IdentityError> {
    if identity.begun || identity.disk.is_none() {
        return Ok(());
    }
    for made in ["log", "state"] {
        let path = dir.join(made);
        // The names in there must not be lost in a power cut that keeps the note.
        let synced = File::open(&path).and_then(|made| made.sync_all());
        synced.map_err(|source| IdentityError::Io { path, source })?;
    }
    write(dir, &Identity { begun: true, ..identity.clone() })
}

/// Notes that the directory must not take part any more (invariant 4).
pub(crate) fn quarantine(dir: &Path, reason: &str) -> Result<(), IdentityError> {
    replace(dir, QUARANTINE, reason)
}

#[cfg(test)]
mod tests;
