//! The configuration of a node or a client: a TOML file, the environment over it, flags over both.
//!
//! A file serves one process; it holds `cluster` and `namenodes`, and a section for each part that reads it. A key that
//! nobody knows is an error, never ignored.

mod environment;
mod explain;
mod tree;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use types::ClusterId;

pub(crate) use explain::{Explained, explain};
pub(crate) use tree::{Node, Origin};

/// A configuration that cannot be used: which value, where it stands, and why.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    pub(crate) origin: Origin,
    pub(crate) key: Vec<String>,
    pub(crate) what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key.join("."))?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Problem {}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{}: no such file; `ashlar init` and `ashlar quickstart` write one", .0.display())]
    Missing(PathBuf),
    #[error("{}: cannot be read: {reason}", .path.display())]
    Unreadable { path: PathBuf, reason: std::io::Error },
    #[error(transparent)]
    Wrong(#[from] Problem),
    #[error("{}: has no [{section}] section: it is not the file of a {section}{}", .path.display(), .is.map(|is| format!(" but of a {is}")).unwrap_or_default())]
    OtherRole { path: PathBuf, section: &'static str, is: Option<&'static str> },
    #[error("{}: namenodes: {text:?} is not an address; write IP:PORT, such as 127.0.0.1:8020", .path.display())]
    Address { path: PathBuf, text: String },
    #[error("{}: {key:?} is missing; write {example}", .path.display())]
    Needed { path: PathBuf, key: &'static str, example: &'static str },
}

/// Sections of servers, which a file has or not.
const OF_SERVERS: [&str; 4] = ["namenode", "datanode", "s3", "http"];

/// Everything that a file may say. Sections of roles stay unread until a role asks for its own.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) namenodes: Vec<String>,
    pub(crate) namenode: Option<namenode::Settings>,
    pub(crate) datanode: Option<datanode::Settings>,
    pub(crate) s3: Option<s3_gateway::Settings>,
    pub(crate) http: web::Settings,
    pub(crate) client: client::Config,
    pub(crate) log: Log,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// What is logged, in the syntax of `RUST_LOG`: a level, or levels by module.
    pub(crate) level: Option<String>,
    pub(crate) format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people on a terminal, JSON otherwise
    #[default]
    Auto,
    /// For people
    Human,
    /// One JSON object a line
    Json,
}

/// `--set SECTION.KEY=VALUE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    keys: Vec<String>,
    value: String,
}

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write SECTION.KEY=VALUE, such as datanode.rack=r1".to_owned();
        let (keys, value) = text.split_once('=').ok_or_else(wrong)?;
        let keys: Vec<_> = keys.split('.').map(|key| key.trim().to_owned()).collect();
        match keys.iter().any(String::is_empty) {
            true => Err(wrong()),
            false => Ok(Self { keys, value: value.to_owned() }),
        }
    }
}

/// Reads a file, and what the environment and the flags put over it.
pub(crate) fn load(path: &Path, flags: &[Setting]) -> Result<File, ConfigError> {
    load_with(path, environment::variables(std::env::vars_os()), flags)
}

/// Reads a file as it is, whatever the environment says.
pub(crate) fn load_as_written(path: &Path) -> Result<File, ConfigError> {
    load_with(path, Vec::new(), &[])
}

fn load_with(path: &Path, variables: Vec<environment::Variable>, flags: &[Setting]) -> Result<File, ConfigError> {
    Ok(read_tree(&load_tree(path, variables, flags)?, path)?)
}

/// A file with what was put over it.
fn load_tree(path: &Path, variables: Vec<environment::Variable>, flags: &[Setting]) -> Result<Node, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|reason| match reason.kind() {
        std::io::ErrorKind::NotFound => ConfigError::Missing(path.to_owned()),
        _ => ConfigError::Unreadable { path: path.to_owned(), reason },
    })?;
    Ok(tree_of(&text, path, variables, flags)?)
}

