//! An entry with the paths that people know, and as a line.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use namespace::query;
use proto::v1;
use serde::Serialize;
use tracing::warn;
use types::{Code, InodeId};

use super::Entry;
use crate::deed::Subject;
use crate::store::Store;

/// Paths of directories that entries of one group name by their number.
#[derive(Default)]
pub(super) struct Paths(HashMap<InodeId, Option<Arc<[u8]>>>);

impl Paths {
    /// Where an inode is now; none if it has no name any more.
    fn find(&mut self, store: &Store, inode: InodeId) -> Option<Arc<[u8]>> {
        let look = || match query::path(&store.state().snapshot(), inode) {
            Ok(path) => path.map(Arc::from),
            Err(error) => {
                warn!(%inode, %error, "the path of an audited inode cannot be read");
                None
            }
        };
        self.0.entry(inode).or_insert_with(look).clone()
    }
}

pub(super) fn entry(entry: &Entry, store: &Store, paths: &mut Paths) -> v1::AuditEntry {
    let Entry { at, deed, principal, by, from, session, refused } = entry;
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let [subject, other] =
        deed.subjects.each_ref().map(|subject| subject.as_ref().map(|subject| shown(subject, store, paths)));
    v1::AuditEntry {
        time: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        operation: deed.operation.to_owned(),
        code: refused.map_or(0, Code::number),
        principal: principal.as_ref().map(|principal| v1::Principal {
            uid: principal.uid,
            gid: principal.gid,
            groups: principal.groups.clone(),
        }),
        by: by.clone(),
        from: from.to_string(),
        session: session.map_or(0, |session| session.get()),
        subject: subject.unwrap_or_default(),
        other: other.unwrap_or_default(),
    }
}

/// What people know a thing by.
fn shown(subject: &Subject, store: &Store, paths: &mut Paths) -> Vec<u8> {
    match subject {
        Subject::Place(place) if place.base == InodeId::ROOT => joined(b"", &place.path),
        Subject::Place(place) => match paths.find(store, place.base) {
            Some(base) => joined(&base, &place.path),
            None => joined(place.base.to_string().as_bytes(), &place.path),
        },
        Subject::Key { bucket, key } => [b"s3://", bucket.as_bytes(), b"/", key].concat(),
        Subject::Text(text) => text.clone().into_bytes(),
    }
}

fn joined(base: &[u8], path: &[u8]) -> Vec<u8> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    match (base, path) {
        (b"" | b"/", path) => [b"/", path].concat(),
        (base, b"") => base.to_vec(),
        (base, path) => [base, b"/", path].concat(),
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    operation: &'a str,
    result: &'a str,
    uid: Option<u32>,
    gid: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    by: &'a str,
    from: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    /// The bytes, where they are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_hex: Option<String>,
}

fn hex(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).is_err().then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Appends a line (invariant 3: JSON escapes what would end it).
pub(super) fn write(entry: &v1::AuditEntry, text: &mut Vec<u8>) {
    let time = UNIX_EPOCH + Duration::from_nanos(entry.time);
    let (path, to) = (String::from_utf8_lossy(&entry.subject), String::from_utf8_lossy(&entry.other));
    let line = Line {
        time: humantime::format_rfc3339_micros(time).to_string(),
        operation: &entry.operation,
        result: Code::from_number(entry.code).map_or("ok", Code::name),
        uid: entry.principal.as_ref().map(|principal| principal.uid),
        gid: entry.principal.as_ref().map(|principal| principal.gid),
        by: &entry.by,
        from: &entry.from,
        session: (entry.session != 0).then_some(entry.session),
        path: &path,
        path_hex: hex(&entry.subject),
        to: &to,
        to_hex: hex(&entry.other),
    };
    serde_json::to_writer(&mut *text, &line).expect("a line is plain data");
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_with_one_slash() {
        for (base, path, whole) in [
            ("", "/a/b", "/a/b"),
            ("", "a", "/a"),
            ("", "", "/"),
            ("/d", "x", "/d/x"),
            ("/d", "", "/d"),
            ("/", "x", "/x"),
        ] {
            assert_eq!(joined(base.as_bytes(), path.as_bytes()), whole.as_bytes(), "{base:?} and {path:?}");
        }
    }

    #[test]
    fn a_line_is_one_line_and_tells_bytes_that_are_no_text() {
        let entry = v1::AuditEntry {
            time: 1_500_000_000_000_001_000,
            operation: "Rename".to_owned(),
            code: Code::Denied.number(),
            principal: Some(v1::Principal { uid: 7, gid: 8, groups: vec![] }),
            by: String::new(),
            from: "127.0.0.1:9".to_owned(),
            session: 3,
            subject: b"/a\n\"}{".to_vec(),
            other: b"/\xff".to_vec(),
        };
        let mut text = Vec::new();
        write(&entry, &mut text);
        let line = String::from_utf8(text).expect("JSON is text");
        assert_eq!(
            line,
            "{\"time\":\"2017-07-14T02:40:00.000001Z\",\"operation\":\"Rename\",\"result\":\"Denied\",\"uid\":7,\"gid\":8,\
             \"from\":\"127.0.0.1:9\",\"session\":3,\"path\":\"/a\\n\\\"}{\",\"to\":\"/\u{fffd}\",\"to_hex\":\"2fff\"}\n",
            "invariant 3"
        );
    }
}
