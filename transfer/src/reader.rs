//! The client end of a read: checks what a datanode sends and trims it to what was asked for.

use bytes::Bytes;
use types::checksum::{CHUNK, Mismatch};

use crate::{Control, Failed, Frame, Piece, Read, ReadReply};

/// Why a read ended early. The connection is of use afterwards only for [`ReadError::Failed`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The datanode says so.
    #[error(transparent)]
    Failed(Failed),
    /// The replica is shorter than what was asked for.
    #[error("the replica has {total} bytes, and the read ends at {wanted}")]
    Short { wanted: u64, total: u64 },
    /// Bytes are damaged, on the disk or on the way.
    #[error(transparent)]
    Corrupt(Mismatch),
    #[error("the datanode broke the protocol: {problem}")]
    Protocol { problem: &'static str },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The reply is due.
    Asked,
    /// Pieces are due, the next one at this offset.
    Pieces {
        next: u64,
        end: u64,
    },
    Done,
}

/// The machine: feed it the frames that follow a [`Read`], until [`Reader::is_done`].
#[derive(Debug)]
pub struct Reader {
    request: Read,
    phase: Phase,
}

impl Reader {
    pub fn new(request: Read) -> Self {
        Self { request, phase: Phase::Asked }
    }

    /// The frame that asks for the bytes.
    pub fn request(&self) -> Control {
        Control::Read(self.request.clone())
    }

    /// Whether every byte was delivered.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Takes the next frame, and gives the next bytes of the range that was asked for, verified.
    pub fn handle(&mut self, frame: Frame) -> Result<Option<Bytes>, ReadError> {
        match (self.phase, frame) {
            (Phase::Asked, Frame::Control(Control::ReadReply(reply))) => self.reply(&reply).map(|()| None),
            (Phase::Pieces { next, end }, Frame::Piece(piece)) => self.piece(next, end, piece).map(Some),
            (Phase::Asked | Phase::Pieces { .. }, Frame::Control(Control::Failed(failed))) => {
                Err(ReadError::Failed(failed))
            }
            (Phase::Asked | Phase::Pieces { .. }, Frame::Control(Control::Alive(_))) => Ok(None),
            (Phase::Asked | Phase::Pieces { .. } | Phase::Done, _) => {
                Err(ReadError::Protocol { problem: "a frame that nothing asked for" })
            }
        }
    }

    /// The range that was asked for.
    fn wanted(&self) -> (u64, u64) {
        let start = self.request.offset.get();
        (start, start.saturating_add(self.request.length.get()))
    }

    fn reply(&mut self, reply: &ReadReply) -> Result<(), ReadError> {
        let (start, wanted) = self.wanted();
        let total = reply.total.get();
        if total < wanted {
            return Err(ReadError::Short { wanted, total });
        }
        let chunk = CHUNK as u64;
        let first = start - start % chunk;
        let end = wanted.checked_next_multiple_of(chunk).unwrap_or(u64::MAX).min(total);
        if reply.offset.get() != first || reply.length.get() != end.saturating_sub(first) {
            return Err(ReadError::Protocol { problem: "the reply covers another range than the request" });
        }
        self.phase = if first >= end { Phase::Done } else { Phase::Pieces { next: first, end } };
        Ok(())
    }

    fn piece(&mut self, next: u64, end: u64, mut piece: Piece) -> Result<Bytes, ReadError> {
        let (from, to) = (piece.offset.get(), piece.end());
        let ends_well = to == end || (to < end && to.is_multiple_of(CHUNK as u64));
        if from != next || from == to || !ends_well {
            return Err(ReadError::Protocol { problem: "a piece is not the next part of the range" });
        }
        piece.verify(self.request.block).map_err(ReadError::Corrupt)?;
        self.phase = if to == end { Phase::Done } else { Phase::Pieces { next: to, end } };
        let (start, wanted) = self.wanted();
        let skip = start.saturating_sub(from).min(to - from) as usize;
        let keep = wanted.min(to).saturating_sub(from) as usize;
        Ok(piece.data.split_to(keep).slice(skip.min(keep)..))
    }
}

