use super::*;
use types::Code;

struct Waiting(oneshot::Receiver<Result<Answer, Fault>>);

impl Waiting {
    fn code(&mut self) -> Option<Code> {
        self.0.try_recv().ok().map(|answer| answer.map_or_else(|fault| fault.code(), |_| panic!("it was answered")))
    }

    fn is_done(&mut self) -> bool {
        self.0.try_recv().is_ok_and(|answer| answer.is_ok())
    }
}

fn ask(operations: &mut Operations, scope: Scope, seconds: u64) -> Waiting {
    let now = Instant::now();
    let (answer, waits) = oneshot::channel();
    let op = match scope {
        Scope::Read => Op::Stat(v1::Stat::default()),
        Scope::Wait => Op::SetLock(v1::SetLock { wait: true, ..Default::default() }),
        Scope::Update | Scope::Lease(_) | Scope::Leave => Op::Delete(v1::Delete::default()),
    };
    operations.queue(Request { op, scope, principal: None, deadline: now + Duration::from_secs(seconds), answer }, now);
    Waiting(waits)
}

fn send(operations: &mut Operations) -> Vec<(u64, u64)> {
    operations.batch(|| "test".to_owned()).iter().map(|op| (op.tag, op.sequence)).collect()
}

fn answer(operations: &mut Operations, tag: u64, applied: u64, result: v1::reply::Result) -> Verdict {
    operations.reply(v1::Reply { tag, applied, result: Some(result) }, Instant::now())
}

fn done() -> v1::reply::Result {
    v1::reply::Result::Done(v1::Done {})
}

fn refusal(code: Code) -> v1::reply::Result {
    v1::reply::Result::Error(proto::error(code, "no"))
}

fn open(operations: &mut Operations, session: u64) {
    let [(tag, 0)] = send(operations)[..] else { panic!("only a session is asked for") };
    answer(operations, tag, 1, v1::reply::Result::Session(v1::Session { session }));
}

fn with_session() -> (Operations, Waiting) {
    let mut operations = Operations::new(Arc::default());
    let first = ask(&mut operations, Scope::Update, 60);
    open(&mut operations, 5);
    (operations, first)
}

/// Invariant 6.
#[test]
fn the_window_of_sequences_is_never_exceeded_and_reads_pass_a_full_one() {
    let (mut operations, _first) = with_session();
    let _rest: Vec<_> = (0..2000).map(|_| ask(&mut operations, Scope::Update, 60)).collect();
    let mut tags = Vec::new();
    while operations.has_sendable() {
        tags.extend(send(&mut operations));
    }
    assert_eq!(tags.iter().map(|(_, sequence)| *sequence).collect::<Vec<_>>(), (1..=SEQUENCES).collect::<Vec<_>>());
    let _read = ask(&mut operations, Scope::Read, 60);
    assert_eq!(send(&mut operations).len(), 1);
    // A later answer opens nothing while the oldest is missing.
    answer(&mut operations, tags[1].0, 2, done());
    assert!(!operations.has_sendable());
    answer(&mut operations, tags[0].0, 2, done());
    assert_eq!(send(&mut operations).len(), 2);
}

