use proptest::prelude::*;
use types::checksum::append_words;
use types::token::Token;
use types::{BlockId, ByteSize, ClusterId, Code, GenStamp, InodeId, NodeId, StorageId};

use super::*;
use crate::message::{Ack, Alive, Hello, HelloAck};
use crate::{Failed, Hop, Level, OpenLocal, OpenedLocal, Read, ReadReply, Resume, Setup};

fn block() -> BlockId {
    BlockId::new(InodeId::new(0x102), 3)
}

fn storage(number: u8) -> StorageId {
    StorageId::from_bytes([number; 16])
}

fn packet() -> Packet {
    let data = Bytes::from_static(b"123456789");
    let mut words = Vec::new();
    append_words(block(), 2, &data, &mut words);
    let flags = Flags::FLUSH.with(Flags::SYNC);
    Packet { sequence: 5, offset: BlockOffset::new(8192), flags, words: words.into(), data }
}

fn wire(packet: &Packet) -> Vec<u8> {
    [&packet.head()[..], &packet.words, &packet.data].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode_all(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    decode(&mut BytesMut::from(bytes))
}

fn controls() -> Vec<Control> {
    let hop = Hop { node: NodeId::new(2), storage: storage(2), address: "127.0.0.1:9866".parse().expect("an address") };
    vec![
        Control::Hello(Hello::new(ClusterId::from_bytes([9; 16]))),
        Control::HelloAck(HelloAck { version: 1 }),
        Control::Setup(Setup {
            block: block(),
            generation: GenStamp::new(4),
            storage: storage(1),
            downstream: vec![hop],
            level: Level::Close,
            max_length: ByteSize::mib(128),
            resume: Some(Resume { from_generation: GenStamp::new(3), offset: BlockOffset::new(100) }),
            token: Token::from_bytes(b"token"),
        }),
        Control::Ready,
        Control::Failed(Failed::new(storage(1), Code::NoSpace, "full")),
        Control::Ack(Ack { sequence: 5, length: ByteSize::new(8201) }),
        Control::Alive(Alive { store_times: vec![1000, 70_000, 3] }),
        Control::Read(Read {
            block: block(),
            generation: GenStamp::new(4),
            storage: storage(1),
            offset: BlockOffset::new(1),
            length: ByteSize::new(2),
            token: Token::from_bytes(b"token"),
        }),
        Control::ReadReply(ReadReply {
            offset: BlockOffset::new(0),
            length: ByteSize::new(3),
            total: ByteSize::new(3),
            complete: true,
        }),
        Control::OpenLocal(OpenLocal {
            block: block(),
            generation: GenStamp::new(4),
            storage: storage(1),
            token: Token::from_bytes(b"token"),
        }),
        Control::OpenedLocal(OpenedLocal { length: ByteSize::new(3), data: 8192, words: 4096 }),
    ]
}

/// Golden: what other versions of this software will send.
#[test]
fn control_frames_are_stable() {
    let found: Vec<_> = controls().iter().map(|control| hex(&control.to_frame())).collect();
    assert_eq!(found, GOLDEN_CONTROLS);
    for control in controls() {
        assert_eq!(decode_all(&control.to_frame()), Ok(Some(Frame::Control(control))));
    }
}

const GOLDEN_CONTROLS: [&str; 11] = [
    "417302011b000000a4bfec463b8ff3e4820081834441534854025009090909090909090909090909090909",
    "4173020105000000a19bd000762f14698201818101",
    "417302014a00000003eee644fe905cd48202818882190102030450010101010101010101010101010101018183025002020202020202020202020202020202820082447f00000119268a011a080000008203186445746f6b656e",
    "41730201030000001fc665db1af301be820380",
    "417302011b000000731c67fb9363e9e98204818350010101010101010101010101010101010f6466756c6c",
    "41730201080000002da2bff04f68fc218205818205192009",
    "417302010e000000ad4afc5ceea50fa982068181831903e81a0001117003",
    "417302012300000010ba4b005e12f958820781868219010203045001010101010101010101010101010101010245746f6b656e",
    "41730201080000008f29e532e25bc01e82088184000303f5",
    "4173020121000000534496b9500c0caa82098184821901020304500101010101010101010101010101010145746f6b656e",
    "417302010b0000002ad77772e4420b60820a818303192000191000",
];

#[test]
fn packets_are_stable() {
    let packet = packet();
    assert_eq!(hex(&wire(&packet)), GOLDEN_PACKET);
    assert_eq!(decode_all(&wire(&packet)), Ok(Some(Frame::Packet(packet.clone()))));
    assert_eq!(packet.verify(block()), Ok(()));
    let empty = Packet {
        sequence: 0,
        offset: BlockOffset::new(77),
        flags: Flags::FINISH,
        words: Bytes::new(),
        data: Bytes::new(),
    };
    assert_eq!(decode_all(&wire(&empty)), Ok(Some(Frame::Packet(empty))));
}

const GOLDEN_PACKET: &str =
    "417302022500000003bbddce7177b2bf05000000000000000020000000000000090000000300000069a284e3313233343536373839";

#[test]
fn pieces_are_stable() {
    let Packet { offset, words, data, .. } = packet();
    let bytes = [&Piece::head(offset, data.len())[..], &words, &data].concat();
    assert_eq!(hex(&bytes), GOLDEN_PIECE);
    assert_eq!(decode_all(&bytes), Ok(Some(Frame::Piece(Piece { offset, words, data }))));
}

const GOLDEN_PIECE: &str = "417302031d000000e06e317b14c9a9f80020000000000000090000000000000069a284e3313233343536373839";

#[test]
fn a_frame_in_parts_is_incomplete_until_its_last_byte() {
    let bytes = wire(&packet());
    for end in 0..bytes.len() {
        let mut buffer = BytesMut::from(&bytes[..end]);
        assert_eq!(decode(&mut buffer), Ok(None));
        assert_eq!(buffer.len(), end);
    }
    let mut two = BytesMut::from(&[&bytes[..], &bytes[..]].concat()[..]);
    assert_eq!(decode(&mut two), Ok(Some(Frame::Packet(packet()))));
    assert_eq!(decode(&mut two), Ok(Some(Frame::Packet(packet()))));
    assert_eq!(decode(&mut two), Ok(None));
}

#[test]
fn damage_is_named() {
    let good = wire(&packet());
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        decode_all(&bytes).expect_err("must be refused")
    };
    assert_eq!(with(0, b'X'), FrameError::Magic { found: *b"Xs" });
    assert_eq!(with(2, 9), FrameError::Version { found: 9 });
    assert_eq!(with(7, 1), FrameError::DamagedHeader);
    assert_eq!(with(HEADER + 8, 1), FrameError::DamagedHead { kind: Kind::Packet });
}

