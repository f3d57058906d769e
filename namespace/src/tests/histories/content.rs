//! Random changes of content, against files that are plain vectors: each byte is zero, a value, or one byte of a block.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use types::{BlockId, BlockOffset, ByteSize, Code, GenStamp, SessionId};

use crate::access::Caller;
use crate::command::{BlockDone, Command, ContentTerms, Edit, Joined, Layout, NewBlock, Reply};
use crate::limits::MAX_EXTENTS;
use crate::placement;
use crate::query::{self, Content};
use crate::tests::{Cluster, LAYOUT, OWNER, at, invariants, locations, over, storages};

const NAMES: [&str; 4] = ["/a", "/b", "/c", "/d"];
const INLINE_MAX: u64 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Byte {
    Zero,
    Value(u8),
    Of(BlockId, u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    bytes: Vec<Byte>,
    inline: bool,
    /// A writer with a lease once had a block of it.
    had_blocks: bool,
}

impl File {
    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn takes_bytes(&self) -> bool {
        let in_blocks = self.bytes.iter().any(|byte| matches!(byte, Byte::Of(..)));
        self.inline || !(self.had_blocks || in_blocks)
    }

    fn put(&mut self, start: u64, bytes: &[Byte]) {
        let end = start as usize + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, Byte::Zero);
        }
        self.bytes[start as usize..end].copy_from_slice(bytes);
    }

    fn put_inline(&mut self, start: u64, bytes: &[Byte]) -> Result<(), Code> {
        if !self.takes_bytes() {
            return Err(Code::StoredOtherwise);
        }
        if self.length().max(start + bytes.len() as u64) > INLINE_MAX {
            return Err(Code::TooLarge);
        }
        self.put(start, bytes);
        self.inline = true;
        Ok(())
    }

    fn become_blocks(&mut self, covered: u64) -> Result<(), Code> {
        if self.inline && self.length() > covered {
            return Err(Code::StoredOtherwise);
        }
        self.inline = false;
        Ok(())
    }
}

#[derive(Debug, Clone)]
struct Piece {
    gap: u64,
    length: u64,
    block: bool,
    block_offset: u64,
}

#[derive(Debug, Clone)]
enum Step {
    PutInline {
        file: Index,
        length: usize,
    },
    PutBlocks {
        file: Index,
        lengths: Vec<u64>,
    },
    /// By a writer with a lease.
    Write {
        file: Index,
    },
    Blocks {
        file: Index,
        pieces: Vec<Piece>,
        append: bool,
    },
    Bytes {
        file: Index,
        offset: u64,
        length: usize,
        append: bool,
    },
    Truncate {
        file: Index,
        length: u64,
    },
    Punch {
        file: Index,
        offset: u64,
        length: u64,
    },
    Clone {
        from: Index,
        to: Index,
        offset: u64,
        length: u64,
        to_offset: u64,
    },
    Concat {
        to: Index,
        from: Vec<Index>,
    },
    /// Puts one block in place of several extents, maybe after some of them are gone.
    Join {
        file: Index,
        first: Index,
        count: usize,
        punched: Option<(u64, u64)>,
    },
    Delete {
        file: Index,
    },
    Replication {
        file: Index,
        replication: u8,
    },
    Gc,
    NewSession,
}