/// Invariant 1.
#[test]
fn what_a_lost_stream_owed_is_sent_again_in_order_under_the_same_numbers() {
    let (mut operations, _first) = with_session();
    let _second = ask(&mut operations, Scope::Update, 60);
    let before = send(&mut operations);
    operations.stream_lost();
    let _third = ask(&mut operations, Scope::Update, 60);
    let after = send(&mut operations);
    assert_eq!(before.iter().map(|(_, sequence)| *sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(after.iter().map(|(_, sequence)| *sequence).collect::<Vec<_>>(), [1, 2, 3]);
}

/// Invariant 1: what may have been applied is not done again in another session.
#[test]
fn after_the_session_ended_only_what_was_surely_not_applied_is_done_again() {
    let (mut operations, mut sent_twice) = with_session();
    send(&mut operations);
    operations.stream_lost();
    let mut sent_once = ask(&mut operations, Scope::Update, 60);
    let mut leased = ask(&mut operations, Scope::Lease(SessionId::new(5)), 60);
    let tags = send(&mut operations);
    for (tag, _) in &tags {
        answer(&mut operations, *tag, 1, refusal(Code::SessionExpired));
    }
    assert_eq!(sent_twice.code(), Some(Code::Unknown));
    assert_eq!(leased.code(), Some(Code::SessionExpired));
    open(&mut operations, 6);
    let [(tag, 1)] = send(&mut operations)[..] else { panic!("numbers start again") };
    answer(&mut operations, tag, 2, done());
    assert!(sent_once.is_done());
    let mut late = ask(&mut operations, Scope::Lease(SessionId::new(5)), 60);
    assert_eq!(late.code(), Some(Code::SessionExpired));
}

/// Invariant 5.
#[test]
fn an_answer_from_before_what_was_seen_is_not_believed() {
    let mut operations = Operations::new(Arc::default());
    let mut first = ask(&mut operations, Scope::Read, 60);
    let [(tag, _)] = send(&mut operations)[..] else { panic!("one read") };
    assert_eq!(answer(&mut operations, tag, 100, done()), Verdict::Leads);
    assert!(first.is_done());
    let mut second = ask(&mut operations, Scope::Read, 60);
    let [(tag, _)] = send(&mut operations)[..] else { panic!("one read") };
    assert_eq!(answer(&mut operations, tag, 99, done()), Verdict::Behind);
    operations.stream_lost();
    let [(tag, _)] = send(&mut operations)[..] else { panic!("the same read") };
    assert_eq!(answer(&mut operations, tag, 100, done()), Verdict::Leads);
    assert!(second.is_done());
}

/// Invariant 5: that something is not there, or may not be seen, is an answer too.
#[test]
fn a_refusal_from_before_what_was_seen_is_not_believed() {
    let mut operations = Operations::new(Arc::default());
    operations.newest.seen(100);
    let mut read = ask(&mut operations, Scope::Read, 60);
    for code in [Code::NotFound, Code::Denied, Code::InvalidArgument] {
        let [(tag, _)] = send(&mut operations)[..] else { panic!("one read") };
        assert_eq!(answer(&mut operations, tag, 99, refusal(code)), Verdict::Behind);
        operations.stream_lost();
        assert_eq!(read.code(), None);
    }
    let [(tag, _)] = send(&mut operations)[..] else { panic!("the same read") };
    assert_eq!(answer(&mut operations, tag, 100, refusal(Code::NotFound)), Verdict::Leads);
    assert_eq!(read.code(), Some(Code::NotFound));
}

/// Invariant 5, with two streams: what the leader has answered counts for the member that is read from.
#[test]
fn what_was_seen_on_one_stream_is_not_unseen_on_another() {
    let newest = Arc::<Newest>::default();
    let (mut leader, mut any) = (Operations::new(newest.clone()), Operations::new(newest));
    let mut before = ask(&mut any, Scope::Read, 60);
    let [(early, _)] = send(&mut any)[..] else { panic!("one read") };
    let mut update = ask(&mut leader, Scope::Update, 60);
    open(&mut leader, 5);
    let [(tag, 1)] = send(&mut leader)[..] else { panic!("one update") };
    answer(&mut leader, tag, 70, done());
    assert!(update.is_done());
    let mut after = ask(&mut any, Scope::Read, 60);
    let [(late, _)] = send(&mut any)[..] else { panic!("one read") };
    assert_eq!(answer(&mut any, early, 60, done()), Verdict::Leads);
    assert!(before.is_done(), "it was asked before");
    assert_eq!(answer(&mut any, late, 69, done()), Verdict::Behind);
    any.stream_lost();
    assert!(!after.is_done());
    let [(late, _)] = send(&mut any)[..] else { panic!("the same read") };
    assert_eq!(answer(&mut any, late, 70, done()), Verdict::Leads);
    assert!(after.is_done());
}

/// Invariant 2.
#[test]
fn overdue_operations_end_wherever_they_are() {
    let (mut operations, mut delayed) = with_session();
    let [(tag, _)] = send(&mut operations)[..] else { panic!("one update") };
    answer(&mut operations, tag, 1, refusal(Code::Busy));
    let mut sent = ask(&mut operations, Scope::Read, 1);
    send(&mut operations);
    let mut queued = ask(&mut operations, Scope::Update, 1);
    operations.sweep(Instant::now(), || unreachable!("nothing is late"));
    operations.sweep(Instant::now() + Duration::from_secs(2), || "a test".to_owned());
    assert_eq!((sent.code(), queued.code(), delayed.code()), (Some(Code::TimedOut), Some(Code::TimedOut), None));
    operations.sweep(Instant::now() + Duration::from_secs(61), || "a test".to_owned());
    assert_eq!(delayed.code(), Some(Code::TimedOut));
    assert_eq!(operations.len(), 0);
}

/// A lock that is waited for takes no sequence, owes no answer, and is asked for again on the next stream.
#[test]
fn a_wait_holds_nothing_up_and_goes_on_with_another_stream() {
    let (mut operations, mut first) = with_session();
    let [(tag, 1)] = send(&mut operations)[..] else { panic!("the first operation") };
    let mut wait = ask(&mut operations, Scope::Wait, 60);
    let [(waiting, 0)] = send(&mut operations)[..] else { panic!("without a sequence") };
    assert!(operations.is_owed());
    answer(&mut operations, tag, 2, done());
    assert!(first.is_done() && !operations.is_owed());
    operations.stream_lost();
    let [(again, 0)] = send(&mut operations)[..] else { panic!("asked again") };
    assert_ne!(again, waiting);
    answer(&mut operations, again, 3, done());
    assert!(wait.is_done());

    // Nobody is there for the answer: it is not asked for again.
    let given_up = ask(&mut operations, Scope::Wait, 60);
    send(&mut operations);
    drop(given_up);
    operations.stream_lost();
    assert_eq!(send(&mut operations), []);
}

#[test]
fn a_wait_ends_with_its_session() {
    let (mut operations, _first) = with_session();
    let mut wait = ask(&mut operations, Scope::Wait, 60);
    send(&mut operations);
    let tag = operations.keep_alive().expect("there is a session").tag;
    answer(&mut operations, tag, 1, refusal(Code::SessionExpired));
    assert_eq!(wait.code(), Some(Code::SessionExpired));
}
