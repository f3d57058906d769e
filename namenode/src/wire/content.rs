//! Operations on what files contain, as the wire has them.

use namespace::command::{Command, ContentTerms, Edit};
use proto::{WireError, v1};
use types::{BlockOffset, ByteSize, Code, Timestamp};

use super::{
    Asked, PAGE, Query, Refused, Targets, block_done, destination, few, layout, ownership, place, replication,
    spread_rule, wrong,
};
use crate::settings::Settings;

/// Blocks, edits or files that one message may name. What makes sense of them is decided with the rest.
const MANY: usize = 10_000;
/// No file is longer inline, whatever the settings are now.
const INLINE: usize = 64 << 10;

pub(super) fn allocate(allocate: v1::AllocateBlocks, settings: &Settings) -> Result<Asked, WireError> {
    let count = allocate.count as usize;
    if count > MANY {
        return Err(wrong("AllocateBlocks.count", "is too much"));
    }
    let wanted = match allocate.replication {
        0 => settings.replication,
        count => replication(count, "AllocateBlocks.replication")?,
    };
    let exclude = few(allocate.exclude, "AllocateBlocks.exclude")?;
    let spread = spread_rule(allocate.spread, "AllocateBlocks.spread")?;
    let command = Command::AllocateBlocks { wanted, targets: vec![Vec::new(); count] };
    Ok(Asked::Command(command, Some(Targets { exclude, client_host: allocate.client_host, spread })))
}

pub(super) fn release(release: v1::ReleaseBlocks) -> Result<Command, WireError> {
    check(release.blocks.len(), "ReleaseBlocks.blocks")?;
    let block = |wire| proto::block_id(Some(wire), "ReleaseBlocks.blocks");
    Ok(Command::ReleaseBlocks { blocks: release.blocks.into_iter().map(block).collect::<Result<_, _>>()? })
}

pub(super) fn write(write: v1::WriteExtents, settings: &Settings) -> Result<Command, Refused> {
    check(write.blocks.len(), "WriteExtents.blocks")?;
    check(write.edits.len(), "WriteExtents.edits")?;
    if write.inline.as_ref().is_some_and(|inline| inline.len() > INLINE) {
        return Err(wrong("WriteExtents.inline", "is longer than any file is inline").into());
    }
    let bytes: u64 = write.edits.iter().map(|edit| edit.content.len() as u64).sum();
    if bytes > settings.inline_max.get() {
        let limit = settings.inline_max;
        let message = format!("{bytes} bytes are too many for the metadata, which takes {limit}; write blocks");
        return Err(Refused { code: Code::TooLarge, message });
    }
    let block = |wire| block_done(wire, "WriteExtents.blocks");
    Ok(Command::WriteExtents {
        place: place(write.place, "WriteExtents.place")?,
        blocks: write.blocks.into_iter().map(block).collect::<Result<_, _>>()?,
        edits: write.edits.into_iter().map(edit).collect::<Result<_, _>>()?,
        append: write.append,
        min_replicas: settings.min_replicas,
        terms: terms(write.terms, settings),
        inline: write.inline,
    })
}

fn edit(wire: v1::Edit) -> Result<Edit, WireError> {
    let v1::Edit { offset, length, block, block_offset, content } = wire;
    match block {
        None if length == 0 && block_offset == 0 => Ok(Edit::Bytes { offset, content }),
        Some(_) if content.is_empty() => Ok(Edit::Block {
            offset,
            length: ByteSize::new(length),
            block: proto::block_id(block, "Edit.block")?,
            block_offset: BlockOffset::new(block_offset),
        }),
        None | Some(_) => Err(wrong("Edit.content", "stands beside a piece of a block")),
    }
}

pub(super) fn truncate(truncate: v1::Truncate, settings: &Settings) -> Result<Command, WireError> {
    let (length, terms) = (truncate.length, terms(truncate.terms, settings));
    Ok(Command::Truncate { place: place(truncate.place, "Truncate.place")?, length, terms })
}

pub(super) fn punch(punch: v1::Punch, settings: &Settings) -> Result<Command, WireError> {
    let (offset, length, terms) = (punch.offset, punch.length, terms(punch.terms, settings));
    Ok(Command::Punch { place: place(punch.place, "Punch.place")?, offset, length, terms })
}

pub(super) fn clone_range(clone: v1::CloneRange, settings: &Settings) -> Result<Command, WireError> {
    Ok(Command::CloneRange {
        from: place(clone.from, "CloneRange.from")?,
        offset: clone.offset,
        length: clone.length,
        to: place(clone.to, "CloneRange.to")?,
        to_offset: clone.to_offset,
        terms: terms(clone.terms, settings),
    })
}

pub(super) fn concat(concat: v1::Concat, settings: &Settings) -> Result<Command, WireError> {
    check(concat.from.len(), "Concat.from")?;
    let source = |wire| place(Some(wire), "Concat.from");
    Ok(Command::Concat {
        to: place(concat.to, "Concat.to")?,
        from: concat.from.into_iter().map(source).collect::<Result<_, _>>()?,
        terms: terms(concat.terms, settings),
    })
}

