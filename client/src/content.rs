//! What files contain, changed anywhere and without a lease: a block is stored, and then put in its place by one commit.
//!
//! Short files live with their inode. There they are changed by bytes; what does not fit there any more is turned into a
//! block first, unless it was changed meanwhile (then it is looked at again).

use bytes::Bytes;
use proto::v1;
use proto::v1::op::Kind as Op;
use transfer::message::MAX_BLOCK;
use types::{ByteSize, Code, Timestamp};

use crate::directory_policy::Copies;
use crate::error::{Error, Fault};
use crate::metadata::{Metadata, Scope};
use crate::object::{Attributes, CreateOptions, Durability, Kind};
use crate::place::Place;
use crate::store::Client;
use crate::wire;
use crate::writer::{StoredBlock, level, store};

/// How often a file is looked at again that changes its form under our hands.
const ATTEMPTS: usize = 8;

/// What a change of content says besides the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContentOptions {
    /// Recorded instead of the present time.
    pub mtime: Option<Timestamp>,
    /// Take setuid and setgid away, as a write by anybody but the superuser does.
    pub clear_suid: bool,
    /// Of the blocks that are written; the cluster's default if absent.
    pub durability: Option<Durability>,
}

/// A piece of new content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Bytes of a block that is committed with it.
    Block {
        offset: u64,
        length: u64,
        /// Its index among those.
        block: usize,
        block_offset: u64,
    },
    /// Bytes for a file that lives with its inode, and stays so.
    Bytes { offset: u64, content: Bytes },
}

/// A file after a change of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub attributes: Attributes,
    /// Where the change begins.
    pub offset: u64,
}

/// One page of the map of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtentMap {
    pub attributes: Attributes,
    /// Offset and length of what is not a hole, in order.
    pub data: Vec<(u64, u64)>,
    /// Extents of the whole file; zero if it lives with its inode.
    pub count: u64,
    /// Whether others follow after the last.
    pub more: bool,
}

/// Where data goes.
#[derive(Debug, Clone, Copy)]
enum Position {
    At(u64),
    End,
}

impl Client {
    /// Stores bytes as a block of no file yet, with the copies of the file that it is for, as durable as asked for. `commit` gives it its
    /// place.
    pub async fn store_block(
        &self,
        data: Bytes,
        copies: Copies,
        durability: Option<Durability>,
    ) -> Result<StoredBlock, Error> {
        let stored = store(self, data, copies, level(self, durability)).await;
        stored.map_err(|fault| Error::new("store", "a block", fault))
    }

    /// Puts new content over the old, all edits or none: they are in order, apart, and of one kind, and use every block.
    /// With `append` their offsets count from the end of the file, as it is then. A file that lives with its inode becomes
    /// blocks when blocks are brought.
    pub async fn commit(
        &self,
        at: impl Into<Place>,
        blocks: Vec<StoredBlock>,
        edits: &[Edit],
        append: bool,
        options: ContentOptions,
    ) -> Result<Written, Error> {
        let at = &at.into();
        let written = self.commit_blocks(at, blocks, edits, append, options).await;
        written.map_err(|fault| Error::new("write", at, fault))
    }

    /// Writes `data` at an offset, over what is there, in one step.
    pub async fn write_at(
        &self,
        at: impl Into<Place>,
        offset: u64,
        data: Bytes,
        options: ContentOptions,
    ) -> Result<Written, Error> {
        let at = &at.into();
        let written = self.put_in(at, Position::At(offset), data, options).await;
        written.map_err(|fault| Error::new("write", at, fault))
    }

    /// Writes `data` at the end, in one step and in one piece, whoever else appends at the same time.
    pub async fn append_whole(
        &self,
        at: impl Into<Place>,
        data: Bytes,
        options: ContentOptions,
    ) -> Result<Written, Error> {
        let at = &at.into();
        self.put_in(at, Position::End, data, options).await.map_err(|fault| Error::new("append to", at, fault))
    }

