//! The queue over a state in memory: proposals are applied when the test says so.

use namespace::Effect;
use namespace::command::{Destination, Layout, Origin, Ownership, Reply, Where};
use namespace::lock::LockRange;
use namespace::memory::MemoryView;
use types::{ByteSize, ClusterId, Sequence, Timestamp};

use super::*;

type Proposed = (Request, Box<dyn FnOnce(Result<Answers, Refusal>) + Send>);

/// Which wait ended, and how.
type Told = (u32, String);

/// Proposals that wait to be applied, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Proposed>>>);

impl Propose for Log {
    fn propose(&self, request: Request, answered: Box<dyn FnOnce(Result<Answers, Refusal>) + Send>) {
        self.0.lock().expect("no panic").push((request, answered));
    }
}

struct Fixture {
    state: MemoryView,
    log: Log,
    queue: Arc<LockQueue>,
    thread: LockThread,
    ended: (crossbeam_channel::Sender<Told>, crossbeam_channel::Receiver<Told>),
}

const ONE: SessionId = SessionId::new(1);
const TWO: SessionId = SessionId::new(2);

fn wish(owner: u64, (first, last): (u64, u64), kind: Option<LockKind>) -> LockWish {
    LockWish { owner, family: LockFamily::Ranges, range: LockRange { first, last }, kind, pid: 1 }
}

impl Fixture {
    /// Two sessions with streams 10 and 20, and the files 2 and 3.
    fn new() -> Self {
        let log = Log::default();
        let (queue, thread) = LockQueue::new(&Arc::default());
        queue.connect(log.clone());
        let mut fixture = Self { state: MemoryView::new(), log, queue, thread, ended: crossbeam_channel::unbounded() };
        fixture
            .apply(None, Command::Format { cluster: ClusterId::from_bytes([1; 16]), owner: None })
            .expect("the first command");
        for stream in [10, 20] {
            match fixture.apply(None, Command::OpenSession { client: String::new() }) {
                Ok(Reply::Session { session }) => fixture.queue.adopt(session, stream),
                other => panic!("{other:?}"),
            }
        }
        for path in ["/2", "/3"] {
            let place = Where { base: InodeId::ROOT, path: path.as_bytes().to_vec() };
            let put = Command::PutInline {
                destination: Destination { place, overwrite: false, parents: false },
                ownership: Ownership { uid: 0, gid: 0, mode: 0o600, umask: None },
                layout: Layout { replication: 1, block_size: ByteSize::new(4096), spread: None },
                content: Vec::new(),
                mtime: None,
            };
            fixture.apply(None, put).expect("stored");
        }
        fixture
    }

    fn apply(&mut self, session: Option<SessionId>, command: Command) -> Result<Reply, namespace::Error> {
        let rows = u64::try_from(self.state.rows().len()).expect("few");
        let sequence = Sequence::new(rows * 1000 + 1);
        let origin = session.map(|session| Origin { session, sequence });
        self.run(&Request { time: Timestamp::EPOCH, origin, command, principal: None })
    }

    fn run(&mut self, request: &Request) -> Result<Reply, namespace::Error> {
        let applied = namespace::apply(&self.state, request).expect("readable");
        self.state.store(applied.writes);
        for effect in applied.effects {
            if let Effect::LocksReleased(inode) = effect {
                self.queue.released(inode);
            }
        }
        applied.reply
    }

    fn set(&mut self, session: SessionId, inode: u64, wish: LockWish) {
        self.apply(Some(session), Command::SetLock { inode: InodeId::new(inode), wish, wait: false }).expect("free");
    }

    /// A wait with a name for the test.
    fn ask(&self, name: u32, (session, stream): (SessionId, u64), inode: u64, wish: LockWish) {
        let inode = InodeId::new(inode);
        let kind = wish.kind.expect("a lock");
        let origin = Some(Origin { session, sequence: Sequence::new(0) });
        let request = Request { time: Timestamp::EPOCH, origin, command: command(inode, wish), principal: None };
        let ended = self.ended.0.clone();
        let answered = Box::new(move |end| {
            let text = match end {
                Ended::Proposal(Ok(Answers { outcomes, .. })) => {
                    format!("{:?}", outcomes[0].as_ref().expect("granted"))
                }
                Ended::Proposal(Err(refusal)) => format!("{refusal:?}"),
                Ended::Refused(code, _) => format!("{code:?}"),
            };
            ended.send((name, text)).expect("the test waits");
        });
        self.queue.ask(Wait { stream, session, inode, wish, kind, request, answered });
    }

