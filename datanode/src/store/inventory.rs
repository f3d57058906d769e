//! What a volume holds, in sums: a digest, a number and a size for each bucket, kept up to date with every change and
//! counted anew by a walk, which finds what changed without us.
//!
//! 1. A count holds only if nothing in the bucket changed while it was made.
//! 2. Every change has a number in the log of changes, and what was not heard stays in it. When it overflows, the oldest
//!    go, and the missing numbers tell.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use types::inventory::{BUCKETS, Bucket, Digest, Stored};
use types::{BlockId, GenStamp};

use super::StoreError;
use super::error::during;
use super::volume::Volume;
use crate::replica::{Layout, State, directory_path, final_path, parse_name};

/// Changes that wait to be heard. Whoever missed more compares the whole volume.
const MAX_LOG: usize = 1 << 16;
/// How often a count is tried while others change the bucket.
const ATTEMPTS: usize = 8;

/// Something that happened to a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delta {
    Stored(Stored),
    Deleted {
        block: BlockId,
        generation: GenStamp,
    },
    Bad {
        block: BlockId,
        generation: GenStamp,
    },
    /// The bucket does not hold what it did, and nobody changed it.
    Strayed(Bucket),
    /// It is not complete, and nobody writes it.
    Left {
        block: BlockId,
        generation: GenStamp,
    },
}

/// Complete replicas and the space that they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) replicas: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum {
    digest: Digest,
    replicas: i64,
    bytes: i64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    sum: Sum,
    counted: bool,
    /// Changes that are under way, and how many began or ended so far.
    under_way: u32,
    changes: u64,
}

#[derive(Debug)]
struct Sums {
    buckets: Vec<Known>,
    /// Buckets that are not counted yet.
    uncounted: usize,
    /// What the volume held when it was last looked at, and what changed since.
    remembered: Option<Usage>,
    since: Sum,
    /// The number of the first change in the log, and the changes from there on.
    first: u64,
    log: VecDeque<Delta>,
}

#[derive(Debug)]
pub(super) struct Inventory(Mutex<Sums>);

/// A change of one bucket: while it lives, no count of that bucket holds.
#[derive(Debug)]
pub(super) struct Change<'a> {
    inventory: &'a Inventory,
    bucket: Bucket,
}

/// What a count found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Counted {
    /// Whether something had changed that nobody told of.
    pub(crate) strayed: bool,
    /// Others kept changing the bucket: to be counted again.
    pub(crate) unsettled: bool,
    /// Files that are not what their names say.
    pub(crate) bad: Vec<(BlockId, GenStamp, String)>,
}

impl Inventory {
    pub(super) fn new(remembered: Option<Usage>) -> Self {
        Self(Mutex::new(Sums {
            buckets: vec![Known::default(); BUCKETS],
            uncounted: BUCKETS,
            remembered,
            since: Sum::default(),
            first: 0,
            log: VecDeque::new(),
        }))
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held from before a file comes, goes or moves until it is told here.
    pub(super) fn change(&self, block: BlockId) -> Change<'_> {
        let bucket = Bucket::of(block);
        let mut sums = self.sums();
        let known = &mut sums.buckets[bucket.index()];
        known.under_way += 1;
        known.changes += 1;
        Change { inventory: self, bucket }
    }

    pub(super) fn push(&self, delta: Delta) {
        self.sums().push(delta);
    }

    /// The changes of the bucket so far; none while one is under way.
    fn begin_count(&self, bucket: Bucket) -> Option<u64> {
        let known = self.sums().buckets[bucket.index()];
        (known.under_way == 0).then_some(known.changes)
    }

    /// Takes a count, if nothing changed since it began (invariant 1). Says whether it is another than was known.
    fn end_count(&self, bucket: Bucket, begun: u64, sum: Sum) -> Option<bool> {
        let mut sums = self.sums();
        let known = &mut sums.buckets[bucket.index()];
        if known.under_way > 0 || known.changes != begun {
            return None;
        }
        let strayed = known.counted && known.sum.digest != sum.digest;
        known.sum = sum;
        if !std::mem::replace(&mut known.counted, true) {
            sums.uncounted -= 1;
        }
        if strayed {
            sums.push(Delta::Strayed(bucket));
        }
        Some(strayed)
    }
}

