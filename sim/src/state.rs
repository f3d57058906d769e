//! The state store of a member, without a log of its own: what was not flushed is gone after a crash.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use consensus::{AppliedState, Group, Manifest, ManifestFile};
use namespace::memory::MemoryView;
use namespace::view::{Page, View, ViewError, Write};

/// Rows in one file of a snapshot.
const FILE_ROWS: usize = 60;

/// A state whose hash is kept up to date. Its value does not depend on the order of the writes that led to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct HashedState {
    rows: MemoryView,
    hash: u64,
}

fn hash_of(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, value).hash(&mut hasher);
    hasher.finish()
}

impl HashedState {
    pub(crate) fn store(&mut self, writes: Vec<Write>) {
        for Write { key, value } in &writes {
            if let Some(old) = self.rows.rows().get(key) {
                self.hash ^= hash_of(key, old);
            }
            if let Some(new) = value {
                self.hash ^= hash_of(key, new);
            }
            // One by one, since a key may be written twice.
            self.rows.store(vec![Write { key: key.clone(), value: value.clone() }]);
        }
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) const fn view(&self) -> &MemoryView {
        &self.rows
    }

    /// The files of a snapshot.
    fn files(&self) -> Vec<Vec<u8>> {
        let rows: Vec<_> = self.rows.rows().iter().collect();
        let row = |bytes: &mut Vec<u8>, part: &[u8]| {
            bytes.extend((part.len() as u32).to_be_bytes());
            bytes.extend(part);
        };
        let file = |rows: &[(&Vec<u8>, &Vec<u8>)]| {
            let mut bytes = Vec::new();
            for (key, value) in rows {
                row(&mut bytes, key);
                row(&mut bytes, value);
            }
            bytes
        };
        rows.chunks(FILE_ROWS).map(file).collect()
    }

    fn of_files<'a>(files: impl Iterator<Item = &'a Vec<u8>>) -> Self {
        let mut state = Self::default();
        for file in files {
            let mut rest = &file[..];
            let mut part = || {
                let (length, after) = rest.split_at_checked(4)?;
                let length = u32::from_be_bytes(length.try_into().expect("4 bytes")) as usize;
                let (part, after) = after.split_at(length);
                rest = after;
                Some(part.to_vec())
            };
            while let Some(key) = part() {
                let value = part().expect("a value follows its key");
                state.store(vec![Write { key, value: Some(value) }]);
            }
        }
        state
    }
}

impl View for HashedState {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        self.rows.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewError> {
        self.rows.scan(from, to, limit)
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>, ViewError> {
        self.rows.last(from, to)
    }
}

/// A snapshot: what a member has for others, and what it has pulled so far.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) manifest: Manifest,
    pub(crate) files: Vec<Option<Vec<u8>>>,
}

impl Files {
    pub(crate) fn checkpoint(state: &HashedState, applied: &AppliedState) -> Self {
        let contents = state.files();
        let names = contents.iter().enumerate().map(|(number, bytes)| ManifestFile {
            name: format!("{number:06}.sst"),
            length: bytes.len() as u64,
            crc: crc32fast::hash(bytes),
        });
        let manifest = Manifest::new(applied.clone(), names.collect());
        Self { manifest, files: contents.into_iter().map(Some).collect() }
    }

    /// What is there already of `manifest`, whichever pull brought it.
    pub(crate) fn begin(manifest: &Manifest, earlier: Option<&Self>) -> Self {
        let known = |file: &ManifestFile| {
            let earlier = earlier?;
            let at = earlier.manifest.files.iter().position(|known| known == file)?;
            earlier.files[at].clone()
        };
        Self { manifest: manifest.clone(), files: manifest.files.iter().map(known).collect() }
    }

    pub(crate) fn missing(&self) -> Option<usize> {
        self.files.iter().position(Option::is_none)
    }

    /// Takes in a file if it is what the manifest tells.
    pub(crate) fn take(&mut self, number: usize, bytes: Vec<u8>) -> bool {
        let Some(told) = self.manifest.files.get(number) else { return false };
        let whole = told.length == bytes.len() as u64 && told.crc == crc32fast::hash(&bytes);
        if whole {
            self.files[number] = Some(bytes);
        }
        whole
    }

    fn state(&self) -> HashedState {
        HashedState::of_files(self.files.iter().map(|file| file.as_ref().expect("only whole snapshots are installed")))
    }
}

/// A batch that is in memory only.
#[derive(Debug, Clone)]
struct Unflushed {
    writes: Vec<Write>,
    applied: AppliedState,
}

/// The state as it is, and as it is on disk.
#[derive(Debug)]
pub(crate) struct StateStore {
    state: HashedState,
    applied: AppliedState,
    disk: HashedState,
    disk_applied: AppliedState,
    unflushed: VecDeque<Unflushed>,
}

impl StateStore {
    pub(crate) fn new(voters: &[u64]) -> Self {
        let applied = AppliedState { index: 0, term: 0, group: Group::of(voters) };
        let (state, disk) = (HashedState::default(), HashedState::default());
        Self { state, applied: applied.clone(), disk, disk_applied: applied, unflushed: VecDeque::new() }
    }

    pub(crate) const fn state(&self) -> &HashedState {
        &self.state
    }

    pub(crate) const fn applied(&self) -> &AppliedState {
        &self.applied
    }

    pub(crate) const fn persisted(&self) -> u64 {
        self.disk_applied.index
    }

    /// Rows and applied index go together.
    pub(crate) fn commit(&mut self, writes: Vec<Write>, applied: AppliedState) {
        self.state.store(writes.clone());
        self.applied = applied.clone();
        self.unflushed.push_back(Unflushed { writes, applied });
    }

    /// The batches that a flush which begins now brings to disk.
    pub(crate) fn unflushed(&self) -> usize {
        self.unflushed.len()
    }

    pub(crate) fn flushed(&mut self, batches: usize) {
        for Unflushed { writes, applied } in self.unflushed.drain(..batches) {
            self.disk.store(writes);
            self.disk_applied = applied;
        }
    }

    pub(crate) fn crash(&mut self) {
        self.unflushed.clear();
        self.state = self.disk.clone();
        self.applied = self.disk_applied.clone();
    }

    /// Makes a checkpoint, which flushes first.
    pub(crate) fn checkpoint(&mut self) -> Files {
        self.flushed(self.unflushed.len());
        Files::checkpoint(&self.disk, &self.disk_applied)
    }

    /// Swaps the directory for one that was pulled.
    pub(crate) fn replace(&mut self, files: &Files) {
        self.disk = files.state();
        self.disk_applied = files.manifest.applied();
        self.crash();
    }
}