pub(super) fn put(put: v1::PutBlocks, settings: &Settings) -> Result<Command, WireError> {
    check(put.blocks.len(), "PutBlocks.blocks")?;
    let wire = put.destination.ok_or(wrong("PutBlocks.destination", "is missing"))?;
    let block = |wire| block_done(wire, "PutBlocks.blocks");
    Ok(Command::PutBlocks {
        destination: destination(wire, "PutBlocks.destination")?,
        ownership: ownership(put.ownership)?,
        layout: layout(put.layout, settings)?,
        blocks: put.blocks.into_iter().map(block).collect::<Result<_, _>>()?,
        min_replicas: settings.min_replicas,
        mtime: put.mtime.map(Timestamp::from_signed_nanos),
    })
}

pub(super) fn extents(extents: v1::Extents) -> Result<Query, WireError> {
    let limit = if extents.limit == 0 { PAGE } else { extents.limit.min(PAGE) };
    let place = place(extents.place, "Extents.place")?;
    Ok(Query::Extents { place, offset: extents.offset, limit: limit as usize })
}

fn terms(wire: Option<v1::ContentTerms>, settings: &Settings) -> ContentTerms {
    let v1::ContentTerms { mtime, clear_suid } = wire.unwrap_or_default();
    ContentTerms {
        mtime: mtime.map(Timestamp::from_signed_nanos),
        clear_suid,
        grace_nanos: u64::try_from(settings.delete_grace.as_nanos()).unwrap_or(u64::MAX),
        inline_max: settings.inline_max,
    }
}

fn check(count: usize, field: &'static str) -> Result<(), WireError> {
    if count > MANY { Err(wrong(field, "names too many")) } else { Ok(()) }
}

/// About how many bytes such a command has in the log.
pub(crate) fn size(command: &Command) -> Option<usize> {
    /// Of a block and its replicas, or of an edit without its bytes.
    const ITEM: usize = 100;
    match command {
        Command::AllocateBlocks { targets, .. } => Some(targets.iter().map(|chain| ITEM * chain.len()).sum()),
        Command::ReleaseBlocks { blocks } => Some(ITEM * blocks.len()),
        Command::WriteExtents { blocks, edits, inline, .. } => {
            let bytes = edits.iter().map(|edit| match edit {
                Edit::Block { .. } => ITEM,
                Edit::Bytes { content, .. } => ITEM + content.len(),
            });
            Some(ITEM * blocks.len() + bytes.sum::<usize>() + inline.as_ref().map_or(0, Vec::len))
        }
        Command::Concat { from, .. } => Some(from.iter().map(|place| ITEM + place.path.len()).sum()),
        Command::PutBlocks { blocks, .. } => Some(ITEM * blocks.len()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use v1::op::Kind;

    use super::*;

    #[test]
    fn rubbish_about_content_is_refused_and_what_only_the_leader_knows_is_filled_in() {
        let settings = Settings::default();
        let asked = |kind| super::super::asked(Some(kind), &settings);
        let place = || Some(v1::Where { base: 9, path: Vec::new() });
        let block = || Some(v1::BlockId { inode: 5, number: 1 });
        let refused = |kind| asked(kind).map_err(|refused| refused.code);
        let write = |edits| {
            Kind::WriteExtents(v1::WriteExtents {
                place: place(),
                blocks: vec![],
                edits,
                append: false,
                terms: None,
                inline: None,
            })
        };
        let both = v1::Edit { block: block(), content: b"x".to_vec(), ..Default::default() };
        assert_eq!(refused(write(vec![both])), Err(Code::InvalidArgument));
        let neither = v1::Edit { length: 5, content: b"x".to_vec(), ..Default::default() };
        assert_eq!(refused(write(vec![neither])), Err(Code::InvalidArgument));
        let long = v1::Edit { content: vec![0; (16 << 10) + 1], ..Default::default() };
        assert_eq!(refused(write(vec![long])), Err(Code::TooLarge));
        assert_eq!(refused(write(vec![v1::Edit::default(); MANY + 1])), Err(Code::InvalidArgument));
        let allocate =
            |count, replication| Kind::AllocateBlocks(v1::AllocateBlocks { count, replication, ..Default::default() });
        assert_eq!(refused(allocate(u32::MAX, 3)), Err(Code::InvalidArgument));
        assert_eq!(refused(allocate(1, 256)), Err(Code::InvalidArgument));
        let unknown = v1::AllocateBlocks { count: 1, spread: 9, ..Default::default() };
        assert_eq!(refused(Kind::AllocateBlocks(unknown)), Err(Code::InvalidArgument));
        let Ok(Asked::Command(Command::AllocateBlocks { wanted: 3, targets }, Some(_))) = asked(allocate(2, 0)) else {
            panic!("must be taken");
        };
        assert_eq!(targets.len(), 2);
        let no_place = v1::Truncate { place: None, length: 1, terms: None };
        assert_eq!(refused(Kind::Truncate(no_place)), Err(Code::InvalidArgument));
        let release = v1::ReleaseBlocks { blocks: vec![v1::BlockId { inode: 0, number: 1 }] };
        assert_eq!(refused(Kind::ReleaseBlocks(release)), Err(Code::InvalidArgument));
        let truncate = v1::Truncate { place: place(), length: 1, terms: None };
        let Ok(Asked::Command(Command::Truncate { terms, .. }, None)) = asked(Kind::Truncate(truncate)) else {
            panic!("must be taken");
        };
        assert_eq!((terms.inline_max, terms.grace_nanos), (settings.inline_max, 600_000_000_000));
    }
}
