//! Objects at keys: what is implicit goes, conditions hold, and the listing is that of a flat map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::bucket::Condition;
use crate::command::{Attribute, Content, KeyRename, Ownership, Publication};
use crate::key_listing::{self, KeyItem, KeyQuery};

const BUCKET: &str = "bucket";

fn create_bucket() -> Command {
    let ownership = Ownership { mode: 0o755, ..OWNER };
    Command::CreateBucket { bucket: BUCKET.to_owned(), place: at("/bucket"), ownership }
}

fn publish(key: &[u8], content: &[u8], condition: Option<Condition>) -> Command {
    let content = if key.ends_with(b"/") {
        Content::Directory { ownership: Ownership { mode: 0o755, ..OWNER } }
    } else {
        Content::Inline { ownership: OWNER, layout: LAYOUT, content: content.to_vec() }
    };
    let etag = Some(format!("etag-{}", key.escape_ascii()));
    let (bucket, key, properties, attributes) = (BUCKET.to_owned(), key.to_vec(), b"p".to_vec(), Vec::new());
    Command::Publish { publication: Publication { bucket, key, content, etag, properties, attributes, condition } }
}

fn delete_key(key: &[u8], condition: Option<Condition>) -> Command {
    Command::DeleteKey { bucket: BUCKET.to_owned(), key: key.to_vec(), condition }
}

fn with_bucket() -> Cluster {
    let mut cluster = Cluster::formatted();
    cluster.run(create_bucket()).expect("made");
    cluster
}

fn open(cluster: &Cluster, key: &[u8]) -> Result<query::OpenedObject, crate::QueryError> {
    query::open_key(&cluster.state, Caller::SYSTEM, BUCKET, key, 0, u64::MAX, true)
}

/// Every key, page by page.
fn keys(cluster: &Cluster, query: KeyQuery<'_>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut after = query.after.to_vec();
    loop {
        let page = key_listing::list(&cluster.state, Caller::SYSTEM, BUCKET, &KeyQuery { after: &after, ..query })
            .expect("a page");
        assert!(page.items.len() <= query.max);
        all.extend(page.items.iter().map(|item| match item {
            KeyItem::Object { key, .. } | KeyItem::Prefix(key) => key.clone(),
        }));
        match page.resume {
            Some(resume) => after = resume,
            None => return all,
        }
    }
}

const ALL: KeyQuery<'static> = KeyQuery { prefix: b"", delimiter: b"", after: b"", max: 1000 };

#[test]
fn a_delete_takes_the_directories_that_only_keys_needed_and_no_other() {
    let mut cluster = with_bucket();
    cluster.run(mkdir("/bucket/kept")).expect("made by hand");
    for key in [&b"kept/made/deep/f"[..], b"made/x/y", b"made/z"] {
        cluster.run(publish(key, b"1", None)).expect("put");
    }
    invariants::check(&cluster.state);
    cluster.run(delete_key(b"made/x/y", None)).expect("gone");
    assert!(!cluster.is_there("/bucket/made/x") && cluster.is_there("/bucket/made/z"));
    cluster.run(delete_key(b"kept/made/deep/f", None)).expect("gone");
    assert!(!cluster.is_there("/bucket/kept/made") && cluster.is_there("/bucket/kept"));
    cluster.run(delete_key(b"made/z", None)).expect("gone");
    assert!(!cluster.is_there("/bucket/made"));
    assert_eq!(keys(&cluster, ALL), [b"kept/".to_vec()]);
    let before = cluster.state.clone();
    assert_eq!(
        cluster.run(delete_key(b"kept", None)),
        Ok(Reply::Done),
        "a directory is not at the key without a slash"
    );
    assert_eq!(cluster.run(delete_key(b"no/such/key", None)), Ok(Reply::Done));
    assert_eq!(cluster.state, before);
    invariants::check(&cluster.state);
}