fn piece() -> impl Strategy<Value = Piece> {
    (0_u64..9, 1_u64..9, any::<bool>(), 0_u64..8).prop_map(|(gap, length, block, block_offset)| Piece {
        gap,
        length,
        block,
        block_offset,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let file = any::<Index>;
    prop_oneof![
        2 => (file(), 0_usize..10).prop_map(|(file, length)| Step::PutInline { file, length }),
        2 => (file(), prop::collection::vec(1_u64..17, 1..4)).prop_map(|(file, lengths)| Step::PutBlocks { file, lengths }),
        1 => file().prop_map(|file| Step::Write { file }),
        8 => (file(), prop::collection::vec(piece(), 1..4), any::<bool>())
            .prop_map(|(file, pieces, append)| Step::Blocks { file, pieces, append }),
        2 => (file(), 0_u64..9, 1_usize..5, any::<bool>())
            .prop_map(|(file, offset, length, append)| Step::Bytes { file, offset, length, append }),
        3 => (file(), 0_u64..50).prop_map(|(file, length)| Step::Truncate { file, length }),
        3 => (file(), 0_u64..50, 1_u64..50).prop_map(|(file, offset, length)| Step::Punch { file, offset, length }),
        4 => (file(), file(), 0_u64..40, 1_u64..60, prop_oneof![Just(0_u64), 0_u64..40])
            .prop_map(|(from, to, offset, length, to_offset)| Step::Clone { from, to, offset, length, to_offset }),
        2 => (file(), prop::collection::vec(file(), 1..3)).prop_map(|(to, from)| Step::Concat { to, from }),
        4 => (file(), file(), 1_usize..5, prop::option::of((0_u64..16, 1_u64..9)))
            .prop_map(|(file, first, count, punched)| Step::Join { file, first, count, punched }),
        1 => file().prop_map(|file| Step::Delete { file }),
        1 => (file(), 1_u8..5).prop_map(|(file, replication)| Step::Replication { file, replication }),
        1 => Just(Step::Gc),
        1 => Just(Step::NewSession),
    ]
}

fn terms() -> ContentTerms {
    ContentTerms { inline_max: ByteSize::new(INLINE_MAX), ..ContentTerms::default() }
}

fn done(block: &NewBlock, length: u64) -> BlockDone {
    let replicas = storages(&[1, 2, 3]);
    BlockDone { block: block.block, generation: GenStamp::FIRST, length: ByteSize::new(length), replicas }
}

struct History {
    cluster: Cluster,
    session: SessionId,
    files: BTreeMap<&'static str, File>,
    next_value: u8,
}

impl History {
    fn new() -> Self {
        let mut cluster = Cluster::formatted();
        let session = cluster.open_session();
        Self { cluster, session, files: BTreeMap::new(), next_value: 0 }
    }

    fn allocate(&mut self, count: usize) -> Vec<NewBlock> {
        let targets = vec![locations(&[1, 2, 3]); count];
        match self.cluster.by(self.session, Command::AllocateBlocks { wanted: 3, targets }) {
            Ok(Reply::Blocks { blocks }) => blocks,
            other => panic!("blocks were asked for: {other:?}"),
        }
    }

    fn values(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| {
                self.next_value = self.next_value.wrapping_add(1).max(1);
                self.next_value
            })
            .collect()
    }

    /// How many pieces of extents lie in a range.
    fn extents_in(&self, name: &str, from: u64, to: u64) -> usize {
        match query::open(&self.cluster.state, Caller::SYSTEM, &at(name), from, to.saturating_sub(from)) {
            Ok(query::Opened { content: Content::Blocks { blocks, .. }, .. }) => blocks.len(),
            _ => 0,
        }
    }

    /// Runs a change to its end, and holds what became of it against what was expected. Gives whether it was done.
    fn change(&mut self, command: Command, expected: Result<(), Code>) -> bool {
        let mut command = command;
        loop {
            match (self.cluster.by(self.session, command.clone()), expected) {
                (Ok(Reply::Written { next: Some(next), .. }), Ok(())) => {
                    invariants::check(&self.cluster.state);
                    match &mut command {
                        Command::Punch { offset, length, .. } => {
                            *length -= next - *offset;
                            *offset = next;
                        }
                        Command::CloneRange { offset, length, to_offset, .. } => {
                            *offset += next - *to_offset;
                            *length -= next - *to_offset;
                            *to_offset = next;
                        }
                        Command::Truncate { .. } => {}
                        other => panic!("{other:?} is done in one step"),
                    }
                }
                (Ok(_), Ok(())) => return true,
                (Err(error), Err(code)) if error.code() == code => return false,
                (reply, expected) => panic!("{command:?}: {expected:?} was expected: {reply:?}"),
            }
        }
    }

    fn run(&mut self, step: &Step) {
        let name = |index: &Index| *index.get(&NAMES);
        match step {
            Step::PutInline { file, length } => {
                let (name, content) = (name(file), self.values(*length));
                let bytes = content.iter().map(|byte| Byte::Value(*byte)).collect();
                let (destination, mtime) = (over(name), None);
                let command = Command::PutInline { destination, ownership: OWNER, layout: LAYOUT, content, mtime };
                assert!(self.change(command, Ok(())));
                self.files.insert(name, File { bytes, inline: true, had_blocks: false });
            }
            Step::PutBlocks { file, lengths } => {
                let new = self.allocate(lengths.len());
                let blocks: Vec<_> = new.iter().zip(lengths).map(|(block, length)| done(block, *length)).collect();
                let bytes = blocks.iter().flat_map(|done| (0..done.length.get()).map(|at| Byte::Of(done.block, at)));
                let bytes = bytes.collect();
                let destination = over(name(file));
                let layout = Layout { spread: Some(placement::Policy::Spread), ..LAYOUT };
                let (ownership, min_replicas, mtime) = (OWNER, 2, None);
                let command = Command::PutBlocks { destination, ownership, layout, blocks, min_replicas, mtime };
                assert!(self.change(command, Ok(())));
                self.files.insert(name(file), File { bytes, inline: false, had_blocks: false });
            }
            Step::Write { file } => self.write(name(file)),
            Step::Blocks { file, pieces, append } => self.blocks(name(file), pieces, *append),
            Step::Bytes { file, offset, length, append } => {
                let content = self.values(*length);
                let bytes: Vec<_> = content.iter().map(|byte| Byte::Value(*byte)).collect();
                let file = name(file);
                let mut model = self.files.get(file).cloned();
                let expected = model.as_mut().ok_or(Code::NotFound).and_then(|model| {
                    let start = if *append { model.length() + offset } else { *offset };
                    model.put_inline(start, &bytes)
                });
                let edits = vec![Edit::Bytes { offset: *offset, content }];
                let command = Command::WriteExtents {
                    place: at(file),
                    blocks: Vec::new(),
                    edits,
                    append: *append,
                    min_replicas: 2,
                    terms: terms(),
                    inline: None,
                };
                self.apply(command, expected, file, model);
            }
            Step::Truncate { file, length } => {
                let file = name(file);
                let mut model = self.files.get(file).cloned();
                let expected = model.as_mut().ok_or(Code::NotFound).and_then(|model| {
                    if model.takes_bytes() && *length <= INLINE_MAX {
                        model.inline = true;
                    } else {
                        model.become_blocks(0)?;
                    }
                    model.bytes.resize(*length as usize, Byte::Zero);
                    Ok(())
                });
                self.apply(
                    Command::Truncate { place: at(file), length: *length, terms: terms() },
                    expected,
                    file,
                    model,
                );
            }
            Step::Punch { file, offset, length } => self.punch(name(file), *offset, *length),
            Step::Join { file, first, count, punched } => self.join(name(file), first, *count, *punched),
            Step::Clone { from, to, offset, length, to_offset } => {
                self.clone_range(name(from), name(to), *offset, *length, *to_offset);
            }
            Step::Concat { to, from } => self.concat(name(to), &from.iter().map(name).collect::<Vec<_>>()),
            Step::Delete { file } => {
                let file = name(file);
                let there = self.files.remove(file).map(|_| ()).ok_or(Code::NotFound);
                self.change(Command::Delete { place: at(file), recursive: false }, there);
            }
            Step::Replication { file, replication } => {
                let there = self.files.get(name(file)).map(|_| ()).ok_or(Code::NotFound);
                let change = crate::command::AttrChange { replication: Some(*replication), ..Default::default() };
                self.change(Command::SetAttr { place: at(name(file)), change }, there);
            }
            Step::Gc => drop(self.cluster.run(Command::GcStep { limit: 3, grace_nanos: 5 })),
            Step::NewSession => {
                // Blocks that it has in advance go with it.
                self.allocate(5);
                let session = self.session;
                while self.cluster.run(Command::ExpireSession { session, limit: 2 }) == Ok(Reply::Step { more: true }) {
                    invariants::check(&self.cluster.state);
                }
                self.session = self.cluster.open_session();
            }
        }
    }

    fn apply(&mut self, command: Command, expected: Result<(), Code>, name: &'static str, model: Option<File>) {
        if self.change(command, expected)
            && let Some(model) = model
        {
            self.files.insert(name, model);
        }
    }

    fn punch(&mut self, name: &'static str, offset: u64, length: u64) {
        let mut model = self.files.get(name).cloned();
        let expected = model.as_mut().ok_or(Code::NotFound).map(|model| {
            let end = (offset + length).min(model.length()) as usize;
            model.bytes[(offset as usize).min(end)..end].fill(Byte::Zero);
        });
        self.apply(Command::Punch { place: at(name), offset, length, terms: terms() }, expected, name, model);
    }

    fn join(&mut self, name: &'static str, first: &Index, count: usize, punched: Option<(u64, u64)>) {
        let Ok(query::Opened { attributes, content: Content::Blocks { blocks, .. } }) =
            query::open(&self.cluster.state, Caller::SYSTEM, &at(name), 0, u64::MAX)
        else {
            return;
        };
        let mut pieces: Vec<Joined> = Vec::new();
        let mut total = 0;
        for at in blocks.iter().skip(first.index(blocks.len().max(1))).take(count) {
            let follows = pieces.last().is_none_or(|last| last.offset + last.length.get() == at.offset);
            if !follows || total + at.length.get() > LAYOUT.block_size.get() {
                break;
            }
            total += at.length.get();
            let (offset, length, block, block_offset) = (at.offset, at.length, at.block, at.block_offset);
            pieces.push(Joined { offset, length, block, block_offset });
        }
        let Some(start) = pieces.first().map(|piece| piece.offset) else { return };
        let new = self.allocate(1).remove(0);
        if let Some((into, length)) = punched {
            self.punch(name, start + into, length);
        }
        let mut model = self.files[name].clone();
        let (mut place, mut left) = (0, 0);
        for piece in &pieces {
            for at in 0..piece.length.get() {
                let byte = &mut model.bytes[(piece.offset + at) as usize];
                if *byte == Byte::Of(piece.block, piece.block_offset.get() + at) {
                    *byte = Byte::Of(new.block, place);
                    left += 1;
                }
                place += 1;
            }
        }
        let expected = if 2 * left < total { Err(Code::SourceChanged) } else { Ok(()) };
        let before = query::stat(&self.cluster.state, Caller::SYSTEM, &at(name)).expect("a file");
        let (inode, block) = (attributes.inode, done(&new, total));
        let command = Command::JoinExtents { inode, block, pieces, min_replicas: 2, grace_nanos: 5 };
        self.apply(command, expected, name, Some(model));
        let after = query::stat(&self.cluster.state, Caller::SYSTEM, &at(name)).expect("a file");
        assert_eq!(after, before, "nobody sees it");
        if expected.is_err() {
            let release = Command::ReleaseBlocks { blocks: vec![new.block] };
            assert_eq!(self.cluster.by(self.session, release), Ok(Reply::Done));
        }
    }

    fn write(&mut self, name: &'static str) {
        let targets = locations(&[1, 2, 3]);
        let create = Command::Create { destination: Some(over(name)), ownership: OWNER, layout: LAYOUT, targets };
        let Ok(Reply::Created { attributes, block: Some(block) }) = self.cluster.by(self.session, create) else {
            panic!("a file was asked for");
        };
        let (inode, last) = (attributes.inode, Some(done(&block, 16)));
        let complete = Command::Complete { inode, last, min_replicas: 2, publish: None, mtime: None };
        assert!(self.change(complete, Ok(())));
        let bytes = (0..16).map(|at| Byte::Of(block.block, at)).collect();
        self.files.insert(name, File { bytes, inline: false, had_blocks: true });
    }

    fn blocks(&mut self, name: &'static str, pieces: &[Piece], append: bool) {
        let new = self.allocate(2);
        let old = self.files.get(name).map_or(0, File::length);
        let mut model = self.files.get(name).cloned();
        let (mut edits, mut used, mut covered) = (Vec::new(), BTreeMap::new(), 0);
        let (mut offset, mut removed) = (0, 0);
        let base = if append { old } else { 0 };
        let mut puts = Vec::new();
        for Piece { gap, length, block, block_offset } in pieces {
            offset += gap;
            let block = new[usize::from(*block)].block;
            let needed: &mut u64 = used.entry(block).or_default();
            *needed = (*needed).max(block_offset + length);
            let (length, block_offset) = (*length, *block_offset);
            removed += self.extents_in(name, base + offset, base + offset + length);
            if base + offset <= covered {
                covered = base + offset + length;
            }
            puts.push((
                base + offset,
                (block_offset..block_offset + length).map(|at| Byte::Of(block, at)).collect::<Vec<_>>(),
            ));
            let (length, block_offset) = (ByteSize::new(length), BlockOffset::new(block_offset));
            edits.push(Edit::Block { offset, length, block, block_offset });
            offset += length.get();
        }
        let expected = model.as_mut().ok_or(Code::NotFound).and_then(|model| {
            model.become_blocks(covered)?;
            if removed > MAX_EXTENTS as usize {
                return Err(Code::TooLarge);
            }
            puts.iter().for_each(|(start, bytes)| model.put(*start, bytes));
            Ok(())
        });
        let blocks = new.iter().filter_map(|new| used.get(&new.block).map(|length| done(new, *length))).collect();
        let command = Command::WriteExtents {
            place: at(name),
            blocks,
            edits,
            append,
            min_replicas: 2,
            terms: terms(),
            inline: None,
        };
        let kept: Vec<BlockId> = match expected {
            Ok(()) => new.iter().map(|new| new.block).filter(|block| !used.contains_key(block)).collect(),
            Err(_) => new.iter().map(|new| new.block).collect(),
        };
        self.apply(command, expected, name, model);
        assert_eq!(self.cluster.by(self.session, Command::ReleaseBlocks { blocks: kept }), Ok(Reply::Done));
    }

    fn clone_range(&mut self, from: &'static str, to: &'static str, offset: u64, length: u64, to_offset: u64) {
        let mut model = self.files.get(to).cloned();
        let source = self.files.get(from).ok_or(Code::NotFound);
        // A file that is cloned onto its own end grows from step to step: then it is said where to stop.
        let length = match source {
            Ok(source) if from == to => length.min(source.length().saturating_sub(offset)),
            _ => length,
        };
        let expected = source.and_then(|source| {
            let model = model.as_mut().ok_or(Code::NotFound)?;
            let end = (offset + length).min(source.length());
            let length = end.saturating_sub(offset);
            if length == 0 {
                return Ok(());
            }
            if from == to && offset < to_offset + length && to_offset < end {
                return Err(Code::InvalidArgument);
            }
            let bytes = &source.bytes[offset as usize..end as usize];
            if source.inline {
                return model.put_inline(to_offset, bytes);
            }
            model.become_blocks(if to_offset == 0 { length } else { 0 })?;
            model.put(to_offset, bytes);
            Ok(())
        });
        let (from, place) = (at(from), at(to));
        let command = Command::CloneRange { from, offset, length, to: place, to_offset, terms: terms() };
        self.apply(command, expected, to, model);
    }

    fn concat(&mut self, to: &'static str, from: &[&'static str]) {
        let mut files = self.files.clone();
        let mut room = MAX_EXTENTS as usize;
        let mut take = |source: &'static str| {
            let mut target = files.get(to).cloned().ok_or(Code::NotFound)?;
            let file = files.get(source).cloned().ok_or(Code::NotFound)?;
            if source == to {
                return Err(Code::InvalidArgument);
            }
            let start = target.length();
            if file.inline && !file.bytes.is_empty() {
                target.put_inline(start, &file.bytes).map_err(|_| Code::StoredOtherwise)?;
            } else if !file.bytes.is_empty() {
                target.become_blocks(0)?;
                let extents = self.extents_in(source, 0, u64::MAX);
                room = room.checked_sub(extents).ok_or(Code::TooLarge)?;
                target.put(start, &file.bytes);
            }
            files.remove(source);
            files.insert(to, target);
            Ok(())
        };
        let expected = from.iter().try_for_each(|source| take(source));
        let from = from.iter().map(|name| at(name)).collect();
        if self.change(Command::Concat { to: at(to), from, terms: terms() }, expected) {
            self.files = files;
        }
    }

    /// Every file reads as its model says, whatever part of it is asked for.
    fn check(&self) {
        invariants::check(&self.cluster.state);
        for name in NAMES {
            let Some(file) = self.files.get(name) else {
                assert!(query::stat(&self.cluster.state, Caller::SYSTEM, &at(name)).is_err());
                continue;
            };
            let length = file.length();
            for (from, to) in [(0, u64::MAX), (0, length / 2), (length / 3, length), (length, length + 3)] {
                assert_eq!(self.read(name, from, to), file.bytes[from.min(length) as usize..to.min(length) as usize]);
            }
            let map = query::extents(&self.cluster.state, Caller::SYSTEM, &at(name), 0, 1000).expect("a file");
            let mut in_map = vec![false; file.bytes.len()];
            for (offset, length) in map.data {
                in_map[offset as usize..(offset + length.get()) as usize].fill(true);
            }
            let data = |byte: &Byte| file.inline || *byte != Byte::Zero;
            assert_eq!(in_map, file.bytes.iter().map(data).collect::<Vec<_>>(), "holes of {name}");
        }
    }

    fn read(&self, name: &str, from: u64, to: u64) -> Vec<Byte> {
        let opened = query::open(&self.cluster.state, Caller::SYSTEM, &at(name), from, to - from).expect("a file");
        let length = opened.attributes.length.get();
        let (from, to) = (from.min(length), to.min(length));
        let mut bytes = vec![Byte::Zero; length as usize];
        match opened.content {
            Content::Inline(content) => {
                let value = |byte: &u8| if *byte == 0 { Byte::Zero } else { Byte::Value(*byte) };
                bytes = content.iter().map(value).collect();
            }
            Content::Blocks { blocks, known_to } => {
                assert_eq!(known_to, to);
                for located in blocks {
                    for at in 0..located.length.get() {
                        bytes[(located.offset + at) as usize] =
                            Byte::Of(located.block, located.block_offset.get() + at);
                    }
                }
            }
        }
        bytes[from as usize..to as usize].to_vec()
    }

    /// With everything removed, nothing is left.
    fn empty(&mut self) {
        for name in NAMES {
            if self.files.remove(name).is_some() {
                self.cluster.run(Command::Delete { place: at(name), recursive: false }).expect("removed");
            }
        }
        self.cluster.run(Command::CloseSession { session: self.session }).expect("closed");
        while self.cluster.run(Command::GcStep { limit: 3, grace_nanos: 0 }) != Ok(Reply::Step { more: false }) {}
        invariants::check(&self.cluster.state);
        assert_eq!(query::totals(&self.cluster.state).expect("readable").blocks, 0, "blocks leaked");
        assert_eq!(invariants::tags(&self.cluster.state).replace('r', ""), "Sdn", "rows leaked");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 5000, ..ProptestConfig::default() })]

    /// Invariants 4 and 11.
    #[test]
    fn files_hold_what_was_put_into_them_and_blocks_live_as_long_as_extents_do(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut history = History::new();
        for step in &steps {
            history.run(step);
            history.check();
        }
        history.empty();
    }
}
