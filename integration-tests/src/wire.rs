//! A wire that TCP's checksums know nothing of: it stands between two sockets, and damages what goes through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const BUFFER: usize = 64 << 10;

/// Which bytes are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What the one who connects sends.
    Up,
    /// What it is sent.
    Down,
}

/// A listener that passes everything on to an address. One bit in so many bytes of one way is flipped, whatever they are.
#[derive(Debug)]
pub struct Wire {
    pub address: SocketAddr,
    flipped: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Wire {
    /// `every`: zero damages nothing.
    pub async fn to(target: SocketAddr, way: Way, every: Arc<AtomicU64>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Self::on(listener, target, way, every)
    }

    /// On a listener that is there already.
    pub fn on(listener: TcpListener, target: SocketAddr, way: Way, every: Arc<AtomicU64>) -> Result<Self> {
        let address = listener.local_addr()?;
        let flipped = Arc::new(AtomicU64::new(0));
        let damage = Arc::new(Damage { way, every, passed: AtomicU64::new(0), flipped: Arc::clone(&flipped) });
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let damage = Arc::clone(&damage);
                connections.spawn(async move {
                    // Nobody there: the connection ends, as it would without the wire.
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    pass(near, far, &damage).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, flipped, task })
    }

    /// Bits flipped so far.
    pub fn flipped(&self) -> u64 {
        self.flipped.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What happens to the bytes of all connections.
#[derive(Debug)]
struct Damage {
    way: Way,
    every: Arc<AtomicU64>,
    /// Bytes that went the way that is damaged.
    passed: AtomicU64,
    flipped: Arc<AtomicU64>,
}

impl Damage {
    /// Flips a bit in what comes next, if it is due.
    fn strike(&self, bytes: &mut [u8]) {
        let length = bytes.len() as u64;
        let passed = self.passed.fetch_add(length, Ordering::Relaxed);
        let every = self.every.load(Ordering::Relaxed);
        let Some(gone) = passed.checked_rem(every) else { return };
        let at = every - 1 - gone;
        if at < length {
            bytes[at as usize] ^= 1 << (passed % 8);
            self.flipped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn pass(near: TcpStream, far: TcpStream, damage: &Damage) {
    near.set_nodelay(true).ok();
    far.set_nodelay(true).ok();
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let on = |way| Some(damage).filter(|damage| damage.way == way);
    tokio::join!(copy(near_in, far_out, on(Way::Up)), copy(far_in, near_out, on(Way::Down)));
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, damage: Option<&Damage>) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if let Some(damage) = damage {
            damage.strike(&mut buffer[..read]);
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    to.shutdown().await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_bit_in_so_many_bytes_changes_and_all_others_pass() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let wire = Wire::to(listener.local_addr()?, Way::Up, Arc::new(AtomicU64::new(100_000))).await?;
        let mut near = TcpStream::connect(wire.address).await?;
        let (mut far, _) = listener.accept().await?;
        let sent = vec![0; 1 << 20];
        let (written, received) = tokio::join!(
            async {
                near.write_all(&sent).await?;
                near.shutdown().await
            },
            async {
                let mut received = Vec::new();
                far.read_to_end(&mut received).await.map(|_| received)
            }
        );
        written?;
        let received = received?;
        let changed: u32 = received.iter().map(|byte| byte.count_ones()).sum();
        assert_eq!((received.len(), u64::from(changed)), (sent.len(), wire.flipped()));
        assert!((5..=10).contains(&changed), "{changed}");
        far.write_all(&sent).await?;
        let mut back = vec![1; sent.len()];
        near.read_exact(&mut back).await?;
        assert!(back == sent, "the other way is clean");
        Ok(())
    }
}
