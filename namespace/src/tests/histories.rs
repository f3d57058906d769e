//! Random histories: several sessions, retries, expiries and garbage collection, each step compared with the model.

mod content;
mod handles;
mod links;
mod locks;
mod trash;
mod uploads;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::BoxedStrategy;
use types::{BlockId, BlockOffset, ByteSize, Code, GenStamp, InodeId, SessionId, Timestamp};

use super::model::{Body, Expected, Model};
use super::{Cluster, LAYOUT, OWNER, START, invariants, location, locations, storage};
use crate::access::Caller;
use crate::apply::Applied;
use crate::codec::Batch;
use crate::command::{
    AttrChange, BlockDone, Command, Destination, Layout, Ownership, Principal, Reply, Request, TimeKind, Where,
    XattrMode,
};
use crate::directory_policy::DirectorySetting;
use crate::error::{Error, QueryError};
use crate::memory::MemoryView;
use crate::overlay::Overlay;
use crate::placement;
use crate::query::{self, Content};
use crate::row::{BlockRow, LocatedBlock, Quota};

const STORAGES: u8 = 5;
/// Uid and gid of the root directory.
const ROOT_OWNER: (u32, u32) = (1000, 100);

/// One step of a history. Indexes choose among what is there when the step runs.
#[derive(Debug, Clone)]
enum Step {
    OpenSession,
    EndSession { session: Index, limit: u32, in_order: bool },
    Mkdir { place: Place, parents: bool, mode: u32 },
    Create { destination: Option<To>, targets: Option<u8> },
    PutInline { destination: To, length: usize },
    Write { file: Index, kind: Writing },
    Rename { from: Place, to: Place, overwrite: bool },
    Exchange { first: Place, second: Place },
    Delete { place: Place, recursive: bool },
    SetAttr { place: Place, change: AttrChange },
    SetQuota { place: Place, quota: Quota },
    SetPolicy { place: Place, setting: DirectorySetting },
    SetXattr { place: Place, name: &'static str, length: usize, mode: XattrMode },
    RemoveXattr { place: Place, name: &'static str },
    Replica { block: Index, kind: Replicas, storage: u8 },
    Gc { limit: u32 },
    Deleted { storage: u8, limit: usize },
    Retry { request: Index },
    Links(links::Step),
}

#[derive(Debug, Clone)]
struct Place {
    /// Something that is there, instead of a path that may lead anywhere.
    existing: Option<Index>,
    base: Option<Index>,
    path: String,
}

#[derive(Debug, Clone)]
struct To {
    place: Place,
    overwrite: bool,
    parents: bool,
}

#[derive(Debug, Clone)]
struct Done {
    length: u64,
    /// A bit for each target.
    replicas: u8,
    /// Now and then a writer knows an old generation, or means another block.
    stale: bool,
    other_block: bool,
}

#[derive(Debug, Clone)]
enum Writing {
    AddBlock { previous: Option<Done>, targets: u8, min_replicas: u8 },
    Extend(Done),
    NextGeneration(Done),
    AbandonBlock,
    Complete { last: Option<Done>, min_replicas: u8, publish: Option<To> },
    Abandon,
}

#[derive(Debug, Clone, Copy)]
enum Replicas {
    Add,
    Remove,
    Bad,
}

fn place() -> impl Strategy<Value = Place> {
    let path = proptest::string::string_regex("(/[abc]){0,3}").expect("a regex");
    let existing = prop::option::weighted(0.4, any::<Index>());
    (existing, prop::option::weighted(0.2, any::<Index>()), path).prop_map(|(existing, base, path)| Place {
        existing,
        base,
        path,
    })
}

fn destination() -> impl Strategy<Value = To> {
    (place(), any::<bool>(), any::<bool>()).prop_map(|(place, overwrite, parents)| To { place, overwrite, parents })
}

fn done() -> impl Strategy<Value = Done> {
    let rarely = || prop::bool::weighted(0.05);
    (0_u64..=17, 0_u8..16, rarely(), rarely()).prop_map(|(length, replicas, stale, other_block)| Done {
        length,
        // Mostly everything is acknowledged.
        replicas: if replicas < 13 { 7 - replicas % 3 } else { replicas },
        stale,
        other_block,
    })
}

fn writing() -> impl Strategy<Value = Writing> {
    prop_oneof![
        4 => (prop::option::weighted(0.9, done()), 0..STORAGES, 0_u8..3)
            .prop_map(|(previous, targets, min_replicas)| Writing::AddBlock { previous, targets, min_replicas }),
        3 => done().prop_map(Writing::Extend),
        2 => done().prop_map(Writing::NextGeneration),
        1 => Just(Writing::AbandonBlock),
        4 => (prop::option::weighted(0.95, done()), 0_u8..3, prop::option::weighted(0.8, destination()))
            .prop_map(|(last, min_replicas, publish)| Writing::Complete { last, min_replicas, publish }),
        1 => Just(Writing::Abandon),
    ]
}

/// Of a directory: mostly open enough for others to come by.
fn mode() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0o755, 0o755, 0o775, 0o777, 0o1777, 0o3777, 0o2775, 0o2755, 0o700, 0o750, 0o711, 0o644])
}

