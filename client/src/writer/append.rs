//! Going on with a file that is there, and taking files from writers that are lost.

use std::time::Duration;

use proto::v1;
use proto::v1::op::Kind as Op;
use proto::v1::reply::Result as Answer;
use tokio::time::Instant;

use super::file::{FileTask, Naming};
use super::{Opened, Running, run};
use crate::error::Fault;
use crate::metadata::{Metadata, Scope};
use crate::object::AppendOptions;
use crate::place::Place;
use crate::store::Client;
use crate::wire;

/// Between two looks at a file that is being recovered.
const LOOK: Duration = Duration::from_millis(250);

/// Opens the file at its end, and starts the task that writes it. Gives the position, too.
pub(super) async fn start(client: &Client, place: &Place, options: AppendOptions) -> Result<(Running, u64), Fault> {
    let deadline = Instant::now() + client.0.config.op_timeout;
    let (created, session) = loop {
        let append = Op::Append(v1::Append { place: Some(wire::place(place)) });
        match client.0.metadata.call(append, Scope::Update).await? {
            (Answer::Created(created), session) => break (created, session),
            (Answer::Lease(_), _) => wait(client, deadline).await?,
            (other, _) => return Err(Metadata::unexpected(&other)),
        }
    };
    let attributes = created.attributes.ok_or(Fault::Protocol {
        peer: "the namenode".to_owned(),
        problem: "an open file has no attributes".to_owned(),
    })?;
    let attributes = wire::attributes(attributes)?;
    let opened = Opened { attributes: &attributes, session, durability: options.durability };
    let mut running = run(client, FileTask::new(client.clone(), opened.facts(client), Naming::Named, None, None));
    // If this fails, the task is left alone, and closes the file as it was.
    if let Some(content) = inline(client, &attributes).await? {
        let mut tail = client.0.buffers.take();
        tail.bytes_mut().extend_from_slice(&content);
        running.tail = Some(tail);
    }
    Ok((running, attributes.length.get()))
}

/// What lives with the inode: the first block has to repeat it. Nobody else changes it while the lease is held.
async fn inline(client: &Client, attributes: &crate::object::Attributes) -> Result<Option<Vec<u8>>, Fault> {
    let place = Some(wire::inode(attributes.inode));
    let open = v1::Open { place, offset: 0, length: 1, reader: None };
    match client.0.metadata.call(Op::Open(open), Scope::Read).await?.0 {
        Answer::Opened(opened) => Ok(opened.inline.filter(|content| !content.is_empty())),
        other => Err(Metadata::unexpected(&other)),
    }
}

/// Takes a file from its writer, and waits until it is closed.
pub(crate) async fn recover(client: &Client, place: &Place, force: bool) -> Result<(), Fault> {
    let deadline = Instant::now() + client.0.config.op_timeout;
    loop {
        let recover = Op::RecoverLease(v1::RecoverLease { place: Some(wire::place(place)), force });
        match client.0.metadata.call(recover, Scope::Update).await?.0 {
            Answer::Lease(v1::Lease { recovering: false }) => return Ok(()),
            Answer::Lease(v1::Lease { recovering: true }) => wait(client, deadline).await?,
            other => return Err(Metadata::unexpected(&other)),
        }
    }
}

async fn wait(client: &Client, deadline: Instant) -> Result<(), Fault> {
    if Instant::now() >= deadline {
        return Err(Fault::StillRecovering { after: client.0.config.op_timeout });
    }
    tokio::time::sleep(LOOK).await;
    Ok(())
}
