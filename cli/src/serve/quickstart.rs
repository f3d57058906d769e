//! `ashlar quickstart`: every role in one process, over real sockets and disks.
//!
//! Invariants:
//! 1. `ashlar is ready` is printed only after a write has gone through a whole pipeline.
//! 2. Whatever was started is stopped in order before the process ends, also when a later part does not start.

use std::fs::File;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::Client;
use datanode::Datanode;
use futures::FutureExt as _;
use futures::future::{join_all, select_all};
use namenode::Namenode;
use prometheus_client::registry::Registry;
use s3_gateway::Gateway;
use web::Door;

use super::layout::{self, Layout};
use super::ports::{Ports, is_free};
use super::{LOG_DEFAULT, Stop, http, ready, s3};
use crate::config::{self, Setting};
use crate::exit::Failure;
use crate::logging;
use crate::mount::Mounted;
use crate::output::{Align, Output, Table};

/// A log that has grown beyond this is set aside at the next start.
const LOG_LIMIT: u64 = 64 << 20;
/// A server that does not stop by then is left to the end of the process.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(crate) struct QuickstartArgs {
    /// Where the cluster lives: made at the first start, found again at the next
    #[arg(long, value_name = "DIR", default_value = "ashlar-data")]
    dir: PathBuf,
    /// How many namenodes: 1, 3 or 5 [default: 3, or what DIR holds]
    #[arg(long, value_name = "COUNT", value_parser = layout::namenode_count())]
    namenodes: Option<usize>,
    /// How many datanodes [default: 3, or what DIR holds]
    #[arg(long, value_name = "COUNT", value_parser = layout::datanode_count)]
    datanodes: Option<usize>,
    /// The first port: the namenodes take it and the next ones, then the datanodes
    /// [default: those of the last start, or 8020.. and 9866.., or free ones]
    #[arg(long, value_name = "BASE")]
    ports: Option<u16>,
    /// Serve S3 at this address too, such as 127.0.0.1:9000; DIR/s3.env has what S3 clients need
    #[arg(long, value_name = "ADDR")]
    s3: Option<SocketAddr>,
    /// Mount the cluster on this directory too, which is made if it is missing
    #[arg(long, value_name = "MOUNTPOINT")]
    mount: Option<PathBuf>,
    /// What to log to DIR/logs: error, warn, info, debug, trace, or levels by module [default: RUST_LOG, or info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

pub(crate) async fn run(args: QuickstartArgs) -> Result<(), Failure> {
    let dir = layout::make(&args.dir)?;
    let lock = layout::lock(&dir)?;
    log_to(&dir, args.log_level.as_deref())?;
    let ports = args.ports.map_or(Ports::WellKnown, Ports::From);
    let QuickstartArgs { namenodes, datanodes, s3, mount: point, .. } = args;
    let options = Options { dir: dir.clone(), namenodes, datanodes, s3, ports, settings: Vec::new() };
    let mut stop = Stop::listen()?;
    let mut cluster = stop.or(Cluster::start_locked(options, lock)).await?;
    let mut mounted = match point.as_deref() {
        Some(point) => match mount(&cluster, point).await {
            Ok(mounted) => Some(mounted),
            Err(failure) => {
                cluster.stop().await;
                return Err(failure);
            }
        },
        None => None,
    };
    match announce(&cluster, &dir, point.as_deref()) {
        Ok(()) | Err(Failure::OutputClosed) => {}
        Err(failure) => return Err(failure),
    }
    let ended = tokio::select! {
        (name, reason) = cluster.failed() => Err(Failure::Failed(format!("{name} failed: {reason}; see {}", dir.join("logs").display()))),
        reason = stop.wanted() => {
            tracing::info!(reason, "stopping");
            Ok(())
        }
        failure = unmounted(&mut mounted) => Err(failure),
    };
    // It is a client: the servers must hear of what it has left to write.
    let written = match mounted {
        Some(mounted) => mounted.unmount().await,
        None => Ok(()),
    };
    cluster.stop().await;
    ended.and(written)
}