    /// Applies what is proposed and hands over what comes out, until nothing happens. Who is answered, in order.
    fn settle(&mut self) -> Vec<Told> {
        loop {
            let proposed = std::mem::take(&mut *self.log.0.lock().expect("no panic"));
            let idle = proposed.is_empty();
            for (request, answered) in proposed {
                let outcomes = vec![self.run(&request)];
                answered(Ok(Answers { applied: 1, outcomes }));
            }
            let mut messages = 0;
            while let Ok(message) = self.thread.messages.try_recv() {
                messages += 1;
                match message {
                    Message::Stop => {}
                    Message::Outcome(place, outcome) => {
                        self.queue.outcome(&self.state, place, outcome).expect("readable");
                    }
                    Message::Released => self.queue.look(&self.state).expect("readable"),
                }
            }
            if idle && messages == 0 {
                return self.ended.1.try_iter().collect();
            }
        }
    }
}

const WRITE: Option<LockKind> = Some(LockKind::Write);
const READ: Option<LockKind> = Some(LockKind::Read);

fn granted(names: &[u32]) -> Vec<Told> {
    names.iter().map(|name| (*name, "Done".to_owned())).collect()
}

fn refused(name: u32, code: Code) -> Vec<Told> {
    vec![(name, format!("{code:?}"))]
}

/// Invariant 1: readers together, writers one after the other, in the order of coming.
#[test]
fn waits_are_granted_in_order_as_far_as_they_do_not_conflict() {
    let mut queue = Fixture::new();
    queue.set(ONE, 2, wish(1, (0, 99), WRITE));
    queue.ask(1, (TWO, 20), 2, wish(1, (0, 9), READ));
    queue.ask(2, (TWO, 20), 2, wish(2, (5, 9), WRITE));
    queue.ask(3, (TWO, 20), 2, wish(3, (0, 4), READ));
    queue.ask(4, (TWO, 20), 2, wish(4, (50, 50), WRITE));
    assert_eq!(queue.settle(), vec![]);
    queue.set(ONE, 2, wish(1, (0, 9), None));
    assert_eq!(queue.settle(), granted(&[1, 3]));
    queue.apply(Some(TWO), Command::ReleaseLocks { inode: InodeId::new(2), owner: 1 }).expect("released");
    assert_eq!(queue.settle(), granted(&[2]));
    // A downgrade does not help a writer, a session's end does.
    queue.set(ONE, 2, wish(1, (10, 99), READ));
    assert_eq!(queue.settle(), vec![]);
    queue.apply(None, Command::ExpireSession { session: ONE, limit: 9 }).expect("over");
    assert_eq!(queue.settle(), granted(&[4]));
    assert_eq!(queue.queue.waiting.load(Ordering::Relaxed), 0);
    assert!(queue.queue.interest().waited_for.is_empty());
}

/// Invariant 2: between the refusal and its arrival here, the lock was released.
#[test]
fn a_release_that_overtakes_the_refusal_is_not_missed() {
    let mut queue = Fixture::new();
    queue.set(ONE, 2, wish(1, (0, 9), WRITE));
    queue.ask(1, (TWO, 20), 2, wish(1, (0, 9), WRITE));
    let (request, answered) = queue.log.0.lock().expect("no panic").pop().expect("proposed");
    let outcomes = vec![queue.run(&request)];
    assert!(outcomes[0].is_err());
    queue.set(ONE, 2, wish(1, (0, 9), None));
    let Ok(Message::Released) = queue.thread.messages.try_recv() else { panic!("it is told") };
    queue.queue.look(&queue.state).expect("readable");
    answered(Ok(Answers { applied: 1, outcomes }));
    assert_eq!(queue.settle(), granted(&[1]));
}

