//! What lies on the disks of the datanodes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use integration_tests::Cluster;
use integration_tests::thrasher::{DATANODES, Dice, Replica, Replicas};

/// Where a header says how long the replica is.
const LENGTH_AT: u64 = 72;
/// The end of what counts in a header.
const HEADER: u64 = 80;
const TABLE_AT: u64 = 4096;
const CHUNK: u64 = 4096;

#[derive(Debug, Default)]
pub(crate) struct OnDisk {
    pub(crate) complete: Replicas,
    /// In `writing/`.
    pub(crate) unfinished: Vec<PathBuf>,
}

pub(crate) fn name(datanode: usize) -> String {
    format!("dn{}", datanode + 1)
}

/// Looks at all disks; files may come and go meanwhile.
pub(crate) fn look(cluster: &Cluster) -> Result<OnDisk> {
    let mut found = OnDisk::default();
    for datanode in 0..DATANODES {
        let root = cluster.root().join(name(datanode));
        walk(&root.join("final"), &mut |path| {
            let replica = path.file_name().and_then(|name| Replica::named(name.to_str()?, datanode));
            if let Some(replica) = replica {
                found.complete.insert(replica, path);
            }
        })?;
        walk(&root.join("writing"), &mut |path| found.unfinished.push(path))?;
    }
    Ok(found)
}

fn walk(directory: &Path, each: &mut impl FnMut(PathBuf)) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| directory.display().to_string())?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() { walk(&entry.path(), each)? } else { each(entry.path()) }
    }
    Ok(())
}

/// Flips a bit that counts: in the header, in the table or in the data. False: the file is gone already.
pub(crate) fn flip(path: &Path, dice: &mut Dice) -> Result<bool> {
    let file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let mut length = [0; 8];
    file.read_exact_at(&mut length, LENGTH_AT)?;
    let (length, size) = (u64::from_le_bytes(length), file.metadata()?.len());
    let place = match dice.roll(3) {
        _ if length == 0 => dice.roll(HEADER),
        0 => dice.roll(HEADER),
        1 => TABLE_AT + dice.roll(4 * length.div_ceil(CHUNK)),
        _ => size - length + dice.roll(length),
    };
    let mut byte = [0];
    file.read_exact_at(&mut byte, place)?;
    file.write_all_at(&[byte[0] ^ (1 << dice.roll(8))], place)?;
    Ok(true)
}
