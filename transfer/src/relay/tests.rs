use bytes::Bytes;
use types::checksum::append_words;
use types::token::Token;
use types::{BlockOffset, GenStamp, InodeId, NodeId};

use super::*;
use crate::{Hop, Level};

const NOW: Duration = Duration::from_secs(100);

fn block() -> BlockId {
    BlockId::new(InodeId::new(7), 0)
}

fn storage(number: u8) -> StorageId {
    StorageId::from_bytes([number; 16])
}

fn relay(below: bool, start: Extent) -> Relay {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 9000));
    let hop = Hop { node: NodeId::new(2), storage: storage(2), address };
    let setup = Setup {
        block: block(),
        generation: GenStamp::FIRST,
        storage: storage(1),
        downstream: if below { vec![hop] } else { vec![] },
        level: Level::Close,
        max_length: ByteSize::new(5 * CHUNK as u64),
        resume: None,
        token: Token::default(),
    };
    Relay::new(&setup, start)
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 5) as u8).collect()
}

fn packet(sequence: u64, offset: u64, flags: Flags, data: &[u8]) -> Packet {
    let mut words = Vec::new();
    append_words(block(), offset / CHUNK as u64, data, &mut words);
    let data = Bytes::copy_from_slice(data);
    Packet { sequence, offset: BlockOffset::new(offset), flags, words: words.into(), data }
}

fn extent(length: u64, last: Option<&[u8]>) -> Extent {
    Extent { length, partial: last.map(|bytes| word(block(), length / CHUNK as u64, bytes)) }
}

fn ack(sequence: u64, length: u64) -> Control {
    Control::Ack(Ack { sequence, length: ByteSize::new(length) })
}

fn alive(store_times: &[u32]) -> Output {
    Output::Reply(Control::Alive(Alive { store_times: store_times.to_vec() }))
}

fn refused(relay: &mut Relay, packet: Packet) -> Code {
    let out = relay.handle(NOW, Input::Packet(packet));
    let [Output::Reply(Control::Failed(failed)), Output::Stopped] = &out[..] else {
        panic!("refused, not {out:?}");
    };
    assert_eq!(failed.storage, storage(1));
    assert!(relay.handle(NOW, Input::Tick).is_empty());
    failed.code
}

/// Invariant 2.
#[test]
fn a_packet_is_acknowledged_when_it_is_stored_here_and_below() {
    let bytes = content(2 * CHUNK + 7);
    let mut relay = relay(true, Extent::default());
    let (first, second) = (packet(0, 0, Flags::NONE, &bytes[..CHUNK]), packet(1, 4096, Flags::FINISH, &bytes[CHUNK..]));
    for packet in [&first, &second] {
        let out = relay.handle(NOW, Input::Packet(packet.clone()));
        assert_eq!(out, [Output::Forward(packet.clone()), Output::Store(packet.clone())]);
    }
    assert_eq!(relay.handle(NOW, Input::Below(ack(1, 8199))), []);
    assert_eq!(relay.handle(NOW, Input::Stored { sequence: 1 }), []);
    let whole = extent(8199, Some(&bytes[2 * CHUNK..]));
    assert_eq!(
        relay.handle(NOW, Input::Stored { sequence: 0 }),
        [Output::Acked(whole), Output::Reply(ack(1, 8199)), Output::Finished]
    );
}

#[test]
fn the_last_hop_waits_for_its_own_disk_only() {
    let bytes = content(CHUNK);
    let mut relay = relay(false, Extent::default());
    let packet = packet(0, 0, Flags::NONE, &bytes);
    assert_eq!(relay.handle(NOW, Input::Packet(packet.clone())), [Output::Store(packet)]);
    assert_eq!(
        relay.handle(NOW, Input::Stored { sequence: 0 }),
        [Output::Acked(extent(4096, None)), Output::Reply(ack(0, 4096))]
    );
}

#[test]
fn a_short_chunk_is_rewritten_with_the_same_first_bytes_only() {
    let bytes = content(CHUNK + 100);
    let start = extent(4196, Some(&bytes[CHUNK..]));
    let longer = [&bytes[CHUNK..], b"more"].concat();
    let out = relay(false, start).handle(NOW, Input::Packet(packet(0, 4096, Flags::NONE, &longer)));
    assert!(matches!(&out[..], [Output::Store(_)]));
    let mut changed = longer.clone();
    changed[3] ^= 1;
    assert_eq!(refused(&mut relay(false, start), packet(0, 4096, Flags::NONE, &changed)), Code::InvalidArgument);
    assert_eq!(refused(&mut relay(false, start), packet(0, 4096, Flags::NONE, &longer[..99])), Code::InvalidArgument);
    let out = relay(false, start).handle(NOW, Input::Packet(packet(0, 4196, Flags::FINISH, b"")));
    assert!(matches!(&out[..], [Output::Store(_)]));
}

