//! A file that is open here, shared by all handles of it.
//!
//! Invariants:
//! 1. What was written is read back at once through any handle of this mount: what is dirty lies over what the cluster has.
//! 2. Batches are committed in the order in which they were frozen, however long each takes to be stored.
//! 3. After [`File::flush`] everything that was written before is durable and can be seen by every client.
//! 4. A file whose data could not be stored stays failed until its last handle is gone: nobody is told that it is safe.
//! 5. Each dirty byte has its permit of the budget, from `write` until it is committed or given up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use client::{AttrChange, Attributes, Client, ContentOptions, ExtentMap, FileReader};
use fuser::Errno;
use tokio::sync::watch;
use tracing::warn;
use types::{InodeId, Timestamp};

use crate::accesses::Accesses;
use crate::append::Appends;
use crate::coherence::{Coherence, Ticket};
use crate::dirty::{self, Batch, Dirty};
use crate::errno::Failure;
use crate::store::{self, Target};
use crate::write_back::WriteBack;

/// A run of this length is on its way at once; none is longer, so it is what a block of a large file holds.
const RUN: usize = 16 << 20;

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) inode: InodeId,
    pub(crate) client: Client,
    coherence: Arc<Coherence>,
    pub(crate) write_back: Arc<WriteBack>,
    state: Mutex<State>,
    /// How many pieces of data that were appended are in the cluster, or never will be.
    pub(crate) appended: watch::Sender<u64>,
    /// The id of the batch that may be committed next (invariant 2).
    turn: watch::Sender<u64>,
}

#[derive(Debug)]
pub(crate) struct State {
    dirty: Dirty,
    pub(crate) appends: Appends,
    /// As the cluster last told.
    attributes: Attributes,
    /// When the newest dirty byte was written.
    pub(crate) written: Option<SystemTime>,
    /// When the oldest was.
    pub(crate) dirty_since: Option<Instant>,
    /// Somebody has written who may not leave setuid and setgid on the file.
    clear_suid: bool,
    /// Knows where the committed bytes are; let go when they change.
    map: Option<Map>,
    /// Counts the times that `map` was let go.
    version: u64,
    pub(crate) failed: Option<Errno>,
    /// Batches frozen so far.
    frozen: u64,
}

/// What the cluster said of where the bytes are, and when.
#[derive(Debug, Clone)]
struct Map {
    reader: Arc<FileReader>,
    ticket: Ticket,
    asked: Instant,
}

/// Setuid and setgid.
const PRIVILEGES: u32 = 0o6000;

