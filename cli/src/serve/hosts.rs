//! `ashlar init --namenode-at .. --datanode-at ..`: a cluster on several hosts. Each gets a directory that is brought there as a
//! whole, with its configuration, its identity and the directories of its node.
//!
//! ```text
//! D/nn1/node-nn1.toml, client.toml, nn1/    D/dn1/node-dn1.toml, client.toml, dn1/
//! D/client.toml                             the last file to be written
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::layout::{self, Layout};
use super::ports::Addresses;
use super::s3;
use crate::exit::Failure;
use crate::output::Output;

/// The well-known ports, where none is named: each host has its own.
const NAMENODE: u16 = 8020;
const DATANODE: u16 = 9866;
/// How far the ports of the HTTP doors are from these, on the same host.
const NAMENODE_DOOR: i16 = 10;
const DATANODE_DOOR: i16 = -100;

fn door(node: SocketAddr, away: i16) -> SocketAddr {
    SocketAddr::from((node.ip(), node.port().wrapping_add_signed(away)))
}

/// `[NAME=]IP[:PORT][,RACK]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    name: Option<String>,
    ip: std::net::IpAddr,
    port: Option<u16>,
    rack: Option<String>,
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) => (Some(name.to_owned()), rest),
            None => (None, text),
        };
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
        if name.as_ref().is_some_and(|name| name.is_empty() || !name.chars().all(plain) || name.starts_with('.')) {
            return Err(format!("{text:?}: a host's name has letters, digits, and - . _"));
        }
        let (address, rack) = match rest.split_once(',') {
            Some((address, rack)) => (address, Some(rack.to_owned())),
            None => (rest, None),
        };
        // The file quotes it as it is.
        let is_rack = |rack: &str| rack.starts_with('/') && rack.chars().all(|letter| plain(letter) || letter == '/');
        if rack.as_ref().is_some_and(|rack| !is_rack(rack)) {
            return Err(format!("{text:?}: a rack is such as /room1/rack7"));
        }
        let wrong = || format!("{text:?} is not [NAME=]IP[:PORT][,RACK], such as dn1=127.0.2.1,/rack1");
        let (ip, port) = match (address.parse::<SocketAddr>(), address.parse()) {
            (Ok(address), _) => (address.ip(), Some(address.port())),
            (Err(_), Ok(ip)) => (ip, None),
            (Err(_), Err(_)) => return Err(wrong()),
        };
        if !ip.is_loopback() {
            return Err(format!("{ip} is not a loopback address, and TLS is not supported yet"));
        }
        Ok(Self { name, ip, port, rack })
    }
}

/// The hosts of a cluster, with a name each.
#[derive(Debug)]
struct Plan {
    layout: Layout,
    namenodes: Vec<String>,
    datanodes: Vec<(String, Option<String>)>,
}

impl Plan {
    fn of(namenodes: &[Host], datanodes: &[Host]) -> Result<Self, Failure> {
        if ![1, 3, 5].contains(&namenodes.len()) {
            return Err(Failure::Usage(format!("{} namenodes: a cluster has 1, 3 or 5 of them", namenodes.len())));
        }
        let address = |host: &Host, port: u16| SocketAddr::from((host.ip, host.port.unwrap_or(port)));
        let addresses = |hosts: &[Host], port| hosts.iter().map(|host| address(host, port)).collect::<Vec<_>>();
        let (namenodes_at, datanodes_at) = (addresses(namenodes, NAMENODE), addresses(datanodes, DATANODE));
        let http = namenodes_at.iter().map(|at| door(*at, NAMENODE_DOOR)).collect::<Vec<_>>();
        let http = http.into_iter().chain(datanodes_at.iter().map(|at| door(*at, DATANODE_DOOR))).collect();
        let layout = Layout::draw(Addresses { namenodes: namenodes_at, datanodes: datanodes_at, http })?;
        let name = |host: &Host, prefix: &str, at: usize| host.name.clone().unwrap_or(format!("{prefix}{}", at + 1));
        let plan = Self {
            layout,
            namenodes: namenodes.iter().enumerate().map(|(at, host)| name(host, "nn", at)).collect(),
            datanodes: datanodes
                .iter()
                .enumerate()
                .map(|(at, host)| (name(host, "dn", at), host.rack.clone()))
                .collect(),
        };
        let mut taken = BTreeSet::new();
        let nodes = plan.layout.namenodes.iter().chain(&plan.layout.datanodes);
        for address in nodes.chain(plan.layout.http.iter().flatten()) {
            if !taken.insert(*address) {
                return Err(Failure::Usage(format!("{address} is named twice; give each node its own")));
            }
        }
        let mut names = BTreeSet::new();
        for name in plan.names() {
            if !names.insert(name) {
                return Err(Failure::Usage(format!("two nodes are called {name}; give each its own name")));
            }
        }
        Ok(plan)
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.namenodes.iter().chain(self.datanodes.iter().map(|(name, _)| name))
    }

