//! Writing a file.

mod append;
mod file;
mod once;
mod pipeline;
mod spares;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use proto::v1;
use proto::v1::op::Kind as Op;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use transfer::frame::MAX_DATA;
use transfer::message::MAX_BLOCK;
use transfer::{Buffer, Buffers, Level};
use types::{Code, SessionId};

use crate::directory_policy::Copies;
use crate::error::{Error, Fault};
use crate::memory::Part;
use crate::metadata::{Metadata, Scope};
use crate::object::{AppendOptions, Attributes, CreateOptions, Durability};
use crate::place::Place;
use crate::store::Client;
use crate::wire;

pub(crate) use append::recover;
pub(crate) use file::Closed;
pub use file::StoredPart;
pub use once::StoredBlock;
pub(crate) use once::store;
pub(crate) use spares::Spares;

use file::{Command, FileTask, Finish, NO_TARGETS, Naming, TARGETS_WITHIN};
use pipeline::FileFacts;

/// Commands, of a piece each, that wait for the task.
const COMMANDS: usize = 2;

/// A file open for writing, at its end. Every call that is given up half-way leaves it unfit for anything but
/// [`FileWriter::abort`]. Dropped without [`FileWriter::close`], it is aborted in the background.
#[derive(Debug)]
pub struct FileWriter {
    client: Client,
    /// None if it is told when the file is closed.
    place: Option<Place>,
    /// Where it is to be, if it has no name before it is closed.
    meant_for: Option<v1::Aim>,
    /// As error messages show it.
    shown: String,
    options: CreateOptions,
    state: State,
    position: u64,
}

#[derive(Debug)]
enum State {
    /// A file without a name that is so short that it may live with its inode: nothing was sent yet.
    Held(Vec<u8>),
    Running(Running),
}

/// The task, and what is collected for it.
#[derive(Debug)]
struct Running {
    commands: mpsc::Sender<Command>,
    /// Why the task ended early.
    fault: Arc<OnceLock<Fault>>,
    memory: Part,
    buffers: Buffers,
    /// Less than a piece.
    tail: Option<Buffer>,
}

impl FileWriter {
    pub(crate) async fn create(client: Client, place: Place, options: CreateOptions) -> Result<Self, Error> {
        let shown = place.to_string();
        let meant_for = options.atomic.then(|| v1::Aim { kind: Some(v1::aim::Kind::Place(wire::place(&place))) });
        Self::begin(client, Some(place), meant_for, shown, options).await
    }

    /// A file that is told its name when it is closed, by [`Self::close_as`].
    pub(crate) async fn unnamed(
        client: Client,
        object: v1::ObjectName,
        shown: String,
        options: CreateOptions,
    ) -> Result<Self, Error> {
        let meant_for = Some(v1::Aim { kind: Some(v1::aim::Kind::Object(object)) });
        Self::begin(client, None, meant_for, shown, CreateOptions { atomic: true, ..options }).await
    }

    async fn begin(
        client: Client,
        place: Option<Place>,
        meant_for: Option<v1::Aim>,
        shown: String,
        options: CreateOptions,
    ) -> Result<Self, Error> {
        let short = options.size_hint.is_none_or(|hint| hint <= client.defaults().inline_max.get());
        let state = if options.atomic && short {
            Ok(State::Held(Vec::new()))
        } else {
            start(&client, place.as_ref(), meant_for.clone(), &options).await.map(State::Running)
        };
        match state {
            Ok(state) => Ok(Self { client, place, meant_for, shown, options, state, position: 0 }),
            Err(fault) => Err(Error::new("create", shown, fault)),
        }
    }

    pub(crate) async fn append(client: Client, place: Place, options: AppendOptions) -> Result<Self, Error> {
        match append::start(&client, &place, options).await {
            Ok((running, position)) => {
                let (state, options, shown) = (State::Running(running), CreateOptions::default(), place.to_string());
                Ok(Self { client, place: Some(place), meant_for: None, shown, options, state, position })
            }
            Err(fault) => Err(Error::new("append to", &place, fault)),
        }
    }

