//! Loopback TCP: one stream, a file sent from the page cache, and the bare chain of a replicated write.

use std::fs::File;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context as _, anyhow};
use types::ByteSize;

use super::disk::cached_file;
use super::{Ground, PIECE, in_pieces};
use crate::bench::cost::Meter;
use crate::bench::report::Sample;

/// What the last reader answers when everything has arrived: the clock stops then, not when the last piece was sent.
const ARRIVED: [u8; 1] = [1];

pub(super) fn tcp(ground: &Ground) -> anyhow::Result<Sample> {
    let piece = vec![7_u8; PIECE];
    transfer(ground, |mut to| in_pieces(ground.bytes, &ground.stop, |length| Ok(to.write_all(&piece[..length])?)))
}

/// The bare bound of a read: a file in the page cache, to a socket, to a reader's buffer.
pub(super) fn sendfile(ground: &Ground) -> anyhow::Result<Sample> {
    let file = cached_file(ground)?;
    transfer(ground, |to| {
        in_pieces(ground.bytes, &ground.stop, |length| {
            let mut left = length;
            while left > 0 {
                let sent = rustix::fs::sendfile(to, &file, None, left)?;
                anyhow::ensure!(sent > 0, "the file ended early");
                left -= sent;
            }
            Ok(())
        })
    })
}

/// The bare bound of a write with three replicas: A -> B -> C, each hop puts what it receives into a file of its own, in
/// the page cache, and passes it on.
pub(super) fn chain3(ground: &Ground) -> anyhow::Result<Sample> {
    chain(ground, false)
}

/// The same, and each hop brings its file to the disk before it answers: the bare bound of a write that is safe when it is
/// acknowledged.
pub(super) fn fsync3(ground: &Ground) -> anyhow::Result<Sample> {
    chain(ground, true)
}

fn chain(ground: &Ground, sync: bool) -> anyhow::Result<Sample> {
    let piece = vec![7_u8; PIECE];
    let files: Vec<File> = (0..3).map(|_| tempfile::tempfile_in(ground.dir)).collect::<Result<_, _>>()?;
    let links: Vec<(TcpStream, TcpStream)> = (0..3).map(|_| connected_pair()).collect::<anyhow::Result<_>>()?;
    let mut senders = Vec::new();
    let mut receivers = Vec::new();
    for (sender, receiver) in links {
        senders.push(sender);
        receivers.push(receiver);
    }
    let mut first = senders.remove(0);
    // Hop 0 and 1 send on; the last one answers.
    let nexts = senders.into_iter().map(Some).chain([None]);

    let meter = Meter::start();
    thread::scope(|scope| {
        let hops: Vec<_> = (receivers.into_iter().zip(nexts).zip(files))
            .map(|((from, next), file)| scope.spawn(move || hop(from, next, file, sync, ground)))
            .collect();
        let sent = in_pieces(ground.bytes, &ground.stop, |length| Ok(first.write_all(&piece[..length])?))
            .and_then(|()| await_arrival(&mut first));
        drop(first); // an interrupted sender ends the hops as well
        let received = hops.into_iter().map(joined).collect::<anyhow::Result<Vec<()>>>();
        sent.and(received.map(|_| ()))
    })?;
    let cost = meter.stop();
    Ok(Sample::of_bytes(ground.bytes.get(), cost.seconds, cost.cpu))
}

fn hop(
    mut from: TcpStream,
    mut next: Option<TcpStream>,
    mut file: File,
    sync: bool,
    ground: &Ground,
) -> anyhow::Result<()> {
    let mut buffer = vec![0_u8; PIECE];
    let mut left = ground.bytes.get();
    while left > 0 {
        ground.stop.check()?;
        let got = from.read(&mut buffer)?;
        anyhow::ensure!(got > 0, "the chain broke");
        file.write_all(&buffer[..got])?;
        if let Some(next) = &mut next {
            next.write_all(&buffer[..got])?;
        }
        left -= got as u64;
    }
    if sync {
        file.sync_data()?;
    }
    if let Some(next) = &mut next {
        await_arrival(next)?;
    }
    from.write_all(&ARRIVED)?;
    Ok(())
}

/// Runs `send` against a thread that reads everything into one buffer.
fn transfer(ground: &Ground, send: impl FnOnce(&TcpStream) -> anyhow::Result<()>) -> anyhow::Result<Sample> {
    let (mut sender, receiver) = connected_pair()?;
    let meter = Meter::start();
    thread::scope(|scope| {
        let reader = scope.spawn(move || read_all(receiver, ground.bytes));
        let sent = send(&sender).and_then(|()| await_arrival(&mut sender));
        drop(sender);
        let received = joined(reader);
        sent.and(received)
    })?;
    let cost = meter.stop();
    Ok(Sample::of_bytes(ground.bytes.get(), cost.seconds, cost.cpu))
}

fn read_all(mut from: TcpStream, bytes: ByteSize) -> anyhow::Result<()> {
    let mut buffer = vec![0_u8; PIECE];
    let mut left = bytes.get();
    while left > 0 {
        let got = from.read(&mut buffer)?;
        anyhow::ensure!(got > 0, "the sender stopped");
        left -= got as u64;
    }
    from.write_all(&ARRIVED)?;
    Ok(())
}

fn await_arrival(from: &mut TcpStream) -> anyhow::Result<()> {
    let mut answer = [0_u8; ARRIVED.len()];
    from.read_exact(&mut answer).context("the other end of the chain gave no answer")
}

fn joined(thread: thread::ScopedJoinHandle<'_, anyhow::Result<()>>) -> anyhow::Result<()> {
    thread.join().map_err(|_| anyhow!("a thread of the benchmark panicked"))?
}

fn connected_pair() -> anyhow::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let sender = TcpStream::connect(listener.local_addr()?)?;
    let (receiver, _) = listener.accept()?;
    sender.set_nodelay(true)?;
    receiver.set_nodelay(true)?;
    Ok((sender, receiver))
}