    /// Makes the directories of all hosts.
    fn create(&self, dir: &Path) -> Result<(), Failure> {
        let made = |path: &Path| fs::create_dir_all(path).map_err(|error| Failure::local(path, &error));
        let home = |name: &String| dir.join(name).join(name);
        self.names().try_for_each(|name| made(&dir.join(name)))?;
        let homes: Vec<PathBuf> = self.namenodes.iter().map(home).collect();
        namenode::found(&homes, self.layout.cluster).map_err(|error| Failure::Failed(error.to_string()))?;
        for (name, _) in &self.datanodes {
            datanode::format(&home(name), self.layout.cluster).map_err(|error| Failure::Failed(error.to_string()))?;
        }
        let client = self.layout.head("For clients: ashlar fs --config client.toml ls /, or ASHLAR_CONFIG=client.toml");
        let replication = self.layout.replication();
        s3::make_sealing_key(dir)?;
        let secrets = s3::secrets_file(dir);
        for (name, node) in self.namenodes.iter().zip(1..) {
            // The web page of each opens the secrets of access keys. The copy is as private as the file.
            let copy = s3::secrets_file(&dir.join(name));
            fs::copy(&secrets, &copy).map_err(|error| Failure::local(&copy, &error))?;
            let door = self.layout.http_section(node - 1, "secrets_key = \"secrets.key\"\n");
            let section = format!("\n[namenode]\nnode = {node}\ndir = \"{name}\"\nreplication = {replication}\n{door}");
            self.write_node(dir, name, "namenode", &section, &client)?;
        }
        for (at, ((name, rack), listen)) in self.datanodes.iter().zip(&self.layout.datanodes).enumerate() {
            let door = self.layout.http_section(self.namenodes.len() + at, "");
            let rack = rack.as_ref().map_or_else(String::new, |rack| format!("rack = \"{rack}\"\n"));
            let section =
                format!("\n[datanode]\nhost = \"{name}\"\n{rack}listen = \"{listen}\"\nvolumes = [\"{name}\"]\n{door}");
            self.write_node(dir, name, "datanode", &section, &client)?;
        }
        s3::prepare(dir, &self.layout.head(s3::FILE_SAYS))?;
        let last = layout::client_file(dir);
        layout::write(&last, &client).map_err(|error| Failure::local(&last, &error))
    }

    fn write_node(&self, dir: &Path, name: &str, role: &str, section: &str, client: &str) -> Result<(), Failure> {
        let host = dir.join(name);
        let text = self.layout.head(&format!("Run it on its host: ashlar {role} -c node-{name}.toml")) + section;
        for (path, text) in [(layout::node_file(&host, name), text.as_str()), (layout::client_file(&host), client)] {
            layout::write(&path, text).map_err(|error| Failure::local(&path, &error))?;
        }
        let sync = fs::File::open(&host).and_then(|host| host.sync_all());
        sync.map_err(|error| Failure::local(&host, &error))
    }
}

