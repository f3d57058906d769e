//! Files that are visible while they are written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{AppendOptions, Client, Error, FileWriter};
use integration_tests::thrasher::{Content, Dice, State};
use types::{Code, Path};

use crate::worker::{Worker, path};
use crate::world::World;

/// Longer than the lease of a writer that is gone, and the recovery of its file.
const RECOVERY: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(250);

/// A file that is being written, and what may be seen of it.
struct Growing {
    world: Arc<World>,
    name: String,
    content: Content,
    /// What was acknowledged to be visible.
    least: u64,
}

impl Growing {
    fn tell(&self) {
        self.world.ledger().set(&self.name, State::File { content: self.content.clone(), least: self.least });
    }

    async fn write(&mut self, writer: &mut FileWriter, length: u64) -> Result<(), Error> {
        let seed = self.world.ledger().seed();
        let start = self.content.length();
        self.content.append(seed, length);
        self.tell();
        writer.write(Bytes::from(self.content.bytes(start, length as usize))).await
    }

    /// Some pieces, of which some are flushed and some synced.
    async fn pieces(&mut self, writer: &mut FileWriter, pieces: u64, piece: u64, dice: &mut Dice) -> Result<(), Error> {
        for _ in 0..pieces {
            self.write(writer, piece).await?;
            match dice.roll(4) {
                0 => writer.flush().await?,
                1 => writer.sync().await?,
                _ => continue,
            }
            self.least = self.content.length();
            self.tell();
        }
        Ok(())
    }

    async fn close(mut self, writer: FileWriter) -> Result<(), Error> {
        writer.close().await?;
        self.least = self.content.length();
        self.tell();
        Ok(())
    }
}

impl Worker {
    fn growing(&self, name: &str, content: Content) -> Growing {
        let (world, name, least) = (Arc::clone(&self.world), name.to_owned(), content.length());
        Growing { world, name, content, least }
    }

    /// A new file. One in eight is given up before it is closed.
    pub(crate) async fn stream(&mut self, name: &str, pieces: u64, piece: u64) -> Result<(), Error> {
        let mut growing = self.growing(name, Content::default());
        let options = self.create_options();
        let ticket = self.world.ledger().begin(vec![(name.to_owned(), State::whole(Content::default()))]);
        let mut writer = match self.client.create(&path(name), options).await {
            Ok(writer) => {
                self.world.ledger().done(ticket);
                writer
            }
            Err(error) => {
                self.world.ledger().unknown(ticket);
                return Err(error);
            }
        };
        growing.pieces(&mut writer, pieces, piece, &mut self.dice).await?;
        if self.dice.roll(8) > 0 {
            return growing.close(writer).await;
        }
        writer.abort().await?;
        self.recover(name, true).await
    }

    pub(crate) async fn append(&mut self, name: &str, pieces: u64, piece: u64) -> Result<(), Error> {
        let mut growing = self.growing(name, self.content(name));
        let options = AppendOptions { durability: self.durability() };
        let mut writer = self.client.append(&path(name), options).await?;
        growing.pieces(&mut writer, pieces, piece, &mut self.dice).await?;
        growing.close(writer).await
    }

    /// Appends as a client that is gone from one moment to the next, and takes the file from it.
    pub(crate) async fn vanish(&mut self, name: &str, pieces: u64, piece: u64) -> Result<(), Error> {
        let mut growing = self.growing(name, self.content(name));
        let (config, durability, place) = (self.config.clone(), self.durability(), path(name));
        let mut dice = self.dice.child(pieces);
        let gone = tokio::task::spawn_blocking(move || {
            // Its tasks end where they are, and its sockets are closed: so they would by kill -9.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let runtime = runtime.expect("there is room for a thread");
            let written = runtime.block_on(async {
                let client = Client::connect(config).await?;
                let mut writer = client.append(&place, AppendOptions { durability }).await?;
                growing.pieces(&mut writer, pieces, piece, &mut dice).await?;
                // Neither closed nor given up.
                std::mem::forget(writer);
                Ok(())
            });
            runtime.shutdown_background();
            written
        });
        let written: Result<(), Error> = gone.await.expect("it does not panic");
        let force = self.dice.roll(2) == 0;
        self.recover(name, force).await?;
        written
    }

    /// Has the file closed, whoever wrote it, and notes how long it became.
    async fn recover(&mut self, name: &str, force: bool) -> Result<(), Error> {
        let place = path(name);
        self.take(&place, force).await?;
        let length = self.client.stat(&place).await?.length.get();
        let narrowed = self.world.ledger().narrow(name, length);
        if let Err(mismatch) = narrowed {
            self.world.violation(format_args!("worker {}, after a recovery: {mismatch}", self.number));
        }
        Ok(())
    }

    async fn take(&self, place: &Path, force: bool) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            match self.client.recover_lease(place, force).await {
                Err(error) if error.code() == Code::LeaseHeld && begun.elapsed() < RECOVERY => {
                    tokio::time::sleep(LOOK).await;
                }
                answer => return answer,
            }
        }
    }
}
