//! The state on disk: RocksDB, without its own log, because the Raft log is the log.
//!
//! Invariants, cited by tests:
//! 1. The rows of a batch and the applied index that covers them are one write: a crash loses both or neither, and what
//!    is lost is replayed from the Raft log.
//! 2. All column families are flushed together (`atomic_flush`): what is on disk is the state as of one applied index.
//! 3. The log is cut only up to the index that [`Store::persisted`] read from disk.
//! 4. The database is replaced only under the write lock, when nobody reads; see `raft::snapshot`.
//! 5. Every iterator is asked for its status at the end: over a damaged file it would otherwise just stop, and a listing
//!    would be short without a word.

mod recent;
#[cfg(test)]
mod tests;
mod view;

use std::path::{Path, PathBuf};
use std::sync::{RwLock, RwLockReadGuard};

use consensus::AppliedState;
use namespace::view::Write;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    FlushOptions, Options, ReadOptions, ReadTier, WriteBatch, WriteOptions,
};
use types::ByteSize;

pub(crate) use recent::Recent;
pub(crate) use view::Snapshot;

/// The column family of the rows of the namespace.
const ROWS: &str = "default";
/// The column family of what the store keeps about itself.
const RAFT: &str = "raft";
const APPLIED: &[u8] = b"applied";
/// Memory for writes that are not flushed yet, of which there may be [`WRITE_BUFFERS`] on their way to disk.
const WRITE_BUFFER: usize = 64 << 20;
const WRITE_BUFFERS: i32 = 3;
/// A part of an index or of a filter, which the cache takes in by itself.
const INDEX_PART: usize = 4 << 10;
/// A file in which so many of so many rows in succession are deletions is compacted before its turn: a scan passes over
/// every one of them.
const DELETIONS: (usize, usize) = (512, 1024);
/// One that has so large a part of them is too.
const DELETED_PART: f64 = 0.5;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the state store cannot {action}: {reason}")]
    Rocks { action: &'static str, reason: String },
    #[error("the applied index in the state store cannot be read: {0}")]
    Applied(String),
}

pub(crate) struct Store {
    dir: PathBuf,
    cache: Cache,
    /// Empty only while it is replaced, under the write lock (invariant 4), and after that has failed.
    db: RwLock<Option<DB>>,
    write: WriteOptions,
}

/// The state, which is not replaced while this is held. Hold it for one query.
pub(crate) struct State<'a>(RwLockReadGuard<'a, Option<DB>>);

impl State<'_> {
    /// The state as of now, unchanged by later commits.
    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::new(self.db().snapshot())
    }

    fn db(&self) -> &DB {
        self.0.as_ref().expect("a store that could not be replaced ends the process")
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.dir).finish_non_exhaustive()
    }
}

fn failed(action: &'static str) -> impl FnOnce(rocksdb::Error) -> StoreError {
    move |error| StoreError::Rocks { action, reason: error.into_string() }
}

impl Store {
    pub(crate) fn open(dir: &Path, cache: ByteSize) -> Result<Self, StoreError> {
        let cache = Cache::new_lru_cache(usize::try_from(cache.get()).unwrap_or(usize::MAX));
        let db = RwLock::new(Some(open(dir, &cache)?));
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        Ok(Self { dir: dir.to_owned(), cache, db, write })
    }

    /// The state, for one query.
    pub(crate) fn state(&self) -> State<'_> {
        State(self.db.read().expect("no holder of this lock panics"))
    }

    /// Closes the database, has `replace` exchange its directory, and opens what is there then (invariant 4).
    pub(crate) fn replace<E: From<StoreError>>(&self, replace: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let mut db = self.db.write().expect("no holder of this lock panics");
        if let Some(old) = db.take() {
            old.cancel_all_background_work(true);
        }
        replace()?;
        *db = Some(open(&self.dir, &self.cache)?);
        Ok(())
    }

    /// Makes a copy of the state as of some index in `dir`, which must not exist, with hard links.
    pub(crate) fn checkpoint(&self, dir: &Path) -> Result<(), StoreError> {
        let state = self.state();
        let checkpoint = Checkpoint::new(state.db()).map_err(failed("make a checkpoint"))?;
        checkpoint.create_checkpoint(dir).map_err(failed("make a checkpoint"))
    }

    /// How far the state has come; nothing for a new one.
    pub(crate) fn applied(&self) -> Result<Option<AppliedState>, StoreError> {
        self.read_applied(ReadTier::All)
    }

    /// How far the state on disk has come (invariant 3).
    pub(crate) fn persisted(&self) -> Result<u64, StoreError> {
        Ok(self.read_applied(ReadTier::Persisted)?.map_or(0, |applied| applied.index))
    }

    fn read_applied(&self, tier: ReadTier) -> Result<Option<AppliedState>, StoreError> {
        read_applied(self.state().db(), tier)
    }

    /// Stores the writes of committed entries and the index that they bring the state to, as one (invariant 1).
    pub(crate) fn commit(&self, writes: &[Write], applied: &AppliedState) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for Write { key, value } in writes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        let state = self.state();
        batch.put_cf(family(state.db(), RAFT), APPLIED, applied.encode());
        state.db().write_opt(batch, &self.write).map_err(failed("write"))
    }

    /// Brings everything committed so far to disk.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let state = self.state();
        let families = [family(state.db(), ROWS), family(state.db(), RAFT)];
        let mut options = FlushOptions::default();
        options.set_wait(true);
        state.db().flush_cfs_opt(&[&families[0], &families[1]], &options).map_err(failed("flush"))
    }
}

fn family<'a>(db: &'a DB, name: &'static str) -> &'a ColumnFamily {
    db.cf_handle(name).expect("opened with the store")
}

fn open(dir: &Path, cache: &Cache) -> Result<DB, StoreError> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Invariant 2.
    options.set_atomic_flush(true);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(4);
    options.set_max_total_wal_size(0);
    let families = [ROWS, RAFT].map(|name| ColumnFamilyDescriptor::new(name, family_options(cache)));
    DB::open_cf_descriptors(&options, dir, families).map_err(failed("open"))
}

/// How far the state in a directory that nobody serves has come. Reads only.
pub(crate) fn peek(dir: &Path) -> Result<AppliedState, StoreError> {
    let db = DB::open_cf_for_read_only(&Options::default(), dir, [ROWS, RAFT], false).map_err(failed("open"))?;
    read_applied(&db, ReadTier::All)?.ok_or_else(|| StoreError::Applied("it is missing".to_owned()))
}

fn read_applied(db: &DB, tier: ReadTier) -> Result<Option<AppliedState>, StoreError> {
    let mut read = ReadOptions::default();
    read.set_read_tier(tier);
    let Some(bytes) = db.get_cf_opt(family(db, RAFT), APPLIED, &read).map_err(failed("read"))? else {
        return Ok(None);
    };
    AppliedState::decode(&bytes).map(Some).map_err(StoreError::Applied)
}

fn family_options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    // The indexes and filters of a namespace that is much larger than the cache do not fit it either: they are held in
    // it like the rows, in small parts, and only their tops, a few KiB for each file, stay.
    table.set_cache_index_and_filter_blocks(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(INDEX_PART);
    table.set_pin_top_level_index_and_filter(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(WRITE_BUFFER);
    options.set_max_write_buffer_number(WRITE_BUFFERS);
    options.add_compact_on_deletion_collector_factory(DELETIONS.1, DELETIONS.0, DELETED_PART);
    options
}