impl Sums {
    /// Invariant 2.
    fn push(&mut self, delta: Delta) {
        if self.log.len() >= MAX_LOG {
            self.log.pop_front();
            self.first += 1;
        }
        self.log.push_back(delta);
    }

    /// What is told once until it was heard.
    fn note(&mut self, delta: Delta) {
        if !self.log.contains(&delta) {
            self.push(delta);
        }
    }

    fn usage(&self) -> Usage {
        let sums = self.buckets.iter().map(|known| known.sum);
        let counted = sums.fold(Sum::default(), |all, sum| Sum {
            digest: all.digest,
            replicas: all.replicas + sum.replicas,
            bytes: all.bytes + sum.bytes,
        });
        let (replicas, bytes) = match self.remembered {
            Some(old) if self.uncounted > 0 => {
                (old.replicas as i64 + self.since.replicas, old.bytes as i64 + self.since.bytes)
            }
            Some(_) | None => (counted.replicas, counted.bytes),
        };
        Usage { replicas: replicas.max(0) as u64, bytes: bytes.max(0) as u64 }
    }
}

impl Change<'_> {
    /// A replica is complete, and takes so much of the disk.
    pub(super) fn stored(&self, stored: &Stored, bytes: u64) {
        self.count(1, bytes as i64, |digest| digest.add(stored));
        self.inventory.push(Delta::Stored(*stored));
    }

    /// A file is gone; `stored` is what it said of itself.
    pub(super) fn deleted(&self, block: BlockId, generation: GenStamp, stored: Option<&Stored>, bytes: u64) {
        self.count(-1, -(bytes as i64), |digest| stored.into_iter().for_each(|stored| digest.remove(stored)));
        self.inventory.push(Delta::Deleted { block, generation });
    }

    fn count(&self, replicas: i64, bytes: i64, digest: impl FnOnce(&mut Digest)) {
        let mut sums = self.inventory.sums();
        sums.since.replicas += replicas;
        sums.since.bytes += bytes;
        let sum = &mut sums.buckets[self.bucket.index()].sum;
        sum.replicas += replicas;
        sum.bytes += bytes;
        digest(&mut sum.digest);
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut sums = self.inventory.sums();
        let known = &mut sums.buckets[self.bucket.index()];
        known.under_way -= 1;
        known.changes += 1;
    }
}

impl Volume {
    /// What the complete replicas are and take. Until all are counted, this is what was known at the last start and what
    /// changed since.
    pub(crate) fn usage(&self) -> Usage {
        self.inventory.sums().usage()
    }

    /// What each bucket holds; none for those that are not counted yet.
    pub(crate) fn held(&self) -> Vec<Option<Usage>> {
        let sums = self.inventory.sums();
        let held = |known: &Known| {
            let Sum { replicas, bytes, .. } = known.sum;
            known.counted.then_some(Usage { replicas: replicas.max(0) as u64, bytes: bytes.max(0) as u64 })
        };
        sums.buckets.iter().map(held).collect()
    }

    /// The digests of all buckets, once every bucket was counted.
    pub(crate) fn digests(&self) -> Option<Vec<Digest>> {
        let sums = self.inventory.sums();
        (sums.uncounted == 0).then(|| sums.buckets.iter().map(|known| known.sum.digest).collect())
    }

    /// The number of the first change that nobody heard of, and at most `limit` changes from there on.
    pub(crate) fn deltas(&self, limit: usize) -> (u64, Vec<Delta>) {
        let sums = self.inventory.sums();
        (sums.first, sums.log.iter().take(limit).copied().collect())
    }

    /// Everything below this number was heard.
    pub(crate) fn deltas_heard(&self, next: u64) {
        let mut sums = self.inventory.sums();
        while sums.first < next && sums.log.pop_front().is_some() {
            sums.first += 1;
        }
    }

    /// A replica does not hold what it should.
    pub(crate) fn note_bad(&self, block: BlockId, generation: GenStamp) {
        self.inventory.sums().note(Delta::Bad { block, generation });
    }

