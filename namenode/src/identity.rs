//! The identity of a namenode's directory: a small file that says whose state it holds. A directory without it, or with
//! that of another, is refused, so that an empty mount point or a mixed-up path never becomes an empty cluster.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use types::ClusterId;

const NAME: &str = "identity.toml";
const VERSION: u32 = 1;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    version: u32,
    cluster: ClusterId,
    node: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{path} is missing: format the directory first, or check that its disk is mounted")]
    Missing { path: PathBuf },
    #[error("{path} cannot be read as an identity: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("{path} has version {version}; this program knows version {VERSION}")]
    Version { path: PathBuf, version: u32 },
    #[error("{path} belongs to node {node} of cluster {cluster}")]
    Foreign { path: PathBuf, cluster: ClusterId, node: u64 },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
}

/// Makes `dir` the directory of member `node` of `cluster`. Harmless when it is that already; refused when it is
/// another's.
pub fn format(dir: &Path, cluster: ClusterId, node: u64) -> Result<(), IdentityError> {
    let path = dir.join(NAME);
    match check(dir, cluster, node) {
        Err(IdentityError::Missing { .. }) => {}
        known => return known,
    }
    let text = toml::to_string(&Identity { version: VERSION, cluster, node })
        .map_err(|error| IdentityError::Unreadable { path: path.clone(), reason: error.to_string() })?;
    let write = || {
        fs::create_dir_all(dir)?;
        let temporary = dir.join("identity.toml.new");
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        // The rename itself must survive a power cut before anything is stored next to it.
        File::open(dir)?.sync_all()
    };
    write().map_err(|source| IdentityError::Io { path: path.clone(), source })
}

/// Checks that `dir` is the directory of member `node` of `cluster`.
pub(crate) fn check(dir: &Path, cluster: ClusterId, node: u64) -> Result<(), IdentityError> {
    let path = dir.join(NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(IdentityError::Missing { path }),
        Err(source) => return Err(IdentityError::Io { path, source }),
    };
    let identity: Identity = toml::from_str(&text)
        .map_err(|error| IdentityError::Unreadable { path: path.clone(), reason: error.to_string() })?;
    if identity.version != VERSION {
        return Err(IdentityError::Version { path, version: identity.version });
    }
    if (identity.cluster, identity.node) != (cluster, node) {
        return Err(IdentityError::Foreign { path, cluster: identity.cluster, node: identity.node });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_foreign_identity_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (ours, theirs) = (ClusterId::from_bytes([1; 16]), ClusterId::from_bytes([2; 16]));
        assert!(matches!(check(dir.path(), ours, 1), Err(IdentityError::Missing { .. })));
        format(dir.path(), ours, 1).expect("an empty directory");
        format(dir.path(), ours, 1).expect("the same again");
        check(dir.path(), ours, 1).expect("ours");
        assert!(matches!(check(dir.path(), theirs, 1), Err(IdentityError::Foreign { .. })));
        assert!(matches!(format(dir.path(), ours, 2), Err(IdentityError::Foreign { .. })));
        fs::write(dir.path().join(NAME), "version = 9").expect("writable");
        assert!(matches!(check(dir.path(), ours, 1), Err(IdentityError::Unreadable { .. })));
    }
}