    /// Where in the file the next byte goes.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Appends `data`, without copying the whole packets in it. Waits while too much is on its way.
    pub async fn write(&mut self, mut data: Bytes) -> Result<(), Error> {
        let running = self.running(data.len()).await?;
        let Some(running) = running else {
            self.hold(&data);
            return Ok(());
        };
        let length = data.len() as u64;
        let written = async {
            while !data.is_empty() {
                if running.tail.is_none() && data.len() >= MAX_DATA {
                    running.send(Command::Write(data.split_to(MAX_DATA))).await?;
                } else {
                    running.collect(&mut data).await?;
                }
            }
            Ok(())
        };
        written.await.map_err(|fault| Error::new("write", &self.shown, fault))?;
        self.position += length;
        Ok(())
    }

    /// Appends a copy of `data`.
    pub async fn write_all(&mut self, mut data: &[u8]) -> Result<(), Error> {
        let length = data.len();
        let running = self.running(length).await?;
        let Some(running) = running else {
            self.hold(data);
            return Ok(());
        };
        let written = async {
            while !data.is_empty() {
                running.collect(&mut data).await?;
            }
            Ok(())
        };
        written.await.map_err(|fault| Error::new("write", &self.shown, fault))?;
        self.position += length as u64;
        Ok(())
    }

    /// Waits until new readers see all that was written so far. Of a file without a name nobody sees anything.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.flushed(false).await.map_err(|fault| Error::new("flush", &self.shown, fault))
    }

    /// As [`Self::flush`], and what was written is on the disks of all live members of the pipeline.
    pub async fn sync(&mut self) -> Result<(), Error> {
        self.flushed(true).await.map_err(|fault| Error::new("sync", &self.shown, fault))
    }

    /// Completes the file, as durable as was asked for. Gives its attributes.
    pub async fn close(self) -> Result<Attributes, Error> {
        let Self { client, place, shown, options, state, .. } = self;
        let closed = match (state, place) {
            (State::Held(content), Some(place)) => put_inline(&client, &place, content.into(), &options).await,
            (State::Held(_), None) => Err(Fault::Broken("it has no name".to_owned())),
            (State::Running(mut running), _) => running.close(Finish::File).await.and_then(Closed::into_file),
        };
        closed.map_err(|fault| Error::new("close", shown, fault))
    }

    /// Completes a file without a name as the object that `publish` says.
    pub(crate) async fn close_as(self, mut publish: v1::Publish) -> Result<Closed, Fault> {
        let Self { client, options, state, .. } = self;
        match state {
            State::Held(content) => {
                let user = &client.0.config.user;
                let ownership = Some(wire::file_ownership(user, &options));
                let layout = Some(wire::layout(&options));
                let put = v1::PutInline { ownership, layout, content: content.into(), ..Default::default() };
                publish.content = Some(v1::publish::Content::Inline(put));
                match client.0.metadata.call(Op::Publish(publish), Scope::Update).await?.0 {
                    v1::reply::Result::Object(object) => Closed::object(object),
                    other => Err(Metadata::unexpected(&other)),
                }
            }
            State::Running(mut running) => running.close(Finish::Object(Box::new(publish))).await,
        }
    }

    /// Completes a file without a name, which was not to be held, as the part that `put` says.
    pub(crate) async fn close_as_part(self, put: v1::PutPart) -> Result<StoredPart, Fault> {
        match self.state {
            State::Held(_) => Err(Fault::Broken("a part is never held".to_owned())),
            State::Running(mut running) => running.close(Finish::Part(Box::new(put))).await.and_then(Closed::into_part),
        }
    }

    /// Gives up. A file without a name is gone; one with a name keeps what was written so far.
    pub async fn abort(self) -> Result<(), Error> {
        let State::Running(mut running) = self.state else { return Ok(()) };
        running.abort().await.map_err(|fault| Error::new("abort", &self.shown, fault))
    }

    /// The task, begun if `more` bytes are too many to be held; none if they are to be held.
    async fn running(&mut self, more: usize) -> Result<Option<&mut Running>, Error> {
        let inline_max = self.client.defaults().inline_max.get();
        if let State::Held(held) = &mut self.state
            && (held.len() + more) as u64 > inline_max
        {
            let mut running =
                match start(&self.client, self.place.as_ref(), self.meant_for.clone(), &self.options).await {
                    Ok(running) => running,
                    Err(fault) => return Err(Error::new("write", &self.shown, fault)),
                };
            let mut tail = self.client.0.buffers.take();
            tail.bytes_mut().extend_from_slice(held);
            running.tail = Some(tail);
            self.state = State::Running(running);
        }
        match &mut self.state {
            State::Held(_) => Ok(None),
            State::Running(running) => Ok(Some(running)),
        }
    }

    fn hold(&mut self, data: &[u8]) {
        if let State::Held(held) = &mut self.state {
            held.extend_from_slice(data);
            self.position += data.len() as u64;
        }
    }

    async fn flushed(&mut self, sync: bool) -> Result<(), Fault> {
        let State::Running(running) = &mut self.state else { return Ok(()) };
        running.send_tail().await?;
        let (done, waits) = oneshot::channel();
        running.send(Command::Flush { sync, done }).await?;
        waits.await.map_err(|_| running.reason())
    }
}

