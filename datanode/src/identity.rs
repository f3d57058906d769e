//! Which volume a directory is. A directory without an identity, or with another cluster's, is never written to: it may
//! be the empty mount point of a disk that is not there.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use types::{ClusterId, NodeId, StorageId};

use crate::replica::{FINAL, WRITING};
use crate::store::Usage;

const VOLUME_FILE: &str = "volume.toml";
const NODE_FILE: &str = "node.toml";
const USAGE_FILE: &str = "usage.toml";
const FORMAT: u32 = 1;
/// These files are a few lines long.
const MAX_FILE: u64 = 64 << 10;

/// Why a directory is not used as a volume.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(
        "{} has no {VOLUME_FILE}: it was never formatted, or its disk is not mounted; format it only if it is to be a new, empty volume",
        .path.display()
    )]
    Missing { path: PathBuf },
    #[error("{} belongs to cluster {found}, not to {expected}", .path.display())]
    OtherCluster { path: PathBuf, found: ClusterId, expected: ClusterId },
    #[error("{} has format {found}; this software reads {FORMAT}", .path.display())]
    Format { path: PathBuf, found: u32 },
    #[error("{} cannot be read: {reason}", .path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{} is a volume already, of cluster {cluster}", .path.display())]
    Formatted { path: PathBuf, cluster: ClusterId },
    #[error("{} is in use by another process", .path.display())]
    InUse { path: PathBuf },
    #[error("{} belongs to {found}, and another volume of this configuration to {expected}", .path.display())]
    OtherNode { path: PathBuf, found: NodeId, expected: NodeId },
    #[error("{} is given twice, or is a copy of another volume: both have storage id {storage}", .path.display())]
    Twice { path: PathBuf, storage: StorageId },
    #[error("{}: {reason}", .path.display())]
    Io { path: PathBuf, reason: io::Error },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VolumeFile {
    format: u32,
    cluster: ClusterId,
    storage: StorageId,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    node: NodeId,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageFile {
    replicas: u64,
    bytes: u64,
}

/// A volume's identity, and the lock that keeps other processes off it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) storage: StorageId,
    /// The node that it was registered under, if any.
    pub(crate) node: Option<NodeId>,
    _lock: File,
}

/// Makes a directory (which is made, too, if need be) a volume of a cluster, with a storage id of its own.
pub fn format(volume: &Path, cluster: ClusterId) -> Result<StorageId, IdentityError> {
    let io = |reason| IdentityError::Io { path: volume.to_owned(), reason };
    fs::create_dir_all(volume).map_err(io)?;
    match read_volume(volume) {
        Err(IdentityError::Missing { .. }) => {}
        Ok(found) => return Err(IdentityError::Formatted { path: volume.to_owned(), cluster: found.cluster }),
        Err(error) => return Err(error),
    }
    for directory in [WRITING, FINAL] {
        fs::create_dir_all(volume.join(directory)).map_err(io)?;
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| io(io::Error::other(error)))?;
    let storage = StorageId::from_bytes(bytes);
    let file = VolumeFile { format: FORMAT, cluster, storage };
    // Last, so that a volume with an identity is a whole one.
    replace(volume, VOLUME_FILE, &file).map_err(io)?;
    Ok(storage)
}

impl Identity {
    /// Opens a volume of `cluster` and locks it.
    pub(crate) fn open(volume: &Path, cluster: ClusterId) -> Result<Self, IdentityError> {
        let found = read_volume(volume)?;
        if found.cluster != cluster {
            let path = volume.to_owned();
            return Err(IdentityError::OtherCluster { path, found: found.cluster, expected: cluster });
        }
        let io = |reason| IdentityError::Io { path: volume.to_owned(), reason };
        let lock = File::open(volume.join(VOLUME_FILE)).map_err(io)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            rustix::io::Errno::WOULDBLOCK => IdentityError::InUse { path: volume.to_owned() },
            _ => io(errno.into()),
        })?;
        let node = read::<NodeFile>(volume, NODE_FILE)?.map(|file| file.node);
        Ok(Self { storage: found.storage, node, _lock: lock })
    }
}

