//! Random opens, closes and removals against an oracle that counts who has what open.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use types::{Code, InodeId, SessionId};

use super::super::{Cluster, LAYOUT, OWNER, at, invariants, over};
use crate::access::Caller;
use crate::command::{ClosedHandles, Command, HandleRights, Reply, Where};
use crate::query::{self, Content};

const PATHS: [&str; 6] = ["/a", "/b", "/d/a", "/d/b", "/d/e/a", "/d/e/b"];

#[derive(Debug, Clone)]
enum Step {
    Put(usize),
    Open { path: usize, session: Index },
    OpenAgain { file: Index, session: Index },
    Close { file: Index, session: Index, count: u32 },
    Rename { from: usize, to: usize },
    Delete(usize),
    DeleteTree { deep: bool },
    Collect(u32),
    End { session: Index, limit: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let path = || 0..PATHS.len();
    prop_oneof![
        4 => path().prop_map(Step::Put),
        6 => (path(), any::<Index>()).prop_map(|(path, session)| Step::Open { path, session }),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(file, session)| Step::OpenAgain { file, session }),
        4 => (any::<Index>(), any::<Index>(), 1_u32..3)
            .prop_map(|(file, session, count)| Step::Close { file, session, count }),
        2 => (path(), path()).prop_map(|(from, to)| Step::Rename { from, to }),
        3 => path().prop_map(Step::Delete),
        2 => any::<bool>().prop_map(|deep| Step::DeleteTree { deep }),
        2 => (1_u32..4).prop_map(Step::Collect),
        1 => (any::<Index>(), 1_u32..3).prop_map(|(session, limit)| Step::End { session, limit }),
    ]
}

/// Names, contents and counts, each in a map of its own.
struct History {
    cluster: Cluster,
    sessions: Vec<SessionId>,
    names: BTreeMap<&'static str, InodeId>,
    contents: BTreeMap<InodeId, Vec<u8>>,
    open: BTreeMap<(InodeId, SessionId), u32>,
}

impl History {
    fn session(&self, index: Index) -> SessionId {
        self.sessions[index.index(self.sessions.len())]
    }

    fn file(&self, index: Index) -> Option<InodeId> {
        let files: Vec<InodeId> = self.contents.keys().copied().collect();
        files.get(index.index(files.len().max(1))).copied()
    }

    fn lives(&self, inode: InodeId) -> bool {
        self.names.values().any(|named| *named == inode) || self.open.keys().any(|(open, _)| *open == inode)
    }

