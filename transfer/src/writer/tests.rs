use types::{InodeId, NodeId};

use super::*;

const NOW: Duration = Duration::from_secs(100);

fn block() -> BlockId {
    BlockId::new(InodeId::new(7), 0)
}

fn hop(number: u8) -> Hop {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 9000 + u16::from(number)));
    Hop { node: NodeId::new(u64::from(number)), storage: storage(number), address }
}

fn storage(number: u8) -> StorageId {
    StorageId::from_bytes([number; 16])
}

/// The writer passes it on, whatever it is.
fn token(generation: u64) -> Token {
    Token::from_bytes(&generation.to_le_bytes())
}

fn writer() -> Writer {
    let options = WriterOptions {
        block: block(),
        level: Level::Close,
        max_length: ByteSize::mib(1),
        packet: 2 * CHUNK,
        least: 2,
        slow_hop_after: Duration::from_secs(10),
    };
    Writer::new(options, (GenStamp::new(1), token(1)), vec![hop(1), hop(2), hop(3)], Buffers::new(2 * CHUNK, 4))
}

fn setup(generation: u64, hops: &[u8], resume: Option<Resume>) -> Output {
    Output::Send(Frame::Control(Control::Setup(Setup {
        block: block(),
        generation: GenStamp::new(generation),
        storage: storage(hops[0]),
        downstream: hops[1..].iter().map(|number| hop(*number)).collect(),
        level: Level::Close,
        max_length: ByteSize::mib(1),
        resume,
        token: token(generation),
    })))
}

fn packet(sequence: u64, offset: u64, flags: Flags, data: &[u8]) -> Packet {
    let mut words = Vec::new();
    append_words(block(), offset / CHUNK as u64, data, &mut words);
    let data = Bytes::copy_from_slice(data);
    Packet { sequence, offset: BlockOffset::new(offset), flags, words: words.into(), data }
}

fn send(sequence: u64, offset: u64, flags: Flags, data: &[u8]) -> Output {
    Output::Send(Frame::Packet(packet(sequence, offset, flags, data)))
}

fn ack(sequence: u64, length: u64) -> Input {
    Input::Frame(Control::Ack(Ack { sequence, length: ByteSize::new(length) }))
}

fn acked(length: u64) -> Output {
    Output::Acked { length: ByteSize::new(length) }
}

fn write(bytes: &[u8]) -> Input {
    Input::Write(Bytes::copy_from_slice(bytes))
}

/// A writer whose chain is ready.
fn streaming() -> Writer {
    let mut writer = writer();
    assert_eq!(writer.handle(NOW, Input::Start), [Output::Connect(hop(1))]);
    assert_eq!(writer.handle(NOW, Input::Connected), [setup(1, &[1, 2, 3], None)]);
    assert_eq!(writer.handle(NOW, Input::Frame(Control::Ready)), []);
    writer
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 5) as u8).collect()
}

#[test]
fn bytes_become_packets_and_the_end_is_announced() {
    let mut writer = streaming();
    let bytes = content(3 * CHUNK + 10);
    assert_eq!(writer.handle(NOW, write(&bytes[..100])), []);
    assert_eq!(writer.handle(NOW, write(&bytes[100..])), [send(0, 0, Flags::NONE, &bytes[..2 * CHUNK])]);
    assert_eq!(writer.handle(NOW, Input::Finish), [send(1, 8192, Flags::FINISH, &bytes[2 * CHUNK..])]);
    assert_eq!(writer.handle(NOW, ack(0, 8192)), [acked(8192)]);
    let length = ByteSize::new(12298);
    let replicas = vec![storage(1), storage(2), storage(3)];
    assert_eq!(writer.handle(NOW, ack(1, 12298)), [acked(12298), Output::Finished { length, replicas }]);
    assert_eq!(writer.deadline(), None);
}