#[test]
fn the_object_of_a_directory_goes_and_what_is_in_it_stays() {
    let mut cluster = with_bucket();
    cluster.run(publish(b"d/", b"", None)).expect("made");
    cluster.run(publish(b"d/f", b"1", None)).expect("put");
    assert_eq!(open(&cluster, b"d/").expect("there").properties, b"p");
    assert!(open(&cluster, b"d").is_err());
    cluster.run(delete_key(b"d/", None)).expect("only the object");
    assert!(open(&cluster, b"d/").is_err() && open(&cluster, b"d/f").is_ok());
    cluster.run(publish(b"d/", b"", None)).expect("again");
    assert_eq!(keys(&cluster, ALL), [b"d/".to_vec(), b"d/f".to_vec()]);
    cluster.run(delete_key(b"d/f", None)).expect("gone");
    assert!(cluster.is_there("/bucket/d"), "it was made explicitly");
}

#[test]
fn conditions_hold_when_the_command_is_applied() {
    let mut cluster = with_bucket();
    let etags = |etag: &str| Some(Condition::Matches { etags: vec![etag.to_owned()] });
    assert_eq!(code(cluster.run(publish(b"k", b"1", etags("etag-k")))), Code::NotFound);
    cluster.run(publish(b"k", b"1", Some(Condition::Absent))).expect("nothing is there");
    let before = cluster.state.clone();
    assert_eq!(code(cluster.run(publish(b"k", b"2", Some(Condition::Absent)))), Code::PreconditionFailed);
    assert_eq!(code(cluster.run(publish(b"k", b"2", etags("other")))), Code::PreconditionFailed);
    assert_eq!(code(cluster.run(delete_key(b"k", etags("other")))), Code::PreconditionFailed);
    assert_eq!(cluster.state, before);
    cluster.run(publish(b"k", b"2", etags("etag-k"))).expect("it matches");
    cluster.run(delete_key(b"k", Some(Condition::Exists))).expect("it is there");
    assert_eq!(code(cluster.run(delete_key(b"k", etags("other")))), Code::NotFound, "nothing is left to match");
    assert_eq!(cluster.run(delete_key(b"k", None)), Ok(Reply::Done));
}

fn rename_key(from: &[u8], to: &[u8], from_condition: Option<Condition>, to_condition: Option<Condition>) -> Command {
    let (bucket, from, to) = (BUCKET.to_owned(), from.to_vec(), to.to_vec());
    Command::RenameKey { rename: KeyRename { bucket, from, to, from_condition, to_condition } }
}

#[test]
fn a_renamed_object_keeps_what_belongs_to_it_and_takes_its_implicit_directories_along() {
    let mut cluster = with_bucket();
    for (key, content) in [(&b"a/b/c"[..], b"1"), (b"x", b"2"), (b"d/e", b"3")] {
        cluster.run(publish(key, content, None)).expect("put");
    }
    let inode = open(&cluster, b"a/b/c").expect("there").opened.attributes.inode;
    cluster.run(rename_key(b"a/b/c", b"n/e/w", None, None)).expect("moved");
    invariants::check(&cluster.state);
    let moved = open(&cluster, b"n/e/w").expect("there");
    assert_eq!((moved.opened.attributes.inode, moved.etag.as_str(), moved.as_given), (inode, "etag-a/b/c", true));
    assert_eq!(keys(&cluster, ALL), [b"d/e".to_vec(), b"n/e/w".to_vec(), b"x".to_vec()]);
    assert!(!cluster.is_there("/bucket/a"), "nothing needs it any more");
    cluster.run(rename_key(b"n/e/w", b"n/e/v", None, Some(Condition::Absent))).expect("beside itself");
    cluster.run(rename_key(b"n/e/v", b"x", None, Some(Condition::Exists))).expect("in place of another");
    assert_eq!(open(&cluster, b"x").expect("there").opened.attributes.inode, inode);
    assert_eq!(keys(&cluster, ALL), [b"d/e".to_vec(), b"x".to_vec()]);
    assert!(!cluster.is_there("/bucket/n"));
    invariants::check(&cluster.state);

    let before = cluster.state.clone();
    let etags = |etag: &str| Some(Condition::Matches { etags: vec![etag.to_owned()] });
    for (command, refused) in [
        (rename_key(b"none", b"y", None, None), Code::NotFound),
        (rename_key(b"x", b"d/e", None, Some(Condition::Absent)), Code::PreconditionFailed),
        (rename_key(b"x", b"y", etags("other"), None), Code::PreconditionFailed),
        (rename_key(b"x", b"y", None, Some(Condition::Exists)), Code::NotFound),
        (rename_key(b"x", b"d", None, None), Code::IsDirectory),
        (rename_key(b"x", b"d/e/f", None, None), Code::NotDirectory),
        (rename_key(b"x", b"x/y", None, None), Code::NotDirectory),
        (rename_key(b"d/e", b"d", None, None), Code::IsDirectory),
        (rename_key(b"x", b"y/", None, None), Code::IsDirectory),
        (rename_key(b"x", b"y//z", None, None), Code::InvalidArgument),
    ] {
        assert_eq!(code(cluster.run(command.clone())), refused, "{command:?}");
    }
    assert_eq!(cluster.run(rename_key(b"x", b"x", etags("etag-a/b/c"), None)), Ok(Reply::Done), "it is there already");
    assert_eq!(cluster.state, before);
}

