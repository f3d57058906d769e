//! The driver alone: a test plays the threads around it.

use std::sync::Mutex;

use crossbeam_channel::bounded;
use raft::eraftpb::Entry;
use tempfile::TempDir;

use super::super::Queue;
use super::super::engine::EngineLog;
use super::super::snapshot::Exports;
use super::*;

struct Alone {
    driver: Driver,
    log: Receiver<LogTask>,
    apply: Receiver<ApplyTask>,
    queues: Vec<(u64, Queue)>,
    _dir: TempDir,
}

impl Alone {
    fn start(voters: &[u64]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log: Arc<dyn LogStore> = Arc::new(EngineLog::open(dir.path()).expect("opens"));
        let (inputs_sender, inputs) = bounded(64);
        let (log_sender, log_tasks) = bounded(64);
        let (apply_sender, apply) = bounded(64);
        let (outbox, queues) = Outbox::new(&[2, 3], inputs_sender);
        let membership = Membership {
            cluster: ClusterId::from_bytes([1; 16]),
            node: 1,
            voters: voters.to_vec(),
            tick: Duration::from_millis(50),
            flush_interval: Duration::from_secs(1),
            flush_log: u64::MAX,
            truncate_entries: u64::MAX / 2,
            log_keep: u64::MAX,
        };
        let applied = AppliedState { index: 0, term: 0, voters: voters.to_vec() };
        let channels = Channels {
            inputs,
            log: log_sender,
            apply: apply_sender,
            outbox: Arc::new(outbox),
            leadership: watch::Sender::new(Leadership::default()),
            fetches: watch::Sender::new(None),
            exports: Exports::new(),
        };
        let progress = Arc::new(Progress::new(voters.len()));
        let driver = Driver::new(&membership, &applied, &log, channels, progress).expect("starts");
        Self { driver, log: log_tasks, apply, queues, _dir: dir }
    }

    /// What the loop does after it has taken something in.
    fn turn(&mut self) {
        self.driver.take_progress();
        while self.driver.node.has_ready() {
            self.driver.handle_ready().expect("the other threads live");
        }
    }

    fn receive(&mut self, message: &Message) {
        self.driver.step(&message.write_to_bytes().expect("encodes"));
        self.turn();
    }

    /// The kinds of messages that have left for `node`.
    fn sent(&mut self, node: u64) -> Vec<MessageType> {
        let (_, queue) = self.queues.iter_mut().find(|(to, _)| *to == node).expect("a member");
        let mut taken = Vec::new();
        let none = futures::future::FutureExt::now_or_never(queue.take(&mut taken, 99));
        assert_eq!(none.unwrap_or_default(), taken.len());
        taken.iter().map(|bytes| Message::parse_from_bytes(bytes).expect("whole").get_msg_type()).collect()
    }

    /// The kinds of messages that wait for the log thread.
    fn waiting(&self) -> Vec<MessageType> {
        let messages = self.log.try_iter().flat_map(|task| match task {
            LogTask::Write { messages, .. } => messages,
            LogTask::Truncate { .. } | LogTask::Barrier(_) => Vec::new(),
        });
        messages.map(|message| message.get_msg_type()).collect()
    }

    /// The log thread has written all that it was given.
    fn written(&mut self) {
        self.driver.progress.written.raise(self.driver.handed);
        self.turn();
    }
}

fn message(kind: MessageType, term: u64) -> Message {
    Message { msg_type: kind, from: 2, to: 1, term, ..Message::default() }
}

fn entry(index: u64, term: u64) -> Entry {
    Entry { index, term, ..Entry::default() }
}