#[test]
fn whole_packets_are_not_copied() {
    let mut writer = streaming();
    let bytes = Bytes::from(content(4 * CHUNK));
    let out = writer.handle(NOW, Input::Write(bytes.clone()));
    let [Output::Send(Frame::Packet(first)), Output::Send(Frame::Packet(second))] = &out[..] else {
        panic!("two packets, not {out:?}");
    };
    assert_eq!(first.data.as_ptr(), bytes.as_ptr());
    assert_eq!(second.data.as_ptr(), bytes[2 * CHUNK..].as_ptr());
    assert_eq!(writer.outstanding(), 4 * CHUNK);
    assert_eq!(writer.handle(NOW, ack(0, 8192)), [acked(8192)]);
    assert_eq!(writer.outstanding(), 2 * CHUNK);
}

#[test]
fn a_flush_cuts_a_chunk_short_and_the_next_packet_starts_at_that_chunk() {
    let mut writer = streaming();
    let bytes = content(CHUNK + 50);
    assert_eq!(writer.handle(NOW, write(&bytes[..CHUNK + 10])), []);
    let flush = |ticket, sync| Input::Flush { ticket, sync };
    assert_eq!(writer.handle(NOW, flush(1, false)), [send(0, 0, Flags::FLUSH, &bytes[..CHUNK + 10])]);
    assert_eq!(writer.handle(NOW, flush(2, false)), []);
    let flushed = |ticket, length| Output::Flushed { ticket, length: ByteSize::new(length) };
    assert_eq!(writer.handle(NOW, ack(0, 4106)), [acked(4106), flushed(1, 4106), flushed(2, 4106)]);
    assert_eq!(writer.handle(NOW, flush(3, false)), [flushed(3, 4106)]);
    assert_eq!(writer.handle(NOW, flush(4, true)), [send(1, 4106, Flags::FLUSH.with(Flags::SYNC), b"")]);
    assert_eq!(writer.handle(NOW, write(&bytes[CHUNK + 10..])), []);
    assert_eq!(writer.handle(NOW, Input::Finish), [send(2, 4096, Flags::FINISH, &bytes[CHUNK..])]);
    assert_eq!(writer.handle(NOW, ack(1, 4106)), [acked(4106), flushed(4, 4106)]);
}

#[test]
fn packets_that_become_shorter_lose_nothing() {
    let mut writer = streaming();
    let bytes = content(4 * CHUNK);
    // A full packet has two chunks, and this is a little less.
    assert_eq!(writer.handle(NOW, write(&bytes[..2 * CHUNK - 9])), []);
    writer.set_packet(CHUNK);
    assert!(writer.is_idle() && writer.outstanding() > CHUNK, "only more bytes make it send these");
    let out = writer.handle(NOW, write(&bytes[2 * CHUNK - 9..]));
    let sent = out.iter().map(|output| match output {
        Output::Send(Frame::Packet(packet)) => (packet.offset.get() as usize, packet.data.clone()),
        other => panic!("{other:?}"),
    });
    let mut stored = vec![0; 4 * CHUNK];
    for (offset, data) in sent.collect::<Vec<_>>() {
        stored[offset..offset + data.len()].copy_from_slice(&data);
    }
    assert!(stored == bytes, "every byte is sent");
}

#[test]
fn an_empty_block_can_be_finished() {
    let mut writer = streaming();
    assert_eq!(writer.handle(NOW, Input::Finish), [send(0, 0, Flags::FINISH, b"")]);
}