async fn mount(cluster: &Cluster, point: &Path) -> Result<Mounted, Failure> {
    // A mount whose daemon was killed is there, and answers to nothing.
    if std::fs::symlink_metadata(point).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        std::fs::create_dir_all(point).map_err(|error| Failure::local(point, &error))?;
    }
    let client = Client::connect(cluster.client_config()).await?;
    Mounted::new(client, point, fuse_mount::Options::default()).await
}

/// Waits for somebody to unmount it, which the cluster goes on without. Resolves only if something was lost by then.
async fn unmounted(mounted: &mut Option<Mounted>) -> Failure {
    let ended = match mounted {
        Some(mount) => mount.ended().await,
        None => std::future::pending().await,
    };
    *mounted = None;
    match ended {
        Ok(()) => std::future::pending().await,
        Err(failure) => failure,
    }
}

fn log_to(dir: &Path, level: Option<&str>) -> Result<(), Failure> {
    let logs = dir.join("logs");
    let path = logs.join("ashlar.log");
    let open = || {
        std::fs::create_dir_all(&logs)?;
        if std::fs::metadata(&path).is_ok_and(|log| log.len() > LOG_LIMIT) {
            std::fs::rename(&path, logs.join("ashlar.log.1"))?;
        }
        File::options().create(true).append(true).open(&path)
    };
    let file = open().map_err(|error| Failure::local(&path, &error))?;
    logging::to_file(file, logging::filter(level, None, LOG_DEFAULT)?);
    Ok(())
}

fn announce(cluster: &Cluster, dir: &Path, point: Option<&Path>) -> Result<(), Failure> {
    let mut out = Output::stdout();
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Left]);
    for (name, address) in &cluster.addresses {
        table.row([name.split_at(2).1.parse::<u32>().map_or("", |_| role(name)), name, &address.to_string()]);
    }
    table.print(&mut out)?;
    out.line(format!("data and logs are in {}", dir.display()))?;
    out.line("use it from another terminal; Ctrl-C stops it:")?;
    out.line(format!("  export ASHLAR_CONFIG={}", layout::client_file(dir).display()))?;
    out.line("  ashlar fs ls /")?;
    if let Some(point) = point {
        out.line(format!("its files are in {}", point.display()))?;
    }
    if let Some(gateway) = &cluster.gateway {
        out.line(format!("S3 clients find {} with", gateway.address()))?;
        out.line(format!("  . {}", dir.join("s3.env").display()))?;
    }
    if let Some(door) = cluster.doors.first().filter(|door| door.has_pages()) {
        out.line(format!("the web page is at http://{}/ ; sign in with a key:", door.address()))?;
        out.line("  ashlar admin key create --user \"$(id -un)\"")?;
    }
    out.line("ashlar is ready")?;
    out.flush()
}

fn role(name: &str) -> &'static str {
    if name.starts_with("nn") { "namenode" } else { "datanode" }
}

/// What a cluster in one process is made of. Counts that are not given are those of what is there, or three.
#[derive(Debug)]
pub(crate) struct Options {
    dir: PathBuf,
    namenodes: Option<usize>,
    datanodes: Option<usize>,
    /// Where S3 is served, if it is.
    s3: Option<SocketAddr>,
    ports: Ports,
    /// Put over the files of the namenodes.
    settings: Vec<Setting>,
}

impl Options {
    /// What is in the directory, or, if there is nothing, a cluster of that size.
    pub(crate) fn found_or(dir: PathBuf, namenodes: usize, datanodes: usize) -> Result<Self, Failure> {
        let counts = if Layout::exists(&dir)? { None } else { Some((namenodes, datanodes)) };
        let (namenodes, datanodes) = counts.unzip();
        Ok(Self { dir, namenodes, datanodes, s3: None, ports: Ports::Free, settings: Vec::new() })
    }

