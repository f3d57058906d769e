use std::path::Path;
use std::sync::mpsc;

use namespace::command::Command;
use namespace::row::NodeRow;
use types::ByteSize;

use super::*;
use crate::roster::Own;

struct Nobody;

impl Observer for Nobody {
    fn nodes_changed(&mut self, _: Vec<NodeRow>) {}
    fn keys_changed(&mut self, _: Vec<namespace::token_key::TokenKey>) {}
    fn garbage_added(&mut self) {}
    fn locks_released(&mut self, _: InodeId) {}
    fn regrouped(&mut self, _: &Group) {}
    fn is_watched(&self) -> bool {
        false
    }
    fn watches(&self, _: InodeId) -> bool {
        false
    }
    fn changed(&mut self, _: Option<SessionId>, _: Vec<namespace::changes::Change>) {}
    fn replication_short(&mut self, _: BlockId) {}
}

const WAIT: Duration = Duration::from_secs(20);

struct Member {
    raft: Raft,
    progress: Arc<Progress>,
}

impl Member {
    fn start(dir: &Path, voters: Vec<u64>) -> Result<Self, RaftError> {
        Self::cutting(dir, voters, u64::MAX / 2)
    }

    fn cutting(dir: &Path, voters: Vec<u64>, truncate_entries: u64) -> Result<Self, RaftError> {
        let store = Arc::new(Store::open(&dir.join("state"), ByteSize::mib(8))?);
        let progress = Arc::new(Progress::default());
        let inbox = Inbox::new(&Arc::default());
        let (outbox, _) = Outbox::new(inbox.sender(), Default::default());
        let membership = Membership {
            cluster: ClusterId::from_bytes([1; 16]),
            node: 1,
            founders: Group::of(&voters),
            tick: Duration::from_millis(5),
            flush_interval: Duration::from_millis(50),
            flush_log: u64::MAX,
            truncate_entries,
            log_keep: u64::MAX,
        };
        let (exports, fetches) = (Exports::new(), watch::Sender::new(None));
        let own = Own {
            cluster: ClusterId::from_bytes([1; 16]),
            node: 1,
            disk: None,
            instance: 1,
            address: ([127, 0, 0, 1], 1).into(),
        };
        let roster = Arc::new(Roster::new(own, vec![], Group::default()));
        let quarantine = Quarantine::new(dir, &Failures::new());
        let patience = Patience { hand_over: WAIT, abort: WAIT };
        let outbox = Arc::new(outbox);
        let parts = Parts {
            store,
            progress: progress.clone(),
            inbox,
            outbox,
            exports,
            fetches,
            patience,
            roster,
            quarantine,
            metrics: Arc::default(),
        };
        let home = Home::new(dir);
        let log = open_log(&home)?;
        let raft = Raft::start(&home, log, membership, parts, Nobody, &Failures::new())?;
        Ok(Self { raft, progress })
    }

    fn propose(&self, commands: usize) -> Result<Answers, Refusal> {
        let (sender, receiver) = mpsc::channel();
        let request = Request { time: wall_clock(), origin: None, command: Command::Noop, principal: None };
        self.raft.handle().propose(vec![request; commands], Box::new(move |answer| drop(sender.send(answer))));
        receiver.recv_timeout(WAIT).expect("every proposal is answered")
    }

    fn read(&self) -> Result<u64, Refusal> {
        let (sender, receiver) = mpsc::channel();
        self.raft.handle().read(Box::new(move |answer| sender.send(answer).expect("awaited")));
        receiver.recv_timeout(WAIT).expect("every read is answered")
    }

    fn until_serving(&self) {
        let deadline = std::time::Instant::now() + WAIT;
        while !self.raft.handle().leadership().serving {
            assert!(std::time::Instant::now() < deadline, "a single member leads");
            std::thread::yield_now();
        }
    }
}

