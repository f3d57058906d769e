//! Writing a replica, from its beginning or from where another chain left it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;
use transfer::{Extent, Flags, Level, Packet, Resume};
use types::checksum::{CHUNK, word};
use types::inventory::Stored;
use types::{BlockId, ByteSize, GenStamp};

use super::StoreError;
use super::error::{during, is_full};
use super::recovery::read_word;
use super::volume::Volume;
use crate::replica::{Header, Layout, State, final_path, writing_path};
use crate::write_behind;

/// How much is written before the kernel is asked to begin with it: closing then waits for the tail only.
const WRITE_BEHIND: u64 = 8 << 20;

/// A replica that is not complete.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) generation: GenStamp,
    pub(super) max_length: ByteSize,
    pub(super) layout: Layout,
    pub(super) level: Level,
    /// Open while somebody writes.
    pub(super) file: Option<File>,
    /// What is in the file.
    pub(super) written: Extent,
    pub(super) acked: Acked,
    /// Up to here, the kernel was asked to write.
    pub(super) behind: u64,
    /// Whether the name of the file outlives a power cut.
    pub(super) named: bool,
    /// Whether this process took all of it, or it was complete: then nothing of it can have been lost.
    pub(super) intact: bool,
}

/// How much of a replica was acknowledged, and may be read. Apart from the rest, so that a server can note it without
/// waiting for a disk.
#[derive(Debug, Clone)]
pub(crate) struct Acked(Arc<Mutex<Extent>>);

impl Acked {
    pub(super) fn new(extent: Extent) -> Self {
        Self(Arc::new(Mutex::new(extent)))
    }

    pub(crate) fn get(&self) -> Extent {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, extent: Extent) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = extent;
    }
}

/// A wish to write.
#[derive(Debug, Clone)]
pub(crate) struct Begin {
    pub(crate) block: BlockId,
    pub(crate) generation: GenStamp,
    pub(crate) level: Level,
    pub(crate) max_length: ByteSize,
    pub(crate) resume: Option<Resume>,
}

impl Volume {
    /// Makes the caller the writer of a block (invariant 1). Gives what is there, and where to note what is acknowledged.
    pub(crate) fn begin(&self, begin: &Begin) -> Result<(Extent, Acked), StoreError> {
        self.check_alive()?;
        self.check_space()?;
        self.with_block(begin.block, |writing| {
            let finals = self.finals(begin.block)?;
            let newest = writing.iter().map(|writing| writing.generation).chain(finals.iter().copied()).max();
            if let Some(have) = newest.filter(|have| *have >= begin.generation) {
                return Err(StoreError::Stale { have });
            }
            self.check_fence(begin.block, begin.generation)?;
            self.check_not_deleted(begin.block, begin.generation)?;
            let last = match begin.resume {
                None => None,
                Some(resume) => self.find_resumable(begin, resume, writing, newest)?,
            };
            let started = match last {
                None => self.create(begin, writing)?,
                Some(last) => last,
            };
            let result = (started.written, started.acked.clone());
            *writing = Some(started);
            Ok(result)
        })
    }

