//! `ashlar init --join`: the directory of a namenode that is to be added to a running cluster.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use client::{Admin, Config, MemberStatus};
use types::DiskId;

use super::layout;
use crate::exit::Failure;
use crate::output::Output;

/// Where a new member listens when nobody says.
pub(super) fn free_address() -> Result<SocketAddr, Failure> {
    let bound = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    bound.map_err(|error| Failure::Failed(format!("no free port: {error}")))
}

pub(super) async fn run(dir: &Path, seed: &str, listen: Option<SocketAddr>) -> Result<(), Failure> {
    let config = Config { namenodes: vec![seed.to_owned()], ..Config::default() };
    let mut statuses = Admin::unconnected(&config).status().await;
    let status = match statuses.pop() {
        Some((_, status)) => status?,
        None => unreachable!("one address is asked"),
    };
    let (dir, _lock) = (layout::make(dir)?, layout::lock(dir)?);
    let cluster = status.cluster.ok_or_else(|| Failure::Failed(format!("{seed}: has no cluster yet")))?;
    let founders: Vec<(u64, DiskId)> = status.founders.iter().map(|(node, disk)| (node.get(), *disk)).collect();
    if founders.is_empty() {
        let text = "the directories of its namenodes were made by an older program; its members cannot change";
        return Err(Failure::Failed(format!("{seed}: {text}")));
    }
    let node = next_number(&status);
    let name = format!("nn{node}");
    let file = layout::node_file(&dir, &name);
    if file.exists() {
        return Err(Failure::Failed(format!("{}: is there already; choose another directory", file.display())));
    }
    let listen = match listen {
        Some(listen) => listen,
        None => free_address()?,
    };
    let founders: Vec<_> = founders.into_iter().map(|(node, disk)| namenode::Founder { node, disk }).collect();
    namenode::join(&dir.join(&name), cluster, node, &founders).map_err(|error| Failure::Failed(error.to_string()))?;
    let mut namenodes: Vec<String> = status.members.iter().map(|member| format!("\"{}\"", member.address)).collect();
    namenodes.push(format!("\"{listen}\""));
    let text = format!(
        "# Namenode {name}. Run it: ashlar namenode -c node-{name}.toml\n# Relative paths are seen from the directory of \
         this file.\ncluster = \"{cluster}\"\nnamenodes = [{}]\n\n[namenode]\nnode = {node}\nlisten = \"{listen}\"\ndir = \
         \"{name}\"\n\n[http]\nlisten = \"{}\"\n",
        namenodes.join(", "),
        free_address()?
    );
    layout::write(&file, &text).map_err(|error| Failure::local(&file, &error))?;

    let mut out = Output::stdout();
    out.line(format!("made the directory of namenode {node}; start it:"))?;
    out.line(format!("  ashlar namenode -c {}", file.display()))?;
    out.line("then, with the configuration of a client, make it a member:")?;
    out.line(format!("  ashlar admin raft add {listen}"))?;
    out.flush()
}

/// A number that the cluster never had.
fn next_number(status: &MemberStatus) -> u64 {
    let members = status.members.iter().map(|member| member.node);
    members.chain(status.removed.iter().copied()).map(|node| node.get()).max().unwrap_or(0) + 1
}