/// A single voter works: it campaigns only when nothing is outstanding, and answers reads alone.
#[test]
fn a_single_member_leads_and_answers() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let member = Member::start(dir.path(), vec![1]).expect("starts");
    member.until_serving();
    let answers = member.propose(3).expect("it leads");
    assert_eq!(answers.outcomes, vec![Ok(Reply::Done); 3]);
    assert!(member.read().expect("it leads") >= answers.applied);
    // Much at once shares entries and syncs.
    let (sender, receiver) = mpsc::channel();
    for _ in 0..2000 {
        let sender = sender.clone();
        let request = Request { time: wall_clock(), origin: None, command: Command::Noop, principal: None };
        member
            .raft
            .handle()
            .propose(vec![request], Box::new(move |answer| sender.send(answer.is_ok()).expect("awaited")));
    }
    assert!((0..2000).all(|_| receiver.recv_timeout(WAIT) == Ok(true)));
    let entries = member.progress.counters.entries.get();
    assert!(entries < 2000, "{entries} entries");
    member.raft.stop();
}

/// The stored commit index is behind what is applied, since it is never synced for itself: the start must cope.
#[test]
fn a_restart_goes_on_where_the_state_is() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut last = 0;
    for _ in 0..3 {
        let member = Member::start(dir.path(), vec![1]).expect("starts");
        member.until_serving();
        let applied = member.propose(1).expect("it leads").applied;
        assert!(applied > last);
        last = applied;
        member.raft.stop();
    }
}

/// Invariant 5: what is on disk in the state leaves the log, and a restart needs no more.
#[test]
fn the_log_is_cut_behind_the_state_on_disk() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let member = Member::cutting(dir.path(), vec![1], 1).expect("starts");
    member.until_serving();
    let applied = member.propose(1).expect("it leads").applied;
    let cut =
        || -> Result<u64, LogError> { Ok(engine::EngineLog::open(&dir.path().join("log"))?.contents()?.truncated.0) };
    let deadline = std::time::Instant::now() + WAIT;
    while member.progress.truncatable.get() < applied {
        assert!(std::time::Instant::now() < deadline, "the state reaches the disk");
        std::thread::yield_now();
    }
    member.raft.stop();
    assert!(cut().expect("whole") >= applied);
    let member = Member::cutting(dir.path(), vec![1], 1).expect("starts");
    member.until_serving();
    assert!(member.propose(1).expect("it leads").applied > applied);
    member.raft.stop();
}

/// Killed before a flush, the state is behind the log: the log is replayed.
#[test]
fn a_lost_state_is_replayed_from_the_log() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let member = Member::start(dir.path(), vec![1]).expect("starts");
    member.until_serving();
    let before = member.propose(1).expect("it leads").applied;
    member.raft.stop();
    std::fs::remove_dir_all(dir.path().join("state")).expect("removed");
    let member = Member::start(dir.path(), vec![1]).expect("starts");
    member.until_serving();
    assert!(member.progress.applied.get() > before);
    assert!(member.progress.formatted.load(Ordering::Acquire), "the format was in the log");
    member.raft.stop();
}

/// A state that is ahead of its log means that acknowledged entries are lost: refuse to start.
#[test]
fn a_log_shorter_than_the_state_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let member = Member::start(dir.path(), vec![1]).expect("starts");
    member.until_serving();
    member.propose(1).expect("it leads");
    member.raft.stop();
    std::fs::remove_dir_all(dir.path().join("log")).expect("removed");
    assert!(matches!(Member::start(dir.path(), vec![1]), Err(RaftError::Start(StartError::LogShort { last: 0, .. }))));
}

/// Invariant 2: a member without the lead refuses at once. Other members cannot make it propose either.
#[test]
fn a_member_that_does_not_lead_refuses() {
    use protobuf::Message as _;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let member = Member::start(dir.path(), vec![1, 2, 3]).expect("starts");
    assert_eq!(member.propose(1).expect_err("nobody leads"), Refusal::NotLeader);
    assert_eq!(member.read(), Err(Refusal::NotLeader));
    let forwarded = ::raft::eraftpb::Message {
        msg_type: ::raft::eraftpb::MessageType::MsgPropose,
        from: 2,
        to: 1,
        ..Default::default()
    };
    let messages = vec![forwarded.write_to_bytes().expect("encodes"), vec![0xff; 9]];
    member.raft.handle().messages(messages).expect("room");
    assert_eq!(member.propose(1).expect_err("nobody leads"), Refusal::NotLeader);
    assert_eq!(member.progress.applied.get(), 0);
    member.raft.stop();
    let others = Member::start(dir.path(), vec![1]);
    assert!(others.is_ok(), "nothing was applied, so nobody is bound to the members yet");
    others.expect("just seen").raft.stop();
}
