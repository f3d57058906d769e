//! Blocks taken in advance, for what is written whole: the namenode is asked for several at a time, more the more are used.
//!
//! 1. A block that was taken ends in a file or is given back, also when whoever took it goes away.
//! 2. What lies here is young, of the present session, and on datanodes that nobody suspects.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::v1;
use proto::v1::op::Kind as Op;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::debug;
use types::{Code, NodeId, SessionId};

use super::file::{NO_TARGETS, TARGETS_WITHIN};
use crate::directory_policy::{self, Copies};
use crate::error::Fault;
use crate::metadata::{Metadata, Scope};
use crate::store::Client;
use crate::wire::{self, NewBlock};

/// Older ones are given back: the datanodes chosen for them may not be the best any more.
const AGE: Duration = Duration::from_secs(20);
/// The most that are asked for at once,
const BATCH: usize = 32;
/// and that lie here or are asked for, well below what a session may hold.
const KEPT: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Spares(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Spare>,
    asked: usize,
    /// How many were asked for last.
    batch: usize,
}

/// Without the client, which holds this one.
#[derive(Debug)]
struct Spare {
    new: NewBlock,
    session: SessionId,
    copies: Copies,
    since: Instant,
}

impl Spare {
    fn take(self, client: &Client) -> Taken {
        Taken { client: client.clone(), new: self.new, session: self.session, used: false }
    }
}

/// A block of the session, to be written. Given back when it is dropped unused (invariant 1).
pub(crate) struct Taken {
    client: Client,
    pub(super) new: NewBlock,
    pub(crate) session: SessionId,
    used: bool,
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taken").field("block", &self.new.block).field("used", &self.used).finish_non_exhaustive()
    }
}

impl Taken {
    /// It is in a file.
    pub(crate) fn used(mut self) {
        self.used = true;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Without a runtime there is nobody to tell the namenode: the session's end does.
        if self.used || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (client, block, session) = (self.client.clone(), self.new.block, self.session);
        let release = Op::ReleaseBlocks(v1::ReleaseBlocks { blocks: vec![block.into()] });
        self.client.0.tasks.spawn(async move {
            if let Err(fault) = client.0.metadata.call(release, Scope::Lease(session)).await {
                debug!(%block, %fault, "a block was not given back; it goes with the session");
            }
        });
    }
}

impl Spares {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block for a file that wants these copies, on none of the nodes in `exclude`.
    pub(crate) async fn take(&self, client: &Client, copies: Copies, exclude: &[NodeId]) -> Result<Taken, Fault> {
        if let Some(taken) = self.ready(client, copies, exclude) {
            return Ok(taken);
        }
        let count = {
            let mut state = self.state();
            let room = KEPT.saturating_sub(state.ready.len() + state.asked).max(1);
            state.batch = (state.batch * 2).clamp(1, BATCH).min(room);
            state.asked += state.batch;
            state.batch
        };
        let (sender, first) = oneshot::channel();
        let (client, exclude) = (client.clone(), exclude.to_vec());
        // In a task of its own: blocks that come when nobody waits any more are kept, not lost.
        client.0.tasks.spawn({
            let client = client.clone();
            async move {
                let answer = allocate(&client, count, copies, &exclude).await;
                client.0.spares.take_in(&client, answer, count, sender);
            }
        });
        first.await.unwrap_or(Err(Fault::Closed))
    }

    fn take_in(
        &self,
        client: &Client,
        answer: Result<Vec<Spare>, Fault>,
        count: usize,
        first: oneshot::Sender<Result<Taken, Fault>>,
    ) {
        let mut state = self.state();
        state.asked -= count;
        let taken = answer.and_then(|spares| {
            state.ready.extend(spares);
            state.ready.pop_back().ok_or_else(|| Fault::Protocol {
                peer: "the namenode".to_owned(),
                problem: "it allocated no block".to_owned(),
            })
        });
        let kept = !state.ready.is_empty();
        drop(state);
        if kept {
            give_back_later(client);
        }
        // If nobody waits any more, it is given back.
        drop(first.send(taken.map(|spare| spare.take(client))));
    }

    /// Gives back what is too old (invariant 2).
    fn give_back(&self, client: &Client) {
        let mut state = self.state();
        let (stale, young) =
            std::mem::take(&mut state.ready).into_iter().partition(|spare| spare.since.elapsed() >= AGE);
        state.ready = young;
        drop(state);
        let stale: VecDeque<Spare> = stale;
        stale.into_iter().for_each(|spare| drop(spare.take(client)));
    }

    /// One that lies here (invariant 2).
    fn ready(&self, client: &Client, copies: Copies, exclude: &[NodeId]) -> Option<Taken> {
        let mut stale = Vec::new();
        let mut state = self.state();
        let mut found = None;
        let mut at = 0;
        while found.is_none() && at < state.ready.len() {
            let Spare { new, copies: of, since, .. } = &state.ready[at];
            let is_bad =
                new.targets.iter().any(|hop| exclude.contains(&hop.node) || client.0.datanodes.is_suspect(hop.address));
            if since.elapsed() >= AGE || is_bad {
                stale.extend(state.ready.remove(at));
                state.batch = 0;
            } else if *of == copies {
                found = state.ready.remove(at);
            } else {
                at += 1;
            }
        }
        drop(state);
        stale.into_iter().for_each(|spare: Spare| drop(spare.take(client)));
        found.map(|spare| spare.take(client))
    }
}

/// A client that writes nothing more gives its blocks back all the same: the datanodes that they are on may want to leave.
fn give_back_later(client: &Client) {
    let client = Arc::downgrade(&client.0);
    tokio::spawn(async move {
        tokio::time::sleep(AGE).await;
        if let Some(shared) = client.upgrade() {
            shared.spares.give_back(&Client(shared.clone()));
        }
    });
}

/// Asks for blocks. A leader that has just begun may not have heard of the datanodes yet.
async fn allocate(client: &Client, count: usize, copies: Copies, exclude: &[NodeId]) -> Result<Vec<Spare>, Fault> {
    let deadline = Instant::now() + TARGETS_WITHIN;
    let mut exclude: Vec<u64> = exclude.iter().map(|node| node.get()).collect();
    loop {
        let allocate = v1::AllocateBlocks {
            count: u32::try_from(count).expect("few are asked for"),
            replication: copies.replication.into(),
            spread: directory_policy::to_wire(copies.spread).into(),
            exclude: exclude.clone(),
            client_host: client.0.config.host.clone(),
        };
        match client.0.metadata.call(Op::AllocateBlocks(allocate), Scope::Update).await {
            Ok((v1::reply::Result::Blocks(v1::NewBlocks { blocks }), session)) => {
                let since = Instant::now();
                let spare = |wire| Ok(Spare { new: wire::new_block(wire)?, session, copies, since });
                return blocks.into_iter().map(spare).collect();
            }
            Ok((other, _)) => return Err(Metadata::unexpected(&other)),
            Err(fault) if fault.code() == Code::NoDatanodes && Instant::now() < deadline => {
                // Where there are too few others, those that failed here before are taken too.
                exclude.clear();
                tokio::time::sleep(NO_TARGETS).await;
            }
            Err(fault) => return Err(fault),
        }
    }
}
