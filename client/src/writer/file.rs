//! The task behind an open writer: turns what the application writes into blocks, and tells the namenode of them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use proto::v1;
use proto::v1::op::Kind as Op;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};
use types::{ByteSize, Code, InodeId, NodeId, Timestamp};

use super::pipeline::{FileFacts, Pipeline, PipelineError};
use crate::error::Fault;
use crate::metadata::{Metadata, Scope};
use crate::object::Attributes;
use crate::store::Client;
use crate::wire::{self, NewBlock};

/// A node that failed in a chain is not written to for so long; by then the namenode has missed its heartbeats, or has
/// heard that it is back.
const EXCLUDED: Duration = Duration::from_secs(8);
/// One that was too slow, or stopped answering, may send heartbeats all the same.
const EXCLUDED_AS_SLOW: Duration = Duration::from_secs(300);
/// A leader that has just begun may not have heard of the datanodes yet: it is given this long,
pub(super) const TARGETS_WITHIN: Duration = Duration::from_secs(3);
/// and asked this often.
pub(super) const NO_TARGETS: Duration = Duration::from_millis(250);
/// A file that has been written to waits longer: datanodes that were lost may be on their way back.
const REPLACED_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks whether a block that was committed in need has been copied.
const COPIED: Duration = Duration::from_millis(250);
/// After so many chains that failed to come up, one after the other, the next ones wait a little,
pub(super) const SETUPS: usize = 8;
/// and after so long the writer gives up: by then the namenode has missed the heartbeats of datanodes that are gone, however
/// many, and chooses others.
const SETUPS_WITHIN: Duration = Duration::from_secs(15);

/// What the handle asks for.
#[derive(Debug)]
pub(super) enum Command {
    Write(Bytes),
    Flush { sync: bool, done: oneshot::Sender<()> },
    Close { finish: Finish, done: oneshot::Sender<Closed> },
    Abort { done: oneshot::Sender<()> },
}

/// What a file becomes that is closed. But for a file it had no name.
#[derive(Debug)]
pub(super) enum Finish {
    File,
    Object(Box<v1::Publish>),
    Part(Box<v1::PutPart>),
}

/// What a file became.
#[derive(Debug)]
pub(crate) enum Closed {
    File(Attributes),
    Object { attributes: Attributes, etag: String },
    Part(StoredPart),
}

/// A part of a multipart upload, as it was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPart {
    pub inode: InodeId,
    pub length: u64,
    pub modified: Timestamp,
}

impl StoredPart {
    pub(crate) fn of(wire: &v1::Part) -> Self {
        let (inode, modified) = (InodeId::new(wire.inode), Timestamp::from_nanos(wire.modified));
        Self { inode, length: wire.length, modified }
    }
}

impl Closed {
    pub(crate) fn object(object: v1::Object) -> Result<Self, Fault> {
        let attributes = object.attributes.ok_or_else(|| wire::broken("a stored object has no attributes"))?;
        Ok(Self::Object { attributes: wire::attributes(attributes)?, etag: object.etag })
    }

    pub(super) fn into_file(self) -> Result<Attributes, Fault> {
        match self {
            Self::File(attributes) | Self::Object { attributes, .. } => Ok(attributes),
            Self::Part(_) => Err(wire::broken("a file became a part")),
        }
    }

    pub(super) fn into_part(self) -> Result<StoredPart, Fault> {
        match self {
            Self::Part(part) => Ok(part),
            Self::File(_) | Self::Object { .. } => Err(wire::broken("a part became a file")),
        }
    }
}

/// How the file gets its name.
#[derive(Debug, Clone)]
pub(super) enum Naming {
    /// It has one.
    Named,
    /// When it is closed.
    At(v1::Destination),
    /// When it is closed, which says it.
    ToldAtClose,
}

/// A file being written.
pub(super) struct FileTask {
    client: Client,
    facts: FileFacts,
    naming: Naming,
    mtime: Option<Timestamp>,
    /// The block that came with the file.
    first: Option<NewBlock>,
    pipeline: Option<Pipeline>,
    /// Complete on the datanodes, and not yet known to the namenode as such.
    previous: Option<v1::BlockDone>,
    /// Nodes that failed in a chain of this file, and until when they are avoided.
    excluded: Vec<(NodeId, Instant)>,
    /// Bytes of the present block that readers were promised.
    extended: u64,
    /// Whether a block was ended on fewer replicas than the file needs. The namenode promises nothing until it is copied.
    in_need: bool,
    /// Whether a block was written.
    begun: bool,
}