fn change() -> impl Strategy<Value = AttrChange> {
    let sometimes = prop::option::weighted::<BoxedStrategy<u32>>;
    let modes = prop_oneof![mode().boxed(), (0_u32..=0o7777).boxed()].boxed();
    let times = || prop::option::weighted(0.2, any::<u64>().prop_map(Timestamp::from_nanos));
    let ids = |ids: [u32; 4]| prop::sample::select(ids.to_vec()).boxed();
    (
        sometimes(0.4, modes),
        sometimes(0.2, ids([0, 1000, 1001, 1002])),
        sometimes(0.2, ids([0, 100, 200, 300])),
        (times(), times()),
        prop::option::weighted(0.3, 1_u8..5),
        prop::bool::weighted(0.2),
        prop::option::weighted(0.2, prop::sample::select(vec![TimeKind::Access, TimeKind::Modification])),
    )
        .prop_map(|(mode, uid, gid, (mtime, atime), replication, touch, present)| AttrChange {
            mode,
            uid,
            gid,
            mtime,
            atime,
            replication,
            touch,
            present,
        })
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "user.a",
        "user.b",
        "user.c",
        "user.d",
        "user.e",
        "user.f",
        "trusted.t",
        "security.s",
        "x.y",
    ])
}

fn xattr_mode() -> impl Strategy<Value = XattrMode> {
    prop::sample::select(vec![XattrMode::Any, XattrMode::Any, XattrMode::Create, XattrMode::Replace])
}

/// On whose behalf a client asks.
fn caller() -> impl Strategy<Value = Option<Principal>> {
    let user = |uid, gid, groups: &[u32]| Just(Some(Principal { uid, gid, groups: groups.to_vec() }));
    prop_oneof![
        3 => Just(None),
        1 => user(0, 0, &[]),
        4 => user(1000, 100, &[200]),
        2 => user(1001, 100, &[]),
        2 => user(1002, 300, &[200]),
    ]
}

