//! What a new file has from the directories above it (module `namespace::directory_policy`): where an operation leaves the
//! number of replicas open, and how they are spread.

use namespace::command::{Command, Content, NewPart, PartContent};
use namespace::directory_policy::{Aim, DirectoryPolicy};
use namespace::placement;
use proto::v1;
use proto::v1::op::Kind;

use super::place;

/// Where the file is to be that an operation makes, if it makes one and that makes sense. What does not is refused with the
/// operation.
pub(crate) fn aim(kind: &Kind) -> Option<Aim> {
    let at = |wire: Option<&v1::Where>| Some(Aim::Place(place(wire.cloned(), "place").ok()?));
    let to = |wire: Option<&v1::Destination>| at(wire?.place.as_ref());
    let key = |bucket: &str, key: &[u8]| Some(Aim::Key { bucket: bucket.to_owned(), key: key.to_vec() });
    let upload = |wire: Option<&v1::UploadName>| wire.and_then(|name| key(&name.bucket, &name.key));
    match kind {
        Kind::Create(v1::Create { destination: Some(destination), .. }) => to(Some(destination)),
        Kind::Create(create) => match create.meant_for.as_ref()?.kind.as_ref()? {
            v1::aim::Kind::Place(place) => at(Some(place)),
            v1::aim::Kind::Object(object) => key(&object.bucket, &object.key),
        },
        Kind::PutInline(put) => to(put.destination.as_ref()),
        Kind::PutBlocks(put) => to(put.destination.as_ref()),
        Kind::OpenHandle(open) if open.create.is_some() => at(open.place.as_ref()),
        Kind::Publish(publish) => key(&publish.bucket, &publish.key),
        Kind::PutPart(put) => upload(put.upload.as_ref()),
        Kind::CompleteUpload(complete) => upload(complete.upload.as_ref()),
        _ => None,
    }
}

/// Whether an operation makes a file that gets its name later.
pub(crate) const fn is_nameless(kind: Option<&Kind>) -> bool {
    matches!(kind, Some(Kind::Create(v1::Create { destination: None, .. })))
}

/// Has an operation ask for the number of replicas that its file inherits, unless it asks for one itself.
pub(crate) fn inherit(kind: &mut Kind, inherited: DirectoryPolicy) {
    use v1::publish::Content as Published;
    use v1::put_part::Content as Part;
    let layout = match kind {
        Kind::Create(create) => &mut create.layout,
        Kind::PutInline(put) => &mut put.layout,
        Kind::PutBlocks(put) => &mut put.layout,
        Kind::OpenHandle(v1::OpenHandle { create: Some(create), .. }) => &mut create.layout,
        Kind::Publish(v1::Publish { content: Some(Published::Inline(put)), .. }) => &mut put.layout,
        Kind::Publish(v1::Publish { content: Some(Published::Copied(copy)), .. }) => &mut copy.layout,
        Kind::CompleteUpload(complete) => &mut complete.layout,
        Kind::PutPart(v1::PutPart { content: Some(Part::Shared(range)), .. }) => {
            return fill(&mut range.replication, inherited);
        }
        _ => return,
    };
    fill(&mut layout.get_or_insert_default().replication, inherited);
}

fn fill(replication: &mut u32, inherited: DirectoryPolicy) {
    if let (0, Some(count)) = (*replication, inherited.replication) {
        *replication = count.into();
    }
}