    /// Makes a file as long as asked: what is cut off is gone, what is added reads as zeros.
    pub async fn truncate(
        &self,
        at: impl Into<Place>,
        length: u64,
        options: ContentOptions,
    ) -> Result<Attributes, Error> {
        let at = &at.into();
        let truncate = v1::Truncate { place: Some(wire::place(at)), length, terms: Some(terms(options)) };
        let written = self.in_steps(at, options, |_| Op::Truncate(truncate.clone())).await;
        written.map(|written| written.attributes).map_err(|fault| Error::new("truncate", at, fault))
    }

    /// Makes a range a hole, which reads as zeros. The length stays.
    pub async fn punch(
        &self,
        at: impl Into<Place>,
        offset: u64,
        length: u64,
        options: ContentOptions,
    ) -> Result<Attributes, Error> {
        let at = &at.into();
        let punch = |next: Option<u64>| {
            let offset_now = next.unwrap_or(offset);
            let length = offset.saturating_add(length).saturating_sub(offset_now);
            let place = Some(wire::place(at));
            Op::Punch(v1::Punch { place, offset: offset_now, length, terms: Some(terms(options)) })
        };
        let written = self.in_steps(at, options, punch).await;
        written.map(|written| written.attributes).map_err(|fault| Error::new("punch a hole into", at, fault))
    }

    /// Has `to` share a range of `from`, in place of what it held there. No byte is copied, except of a file that lives
    /// with its inode. A range of very many extents takes several steps.
    pub async fn clone_range(
        &self,
        from: impl Into<Place>,
        (offset, length): (u64, u64),
        to: impl Into<Place>,
        to_offset: u64,
        options: ContentOptions,
    ) -> Result<Attributes, Error> {
        let (from, to) = (&from.into(), &to.into());
        let cloned = self.clone_steps(from, (offset, length), to, to_offset, options).await;
        cloned.map_err(|fault| Error::new("clone", format_args!("{from} into {to}"), fault))
    }

    /// Moves the content of files to the end of another, in their order, all or nothing. They vanish, and no byte is
    /// copied.
    pub async fn concat(
        &self,
        to: impl Into<Place>,
        from: &[Place],
        options: ContentOptions,
    ) -> Result<Attributes, Error> {
        let to = &to.into();
        let op = || {
            let from = from.iter().map(wire::place).collect();
            Op::Concat(v1::Concat { to: Some(wire::place(to)), from, terms: Some(terms(options)) })
        };
        let concat = async {
            for _ in 0..ATTEMPTS {
                match self.written(op(), Scope::Update).await {
                    Err(fault) if fault.code() == Code::StoredOtherwise => {
                        for place in std::iter::once(to).chain(from) {
                            self.convert(place, options).await?;
                        }
                    }
                    done => return done.map(|(written, _)| written.attributes),
                }
            }
            Err(unsettled())
        };
        concat.await.map_err(|fault| Error::new("append files to", to, fault))
    }

    /// Where the bytes of a file are, from `offset` on; the rest are holes.
    pub async fn extents(&self, at: impl Into<Place>, offset: u64) -> Result<ExtentMap, Error> {
        let at = &at.into();
        let op = Op::Extents(v1::Extents { place: Some(wire::place(at)), offset, limit: 0 });
        let map = match self.0.metadata.call(op, Scope::Read).await {
            Ok((v1::reply::Result::ExtentMap(map), _)) => extent_map(map),
            Ok((other, _)) => Err(Metadata::unexpected(&other)),
            Err(fault) => Err(fault),
        };
        map.map_err(|fault| Error::new("map", at, fault))
    }

    /// Copies a file inside the cluster: the copy shares its blocks, and appears complete or not at all.
    pub async fn copy(
        &self,
        from: impl Into<Place>,
        to: impl Into<Place>,
        options: CreateOptions,
    ) -> Result<Attributes, Error> {
        let (from, to) = (&from.into(), &to.into());
        let copied = self.copy_whole(from, to, &options).await;
        copied.map_err(|fault| Error::new("copy", format_args!("{from} to {to}"), fault))
    }

