//! The HTTP doors of namenodes and datanodes.

use std::sync::Arc;

use ::datanode::Datanode;
use ::namenode::Namenode;
use futures::FutureExt as _;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use web::{Cluster, Door, Pages, Role, Settings, Verdict};

use crate::exit::Failure;

fn failed(error: web::Error) -> Failure {
    Failure::Failed(format!("http: {error}"))
}

/// Opens the door of a namenode: its verdict is that on the cluster.
pub(super) async fn namenode(
    settings: &Settings,
    registry: Registry,
    server: &Namenode,
    config: client::Config,
) -> Result<Option<Door>, Failure> {
    let (stop, probe) = (CancellationToken::new(), server.probe());
    let cluster = Cluster::watch(config.clone(), stop.clone());
    let observe = Arc::new(move || {
        let probe = probe.clone();
        async move { probe.observe().await }.boxed()
    });
    let judge = cluster.judge();
    let pages = Some(Pages { cluster, config });
    let role = Role { verdict_of: "cluster", registry, observe, judge, pages };
    Door::open(settings, role, stop).await.map_err(failed)
}

/// Opens the door of a datanode: its verdict is that on itself.
pub(super) async fn datanode(
    settings: &Settings,
    registry: Registry,
    server: &Datanode,
) -> Result<Option<Door>, Failure> {
    let (probe, looked) = (server.probe(), server.probe());
    let observe = Arc::new(move || {
        probe.observe();
        async {}.boxed()
    });
    let judge = Arc::new(move || {
        let (serves, reasons) = looked.complaints();
        async move { Verdict::of(serves, reasons) }.boxed()
    });
    let role = Role { verdict_of: "datanode", registry, observe, judge, pages: None };
    Door::open(settings, role, CancellationToken::new()).await.map_err(failed)
}
