//! Objects that arrive in parts, and objects that are copied.

use proptest::prelude::*;
use types::Timestamp;

use super::*;
use crate::bucket::Condition;
use crate::command::{
    Completion, Content, NewPart, Ownership, PartContent, PartName, Principal, Publication, Request, Source, UploadName,
};
use crate::query::{Abandoned, UploadItem, UploadQuery};
use crate::row::Quota;

const BUCKET: &str = "bucket";

fn create_bucket(bucket: &str) -> Command {
    let ownership = Ownership { mode: 0o755, ..OWNER };
    Command::CreateBucket { bucket: bucket.to_owned(), place: at(&format!("/{bucket}")), ownership }
}

fn with_bucket() -> (Cluster, SessionId) {
    let mut cluster = Cluster::formatted();
    cluster.run(create_bucket(BUCKET)).expect("made");
    let session = cluster.open_session();
    (cluster, session)
}

fn begin(cluster: &mut Cluster, key: &[u8]) -> UploadName {
    let command = Command::CreateUpload { bucket: BUCKET.to_owned(), key: key.to_vec(), properties: b"said".to_vec() };
    match cluster.run(command) {
        Ok(Reply::Upload { id, .. }) => UploadName { bucket: BUCKET.to_owned(), key: key.to_vec(), id },
        other => panic!("an upload was asked for: {other:?}"),
    }
}

/// A part of one block. Gives what tells the part from others, and its block.
fn put_part(
    cluster: &mut Cluster,
    session: SessionId,
    upload: &UploadName,
    number: u16,
    length: u64,
) -> (PartName, BlockId) {
    let (inode, block) = cluster.create(session, None);
    let content = PartContent::Written { inode, last: Some(done(block.block, length, &[1, 2, 3])), min_replicas: 2 };
    let part = NewPart { content, etag: format!("part-{number}"), properties: b"sum".to_vec() };
    match cluster.by(session, Command::PutPart { upload: upload.clone(), number, part }) {
        Ok(Reply::Part { inode: stored, length: said, .. }) => {
            assert_eq!((stored, said.get()), (inode, length));
            (PartName { number, inode }, block.block)
        }
        other => panic!("a part was put: {other:?}"),
    }
}

fn completion(upload: &UploadName, parts: &[PartName]) -> Completion {
    Completion {
        upload: upload.clone(),
        parts: parts.to_vec(),
        ownership: OWNER,
        layout: LAYOUT,
        etag: "whole-2".to_owned(),
        properties: b"p".to_vec(),
        attributes: Vec::new(),
        condition: None,
        part_list: b"list".to_vec(),
    }
}

fn finish(completion: Completion) -> Command {
    Command::CompleteUpload { completion }
}

fn open(cluster: &Cluster, bucket: &str, key: &[u8]) -> Result<query::OpenedObject, crate::QueryError> {
    query::open_key(&cluster.state, Caller::SYSTEM, bucket, key, 0, u64::MAX, true)
}

/// Where each run of bytes of an object is: its length, the block, and where in it.
fn content(cluster: &Cluster, bucket: &str, key: &[u8]) -> Vec<(u64, BlockId, u64)> {
    match open(cluster, bucket, key).expect("it is there").opened.content {
        query::Content::Blocks { blocks, .. } => {
            blocks.iter().map(|located| (located.length.get(), located.block, located.block_offset.get())).collect()
        }
        query::Content::Inline(_) => panic!("it is of blocks"),
    }
}

fn copy(from: &Source, to: (&str, &[u8]), condition: Option<Condition>) -> Command {
    let content = Content::Copied { ownership: OWNER, layout: LAYOUT, source: from.clone() };
    let (etag, properties, attributes) = (Some("copy".to_owned()), b"q".to_vec(), Vec::new());
    let (bucket, key) = (to.0.to_owned(), to.1.to_vec());
    Command::Publish { publication: Publication { bucket, key, content, etag, properties, attributes, condition } }
}

fn source(cluster: &Cluster, key: &[u8]) -> Source {
    let object = open(cluster, BUCKET, key).expect("it is there");
    let (inode, etag) = (object.opened.attributes.inode, object.etag);
    Source { bucket: BUCKET.to_owned(), key: key.to_vec(), inode, etag }
}