impl FileTask {
    pub(super) fn new(
        client: Client,
        facts: FileFacts,
        naming: Naming,
        mtime: Option<Timestamp>,
        first: Option<NewBlock>,
    ) -> Self {
        let (pipeline, previous) = (None, None);
        Self {
            client,
            facts,
            naming,
            mtime,
            first,
            pipeline,
            previous,
            excluded: Vec::new(),
            extended: 0,
            in_need: false,
            begun: false,
        }
    }

    /// Serves the handle until it closes, aborts, goes away, or something fails; the reason is then in `fault`.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, fault: Arc<OnceLock<Fault>>) {
        match self.serve(&mut commands).await {
            Ok(Some(done)) => {
                self.give_up().await;
                done.send(()).ok();
            }
            Ok(None) => {}
            Err(failed) => {
                fault.set(failed).expect("a task fails once");
                // The handle learns of it now, not after the cleaning up.
                drop(commands);
                self.give_up().await;
            }
        }
    }

    /// True: closed. False: to be given up.
    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<Option<oneshot::Sender<()>>, Fault> {
        loop {
            match self.next(commands).await? {
                Some(Command::Write(bytes)) => self.write(bytes).await?,
                Some(Command::Flush { sync, done }) => {
                    self.flush(sync).await?;
                    done.send(()).ok();
                }
                Some(Command::Close { finish, done }) => {
                    let closed = self.close(finish).await?;
                    done.send(closed).ok();
                    return Ok(None);
                }
                Some(Command::Abort { done }) => return Ok(Some(done)),
                // The handle was dropped.
                None => return Ok(Some(oneshot::channel().0)),
            }
        }
    }

    /// The next command, once there is room for what it may bring.
    async fn next(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<Option<Command>, Fault> {
        loop {
            let Some(pipeline) = &mut self.pipeline else { return Ok(commands.recv().await) };
            let has_room = pipeline.has_room();
            tokio::select! {
                turned = pipeline.turn() => turned.map_err(fault)?,
                command = commands.recv(), if has_room => return Ok(command),
            }
        }
    }

    async fn write(&mut self, mut bytes: Bytes) -> Result<(), Fault> {
        while !bytes.is_empty() {
            // A block that lost a hop is ended where it is: the next one has all its replicas again, and so survives the
            // loss of another hop. The repair of the short one can begin.
            if self.pipeline.as_ref().is_some_and(|pipeline| pipeline.left() == 0 || pipeline.is_degraded()) {
                self.end_block().await?;
            }
            let pipeline = self.open_block().await?;
            let part = bytes.split_to(pipeline.left().min(bytes.len() as u64) as usize);
            pipeline.write(part).map_err(fault)?;
        }
        Ok(())
    }

    async fn flush(&mut self, sync: bool) -> Result<(), Fault> {
        let Some(pipeline) = &mut self.pipeline else { return Ok(()) };
        pipeline.flush(sync).await.map_err(fault)?;
        if pipeline.is_in_need() {
            // What one datanode has is not safe. Another block takes the place of this one, which is copied meanwhile.
            self.end_block().await?;
            self.open_block().await?;
        }
        let pipeline = self.pipeline.as_ref().expect("one is open");
        let length = pipeline.length();
        if length.get() == self.extended && !self.in_need {
            return Ok(());
        }
        let written = wire::block_done(pipeline.block(), pipeline.generation(), length, &pipeline.replicas());
        self.call_when_copied(Op::Extend(v1::Extend { inode: self.facts.inode.get(), written: Some(written) })).await?;
        self.extended = length.get();
        Ok(())
    }

    async fn close(&mut self, finish: Finish) -> Result<Closed, Fault> {
        self.end_unused();
        self.end_block().await?;
        self.replace_in_need().await?;
        let last = self.previous.clone();
        let closed = match finish {
            Finish::Object(publish) => self.publish(*publish, last).await?,
            Finish::Part(put) => self.put_part(*put, last).await?,
            Finish::File => Closed::File(self.complete(last).await?),
        };
        self.previous = None;
        // What is complete is not given up any more.
        self.naming = Naming::Named;
        Ok(closed)
    }

    async fn publish(&mut self, mut publish: v1::Publish, last: Option<v1::BlockDone>) -> Result<Closed, Fault> {
        let complete = v1::Complete { inode: self.facts.inode.get(), last, publish: None, mtime: None };
        publish.content = Some(v1::publish::Content::Written(complete));
        match self.call_when_copied(Op::Publish(publish)).await? {
            v1::reply::Result::Object(object) => Closed::object(object),
            other => Err(Metadata::unexpected(&other)),
        }
    }

    async fn put_part(&mut self, mut put: v1::PutPart, last: Option<v1::BlockDone>) -> Result<Closed, Fault> {
        let complete = v1::Complete { inode: self.facts.inode.get(), last, publish: None, mtime: None };
        put.content = Some(v1::put_part::Content::Written(complete));
        match self.call_when_copied(Op::PutPart(put)).await? {
            v1::reply::Result::Part(part) => Ok(Closed::Part(StoredPart::of(&part))),
            other => Err(Metadata::unexpected(&other)),
        }
    }

    async fn complete(&mut self, last: Option<v1::BlockDone>) -> Result<Attributes, Fault> {
        let publish = match &self.naming {
            Naming::At(destination) => Some(destination.clone()),
            Naming::Named | Naming::ToldAtClose => None,
        };
        let complete = v1::Complete {
            inode: self.facts.inode.get(),
            last,
            publish,
            mtime: self.mtime.map(Timestamp::signed_nanos),
        };
        match self.call_when_copied(Op::Complete(complete)).await? {
            v1::reply::Result::Attributes(attributes) => wire::attributes(attributes),
            v1::reply::Result::Done(_) => {
                let stat = Op::Stat(v1::Stat { place: Some(wire::inode(self.facts.inode)) });
                self.client.0.metadata.attributes(stat, Scope::Read).await
            }
            other => Err(Metadata::unexpected(&other)),
        }
    }

    /// A last block on too few replicas cannot close the file. It is committed as any other, and an empty one follows it,
    /// which the namenode drops.
    async fn replace_in_need(&mut self) -> Result<(), Fault> {
        let is_short =
            |done: &v1::BlockDone| done.length > 0 && (1..self.facts.min_replicas).contains(&done.replicas.len());
        if self.previous.as_ref().is_some_and(is_short) {
            self.in_need = true;
            self.first = Some(self.add_block().await?);
            self.end_unused();
        }
        Ok(())
    }

    /// A block that came with the file and was never written to ends empty: the namenode drops it.
    fn end_unused(&mut self) {
        if let Some(unused) = self.first.take() {
            self.previous = Some(wire::block_done(unused.block, unused.generation, ByteSize::ZERO, &[]));
        }
    }

    /// Ends the present block, if there is one.
    async fn end_block(&mut self) -> Result<(), Fault> {
        let Some(pipeline) = &mut self.pipeline else { return Ok(()) };
        let done = pipeline.finish().await.map_err(fault)?;
        let lost = pipeline.lost_nodes().to_vec();
        for (node, code) in lost {
            self.exclude(node, code);
        }
        if done.replicas.len() < self.facts.min_replicas {
            warn!(block = %done.block, replicas = done.replicas.len(), "a block ends on too few datanodes, and is copied");
            self.in_need = true;
        }
        self.previous = Some(wire::block_done(done.block, done.generation, done.length, &done.replicas));
        self.pipeline = None;
        self.begun = true;
        self.extended = 0;
        Ok(())
    }

    /// The present block, or a new one whose chain has come up.
    async fn open_block(&mut self) -> Result<&mut Pipeline, Fault> {
        if self.pipeline.is_none() {
            self.pipeline = Some(self.new_pipeline().await?);
        }
        Ok(self.pipeline.as_mut().expect("made above"))
    }

    async fn new_pipeline(&mut self) -> Result<Pipeline, Fault> {
        let mut setups = 0;
        let began = Instant::now();
        loop {
            let new = match self.first.take() {
                Some(first) => first,
                None => self.add_block().await?,
            };
            let block = new.block;
            let targets = new.targets.len();
            let attempt = async {
                let mut pipeline = Pipeline::start(self.client.clone(), self.facts.clone(), new)?;
                pipeline.ready().await?;
                Ok(pipeline)
            };
            match attempt.await {
                Ok(pipeline) => return Ok(pipeline),
                Err(PipelineError::Fault(fault)) => return Err(fault),
                Err(PipelineError::Setup { node, failed }) => {
                    info!(%block, reason = %failed, "a pipeline did not come up; trying other datanodes");
                    self.abandon_block(block).await?;
                    setups += 1;
                    let patience = if self.begun { REPLACED_WITHIN } else { setups_within(&self.client) };
                    if setups >= SETUPS && began.elapsed() >= patience {
                        let (wanted, reason) = (self.facts.min_replicas, failed.to_string());
                        return Err(Fault::PipelineLost { block, left: targets.saturating_sub(1), wanted, reason });
                    }
                    if let Some(node) = node {
                        self.exclude(node, failed.code);
                    }
                    if setups >= SETUPS {
                        tokio::time::sleep(NO_TARGETS).await;
                    }
                }
            }
        }
    }

    /// Asks for the next block. Where there are too few datanodes for it, those that failed here before are taken too.
    async fn add_block(&mut self) -> Result<NewBlock, Fault> {
        let patience = if self.begun { REPLACED_WITHIN } else { TARGETS_WITHIN };
        let deadline = Instant::now() + patience;
        loop {
            self.excluded.retain(|(_, until)| Instant::now() < *until);
            let add = v1::AddBlock {
                inode: self.facts.inode.get(),
                previous: self.previous.clone(),
                exclude: self.excluded.iter().map(|(node, _)| node.get()).collect(),
                client_host: self.client.0.config.host.clone(),
            };
            match self.call(Op::AddBlock(add)).await {
                Ok(v1::reply::Result::Block(block)) => {
                    self.previous = None;
                    return wire::new_block(block);
                }
                Ok(other) => return Err(Metadata::unexpected(&other)),
                Err(fault) if fault.code() == Code::NoDatanodes && Instant::now() < deadline => {
                    self.excluded.clear();
                    tokio::time::sleep(NO_TARGETS).await;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    fn exclude(&mut self, node: NodeId, why: Code) {
        let time = if why == Code::TimedOut { EXCLUDED_AS_SLOW } else { EXCLUDED };
        self.excluded.push((node, Instant::now() + time));
    }

    async fn abandon_block(&mut self, block: types::BlockId) -> Result<(), Fault> {
        let abandon = v1::AbandonBlock { inode: self.facts.inode.get(), block: Some(block.into()) };
        self.call(Op::AbandonBlock(abandon)).await.map(|_| ())
    }

    /// Gives up a file without a name. One with a name keeps what was written, if the datanodes still take it, and at
    /// least what is complete; its lease is free afterwards.
    async fn give_up(&mut self) {
        let outcome = if !matches!(self.naming, Naming::Named) {
            self.pipeline = None;
            self.call(Op::Abandon(v1::Abandon { inode: self.facts.inode.get() })).await.map(|_| ())
        } else {
            self.close_early().await
        };
        if let Err(fault) = outcome {
            warn!(inode = %self.facts.inode, %fault, "a file could not be given up in order; its lease ends with the session");
        }
    }

    async fn close_early(&mut self) -> Result<(), Fault> {
        self.end_unused();
        let block = self.pipeline.as_ref().map(Pipeline::block);
        if let Err(failed) = self.end_block().await {
            self.pipeline = None;
            // Bytes that readers were promised must not go.
            let Some(block) = block.filter(|_| self.extended == 0) else { return Err(failed) };
            self.abandon_block(block).await?;
        }
        self.replace_in_need().await?;
        self.complete(self.previous.clone()).await.map(|_| ())
    }

    /// Asks again while blocks that were ended in need are being copied.
    async fn call_when_copied(&mut self, op: Op) -> Result<v1::reply::Result, Fault> {
        let deadline = Instant::now() + self.client.0.config.op_timeout;
        loop {
            match self.call(op.clone()).await {
                Err(fault) if self.in_need && fault.code() == Code::NoDatanodes && Instant::now() < deadline => {
                    tokio::time::sleep(COPIED).await;
                }
                answer => return answer,
            }
        }
    }

    async fn call(&mut self, op: Op) -> Result<v1::reply::Result, Fault> {
        self.client.0.metadata.call(op, Scope::Lease(self.facts.session)).await.map(|(result, _)| result)
    }
}

/// How long a writer that has stored nothing yet tries to set a chain up.
pub(super) fn setups_within(client: &Client) -> Duration {
    SETUPS_WITHIN.min(client.0.config.op_timeout)
}

/// The reason, where a chain that does not come up is not expected any more.
fn fault(error: PipelineError) -> Fault {
    match error {
        PipelineError::Fault(fault) => fault,
        PipelineError::Setup { failed, .. } => Fault::Refused { code: failed.code, message: failed.to_string() },
    }
}