pub(super) fn run(dir: &Path, namenodes: &[Host], datanodes: &[Host]) -> Result<(), Failure> {
    let plan = Plan::of(namenodes, datanodes)?;
    let dir = layout::make(dir)?;
    let _lock = layout::lock(&dir)?;
    let in_the_way = |name: &String| dir.join(name).exists();
    if layout::client_file(&dir).exists() || plan.names().any(in_the_way) {
        let text =
            "holds a cluster already, or part of one; choose another directory, or remove this one with all its data";
        return Err(Failure::Failed(format!("{}: {text}", dir.display())));
    }
    plan.create(&dir)?;
    let mut out = Output::stdout();
    out.line(format!("made the directories of {} hosts in {}", plan.names().count(), dir.display()))?;
    out.line("bring each to its host, and start its node there:")?;
    for name in &plan.namenodes {
        out.line(format!("  ashlar namenode -c {}", layout::node_file(&dir.join(name), name).display()))?;
    }
    for (name, _) in &plan.datanodes {
        out.line(format!("  ashlar datanode -c {}", layout::node_file(&dir.join(name), name).display()))?;
    }
    out.line("then use it, from any host that has this file:")?;
    out.line(format!("  export ASHLAR_CONFIG={}", layout::client_file(&dir).display()))?;
    out.line("  ashlar admin status")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn host(text: &str) -> Host {
        text.parse().expect("it makes sense")
    }

    #[test]
    fn hosts_are_named_with_address_and_rack() {
        let full = Host {
            name: Some("dn1".to_owned()),
            ip: [127, 0, 2, 1].into(),
            port: Some(99),
            rack: Some("/r1".to_owned()),
        };
        assert_eq!(host("dn1=127.0.2.1:99,/r1"), full);
        let least = Host { name: None, ip: [127, 0, 2, 1].into(), port: None, rack: None };
        assert_eq!(host("127.0.2.1"), least);
        let refused = |text: &str| text.parse::<Host>().expect_err("it makes no sense");
        for text in ["", "dn1=", "=127.0.0.1", "../x=127.0.0.1", "a/b=127.0.0.1", "127.0.0.1,r1", "127.0.0.1,/r\"1"] {
            refused(text);
        }
        assert!(refused("10.0.0.1").contains("TLS is not supported yet"));
    }

    #[test]
    fn names_and_addresses_are_given_once() {
        let three = || ["127.0.1.1", "127.0.1.2", "127.0.1.3"].map(host);
        let failed = |namenodes: &[Host], datanodes: &[Host]| {
            Plan::of(namenodes, datanodes).expect_err("it makes no sense").to_string()
        };
        assert!(failed(&three()[..2], &[]).contains("1, 3 or 5"));
        assert!(failed(&three(), &[host("127.0.1.1:8020")]).contains("named twice"));
        assert!(failed(&three(), &[host("nn1=127.0.2.1")]).contains("called nn1"));
    }

    #[test]
    fn each_host_has_a_directory_that_reads() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let namenodes = [host("meta=127.0.1.1")];
        let datanodes = [host("127.0.2.1,/r1"), host("127.0.2.2:9000")];
        let plan = Plan::of(&namenodes, &datanodes).expect("it makes sense");
        plan.create(dir.path()).expect("makes them");
        let load =
            |name: &str| config::load_as_written(&layout::node_file(&dir.path().join(name), name)).expect("loads");
        let settings = load("meta").namenode.expect("a namenode's");
        assert_eq!((settings.node, settings.dir, settings.replication), (1, dir.path().join("meta/meta"), 2));
        let settings = load("dn1").datanode.expect("a datanode's");
        assert_eq!((settings.rack.as_str(), settings.listen), ("/r1", ([127, 0, 2, 1], 9866).into()));
        assert_eq!(settings.volumes, [dir.path().join("dn1/dn1")]);
        assert_eq!(load("dn1").http.listen, Some(([127, 0, 2, 1], 9766).into()));
        let page = load("meta").http;
        let secrets = dir.path().join("meta/secrets.key");
        assert_eq!((page.listen, page.secrets_key), (Some(([127, 0, 1, 1], 8030).into()), Some(secrets.clone())));
        access_keys::SealingKey::load(&secrets).expect("it is private");
        assert_eq!(load("dn2").namenodes, ["127.0.1.1:8020"]);
        assert!(layout::client_file(&dir.path().join("dn2")).exists() && layout::client_file(dir.path()).exists());
    }
}
