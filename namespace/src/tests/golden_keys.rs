//! The bytes of what belongs to buckets, keys and access keys.

use types::{ByteSize, InodeId, Timestamp};

use super::{LAYOUT, OWNER};
use crate::access_key::AccessKeyRow;
use crate::bucket::{BucketLayout, BucketRow, BucketSetting, Condition};
use crate::command::{
    Attribute, Command, Completion, Content, KeyRename, NewPart, PartContent, PartName, Principal, Publication, Reply,
    Source, UploadName,
};
use crate::key;
use crate::row;
use crate::upload::{PartRow, UploadRow};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn rows_of_buckets_and_access_keys_keep_their_bytes() {
    let created = Timestamp::from_nanos(5);
    let bucket = BucketRow { inode: InodeId::new(42), created, layout: BucketLayout::Tree };
    let principal = Principal { uid: 1000, gid: 100, groups: vec![4] };
    let key = AccessKeyRow { principal, sealed: b"sealed".to_vec(), created, user: None };
    assert_eq!([hex(&row::encode(&bucket)), hex(&row::encode(&key))], ROWS);
}

#[test]
fn commands_on_keys_keep_their_bytes() {
    let content = Content::Inline { ownership: OWNER, layout: LAYOUT, content: b"hello".to_vec() };
    let publication = Publication {
        bucket: "b".to_owned(),
        key: b"k".to_vec(),
        content,
        etag: Some("e".to_owned()),
        properties: b"p".to_vec(),
        attributes: vec![Attribute { name: b"user.a".to_vec(), value: b"1".to_vec() }],
        condition: Some(Condition::Matches { etags: vec!["e".to_owned()] }),
    };
    let encode = |command: &Command| hex(&minicbor::to_vec(command).expect("memory takes everything"));
    let delete = Command::DeleteKey { bucket: "b".to_owned(), key: b"k".to_vec(), condition: Some(Condition::Absent) };
    let (bucket, setting) = ("b".to_owned(), BucketSetting::Cors);
    let set = Command::SetBucketSetting { bucket, setting, value: Some(b"v".to_vec()) };
    let rename = Command::RenameKey {
        rename: KeyRename {
            bucket: "b".to_owned(),
            from: b"k".to_vec(),
            to: b"l".to_vec(),
            from_condition: None,
            to_condition: Some(Condition::Absent),
        },
    };
    let commands = [Command::Publish { publication }, delete, set, rename];
    assert_eq!(commands.each_ref().map(encode), COMMANDS);
    for command in commands {
        let bytes = minicbor::to_vec(&command).expect("memory takes everything");
        assert_eq!(minicbor::decode::<Command>(&bytes).expect("legal"), command);
    }
    let reply = minicbor::to_vec(Reply::Done).expect("memory takes everything");
    assert_eq!(hex(&reply), "820080");
}

fn source() -> Source {
    Source { bucket: "b".to_owned(), key: b"k".to_vec(), inode: InodeId::new(42), etag: "e".to_owned() }
}

#[test]
fn rows_of_uploads_keep_their_bytes() {
    let (initiated, properties) = (Timestamp::from_nanos(5), b"p".to_vec());
    let upload = UploadRow { initiated, uid: 1000, gid: 100, properties: properties.clone() };
    let part = PartRow {
        inode: InodeId::new(43),
        length: ByteSize::new(300),
        extents: 2,
        replication: 3,
        modified: initiated,
        etag: "e".to_owned(),
        properties,
        spread: None,
    };
    let keys = [key::upload(InodeId::new(7), b"a/b", InodeId::new(42)), key::part(InodeId::new(42), 3)];
    assert_eq!(key::upload_of(&keys[0]), Ok((InodeId::new(7), &b"a/b"[..], InodeId::new(42))));
    assert_eq!(key::part_of(&keys[1]), Ok((InodeId::new(42), 3)));
    assert!(key::upload_of(&keys[0][..12]).is_err() && key::part_of(&keys[0]).is_err());
    let found = [hex(&row::encode(&upload)), hex(&row::encode(&part)), hex(&keys[0]), hex(&keys[1])];
    assert_eq!(found, UPLOAD_ROWS);
}

