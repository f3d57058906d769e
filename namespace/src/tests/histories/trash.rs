//! Random removals, restores and expiries against an oracle that moves parts of a map from paths to contents.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use types::{Code, Timestamp, TrashId};

use super::super::{Cluster, LAYOUT, OWNER, at, invariants, over};
use crate::access::Caller;
use crate::command::{Command, Reply};
use crate::error::Error;
use crate::query::{self, Content};
use crate::row::{Kind, Quota};

const KEEP: u64 = 20;
/// Files and directories that there may be in the tree.
const MOST: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    Put(String, usize),
    Mkdir(String),
    Rename(String, String),
    Delete(String),
    Trash { path: String, recursive: bool },
    Restore { item: Index, to: Option<String>, parents: bool },
    Purge(Index),
    Empty(u32),
    Wait(u64),
    Expire(u32),
    Collect,
}

fn path() -> impl Strategy<Value = String> {
    proptest::string::string_regex("(/[ab]){1,3}").expect("a regex")
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (path(), 0_usize..9).prop_map(|(path, length)| Step::Put(path, length)),
        5 => path().prop_map(Step::Mkdir),
        2 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => path().prop_map(Step::Delete),
        6 => (path(), prop::bool::weighted(0.8)).prop_map(|(path, recursive)| Step::Trash { path, recursive }),
        5 => (any::<Index>(), prop::option::weighted(0.3, path()), any::<bool>())
            .prop_map(|(item, to, parents)| Step::Restore { item, to, parents }),
        1 => any::<Index>().prop_map(Step::Purge),
        1 => (0_u32..3).prop_map(Step::Empty),
        1 => (0..KEEP).prop_map(Step::Wait),
        2 => (1_u32..3).prop_map(Step::Expire),
        1 => Just(Step::Collect),
    ]
}

/// A directory, or the bytes of a file.
type Tree = BTreeMap<String, Option<Vec<u8>>>;

struct Removed {
    from: String,
    due: u64,
    /// By the rest of their paths.
    parts: Tree,
}

struct History {
    cluster: Cluster,
    tree: Tree,
    trash: BTreeMap<TrashId, Removed>,
}

fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).filter(|parent| !parent.is_empty())
}

impl History {
    fn below(&self, path: &str) -> usize {
        self.tree.keys().filter(|other| other.starts_with(&format!("{path}/"))).count()
    }

    fn check_way(&self, path: &str) -> Result<(), Code> {
        for parent in parents(path) {
            match self.tree.get(parent) {
                None => return Err(Code::NotFound),
                Some(Some(_)) => return Err(Code::NotDirectory),
                Some(None) => {}
            }
        }
        Ok(())
    }