#[test]
fn a_packet_out_of_order_out_of_bounds_or_damaged_ends_the_write() {
    let bytes = content(6 * CHUNK);
    let new = || relay(true, Extent::default());
    assert_eq!(refused(&mut new(), packet(1, 0, Flags::NONE, &bytes)), Code::InvalidArgument);
    assert_eq!(refused(&mut new(), packet(0, 4096, Flags::NONE, &bytes)), Code::InvalidArgument);
    assert_eq!(refused(&mut new(), packet(0, 0, Flags::NONE, &bytes)), Code::TooLarge);
    assert_eq!(refused(&mut new(), packet(0, 5, Flags::FINISH, b"")), Code::InvalidArgument);
    let mut damaged = packet(0, 0, Flags::NONE, &bytes[..CHUNK]);
    damaged.data = Bytes::from(vec![1; CHUNK]);
    assert_eq!(refused(&mut new(), damaged), Code::Corrupt);
    let mut ended = relay(false, Extent::default());
    ended.handle(NOW, Input::Packet(packet(0, 0, Flags::FINISH, &bytes[..10])));
    assert_eq!(refused(&mut ended, packet(1, 10, Flags::NONE, b"")), Code::InvalidArgument);
}

#[test]
fn failures_name_the_hop_they_belong_to() {
    let open = || {
        let mut relay = relay(true, Extent::default());
        relay.handle(NOW, Input::Packet(packet(0, 0, Flags::NONE, &content(CHUNK))));
        relay
    };
    let said = |storage, code, reason: &str| {
        [Output::Reply(Control::Failed(Failed::new(storage, code, reason))), Output::Stopped]
    };
    let io = || "disk gone".to_owned();
    let own = Input::StoreFailed { code: Code::NoSpace, reason: io() };
    assert_eq!(open().handle(NOW, own), said(storage(1), Code::NoSpace, "disk gone"));
    assert_eq!(
        open().handle(NOW, Input::BelowLost { code: Code::Io, reason: io() }),
        said(storage(2), Code::Io, "disk gone")
    );
    let third = Failed::new(storage(3), Code::Io, "deep down");
    let out = open().handle(NOW, Input::Below(Control::Failed(third)));
    assert_eq!(out, said(storage(3), Code::Io, "deep down"));
    let out = open().handle(NOW, Input::Below(ack(1, 1)));
    assert!(
        matches!(&out[..], [Output::Reply(Control::Failed(failed)), Output::Stopped] if failed.storage == storage(2))
    );
}

#[test]
fn a_working_hop_says_so_and_gives_up_on_a_silent_one_below() {
    let mut relay = relay(true, Extent::default());
    assert_eq!(relay.deadline(), None);
    relay.handle(NOW, Input::Packet(packet(0, 0, Flags::NONE, &content(CHUNK))));
    relay.handle(NOW, Input::Stored { sequence: 0 });
    for second in 1..5 {
        let now = NOW + Duration::from_secs(second);
        assert_eq!(relay.deadline(), Some(now));
        assert_eq!(relay.handle(now, Input::Tick), [alive(&[0])]);
    }
    let out = relay.handle(NOW + STALLED_AFTER, Input::Tick);
    let failed = Failed::new(storage(2), Code::TimedOut, "no answer for 5s");
    assert_eq!(out, [Output::Reply(Control::Failed(failed)), Output::Stopped]);
}

/// What a disk takes is told once a second, also while packets are acknowledged all the time.
#[test]
fn a_hop_tells_how_long_its_disk_takes_and_those_below() {
    let bytes = content(4 * CHUNK);
    let mut relay = relay(true, Extent::default());
    let at = |millis| NOW + Duration::from_millis(millis);
    for (sequence, begun) in [(0_u64, 0), (1, 400), (2, 800)] {
        let offset = sequence * CHUNK as u64;
        let data = &bytes[offset as usize..][..CHUNK];
        relay.handle(at(begun), Input::Packet(packet(sequence, offset, Flags::NONE, data)));
        if sequence < 2 {
            relay.handle(at(begun + 300), Input::Stored { sequence });
            let out = relay.handle(at(begun + 350), Input::Below(ack(sequence, offset + CHUNK as u64)));
            assert!(matches!(&out[..], [Output::Acked(_), Output::Reply(Control::Ack(_))]));
        }
    }
    for below in [[5000, 70], [4000, 90]] {
        let said = Control::Alive(Alive { store_times: below.to_vec() });
        assert_eq!(relay.handle(at(900), Input::Below(said)), []);
    }
    assert_eq!(relay.deadline(), Some(at(1000)));
    assert_eq!(relay.handle(at(1000), Input::Tick), [alive(&[300_000, 5000, 90])]);
    // The third packet is still on its way to the disk; nothing was heard from below since.
    assert_eq!(relay.handle(at(2000), Input::Tick), [alive(&[1_200_000])]);
}

#[test]
fn a_hop_that_names_too_many_is_cut_short() {
    let mut relay = relay(true, Extent::default());
    relay.handle(NOW, Input::Packet(packet(0, 0, Flags::NONE, &content(CHUNK))));
    relay.handle(NOW, Input::Below(Control::Alive(Alive { store_times: vec![1; 9999] })));
    let Some(Output::Reply(Control::Alive(Alive { store_times }))) = relay.handle(NOW + ALIVE_EVERY, Input::Tick).pop()
    else {
        panic!("it is alive");
    };
    assert_eq!(store_times.len(), MAX_CHAIN);
}