#[cfg(test)]
mod tests {
    use types::checksum::append_words;
    use types::token::Token;
    use types::{BlockId, BlockOffset, ByteSize, Code, GenStamp, InodeId, StorageId};

    use super::*;

    const STORAGE: StorageId = StorageId::from_bytes([1; 16]);

    fn block() -> BlockId {
        BlockId::new(InodeId::new(7), 1)
    }

    fn read(offset: u64, length: u64) -> Reader {
        Reader::new(Read {
            block: block(),
            generation: GenStamp::FIRST,
            storage: STORAGE,
            offset: BlockOffset::new(offset),
            length: ByteSize::new(length),
            token: Token::default(),
        })
    }

    fn reply(offset: u64, length: u64, total: u64) -> Frame {
        let (length, total) = (ByteSize::new(length), ByteSize::new(total));
        Frame::Control(Control::ReadReply(ReadReply {
            offset: BlockOffset::new(offset),
            length,
            total,
            complete: true,
        }))
    }

    fn content(length: usize) -> Bytes {
        (0..length).map(|at| (at / 7) as u8).collect::<Vec<_>>().into()
    }

    fn piece(content: &Bytes, from: usize, to: usize) -> Frame {
        let data = content.slice(from..to);
        let mut words = Vec::new();
        append_words(block(), (from / CHUNK) as u64, &data, &mut words);
        Frame::Piece(Piece { offset: BlockOffset::new(from as u64), words: words.into(), data })
    }

    /// Invariant 4.
    #[test]
    fn the_asked_bytes_come_out_exactly() {
        let content = content(3 * CHUNK + 100);
        let mut reader = read(5000, 7300);
        assert_eq!(reader.handle(reply(4096, 3 * 4096 + 100 - 4096, 3 * 4096 + 100)), Ok(None));
        let mut got = Vec::new();
        for (from, to) in [(4096, 8192), (8192, 3 * 4096 + 100)] {
            assert!(!reader.is_done());
            got.extend_from_slice(&reader.handle(piece(&content, from, to)).expect("good").expect("bytes"));
        }
        assert!(reader.is_done());
        assert_eq!(got, content[5000..12300]);
    }

    #[test]
    fn a_shorter_replica_is_an_error_and_never_a_short_read() {
        let mut reader = read(0, 5000);
        assert_eq!(reader.handle(reply(0, 4999, 4999)), Err(ReadError::Short { wanted: 5000, total: 4999 }));
    }

    #[test]
    fn gaps_repeats_and_damage_are_refused() {
        let content = content(2 * CHUNK);
        let problem = |result| matches!(result, Err(ReadError::Protocol { .. }));
        let start = || {
            let mut reader = read(0, 8192);
            assert_eq!(reader.handle(reply(0, 8192, 8192)), Ok(None));
            reader
        };
        assert!(problem(start().handle(piece(&content, 4096, 8192))));
        assert!(problem(start().handle(piece(&content, 0, 100))));
        assert!(problem(start().handle(reply(0, 8192, 8192))));
        assert!(problem(read(0, 8192).handle(reply(4096, 4096, 8192))));
        let mut reader = start();
        let Frame::Piece(mut bad) = piece(&content, 0, 8192) else { unreachable!("built above") };
        bad.data = [&content[..8191], &[!content[8191]]].concat().into();
        assert!(matches!(reader.handle(Frame::Piece(bad)), Err(ReadError::Corrupt(found)) if found.chunk == 1));
    }

    #[test]
    fn an_empty_read_ends_with_its_reply_and_a_failure_is_passed_on() {
        let mut reader = read(0, 0);
        assert_eq!(reader.handle(reply(0, 0, 10)), Ok(None));
        assert!(reader.is_done());
        let failed = Failed::new(STORAGE, Code::NoSuchBlock, "gone");
        assert_eq!(read(0, 1).handle(Frame::Control(Control::Failed(failed.clone()))), Err(ReadError::Failed(failed)));
    }
}