/// Whether the volume is still there, and still the one that was opened.
pub(crate) fn is_present(volume: &Path, storage: StorageId) -> Result<(), IdentityError> {
    let found = read_volume(volume)?.storage;
    if found == storage {
        Ok(())
    } else {
        Err(IdentityError::Unreadable { path: volume.to_owned(), reason: format!("it is now storage {found}") })
    }
}

/// Notes the node that the volume is registered under.
pub(crate) fn record_node(volume: &Path, node: NodeId) -> io::Result<()> {
    replace(volume, NODE_FILE, &NodeFile { node })
}

/// Notes what a volume holds.
pub(crate) fn record_usage(volume: &Path, Usage { replicas, bytes }: Usage) -> io::Result<()> {
    replace(volume, USAGE_FILE, &UsageFile { replicas, bytes })
}

/// When the volume was formatted: nothing on it is older.
pub(crate) fn formatted_at(volume: &Path) -> io::Result<std::time::SystemTime> {
    fs::metadata(volume.join(VOLUME_FILE))?.modified()
}

/// What was noted last. It tells people how full the volume is until that is counted, and nothing relies on it.
pub(crate) fn recall_usage(volume: &Path) -> Result<Option<Usage>, IdentityError> {
    let found = read::<UsageFile>(volume, USAGE_FILE)?;
    Ok(found.map(|UsageFile { replicas, bytes }| Usage { replicas, bytes }))
}

fn read_volume(volume: &Path) -> Result<VolumeFile, IdentityError> {
    let found: VolumeFile =
        read(volume, VOLUME_FILE)?.ok_or_else(|| IdentityError::Missing { path: volume.to_owned() })?;
    if found.format == FORMAT {
        Ok(found)
    } else {
        Err(IdentityError::Format { path: volume.to_owned(), found: found.format })
    }
}

fn read<T: serde::de::DeserializeOwned>(volume: &Path, name: &str) -> Result<Option<T>, IdentityError> {
    let path = volume.join(name);
    let unreadable = |reason: String| IdentityError::Unreadable { path: path.clone(), reason };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    toml::from_str(&text).map(Some).map_err(|error| unreadable(error.message().to_owned()))
}

fn replace(volume: &Path, name: &str, content: &impl Serialize) -> io::Result<()> {
    let text = toml::to_string(content).map_err(io::Error::other)?;
    replace_file(volume, name, text.as_bytes())
}

/// The new file or the old one, also after a power cut.
pub(crate) fn replace_file(volume: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = volume.join(format!("{name}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, volume.join(name))?;
    File::open(volume)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: ClusterId = ClusterId::from_bytes([1; 16]);

    #[test]
    fn an_empty_directory_is_refused_until_it_is_formatted() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(matches!(Identity::open(directory.path(), OURS), Err(IdentityError::Missing { .. })));
        let storage = format(directory.path(), OURS).expect("formats");
        assert!(matches!(format(directory.path(), OURS), Err(IdentityError::Formatted { .. })));
        let identity = Identity::open(directory.path(), OURS).expect("opens");
        assert_eq!((identity.storage, identity.node), (storage, None));
        assert!(matches!(Identity::open(directory.path(), OURS), Err(IdentityError::InUse { .. })));
        drop(identity);
        record_node(directory.path(), NodeId::new(5)).expect("writes");
        assert_eq!(Identity::open(directory.path(), OURS).expect("opens").node, Some(NodeId::new(5)));
        let other = ClusterId::from_bytes([2; 16]);
        assert!(matches!(Identity::open(directory.path(), other), Err(IdentityError::OtherCluster { .. })));
    }

    #[test]
    fn rubbish_and_a_vanished_disk_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let storage = format(directory.path(), OURS).expect("formats");
        assert!(is_present(directory.path(), storage).is_ok());
        assert!(is_present(directory.path(), StorageId::from_bytes([9; 16])).is_err());
        let file = directory.path().join(VOLUME_FILE);
        for rubbish in [&b"\xff\xfe"[..], b"format = 1", b"", b"format = 9\ncluster = 7"] {
            fs::write(&file, rubbish).expect("writes");
            assert!(matches!(Identity::open(directory.path(), OURS), Err(IdentityError::Unreadable { .. })));
        }
        fs::remove_file(&file).expect("removes");
        assert!(matches!(is_present(directory.path(), storage), Err(IdentityError::Missing { .. })));
    }
}
