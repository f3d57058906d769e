use super::*;
use crate::command::{Origin, Request};
use crate::limits::RESULT_SLOTS;
use types::{Sequence, Timestamp};

fn numbered(session: SessionId, sequence: u64, command: Command) -> Request {
    let origin = Some(Origin { session, sequence: Sequence::new(sequence) });
    Request { time: Timestamp::from_nanos(9_000_000), origin, command, principal: None }
}

#[test]
fn a_retry_gets_the_first_answer_and_writes_nothing() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let request = numbered(session, 1, put(to("/f"), b"x"));
    let first = cluster.apply(&request);
    cluster.run(delete("/f")).expect("removed");
    let again = cluster.apply(&request);
    assert_eq!((again.reply, again.writes), (first.reply, Vec::new()), "invariant 2");
    assert!(!cluster.is_there("/f"));
}

#[test]
fn a_refusal_is_an_answer_like_any_other() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let request = numbered(session, 1, put(to("/d/f"), b"x"));
    assert_eq!(code(cluster.apply(&request).reply), Code::NotFound);
    cluster.run(mkdir("/d")).expect("made");
    assert_eq!(code(cluster.apply(&request).reply), Code::NotFound);
    cluster.apply(&numbered(session, 2, put(to("/d/f"), b"x"))).reply.expect("another operation");
}

#[test]
fn operations_may_arrive_in_any_order_but_not_a_window_late() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    for sequence in [3, 1, 2, 1 + RESULT_SLOTS] {
        cluster.apply(&numbered(session, sequence, mkdir(&format!("/d{sequence}")))).reply.expect("made");
    }
    let late = cluster.apply(&numbered(session, 1, mkdir("/late")));
    assert_eq!((code(late.reply), late.writes), (Code::BadSequence, Vec::new()));
    assert_eq!(code(cluster.apply(&numbered(session, 0, mkdir("/late"))).reply), Code::BadSequence);
    assert!(!cluster.is_there("/late"));
}

#[test]
fn an_answer_can_be_looked_up_until_its_session_ends() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let request = numbered(session, 1, mkdir("/d"));
    let origin = request.origin.expect("a client's");
    assert_eq!(query::known_result(&cluster.state, origin), Ok(None));
    let reply = cluster.apply(&request).reply;
    assert_eq!(query::known_result(&cluster.state, origin), Ok(Some(reply)));
    cluster.run(Command::CloseSession { session }).expect("closed");
    assert_eq!(query::known_result(&cluster.state, origin), Ok(None));
}

#[test]
fn two_sessions_number_for_themselves() {
    let mut cluster = Cluster::formatted();
    let (first, second) = (cluster.open_session(), cluster.open_session());
    cluster.apply(&numbered(first, 1, mkdir("/a"))).reply.expect("made");
    cluster.apply(&numbered(second, 1, mkdir("/b"))).reply.expect("made");
    assert!(cluster.is_there("/a") && cluster.is_there("/b"));
}