/// An object of two blocks, of 10 and 7 bytes.
fn two_blocks(cluster: &mut Cluster, session: SessionId, key: &[u8]) -> [BlockId; 2] {
    let upload = begin(cluster, key);
    let (one, first) = put_part(cluster, session, &upload, 1, 10);
    let (two, second) = put_part(cluster, session, &upload, 2, 7);
    cluster.run(finish(completion(&upload, &[one, two]))).expect("complete");
    [first, second]
}

#[test]
fn a_completed_upload_holds_the_named_parts_in_their_order_and_the_others_are_freed() {
    let (mut cluster, session) = with_bucket();
    let upload = begin(&mut cluster, b"a/b");
    let (third, block_3) = put_part(&mut cluster, session, &upload, 3, 5);
    let (first, block_1) = put_part(&mut cluster, session, &upload, 1, 10);
    let (_, block_2) = put_part(&mut cluster, session, &upload, 2, 7);
    invariants::check(&cluster.state);
    assert!(!cluster.is_there("/bucket/a"), "nothing is seen of an upload");
    assert_eq!(cluster.stat("/bucket").usage.expect("a directory").raw_bytes, 0);
    assert_eq!(query::blocks(&cluster.state, None, 10).expect("readable").len(), 3);
    let reply = cluster.run(finish(completion(&upload, &[first, third]))).expect("complete");
    let Reply::Object { attributes, etag } = reply else { panic!("{reply:?}") };
    assert_eq!((attributes.inode, attributes.length.get(), etag.as_str()), (upload.id, 15, "whole-2"));
    assert_eq!(content(&cluster, BUCKET, b"a/b"), [(10, block_1, 0), (5, block_3, 0)]);
    let object = open(&cluster, BUCKET, b"a/b").expect("there");
    assert_eq!((object.part_list, object.properties, object.as_given), (b"list".to_vec(), b"p".to_vec(), true));
    let usage = cluster.stat("/bucket").usage.expect("a directory");
    assert_eq!((usage.files, usage.bytes, usage.raw_bytes), (1, 15, 45));
    invariants::check(&cluster.state);
    cluster.collect();
    invariants::check(&cluster.state);
    assert_eq!(query::block(&cluster.state, block_2), Ok(None), "the part that the object does not use is gone");
    cluster.run(delete("/bucket/a/b")).expect("gone");
    cluster.collect();
    assert_eq!(query::blocks(&cluster.state, None, 10), Ok(Vec::new()));
    invariants::check(&cluster.state);
}

#[test]
fn a_complete_done_again_answers_as_before_while_its_object_is_there() {
    let (mut cluster, session) = with_bucket();
    let upload = begin(&mut cluster, b"k");
    let (one, _) = put_part(&mut cluster, session, &upload, 1, 10);
    let condition = Some(Condition::Absent);
    let completion = Completion { condition, ..completion(&upload, &[one]) };
    let reply = cluster.run(finish(completion.clone()));
    assert!(reply.is_ok(), "{reply:?}");
    let before = cluster.state.clone();
    assert_eq!(cluster.run(finish(completion.clone())), reply);
    let other = Completion { etag: "other-1".to_owned(), ..completion.clone() };
    assert_eq!(code(cluster.run(finish(other))), Code::NoSuchUpload);
    assert_eq!(cluster.state, before);
    cluster.run(put(over("/bucket/k"), b"new")).expect("overwritten");
    assert_eq!(code(cluster.run(finish(completion))), Code::NoSuchUpload);
}

#[test]
fn a_part_put_again_takes_the_place_of_the_former_one() {
    let (mut cluster, session) = with_bucket();
    let upload = begin(&mut cluster, b"k");
    let (former, old_block) = put_part(&mut cluster, session, &upload, 1, 10);
    let (one, block) = put_part(&mut cluster, session, &upload, 1, 4);
    invariants::check(&cluster.state);
    cluster.collect();
    assert_eq!(query::block(&cluster.state, old_block), Ok(None));
    let before = cluster.state.clone();
    let missing = PartName { number: 2, inode: former.inode };
    for (parts, expected) in [
        (vec![former], Code::NoSuchPart),
        (vec![one, missing], Code::NoSuchPart),
        (vec![one, one], Code::InvalidArgument),
        (vec![missing, one], Code::InvalidArgument),
        (Vec::new(), Code::InvalidArgument),
    ] {
        assert_eq!(code(cluster.run(finish(completion(&upload, &parts)))), expected, "{parts:?}");
    }
    assert_eq!(cluster.state, before);
    cluster.run(finish(completion(&upload, &[one]))).expect("complete");
    assert_eq!(content(&cluster, BUCKET, b"k"), [(4, block, 0)]);
}