/// Invariant 4.
#[test]
fn a_circle_of_waits_is_refused_to_the_one_that_closes_it() {
    let mut queue = Fixture::new();
    queue.set(ONE, 2, wish(1, (0, 9), WRITE));
    queue.set(TWO, 3, wish(2, (0, 9), WRITE));
    queue.set(TWO, 2, wish(3, (20, 29), WRITE));
    queue.ask(1, (ONE, 10), 3, wish(1, (0, 0), READ));
    queue.ask(2, (TWO, 20), 2, wish(3, (0, 0), READ));
    assert_eq!(queue.settle(), vec![], "a chain is no circle");
    queue.ask(3, (TWO, 20), 2, wish(2, (20, 25), READ));
    assert_eq!(queue.settle(), refused(3, Code::Deadlock), "2 waits for 3, 3 for 1, and 1 for 2");
    queue.set(TWO, 3, wish(2, (0, 9), None));
    assert_eq!(queue.settle(), granted(&[1]));
}

#[test]
fn two_who_upgrade_a_shared_lock_do_not_wait_forever() {
    let mut queue = Fixture::new();
    queue.set(ONE, 2, wish(1, (0, 9), READ));
    queue.set(TWO, 2, wish(1, (0, 9), READ));
    queue.ask(1, (ONE, 10), 2, wish(1, (0, 9), WRITE));
    queue.ask(2, (TWO, 20), 2, wish(1, (5, 5), WRITE));
    assert_eq!(queue.settle(), refused(2, Code::Deadlock));
}

#[test]
fn a_wait_that_is_given_up_is_over_unless_it_is_just_granted() {
    let mut queue = Fixture::new();
    let (inode, owner) = (InodeId::new(2), LockOwner { session: TWO, owner: 1 });
    queue.set(ONE, 2, wish(1, (0, 9), WRITE));
    queue.ask(1, (TWO, 20), 2, wish(1, (0, 9), READ));
    queue.ask(2, (TWO, 20), 2, wish(2, (0, 9), READ));
    assert_eq!(queue.settle(), vec![]);
    queue.queue.cancel(owner, inode);
    assert_eq!(queue.settle(), refused(1, Code::Interrupted));
    queue.set(ONE, 2, wish(1, (0, 9), None));
    assert_eq!(queue.settle(), granted(&[2]));

    queue.ask(3, (TWO, 20), 2, wish(1, (0, 9), READ));
    queue.queue.cancel(owner, inode);
    assert_eq!(queue.settle(), granted(&[3]), "the proposal was on its way");
    queue.ask(4, (ONE, 10), 2, wish(1, (0, 9), WRITE));
    queue.queue.cancel(LockOwner { session: ONE, owner: 1 }, inode);
    assert_eq!(queue.settle(), refused(4, Code::Interrupted), "on its way, and refused");
}

/// Invariant 3.
#[test]
fn what_an_older_stream_asked_for_is_not_proposed_any_more() {
    let mut queue = Fixture::new();
    queue.set(ONE, 2, wish(1, (0, 9), WRITE));
    queue.ask(1, (TWO, 20), 2, wish(1, (0, 9), WRITE));
    assert_eq!(queue.settle(), vec![]);
    queue.queue.adopt(TWO, 21);
    queue.ask(2, (TWO, 20), 2, wish(1, (0, 9), WRITE));
    assert_eq!(queue.settle(), refused(2, Code::Busy));
    queue.ask(3, (TWO, 21), 2, wish(2, (0, 9), WRITE));
    queue.set(ONE, 2, wish(1, (0, 9), None));
    assert_eq!(queue.settle(), granted(&[3]));
    queue.queue.stream_ended(20);
    queue.ask(4, (TWO, 21), 2, wish(3, (0, 9), WRITE));
    assert_eq!(queue.settle(), vec![]);
    queue.queue.stream_ended(21);
    queue.apply(Some(TWO), Command::ReleaseLocks { inode: InodeId::new(2), owner: 2 }).expect("released");
    assert_eq!(queue.settle(), vec![]);
    queue.set(ONE, 2, wish(1, (0, 9), WRITE));
}

#[test]
fn a_session_waits_for_so_many_locks_and_no_more() {
    let mut queue = Fixture::new();
    queue.set(ONE, 2, wish(1, (0, 0), WRITE));
    let limit = u32::try_from(WAITS).expect("few");
    for name in 0..limit {
        queue.ask(name, (TWO, 20), 2, wish(u64::from(name), (0, 0), READ));
    }
    queue.ask(limit, (TWO, 20), 2, wish(9999, (0, 0), READ));
    assert_eq!(queue.settle(), refused(limit, Code::NoLocks));
    queue.set(ONE, 2, wish(1, (0, 0), None));
    assert_eq!(queue.settle().len(), WAITS);
}
