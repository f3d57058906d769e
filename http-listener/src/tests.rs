use bytes::Bytes;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

const LIMITS: Limits = Limits {
    connections: 8,
    connections_per_address: 2,
    header_timeout: Duration::from_secs(60),
    idle_timeout: Duration::from_secs(60),
};

struct Running {
    address: SocketAddr,
    counted: Connections,
    /// A request is being answered.
    begun: Arc<Notify>,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
}

/// A server that says "hello", once `gate` lets it.
async fn serve(limits: Limits, gate: Arc<Semaphore>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (stop, counted) = (CancellationToken::new(), Connections::default());
    let (stopped, begun) = (stop.clone(), Arc::new(Notify::new()));
    let tell = begun.clone();
    let serve = move |stream, peer| {
        let (gate, tell) = (gate.clone(), tell.clone());
        converse(stream, peer, limits, stopped.clone(), move |_: Request<Incoming>| {
            let (gate, tell) = (gate.clone(), tell.clone());
            async move {
                tell.notify_one();
                let _through = gate.acquire().await.expect("never closed");
                Response::new(Full::new(Bytes::from_static(b"hello")))
            }
        })
    };
    let accepting = tokio::spawn(accept(listener, limits, counted.clone(), stop.clone(), serve));
    Running { address, counted, begun, stop, accepting }
}

async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    answer
}

#[tokio::test]
async fn an_address_with_too_many_connections_is_closed_and_counted() {
    let running = serve(LIMITS, Arc::new(Semaphore::new(9))).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(TcpStream::connect(running.address).await.expect("connects"));
    }
    let mut third = TcpStream::connect(running.address).await.expect("the kernel connects");
    assert_eq!(third.read(&mut [0; 1]).await.unwrap_or(0), 0, "invariant 1");
    assert_eq!(running.counted.refused.get(), 1);
    assert!(ask(&mut open[0]).await.ends_with("hello"), "the others are served");
    running.stop.cancel();
    running.accepting.await.expect("ends");
    assert_eq!(running.counted.open.get(), 0);
}

#[tokio::test]
async fn a_peer_that_sends_no_head_loses_its_connection() {
    let limits = Limits { header_timeout: Duration::from_millis(50), ..LIMITS };
    let running = serve(limits, Arc::new(Semaphore::new(9))).await;
    let mut slow = TcpStream::connect(running.address).await.expect("connects");
    slow.write_all(b"GET / HTTP/1.1\r\nhost: ").await.expect("sent");
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).await.expect("closed");
    assert!(!answer.ends_with(b"hello"), "invariant 2");
    running.stop.cancel();
    running.accepting.await.expect("ends");
}

#[tokio::test]
async fn a_stop_waits_for_the_request_under_way() {
    let gate = Arc::new(Semaphore::new(0));
    let running = serve(LIMITS, gate.clone()).await;
    let mut stream = TcpStream::connect(running.address).await.expect("connects");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    running.begun.notified().await;
    running.stop.cancel();
    gate.add_permits(1);
    running.accepting.await.expect("ends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    assert!(answer.ends_with("hello"), "invariant 3: {answer}");
}

#[test]
fn registered_numbers_are_told_with_their_names() {
    let mut registry = Registry::with_prefix("ashlar_x");
    let connections = Connections::default();
    connections.register(&mut registry);
    connections.refused.inc();
    let text = telemetry::text(&registry);
    for line in ["ashlar_x_connections 0", "ashlar_x_refused_connections_total 1", "# EOF"] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}