#[test]
fn rubbish_in_uploads_is_refused() {
    let (mut cluster, session) = with_bucket();
    let upload = begin(&mut cluster, b"k");
    let (inode, block) = cluster.create(session, None);
    let last = Some(done(block.block, 4, &[1, 2, 3]));
    let part = NewPart {
        content: PartContent::Written { inode, last, min_replicas: 2 },
        etag: "e".to_owned(),
        properties: Vec::new(),
    };
    let put = |upload: &UploadName, number| Command::PutPart { upload: upload.clone(), number, part: part.clone() };
    let elsewhere = UploadName { key: b"other".to_vec(), ..upload.clone() };
    assert_eq!(code(cluster.by(session, put(&elsewhere, 1))), Code::NoSuchUpload);
    for number in [0, 10_001, u16::MAX] {
        assert_eq!(code(cluster.by(session, put(&upload, number))), Code::InvalidArgument);
    }
    let other = cluster.open_session();
    assert_eq!(code(cluster.by(other, put(&upload, 1))), Code::LeaseLost, "it is the file of another session");
    invariants::check(&cluster.state);
    for key in [&b"d/"[..], b"a//b", b""] {
        let begin = Command::CreateUpload { bucket: BUCKET.to_owned(), key: key.to_vec(), properties: Vec::new() };
        assert!(matches!(code(cluster.run(begin)), Code::InvalidArgument | Code::IsDirectory), "{key:?}");
    }
    let begin = Command::CreateUpload { bucket: BUCKET.to_owned(), key: b"k".to_vec(), properties: vec![0; 65_537] };
    assert_eq!(code(cluster.run(begin)), Code::TooLarge);
    let (one, _) = put_part(&mut cluster, session, &upload, 1, 4);
    let long = Completion { part_list: vec![0; (1 << 20) + 1], ..completion(&upload, &[one]) };
    assert_eq!(code(cluster.run(finish(long))), Code::TooLarge);
    invariants::check(&cluster.state);
}

#[test]
fn an_answer_about_uploads_has_a_bound_whatever_they_were_given_to_keep() {
    let (mut cluster, _) = with_bucket();
    for _ in 0..20 {
        let (bucket, key, properties) = (BUCKET.to_owned(), b"k".to_vec(), vec![7; 60_000]);
        cluster.run(Command::CreateUpload { bucket, key, properties }).expect("begun");
    }
    let (mut found, mut pages, mut after_id) = (Vec::new(), 0, None);
    loop {
        let after: &[u8] = if after_id.is_some() { b"k" } else { b"" };
        let query = UploadQuery { prefix: b"", delimiter: b"", after, after_id, max: 1000 };
        let page = query::uploads(&cluster.state, Caller::SYSTEM, BUCKET, &query).expect("a page");
        pages += 1;
        found.extend(page.items.iter().map(told));
        after_id = found.last().map(|(_, id)| InodeId::new(*id));
        if !page.more {
            break;
        }
    }
    found.dedup();
    assert_eq!((found.len(), pages), (20, 2));
}

#[test]
fn an_aborted_upload_leaves_nothing() {
    let (mut cluster, session) = with_bucket();
    let upload = begin(&mut cluster, b"k");
    let (one, _) = put_part(&mut cluster, session, &upload, 1, 4);
    put_part(&mut cluster, session, &upload, 2, 4);
    cluster.run(Command::AbortUpload { upload: upload.clone() }).expect("aborted");
    invariants::check(&cluster.state);
    cluster.collect();
    assert_eq!(query::blocks(&cluster.state, None, 10), Ok(Vec::new()));
    assert_eq!(code(cluster.run(Command::AbortUpload { upload: upload.clone() })), Code::NoSuchUpload);
    assert_eq!(code(cluster.run(finish(completion(&upload, &[one])))), Code::NoSuchUpload);
    invariants::check(&cluster.state);
    assert!(!invariants::tags(&cluster.state).contains(['u', 'U']));
}