    /// A cluster that serves a benchmark or a test: on free ports, and what is deleted leaves the disks at once.
    pub(crate) fn unattended(dir: PathBuf, namenodes: usize, datanodes: usize) -> Self {
        let settings = ["namenode.delete_grace=0s", "namenode.delete_holdoff=0s"]
            .map(|text| text.parse().expect("these are settings"))
            .into();
        Self { dir, namenodes: Some(namenodes), datanodes: Some(datanodes), s3: None, ports: Ports::Free, settings }
    }
}

/// A running cluster.
pub(crate) struct Cluster {
    namenodes: Vec<(String, Namenode)>,
    datanodes: Vec<(String, Datanode)>,
    gateway: Option<Gateway>,
    doors: Vec<Door>,
    addresses: Vec<(String, SocketAddr)>,
    client: client::Config,
    _lock: File,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Makes or finds the cluster, starts it and waits until it takes writes.
    pub(crate) async fn start(options: Options) -> Result<Self, Failure> {
        let options = Options { dir: layout::make(&options.dir)?, ..options };
        let lock = layout::lock(&options.dir)?;
        Self::start_locked(options, lock).await
    }

    async fn start_locked(options: Options, lock: File) -> Result<Self, Failure> {
        let layout = prepare(&options)?;
        let client = config::load(&layout::client_file(&options.dir), &[])?;
        let client = client::Config { namenodes: client.namenodes, ..client.client };
        let (namenodes, datanodes, addresses) = (Vec::new(), Vec::new(), Vec::new());
        let mut cluster =
            Self { namenodes, datanodes, gateway: None, doors: Vec::new(), addresses, client, _lock: lock };
        let started = match cluster.start_servers(&options, &layout).await {
            Ok(()) => ready::wait(cluster.client_config(), layout.replication()).await,
            Err(failure) => Err(failure),
        };
        let started = match started {
            Ok(()) => cluster.start_gateway(&options, &layout).await,
            Err(failure) => Err(failure),
        };
        // Invariant 2.
        if let Err(failure) = started {
            cluster.stop().await;
            return Err(failure);
        }
        Ok(cluster)
    }

    async fn start_servers(&mut self, options: &Options, layout: &Layout) -> Result<(), Failure> {
        let dir = &options.dir;
        for name in layout.namenode_names() {
            let path = layout::node_file(dir, &name);
            let file = config::load(&path, &options.settings)?;
            let (cluster, texts) = file.membership(&path)?;
            let namenodes = super::addresses(&path, &texts)?;
            let Some(settings) = file.namenode.clone() else { return Err(file.other_role(&path, "namenode").into()) };
            let mut registry = Registry::default();
            let started = Namenode::start(namenode::Config { cluster, namenodes, settings }, &mut registry).await;
            let server = started.map_err(|error| Failure::Failed(format!("namenode {name}: {error}")))?;
            self.addresses.push((name.clone(), server.address()));
            let door = http::namenode(&file.http, registry, &server, self.client_config()).await;
            self.namenodes.push((name, server));
            self.doors.extend(door?);
        }
        for name in layout.datanode_names() {
            let path = layout::node_file(dir, &name);
            let file = config::load(&path, &[])?;
            let (cluster, texts) = file.membership(&path)?;
            let namenodes = super::addresses(&path, &texts)?;
            let Some(settings) = file.datanode.clone() else { return Err(file.other_role(&path, "datanode").into()) };
            let mut registry = Registry::default();
            let started = Datanode::start(datanode::Config { cluster, namenodes, settings }, &mut registry).await;
            let server = started.map_err(|error| Failure::Failed(format!("datanode {name}: {error}")))?;
            self.addresses.push((name.clone(), server.address()));
            let door = http::datanode(&file.http, registry, &server).await;
            self.datanodes.push((name, server));
            self.doors.extend(door?);
        }
        Ok(())
    }

