//! Signs of trouble, for `admin doctor`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use namespace::query;
use namespace::view::ViewError;
use proto::v1;
use tonic::Status;
use types::SessionId;

use super::Service;
use crate::raft::wall_clock;

/// A writer that was not heard for this part of the time of its session has missed to say that it lives.
const SILENT: u32 = 2;
/// Sessions looked at, and files told.
const SESSIONS: usize = 100_000;
const FILES: usize = 100;

pub(super) async fn run(service: &Arc<Service>) -> Result<v1::ExamineReply, Status> {
    let datanodes = service.signs.read(Instant::now()).into_iter().map(|(node, sign)| v1::DatanodeSigns {
        node: node.get(),
        skew_nanos: sign.skew,
        version: sign.version,
        pause_ms: millis(sign.pause),
        returns: u32::try_from(sign.returns).unwrap_or(u32::MAX),
    });
    let datanodes = datanodes.collect();
    let mut stuck = Vec::new();
    if service.raft.leadership().serving {
        let service = service.clone();
        let read = tokio::task::spawn_blocking(move || find_stuck(&service)).await;
        stuck = read
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::internal(error.to_string()))?;
    }
    Ok(v1::ExamineReply { clock: wall_clock().nanos(), version: crate::VERSION.to_owned(), datanodes, stuck })
}

/// Files of writers that are silent, and those whose recovery does not end.
fn find_stuck(service: &Service) -> Result<Vec<v1::StuckFile>, ViewError> {
    let held = service.store.state();
    let state = held.snapshot();
    let mut stuck = service.stuck.read();
    for (inode, file) in &mut stuck {
        file.path = query::path(&state, *inode)?.unwrap_or_default();
    }
    let sessions = query::sessions(&state, None, SESSIONS)?;
    let silent: Vec<SessionId> = service.sessions.silent(&sessions, service.config.settings.session_timeout / SILENT);
    for session in silent {
        let room = FILES.saturating_sub(stuck.len());
        for inode in query::open_files(&state, session, None, room)? {
            let file = v1::StuckFile {
                inode: inode.get(),
                path: query::path(&state, inode)?.unwrap_or_default(),
                writer: query::client_of(&state, session)?.unwrap_or_default(),
                silent_ms: millis(service.sessions.silence(session)),
                recovering: false,
                nodes: Vec::new(),
            };
            stuck.push((inode, file));
        }
    }
    Ok(stuck.into_iter().map(|(_, file)| file).collect())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
