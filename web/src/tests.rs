//! A role that answers, over a real socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use client::health::Health;
use futures::FutureExt as _;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::{Door, Error, Role, Settings, Verdict};

fn settings() -> Settings {
    Settings { listen: Some(([127, 0, 0, 1], 0).into()), ..Settings::default() }
}

/// A role whose verdict turns worse with each question, and that observes one number.
fn role() -> Role {
    let mut registry = Registry::default();
    let level = Gauge::<i64>::default();
    registry.register("ashlar_datanode_level", "A number", level.clone());
    let asked = Arc::new(AtomicUsize::new(0));
    Role {
        verdict_of: "datanode",
        registry,
        observe: Arc::new(move || {
            level.set(42);
            async {}.boxed()
        }),
        judge: Arc::new(move || {
            let asked = asked.fetch_add(1, Ordering::Relaxed);
            let reasons = (0..asked).map(|at| format!("trouble {at}")).collect();
            async move { Verdict::of(asked < 2, reasons) }.boxed()
        }),
        pages: None,
    }
}

async fn ask(door: &Door, head: &str) -> String {
    let mut stream = TcpStream::connect(door.address()).await.expect("connects");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    answer
}

async fn get(door: &Door, path: &str) -> String {
    ask(door, &format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")).await
}

async fn open() -> Door {
    Door::open(&settings(), role(), CancellationToken::new()).await.expect("opens").expect("it is said where")
}

#[tokio::test]
async fn health_is_a_word_with_reasons_and_only_unavailable_is_an_error() {
    let door = open().await;
    let (healthy, degraded, unavailable) =
        (get(&door, "/healthz").await, get(&door, "/healthz").await, get(&door, "/healthz").await);
    assert!(healthy.starts_with("HTTP/1.1 200") && healthy.contains(r#"{"health":"healthy","reasons":[]}"#));
    assert!(degraded.starts_with("HTTP/1.1 200") && degraded.contains(r#""reasons":["trouble 0"]"#), "{degraded}");
    assert!(unavailable.starts_with("HTTP/1.1 503") && unavailable.contains("unavailable"), "{unavailable}");
    assert!(get(&door, "/livez").await.ends_with("alive\n"), "it lives nevertheless");
    door.close().await;
}

#[tokio::test]
async fn metrics_have_what_is_observed_and_the_verdict() {
    let door = open().await;
    get(&door, "/healthz").await;
    let text = get(&door, "/metrics").await;
    for line in [
        "ashlar_datanode_level 42",
        "ashlar_datanode_health{verdict=\"degraded\"} 1",
        "ashlar_datanode_health{verdict=\"healthy\"} 0",
        "ashlar_datanode_health_reasons 1",
        "ashlar_http_connections 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    door.close().await;
}

#[tokio::test]
async fn every_metric_that_rules_and_dashboards_name_exists() {
    let role = Role { verdict_of: "cluster", ..role() };
    let door = Door::open(&settings(), role, CancellationToken::new()).await.expect("opens").expect("said where");
    let told = get(&door, "/metrics").await;
    for prefix in ["ashlar_cluster_", "ashlar_http_"] {
        let known = telemetry::names_in(&told, prefix);
        for text in [
            include_str!("../../docs/operations/alerts.yml"),
            include_str!("../../docs/operations/grafana.json"),
            include_str!("../../docs/operations/monitoring.md"),
        ] {
            let named = telemetry::names_in(text, prefix);
            assert!(named.is_subset(&known), "{:?}", named.difference(&known).collect::<Vec<_>>());
        }
    }
    door.close().await;
}

#[tokio::test]
async fn rubbish_is_answered_or_closed_and_the_door_goes_on() {
    let door = open().await;
    for host in ["evil.example", "evil.example:8030", "127.0.0.1.evil.example"] {
        let asked = ask(&door, &format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")).await;
        assert!(asked.starts_with("HTTP/1.1 421"), "invariant 3: {asked}");
    }
    for host in ["localhost:8030", "[::1]:8030", "127.0.0.1"] {
        let asked = ask(&door, &format!("GET /livez HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")).await;
        assert!(asked.starts_with("HTTP/1.1 200"), "{asked}");
    }
    assert!(get(&door, "/no/such/page").await.starts_with("HTTP/1.1 404"));
    let post =
        ask(&door, "POST /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    assert!(post.starts_with("HTTP/1.1 405"), "{post}");
    let large = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\nconnection: close\r\n\r\n", "y".repeat(20_000));
    assert!(ask(&door, &large).await.starts_with("HTTP/1.1 431"));
    assert!(ask(&door, "\0\u{1}rubbish\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    assert!(get(&door, "/livez").await.ends_with("alive\n"), "invariant 4");
    door.close().await;
}

#[tokio::test]
async fn another_address_than_loopback_is_refused_and_none_is_no_door() {
    let outside = Settings { listen: Some(([0, 0, 0, 0], 0).into()), ..Settings::default() };
    let refused = Door::open(&outside, role(), CancellationToken::new()).await.expect_err("invariant 1");
    assert!(matches!(refused, Error::Config(_)), "{refused}");
    let none = Door::open(&Settings::default(), role(), CancellationToken::new()).await.expect("nothing is wrong");
    assert!(none.is_none());
}

#[test]
fn the_word_follows_from_the_reasons() {
    assert_eq!(Verdict::of(true, vec![]).health, Health::Healthy);
    assert_eq!(Verdict::of(true, vec!["x".to_owned()]).health, Health::Degraded);
    assert_eq!(Verdict::of(false, vec![]).health, Health::Unavailable);
}