impl Running {
    /// Takes bytes from the front of `data`, as many as make a whole piece at most.
    async fn collect(&mut self, data: &mut impl bytes::Buf) -> Result<(), Fault> {
        let piece = self.memory.piece();
        let tail = self.tail.get_or_insert_with(|| self.buffers.take_for(piece));
        while data.has_remaining() && tail.len() < piece {
            let part = data.chunk();
            let taken = part.len().min(piece - tail.len());
            tail.bytes_mut().extend_from_slice(&part[..taken]);
            data.advance(taken);
        }
        if tail.len() < piece { Ok(()) } else { self.send_tail().await }
    }

    async fn send_tail(&mut self) -> Result<(), Fault> {
        match self.tail.take() {
            Some(tail) if !tail.is_empty() => self.send(Command::Write(tail.freeze())).await,
            Some(_) | None => Ok(()),
        }
    }

    async fn send(&self, command: Command) -> Result<(), Fault> {
        self.commands.send(command).await.map_err(|_| self.reason())
    }

    async fn close(&mut self, finish: Finish) -> Result<Closed, Fault> {
        self.send_tail().await?;
        let (done, waits) = oneshot::channel();
        self.send(Command::Close { finish, done }).await?;
        waits.await.map_err(|_| self.reason())
    }

    async fn abort(&mut self) -> Result<(), Fault> {
        let (done, waits) = oneshot::channel();
        // A task that has failed has given up already.
        if self.commands.send(Command::Abort { done }).await.is_ok() {
            waits.await.ok();
        }
        Ok(())
    }

    fn reason(&self) -> Fault {
        self.fault.get().cloned().unwrap_or(Fault::Closed)
    }
}

/// When bytes count as safe, if nothing else is said.
pub(crate) fn level(client: &Client, durability: Option<Durability>) -> Level {
    match durability.unwrap_or(client.defaults().durability) {
        Durability::Memory => Level::Memory,
        Durability::Close => Level::Close,
        Durability::Always => Level::Always,
    }
}

/// Stores a whole object of one block: the block, and then the file with one operation.
pub(crate) async fn put_block(
    client: &Client,
    place: &Place,
    content: Bytes,
    options: &CreateOptions,
) -> Result<Attributes, Fault> {
    let default = Copies { replication: client.defaults().replication, spread: None };
    let expected = client.0.remembered.at(place).unwrap_or(default);
    let copies = Copies { replication: options.replication.unwrap_or(expected.replication), ..expected };
    let block = store(client, content, copies, level(client, options.durability)).await?;
    let put = v1::PutBlocks {
        destination: Some(wire::destination(place, options)),
        ownership: Some(wire::file_ownership(&client.0.config.user, options)),
        layout: Some(wire::layout(options)),
        blocks: vec![block.done()],
        mtime: options.mtime.map(types::Timestamp::signed_nanos),
    };
    let stored = client.0.metadata.attributes(Op::PutBlocks(put), Scope::Lease(block.taken.session)).await?;
    block.taken.used();
    if options.replication.is_none() {
        client.0.remembered.note(place, stored.copies(), default);
    }
    Ok(stored)
}