    async fn copy_whole(&self, from: &Place, to: &Place, options: &CreateOptions) -> Result<Attributes, Fault> {
        let (source, inline) = self.look(from).await?;
        if let Some(content) = inline
            && content.len() as u64 <= self.defaults().inline_max.get()
        {
            return crate::writer::put_inline(self, to, content, options).await;
        }
        let create = v1::Create {
            ownership: Some(wire::file_ownership(&self.0.config.user, options)),
            layout: Some(wire::layout(options)),
            meant_for: Some(v1::Aim { kind: Some(v1::aim::Kind::Place(wire::place(to))) }),
            ..Default::default()
        };
        let (created, session) = match self.0.metadata.call(Op::Create(create), Scope::Update).await? {
            (v1::reply::Result::Created(created), session) => (created, session),
            (other, _) => return Err(Metadata::unexpected(&other)),
        };
        let target = wire::attributes(created.attributes.ok_or_else(|| broken("a new file has no attributes"))?)?;
        let range = (0, source.length.get());
        let copied = async {
            self.clone_steps(from, range, &target.inode.into(), 0, ContentOptions::default()).await?;
            let complete = v1::Complete {
                inode: target.inode.get(),
                last: None,
                publish: Some(wire::destination(to, options)),
                mtime: options.mtime.map(Timestamp::signed_nanos),
            };
            self.0.metadata.attributes(Op::Complete(complete), Scope::Lease(session)).await
        };
        let copied = copied.await;
        if copied.is_err() {
            let abandon = Op::Abandon(v1::Abandon { inode: target.inode.get() });
            if let Err(fault) = self.0.metadata.call(abandon, Scope::Lease(session)).await {
                tracing::debug!(inode = %target.inode, %fault, "a copy was not given up in order; it goes with the session");
            }
        }
        copied
    }

    async fn clone_steps(
        &self,
        from: &Place,
        (offset, length): (u64, u64),
        to: &Place,
        to_offset: u64,
        options: ContentOptions,
    ) -> Result<Attributes, Fault> {
        let (source, inline) = self.look(from).await?;
        // Said where to stop: a file that is cloned onto its own end grows from step to step.
        let end = offset.saturating_add(length).min(source.length.get());
        let length = end.saturating_sub(offset);
        let op = |next: Option<u64>| {
            let done = next.unwrap_or(to_offset) - to_offset;
            Op::CloneRange(v1::CloneRange {
                from: Some(wire::place(from)),
                offset: offset + done,
                length: length - done,
                to: Some(wire::place(to)),
                to_offset: to_offset + done,
                terms: Some(terms(options)),
            })
        };
        match inline {
            Some(content) if length > 0 => {
                let content = content.slice(offset as usize..end as usize);
                let written = self.put_in(to, Position::At(to_offset), content, options).await?;
                Ok(written.attributes)
            }
            Some(_) | None => Ok(self.in_steps(to, options, op).await?.attributes),
        }
    }