fn setting() -> impl Strategy<Value = DirectorySetting> {
    let rules = [None, Some(placement::Policy::TwoRacks), Some(placement::Policy::Spread)];
    prop_oneof![
        prop::option::of(0_u8..34).prop_map(|count| DirectorySetting::Replication { count }),
        prop::sample::select(rules.to_vec()).prop_map(|rule| DirectorySetting::Spread { rule }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let replicas = prop_oneof![Just(Replicas::Add), Just(Replicas::Remove), Just(Replicas::Bad)];
    prop_oneof![
        1 => Just(Step::OpenSession),
        1 => (any::<Index>(), 1_u32..4, any::<bool>())
            .prop_map(|(session, limit, in_order)| Step::EndSession { session, limit, in_order }),
        4 => (place(), any::<bool>(), mode()).prop_map(|(place, parents, mode)| Step::Mkdir { place, parents, mode }),
        4 => (prop::option::of(destination()), prop::option::of(0..STORAGES))
            .prop_map(|(destination, targets)| Step::Create { destination, targets }),
        4 => (destination(), 0_usize..20)
            .prop_map(|(destination, length)| Step::PutInline { destination, length }),
        12 => (any::<Index>(), writing()).prop_map(|(file, kind)| Step::Write { file, kind }),
        4 => (place(), place(), any::<bool>()).prop_map(|(from, to, overwrite)| Step::Rename { from, to, overwrite }),
        2 => (place(), place()).prop_map(|(first, second)| Step::Exchange { first, second }),
        3 => (place(), any::<bool>()).prop_map(|(place, recursive)| Step::Delete { place, recursive }),
        4 => (place(), change()).prop_map(|(place, change)| Step::SetAttr { place, change }),
        2 => (place(), prop::option::of(0_u64..300), prop::option::of(0_u64..12))
            .prop_map(|(place, raw_bytes, inodes)| Step::SetQuota { place, quota: Quota { raw_bytes, inodes } }),
        2 => (place(), setting()).prop_map(|(place, setting)| Step::SetPolicy { place, setting }),
        4 => (place(), name(), prop::sample::select(vec![0_usize, 100, 250, 300]), xattr_mode())
            .prop_map(|(place, name, length, mode)| Step::SetXattr { place, name, length, mode }),
        2 => (place(), name()).prop_map(|(place, name)| Step::RemoveXattr { place, name }),
        5 => (any::<Index>(), replicas, 0..STORAGES)
            .prop_map(|(block, kind, storage)| Step::Replica { block, kind, storage }),
        2 => (1_u32..6).prop_map(|limit| Step::Gc { limit }),
        1 => (0..STORAGES, 1_usize..5).prop_map(|(storage, limit)| Step::Deleted { storage, limit }),
        2 => any::<Index>().prop_map(|request| Step::Retry { request }),
        6 => links::step().prop_map(Step::Links),
    ]
}

struct History {
    cluster: Cluster,
    model: Model,
    /// Every session that ever was.
    sessions: Vec<SessionId>,
    /// Every operation of a client that has an answer.
    answered: Vec<(Request, Result<Reply, Error>)>,
    /// Everything applied, to be applied again in batches.
    log: Vec<Request>,
    /// On whose behalf clients ask now.
    caller: Option<Principal>,
}

impl History {
    fn new() -> Self {
        let cluster = Cluster::formatted_for(ROOT_OWNER);
        let model = Model::new(Timestamp::from_nanos(START + 1), ROOT_OWNER);
        Self { cluster, model, sessions: Vec::new(), answered: Vec::new(), log: Vec::new(), caller: None }
    }

    fn apply(&mut self, request: &Request) -> Applied {
        self.log.push(request.clone());
        self.cluster.apply(request)
    }

    /// Runs a command on both sides.
    fn compare(&mut self, session: Option<SessionId>, command: Command) {
        let mut request = self.cluster.request(session, command);
        request.principal = session.and(self.caller.clone());
        let before = self.cluster.state.clone();
        let applied = self.apply(&request);
        if applied.reply.is_err() {
            assert!(applied.writes.len() <= 1 && applied.effects.is_empty(), "invariant 1: {applied:?}");
            if session.is_none() {
                assert_eq!(self.cluster.state, before);
            }
        }
        match self.model.apply(&request) {
            Expected::Exactly(expected) => {
                let reply = applied.reply.clone();
                assert_eq!(reply.as_ref().map_err(Error::code), expected.as_ref().map_err(|code| *code), "{request:?}");
            }
            Expected::Anything => {}
        }
        let kept = !matches!(&applied.reply, Err(error) if error.code() == Code::SessionExpired);
        if session.is_some() && kept {
            self.answered.push((request, applied.reply));
        }
    }

    /// The leader's own bounded duties, run to their end.
    fn steps(&mut self, session: Option<SessionId>, command: &Command) {
        loop {
            let request = self.cluster.request(session, command.clone());
            match self.apply(&request).reply {
                Ok(Reply::Step { more: true }) => {}
                Ok(Reply::Step { more: false }) => return,
                other => panic!("a step was asked for: {other:?}"),
            }
        }
    }

    fn place(&self, place: &Place) -> Where {
        if let Some(index) = &place.existing {
            let objects: Vec<InodeId> = self.model.objects.keys().copied().collect();
            return self.path_of(objects[index.index(objects.len())]);
        }
        let base = match &place.base {
            // A base that nobody has is as good as one that is gone.
            Some(index) => InodeId::new(1 + index.index(30) as u64),
            None => InodeId::ROOT,
        };
        Where { base, path: place.path.as_bytes().to_vec() }
    }

    fn path_of(&self, inode: InodeId) -> Where {
        let mut place = Where { base: inode, path: Vec::new() };
        while let Some((parent, name)) = self.model.parent_of(place.base) {
            place = Where { base: parent, path: [b"/", name.as_slice(), place.path.as_slice()].concat() };
        }
        place
    }

    fn destination(&self, to: &To) -> Destination {
        Destination { place: self.place(&to.place), overwrite: to.overwrite, parents: to.parents }
    }

    /// Any session, mostly a living one.
    fn session(&mut self, index: &Index) -> SessionId {
        if self.model.sessions.is_empty() {
            self.open_session();
        }
        if index.index(20) == 0 {
            return self.sessions[index.index(self.sessions.len())];
        }
        let living: Vec<SessionId> = self.model.sessions.iter().copied().collect();
        living[index.index(living.len())]
    }

    fn open_session(&mut self) {
        self.compare(None, Command::OpenSession { client: "model".to_owned() });
        self.sessions = (1..).map(SessionId::new).take(self.sessions.len() + 1).collect();
    }

    fn run(&mut self, step: &Step, who: &Index) {
        match step {
            Step::OpenSession => self.open_session(),
            Step::EndSession { session, limit, in_order } => {
                let session = self.session(session);
                let close = Command::CloseSession { session };
                let expire = Command::ExpireSession { session, limit: *limit };
                self.steps(None, if *in_order { &close } else { &expire });
                self.model.end_session(session);
            }
            Step::Mkdir { place, parents, mode } => {
                let (place, ownership) = (self.place(place), Ownership { mode: *mode, ..OWNER });
                self.client(who, Command::Mkdir { place, ownership, parents: *parents });
            }
            Step::Create { destination, targets } => {
                let destination = destination.as_ref().map(|to| self.destination(to));
                let targets = targets.map(pipeline).unwrap_or_default();
                self.client(who, Command::Create { destination, ownership: OWNER, layout: LAYOUT, targets });
            }
            Step::PutInline { destination, length } => {
                let destination = self.destination(destination);
                let layout = Layout { replication: 2, spread: Some(placement::Policy::Spread), ..LAYOUT };
                let content = vec![7; *length];
                self.client(who, Command::PutInline { destination, ownership: OWNER, layout, content, mtime: None });
            }
            Step::Write { file, kind } => self.write(file, kind, who),
            Step::Rename { from, to, overwrite } => {
                let (from, to) = (self.place(from), self.place(to));
                self.client(who, Command::Rename { from, to, overwrite: *overwrite });
            }
            Step::Exchange { first, second } => {
                let (first, second) = (self.place(first), self.place(second));
                self.client(who, Command::Exchange { first, second });
            }
            Step::Delete { place, recursive } => {
                let place = self.place(place);
                self.client(who, Command::Delete { place, recursive: *recursive });
                self.let_go();
            }
            Step::SetAttr { place, change } => {
                let place = self.place(place);
                self.client(who, Command::SetAttr { place, change: *change });
            }
            Step::SetQuota { place, quota } => {
                let place = self.place(place);
                self.client(who, Command::SetQuota { place, quota: *quota });
            }
            Step::SetPolicy { place, setting } => {
                let place = self.place(place);
                self.client(who, Command::SetDirectoryPolicy { place, setting: *setting });
            }
            Step::SetXattr { place, name, length, mode } => {
                let (place, name, value) = (self.place(place), name.as_bytes().to_vec(), vec![7; *length]);
                self.client(who, Command::SetXattr { place, name, value, mode: *mode });
            }
            Step::RemoveXattr { place, name } => {
                let place = self.place(place);
                self.client(who, Command::RemoveXattr { place, name: name.as_bytes().to_vec() });
            }
            Step::Replica { block, kind, storage: number } => {
                let known = query::blocks(&self.cluster.state, None, usize::MAX).expect("readable");
                let Some((block, row)) = known.get(block.index(known.len().max(1))) else { return };
                let (block, generation, storage) = (*block, row.generation, storage(*number));
                let command = match kind {
                    Replicas::Add => Command::AddReplica { block, generation, location: location(*number) },
                    Replicas::Remove => Command::RemoveReplica { block, generation, storage },
                    Replicas::Bad => Command::ReportBadReplica { block, generation, storage },
                };
                self.compare(None, command);
            }
            Step::Gc { limit } => {
                let request = self.cluster.request(None, Command::GcStep { limit: *limit, grace_nanos: 10 });
                let applied = self.apply(&request);
                let more = query::garbage_pending(&self.cluster.state).expect("readable");
                assert_eq!(applied.reply, Ok(Reply::Step { more }));
            }
            Step::Links(step) => self.run_links(step, who),
            Step::Deleted { storage: number, limit } => self.delete_due(*number, *limit),
            Step::Retry { request } => {
                let Some((request, reply)) = self.answered.get(request.index(self.answered.len().max(1))).cloned()
                else {
                    return;
                };
                let living = request.origin.is_some_and(|origin| self.model.sessions.contains(&origin.session));
                let applied = self.apply(&request);
                assert_eq!(applied.writes, Vec::new(), "invariant 2");
                if living {
                    assert_eq!(applied.reply, reply, "invariant 2");
                } else {
                    assert_eq!(applied.reply.map_err(|error| error.code()), Err(Code::SessionExpired));
                }
            }
        }
    }

    fn client(&mut self, who: &Index, command: Command) {
        let session = self.session(who);
        self.compare(Some(session), command);
    }

    fn delete_due(&mut self, number: u8, limit: usize) {
        let now = Timestamp::from_nanos(u64::MAX);
        let replicas = query::due_deletes(&self.cluster.state, storage(number), now, limit).expect("readable");
        for replica in &replicas {
            self.model.deleted(storage(number), replica.block);
        }
        let request = self.cluster.request(None, Command::ReplicasDeleted { storage: storage(number), replicas });
        assert_eq!(self.apply(&request).reply, Ok(Reply::Done));
    }

    /// An operation on a file that somebody has open, mostly by whom.
    fn write(&mut self, index: &Index, kind: &Writing, who: &Index) {
        let open = self.model.objects.keys().chain(&self.model.doomed).copied();
        let open: Vec<InodeId> = open.filter(|inode| self.model.children(*inode).is_none()).collect();
        let written: Vec<InodeId> = open.iter().copied().filter(|inode| self.model.writer(*inode).is_some()).collect();
        let choice = if written.is_empty() || index.index(10) == 0 { open } else { written };
        let Some(inode) = choice.get(index.index(choice.len().max(1))).copied() else { return };
        let session = match self.model.writer(inode) {
            Some(writer) if who.index(10) != 0 => writer,
            _ => self.session(who),
        };
        let may_publish = self.model.parent_of(inode).is_none() || who.index(8) == 0;
        let command = match kind {
            Writing::AddBlock { previous, targets, min_replicas } => Command::AddBlock {
                inode,
                previous: previous.as_ref().and_then(|done| self.done(inode, done)),
                targets: pipeline(*targets),
                min_replicas: *min_replicas,
            },
            Writing::Extend(done) => match self.done(inode, done) {
                Some(written) => Command::Extend { inode, written },
                None => return,
            },
            Writing::NextGeneration(done) => match self.done(inode, done) {
                Some(BlockDone { block, generation, replicas: survivors, .. }) => {
                    Command::NextGeneration { inode, block, generation, survivors }
                }
                None => return,
            },
            Writing::AbandonBlock => match self.open_block(inode) {
                Some((block, _)) => Command::AbandonBlock { inode, block },
                None => return,
            },
            Writing::Complete { last, min_replicas, publish } => Command::Complete {
                inode,
                last: last.as_ref().and_then(|done| self.done(inode, done)),
                min_replicas: *min_replicas,
                publish: publish.as_ref().filter(|_| may_publish).map(|to| self.destination(to)),
                mtime: None,
            },
            Writing::Abandon => Command::Abandon { inode },
        };
        self.compare(Some(session), command);
    }

    fn open_block(&self, inode: InodeId) -> Option<(BlockId, BlockRow)> {
        let Body::File(file) = &self.model.objects.get(&inode)?.body else { return None };
        let block = file.open_block()?;
        Some((block, file.blocks[&block].clone()))
    }

    fn done(&self, inode: InodeId, done: &Done) -> Option<BlockDone> {
        let (block, row) = self.open_block(inode)?;
        let chosen = row.replicas.iter().enumerate().filter(|(at, _)| done.replicas & (1 << at) != 0);
        let mut replicas: Vec<_> = chosen.map(|(_, location)| location.storage).collect();
        if done.replicas & 8 != 0 {
            replicas.push(storage(77));
        }
        Some(BlockDone {
            block: if done.other_block { BlockId::new(inode, block.number() + 1) } else { block },
            generation: if done.stale { GenStamp::new(row.generation.get() - 1) } else { row.generation },
            length: ByteSize::new(done.length),
            replicas,
        })
    }

    /// Everything that can be asked is answered as the model answers it.
    fn check(&mut self) {
        self.check_rights();
        self.model.ask_as(None);
        let state = &self.cluster.state;
        invariants::check(state);
        self.check_below(InodeId::ROOT, &Where { base: InodeId::ROOT, path: Vec::new() });
        for inode in self.model.objects.keys() {
            let place = Where { base: *inode, path: Vec::new() };
            assert_eq!(query::stat(state, Caller::SYSTEM, &place), Ok(self.model.attributes(*inode)));
            let xattrs = &self.model.objects[inode].xattrs;
            let names = query::xattr_names(state, Caller::SYSTEM, &place).expect("it is there");
            assert!(names.iter().eq(xattrs.keys()));
            for (name, value) in xattrs {
                assert_eq!(query::xattr(state, Caller::SYSTEM, &place, name).as_ref(), Ok(value));
            }
        }
        for inode in &self.model.doomed {
            let place = Where { base: *inode, path: Vec::new() };
            let code = |result: Result<_, QueryError>| match result {
                Err(QueryError::Refused(error)) => Some(error.code()),
                _ => None,
            };
            assert_eq!(code(query::stat(state, Caller::SYSTEM, &place)), Some(Code::NotFound), "{inode} was removed");
        }
        let listed = query::sessions(state, None, usize::MAX).expect("readable");
        assert!(listed.iter().eq(&self.model.sessions));
        let totals = query::totals(state).expect("readable");
        let root = self.model.attributes(InodeId::ROOT).usage.expect("a directory");
        assert_eq!((totals.files, totals.directories, totals.bytes), (root.files, root.directories, root.bytes));
    }

    /// What the caller may not see is refused, by path and by inode.
    fn check_rights(&mut self) {
        self.model.ask_as(self.caller.clone());
        let (state, caller) = (&self.cluster.state, Caller::from(self.caller.as_ref()));
        let code = |result: Result<(), QueryError>| match result {
            Ok(()) => Ok(()),
            Err(QueryError::Refused(error)) => Err(error.code()),
            Err(QueryError::View(error)) => panic!("{error}"),
        };
        for inode in self.model.objects.keys() {
            for place in [self.path_of(*inode), Where { base: *inode, path: Vec::new() }] {
                let named = *inode == InodeId::ROOT || self.model.parent_of(*inode).is_some();
                let found = if named { self.model.find(&place).map(|_| ()) } else { Ok(()) };
                assert_eq!(code(query::stat(state, caller, &place).map(|_| ())), found, "stat of {place:?}");
                let may = |bits: &[u32]| match bits.iter().all(|bit| self.model.may(*inode, *bit)) {
                    true => Ok(()),
                    false => Err(Code::Denied),
                };
                if self.model.children(*inode).is_some() {
                    let listed = query::list(state, caller, &place, b"", 1).map(|_| ());
                    assert_eq!(code(listed), found.and_then(|()| may(&[4, 1])), "list of {place:?}");
                } else {
                    let opened = query::open(state, caller, &place, 0, 1).map(|_| ());
                    let expected = found.and_then(|()| match &self.model.objects[inode].body {
                        Body::Other(_) if self.model.is_symlink(*inode) => Err(Code::SymbolicLink),
                        Body::Other(_) => Err(Code::NotSupported),
                        Body::File(_) | Body::Directory(_) => may(&[4]),
                    });
                    assert_eq!(code(opened), expected, "open of {place:?}");
                }
            }
        }
    }

    fn check_below(&self, inode: InodeId, place: &Where) {
        let state = &self.cluster.state;
        assert_eq!(query::stat(state, Caller::SYSTEM, place), Ok(self.model.attributes(inode)));
        let Some(children) = self.model.children(inode) else { return self.check_content(inode, place) };
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut more = true;
        while more {
            let after = names.last().cloned().unwrap_or_default();
            let page = query::list(state, Caller::SYSTEM, place, &after, 2).expect("a directory");
            for (name, attributes) in page.entries {
                assert_eq!(attributes, self.model.attributes(children[&name]));
                names.push(name);
            }
            more = page.more;
        }
        assert!(names.iter().eq(children.keys()));
        for (name, child) in children {
            let path = [place.path.as_slice(), b"/", name].concat();
            self.check_below(*child, &Where { base: InodeId::ROOT, path });
        }
    }

    fn check_content(&self, inode: InodeId, place: &Where) {
        if matches!(self.model.objects[&inode].body, Body::Other(_)) {
            return;
        }
        let file = self.model.file(inode);
        let mut offset = 0;
        let mut expected = Vec::new();
        for (block, row) in file.blocks.iter().filter(|(_, row)| row.length > ByteSize::ZERO) {
            let block_offset = BlockOffset::ZERO;
            let (block, length, row) = (*block, row.length, row.clone());
            expected.push(LocatedBlock { block, offset, length, block_offset, row });
            offset += length.get();
        }
        for (from, length) in [(0, u64::MAX), (0, 1), (offset / 2, 3), (offset, 5), (17, 0)] {
            let opened = query::open(&self.cluster.state, Caller::SYSTEM, place, from, length).expect("a file");
            assert_eq!(opened.attributes, self.model.attributes(inode));
            let overlaps = |located: &&LocatedBlock| {
                let end = from.saturating_add(length).min(offset);
                located.offset < end && from < located.offset + located.row.length.get()
            };
            let content = match &file.inline {
                Some(content) => Content::Inline(content.clone()),
                None => Content::Blocks {
                    blocks: expected.iter().filter(overlaps).cloned().collect(),
                    known_to: from.saturating_add(length).min(offset),
                },
            };
            assert_eq!(sorted(opened.content), sorted(content), "bytes {from}+{length} of {inode}");
        }
    }

    /// The same log in batches, through its bytes and through an overlay, gives the same state.
    fn replay(&self, batch: usize) {
        let mut state = MemoryView::new();
        let mut cluster = Cluster { state: MemoryView::new(), clock: START, sequence: 0 };
        let format = cluster.request(None, Command::Format { cluster: super::CLUSTER, owner: Some(ROOT_OWNER) });
        let log: Vec<Request> = std::iter::once(format).chain(self.log.iter().cloned()).collect();
        for requests in log.chunks(batch) {
            let bytes = Batch { requests: requests.to_vec() }.encode();
            let decoded = Batch::decode(&bytes).expect("what was encoded");
            assert_eq!(decoded.requests, requests);
            let mut overlay = Overlay::new(&state);
            for request in &decoded.requests {
                let applied = crate::apply(&overlay, request).expect("readable");
                overlay.absorb(applied.writes);
            }
            let writes = overlay.into_writes();
            state.store(writes);
        }
        assert_eq!(state, self.cluster.state);
    }

    /// With everything closed and removed, nothing is left (invariant 4).
    fn empty(&mut self) {
        for session in self.sessions.clone() {
            self.steps(None, &Command::ExpireSession { session, limit: 2 });
        }
        let root = Where { base: InodeId::ROOT, path: Vec::new() };
        for (name, _) in query::list(&self.cluster.state, Caller::SYSTEM, &root, b"", 1000).expect("the root").entries {
            let place = Where { base: InodeId::ROOT, path: name };
            let request = self.cluster.request(None, Command::Delete { place, recursive: true });
            assert_eq!(self.apply(&request).reply, Ok(Reply::Done));
        }
        for name in query::xattr_names(&self.cluster.state, Caller::SYSTEM, &root).expect("the root") {
            let request = self.cluster.request(None, Command::RemoveXattr { place: root.clone(), name });
            assert_eq!(self.apply(&request).reply, Ok(Reply::Done));
        }
        self.steps(None, &Command::GcStep { limit: 3, grace_nanos: 10 });
        for number in 0..STORAGES {
            self.delete_due(number, usize::MAX);
        }
        invariants::check(&self.cluster.state);
        assert_eq!(invariants::tags(&self.cluster.state), "Sdn", "something leaked");
        assert_eq!(self.cluster.state.rows().len(), 3);
    }
}

/// Three storages from a number.
fn pipeline(first: u8) -> Vec<crate::row::BlockLocation> {
    locations(&[first, (first + 1) % STORAGES, (first + 2) % STORAGES])
}

/// The lists of replicas are sets.
fn sorted(content: Content) -> Content {
    match content {
        Content::Blocks { mut blocks, known_to } => {
            for LocatedBlock { row, .. } in &mut blocks {
                for list in [&mut row.replicas, &mut row.bad, &mut row.leaving] {
                    list.sort_by_key(|location| location.storage);
                }
            }
            Content::Blocks { blocks, known_to }
        }
        inline @ Content::Inline(_) => inline,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 5000, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_as_the_model_says(
        steps in prop::collection::vec((step(), any::<Index>(), caller()), 1..80),
        batch in 1_usize..10,
    ) {
        let mut history = History::new();
        for (step, who, caller) in &steps {
            history.caller.clone_from(caller);
            history.run(step, who);
            history.check();
        }
        history.empty();
        history.replay(batch);
    }
}
