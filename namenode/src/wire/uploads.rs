//! Multipart uploads, between RPC messages and what the state machine speaks.

use namespace::command::{Command, Completion, NewPart, PartContent, PartName, Source, UploadName};
use namespace::query::{MAX_UPLOADS, Part, Parts, Upload, UploadItem, UploadPage};
use proto::{WireError, v1};
use types::{ByteSize, InodeId, Timestamp};

use super::keys::{condition, kept, key, label, too_long};
use super::{MAX_XATTR, Query, Refused, block_done, inode, layout, ownership, wrong};
use crate::settings::Settings;

type Answer = v1::reply::Result;

/// Parts of one object.
const MAX_PARTS: usize = 10_000;
/// Of what is kept about the parts of an object.
const MAX_PART_LIST: usize = 1 << 20;

pub(super) fn create(wire: v1::CreateUpload) -> Result<Command, Refused> {
    if wire.properties.len() > MAX_XATTR {
        return Err(too_long());
    }
    Ok(Command::CreateUpload {
        bucket: label(wire.bucket, "CreateUpload.bucket")?,
        key: key(wire.key, "CreateUpload.key")?,
        properties: wire.properties,
    })
}

fn name(wire: Option<v1::UploadName>) -> Result<UploadName, WireError> {
    let wire = wire.ok_or(wrong("UploadName", "is missing"))?;
    Ok(UploadName {
        bucket: label(wire.bucket, "UploadName.bucket")?,
        key: key(wire.key, "UploadName.key")?,
        id: inode(wire.id, "UploadName.id")?,
    })
}

fn number(number: u32) -> Result<u16, WireError> {
    u16::try_from(number).map_err(|_| wrong("a part's number", "is out of range"))
}

pub(super) fn source(wire: Option<v1::Source>) -> Result<Source, WireError> {
    let wire = wire.ok_or(wrong("Source", "is missing"))?;
    Ok(Source {
        bucket: label(wire.bucket, "Source.bucket")?,
        key: key(wire.key, "Source.key")?,
        inode: inode(wire.inode, "Source.inode")?,
        etag: label(wire.etag, "Source.etag")?,
    })
}

pub(super) fn put_part(wire: v1::PutPart, settings: &Settings) -> Result<Command, Refused> {
    use v1::put_part::Content;
    if wire.properties.len() > MAX_XATTR {
        return Err(too_long());
    }
    let content = match wire.content.ok_or(wrong("PutPart.content", "is missing"))? {
        Content::Written(complete) => PartContent::Written {
            inode: inode(complete.inode, "PutPart.written")?,
            last: complete.last.map(|wire| block_done(wire, "PutPart.written")).transpose()?,
            min_replicas: settings.min_replicas,
        },
        Content::Shared(v1::put_part::Range { source: from, offset, length, replication }) => {
            let wanted = v1::Layout { replication, block_size: 0 };
            let replication = layout(Some(wanted), settings)?.replication;
            PartContent::Shared { source: source(from)?, offset, length, replication, spread: None }
        }
    };
    let part = NewPart { content, etag: label(wire.etag, "PutPart.etag")?, properties: wire.properties };
    Ok(Command::PutPart { upload: name(wire.upload)?, number: number(wire.number)?, part })
}

pub(super) fn complete(wire: v1::CompleteUpload, settings: &Settings) -> Result<Command, Refused> {
    if wire.parts.len() > MAX_PARTS {
        return Err(wrong("CompleteUpload.parts", "names more than 10000").into());
    }
    if wire.part_list.len() > MAX_PART_LIST {
        return Err(too_long());
    }
    let part =
        |part: v1::PartName| Ok(PartName { number: number(part.number)?, inode: inode(part.inode, "PartName.inode")? });
    let completion = Completion {
        upload: name(wire.upload)?,
        parts: wire.parts.into_iter().map(part).collect::<Result<_, WireError>>()?,
        ownership: ownership(wire.ownership)?,
        layout: layout(wire.layout, settings)?,
        etag: label(wire.etag, "CompleteUpload.etag")?,
        attributes: kept(&wire.properties, wire.attributes)?,
        properties: wire.properties,
        condition: wire.condition.map(condition).transpose()?,
        part_list: wire.part_list,
    };
    Ok(Command::CompleteUpload { completion })
}

pub(super) fn abort(wire: v1::AbortUpload) -> Result<Command, WireError> {
    Ok(Command::AbortUpload { upload: name(wire.upload)? })
}