    async fn start_gateway(&mut self, options: &Options, layout: &Layout) -> Result<(), Failure> {
        let Some(address) = options.s3 else { return Ok(()) };
        s3::prepare(&options.dir, &layout.head(s3::FILE_SAYS))?;
        self.gateway = Some(s3::quickstart(&options.dir, address, self.client_config()).await?);
        Ok(())
    }

    /// How a client reaches it.
    pub(crate) fn client_config(&self) -> client::Config {
        self.client.clone()
    }

    /// Resolves when one of the servers had to stop: its name, and why.
    async fn failed(&mut self) -> (String, String) {
        let namenodes = self.namenodes.iter().map(|(name, server)| {
            let (name, failed) = (name.clone(), server.failed());
            async move { (name, failed.await.to_string()) }.boxed()
        });
        let datanodes = self.datanodes.iter().map(|(name, server)| {
            let (name, failed) = (name.clone(), server.failed());
            async move { (name, failed.await.to_string()) }.boxed()
        });
        let (failed, _, _) = select_all(namenodes.chain(datanodes).collect::<Vec<_>>()).await;
        failed
    }

    /// Stops everything in order.
    pub(crate) async fn shutdown(mut self) -> Result<(), Failure> {
        self.stop().await;
        Ok(())
    }

    /// The gateway and the doors first, which are clients; then the datanodes: they say good-bye to namenodes that still listen.
    async fn stop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            stop("s3".to_owned(), gateway.shutdown()).await;
        }
        join_all(self.doors.drain(..).map(|door| stop("http".to_owned(), door.close()))).await;
        let datanodes = self.datanodes.drain(..).map(|(name, server)| stop(name, server.shutdown()));
        join_all(datanodes).await;
        let namenodes = self.namenodes.drain(..).map(|(name, server)| stop(name, server.shutdown()));
        join_all(namenodes).await;
    }
}

async fn stop(name: String, shutdown: impl Future) {
    if tokio::time::timeout(STOP_PATIENCE, shutdown).await.is_err() {
        tracing::error!(name, "did not stop in time");
    }
}

/// Makes the cluster, or finds it, for servers that run as processes of their own; takes the directory for this process,
/// as long as the file lives.
pub(crate) fn claim(options: &Options) -> Result<(Layout, File), Failure> {
    let lock = layout::lock(&options.dir)?;
    Ok((prepare(options)?, lock))
}

/// Makes the cluster, or finds it and sees to its ports.
fn prepare(options: &Options) -> Result<Layout, Failure> {
    let Options { dir, namenodes, datanodes, ports, s3: _, settings: _ } = options;
    if !Layout::exists(dir)? {
        let layout = Layout::draw(ports.choose(namenodes.unwrap_or(3), datanodes.unwrap_or(3))?)?;
        layout.create(dir)?;
        return Ok(layout);
    }
    let mut layout = Layout::load(dir)?;
    let (have_namenodes, have_datanodes) = (layout.namenodes.len(), layout.datanodes.len());
    if namenodes.is_some_and(|wanted| wanted != have_namenodes)
        || datanodes.is_some_and(|wanted| wanted != have_datanodes)
    {
        return Err(Failure::Usage(format!(
            "{}: holds a cluster of {have_namenodes} namenodes and {have_datanodes} datanodes, which stay as they are; \
             leave out --namenodes and --datanodes, or choose another --dir",
            dir.display()
        )));
    }
    let as_wanted = match ports {
        Ports::From(base) => layout.namenodes.first().is_some_and(|first| first.port() == *base),
        Ports::WellKnown | Ports::Free => true,
    };
    let free = || {
        let nodes = layout.namenodes.iter().chain(&layout.datanodes);
        nodes.chain(layout.http.iter().flatten()).all(|address| is_free(*address))
    };
    if !as_wanted || !free() {
        let addresses = ports.choose(have_namenodes, have_datanodes)?;
        tracing::info!(?addresses, "the cluster moves to other ports");
        layout.move_to(dir, addresses)?;
    }
    Ok(layout)
}
