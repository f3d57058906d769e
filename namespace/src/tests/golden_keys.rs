//! The bytes of what belongs to buckets, keys and access keys.

use types::{InodeId, Timestamp};

use super::{LAYOUT, OWNER};
use crate::access_key::AccessKeyRow;
use crate::bucket::{BucketLayout, BucketRow, BucketSetting, Condition};
use crate::command::{Attribute, Command, Content, Principal, Publication, Reply};
use crate::row;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn rows_of_buckets_and_access_keys_keep_their_bytes() {
    let created = Timestamp::from_nanos(5);
    let bucket = BucketRow { inode: InodeId::new(42), created, layout: BucketLayout::Tree };
    let principal = Principal { uid: 1000, gid: 100, groups: vec![4] };
    let key = AccessKeyRow { principal, sealed: b"sealed".to_vec(), created };
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
    let commands = [Command::Publish { publication }, delete, set];
    assert_eq!(commands.each_ref().map(encode), COMMANDS);
    for command in commands {
        let bytes = minicbor::to_vec(&command).expect("memory takes everything");
        assert_eq!(minicbor::decode::<Command>(&bytes).expect("legal"), command);
    }
    let reply = minicbor::to_vec(Reply::Done).expect("memory takes everything");
    assert_eq!(hex(&reply), "820080");
}

const ROWS: [&str; 2] = ["0183182a0500", "0183831903e818648104467365616c656405"];
const COMMANDS: [&str; 3] = [
    "82184681876162416b820083831903e818641901a48203104568656c6c6f61654170818246757365722e614131820281816165",
    "821847836162416b820080",
    "821878836162024176",
];