pub(super) fn find(wire: v1::FindUploads) -> Result<Query, WireError> {
    use v1::find_uploads::Kind;
    Ok(match wire.kind.ok_or(wrong("FindUploads.kind", "is missing"))? {
        Kind::Uploads(wire) => Query::Uploads {
            bucket: label(wire.bucket, "UploadQuery.bucket")?,
            prefix: key(wire.prefix, "UploadQuery.prefix")?,
            delimiter: key(wire.delimiter, "UploadQuery.delimiter")?,
            after: key(wire.after, "UploadQuery.after")?,
            after_id: Some(wire.after_id).filter(|id| *id != 0).map(InodeId::new),
            max: (wire.max as usize).min(MAX_UPLOADS),
        },
        Kind::Parts(wire) => Query::Parts {
            upload: name(wire.upload)?,
            after: number(wire.after)?,
            max: (wire.max as usize).min(MAX_UPLOADS),
        },
    })
}

pub(super) fn begun(id: InodeId, initiated: Timestamp) -> Answer {
    Answer::Upload(v1::Upload { id: id.get(), initiated: initiated.nanos(), ..Default::default() })
}

pub(super) fn stored(inode: InodeId, length: ByteSize, modified: Timestamp) -> Answer {
    let (inode, length, modified) = (inode.get(), length.get(), modified.nanos());
    Answer::Part(v1::Part { inode, length, modified, ..Default::default() })
}

fn upload(upload: Upload) -> v1::Upload {
    let Upload { key, id, initiated, uid, gid, properties } = upload;
    v1::Upload { id: id.get(), initiated: initiated.nanos(), key, uid, gid, properties }
}

pub(crate) fn uploads(page: UploadPage) -> Answer {
    use v1::upload_item::Kind;
    let item = |item| {
        let kind = match item {
            UploadItem::Upload(found) => Kind::Upload(upload(found)),
            UploadItem::Prefix(prefix) => Kind::Prefix(prefix),
        };
        v1::UploadItem { kind: Some(kind) }
    };
    let items = page.items.into_iter().map(item).collect();
    Answer::FoundUploads(v1::FoundUploads { items, more: page.more, ..Default::default() })
}

pub(crate) fn parts(found: Parts) -> Answer {
    let part = |part: Part| {
        let Part { number, inode, length, modified, etag, properties } = part;
        let (inode, length, modified) = (inode.get(), length.get(), modified.nanos());
        v1::Part { number: number.into(), inode, length, modified, etag, properties }
    };
    Answer::FoundUploads(v1::FoundUploads {
        items: Vec::new(),
        upload: Some(upload(found.upload)),
        parts: found.parts.into_iter().map(part).collect(),
        more: found.more,
    })
}

#[cfg(test)]
mod tests {
    use types::Code;

    use super::*;

    #[test]
    fn rubbish_about_uploads_is_refused_before_the_log() {
        let settings = Settings::default();
        let named = || Some(v1::UploadName { bucket: "b".to_owned(), key: b"k".to_vec(), id: 9 });
        let long = v1::CreateUpload { properties: vec![0; MAX_XATTR + 1], ..Default::default() };
        assert_eq!(create(long).expect_err("too long").code, Code::TooLarge);
        assert!(abort(v1::AbortUpload { upload: None }).is_err());
        let nothing = v1::UploadName { id: 0, ..named().expect("some") };
        assert!(abort(v1::AbortUpload { upload: Some(nothing) }).is_err());
        assert!(abort(v1::AbortUpload { upload: named() }).is_ok());
        let written = |number| v1::PutPart {
            upload: named(),
            number,
            content: Some(v1::put_part::Content::Written(v1::Complete { inode: 5, ..Default::default() })),
            ..Default::default()
        };
        assert!(put_part(written(1), &settings).is_ok());
        assert!(put_part(written(70_000), &settings).is_err());
        assert!(put_part(v1::PutPart { content: None, ..written(1) }, &settings).is_err());
        let shared = v1::put_part::Content::Shared(v1::put_part::Range::default());
        assert!(put_part(v1::PutPart { content: Some(shared), ..written(1) }, &settings).is_err());
        let whole = |parts, part_list| v1::CompleteUpload {
            upload: named(),
            parts: vec![v1::PartName { number: 1, inode: 1 }; parts],
            ownership: Some(v1::Ownership::default()),
            part_list: vec![0; part_list],
            ..Default::default()
        };
        assert!(complete(whole(MAX_PARTS, 0), &settings).is_ok());
        assert!(complete(whole(MAX_PARTS + 1, 0), &settings).is_err());
        assert_eq!(complete(whole(1, MAX_PART_LIST + 1), &settings).expect_err("long").code, Code::TooLarge);
        assert!(find(v1::FindUploads { kind: None }).is_err());
    }
}