    /// A new, empty replica; one that an older writer had begun is dropped.
    fn create(&self, begin: &Begin, old: &mut Option<Writing>) -> Result<Writing, StoreError> {
        if let Some(old) = old.take() {
            let path = writing_path(&self.root, begin.block, old.generation);
            fs::remove_file(path).map_err(|error| self.write_failed("removing an older replica", error))?;
        }
        let path = writing_path(&self.root, begin.block, begin.generation);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|error| self.write_failed("making a replica", error))?;
        let header = self.header(begin.block, begin.generation, begin.max_length, State::Writing);
        if let Err(error) = file.write_all_at(&header.encode(), 0) {
            let _ = fs::remove_file(&path);
            return Err(self.write_failed("writing the header", error));
        }
        Ok(Writing {
            generation: begin.generation,
            max_length: begin.max_length,
            layout: Layout::new(begin.max_length),
            level: begin.level,
            file: Some(file),
            written: Extent::default(),
            acked: Acked::new(Extent::default()),
            behind: 0,
            named: false,
            intact: true,
        })
    }

    /// The replica to go on with, cut to what was acknowledged (invariant 2). None: nothing was, so a new one will do.
    fn find_resumable(
        &self,
        begin: &Begin,
        resume: Resume,
        writing: &mut Option<Writing>,
        newest: Option<GenStamp>,
    ) -> Result<Option<Writing>, StoreError> {
        let offset = resume.offset.get();
        let Some(have) = newest.filter(|have| *have >= resume.from_generation) else {
            return match offset {
                0 => Ok(None),
                _ => Err(StoreError::NoSuchReplica { reason: "no generation with the acknowledged bytes is here" }),
            };
        };
        let in_writing = writing.as_ref().is_some_and(|writing| writing.generation == have);
        if !in_writing {
            self.reopen_final(begin.block, have, writing)?;
        }
        let mut found = writing.take().expect("it was there, or was reopened");
        let result = self.cut(begin, offset, &mut found);
        if let Err(error) = result {
            // As it was: another chain may ask for less.
            found.file = None;
            *writing = Some(found);
            return Err(error);
        }
        Ok(Some(found))
    }

    /// Moves a complete replica back: its chain was lost before all of it was acknowledged.
    pub(super) fn reopen_final(
        &self,
        block: BlockId,
        generation: GenStamp,
        writing: &mut Option<Writing>,
    ) -> Result<(), StoreError> {
        if let Some(older) = writing.take() {
            let path = writing_path(&self.root, block, older.generation);
            fs::remove_file(path).map_err(|error| self.write_failed("removing an older replica", error))?;
        }
        let path = final_path(&self.root, block, generation);
        let size = fs::metadata(&path).map_err(during("asking for the size"))?.blocks() * 512;
        let change = self.inventory.change(block);
        let stored = self.look(block, generation).ok().flatten().map(|(stored, _)| stored);
        fs::rename(&path, writing_path(&self.root, block, generation))
            .map_err(|error| self.write_failed("reopening a replica", error))?;
        change.deleted(block, generation, stored.as_ref(), size);
        drop(change);
        let reopened = self.recover(block, generation)?;
        *writing = Some(Writing { intact: true, ..reopened });
        Ok(())
    }

    pub(super) fn cut(&self, begin: &Begin, offset: u64, found: &mut Writing) -> Result<(), StoreError> {
        let available = found.written.length;
        if available < offset {
            return Err(StoreError::Short { available, wanted: offset });
        }
        let old = writing_path(&self.root, begin.block, found.generation);
        let file = File::options().read(true).write(true).open(&old).map_err(during("opening a replica"))?;
        let partial = cut_chunk(&file, found.layout, begin.block, found.written, offset)?;
        let failed = |error| self.write_failed("cutting a replica", error);
        if let Some(word) = partial {
            file.write_all_at(&word.to_le_bytes(), found.layout.word(offset)).map_err(failed)?;
            // A power cut between the two must not leave a shorter chunk under the word of the longer one: that could not be
            // told from damage. The other way round, the word says how much of the chunk counts.
            self.sync_before_cut(&file)?;
        }
        file.set_len(found.layout.data(offset)).map_err(failed)?;
        // The header first: after a crash in between, it tells the generation, and the name is mended.
        let header = self.header(begin.block, begin.generation, found.max_length, State::Writing);
        file.write_all_at(&header.encode(), 0).map_err(failed)?;
        fs::rename(&old, writing_path(&self.root, begin.block, begin.generation)).map_err(failed)?;
        let extent = Extent { length: offset, partial };
        found.generation = begin.generation;
        found.level = begin.level;
        found.file = Some(file);
        found.written = extent;
        // A new cell: a writer that was overtaken keeps noting in the old one.
        found.acked = Acked::new(extent);
        found.behind = found.behind.min(offset);
        found.named = false;
        Ok(())
    }

    /// Stores packets that were checked, in order, and does what their flags ask for.
    pub(crate) fn append(&self, block: BlockId, generation: GenStamp, packets: &[Packet]) -> Result<(), StoreError> {
        self.check_alive()?;
        self.with_block(block, |slot| {
            let writing = match slot {
                Some(writing) if writing.generation == generation => writing,
                Some(newer) => return Err(StoreError::Stale { have: newer.generation }),
                None => return Err(StoreError::NoSuchReplica { reason: "it was deleted or finished" }),
            };
            self.check_fence(block, generation)?;
            let file = writing.file.take().ok_or(StoreError::NoSuchReplica { reason: "its writer was stopped" })?;
            let before = writing.written;
            for packet in packets {
                if let Err(error) = self.store(&file, writing, packet) {
                    self.give_room_back(&file, block, writing, before, &error);
                    return Err(error);
                }
                if packet.flags.has(Flags::FINISH) {
                    return self.finish(&file, block, slot);
                }
                if packet.flags.has(Flags::SYNC) {
                    self.sync_writing(&file, writing.named)?;
                    writing.named = true;
                }
            }
            writing.file = Some(file);
            Ok(())
        })
    }

    fn store(&self, file: &File, writing: &mut Writing, packet: &Packet) -> Result<(), StoreError> {
        if packet.data.is_empty() {
            return Ok(());
        }
        let Writing { layout, level, .. } = *writing;
        let offset = packet.offset.get();
        let failed = |error| self.write_failed("writing to the replica", error);
        file.write_all_at(&packet.data, layout.data(offset)).map_err(failed)?;
        file.write_all_at(&packet.words, layout.word(offset)).map_err(failed)?;
        let partial = (!packet.data.len().is_multiple_of(CHUNK)).then(|| {
            let last = packet.words.last_chunk().expect("a packet with data has words");
            u32::from_le_bytes(*last)
        });
        writing.written = Extent { length: packet.end(), partial };
        if level != Level::Memory && packet.end() - writing.behind.min(packet.end()) >= WRITE_BEHIND {
            write_behind::start(file, layout.data(writing.behind), packet.end() - writing.behind);
            writing.behind = packet.end();
        }
        Ok(())
    }

    pub(super) fn finish(&self, file: &File, block: BlockId, slot: &mut Option<Writing>) -> Result<(), StoreError> {
        let writing = slot.as_ref().expect("the caller has one");
        let (generation, level) = (writing.generation, writing.level);
        let state = State::Final { length: ByteSize::new(writing.written.length) };
        let header = self.header(block, generation, writing.max_length, state);
        let change = self.inventory.change(block);
        self.finish_file(file, &header, level)?;
        let size = file.metadata().map_or(0, |metadata| metadata.blocks() * 512);
        change.stored(&Stored { block, generation, length: ByteSize::new(writing.written.length) }, size);
        drop(change);
        *slot = None;
        if generation > GenStamp::FIRST {
            self.remove_finals(block, |older| older < generation)?;
        }
        Ok(())
    }

    /// On a full disk, what the failed packets wrote makes room for others. What was stored before them stays, also where
    /// it is not acknowledged yet: the hop below may acknowledge it at this moment, and the client then relies on it.
    fn give_room_back(&self, file: &File, block: BlockId, writing: &mut Writing, before: Extent, error: &StoreError) {
        let StoreError::Io { source, .. } = error else { return };
        if !is_full(source) {
            return;
        }
        let cut = || -> io::Result<()> {
            if let Some(word) = before.partial {
                file.write_all_at(&word.to_le_bytes(), writing.layout.word(before.length))?;
            }
            file.set_len(writing.layout.data(before.length))
        };
        match cut() {
            Ok(()) => writing.written = before,
            Err(error) => warn!(%block, %error, "the replica on a full disk cannot be cut"),
        }
    }

    /// The caller does not write any more. What is there stays, for another chain or for deletion.
    pub(crate) fn leave(&self, block: BlockId, generation: GenStamp) {
        self.with_block(block, |slot| {
            if let Some(writing) = slot.as_mut().filter(|writing| writing.generation == generation) {
                writing.file = None;
            }
        });
    }

    /// Deletes the replicas of a block up to a generation. A newer one stays; none there is fine.
    pub(crate) fn delete(&self, block: BlockId, generation: GenStamp) -> Result<(), StoreError> {
        self.check_alive()?;
        self.with_block(block, |slot| {
            if slot.as_ref().is_some_and(|writing| writing.generation > generation) {
                return Ok(());
            }
            self.lift_fence(block, generation);
            self.note_deleted(block, generation);
            let found = slot.take().map_or(generation, |writing| writing.generation);
            match fs::remove_file(writing_path(&self.root, block, found)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.write_failed("deleting a replica", error));
                }
                Ok(()) | Err(_) => {}
            }
            self.remove_finals(block, |found| found <= generation)
        })
    }

    pub(super) fn remove_finals(&self, block: BlockId, which: impl Fn(GenStamp) -> bool) -> Result<(), StoreError> {
        for generation in self.finals(block)?.into_iter().filter(|found| which(*found)) {
            let path = final_path(&self.root, block, generation);
            let change = self.inventory.change(block);
            let stored = self.look(block, generation).ok().flatten().map(|(stored, _)| stored);
            let size = self.size_of(block, generation);
            fs::remove_file(path).map_err(|error| self.write_failed("deleting a replica", error))?;
            change.deleted(block, generation, stored.as_ref(), size);
        }
        Ok(())
    }

    fn header(&self, block: BlockId, generation: GenStamp, max_length: ByteSize, state: State) -> Header {
        Header { cluster: self.cluster, block, generation, max_length, state }
    }
}

/// The word of the chunk that a cut at `offset` makes short; none for a cut between chunks. The chunk is checked first:
/// a new word over damaged bytes would make them look good.
fn cut_chunk(
    file: &File,
    layout: Layout,
    block: BlockId,
    written: Extent,
    offset: u64,
) -> Result<Option<u32>, StoreError> {
    let short = (offset % CHUNK as u64) as usize;
    if short == 0 {
        return Ok(None);
    }
    let start = offset - short as u64;
    let mut chunk = vec![0; (written.length - start).min(CHUNK as u64) as usize];
    file.read_exact_at(&mut chunk, layout.data(start)).map_err(during("reading the last chunk"))?;
    let number = start / CHUNK as u64;
    let known = match written.partial {
        Some(known) if written.length - start < CHUNK as u64 => known,
        Some(_) | None => read_word(file, layout, start)?,
    };
    if word(block, number, &chunk) != known {
        return Err(StoreError::Damaged { reason: format!("chunk {number} does not match its checksum") });
    }
    Ok(Some(word(block, number, &chunk[..short])))
}
