//! The bytes of a range of a file, in order, from whichever replicas give them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use proto::v1;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};
use transfer::ReadError;
use transfer::frame::MAX_DATA;
use types::StorageId;

use super::attempt::{BlockRead, ReplicaError, Wanted};
use super::blocks::{OpenFile, Piece};
use super::choice;
use super::near::NearRead;
use super::race::{Input, Output, Race};
use crate::datanode::Class;
use crate::error::Fault;
use crate::local::LocalError;
use crate::metadata::Scope;
use crate::wire::{LocatedBlock, Replica};

/// When no replica of a block is left, the map is asked for again, after these pauses.
const REFRESHES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2)];
/// A report of damage holds a reader up no longer than this.
const REPORTING: Duration = Duration::from_secs(2);

/// What a hole reads as, a packet's worth at a time.
static ZEROS: [u8; MAX_DATA] = [0; MAX_DATA];

/// The bytes from `position` to `end`.
#[derive(Debug)]
pub(super) struct Range {
    file: Arc<OpenFile>,
    position: u64,
    end: u64,
    current: Option<Current>,
    /// The end of the hole that `position` is in, if it is in one.
    hole: u64,
    /// Replicas of the block at `position` that were of no use, and why.
    tried: Vec<(StorageId, String)>,
    refreshed: usize,
    damaged: bool,
}

/// The read of the block at `position`.
#[derive(Debug)]
enum Current {
    Far(Box<BlockRead>),
    Near(NearRead),
}

/// Replicas that failed, and why.
type Failures = Vec<(Replica, ReplicaError)>;

impl Range {
    pub(super) fn new(file: Arc<OpenFile>, position: u64, end: u64) -> Self {
        Self { file, position, end, current: None, hole: 0, tried: Vec::new(), refreshed: 0, damaged: false }
    }