#[test]
fn commands_on_uploads_keep_their_bytes() {
    let upload = || UploadName { bucket: "b".to_owned(), key: b"k".to_vec(), id: InodeId::new(42) };
    let part = |content| NewPart { content, etag: "e".to_owned(), properties: b"p".to_vec() };
    let written = PartContent::Written { inode: InodeId::new(43), last: None, min_replicas: 2 };
    let shared = PartContent::Shared { source: source(), offset: 1, length: 2, replication: 3, spread: None };
    let completion = Completion {
        upload: upload(),
        parts: vec![PartName { number: 1, inode: InodeId::new(43) }],
        ownership: OWNER,
        layout: LAYOUT,
        etag: "e".to_owned(),
        properties: b"p".to_vec(),
        attributes: vec![Attribute { name: b"user.a".to_vec(), value: b"1".to_vec() }],
        condition: Some(Condition::Exists),
        part_list: b"l".to_vec(),
    };
    let publication = Publication {
        bucket: "b".to_owned(),
        key: b"k".to_vec(),
        content: Content::Copied { ownership: OWNER, layout: LAYOUT, source: source() },
        etag: None,
        properties: Vec::new(),
        attributes: Vec::new(),
        condition: None,
    };
    let commands = [
        Command::CreateUpload { bucket: "b".to_owned(), key: b"k".to_vec(), properties: b"p".to_vec() },
        Command::PutPart { upload: upload(), number: 3, part: part(written) },
        Command::PutPart { upload: upload(), number: 3, part: part(shared) },
        Command::CompleteUpload { completion },
        Command::AbortUpload { upload: upload() },
        Command::ExpireUpload { directory: InodeId::new(7), key: b"k".to_vec(), id: InodeId::new(42) },
        Command::Publish { publication },
    ];
    let encode = |command: &Command| hex(&minicbor::to_vec(command).expect("memory takes everything"));
    assert_eq!(commands.each_ref().map(encode), UPLOADS);
    for command in commands {
        let bytes = minicbor::to_vec(&command).expect("memory takes everything");
        assert_eq!(minicbor::decode::<Command>(&bytes).expect("legal"), command);
    }
    let replies = [
        Reply::Upload { id: InodeId::new(42), initiated: Timestamp::from_nanos(5) },
        Reply::Part { inode: InodeId::new(43), length: ByteSize::new(300), modified: Timestamp::from_nanos(5) },
    ];
    let replies = replies.map(|reply| hex(&minicbor::to_vec(&reply).expect("memory takes everything")));
    assert_eq!(replies, ["82183182182a05", "82183283182b19012c05"]);
}

const UPLOAD_ROWS: [&str; 4] = [
    "0184051903e818644170",
    "0187182b19012c02030561654170",
    "750000000000000007612f6200000000000000002a",
    "55000000000000002a0003",
];
const UPLOADS: [&str; 7] = [
    "821873836162416b4170",
    "82187483836162416b182a0383820083182bf60261654170",
    "82187483836162416b182a0383820184846162416b182a616501020361654170",
    "8218758189836162416b182a818201182b831903e818641901a482031061654170818246757365722e614131820180416c",
    "82187681836162416b182a",
    "8218778307416b182a",
    "82184681866162416b820383831903e818641901a4820310846162416b182a6165f64080",
];
const ROWS: [&str; 2] = ["0183182a0500", "0183831903e818648104467365616c656405"];
const COMMANDS: [&str; 4] = [
    "82184681876162416b820083831903e818641901a48203104568656c6c6f61654170818246757365722e614131820281816165",
    "821847836162416b820080",
    "821878836162024176",
    "8218c881856162416b416cf6820080",
];