#[test]
fn an_etag_belongs_to_one_content() {
    let mut cluster = with_bucket();
    cluster.run(publish(b"k", b"1", None)).expect("put");
    let opened = open(&cluster, b"k").expect("there");
    assert_eq!((opened.etag.as_str(), opened.as_given, opened.properties.as_slice()), ("etag-k", true, &b"p"[..]));
    // Elsewhere written: the etag names the inode and the change.
    cluster.run(put(over("/bucket/k"), b"22")).expect("put");
    let opened = open(&cluster, b"k").expect("there");
    let inode = opened.opened.attributes.inode.get();
    assert_eq!((opened.etag, opened.as_given, opened.properties), (format!("{inode}-0"), false, Vec::new()));
}

#[test]
fn keys_that_are_no_paths_are_refused_and_files_and_directories_stay_apart() {
    let mut cluster = with_bucket();
    cluster.run(publish(b"a/b", b"1", None)).expect("put");
    for key in [&b""[..], b"/", b"/a", b"a//b", b"a/./b", b"..", b"a/\0", b"a//"] {
        assert_eq!(code(cluster.run(publish(key, b"1", None))), Code::InvalidArgument, "{key:?}");
    }
    assert_eq!(code(cluster.run(publish(&[b'k'; 1025], b"1", None))), Code::NameTooLong);
    assert_eq!(code(cluster.run(publish(b"a", b"1", None))), Code::IsDirectory);
    assert_eq!(code(cluster.run(publish(b"a/b/c", b"1", None))), Code::NotDirectory);
    assert_eq!(code(cluster.run(publish(b"a/b/", b"", None))), Code::NotDirectory);
    assert_eq!(cluster.run(delete_key(b"a/b/c", None)), Ok(Reply::Done));
    let elsewhere = Command::DeleteKey { bucket: "nowhere".to_owned(), key: b"k".to_vec(), condition: None };
    assert_eq!(code(cluster.run(elsewhere)), Code::NoSuchBucket);
}

#[test]
fn a_bucket_goes_only_without_objects_and_a_directory_of_ones_own_becomes_one() {
    let mut cluster = with_bucket();
    assert_eq!(code(cluster.run(create_bucket())), Code::Exists);
    cluster.run(publish(b"a/b", b"1", None)).expect("put");
    let delete_bucket = || Command::DeleteBucket { bucket: BUCKET.to_owned() };
    assert_eq!(code(cluster.run(delete_bucket())), Code::NotEmpty);
    // What was emptied by another door holds no object, whatever directories are left.
    cluster.run(delete("/bucket/a/b")).expect("gone");
    assert_eq!(keys(&cluster, ALL), Vec::<Vec<u8>>::new());
    cluster.run(delete_bucket()).expect("empty");
    assert!(!cluster.is_there("/bucket"));
    cluster.run(mkdir("/bucket")).expect("made by hand");
    cluster.run(create_bucket()).expect("the directory becomes the bucket");
    for name in ["ab", "Bucket", "a..b", "-ab", "1.2.3.4", "a_b"] {
        let ownership = OWNER;
        let command = Command::CreateBucket { bucket: name.to_owned(), place: at("/x"), ownership };
        assert_eq!(code(cluster.run(command)), Code::InvalidArgument, "{name}");
    }
    invariants::check(&cluster.state);
}