    /// The next bytes; none when all were given.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        if let Some(content) = self.file.inline() {
            let bytes = content.slice(self.position as usize..self.end as usize);
            self.position = self.end;
            return Ok((!bytes.is_empty()).then_some(bytes));
        }
        while self.position < self.end {
            if self.position < self.hole {
                let length = (self.hole.min(self.end) - self.position).min(MAX_DATA as u64);
                self.position += length;
                return Ok(Some(Bytes::from_static(&ZEROS[..length as usize])));
            }
            let bytes = match &mut self.current {
                None => self.start().await?,
                Some(Current::Far(read)) => match read.next().await {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        let (block, replica) = (Arc::clone(&read.block), read.replica.clone());
                        self.current = None;
                        self.leave(&block, &replica, error).await;
                        None
                    }
                },
                Some(Current::Near(read)) => match read.next(&self.file.client).await {
                    Ok(bytes) => Some(bytes),
                    Err(error) => {
                        let (block, replica) = (Arc::clone(&read.block), read.replica.clone());
                        self.current = None;
                        self.leave_near(&block, &replica, error).await;
                        None
                    }
                },
            };
            self.release_if_done();
            if let Some(bytes) = bytes {
                self.position += bytes.len() as u64;
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Keeps the connection of a read that has given all its bytes.
    fn release_if_done(&mut self) {
        let is_done = |read: &mut Current| match read {
            Current::Far(read) => read.is_done(),
            Current::Near(read) => read.is_done(),
        };
        if let Some(read) = self.current.take_if(is_done) {
            match read {
                Current::Far(read) => read.finish(&self.file.client.0.datanodes),
                Current::Near(_) => {}
            }
            self.tried.clear();
            self.refreshed = 0;
        }
    }

    /// Starts to read the block at `position` from one of the replicas left, and gives the first bytes.
    async fn start(&mut self) -> Result<Option<Bytes>, Fault> {
        let block = match self.file.locate(self.position).await? {
            Piece::Block(block) => block,
            Piece::Hole { end } => {
                self.hole = end;
                return Ok(None);
            }
        };
        let is_left = |replica: &&Replica| self.tried.iter().all(|(storage, _)| *storage != replica.hop.storage);
        let left: Vec<Replica> = block.replicas.iter().filter(is_left).cloned().collect();
        if left.is_empty() {
            return self.refresh(&block).await.map(|()| None);
        }
        let offset = block.block_offset + (self.position - block.offset);
        let wanted = Wanted { offset, length: self.end.min(block.offset + block.length) - self.position };
        let pool = &self.file.client.0.datanodes;
        let may_open = |replica: &&Replica| {
            let is_well = !replica.silent && !pool.is_suspect(replica.hop.address);
            is_well && self.file.near.may_open(block.block, replica)
        };
        if self.file.client.0.config.local_reads
            && let Some(replica) = left.iter().find(may_open)
        {
            match self.file.near.open(&self.file.client, &block, replica).await {
                Ok(file) => {
                    let read = NearRead::new(file, Arc::clone(&block), replica.clone(), wanted);
                    self.current = Some(Current::Near(read));
                }
                Err(error) => self.leave_near(&block, replica, error).await,
            }
            return Ok(None);
        }
        let (taken, failures) = self.race(&block, left, wanted).await;
        for (replica, error) in failures {
            self.leave(&block, &replica, error).await;
        }
        Ok(taken.map(|(read, first)| {
            self.current = Some(Current::Far(Box::new(read)));
            first
        }))
    }

    /// Goes on over the network. The replica is left altogether if its bytes are damaged; else its datanode may do better.
    async fn leave_near(&mut self, block: &LocatedBlock, replica: &Replica, error: LocalError) {
        let storage = replica.hop.storage;
        self.file.near.avoid(block.block, replica, &error);
        match error {
            LocalError::Corrupt(mismatch) => {
                self.leave(block, replica, ReadError::Corrupt(mismatch).into()).await;
            }
            LocalError::Short { wanted, length } => {
                self.leave(block, replica, ReadError::Short { wanted, total: length }.into()).await;
            }
            LocalError::Silent(_) => {
                info!(block = %block.block, %storage, %error, "reading from another replica");
                self.file.client.0.datanodes.suspect(replica.hop.address);
            }
            LocalError::Socket(_) | LocalError::Refused(_) | LocalError::Protocol(_) | LocalError::Read(_) => {
                debug!(block = %block.block, %storage, %error, "a near replica is read over the network");
            }
        }
    }

    /// Has the replicas race for the first bytes, if the best of them is late.
    async fn race(
        &self,
        block: &Arc<LocatedBlock>,
        replicas: Vec<Replica>,
        wanted: Wanted,
    ) -> (Option<(BlockRead, Bytes)>, Failures) {
        let (pool, patience) = (&self.file.client.0.datanodes, self.file.client.0.config.read_timeout);
        let class = Class::of(wanted.length);
        let addresses: Vec<_> = replicas.iter().map(|replica| replica.hop.address).collect();
        let (outlook, late_after) = pool.outlook(&addresses, class);
        let order = choice::order(&replicas.iter().zip(outlook).collect::<Vec<_>>());

        type Attempt = BoxFuture<'static, (usize, Result<(BlockRead, Bytes), ReplicaError>)>;
        let mut running: FuturesUnordered<Attempt> = FuturesUnordered::new();
        let mut asked: Vec<Option<Instant>> = vec![None; order.len()];
        let began = Instant::now();
        let mut race = Race::new(order.len(), late_after);
        let mut failures = Failures::new();
        let mut step = Some((race.start(Duration::ZERO), None));
        loop {
            match step.take() {
                Some((Output::Ask(competitor), _)) => {
                    asked[competitor] = Some(Instant::now());
                    let replica = replicas[order[competitor]].clone();
                    let read = BlockRead::start(Arc::clone(pool), (Arc::clone(block), replica), wanted, patience);
                    running.push(Box::pin(async move { (competitor, read.await) }));
                }
                Some((Output::Take(taken), first)) => {
                    for (competitor, since) in asked.iter().enumerate() {
                        if let Some(since) = since.filter(|_| competitor != taken) {
                            pool.overtaken(replicas[order[competitor]].hop.address, class, since.elapsed());
                        }
                    }
                    return (first, failures);
                }
                Some((Output::GiveUp, _)) => return (None, failures),
                None => {}
            }
            let late = async {
                match race.late_at() {
                    Some(at) => sleep_until(began + at).await,
                    None => std::future::pending().await,
                }
            };
            step = tokio::select! {
                biased;
                Some((competitor, read)) = running.next() => match read {
                    Ok(first) => race
                        .handle(began.elapsed(), Input::Answered(competitor))
                        .map(|output| (output, Some(first))),
                    Err(error) => {
                        asked[competitor] = None;
                        failures.push((replicas[order[competitor]].clone(), error));
                        race.handle(began.elapsed(), Input::Failed).map(|output| (output, None))
                    }
                },
                () = late => {
                    let may_hedge = pool.may_hedge();
                    race.handle(began.elapsed(), Input::Late { may_hedge }).map(|output| (output, None))
                }
            };
        }
    }

    /// Asks the namenode again when no replica is left, a few times.
    async fn refresh(&mut self, block: &LocatedBlock) -> Result<(), Fault> {
        let Some(pause) = REFRESHES.get(self.refreshed) else {
            let mut tried: Vec<String> = self.tried.iter().map(|(storage, why)| format!("{storage}: {why}")).collect();
            if tried.is_empty() {
                tried.push("the namenode knows of none".to_owned());
            }
            let (damaged, tried) = (self.damaged, tried.join("; "));
            return Err(Fault::NoReplica { block: block.block, offset: self.position, damaged, tried });
        };
        self.refreshed += 1;
        tokio::time::sleep(*pause).await;
        self.file.refresh(self.position).await?;
        // If nothing new is known, the reasons from before are still those to tell.
        match self.file.locate(self.position).await? {
            Piece::Block(known) if known.replicas.is_empty() => {}
            Piece::Block(_) | Piece::Hole { .. } => self.tried.clear(),
        }
        Ok(())
    }

    /// Goes on without a replica.
    async fn leave(&mut self, block: &LocatedBlock, replica: &Replica, error: ReplicaError) {
        let (id, storage, address) = (block.block, replica.hop.storage, replica.hop.address);
        self.tried.push((storage, error.to_string()));
        if error.is_of_node() {
            info!(block = %id, %storage, %address, %error, "reading from another replica");
            self.file.client.0.datanodes.suspect(address);
        }
        if error.is_damage(block) {
            warn!(block = %id, %storage, %address, %error, "a replica is damaged");
            self.damaged = true;
            self.report(block, storage).await;
        }
    }

    async fn report(&self, block: &LocatedBlock, storage: StorageId) {
        let report = v1::ReportBadReplica {
            block: Some(block.block.into()),
            generation: block.generation.get(),
            storage: storage.as_bytes().to_vec(),
        };
        let told = self.file.client.0.metadata.call(v1::op::Kind::ReportBadReplica(report), Scope::Read);
        match tokio::time::timeout(REPORTING, told).await {
            Ok(Ok(_)) => {}
            Ok(Err(fault)) => warn!(block = %block.block, %storage, %fault, "the damage could not be reported"),
            Err(_) => warn!(block = %block.block, %storage, "the damage could not be reported in time"),
        }
    }
}