    fn opened(&mut self, place: Where, session: SessionId, expected: Option<InodeId>) {
        let rights = HandleRights { read: true, write: true };
        match self.cluster.by(session, Command::OpenHandle { place, rights, create: None }) {
            Ok(Reply::Attributes { attributes }) => {
                assert_eq!(Some(attributes.inode), expected);
                *self.open.entry((attributes.inode, session)).or_default() += 1;
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert_eq!((error.code(), expected), (Code::NotFound, None)),
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Put(path) => {
                let content = vec![7; self.contents.len() + 1];
                let put = Command::PutInline {
                    destination: crate::command::Destination { parents: true, ..over(PATHS[path]) },
                    ownership: OWNER,
                    layout: LAYOUT,
                    content: content.clone(),
                    mtime: None,
                };
                match self.cluster.run(put) {
                    Ok(Reply::Attributes { attributes }) => {
                        self.names.insert(PATHS[path], attributes.inode);
                        self.contents.insert(attributes.inode, content);
                    }
                    other => panic!("{other:?}"),
                }
            }
            Step::Open { path, session } => {
                let expected = self.names.get(PATHS[path]).copied();
                self.opened(at(PATHS[path]), self.session(session), expected);
            }
            Step::OpenAgain { file, session } => {
                let Some(inode) = self.file(file) else { return };
                let place = Where { base: inode, path: Vec::new() };
                self.opened(place, self.session(session), Some(inode).filter(|inode| self.lives(*inode)));
            }
            Step::Close { file, session, count } => {
                let (Some(inode), session) = (self.file(file), self.session(session)) else { return };
                let closed =
                    self.cluster.by(session, Command::CloseHandles { closed: vec![ClosedHandles { inode, count }] });
                let held = self.open.get(&(inode, session)).copied().unwrap_or_default();
                match held.checked_sub(count) {
                    None => assert_eq!(closed.map_err(|error| error.code()), Err(Code::InvalidArgument)),
                    Some(left) => {
                        assert_eq!(closed, Ok(Reply::Done));
                        self.open.insert((inode, session), left);
                        self.open.retain(|_, count| *count > 0);
                    }
                }
            }
            Step::Rename { from, to } => {
                let rename = Command::Rename { from: at(PATHS[from]), to: at(PATHS[to]), overwrite: true };
                if self.cluster.run(rename).is_ok()
                    && let Some(inode) = self.names.remove(PATHS[from])
                {
                    self.names.insert(PATHS[to], inode);
                }
            }
            Step::Delete(path) => {
                let deleted = self.cluster.run(Command::Delete { place: at(PATHS[path]), recursive: false });
                assert_eq!(deleted.is_ok(), self.names.remove(PATHS[path]).is_some());
            }
            Step::DeleteTree { deep } => {
                let top = if deep { "/d/e" } else { "/d" };
                if self.cluster.run(Command::Delete { place: at(top), recursive: true }).is_ok() {
                    self.names.retain(|path, _| !path.starts_with(&format!("{top}/")));
                }
            }
            Step::Collect(limit) => {
                self.cluster.run(Command::GcStep { limit, grace_nanos: 0 }).expect("a step");
            }
            Step::End { session, limit } => {
                let at = session.index(self.sessions.len());
                let session = std::mem::replace(&mut self.sessions[at], self.cluster.open_session());
                let expire = Command::ExpireSession { session, limit };
                while self.cluster.run(expire.clone()) == Ok(Reply::Step { more: true }) {
                    invariants::check(&self.cluster.state);
                }
                self.open.retain(|(_, holder), _| *holder != session);
            }
        }
    }

    fn check(&self) {
        invariants::check(&self.cluster.state);
        for (inode, content) in &self.contents {
            let place = Where { base: *inode, path: Vec::new() };
            let found = query::open(&self.cluster.state, Caller::SYSTEM, &place, 0, 99).ok();
            let expected = self.lives(*inode).then(|| Content::Inline(content.clone()));
            assert_eq!(found.map(|opened| opened.content), expected, "{inode}");
        }
        let usage = query::totals(&self.cluster.state).expect("readable");
        let named: BTreeSet<InodeId> = self.names.values().copied().collect();
        let bytes: usize = named.iter().map(|inode| self.contents[inode].len()).sum();
        assert_eq!((usage.files, usage.bytes), (named.len() as u64, bytes as u64));
    }
}

proptest! {
    #[test]
    fn a_file_lives_while_it_has_a_name_or_is_open(steps in prop::collection::vec(step(), 1..60)) {
        let mut cluster = Cluster::formatted();
        let sessions = vec![cluster.open_session(), cluster.open_session()];
        let (names, contents, open) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut history = History { cluster, sessions, names, contents, open };
        for step in steps {
            history.run(step);
            history.check();
        }
        for session in history.sessions.clone() {
            history.cluster.run(Command::CloseSession { session }).expect("closed");
        }
        for top in ["/a", "/b", "/d"] {
            let _ = history.cluster.run(Command::Delete { place: at(top), recursive: true });
        }
        while history.cluster.run(Command::GcStep { limit: 2, grace_nanos: 0 }) == Ok(Reply::Step { more: true }) {}
        invariants::check(&history.cluster.state);
        assert_eq!(invariants::tags(&history.cluster.state), "Sdn", "something leaked");
    }
}