#[test]
fn what_makes_no_sense_is_named() {
    let good = wire(&packet());
    // Sent like this: the checksums are right.
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        seal(&mut bytes, PACKET_HEAD);
        decode_all(&bytes).expect_err("must be refused")
    };
    assert_eq!(with(3, 0), FrameError::Kind { found: 0 });
    assert_eq!(with(7, 1), FrameError::Length { kind: Kind::Packet, length: (1 << 24) + 37 });
    assert_eq!(with(HEADER + 8, 1), FrameError::Unaligned { kind: Kind::Packet, offset: 8193 });
    assert_eq!(with(HEADER + 15, 0xff), FrameError::Overflow { kind: Kind::Packet });
    assert_eq!(with(HEADER + 16, 10), FrameError::Data { kind: Kind::Packet, data: 10, body: 37 });
    assert_eq!(with(HEADER + 20, 8), FrameError::Flags { found: 8 });
    assert_eq!(with(HEADER + 21, 1), FrameError::Reserved { kind: Kind::Packet });
}

/// Makes the checksums of a frame right, whose body begins with a head of so many bytes.
fn seal(frame: &mut [u8], head: usize) {
    let (header, body) = frame.split_at_mut(HEADER);
    header[8..CHECKED].copy_from_slice(&crc32fast::hash(&body[..head]).to_le_bytes());
    let own = crc32fast::hash(&header[..CHECKED]);
    header[CHECKED..].copy_from_slice(&own.to_le_bytes());
}

/// A frame of any bytes, with checksums that are right if the body is as long as its head.
fn sealed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; HEADER];
    frame[..4].copy_from_slice(&[b'A', b's', VERSION, kind]);
    frame[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(body);
    let head = [body.len(), PACKET_HEAD, PIECE_HEAD][usize::from(kind.saturating_sub(1)).min(2)];
    seal(&mut frame, head.min(body.len()));
    frame
}

/// Invariant 5.
#[test]
fn every_bit_that_changes_on_the_way_shows() {
    let packet = packet();
    let piece = [&Piece::head(packet.offset, packet.data.len())[..], &packet.words, &packet.data].concat();
    let frames = controls().into_iter().map(|control| control.to_frame().to_vec()).chain([wire(&packet), piece]);
    for good in frames {
        for bit in 0..8 * good.len() {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let shows = match decode_all(&bad) {
                Err(_) => true,
                Ok(None) => false,
                Ok(Some(Frame::Control(_))) => false,
                Ok(Some(Frame::Packet(packet))) => packet.verify(block()).is_err(),
                Ok(Some(Frame::Piece(piece))) => piece.verify(block()).is_err(),
            };
            assert!(shows, "bit {bit} of {}", hex(&good));
        }
    }
}

#[test]
fn a_control_frame_with_rubbish_inside_or_behind_is_refused() {
    for body in [&[0x82, 0x03, 0x80, 0x00], &[0xff, 0x03, 0x80, 0x00]] {
        assert!(matches!(decode_all(&sealed(1, body)), Err(FrameError::Control { .. })));
    }
}

/// As it was said before it had a field.
#[test]
fn an_alive_without_times_is_understood() {
    let bytes = sealed(1, &[0x82, 0x06, 0x80]);
    assert_eq!(decode_all(&bytes), Ok(Some(Frame::Control(Control::Alive(Alive::default())))));
}

#[test]
fn a_reason_is_cut_between_characters() {
    let failed = Failed::new(storage(1), Code::Io, "\u{e4}".repeat(2000));
    assert_eq!(failed.message.len(), 1024);
    assert!(Control::Failed(failed).to_frame().len() < MAX_CONTROL);
}

proptest! {
    /// Invariant 1.
    #[test]
    fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = decode_all(&bytes);
    }

    /// Invariant 1, past the header.
    #[test]
    fn rubbish_in_a_body_never_panics(kind in 1_u8..4, body in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = decode_all(&sealed(kind, &body));
    }

    /// Invariant 1, one byte away from a good frame.
    #[test]
    fn a_changed_byte_never_panics(which in 0_usize..9, at in 0_usize..200, byte: u8) {
        let mut bytes = controls()[which].to_frame().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = decode_all(&bytes);
    }
}
