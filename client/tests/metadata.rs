//! The connection to the namenodes: invariants 1, 2, 3 and 5 of the crate.

mod cluster;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client::{Client, Config};
use proto::v1::reply::Result as Answer;
use types::{Code, ErrorKind};

use cluster::{Act, Namenode, config, connect, done, file, path};

fn first_time() -> impl Fn() -> bool {
    let calls = AtomicUsize::new(0);
    move || calls.fetch_add(1, Ordering::SeqCst) == 0
}

#[tokio::test]
async fn a_redirect_is_followed_to_the_leader() {
    let leader = Namenode::lead(|_| Act::Answer(Answer::Attributes(file(5)))).await;
    let follower = Namenode::follow(&leader.address).await;
    let client = Client::connect(config(&[&follower.address])).await.expect("found through the follower");
    assert_eq!(client.stat(&path("/a")).await.expect("answered").length.get(), 5);
    assert_eq!(follower.arrived(), []);
}

/// Invariant 1.
#[tokio::test]
async fn an_operation_whose_answer_is_lost_is_sent_again_with_its_number() {
    let first = first_time();
    let namenode = Namenode::lead(move |_| if first() { Act::Break } else { done() }).await;
    let client = connect(&namenode).await;
    client.rename(&path("/a"), &path("/b"), false).await.expect("applied in the end");
    client.delete(&path("/b"), false).await.expect("applied");
    let arrived = namenode.arrived();
    let seen: Vec<_> = arrived.iter().map(|op| (op.stream, op.hello_session, op.sequence)).collect();
    assert_eq!(seen, [(0, 0, 1), (1, cluster::SESSION, 1), (1, cluster::SESSION, 2)]);
    assert_eq!(arrived[0].op, arrived[1].op);
}

/// Invariant 3.
#[tokio::test]
async fn busy_and_unknown_are_waited_out_with_the_same_number() {
    let calls = AtomicUsize::new(0);
    let namenode = Namenode::lead(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Act::Refuse(Code::Busy),
        1 => Act::Refuse(Code::Unknown),
        _ => done(),
    })
    .await;
    let client = connect(&namenode).await;
    client.delete(&path("/a"), false).await.expect("applied in the end");
    assert_eq!(namenode.arrived().iter().map(|op| op.sequence).collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test]
async fn a_refusal_goes_to_the_caller_with_its_code_and_its_reason() {
    let namenode = Namenode::lead(|_| Act::Refuse(Code::NotEmpty)).await;
    let client = connect(&namenode).await;
    let error = client.delete(&path("/full"), false).await.expect_err("refused");
    assert_eq!((error.code(), error.kind()), (Code::NotEmpty, ErrorKind::Exists));
    assert_eq!(error.to_string(), "cannot delete /full: refused with NotEmpty");
}

/// Invariant 3: a leader that is deposed, or says nothing, is left for the next one.
#[tokio::test]
async fn a_silent_leader_is_left_for_one_that_answers() {
    let silent = Namenode::lead(|_| Act::Silent).await;
    let healthy = Namenode::lead(|_| done()).await;
    let client = Client::connect(config(&[&silent.address, &healthy.address])).await.expect("connected");
    client.delete(&path("/a"), false).await.expect("applied by the other");
    let (asked, answered) = (silent.arrived(), healthy.arrived());
    assert_eq!((asked.len(), answered.len()), (1, 1));
    assert_eq!((&asked[0].op, asked[0].sequence), (&answered[0].op, answered[0].sequence));
}

#[tokio::test]
async fn a_leader_that_steps_down_points_to_the_next() {
    let next = Namenode::lead(|_| done()).await;
    let address = next.address.clone();
    let old = Namenode::lead(move |_| Act::Redirect(address.clone())).await;
    let client = connect(&old).await;
    client.delete(&path("/a"), false).await.expect("applied by the next");
    assert_eq!(next.arrived().len(), 1);
}

/// Invariant 2.
#[tokio::test]
async fn without_an_answer_an_operation_ends_by_its_deadline_and_names_the_silent() {
    let namenode = Namenode::lead(|_| Act::Silent).await;
    let config = Config { op_timeout: Duration::from_millis(2500), ..config(&[&namenode.address]) };
    let client = Client::connect(config).await.expect("connected");
    let start = Instant::now();
    let error = client.stat(&path("/a")).await.expect_err("nobody answers");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(error.code(), Code::TimedOut);
    assert!(error.to_string().contains(&namenode.address), "{error}");
}

#[tokio::test]
async fn without_a_namenode_connecting_ends_by_its_deadline() {
    let config = Config { op_timeout: Duration::from_millis(300), ..config(&["127.0.0.1:1"]) };
    let error = Client::connect(config).await.expect_err("nothing listens there");
    assert_eq!(error.code(), Code::TimedOut);
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    let error = Client::connect(Config::default()).await.expect_err("no address");
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_operation_refused_because_the_session_is_over_is_done_in_a_new_one() {
    let first = first_time();
    let namenode = Namenode::lead(move |_| if first() { Act::Refuse(Code::SessionExpired) } else { done() }).await;
    let client = connect(&namenode).await;
    client.delete(&path("/a"), false).await.expect("applied in the new session");
    assert_eq!(namenode.arrived().iter().map(|op| op.sequence).collect::<Vec<_>>(), [1, 1]);
}

/// Invariant 6.
#[tokio::test]
async fn many_operations_at_once_are_all_answered_with_numbers_in_the_window() {
    let namenode = Namenode::lead(|_| done()).await;
    let client = connect(&namenode).await;
    let tasks: Vec<_> = (0..5000)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { client.delete(&path(&format!("/{number}")), false).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic").expect("answered");
    }
    let mut sequences: Vec<_> = namenode.arrived().iter().map(|op| op.sequence).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=5000).collect::<Vec<_>>());
    client.close().await.expect("in order");
    assert_eq!(client.stat(&path("/a")).await.expect_err("closed").code(), Code::Io);
}