fn tree_of(text: &str, path: &Path, variables: Vec<environment::Variable>, flags: &[Setting]) -> Result<Node, Problem> {
    let mut tree = Node::parse(text, path)?;
    for variable in variables {
        // The environment is shared by all roles of a machine: a file without the section is none of its business.
        if !OF_SERVERS.contains(&variable.keys[0].as_str()) || tree.has(&variable.keys[0]) {
            tree.set(&variable.keys, variable.value, Origin::Environment(variable.name));
        }
    }
    for Setting { keys, value } in flags {
        tree.set(keys, value.clone(), Origin::Flag(format!("--set {}", keys.join("."))));
    }
    Ok(tree)
}

#[cfg(test)]
fn read(text: &str, path: &Path, variables: Vec<environment::Variable>, flags: &[Setting]) -> Result<File, Problem> {
    read_tree(&tree_of(text, path, variables, flags)?, path)
}

fn read_tree(tree: &Node, path: &Path) -> Result<File, Problem> {
    let mut file: File = tree.read()?;
    let base = path.parent().unwrap_or(Path::new(""));
    if let Some(settings) = &mut file.namenode {
        settings.dir = base.join(&settings.dir);
        settings.audit_log = settings.audit_log.take().map(|path| base.join(path));
    }
    file.http.secrets_key = file.http.secrets_key.take().map(|path| base.join(path));
    if let Some(settings) = &mut file.s3 {
        settings.secrets_key = base.join(&settings.secrets_key);
        settings.access_log = settings.access_log.take().map(|path| base.join(path));
        if let Some(tls) = &mut settings.tls {
            tls.certificate = base.join(&tls.certificate);
            tls.key = base.join(&tls.key);
        }
    }
    if let Some(settings) = &mut file.datanode {
        for volume in &mut settings.volumes {
            *volume = base.join(&*volume);
        }
    }
    Ok(file)
}

impl File {
    /// The cluster's id and the addresses, which every server needs.
    pub(crate) fn membership(&self, path: &Path) -> Result<(ClusterId, Vec<String>), ConfigError> {
        let needed = |key, example| ConfigError::Needed { path: path.to_owned(), key, example };
        let cluster = self.cluster.ok_or_else(|| {
            needed("cluster", "the id that `ashlar init` drew: cluster = \"<32 hexadecimal digits>\"")
        })?;
        if self.namenodes.is_empty() {
            return Err(needed("namenodes", "the addresses of all namenodes: namenodes = [\"127.0.0.1:8020\"]"));
        }
        Ok((cluster, self.namenodes.clone()))
    }

    /// What is wrong with the values together, if anything is, as the server would find out.
    pub(crate) fn check(&self, path: &Path) -> Result<(), String> {
        let text = |error: ConfigError| error.to_string();
        let membership = || -> Result<_, String> {
            let (cluster, texts) = self.membership(path).map_err(text)?;
            let namenodes: Result<Vec<SocketAddr>, _> = texts.iter().map(|address| address.parse()).collect();
            Ok((cluster, namenodes.map_err(|_| "an address of a namenode is not IP:PORT".to_owned())?))
        };
        if let Some(settings) = self.namenode.clone() {
            let (cluster, namenodes) = membership()?;
            namenode::Config { cluster, namenodes, settings }.check()?;
        }
        if let Some(settings) = self.datanode.clone() {
            let (cluster, namenodes) = membership()?;
            datanode::Config { cluster, namenodes, settings }.check()?;
        }
        self.http.check()?;
        Ok(())
    }

    /// What the file is for, to tell a mix-up.
    fn role(&self) -> Option<&'static str> {
        match (&self.namenode, &self.datanode, &self.s3) {
            (Some(_), None, None) => Some("namenode"),
            (None, Some(_), None) => Some("datanode"),
            (None, None, Some(_)) => Some("s3 gateway"),
            (None, None, None) => Some("client"),
            (_, _, _) => None,
        }
    }

    pub(crate) fn other_role(&self, path: &Path, section: &'static str) -> ConfigError {
        ConfigError::OtherRole { path: path.to_owned(), section, is: self.role() }
    }
}

#[cfg(test)]
mod tests;