    /// Tells of replicas in a bucket that are not complete and that nobody writes. Their writer may be back, or their
    /// deletion be on its way: a leader knows. True: there are some.
    pub(crate) fn note_left(&self, bucket: Bucket) -> bool {
        let left = self.left(bucket);
        let mut sums = self.inventory.sums();
        left.iter().for_each(|(block, generation)| sums.note(Delta::Left { block: *block, generation: *generation }));
        !left.is_empty()
    }

    /// The complete replicas in a bucket by their names, in order.
    pub(crate) fn names(&self, bucket: Bucket) -> Result<Vec<(BlockId, GenStamp)>, StoreError> {
        self.check_alive()?;
        let mut names = Vec::new();
        for directory in bucket.directories() {
            let entries = match fs::read_dir(directory_path(&self.root, directory)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(self.write_failed("listing a directory", error)),
            };
            for entry in entries {
                let entry = entry.map_err(|error| self.write_failed("listing a directory", error))?;
                let name = entry.file_name().to_str().and_then(parse_name);
                // A file in another directory than its own is found by nobody.
                names.extend(name.filter(|(block, _)| Bucket::directory_of(*block) == directory));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Looks at the header and the size of a complete replica. None: it is not there.
    pub(crate) fn look(&self, block: BlockId, generation: GenStamp) -> Result<Option<(Stored, u64)>, StoreError> {
        let file = match File::open(final_path(&self.root, block, generation)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(during("opening a replica")(error)),
        };
        let header = self.read_header(&file, block)?;
        let damaged = |reason: String| StoreError::Damaged { reason };
        let State::Final { length } = header.state else {
            return Err(damaged("the header says that it is being written".to_owned()));
        };
        if header.generation != generation {
            return Err(damaged(format!("the header is of {}", header.generation)));
        }
        let metadata = file.metadata().map_err(during("asking for the size"))?;
        let there = Layout::new(header.max_length).length(metadata.len());
        if there < length.get() {
            return Err(damaged(format!("the file ends after {there} of {length} bytes")));
        }
        Ok(Some((Stored { block, generation, length }, metadata.blocks() * 512)))
    }

    /// Counts a bucket anew. An older generation beside a newer one is what an interrupted finish left: it goes.
    pub(crate) fn count(&self, bucket: Bucket) -> Result<Counted, StoreError> {
        for _ in 0..ATTEMPTS {
            let Some(begun) = self.inventory.begin_count(bucket) else {
                std::thread::yield_now();
                continue;
            };
            let (sum, bad, outdated) = self.sum_up(bucket)?;
            if !outdated.is_empty() {
                for (block, newest) in outdated {
                    self.with_block(block, |_| self.remove_finals(block, |found| found < newest))?;
                }
                continue;
            }
            if let Some(strayed) = self.inventory.end_count(bucket, begun, sum) {
                return Ok(Counted { strayed, unsettled: false, bad });
            }
        }
        Ok(Counted { unsettled: true, ..Counted::default() })
    }

    #[allow(clippy::type_complexity)]
    fn sum_up(
        &self,
        bucket: Bucket,
    ) -> Result<(Sum, Vec<(BlockId, GenStamp, String)>, Vec<(BlockId, GenStamp)>), StoreError> {
        let (mut sum, mut bad, mut outdated) = (Sum::default(), Vec::new(), Vec::new());
        let mut last: Option<(BlockId, GenStamp)> = None;
        for (block, generation) in self.names(bucket)? {
            let (digest, bytes) = match self.look(block, generation) {
                Ok(None) => continue,
                Ok(Some((stored, bytes))) => {
                    if last.is_some_and(|(before, _)| before == block) {
                        outdated.push((block, generation));
                    }
                    (Some(stored), bytes)
                }
                Err(error) if error.is_damage() => {
                    bad.push((block, generation, error.to_string()));
                    (None, self.size_of(block, generation))
                }
                Err(error) => return Err(error),
            };
            last = Some((block, generation));
            sum.replicas += 1;
            sum.bytes += bytes as i64;
            digest.iter().for_each(|stored| sum.digest.add(stored));
        }
        Ok((sum, bad, outdated))
    }

    /// What a complete replica takes of the disk, whatever is in it.
    pub(super) fn size_of(&self, block: BlockId, generation: GenStamp) -> u64 {
        fs::metadata(final_path(&self.root, block, generation)).map_or(0, |metadata| metadata.blocks() * 512)
    }
}