/// Invariant 1: an acknowledgement goes the way of what it acknowledges. A heartbeat's answer need not wait.
#[test]
fn a_follower_acknowledges_entries_and_votes_only_behind_the_sync() {
    let mut alone = Alone::start(&[1, 2, 3]);
    alone.receive(&Message { entries: vec![entry(1, 1)].into(), ..message(MessageType::MsgAppend, 1) });
    assert_eq!(alone.sent(2), []);
    assert_eq!(alone.waiting(), [MessageType::MsgAppendResponse]);
    alone.receive(&message(MessageType::MsgHeartbeat, 1));
    assert_eq!(alone.sent(2), [MessageType::MsgHeartbeatResponse]);
    // The vote itself is for a later term, which must be durable first.
    let context = b"CampaignTransfer".to_vec();
    let vote = Message { index: 1, log_term: 1, context: context.into(), ..message(MessageType::MsgRequestVote, 2) };
    alone.receive(&vote);
    assert_eq!(alone.sent(2), []);
    assert_eq!(alone.waiting(), [MessageType::MsgRequestVoteResponse]);
}

/// The library panics if a single member wins while entries are not durable.
#[test]
fn a_single_member_does_not_campaign_before_all_is_durable() {
    let mut alone = Alone::start(&[1]);
    alone.turn();
    assert!(alone.driver.is_leader() && alone.driver.handed > 0);
    // It hears of a later term, however that came about.
    alone.receive(&message(MessageType::MsgHeartbeat, 9));
    assert!(!alone.driver.is_leader());
    let ticks = 3 * ELECTION_TICKS;
    for _ in 0..ticks {
        alone.driver.on_tick();
        alone.turn();
    }
    assert!(!alone.driver.is_leader());
    alone.written();
    for _ in 0..ticks {
        alone.driver.on_tick();
        alone.turn();
        alone.written();
    }
    assert!(alone.driver.is_leader());
}

/// Invariant 3: what is at the index of a proposal may be of another leader.
#[test]
fn a_waiter_gets_only_the_entry_of_its_own_term() {
    let mut alone = Alone::start(&[1]);
    let outcomes: Arc<Mutex<Vec<(u64, Refusal)>>> = Arc::default();
    let mut wait = |index, term| {
        let told = outcomes.clone();
        let answered = Box::new(move |answer: Result<_, Refusal>| {
            told.lock().expect("free").push((index, answer.expect_err("nothing is applied here")));
        });
        let waiters = vec![Waiter { requests: 1, answered }];
        alone.driver.waiting.push_back(Waiting { index, term, waiters, requests: 1 });
        alone.driver.waiting_requests += 1;
    };
    wait(5, 2);
    wait(6, 2);
    wait(7, 2);
    wait(9, 2);
    assert_eq!(alone.driver.with_waiters(entry(5, 2)).waiters.len(), 1);
    assert_eq!(alone.driver.with_waiters(entry(6, 3)).waiters.len(), 0);
    assert_eq!(alone.driver.with_waiters(entry(8, 3)).waiters.len(), 0);
    assert_eq!(*outcomes.lock().expect("free"), [(6, Refusal::Unknown), (7, Refusal::Unknown)]);
    alone.driver.refuse_all();
    assert_eq!(outcomes.lock().expect("free").last(), Some(&(9, Refusal::NotLeader)));
    assert_eq!(alone.driver.waiting_requests, 0);
}

/// Invariant 1 of `snapshot`: without its files, Raft does not hear of it. One that is of no use is answered.
#[test]
fn a_snapshot_waits_for_its_files_and_an_old_one_is_answered() {
    let mut alone = Alone::start(&[1, 2, 3]);
    let fetches = alone.driver.channels.fetches.subscribe();
    let manifest = |index| Manifest { index, term: 1, voters: vec![1, 2, 3], files: vec![] };
    let snapshot = |index, term| {
        let mut snapshot = raft::eraftpb::Snapshot { data: manifest(index).encode().into(), ..Default::default() };
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (index, 1);
        metadata.mut_conf_state().voters = vec![1, 2, 3];
        let mut message = message(MessageType::MsgSnapshot, term);
        message.set_snapshot(snapshot);
        message
    };
    alone.receive(&snapshot(70, 1));
    assert_eq!(fetches.borrow().as_ref().map(|fetch| (fetch.from, fetch.manifest.at())), Some((2, (70, 1))));
    assert_eq!((alone.driver.node.raft.raft_log.committed, alone.driver.node.snap().is_some()), (0, false));
    // Of another pull, or one that failed: nothing happens.
    alone.driver.fetched((69, 1), true);
    assert!(alone.driver.held.is_some());
    alone.driver.fetched((70, 1), false);
    assert!(alone.driver.held.is_none() && alone.driver.staged.is_none());

    // All of it came from the log meanwhile.
    let entries: Vec<Entry> = (1..=80).map(|index| entry(index, 1)).collect();
    alone.receive(&Message { entries: entries.into(), commit: 75, ..message(MessageType::MsgAppend, 1) });
    alone.written();
    assert!(alone.apply.try_recv().is_ok(), "committed");
    alone.waiting();
    alone.receive(&snapshot(70, 1));
    assert!(alone.driver.held.is_none());
    assert_eq!([alone.sent(2), alone.waiting()].concat(), [MessageType::MsgAppendResponse]);
}