#[test]
fn who_may_put_an_object_may_upload_it_and_who_began_it_may_abort_it() {
    let mut cluster = Cluster::formatted();
    let ownership = Ownership { mode: 0o777, ..OWNER };
    let (bucket, place) = (BUCKET.to_owned(), at("/bucket"));
    cluster.run(Command::CreateBucket { bucket, place, ownership }).expect("made");
    let session = cluster.open_session();
    let ask = |cluster: &mut Cluster, uid: u32, command| {
        let mut request: Request = cluster.request(Some(session), command);
        request.principal = Some(Principal { uid, gid: uid, groups: Vec::new() });
        cluster.apply(&request).reply
    };
    let begin = || Command::CreateUpload { bucket: BUCKET.to_owned(), key: b"k".to_vec(), properties: Vec::new() };
    let Ok(Reply::Upload { id, .. }) = ask(&mut cluster, 7, begin()) else { panic!("it may") };
    let upload = UploadName { bucket: BUCKET.to_owned(), key: b"k".to_vec(), id };
    let abort = || Command::AbortUpload { upload: upload.clone() };
    assert_eq!(code(ask(&mut cluster, 8, abort())), Code::NotPermitted);
    let (one, _) = put_part(&mut cluster, session, &upload, 1, 4);
    // Rights are those of the moment: the bucket is closed to others now.
    let change = crate::command::AttrChange { mode: Some(0o755), ..Default::default() };
    cluster.run(Command::SetAttr { place: at("/bucket"), change }).expect("the superuser may");
    assert_eq!(code(ask(&mut cluster, 7, begin())), Code::Denied);
    assert_eq!(code(ask(&mut cluster, 7, finish(completion(&upload, &[one])))), Code::Denied);
    let found = query::parts(&cluster.state, Caller::from(Some(&principal(9))), &upload, 0, 10);
    assert!(found.is_err(), "{found:?}");
    ask(&mut cluster, OWNER.uid, abort()).expect("the owner of the bucket may");
    invariants::check(&cluster.state);
}

fn principal(uid: u32) -> Principal {
    Principal { uid, gid: uid, groups: Vec::new() }
}

#[test]
fn a_quota_holds_for_what_is_put_together() {
    let (mut cluster, session) = with_bucket();
    let quota = Quota { raw_bytes: Some(29), inodes: None };
    cluster.run(Command::SetQuota { place: at("/bucket"), quota }).expect("bounded");
    let upload = begin(&mut cluster, b"k");
    let (one, _) = put_part(&mut cluster, session, &upload, 1, 10);
    let before = cluster.state.clone();
    assert_eq!(code(cluster.run(finish(completion(&upload, &[one])))), Code::QuotaExceeded);
    assert_eq!(cluster.state, before, "the upload is still there, to be completed when there is room");
}

#[test]
fn more_extents_than_one_command_moves_are_refused_whole() {
    let (mut cluster, session) = with_bucket();
    let upload = begin(&mut cluster, b"k");
    let parts: Vec<PartName> = (1..=65).map(|number| put_part(&mut cluster, session, &upload, number, 4).0).collect();
    let before = cluster.state.clone();
    assert_eq!(code(cluster.run(finish(completion(&upload, &parts)))), Code::TooLarge);
    assert_eq!(cluster.state, before);
    cluster.run(finish(completion(&upload, &parts[1..]))).expect("as many as it moves");
    invariants::check(&cluster.state);
}