/// Invariant 3.
#[test]
fn a_lost_hop_is_replaced_and_unacknowledged_packets_are_sent_again() {
    let mut writer = streaming();
    let bytes = content(6 * CHUNK);
    writer.handle(NOW, write(&bytes[..2 * CHUNK + 5]));
    writer.handle(NOW, Input::Flush { ticket: 1, sync: false });
    writer.handle(NOW, ack(1, 8197));
    assert_eq!(writer.handle(NOW, write(&bytes[2 * CHUNK + 5..])).len(), 2);
    let failed = Failed::new(storage(2), Code::Io, "gone");
    let lost =
        Output::Lost { failed: failed.clone(), survivors: vec![storage(1), storage(3)], acked: ByteSize::new(8197) };
    assert_eq!(writer.handle(NOW, Input::Frame(Control::Failed(failed))), [Output::Disconnect, lost]);
    assert_eq!(writer.deadline(), None);
    assert_eq!(writer.handle(NOW, Input::Finish), []);
    let chain = vec![hop(1), hop(3)];
    let resume = Input::Resume { generation: GenStamp::new(2), token: token(2), chain };
    assert_eq!(writer.handle(NOW, resume), [Output::Connect(hop(1))]);
    let from = Resume { from_generation: GenStamp::new(1), offset: BlockOffset::new(8197) };
    assert_eq!(writer.handle(NOW, Input::Connected), [setup(2, &[1, 3], Some(from))]);
    assert_eq!(
        writer.handle(NOW, Input::Frame(Control::Ready)),
        [
            send(0, 8192, Flags::NONE, &bytes[2 * CHUNK..4 * CHUNK]),
            send(1, 16384, Flags::NONE, &bytes[4 * CHUNK..]),
            send(2, 24576, Flags::FINISH, b""),
        ]
    );
}

/// Invariant 3: what a chain that was never ready holds does not count.
#[test]
fn a_chain_that_never_got_ready_does_not_become_the_one_to_resume_from() {
    let mut writer = streaming();
    writer.handle(NOW, Input::Disconnected { code: Code::Io, reason: "reset".to_owned() });
    let resume =
        |generation, chain| Input::Resume { generation: GenStamp::new(generation), token: token(generation), chain };
    writer.handle(NOW, resume(2, vec![hop(2), hop(3)]));
    let out = writer.handle(NOW, Input::Disconnected { code: Code::Io, reason: "refused".to_owned() });
    let failed = Failed::new(storage(2), Code::Io, "refused");
    assert_eq!(out, [Output::Disconnect, Output::Lost { failed, survivors: vec![storage(3)], acked: ByteSize::ZERO }]);
    writer.handle(NOW, resume(3, vec![hop(3)]));
    let from = Resume { from_generation: GenStamp::new(1), offset: BlockOffset::new(0) };
    assert_eq!(writer.handle(NOW, Input::Connected), [setup(3, &[3], Some(from))]);
    let out = writer.handle(NOW, Input::Disconnected { code: Code::Io, reason: "reset".to_owned() });
    assert_eq!(out, [Output::Disconnect, Output::Broken { failed: Failed::new(storage(3), Code::Io, "reset") }]);
}

#[test]
fn a_silent_first_hop_is_lost_and_a_lively_one_is_not() {
    let mut writer = streaming();
    assert_eq!(writer.deadline(), None);
    writer.handle(NOW, write(&content(2 * CHUNK)));
    assert_eq!(writer.deadline(), Some(NOW + STALLED_AFTER));
    let later = NOW + STALLED_AFTER - Duration::from_millis(1);
    assert_eq!(writer.handle(later, Input::Frame(Control::Alive(Alive::default()))), []);
    assert_eq!(writer.handle(NOW + STALLED_AFTER, Input::Tick), []);
    let out = writer.handle(later + STALLED_AFTER, Input::Tick);
    let failed = Failed::new(storage(1), Code::TimedOut, "no answer for 5s");
    let survivors = vec![storage(2), storage(3)];
    assert_eq!(out, [Output::Disconnect, Output::Lost { failed, survivors, acked: ByteSize::ZERO }]);
}