/// Stores a whole small object in one operation.
pub(crate) async fn put_inline(
    client: &Client,
    place: &Place,
    content: Bytes,
    options: &CreateOptions,
) -> Result<Attributes, Fault> {
    let put = v1::PutInline {
        destination: Some(wire::destination(place, options)),
        ownership: Some(wire::file_ownership(&client.0.config.user, options)),
        layout: Some(wire::layout(options)),
        content,
        mtime: options.mtime.map(types::Timestamp::signed_nanos),
    };
    match client.0.metadata.call(Op::PutInline(put), Scope::Update).await?.0 {
        v1::reply::Result::Attributes(attributes)
        | v1::reply::Result::Created(v1::Created { attributes: Some(attributes), .. }) => wire::attributes(attributes),
        v1::reply::Result::Done(_) => {
            let stat = Op::Stat(v1::Stat { place: Some(wire::place(place)) });
            client.0.metadata.attributes(stat, Scope::Read).await
        }
        other => Err(Metadata::unexpected(&other)),
    }
}

/// Opens the file at the namenode and starts the task that writes it.
async fn start(
    client: &Client,
    place: Option<&Place>,
    meant_for: Option<v1::Aim>,
    options: &CreateOptions,
) -> Result<Running, Fault> {
    let destination = place.map(|place| wire::destination(place, options));
    let create = v1::Create {
        destination: destination.clone().filter(|_| !options.atomic),
        ownership: Some(wire::file_ownership(&client.0.config.user, options)),
        layout: Some(wire::layout(options)),
        with_block: options.atomic || options.size_hint.is_some_and(|hint| hint > 0),
        exclude: Vec::new(),
        client_host: client.0.config.host.clone(),
        meant_for,
    };
    let deadline = Instant::now() + TARGETS_WITHIN;
    let (created, session) = loop {
        match client.0.metadata.call(Op::Create(create.clone()), Scope::Update).await {
            Ok((v1::reply::Result::Created(created), session)) => break (created, session),
            Ok((other, _)) => return Err(Metadata::unexpected(&other)),
            Err(fault) if fault.code() == Code::NoDatanodes && Instant::now() < deadline => {
                tokio::time::sleep(NO_TARGETS).await;
            }
            Err(fault) => return Err(fault),
        }
    };
    let attributes = created.attributes.ok_or(Fault::Protocol {
        peer: "the namenode".to_owned(),
        problem: "a new file has no attributes".to_owned(),
    })?;
    let attributes = wire::attributes(attributes)?;
    let first = created.block.map(wire::new_block).transpose()?;
    let naming = match destination {
        Some(_) if !options.atomic => Naming::Named,
        Some(destination) => Naming::At(destination),
        None => Naming::ToldAtClose,
    };
    let opened = Opened { attributes: &attributes, session, durability: options.durability };
    let facts = opened.facts(client);
    Ok(run(client, FileTask::new(client.clone(), facts, naming, options.mtime, first)))
}

/// A file that the namenode has opened for this client.
struct Opened<'a> {
    attributes: &'a Attributes,
    session: SessionId,
    durability: Option<Durability>,
}

impl Opened<'_> {
    fn facts(&self, client: &Client) -> FileFacts {
        let min_replicas = client.defaults().min_replicas.min(self.attributes.replication).max(1);
        FileFacts {
            inode: self.attributes.inode,
            session: self.session,
            level: level(client, self.durability),
            block_size: self.attributes.block_size.min(MAX_BLOCK),
            replicas: self.attributes.replication.into(),
            min_replicas: min_replicas.into(),
            once: false,
        }
    }
}

fn run(client: &Client, task: FileTask) -> Running {
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let fault = Arc::new(OnceLock::new());
    client.0.tasks.spawn(task.run(receiver, Arc::clone(&fault)));
    Running { commands, fault, memory: client.0.write_memory.join(), buffers: client.0.buffers.clone(), tail: None }
}