#[test]
fn uploads_that_are_old_or_without_a_bucket_are_found_and_end() {
    let (mut cluster, session) = with_bucket();
    cluster.run(create_bucket("other")).expect("made");
    let old = begin(&mut cluster, b"old");
    put_part(&mut cluster, session, &old, 1, 4);
    let limit = Timestamp::from_nanos(cluster.clock);
    let new = begin(&mut cluster, b"new");
    put_part(&mut cluster, session, &new, 1, 4);
    let look = |cluster: &Cluster, after: Option<&Abandoned>, before, limit| {
        query::abandoned_uploads(&cluster.state, after, before, limit).expect("readable")
    };
    assert_eq!(look(&cluster, None, Timestamp::EPOCH, 10), (Vec::new(), None));
    let (none, resume) = look(&cluster, None, limit, 1);
    assert!(none.is_empty(), "the first in the order of keys is the new one");
    let (found, _) = look(&cluster, resume.as_ref(), limit, 10);
    let [Abandoned { directory, key, id }] = found.try_into().expect("the old one");
    assert_eq!((key.as_slice(), id), (&b"old"[..], old.id));
    let expire = Command::ExpireUpload { directory, key, id };
    cluster.run(expire.clone()).expect("ended");
    assert_eq!(cluster.run(expire), Ok(Reply::Done), "a duty done twice is harmless");
    // A bucket goes with uploads under way, and they with it.
    cluster.run(Command::DeleteBucket { bucket: BUCKET.to_owned() }).expect("it holds no object");
    cluster.run(create_bucket(BUCKET)).expect("made again");
    assert_eq!(code(cluster.run(Command::AbortUpload { upload: new.clone() })), Code::NoSuchUpload);
    for Abandoned { directory, key, id } in look(&cluster, None, Timestamp::EPOCH, 10).0 {
        assert_eq!(id, new.id);
        cluster.run(Command::ExpireUpload { directory, key, id }).expect("ended");
    }
    cluster.collect();
    assert_eq!(query::blocks(&cluster.state, None, 10), Ok(Vec::new()));
    invariants::check(&cluster.state);
}

#[test]
fn a_copy_shares_blocks_and_outlives_its_source() {
    let (mut cluster, session) = with_bucket();
    cluster.run(create_bucket("other")).expect("made");
    let [first, second] = two_blocks(&mut cluster, session, b"from");
    let from = source(&cluster, b"from");
    cluster.run(copy(&from, ("other", b"d/to"), Some(Condition::Absent))).expect("copied");
    assert_eq!(code(cluster.run(copy(&from, ("other", b"d/to"), Some(Condition::Absent)))), Code::PreconditionFailed);
    invariants::check(&cluster.state);
    let object = open(&cluster, "other", b"d/to").expect("there");
    assert_eq!((object.etag.as_str(), object.properties, object.part_list), ("copy", b"q".to_vec(), b"list".to_vec()));
    // Onto itself: another inode takes the place of the first one.
    cluster.run(copy(&from, (BUCKET, b"from"), None)).expect("copied");
    assert_eq!(code(cluster.run(copy(&from, ("other", b"late"), None))), Code::SourceChanged);
    cluster.run(delete("/bucket/from")).expect("gone");
    assert_eq!(code(cluster.run(copy(&from, ("other", b"late"), None))), Code::SourceChanged);
    cluster.collect();
    invariants::check(&cluster.state);
    assert_eq!(content(&cluster, "other", b"d/to"), [(10, first, 0), (7, second, 0)]);
    assert_eq!(cluster.stat("/other").usage.expect("a directory").bytes, 17);
    cluster.run(delete("/other/d")).expect("gone");
    cluster.collect();
    assert_eq!(query::blocks(&cluster.state, None, 10), Ok(Vec::new()));
}

#[test]
fn an_inline_object_is_copied_with_its_bytes_and_only_for_who_may_read_it() {
    let (mut cluster, _) = with_bucket();
    cluster.run(put(over("/bucket/k"), b"hello")).expect("put");
    let from = source(&cluster, b"k");
    cluster.run(copy(&from, (BUCKET, b"to"), None)).expect("copied");
    let object = open(&cluster, BUCKET, b"to").expect("there");
    assert_eq!(object.opened.content, query::Content::Inline(b"hello".to_vec()));
    let change = crate::command::AttrChange { mode: Some(0o600), ..Default::default() };
    cluster.run(Command::SetAttr { place: at("/bucket/k"), change }).expect("hidden");
    let mut request = cluster.request(None, copy(&from, (BUCKET, b"stolen"), None));
    request.principal = Some(principal(7));
    assert_eq!(cluster.apply(&request).reply.expect_err("hidden").code(), Code::Denied);
    invariants::check(&cluster.state);
}