    fn make_way(&mut self, path: &str) -> Result<(), Code> {
        for parent in parents(path) {
            if self.tree.entry(parent.to_owned()).or_insert(None).is_some() {
                return Err(Code::NotDirectory);
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &str) -> Tree {
        let is_part = |other: &String| other == path || other.starts_with(&format!("{path}/"));
        let (parts, rest) = std::mem::take(&mut self.tree).into_iter().partition(|(other, _)| is_part(other));
        self.tree = rest;
        let parts: Tree = parts;
        parts.into_iter().map(|(other, content)| (other[path.len()..].to_owned(), content)).collect()
    }

    fn place(&mut self, path: &str, parts: Tree) {
        self.tree.extend(parts.into_iter().map(|(rest, content)| (format!("{path}{rest}"), content)));
    }

    /// Runs a command on both sides: `change` is what it does to the maps.
    fn compare(
        &mut self,
        command: Command,
        change: impl FnOnce(&mut Self) -> Result<(), Code>,
    ) -> Result<Reply, Error> {
        let before = self.cluster.state.clone();
        let reply = self.cluster.run(command.clone());
        let tree = self.tree.clone();
        let mut expected = change(self);
        if expected.is_ok() && self.tree.len() > MOST && self.tree.len() > tree.len() {
            expected = Err(Code::QuotaExceeded);
        }
        if expected.is_err() {
            self.tree = tree;
            assert_eq!(self.cluster.state, before, "what is refused has no effect");
        }
        assert_eq!(reply.as_ref().map(drop).map_err(Error::code), expected, "{command:?}");
        reply
    }

    fn item(&self, index: &Index) -> Option<TrashId> {
        let items: Vec<TrashId> = self.trash.keys().copied().collect();
        items.get(index.index(items.len().max(1))).copied()
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Put(path, length) => {
                let content = vec![7; *length];
                let destination = over(path);
                let put = Command::PutInline {
                    destination,
                    ownership: OWNER,
                    layout: LAYOUT,
                    content: content.clone(),
                    mtime: None,
                };
                let _ = self.compare(put, |oracle| {
                    oracle.check_way(path)?;
                    match oracle.tree.get(path) {
                        Some(None) => Err(Code::IsDirectory),
                        Some(Some(_)) | None => {
                            oracle.tree.insert(path.clone(), Some(content));
                            Ok(())
                        }
                    }
                });
            }
            Step::Mkdir(path) => {
                let mkdir = Command::Mkdir { place: at(path), ownership: OWNER, parents: false };
                let _ = self.compare(mkdir, |oracle| {
                    oracle.check_way(path)?;
                    match oracle.tree.insert(path.clone(), None) {
                        Some(_) => Err(Code::Exists),
                        None => Ok(()),
                    }
                });
            }
            Step::Rename(from, to) => {
                // What a move does is compared elsewhere.
                if self.tree.contains_key(to) || self.check_way(to).is_err() || to.starts_with(from.as_str()) {
                    return;
                }
                let rename = Command::Rename { from: at(from), to: at(to), overwrite: false };
                let _ = self.compare(rename, |oracle| {
                    oracle.check_way(from)?;
                    let parts = oracle.take(from);
                    if parts.is_empty() {
                        return Err(Code::NotFound);
                    }
                    oracle.place(to, parts);
                    Ok(())
                });
            }
            Step::Delete(path) => {
                let _ = self.compare(Command::Delete { place: at(path), recursive: true }, |oracle| {
                    oracle.check_way(path)?;
                    if oracle.take(path).is_empty() { Err(Code::NotFound) } else { Ok(()) }
                });
            }
            Step::Trash { path, recursive } => self.trash(path, *recursive),
            Step::Restore { item, to, parents } => self.restore(item, to.as_deref(), *parents),
            Step::Purge(index) => {
                let Some(item) = self.item(index) else { return };
                let purge = Command::EmptyTrash { uid: 0, item: Some(item), limit: 1 };
                assert_eq!(self.cluster.run(purge), Ok(Reply::Emptied { more: false }));
                self.trash.remove(&item);
            }
            Step::Empty(limit) => {
                let empty = Command::EmptyTrash { uid: 0, item: None, limit: *limit };
                for _ in 0..(*limit).max(1) {
                    self.trash.pop_first();
                }
                assert_eq!(self.cluster.run(empty), Ok(Reply::Emptied { more: !self.trash.is_empty() }));
            }
            Step::Wait(time) => self.cluster.clock += time,
            Step::Expire(limit) => {
                let reply = self.cluster.run(Command::ExpireTrash { limit: *limit });
                let now = self.cluster.clock;
                // Items come in the order of their times.
                for _ in 0..*limit {
                    if self.trash.first_key_value().is_some_and(|(_, removed)| removed.due <= now) {
                        self.trash.pop_first();
                    }
                }
                let more = self.trash.values().any(|removed| removed.due <= now);
                assert_eq!(reply, Ok(Reply::Step { more }));
            }
            Step::Collect => {
                while self.cluster.run(Command::GcStep { limit: 2, grace_nanos: 0 }) != Ok(Reply::Step { more: false })
                {
                }
            }
        }
    }

    fn trash(&mut self, path: &str, recursive: bool) {
        let mut parts = Tree::new();
        let command = Command::Trash { place: at(path), recursive, keep_nanos: KEEP };
        let reply = self.compare(command, |oracle| {
            oracle.check_way(path)?;
            if !oracle.tree.contains_key(path) {
                return Err(Code::NotFound);
            }
            if !recursive && oracle.below(path) > 0 {
                return Err(Code::NotEmpty);
            }
            parts = oracle.take(path);
            Ok(())
        });
        if let Ok(reply) = reply {
            let Reply::Trashed { item, due } = reply else { panic!("{reply:?}") };
            assert_eq!(due.nanos(), self.cluster.clock + KEEP);
            let removed = Removed { from: path.to_owned(), due: due.nanos(), parts };
            assert!(self.trash.insert(item, removed).is_none(), "a number is used once");
        }
    }

    fn restore(&mut self, index: &Index, to: Option<&str>, parents: bool) {
        let Some(item) = self.item(index) else { return };
        let path = to.unwrap_or(&self.trash[&item].from).to_owned();
        let parts = self.trash[&item].parts.clone();
        let command = Command::RestoreTrash { uid: 0, item, to: to.map(at), parents };
        let restored = self.compare(command, |oracle| {
            if parents {
                oracle.make_way(&path)?
            } else {
                oracle.check_way(&path)?
            }
            if oracle.tree.contains_key(&path) {
                return Err(Code::Exists);
            }
            oracle.place(&path, parts);
            Ok(())
        });
        if restored.is_ok() {
            self.trash.remove(&item);
        }
    }

    fn check(&self) {
        let state = &self.cluster.state;
        invariants::check(state);
        let mut found = Tree::new();
        let mut left = vec![String::new()];
        while let Some(directory) = left.pop() {
            let listing = query::list(state, Caller::SYSTEM, &at(&directory), b"", 100).expect("a directory");
            for (name, attributes) in listing.entries {
                let path = format!("{directory}/{}", String::from_utf8(name).expect("letters"));
                if attributes.kind == Kind::Directory {
                    left.push(path.clone());
                    found.insert(path, None);
                    continue;
                }
                let opened = query::open(state, Caller::SYSTEM, &at(&path), 0, 100).expect("a file");
                let Content::Inline(content) = opened.content else { panic!("stored inline") };
                found.insert(path, Some(content));
            }
        }
        assert_eq!(found, self.tree);
        let (items, more) = query::trash(state, Caller::SYSTEM, None, None, 1000).expect("readable");
        assert!(!more);
        let shown = items.iter().map(|trashed| {
            let usage = trashed.attributes.usage.unwrap_or_default();
            let from = String::from_utf8(trashed.row.from.path.clone()).expect("letters");
            (trashed.item, from, trashed.row.due, usage.files + usage.directories)
        });
        let expected = self.trash.iter().map(|(item, removed)| {
            let below = removed.parts.len() as u64 - 1;
            (*item, removed.from.clone(), Timestamp::from_nanos(removed.due), below)
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }

    /// With everything removed and expired, only the two directories at the top are left.
    fn empty(&mut self) {
        for path in ["/a", "/b"] {
            let _ = self.cluster.run(Command::Delete { place: at(path), recursive: true });
        }
        self.cluster.clock += 2 * KEEP;
        while self.cluster.run(Command::ExpireTrash { limit: 1 }) != Ok(Reply::Step { more: false }) {}
        while self.cluster.run(Command::GcStep { limit: 2, grace_nanos: 0 }) != Ok(Reply::Step { more: false }) {}
        invariants::check(&self.cluster.state);
        assert_eq!(invariants::tags(&self.cluster.state), "Sdn", "something leaked");
        assert!(self.cluster.state.rows().len() <= 5);
    }
}

proptest! {
    #[test]
    fn what_is_removed_comes_back_whole_or_goes_whole(steps in prop::collection::vec(step(), 1..60)) {
        let mut history = History { cluster: Cluster::formatted(), tree: Tree::new(), trash: BTreeMap::new() };
        let quota = Quota { raw_bytes: None, inodes: Some(MOST as u64) };
        history.cluster.run(Command::SetQuota { place: at("/"), quota }).expect("set");
        for step in &steps {
            history.run(step);
            history.check();
        }
        history.empty();
    }
}