#[test]
fn attributes_of_the_user_come_with_the_object_and_no_others() {
    let mut cluster = with_bucket();
    let mut publication = match publish(b"k", b"1", None) {
        Command::Publish { publication } => publication,
        other => panic!("it publishes: {other:?}"),
    };
    publication.attributes = vec![Attribute { name: b"user.s3.tags".to_vec(), value: b"a=b".to_vec() }];
    cluster.run(Command::Publish { publication: publication.clone() }).expect("put");
    let tags = query::xattr(&cluster.state, Caller::SYSTEM, &at("/bucket/k"), b"user.s3.tags");
    assert_eq!(tags, Ok(b"a=b".to_vec()));
    publication.attributes[0].name = b"system.x".to_vec();
    assert_eq!(code(cluster.run(Command::Publish { publication })), Code::NotSupported);
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    let letters = prop::sample::select(b"ab-. /!\xff".to_vec());
    proptest::collection::vec(letters, 1..7)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let letters = prop::sample::select(b"ab-. /!\xff".to_vec());
    proptest::collection::vec(letters, 0..4)
}

#[derive(Debug, Clone)]
enum Change {
    Put(Vec<u8>),
    Delete(Vec<u8>),
    /// By another door: what it leaves behind must not be listed.
    Remove(Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![6 => key().prop_map(Change::Put), 2 => key().prop_map(Change::Delete), 1 => key().prop_map(Change::Remove)]
}

/// The oracle of a listing: every key there is, rolled up.
fn flat(map: &BTreeMap<Vec<u8>, ()>, query: &KeyQuery<'_>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for key in map.keys().filter(|key| key.starts_with(query.prefix)) {
        let rest = &key[query.prefix.len()..];
        let at = match query.delimiter {
            b"" => None,
            delimiter => rest.windows(delimiter.len()).position(|window| window == delimiter),
        };
        let told = match at {
            Some(at) => key[..query.prefix.len() + at + query.delimiter.len()].to_vec(),
            None => key.clone(),
        };
        if told.as_slice() > query.after && found.last() != Some(&told) {
            found.push(told);
        }
    }
    found
}

proptest! {
    #[test]
    fn a_listing_is_that_of_a_flat_map(
        changes in proptest::collection::vec(change(), 0..60),
        prefix in text(), after in text(), max in 1_usize..6,
        delimiter in prop_oneof![3 => Just(b"/".to_vec()), 1 => Just(Vec::new()), 1 => text()],
    ) {
        let mut cluster = with_bucket();
        let mut map = BTreeMap::new();
        for change in changes {
            match change {
                Change::Put(key) => if cluster.run(publish(&key, b"1", None)).is_ok() {
                    map.insert(key, ());
                },
                Change::Delete(key) => if cluster.run(delete_key(&key, None)).is_ok() {
                    map.remove(&key);
                },
                Change::Remove(key) => {
                    let place = Where { base: cluster.stat("/bucket").inode, path: key.clone() };
                    let removed = cluster.run(Command::Delete { place, recursive: false });
                    if removed.is_ok() && key.iter().any(|byte| *byte != b'/') {
                        let names: Vec<&[u8]> = key.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
                        let name = names.join(&b'/');
                        map.remove(&name);
                        map.remove(&[name.as_slice(), b"/"].concat());
                    } else if removed.is_ok() {
                        // The bucket itself.
                        return Ok(());
                    }
                }
            }
        }
        invariants::check(&cluster.state);
        let query = KeyQuery { prefix: &prefix, delimiter: &delimiter, after: &after, max };
        prop_assert_eq!(keys(&cluster, query), flat(&map, &query));
    }
}
