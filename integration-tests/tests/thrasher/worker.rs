//! One who works on files of its own, one thing after the other; and one who reads what the others write.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use client::{Client, Config, ContentOptions, CreateOptions, Durability, Error};
use integration_tests::thrasher::{Content, Dice, State, Task, Ticket, choose};
use types::{ByteSize, Code, Path};

use crate::world::World;

/// No operation takes so long, whatever happens; more than all that a client waits for by itself.
const HANG: Duration = Duration::from_secs(200);

pub(crate) struct Worker {
    pub(crate) number: u64,
    /// Whether every answer is waited for, and none may be an error.
    patient: bool,
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) world: Arc<World>,
    pub(crate) dice: Dice,
    /// Files whose state is known.
    files: Vec<String>,
    named: u64,
}

/// The path of a name, which is plain.
pub(crate) fn path(name: &str) -> Path {
    Path::parse(name.as_bytes()).expect("names are plain")
}

/// What is at a path; none if nothing is.
pub(crate) async fn read_whole(client: &Client, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let mut reader = match client.open(&path(name)).await {
        Err(error) if error.code() == Code::NotFound => return Ok(None),
        reader => reader?,
    };
    let mut bytes = Vec::with_capacity(reader.attributes().length.get() as usize);
    while let Some(chunk) = reader.next_chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

impl Worker {
    pub(crate) fn new(
        number: u64,
        patient: bool,
        client: Client,
        config: Config,
        world: Arc<World>,
        dice: Dice,
    ) -> Self {
        Self { number, patient, client, config, world, dice, files: Vec::new(), named: 0 }
    }

    /// Until the time is over.
    pub(crate) async fn work(mut self) -> Result<()> {
        while !self.world.is_over() {
            let lengths: Vec<u64> = self.files.iter().map(|name| self.content(name).length()).collect();
            let task = choose(&mut self.dice, &lengths);
            let Ok(answer) = tokio::time::timeout(HANG, self.act(task)).await else {
                bail!("worker {}: {task:?} does not end", self.number);
            };
            self.world.count(task.name(), &answer);
            if let Err(error) = answer {
                self.failed(task, &error);
            }
        }
        Ok(self.client.close().await?)
    }

    /// Reads whatever is there, until the time is over.
    pub(crate) async fn read(mut self) -> Result<()> {
        while !self.world.is_over() {
            let paths = self.world.ledger().paths();
            let Some(name) = self.dice.pick(&paths).cloned() else {
                tokio::task::yield_now().await;
                continue;
            };
            let Ok(answer) = tokio::time::timeout(HANG, self.look(&name)).await else {
                bail!("reader {}: {name} does not end", self.number);
            };
            self.world.count("read by others", &answer);
        }
        Ok(self.client.close().await?)
    }

    #[expect(clippy::print_stdout, reason = "the log of a run that fails")]
    fn failed(&self, task: Task, error: &Error) {
        println!("{:.1}s: worker {}: {task:?}: {error}", self.world.elapsed().as_secs_f64(), self.number);
        // A read needs a replica that somebody serves, and all of a block's may be out for a while.
        if self.patient && !matches!(task, Task::Read { .. }) {
            self.world.violation(format_args!("worker {} is told of a fault: {task:?}: {error}", self.number));
        }
    }

    async fn act(&mut self, task: Task) -> Result<(), Error> {
        match task {
            Task::Put { length } => {
                let name = self.new_name();
                self.put(name.clone(), length, false).await?;
                self.files.push(name);
            }
            Task::Replace { file, length } => {
                let name = self.files.swap_remove(file);
                self.put(name.clone(), length, true).await?;
                self.files.push(name);
            }
            Task::Stream { pieces, piece } => {
                let name = self.new_name();
                self.stream(&name, pieces, piece).await?;
                self.files.push(name);
            }
            Task::Append { file, pieces, piece } => {
                let name = self.files.swap_remove(file);
                self.append(&name, pieces, piece).await?;
                self.files.push(name);
            }
            Task::Vanish { file, pieces, piece } => {
                let name = self.files.swap_remove(file);
                self.vanish(&name, pieces, piece).await?;
                self.files.push(name);
            }
            Task::WriteAt { file, offset, length } => {
                let name = self.files.swap_remove(file);
                let (mut content, seed) = (self.content(&name), self.world.ledger().seed());
                content.write_at(offset, seed, length);
                let data = Bytes::from(content.bytes(offset, length as usize));
                let ticket = self.begin(vec![(name.clone(), State::whole(content))]);
                let options = ContentOptions { durability: self.durability(), ..ContentOptions::default() };
                let answer = self.client.write_at(&path(&name), offset, data, options).await;
                self.settle(ticket, answer)?;
                self.files.push(name);
            }
            Task::Truncate { file, length } => {
                let name = self.files.swap_remove(file);
                let mut content = self.content(&name);
                content.truncate(length);
                let ticket = self.begin(vec![(name.clone(), State::whole(content))]);
                let answer = self.client.truncate(&path(&name), length, ContentOptions::default()).await;
                self.settle(ticket, answer)?;
                self.files.push(name);
            }
            Task::Rename { file, over } => self.rename(file, over).await?,
            Task::Delete { file } => {
                let name = self.files.swap_remove(file);
                let ticket = self.begin(vec![(name.clone(), State::Absent)]);
                let answer = self.client.delete(&path(&name), false).await;
                self.settle(ticket, answer)?;
            }
            Task::Read { file } => {
                let name = self.files[file].clone();
                self.look(&name).await?;
            }
        }
        Ok(())
    }

    async fn put(&mut self, name: String, length: u64, overwrite: bool) -> Result<(), Error> {
        let mut content = Content::default();
        content.append(self.world.ledger().seed(), length);
        let data = Bytes::from(content.bytes(0, length as usize));
        let ticket = self.begin(vec![(name.clone(), State::whole(content))]);
        let options = CreateOptions { overwrite, ..self.create_options() };
        let answer = self.client.put(&path(&name), data, options).await;
        self.settle(ticket, answer)
    }

    async fn rename(&mut self, file: usize, over: Option<usize>) -> Result<(), Error> {
        let over = over.map(|over| self.files[over].clone());
        let from = self.files.swap_remove(file);
        self.files.retain(|name| Some(name) != over.as_ref());
        let to = over.unwrap_or_else(|| self.new_name());
        let moved = State::whole(self.content(&from));
        let ticket = self.begin(vec![(from.clone(), State::Absent), (to.clone(), moved)]);
        let answer = self.client.rename(&path(&from), &path(&to), true).await;
        self.settle(ticket, answer)?;
        self.files.push(to);
        Ok(())
    }

    /// Reads a file, and compares it with what may be there.
    async fn look(&mut self, name: &str) -> Result<(), Error> {
        let since = self.world.ledger().clock();
        let found = read_whole(&self.client, name).await?;
        let checked = self.world.ledger().check_read(name, since, found.as_deref());
        if let Err(mismatch) = checked {
            self.world.violation(format_args!("reader {}: {mismatch}", self.number));
        }
        Ok(())
    }

    fn begin(&self, after: Vec<(String, State)>) -> Ticket {
        self.world.ledger().begin(after)
    }

    fn settle<T>(&self, ticket: Ticket, answer: Result<T, Error>) -> Result<(), Error> {
        let mut ledger = self.world.ledger();
        match answer {
            Ok(_) => ledger.done(ticket),
            Err(_) => ledger.unknown(ticket),
        }
        answer.map(drop)
    }

    /// What is in a file of ours that is closed.
    pub(crate) fn content(&self, name: &str) -> Content {
        match self.world.ledger().state(name) {
            State::File { content, .. } => content,
            State::Absent => unreachable!("{name} is in the list of files"),
        }
    }

    fn new_name(&mut self) -> String {
        self.named += 1;
        format!("/w{}-{}", self.number, self.named)
    }

    pub(crate) fn create_options(&mut self) -> CreateOptions {
        let block_size = self.dice.pick(&[256, 512, 1024]).map(|kib| ByteSize::kib(*kib));
        CreateOptions { block_size, durability: self.durability(), ..CreateOptions::default() }
    }

    pub(crate) fn durability(&mut self) -> Option<Durability> {
        self.dice.pick(&[Durability::Memory, Durability::Close, Durability::Close, Durability::Always]).copied()
    }
}
