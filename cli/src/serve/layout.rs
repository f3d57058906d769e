//! A cluster in one directory: configuration files, one directory for each node, logs.
//!
//! ```text
//! D/client.toml        for clients; the last file to be written: without it, D holds no cluster
//! D/node-nn1.toml ..   for each namenode     D/nn1/ ..  its log and state
//! D/node-dn1.toml ..   for each datanode     D/dn1/ ..  its volume
//! D/node-s3.toml       for an S3 gateway, and what belongs to it (see `s3.rs`)
//! D/logs/              of quickstart
//! D/lock               held by the process that uses D
//! ```

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::builder::TypedValueParser;
use rustix::fs::{FlockOperation, flock};
use types::ClusterId;

use super::ports::Addresses;
use crate::config;
use crate::exit::Failure;

/// A cluster keeps three copies of a block, or one on each datanode if there are fewer.
const REPLICATION: usize = 3;
/// There while the cluster is being made for the first time: what is in the directory was never used.
const UNFINISHED: &str = ".unfinished";

/// How many namenodes a cluster may have, for the command line.
pub(crate) fn namenode_count() -> impl TypedValueParser<Value = usize> {
    clap::builder::PossibleValuesParser::new(["1", "3", "5"])
        .map(|text| text.parse().expect("the possible values are numbers"))
}

/// How many datanodes a cluster in one directory may have, for the command line.
pub(crate) fn datanode_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=99) => Ok(count),
        _ => Err("write a number from 1 to 99".to_owned()),
    }
}

pub(crate) fn client_file(dir: &Path) -> PathBuf {
    dir.join("client.toml")
}

pub(crate) fn node_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("node-{name}.toml"))
}

/// Makes the directory if need be; its absolute path.
pub(crate) fn make(dir: &Path) -> Result<PathBuf, Failure> {
    fs::create_dir_all(dir).and_then(|()| dir.canonicalize()).map_err(|error| Failure::local(dir, &error))
}

/// Takes the directory for this process, as long as the file lives.
pub(crate) fn lock(dir: &Path) -> Result<File, Failure> {
    let path = dir.join("lock");
    let failed = |error: std::io::Error| Failure::local(&path, &error);
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut owner = String::new();
            let owner = match file.read_to_string(&mut owner) {
                Ok(1..) => format!(" (process {})", owner.trim()),
                _ => String::new(),
            };
            return Err(Failure::Failed(format!(
                "{}: another ashlar{owner} uses this directory; stop it first, or choose another directory",
                dir.display()
            )));
        }
        Err(errno) => return Err(failed(errno.into())),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(file)
}

/// What makes the cluster in a directory this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) cluster: ClusterId,
    pub(crate) namenodes: Vec<SocketAddr>,
    pub(crate) datanodes: Vec<SocketAddr>,
    /// The HTTP doors of the namenodes, then of the datanodes. A cluster that an older program made has none.
    pub(crate) http: Vec<Option<SocketAddr>>,
}