/// The chain of three loses its slow hop, and that of two, which is as short as may be, keeps it.
#[test]
fn a_slow_hop_is_left_out_while_enough_others_are_there() {
    let mut writer = streaming();
    let bytes = content(2 * CHUNK);
    writer.handle(NOW, write(&bytes));
    let alive = |store_times: &[u32]| Input::Frame(Control::Alive(Alive { store_times: store_times.to_vec() }));
    let second = |number| NOW + Duration::from_secs(number);
    for number in 0..10 {
        assert_eq!(writer.handle(second(number), alive(&[20_000, 10_000, 2_000_000])), []);
    }
    let out = writer.handle(second(10), alive(&[20_000, 10_000, 2_000_000]));
    let reason = "it is slow: 2s for a packet, and 20ms at most on the others";
    let failed = Failed::new(storage(3), Code::TimedOut, reason);
    let survivors = vec![storage(1), storage(2)];
    assert_eq!(out, [Output::Disconnect, Output::Lost { failed, survivors, acked: ByteSize::ZERO }]);
    writer.handle(
        second(10),
        Input::Resume { generation: GenStamp::new(2), token: token(2), chain: vec![hop(1), hop(2)] },
    );
    writer.handle(second(10), Input::Connected);
    assert_eq!(writer.handle(second(10), Input::Frame(Control::Ready)), [send(0, 0, Flags::NONE, &bytes)]);
    for number in 11..60 {
        assert_eq!(writer.handle(second(number), alive(&[10, 2_000_000])), []);
    }
}

#[test]
fn a_fenced_writer_gives_up() {
    let mut writer = streaming();
    let failed = Failed::new(storage(3), Code::StaleGeneration, "gen_9 is here");
    let out = writer.handle(NOW, Input::Frame(Control::Failed(failed.clone())));
    assert_eq!(out, [Output::Disconnect, Output::Broken { failed }]);
    assert_eq!(writer.handle(NOW, Input::Frame(Control::Ready)), []);
}

#[test]
fn an_answer_that_fits_nothing_loses_the_hop_that_gave_it() {
    for control in [
        Control::Ready,
        Control::Ack(Ack { sequence: 0, length: ByteSize::new(1) }),
        Control::Ack(Ack { sequence: 7, length: ByteSize::new(8192) }),
        Control::Failed(Failed::new(storage(77), Code::Io, "a stranger")),
    ] {
        let mut writer = streaming();
        writer.handle(NOW, write(&content(2 * CHUNK)));
        let out = writer.handle(NOW, Input::Frame(control));
        assert!(matches!(&out[..], [Output::Disconnect, Output::Lost { failed, .. }] if failed.storage == storage(1)));
    }
}

/// The hops hold what was acknowledged, whatever happens between them.
#[test]
fn what_was_damaged_on_its_way_is_sent_again_to_the_same_hops() {
    let mut writer = streaming();
    let damaged = Failed::new(storage(2), Code::Corrupt, "chunk 1 does not match");
    writer.handle(NOW, write(&content(2 * CHUNK)));
    for generation in 2..2 + u64::from(DAMAGED_TRIES) {
        let out = writer.handle(NOW, Input::Frame(Control::Failed(damaged.clone())));
        let [Output::Disconnect, Output::Lost { survivors, .. }] = &out[..] else { panic!("{out:?}") };
        // Not for ever: its network card may be what damages it.
        let all = if generation < 1 + u64::from(DAMAGED_TRIES) { vec![1, 2, 3] } else { vec![1, 3] };
        assert_eq!(*survivors, all.iter().copied().map(storage).collect::<Vec<_>>());
        let chain = all.into_iter().map(hop).collect();
        writer.handle(NOW, Input::Resume { generation: GenStamp::new(generation), token: token(generation), chain });
        writer.handle(NOW, Input::Connected);
        writer.handle(NOW, Input::Frame(Control::Ready));
    }
    // What gets further begins to count anew.
    writer.handle(NOW, ack(0, 2 * CHUNK as u64));
    let out =
        writer.handle(NOW, Input::Disconnected { code: Code::Corrupt, reason: "an answer was damaged".to_owned() });
    assert!(matches!(&out[..], [Output::Disconnect, Output::Lost { survivors, .. }] if survivors.len() == 2));
}
