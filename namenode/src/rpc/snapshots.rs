//! The files of snapshots: sent to a member that needs them, and pulled by this one.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::v1;
use proto::v1::raft_client::RaftClient;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tracing::{debug, warn};

use super::Service;
use crate::raft::{Export, Fetch, Incoming, ManifestFile, Staging, StagingError};

/// Bytes in one message.
const CHUNK: usize = 256 << 10;
/// Messages on their way.
const CHUNKS: usize = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A source that sends nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(10);
/// While the raft thread has no room.
const BACK_OFF: Duration = Duration::from_millis(1);

/// Sends a file of this member's checkpoint.
pub(super) fn read(
    service: &Arc<Service>,
    request: v1::SnapshotRead,
) -> Result<ReceiverStream<Result<v1::SnapshotChunk, Status>>, Status> {
    let gone = || Status::not_found("there is no such snapshot any more");
    let export = service.exports.get(request.index, request.term).ok_or_else(gone)?;
    let file = export.manifest.file(&request.file).cloned().ok_or_else(gone)?;
    let (chunks, stream) = mpsc::channel(CHUNKS);
    let sending = service.clone();
    service.tasks.spawn_blocking(move || {
        if let Err(error) = send(&sending, &export, &file, request.offset, &chunks) {
            warn!(file = file.name, %error, "a file of a snapshot cannot be read");
            // Who asked may be gone.
            let _ = chunks.blocking_send(Err(Status::internal(error.to_string())));
        }
    });
    Ok(ReceiverStream::new(stream))
}

/// At no more than the configured rate, until the end of the file, of this process or of the stream.
fn send(
    service: &Service,
    export: &Export,
    file: &ManifestFile,
    offset: u64,
    chunks: &mpsc::Sender<Result<v1::SnapshotChunk, Status>>,
) -> std::io::Result<()> {
    let mut source = export.open(file)?;
    source.seek(SeekFrom::Start(offset))?;
    let rate = service.config.settings.snapshot_rate.get();
    // A slow rate goes in small steps rather than in long pauses.
    let step = usize::try_from(rate / 4).unwrap_or(CHUNK).clamp(1, CHUNK);
    let mut due = Instant::now();
    while !service.stop.is_cancelled() {
        let mut data = Vec::with_capacity(step);
        source.by_ref().take(step as u64).read_to_end(&mut data)?;
        if data.is_empty() {
            break;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due = due.max(Instant::now()) + Duration::from_secs_f64(data.len() as f64 / rate as f64);
        export.touch();
        if chunks.blocking_send(Ok(v1::SnapshotChunk { data })).is_err() {
            break;
        }
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum PullError {
    #[error(transparent)]
    Staging(#[from] StagingError),
    #[error("{0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("{}", .0.message())]
    Status(#[from] Status),
    #[error("{name} ended {missing} bytes too early")]
    Short { name: String, missing: u64 },
    #[error("the source is silent")]
    Silent,
    #[error("node {0} is no member")]
    Stranger(u64),
}

/// Pulls what the raft thread asks for. The latest wish counts.
pub(super) struct Fetcher {
    pub(super) service: Arc<Service>,
    pub(super) fetches: watch::Receiver<Option<Fetch>>,
}

impl Fetcher {
    pub(super) async fn run(mut self) {
        let stop = self.service.stop.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.fetches.changed() => if changed.is_err() { return },
            }
            let Some(fetch) = self.fetches.borrow_and_update().clone() else { continue };
            let mut newer = self.fetches.clone();
            let result = tokio::select! {
                () = stop.cancelled() => return,
                _ = newer.changed() => continue,
                result = self.pull(&fetch) => result,
            };
            if let Err(error) = &result {
                warn!(from = fetch.from, index = fetch.manifest.index, %error, "a snapshot is not pulled");
            }
            while !self.service.raft.fetched(fetch.manifest.index, fetch.manifest.term, result.is_ok()) {
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }

    async fn pull(&self, fetch: &Fetch) -> Result<(), PullError> {
        let staging = Staging::open(&self.service.config.settings.dir, &fetch.manifest)?;
        let address = self.service.roster.address(fetch.from).ok_or(PullError::Stranger(fetch.from))?;
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).connect().await?;
        let mut client = RaftClient::new(channel).max_decoding_message_size(proto::MAX_MESSAGE);
        for file in &fetch.manifest.files {
            let Some(incoming) = staging.resume(file)? else { continue };
            let resumed = incoming.offset();
            debug!(file = file.name, offset = resumed, length = file.length, "pulling");
            match self.receive(&mut client, fetch, file, incoming).await {
                // What was there may be of another snapshot.
                Err(PullError::Staging(StagingError::Corrupt { .. })) if resumed > 0 => {
                    self.receive(&mut client, fetch, file, staging.restart(file)?).await?;
                }
                received => received?,
            }
        }
        Ok(staging.complete(&fetch.manifest)?)
    }

    async fn receive(
        &self,
        client: &mut RaftClient<Channel>,
        fetch: &Fetch,
        file: &ManifestFile,
        mut incoming: Incoming,
    ) -> Result<(), PullError> {
        if incoming.missing() > 0 {
            let request = v1::SnapshotRead {
                cluster: self.service.config.cluster.as_bytes().to_vec(),
                from: self.service.config.settings.node,
                index: fetch.manifest.index,
                term: fetch.manifest.term,
                file: file.name.clone(),
                offset: incoming.offset(),
                hello: Some(super::peers::hello(&self.service, fetch.from)),
            };
            let answer = tokio::time::timeout(SILENCE, client.read_snapshot(request)).await;
            let mut chunks = answer.map_err(|_| PullError::Silent)??.into_inner();
            while incoming.missing() > 0 {
                let chunk = tokio::time::timeout(SILENCE, chunks.message()).await.map_err(|_| PullError::Silent)??;
                let short = || PullError::Short { name: file.name.clone(), missing: incoming.missing() };
                let chunk = chunk.ok_or_else(short)?;
                incoming.write(&chunk.data)?;
            }
        }
        Ok(incoming.finish()?)
    }
}
