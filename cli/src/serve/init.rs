//! `ashlar init`

use std::net::SocketAddr;
use std::path::PathBuf;

use super::hosts::{self, Host};
use super::join_datanode::{self, Wanted};
use super::layout::{self, Layout};
use super::ports::Ports;
use super::s3;
use crate::exit::Failure;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// Where to put the configuration files and the directories of the nodes
    dir: PathBuf,
    /// How many namenodes: 1, 3 or 5
    #[arg(long, default_value = "3", value_parser = layout::namenode_count())]
    namenodes: usize,
    /// How many datanodes
    #[arg(long, default_value_t = 3, value_parser = layout::datanode_count)]
    datanodes: usize,
    /// The first port: the namenodes take it and the next ones, then the datanodes [default: free ones]
    #[arg(long, value_name = "BASE")]
    ports: Option<u16>,
    /// Make the directory of one more namenode of a running cluster instead; any of its namenodes
    #[arg(long, value_name = "IP:PORT", conflicts_with_all = ["namenodes", "datanodes", "ports"])]
    join: Option<String>,
    /// Where that namenode or datanode will listen [default: a free port of this machine]
    #[arg(long, value_name = "IP:PORT", requires = "join")]
    listen: Option<SocketAddr>,
    /// With --join: make the directory of one more datanode of this name, which is its host
    #[arg(long, value_name = "NAME", requires = "join")]
    datanode: Option<String>,
    /// Where that datanode stands, such as /room1/rack7
    #[arg(long, requires = "datanode")]
    rack: Option<String>,
    /// A directory for its replicas, one for each disk [default: one beside its configuration]
    #[arg(long = "volume", value_name = "DIR", requires = "datanode")]
    volumes: Vec<PathBuf>,
    /// Make a cluster on several hosts: the host of a namenode, 1, 3 or 5 times
    #[arg(long, value_name = "[NAME=]IP[:PORT]", requires = "datanode_at",
        conflicts_with_all = ["namenodes", "datanodes", "ports", "join"])]
    namenode_at: Vec<Host>,
    /// The host of a datanode, once for each
    #[arg(long, value_name = "[NAME=]IP[:PORT][,RACK]", requires = "namenode_at")]
    datanode_at: Vec<Host>,
}

pub(crate) async fn run(args: &InitArgs) -> Result<(), Failure> {
    if let (Some(seed), Some(name)) = (&args.join, &args.datanode) {
        let (listen, rack, volumes) = (args.listen, args.rack.as_deref(), &args.volumes[..]);
        return join_datanode::run(&args.dir, &Wanted { seed, name, listen, rack, volumes }).await;
    }
    if let Some(seed) = &args.join {
        return super::join::run(&args.dir, seed, args.listen).await;
    }
    if !args.namenode_at.is_empty() {
        return hosts::run(&args.dir, &args.namenode_at, &args.datanode_at);
    }
    let dir = layout::make(&args.dir)?;
    let _lock = layout::lock(&dir)?;
    if Layout::exists(&dir)? {
        return Err(Failure::Failed(format!(
            "{}: holds a cluster already; choose another directory, or remove this one with all its data",
            dir.display()
        )));
    }
    let ports = args.ports.map_or(Ports::Free, Ports::From);
    let layout = Layout::draw(ports.choose(args.namenodes, args.datanodes)?)?;
    layout.create(&dir)?;
    s3::prepare(&dir, &layout.head(s3::FILE_SAYS))?;

    let mut out = Output::stdout();
    out.line(format!("made a cluster in {}; start each of its nodes:", dir.display()))?;
    for name in layout.namenode_names() {
        out.line(format!("  ashlar namenode -c {}", layout::node_file(&dir, &name).display()))?;
    }
    for name in layout.datanode_names() {
        out.line(format!("  ashlar datanode -c {}", layout::node_file(&dir, &name).display()))?;
    }
    out.line(format!("  ashlar s3 -c {}", s3::node_file(&dir).display()))?;
    out.line("then use it:")?;
    out.line(format!("  export ASHLAR_CONFIG={}", layout::client_file(&dir).display()))?;
    out.line("  ashlar admin status")?;
    out.flush()
}
