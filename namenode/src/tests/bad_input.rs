//! What no client of ours would send: a typed refusal, no effect, and the next one is served.

use proto::v1;
use proto::v1::op::Kind;
use proto::v1::reply::Result as Answer;
use types::Code;

use super::client::{Client, code, delete, mkdir, put, stat};
use super::cluster::Cluster;

/// Results that a session is remembered for.
const WINDOW: u64 = 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_numbers_and_ended_sessions_are_refused_and_change_nothing() {
    let cluster = Cluster::start(1).await;
    let mut client = Client::connect(&cluster, 0).await;
    let session = client.open_session().await;
    let first = client.update(1, mkdir("/first", false)).await;
    assert_eq!(code(&first), None);
    assert_eq!(client.update(1, delete("/first")).await, first, "under a used number, the first answer");
    assert_eq!(code(&client.update(1 + WINDOW, mkdir("/later", false)).await), None);
    assert_eq!(code(&client.update(1, delete("/first")).await), Some(Code::BadSequence));
    assert_eq!(code(&client.read(stat("/first")).await), None);

    assert_eq!(code(&client.read(Kind::CloseSession(v1::CloseSession {})).await), None);
    let mut again = Client::connect(&cluster, session).await;
    for kind in [mkdir("/late", false), put("/late", b"x"), delete("/first")] {
        assert_eq!(code(&again.update(2 + WINDOW, kind).await), Some(Code::SessionExpired));
    }
    assert_eq!(code(&again.read(Kind::KeepAlive(v1::KeepAlive {})).await), Some(Code::SessionExpired));
    assert_eq!(code(&again.read(stat("/late")).await), Some(Code::NotFound));
    assert_eq!(code(&again.read(stat("/first")).await), None);
    cluster.stop_all().await;
}

/// One that is too long for a message ends its stream, with nothing done; one of many small operations is answered whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_batch_is_refused_and_a_crowded_one_is_answered() {
    let cluster = Cluster::start(1).await;
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    let tag = client.send(1, put("/big", &vec![1; proto::MAX_MESSAGE])).await;
    assert_eq!(client.answer_of(tag).await, None, "the stream ends");

    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    assert_eq!(code(&client.read(stat("/big")).await), Some(Code::NotFound));
    assert_eq!(code(&client.update(1, put("/large", &vec![1; 1 << 20])).await), Some(Code::TooLarge));
    assert_eq!(code(&client.read(stat("/large")).await), Some(Code::NotFound));
    let answers = client.read_all(vec![stat("/"); 20_000]).await;
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Attributes(_))));
    assert_eq!(code(&client.update(2, mkdir("/fine", false)).await), None);
    cluster.stop_all().await;
}