/// Has the file that a command makes spread as it inherits.
pub(crate) fn spread(command: &mut Command, rule: Option<placement::Policy>) {
    match command {
        Command::Create { layout, .. } | Command::PutInline { layout, .. } | Command::PutBlocks { layout, .. } => {
            layout.spread = rule;
        }
        Command::OpenHandle { create: Some(create), .. } => create.layout.spread = rule,
        Command::Publish { publication } => match &mut publication.content {
            Content::Inline { layout, .. } | Content::Copied { layout, .. } => layout.spread = rule,
            Content::Written { .. } | Content::Directory { .. } => {}
        },
        Command::CompleteUpload { completion } => completion.layout.spread = rule,
        Command::PutPart { part: NewPart { content: PartContent::Shared { spread, .. }, .. }, .. } => *spread = rule,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Asked, asked};
    use super::*;
    use crate::settings::Settings;

    fn destination(path: &str) -> Option<v1::Destination> {
        let place = v1::Where { base: 0, path: path.into() };
        Some(v1::Destination { place: Some(place), overwrite: false, parents: false })
    }

    fn layout_of(mut kind: Kind) -> namespace::command::Layout {
        let rule = Some(placement::Policy::Spread);
        inherit(&mut kind, DirectoryPolicy { replication: Some(2), spread: rule });
        let Ok(Asked::Command(mut command, _)) = asked(Some(kind), &Settings::default()) else { panic!("is taken") };
        spread(&mut command, rule);
        match command {
            Command::Create { layout, .. } | Command::PutInline { layout, .. } | Command::PutBlocks { layout, .. } => {
                layout
            }
            Command::OpenHandle { create, .. } => create.expect("makes one").layout,
            Command::CompleteUpload { completion } => completion.layout,
            Command::PutPart { part, .. } => match part.content {
                PartContent::Shared { replication, spread, .. } => {
                    namespace::command::Layout { replication, spread, block_size: types::ByteSize::ZERO }
                }
                PartContent::Written { .. } => panic!("shared"),
            },
            Command::Publish { publication } => match publication.content {
                Content::Inline { layout, .. } | Content::Copied { layout, .. } => layout,
                Content::Written { .. } | Content::Directory { .. } => panic!("a new file"),
            },
            other => panic!("makes no file: {other:?}"),
        }
    }

    #[test]
    fn whatever_makes_a_file_inherits_and_what_it_asks_for_itself_goes_over_it() {
        let ownership = || Some(v1::Ownership { mode: 0o644, ..Default::default() });
        let upload = || Some(v1::UploadName { bucket: "bucket".to_owned(), key: b"a/k".to_vec(), id: 7 });
        let source = v1::Source { bucket: "bucket".to_owned(), key: b"s".to_vec(), inode: 5, etag: "e".to_owned() };
        let (bucket, key) = ("bucket".to_owned(), b"a/k".to_vec());
        let asks = |replication| Some(v1::Layout { replication, block_size: 0 });
        let meant = v1::aim::Kind::Object(v1::ObjectName { bucket: bucket.clone(), key: key.clone() });
        let meant_for = Some(v1::Aim { kind: Some(meant) });
        let create = v1::Create { ownership: ownership(), meant_for, ..Default::default() };
        let put = v1::PutInline { destination: destination("/a/f"), ownership: ownership(), ..Default::default() };
        let copy = v1::CopyOf { ownership: ownership(), source: Some(source.clone()), ..Default::default() };
        let open = v1::OpenHandle {
            place: Some(v1::Where { base: 0, path: b"/a/f".to_vec() }),
            create: Some(v1::NewOpenFile { ownership: ownership(), ..Default::default() }),
            ..Default::default()
        };
        let whole = v1::PutBlocks { destination: destination("/a/f"), ownership: ownership(), ..Default::default() };
        let object = |content| v1::Publish {
            bucket: bucket.clone(),
            key: key.clone(),
            content: Some(content),
            ..Default::default()
        };
        let completion = v1::CompleteUpload { upload: upload(), ownership: ownership(), ..Default::default() };
        let range = v1::put_part::Range { source: Some(source), ..Default::default() };
        let part = v1::PutPart {
            upload: upload(),
            number: 1,
            content: Some(v1::put_part::Content::Shared(range)),
            ..Default::default()
        };
        let kinds = [
            Kind::Create(create.clone()),
            Kind::Create(v1::Create { destination: destination("/a/f"), ..create }),
            Kind::PutInline(put.clone()),
            Kind::PutBlocks(whole),
            Kind::OpenHandle(open),
            Kind::Publish(object(v1::publish::Content::Inline(put.clone()))),
            Kind::Publish(object(v1::publish::Content::Copied(copy))),
            Kind::CompleteUpload(completion),
            Kind::PutPart(part),
        ];
        for kind in kinds {
            assert!(aim(&kind).is_some(), "{kind:?}");
            let layout = layout_of(kind.clone());
            assert_eq!((layout.replication, layout.spread), (2, Some(placement::Policy::Spread)), "{kind:?}");
        }
        let layout = layout_of(Kind::PutInline(v1::PutInline { layout: asks(5), ..put.clone() }));
        assert_eq!((layout.replication, layout.spread), (5, Some(placement::Policy::Spread)));
        let long = v1::Where { base: 0, path: vec![b'/'; 1 << 20] };
        let long = Some(v1::Destination { place: Some(long), overwrite: false, parents: false });
        for nowhere in [None, Some(v1::Destination::default()), long] {
            assert_eq!(aim(&Kind::PutInline(v1::PutInline { destination: nowhere, ..put.clone() })), None);
        }
    }
}
