//! `admin fsck`: a walk over the tree, on the leader and on one state, told page by page.
//!
//! The walk holds the state open. It ends when this member does not lead any more, since only then may the state be
//! replaced under it; and when who asked does not listen.

mod readings;

use std::sync::Arc;
use std::time::{Duration, Instant};

use namespace::command::Where;
use namespace::fsck::{Fsck, Looked, Told, What};
use namespace::row::BlockState;
use namespace::{Caller, QueryError};
use proto::v1;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::debug;
use types::InodeId;

use super::Service;
use readings::{Read, Readings};

/// Entries and extents looked at before the lead is looked at again.
const ROWS: usize = 1000;
/// What is told in one message, at most.
const TOLD: usize = 500;
/// Messages that wait for the socket.
const BATCHES: usize = 4;
/// Who takes nothing for so long has gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at the lead while the other side takes nothing.
const LOOK: Duration = Duration::from_millis(200);
/// How often progress is told though there is nothing else to tell.
const PULSE: Duration = Duration::from_millis(500);

type Batches = mpsc::Sender<Result<v1::FsckBatch, Status>>;

pub(super) fn start(
    service: &Arc<Service>,
    request: v1::FsckRequest,
) -> Result<ReceiverStream<Result<v1::FsckBatch, Status>>, Status> {
    lead(service)?;
    let permit = service.checks.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Status::resource_exhausted("another check is under way; wait for its end"))?;
    let (batches, stream) = mpsc::channel(BATCHES);
    let service = service.clone();
    service.tasks.clone().spawn_blocking(move || {
        if let Err(status) = walk(&service, &request, &batches, permit) {
            debug!(%status, "a check ends early");
            // Who asked may be gone.
            let _ = batches.try_send(Err(status));
        }
    });
    Ok(ReceiverStream::new(stream))
}

fn lead(service: &Service) -> Result<(), Status> {
    if service.raft.leadership().serving && !service.stop.is_cancelled() {
        Ok(())
    } else {
        Err(Status::failed_precondition("this member does not lead; check again"))
    }
}

fn walk(
    service: &Service,
    request: &v1::FsckRequest,
    batches: &Batches,
    _permit: OwnedSemaphorePermit,
) -> Result<(), Status> {
    let damaged = |error: namespace::view::ViewError| Status::data_loss(error.to_string());
    let held = service.store.state();
    let state = held.snapshot();
    let facts = service.datanodes.health_facts();
    let place = Where { base: InodeId::ROOT, path: request.path.clone() };
    let mut fsck = Fsck::new(&state, Caller::SYSTEM, &place).map_err(|error| match error {
        QueryError::Refused(error) => Status::invalid_argument(error.to_string()),
        QueryError::View(error) => damaged(error),
    })?;
    let mut told = Vec::new();
    let mut last = Instant::now();
    let mut readings = Readings::new();
    loop {
        let mut found = Vec::new();
        let done = fsck.step(&state, &facts, ROWS, &mut |one: Told| found.push(one)).map_err(damaged)?;
        for one in found {
            match one {
                Told { what: What::Block { block, ref row, .. }, .. }
                    if request.verify && row.state == BlockState::Committed =>
                {
                    readings.begin(service, &facts, block, row.clone(), one);
                }
                one => told.extend(wire(service, request.blocks, one, &Read::default())),
            }
            while readings.are_many() {
                readings.wait(service, batches, fsck.looked(), &mut last)?;
            }
        }
        while done && !readings.is_empty() {
            readings.wait(service, batches, fsck.looked(), &mut last)?;
        }
        for (one, read) in readings.ended() {
            told.extend(wire(service, request.blocks, one, &read));
        }
        while told.len() > TOLD {
            let rest = told.split_off(TOLD);
            send(service, batches, batch(std::mem::replace(&mut told, rest), fsck.looked(), false))?;
        }
        if done || !told.is_empty() || last.elapsed() >= PULSE {
            send(service, batches, batch(std::mem::take(&mut told), fsck.looked(), done))?;
            last = Instant::now();
        }
        if done {
            return Ok(());
        }
        lead(service)?;
    }
}

fn batch(told: Vec<v1::FsckTold>, looked: Looked, done: bool) -> v1::FsckBatch {
    let Looked { files, directories, blocks, bytes } = looked;
    v1::FsckBatch { told, looked: Some(v1::FsckLooked { files, directories, blocks, bytes }), done }
}

fn send(service: &Service, batches: &Batches, batch: v1::FsckBatch) -> Result<(), Status> {
    let until = Instant::now() + PATIENCE;
    let mut batch = Ok(batch);
    loop {
        match Handle::current().block_on(batches.send_timeout(batch, LOOK)) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => return Err(Status::cancelled("nobody listens any more")),
            Err(mpsc::error::SendTimeoutError::Timeout(back)) => batch = back,
        }
        lead(service)?;
        if Instant::now() >= until {
            return Err(Status::deadline_exceeded("nobody takes what is found"));
        }
    }
}

/// Nothing for a block that is well, unless all are wanted.
fn wire(service: &Service, all: bool, told: Told, read: &Read) -> Option<v1::FsckTold> {
    let what = match told.what {
        What::Broken(broken) => v1::fsck_told::What::Broken(broken.to_string()),
        What::Block { offset, length, block, row, health } => {
            let writing = row.state != BlockState::Committed;
            // What can be read now counts, whoever is to leave or was announced to be away.
            let well = health.live >= health.wanted && health.bad == 0 && *read == Read::default();
            if !all && (writing || well) {
                return None;
            }
            let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            v1::fsck_told::What::Block(v1::FsckBlock {
                block: Some(block.into()),
                generation: row.generation.get(),
                offset,
                length: length.get(),
                writing,
                wanted: u32::from(row.wanted),
                live: count(health.live),
                unreachable: count(health.unreachable),
                replicas: service.datanodes.locations(&row.replicas),
                bad: service.datanodes.locations(&row.bad),
                found_bad: service.datanodes.locations(&read.bad),
                unverified: service.datanodes.locations(&read.unknown),
            })
        }
    };
    Some(v1::FsckTold { path: told.path, inode: told.inode.get(), what: Some(what) })
}