/// Only what is on disk counts: the pulled files become the state before the member says that it has them.
#[test]
fn a_pulled_snapshot_is_installed_before_it_is_acknowledged() {
    let mut alone = Alone::start(&[1, 2, 3]);
    let manifest = Manifest { index: 70, term: 1, voters: vec![1, 2, 3], files: vec![] };
    let mut snapshot = raft::eraftpb::Snapshot { data: manifest.encode().into(), ..Default::default() };
    let metadata = snapshot.mut_metadata();
    (metadata.index, metadata.term) = (70, 1);
    metadata.mut_conf_state().voters = vec![1, 2, 3];
    let mut told = message(MessageType::MsgSnapshot, 1);
    told.set_snapshot(snapshot);
    alone.receive(&told);
    let (log, apply) = (alone.log.clone(), alone.apply.clone());
    let threads = std::thread::spawn(move || {
        let mut before = 0;
        for task in &log {
            match task {
                LogTask::Barrier(reached) => {
                    reached.send(()).expect("awaited");
                    break;
                }
                LogTask::Write { messages, .. } => before += messages.len(),
                LogTask::Truncate { .. } => {}
            }
        }
        let ApplyTask::Install { manifest, installed } = apply.recv().expect("the driver lives") else { panic!() };
        installed.send(()).expect("awaited");
        (before, manifest.at())
    });
    alone.driver.fetched((70, 1), true);
    // As the apply thread does.
    alone.driver.progress.applied.raise(70);
    alone.turn();
    assert_eq!(threads.join().expect("no panic"), (0, (70, 1)));
    assert_eq!(alone.sent(2), []);
    assert_eq!(alone.waiting(), [MessageType::MsgAppendResponse]);
    alone.written();
    let log = &alone.driver.node.raft.raft_log;
    assert_eq!((log.first_index(), log.last_index(), log.committed, log.applied), (71, 70, 70, 70));
    alone.receive(&Message {
        index: 70,
        log_term: 1,
        entries: vec![entry(71, 1)].into(),
        ..message(MessageType::MsgAppend, 1)
    });
    assert_eq!(alone.driver.node.raft.raft_log.last_index(), 71);
}

/// Invariant 4 of the service: the library forgets regularly whom it has heard, and a hand-over must not depend on when.
#[test]
fn the_lead_goes_to_a_member_that_was_heard_lately() {
    let mut alone = Alone::start(&[1, 2, 3]);
    alone.driver.node.campaign().expect("it may");
    for kind in [MessageType::MsgRequestPreVoteResponse, MessageType::MsgRequestVoteResponse] {
        alone.written();
        alone.receive(&message(kind, 1));
    }
    assert!(alone.driver.is_leader());
    alone.written();
    alone.receive(&Message { index: 1, ..message(MessageType::MsgAppendResponse, 1) });
    for node in [2, 3] {
        alone.driver.node.raft.mut_prs().get_mut(node).expect("a member").recent_active = false;
        alone.sent(node);
    }
    alone.driver.transfer(Some(3));
    alone.turn();
    assert_eq!(alone.sent(3), [], "it was never heard");
    alone.driver.transfer(None);
    alone.turn();
    assert_eq!(alone.sent(2), [MessageType::MsgTimeoutNow]);
}