#[test]
fn a_part_can_share_a_range_of_an_object() {
    let (mut cluster, session) = with_bucket();
    let [first, second] = two_blocks(&mut cluster, session, b"from");
    let from = source(&cluster, b"from");
    let upload = begin(&mut cluster, b"to");
    let shared = |offset, length| {
        let content = PartContent::Shared { source: from.clone(), offset, length, replication: 3, spread: None };
        let part = NewPart { content, etag: "e".to_owned(), properties: Vec::new() };
        Command::PutPart { upload: upload.clone(), number: 2, part }
    };
    assert_eq!(code(cluster.run(shared(10, 8))), Code::SourceChanged, "behind its end");
    assert_eq!(code(cluster.run(shared(1, u64::MAX))), Code::SourceChanged);
    let Ok(Reply::Part { inode, length, .. }) = cluster.run(shared(8, 5)) else { panic!("it is there") };
    assert_eq!(length.get(), 5);
    let (one, block) = put_part(&mut cluster, session, &upload, 1, 6);
    invariants::check(&cluster.state);
    cluster.run(finish(completion(&upload, &[one, PartName { number: 2, inode }]))).expect("complete");
    assert_eq!(content(&cluster, BUCKET, b"to"), [(6, block, 0), (2, first, 8), (3, second, 0)]);
    cluster.run(delete("/bucket/from")).expect("gone");
    cluster.collect();
    invariants::check(&cluster.state);
    assert_eq!(content(&cluster, BUCKET, b"to"), [(6, block, 0), (2, first, 8), (3, second, 0)]);
    cluster.run(put(over("/bucket/small"), b"hello")).expect("put");
    let small = source(&cluster, b"small");
    let content = PartContent::Shared { source: small, offset: 0, length: 5, replication: 3, spread: None };
    let part = NewPart { content, etag: "e".to_owned(), properties: Vec::new() };
    let upload = begin(&mut cluster, b"again");
    assert_eq!(code(cluster.run(Command::PutPart { upload, number: 1, part })), Code::StoredOtherwise);
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop::sample::select(b"ab-/\xff".to_vec()), 0..3)
}

fn keys() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop::sample::select(b"ab-/\xff".to_vec()), 1..5)
}

/// What a listing tells of: a key with the id of an upload, or a prefix.
fn told(item: &UploadItem) -> (Vec<u8>, u64) {
    match item {
        UploadItem::Upload(upload) => (upload.key.clone(), upload.id.get()),
        UploadItem::Prefix(prefix) => (prefix.clone(), 0),
    }
}

proptest! {
    /// The oracle: all uploads in a flat list, rolled up.
    #[test]
    fn a_listing_of_uploads_is_that_of_a_flat_list(
        begun in proptest::collection::vec(keys(), 0..20),
        prefix in text(), after in text(), after_id in proptest::option::of(0_u64..30), max in 1_usize..5,
        delimiter in prop_oneof![2 => Just(b"/".to_vec()), 1 => text()],
    ) {
        let (mut cluster, _) = with_bucket();
        let mut all: Vec<(Vec<u8>, u64)> = Vec::new();
        for key in begun {
            let command = Command::CreateUpload { bucket: BUCKET.to_owned(), key: key.clone(), properties: Vec::new() };
            if let Ok(Reply::Upload { id, .. }) = cluster.run(command) {
                all.push((key, id.get()));
            }
        }
        all.sort();
        let mut expected = Vec::new();
        for (key, id) in all.into_iter().filter(|(key, _)| key.starts_with(&prefix)) {
            let rest = &key[prefix.len()..];
            let at = match delimiter.as_slice() {
                b"" => None,
                delimiter => rest.windows(delimiter.len()).position(|window| window == delimiter),
            };
            let item = at.map_or((key.clone(), id), |at| (key[..prefix.len() + at + delimiter.len()].to_vec(), 0));
            let later_of_this = item.1 > 0 && item.0 == after && after_id.is_some_and(|after_id| item.1 > after_id);
            if (after.is_empty() || item.0 > after || later_of_this) && expected.last() != Some(&item) {
                expected.push(item);
            }
        }
        let (mut found, mut after, mut after_id) = (Vec::new(), after, after_id.map(InodeId::new));
        loop {
            let query = UploadQuery { prefix: &prefix, delimiter: &delimiter, after: &after, after_id, max };
            let page = query::uploads(&cluster.state, Caller::SYSTEM, BUCKET, &query).expect("a page");
            prop_assert!(page.items.len() <= max && (page.items.len() == max || !page.more));
            found.extend(page.items.iter().map(told));
            match page.items.last() {
                Some(last) if page.more => {
                    let (key, id) = told(last);
                    (after, after_id) = (key, Some(InodeId::new(id)).filter(|id| id.get() > 0));
                }
                _ => break,
            }
        }
        prop_assert_eq!(found, expected);
    }
}