impl Layout {
    /// A new cluster at these addresses.
    pub(crate) fn draw(addresses: Addresses) -> Result<Self, Failure> {
        let Addresses { namenodes, datanodes, http } = addresses;
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| Failure::Failed(format!("no source of randomness: {error}")))?;
        let http = http.into_iter().map(Some).collect();
        Ok(Self { cluster: ClusterId::from_bytes(id), namenodes, datanodes, http })
    }

    pub(crate) fn namenode_names(&self) -> Vec<String> {
        (1..=self.namenodes.len()).map(|at| format!("nn{at}")).collect()
    }

    pub(crate) fn datanode_names(&self) -> Vec<String> {
        (1..=self.datanodes.len()).map(|at| format!("dn{at}")).collect()
    }

    /// The copies of a block that this cluster keeps.
    pub(crate) fn replication(&self) -> usize {
        REPLICATION.min(self.datanodes.len())
    }

    /// Whether the directory holds a cluster. One that was never finished is cleared away; anything else that is in the
    /// way is an error, so that nobody's data is taken for ours.
    pub(crate) fn exists(dir: &Path) -> Result<bool, Failure> {
        let unfinished = dir.join(UNFINISHED);
        if unfinished.exists() {
            clear(dir).map_err(|error| Failure::local(dir, &error))?;
            return Ok(false);
        }
        if client_file(dir).exists() {
            return Ok(true);
        }
        match ours(dir).map_err(|error| Failure::local(dir, &error))?.first() {
            None => Ok(false),
            Some(found) => Err(Failure::Failed(format!(
                "{}: is in the way of a new cluster, and {} is missing, without which it is not known whose it is; \
                 bring that file back, or choose another directory",
                found.display(),
                client_file(dir).display()
            ))),
        }
    }

    /// Writes the files and formats the directories of a new cluster.
    pub(crate) fn create(&self, dir: &Path) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::local(dir, &error);
        let unfinished = dir.join(UNFINISHED);
        File::create(&unfinished).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::create_dir_all(dir.join("logs")).map_err(failed)?;
        let homes: Vec<PathBuf> = self.namenode_names().iter().map(|name| dir.join(name)).collect();
        namenode::found(&homes, self.cluster).map_err(|error| Failure::Failed(error.to_string()))?;
        for name in self.datanode_names() {
            let home = dir.join(name);
            datanode::format(&home, self.cluster).map_err(|error| Failure::Failed(error.to_string()))?;
        }
        super::s3::make_sealing_key(dir)?;
        for (path, text) in self.files(dir) {
            write(&path, &text).map_err(|error| Failure::local(&path, &error))?;
        }
        // The files must survive a power cut before the mark goes, and the mark must not come back once there is data.
        let sync = || File::open(dir).and_then(|dir| dir.sync_all());
        sync().and_then(|()| fs::remove_file(&unfinished)).and_then(|()| sync()).map_err(failed)
    }

    /// Every configuration file, the client's last.
    fn files(&self, dir: &Path) -> Vec<(PathBuf, String)> {
        let mut files = Vec::new();
        for (name, node) in self.namenode_names().iter().zip(1..) {
            let mut text = self.head(&format!("Namenode {name}. Run it: ashlar namenode -c node-{name}.toml"));
            let replication = self.replication();
            let section = format!("\n[namenode]\nnode = {node}\ndir = \"{name}\"\nreplication = {replication}\n");
            text.push_str(&section);
            text.push_str(&self.http_section(node - 1, "secrets_key = \"secrets.key\"\n"));
            files.push((node_file(dir, name), text));
        }
        for (at, (name, listen)) in self.datanode_names().iter().zip(&self.datanodes).enumerate() {
            let mut text = self.head(&format!("Datanode {name}. Run it: ashlar datanode -c node-{name}.toml"));
            let section = format!("\n[datanode]\nhost = \"{name}\"\nlisten = \"{listen}\"\nvolumes = [\"{name}\"]\n");
            text.push_str(&section);
            text.push_str(&self.http_section(self.namenodes.len() + at, ""));
            files.push((node_file(dir, name), text));
        }
        let text = self.head("For clients: ashlar fs --config client.toml ls /, or ASHLAR_CONFIG=client.toml");
        files.push((client_file(dir), text));
        files
    }

    /// What the file of a node says of its HTTP door, if it has one.
    pub(super) fn http_section(&self, at: usize, rest: &str) -> String {
        let listen = self.http.get(at).copied().flatten();
        listen.map_or_else(String::new, |listen| format!("\n[http]\nlisten = \"{listen}\"\n{rest}"))
    }

    pub(crate) fn head(&self, what: &str) -> String {
        let mut text = format!("# {what}\n# Relative paths are seen from the directory of this file.\n");
        let quoted: Vec<_> = self.namenodes.iter().map(|address| format!("\"{address}\"")).collect();
        write!(text, "cluster = \"{}\"\nnamenodes = [{}]\n", self.cluster, quoted.join(", "))
            .expect("a String takes everything");
        text
    }

    /// Reads what is in the directory.
    pub(crate) fn load(dir: &Path) -> Result<Self, Failure> {
        let path = client_file(dir);
        let client = config::load_as_written(&path)?;
        let (cluster, texts) = client.membership(&path)?;
        let namenodes = super::addresses(&path, &texts)?;
        let mut http = Vec::new();
        for number in 1..=namenodes.len() {
            let path = node_file(dir, &format!("nn{number}"));
            http.push(config::load_as_written(&path)?.http.listen);
        }
        let mut datanodes = Vec::new();
        for number in 1.. {
            let path = node_file(dir, &format!("dn{number}"));
            if !path.exists() {
                break;
            }
            let file = config::load_as_written(&path)?;
            let Some(settings) = &file.datanode else { return Err(file.other_role(&path, "datanode").into()) };
            datanodes.push(settings.listen);
            http.push(file.http.listen);
        }
        Ok(Self { cluster, namenodes, datanodes, http })
    }

    /// Gives the cluster other addresses, in all files; whatever else people wrote there stays.
    pub(crate) fn move_to(&mut self, dir: &Path, addresses: Addresses) -> Result<(), Failure> {
        let Addresses { namenodes, datanodes, http } = addresses;
        // Who has no HTTP door gets none.
        let http: Vec<_> = self.http.iter().zip(http).map(|(old, new)| old.map(|_| new)).collect();
        let quoted = |address: &SocketAddr| format!("\"{address}\"");
        let old = self.namenodes.iter().chain(&self.datanodes).chain(self.http.iter().flatten()).map(quoted);
        let new = namenodes.iter().chain(&datanodes).chain(http.iter().flatten()).map(quoted);
        let moves: Vec<(String, String)> = old.zip(new).collect();
        let gateway = super::s3::node_file(dir);
        let gateway = gateway.exists().then_some(gateway);
        for path in self.files(dir).into_iter().map(|(path, _)| path).chain(gateway) {
            let moved = fs::read_to_string(&path).and_then(|text| write(&path, &replace_all(&text, &moves)));
            moved.map_err(|error| Failure::local(&path, &error))?;
        }
        (self.namenodes, self.datanodes, self.http) = (namenodes, datanodes, http);
        Ok(())
    }
}

/// Replaces each left text by its right one, in one pass: what was put in is not replaced again.
fn replace_all(text: &str, moves: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        match moves.iter().find(|(old, _)| rest.starts_with(old.as_str())) {
            Some((old, new)) => {
                out.push_str(new);
                rest = &rest[old.len()..];
            }
            None => {
                let letter = rest.chars().next().expect("the rest is not empty");
                out.push(letter);
                rest = &rest[letter.len_utf8()..];
            }
        }
    }
    out
}

/// Replaces a file as a whole.
pub(super) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("toml.new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// Whatever in the directory has one of our names.
fn ours(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let numbered = |name: &str, prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if ["nn", "dn", "node-nn", "node-dn"].iter().any(|prefix| numbered(&name, prefix)) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Removes what an interrupted creation left. The mark goes last.
fn clear(dir: &Path) -> std::io::Result<()> {
    for path in ours(dir)? {
        if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    match fs::remove_file(client_file(dir)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::remove_file(dir.join(UNFINISHED))
}

#[cfg(test)]
mod tests;