impl File {
    pub(crate) fn new(
        client: Client,
        coherence: Arc<Coherence>,
        write_back: Arc<WriteBack>,
        attributes: Attributes,
    ) -> Arc<Self> {
        let state = State {
            dirty: Dirty::default(),
            appends: Appends::default(),
            attributes,
            written: None,
            dirty_since: None,
            clear_suid: false,
            map: None,
            version: 0,
            failed: None,
            frozen: 0,
        };
        let inode = state.attributes.inode;
        let (turn, appended) = (watch::Sender::new(0), watch::Sender::new(0));
        Arc::new(Self { inode, client, coherence, write_back, state: Mutex::new(state), appended, turn })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `attributes` as the cluster told them, with what is dirty here on top.
    pub(crate) fn seen(&self, attributes: Attributes) -> Attributes {
        let mut state = self.lock();
        // An answer that was overtaken. The cluster's times never run backwards.
        if attributes.ctime < state.attributes.ctime {
            return state.seen();
        }
        if state.attributes.length != attributes.length || state.attributes.ctime != attributes.ctime {
            state.let_go();
        }
        state.attributes = attributes;
        state.seen()
    }

    /// Takes in written bytes. Waits for memory, and until what was appended before has found its place.
    pub(crate) async fn write(self: &Arc<Self>, offset: u64, data: &[u8], clear_suid: bool) -> Result<(), Failure> {
        self.settle().await;
        self.write_back.reserve(data.len()).await?;
        let batch = {
            let mut state = self.lock();
            if let Some(errno) = state.failed {
                self.write_back.give_back(data.len() as u64);
                return Err(errno.into());
            }
            let before = state.dirty.bytes();
            state.dirty.write(offset, data, RUN);
            let grown = state.dirty.bytes() - before;
            self.write_back.give_back(data.len() as u64 - grown);
            state.written = Some(SystemTime::now());
            state.dirty_since.get_or_insert_with(Instant::now);
            state.clear_suid |= clear_suid;
            state.freeze(RUN)
        };
        self.store(batch);
        self.write_back.note(self);
        Ok(())
    }

    /// Takes in what an `open` was told.
    pub(crate) fn opened(&self, reader: FileReader, ticket: Ticket) {
        let mut state = self.lock();
        // Answers may overtake each other.
        if state.map.as_ref().is_none_or(|known| known.ticket <= ticket)
            && reader.attributes().ctime >= state.attributes.ctime
        {
            state.map = Some(Map { reader: Arc::new(reader), ticket, asked: Instant::now() });
        }
    }

    /// Reads into `buffer`; less only at the end of the file.
    pub(crate) async fn read(self: &Arc<Self>, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        self.settle().await;
        let (pieces, covered, dirty_end) = {
            let (state, length) = (self.lock(), buffer.len() as u64);
            (state.dirty.pieces(offset, length), state.dirty.covers(offset, length), state.dirty.end())
        };
        if covered {
            dirty::overlay(&pieces, offset, buffer);
            return Ok(buffer.len());
        }
        let mut map = self.map(false).await?;
        let (length, filled) = loop {
            let length = map.reader.attributes().length.get().max(dirty_end).saturating_sub(offset);
            let length = usize::try_from(length).map_or(buffer.len(), |length| length.min(buffer.len()));
            match map.reader.read_at(offset, &mut buffer[..length]).await {
                Ok(filled) => break (length, filled),
                Err(error) => {
                    // The file may have been changed since the map was drawn: once more, with another.
                    let again = self.map(true).await?;
                    if again.ticket == map.ticket {
                        return Err(error.into());
                    }
                    map = again;
                }
            }
        };
        // Behind what is committed there is a hole up to what is dirty.
        buffer[filled..length].fill(0);
        dirty::overlay(&pieces, offset, &mut buffer[..length]);
        Ok(length)
    }

    /// It was read through this mount.
    pub(crate) fn note_read(&self, accesses: &Accesses) {
        let mut state = self.lock();
        if let Some(at) = accesses.note(&state.attributes) {
            state.attributes.atime = at;
        }
    }

    /// Where the committed bytes are. `again`: what is known was of no use.
    async fn map(&self, again: bool) -> Result<Map, Failure> {
        let (version, ticket) = {
            let (mut state, ticket) = (self.lock(), self.coherence.ticket());
            if let Some(known) = state.map.take_if(|known| again || !self.holds(known)) {
                drop(known);
                state.version += 1;
            }
            if let Some(known) = &state.map {
                return Ok(known.clone());
            }
            (state.version, ticket)
        };
        let reader = Arc::new(self.client.open(self.inode).await?);
        let map = Map { reader, ticket, asked: Instant::now() };
        let mut state = self.lock();
        if state.version == version {
            state.map = Some(map.clone());
        }
        Ok(map)
    }

    /// Whether a map may still be used: nothing else is told, or it is young.
    fn holds(&self, map: &Map) -> bool {
        self.coherence.is_fresh(self.inode, map.ticket) || map.asked.elapsed() <= self.coherence.patience()
    }

    /// Stores everything that is dirty and waits until the cluster has it (invariant 3).
    pub(crate) async fn flush(self: &Arc<Self>) -> Result<(), Failure> {
        self.settle().await;
        self.flush_runs().await
    }

    /// As [`Self::flush`], but for what was appended.
    pub(crate) async fn flush_runs(self: &Arc<Self>) -> Result<(), Failure> {
        let (batch, frozen) = {
            let mut state = self.lock();
            let batch = state.freeze(0);
            (batch, state.frozen)
        };
        self.store(batch);
        let mut turn = self.turn.subscribe();
        turn.wait_for(|turn| *turn >= frozen).await.expect("the sender is in this file");
        match self.lock().failed {
            Some(errno) => Err(errno.into()),
            None => Ok(()),
        }
    }

    /// Changes the length. What is dirty is stored before, so that it keeps its place among the changes.
    pub(crate) async fn truncate(self: &Arc<Self>, length: u64, clear_suid: bool) -> Result<Attributes, Failure> {
        self.flush().await?;
        let options = ContentOptions { clear_suid, ..ContentOptions::default() };
        let attributes = self.client.truncate(self.inode, length, options).await?;
        self.lock().let_go();
        self.changed_with(options);
        Ok(self.seen(attributes))
    }

    /// Makes it at least so long.
    pub(crate) async fn extend(self: &Arc<Self>, length: u64, clear_suid: bool) -> Result<(), Failure> {
        self.flush().await?;
        // As the cluster has it now: what others appended must not be cut off.
        let there = self.client.lstat(self.inode).await?.length.get();
        self.truncate(length.max(there), clear_suid).await?;
        Ok(())
    }

    /// Its times are those of now.
    pub(crate) async fn touch(self: &Arc<Self>) -> Result<(), Failure> {
        self.flush().await?;
        let change = AttrChange { mtime_now: true, ..AttrChange::default() };
        self.seen(self.client.set_attr(self.inode, change).await?);
        Ok(())
    }

    /// Makes a range read as zeros; the length stays.
    pub(crate) async fn punch(self: &Arc<Self>, offset: u64, length: u64, clear_suid: bool) -> Result<(), Failure> {
        self.flush().await?;
        let options = ContentOptions { clear_suid, ..ContentOptions::default() };
        let attributes = self.client.punch(self.inode, offset, length, options).await?;
        self.lock().let_go();
        self.changed_with(options);
        self.seen(attributes);
        Ok(())
    }

    /// Has this file share a range of another, or of itself.
    pub(crate) async fn clone_from(
        self: &Arc<Self>,
        from: &Arc<Self>,
        range: (u64, u64),
        offset: u64,
        clear_suid: bool,
    ) -> Result<(), Failure> {
        from.flush().await?;
        self.flush().await?;
        let options = ContentOptions { clear_suid, ..ContentOptions::default() };
        let attributes = self.client.clone_range(from.inode, range, self.inode, offset, options).await?;
        self.lock().let_go();
        self.changed_with(options);
        self.seen(attributes);
        Ok(())
    }

    /// Where the data is, from `offset` on: the cluster's map, once it has everything.
    pub(crate) async fn extents(self: &Arc<Self>, offset: u64) -> Result<ExtentMap, Failure> {
        self.flush().await?;
        Ok(self.client.extents(self.inode, offset).await?)
    }

    /// Whether it has setuid or setgid, as far as this mount knows.
    pub(crate) fn has_privileges(&self) -> bool {
        self.lock().attributes.mode & PRIVILEGES != 0
    }

    pub(crate) fn length(&self) -> u64 {
        self.lock().seen().length.get()
    }

    pub(crate) fn dirty_since(&self) -> Option<Instant> {
        self.lock().dirty_since
    }

    /// Starts to store a batch: side by side with others, committed in its turn (invariant 2).
    fn store(self: &Arc<Self>, batch: Option<Batch>) {
        let Some(batch) = batch else { return };
        let file = self.clone();
        self.write_back.spawn(async move {
            let (target, options) = {
                let mut state = file.lock();
                let clear_suid = std::mem::take(&mut state.clear_suid);
                let mtime = state.written.map(Timestamp::from);
                (Target::of(&state.attributes), ContentOptions { mtime, clear_suid, durability: None })
            };
            let stored = {
                let _permit = file.write_back.upload().await;
                store::prepare(&file.client, target, &batch).await
            };
            file.turn.subscribe().wait_for(|turn| *turn == batch.id).await.expect("the sender is in this file");
            let failed = file.lock().failed.is_some();
            let committed = match stored {
                Ok(_) if failed => Err(Errno::EIO.into()),
                Ok(prepared) => store::commit(&file.client, target, prepared, options).await,
                Err(failure) => Err(failure),
            };
            file.finish(&batch, committed);
        });
    }

    /// The kernel may have been told a guess.
    pub(crate) fn changed(&self) {
        self.coherence.changed_here(self.inode);
    }

    /// The kernel learns of sizes and times by itself, and not of a mode that lost setuid and setgid.
    fn changed_with(&self, options: ContentOptions) {
        if options.clear_suid {
            self.changed();
        }
    }

    /// The cause of the first failure is what programs are told (invariant 4).
    pub(crate) fn fail(&self, state: &mut State, failure: &Failure) {
        if state.failed.is_none() {
            state.failed = Some(failure.errno());
            self.write_back.lost();
        }
    }

    /// A batch is in the cluster, or will never be.
    fn finish(&self, batch: &Batch, committed: Result<Attributes, Failure>) {
        let freed = {
            let mut state = self.lock();
            match committed {
                Ok(attributes) => {
                    state.let_go();
                    state.attributes = attributes;
                }
                Err(failure) => {
                    warn!(inode = %self.inode, bytes = batch.bytes(), ?failure, "written data could not be stored");
                    self.fail(&mut state, &failure);
                }
            }
            let freed = state.dirty.release(batch.id);
            state.settled();
            freed
        };
        self.write_back.give_back(freed);
        self.changed();
        self.turn.send_modify(|turn| *turn += 1);
    }
}

impl State {
    pub(crate) fn let_go(&mut self) {
        self.map = None;
        self.version += 1;
    }

    /// Attributes that a change through this mount was answered with.
    pub(crate) fn told(&mut self, attributes: Attributes) {
        self.attributes = attributes;
    }

    /// Something was stored, or given up.
    pub(crate) fn settled(&mut self) {
        if self.dirty.is_empty() && self.appends.is_empty() {
            self.dirty_since = None;
        }
    }

    fn seen(&self) -> Attributes {
        let mut attributes = self.attributes.clone();
        let length = attributes.length.get().max(self.dirty.end()) + self.appends.bytes();
        attributes.length = types::ByteSize::new(length);
        let is_dirty = !self.dirty.is_empty() || !self.appends.is_empty();
        if let Some(written) = self.written.filter(|_| is_dirty) {
            attributes.mtime = attributes.mtime.max(Timestamp::from(written));
            attributes.ctime = attributes.ctime.max(attributes.mtime);
        }
        attributes
    }

    fn freeze(&mut self, shortest: usize) -> Option<Batch> {
        let batch = self.dirty.freeze(shortest)?;
        self.frozen = batch.id + 1;
        Some(batch)
    }
}