    /// Repeats an operation until it says that it is done. What is stored inline in its way becomes a block.
    async fn in_steps(
        &self,
        at: &Place,
        options: ContentOptions,
        op: impl Fn(Option<u64>) -> Op,
    ) -> Result<Written, Fault> {
        let mut next = None;
        let mut attempts = 0;
        loop {
            match self.written(op(next), Scope::Update).await {
                Ok((written, None)) => return Ok(written),
                Ok((_, more)) => next = more,
                Err(fault) if fault.code() == Code::StoredOtherwise && attempts < ATTEMPTS => {
                    attempts += 1;
                    self.convert(at, options).await?;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn put_in(
        &self,
        at: &Place,
        position: Position,
        data: Bytes,
        options: ContentOptions,
    ) -> Result<Written, Fault> {
        let (file, inline) = self.look(at).await?;
        let (offset, append) = match position {
            Position::At(offset) => (offset, false),
            Position::End => (0, true),
        };
        if data.is_empty() {
            let offset = if append { file.length.get() } else { offset };
            return Ok(Written { attributes: file, offset });
        }
        let may_be_inline = inline.is_some() || file.length == ByteSize::ZERO;
        if may_be_inline && data.len() as u64 <= self.defaults().inline_max.get() {
            let edit = Edit::Bytes { offset, content: data.clone() };
            match self.try_commit(at, &[], &[edit], append, None, options).await {
                Err(fault) if matches!(fault.code(), Code::StoredOtherwise | Code::TooLarge) => {}
                done => return done,
            }
        }
        let (blocks, edits) = self.store_pieces(&file, offset, data, options).await?;
        self.commit_blocks(at, blocks, &edits, append, options).await
    }

    /// Commits edits; a file that lives with its inode, where they bring blocks, is turned into blocks before.
    async fn commit_blocks(
        &self,
        at: &Place,
        blocks: Vec<StoredBlock>,
        edits: &[Edit],
        append: bool,
        options: ContentOptions,
    ) -> Result<Written, Fault> {
        for _ in 0..ATTEMPTS {
            match self.try_commit(at, &blocks, edits, append, None, options).await {
                Err(fault) if fault.code() == Code::StoredOtherwise && !blocks.is_empty() => {
                    self.convert(at, options).await?;
                }
                Err(fault) => return Err(fault),
                Ok(written) => {
                    blocks.into_iter().for_each(|block| block.taken.used());
                    return Ok(written);
                }
            }
        }
        Err(unsettled())
    }

    /// Stores data as blocks that the file may have, to be put at `offset`.
    async fn store_pieces(
        &self,
        file: &Attributes,
        offset: u64,
        mut data: Bytes,
        options: ContentOptions,
    ) -> Result<(Vec<StoredBlock>, Vec<Edit>), Fault> {
        let longest = usize::try_from(file.block_size.min(MAX_BLOCK).get().max(1)).unwrap_or(usize::MAX);
        let (mut blocks, mut edits) = (Vec::new(), Vec::new());
        let mut offset = offset;
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(longest));
            let length = piece.len() as u64;
            edits.push(Edit::Block { offset, length, block: blocks.len(), block_offset: 0 });
            blocks.push(store(self, piece, file.copies(), level(self, options.durability)).await?);
            offset = offset.saturating_add(length);
        }
        Ok((blocks, edits))
    }

    /// Turns what a file holds inline into blocks, unless it holds something else by then.
    async fn convert(&self, at: &Place, options: ContentOptions) -> Result<(), Fault> {
        let (file, inline) = self.look(at).await?;
        let Some(content) = inline.filter(|content| !content.is_empty()) else { return Ok(()) };
        let (blocks, edits) = self.store_pieces(&file, 0, content.clone(), options).await?;
        let kept = ContentOptions { mtime: Some(file.mtime), ..options };
        match self.try_commit(at, &blocks, &edits, false, Some(content), kept).await {
            Ok(_) => {
                blocks.into_iter().for_each(|block| block.taken.used());
                Ok(())
            }
            // It was changed meanwhile: the caller looks again.
            Err(fault) if fault.code() == Code::StoredOtherwise => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// The attributes of a file, and its content if that lives with the inode.
    async fn look(&self, at: &Place) -> Result<(Attributes, Option<Bytes>), Fault> {
        let open = v1::Open { place: Some(wire::place(at)), offset: 0, length: 0, reader: None };
        match self.0.metadata.call(Op::Open(open), Scope::Read).await {
            Ok((v1::reply::Result::Opened(opened), _)) => {
                let attributes = opened.attributes.ok_or_else(|| broken("an open file has no attributes"))?;
                Ok((wire::attributes(attributes)?, opened.inline.map(Bytes::from)))
            }
            Ok((other, _)) => Err(Metadata::unexpected(&other)),
            // Who may write but not read cannot be told what is there, and needs not be while it is in blocks.
            Err(fault) if fault.code() == Code::Denied => {
                let stat = Op::Stat(v1::Stat { place: Some(wire::place(at)) });
                let attributes = self.0.metadata.attributes(stat, Scope::Read).await?;
                match attributes.kind {
                    Kind::File => Ok((attributes, None)),
                    _ => Err(fault),
                }
            }
            Err(fault) => Err(fault),
        }
    }

    async fn try_commit(
        &self,
        at: &Place,
        blocks: &[StoredBlock],
        edits: &[Edit],
        append: bool,
        inline: Option<Bytes>,
        options: ContentOptions,
    ) -> Result<Written, Fault> {
        let scope = match blocks {
            [] => Scope::Update,
            [first, rest @ ..] if rest.iter().all(|block| block.taken.session == first.taken.session) => {
                Scope::Lease(first.taken.session)
            }
            [..] => return Err(Fault::SessionLost),
        };
        let write = v1::WriteExtents {
            place: Some(wire::place(at)),
            blocks: blocks.iter().map(StoredBlock::done).collect(),
            edits: edits.iter().map(|edit| wire_edit(edit, blocks)).collect::<Result<_, _>>()?,
            append,
            terms: Some(terms(options)),
            inline: inline.map(Vec::from),
        };
        self.written(Op::WriteExtents(write), scope).await.map(|(written, _)| written)
    }

    async fn written(&self, op: Op, scope: Scope) -> Result<(Written, Option<u64>), Fault> {
        match self.0.metadata.call(op, scope).await?.0 {
            v1::reply::Result::Written(v1::Written { attributes, offset, next }) => {
                let attributes =
                    wire::attributes(attributes.ok_or_else(|| broken("a written file has no attributes"))?)?;
                Ok((Written { attributes, offset }, next))
            }
            other => Err(Metadata::unexpected(&other)),
        }
    }
}

fn wire_edit(edit: &Edit, blocks: &[StoredBlock]) -> Result<v1::Edit, Fault> {
    Ok(match edit {
        Edit::Block { offset, length, block, block_offset } => {
            let stored = blocks.get(*block).ok_or_else(|| {
                Fault::Configuration(format!("an edit names block {block}, and {} come with it", blocks.len()))
            })?;
            let block = Some(stored.id().into());
            v1::Edit { offset: *offset, length: *length, block, block_offset: *block_offset, content: Vec::new() }
        }
        Edit::Bytes { offset, content } => {
            v1::Edit { offset: *offset, content: content.to_vec(), ..Default::default() }
        }
    })
}

fn terms(options: ContentOptions) -> v1::ContentTerms {
    v1::ContentTerms { mtime: options.mtime.map(Timestamp::signed_nanos), clear_suid: options.clear_suid }
}

fn extent_map(wire: v1::ExtentMap) -> Result<ExtentMap, Fault> {
    let attributes = wire::attributes(wire.attributes.ok_or_else(|| broken("a map has no attributes"))?)?;
    let mut end = 0;
    let mut data = Vec::with_capacity(wire.data.len());
    for v1::DataRange { offset, length } in wire.data {
        let next = offset.checked_add(length).filter(|_| offset >= end && length > 0);
        end = next.ok_or_else(|| broken("the ranges of a map are out of order"))?;
        data.push((offset, length));
    }
    // A page that is empty and promises more would be asked for again and again.
    let more = wire.more && !data.is_empty();
    Ok(ExtentMap { attributes, data, count: wire.count, more })
}

fn broken(problem: &str) -> Fault {
    Fault::Protocol { peer: "the namenode".to_owned(), problem: problem.to_owned() }
}

fn unsettled() -> Fault {
    let message = "others change it again and again; write it when it is quieter".to_owned();
    Fault::Refused { code: Code::Busy, message }
}
