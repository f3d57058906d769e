use namespace::view::View;
use tempfile::TempDir;

use super::*;

fn open(dir: &Path) -> Store {
    Store::open(dir, ByteSize::mib(8)).expect("opens")
}

fn put(key: &[u8], value: &[u8]) -> Write {
    Write { key: key.to_vec(), value: Some(value.to_vec()) }
}

fn at(index: u64) -> AppliedState {
    AppliedState { index, term: 1, group: consensus::Group::of(&[1]) }
}

/// What a killed process leaves: the files as they are, without what only memory had.
fn as_if_killed(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    for entry in std::fs::read_dir(dir).expect("readable") {
        let entry = entry.expect("readable");
        if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
        }
    }
    copy
}

/// Invariants 1, 2 and 3.
#[test]
fn a_kill_between_commit_and_flush_loses_rows_and_index_together() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path());
    assert_eq!(store.applied(), Ok(None));
    store.commit(&[put(b"a", b"1")], &at(1)).expect("stored");
    store.flush().expect("flushed");
    store.commit(&[put(b"a", b"2"), put(b"b", b"2")], &at(2)).expect("stored");
    assert_eq!(store.applied(), Ok(Some(at(2))));
    assert_eq!(store.persisted(), Ok(1));

    let killed = as_if_killed(dir.path());
    let revived = open(killed.path());
    assert_eq!(revived.applied(), Ok(Some(at(1))));
    assert_eq!(revived.scan(b"a", b"z", 9), Ok(vec![(b"a".to_vec(), b"1".to_vec())]));

    // The replay brings back the rest.
    revived.commit(&[put(b"a", b"2"), put(b"b", b"2")], &at(2)).expect("stored");
    assert_eq!(revived.scan(b"a", b"z", 9), store.scan(b"a", b"z", 9));
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path());
    store.commit(&[put(b"a", b"1"), put(b"b", b"1")], &at(1)).expect("stored");
    let state = store.state();
    let before = state.snapshot();
    store.commit(&[put(b"a", b"2"), Write { key: b"b".to_vec(), value: None }], &at(2)).expect("stored");
    assert_eq!(before.get(b"a"), Ok(Some(b"1".to_vec())));
    assert_eq!(before.scan(b"a", b"c", 9).map(|rows| rows.len()), Ok(2));
    assert_eq!(store.scan(b"a", b"c", 9), Ok(vec![(b"a".to_vec(), b"2".to_vec())]));
    assert_eq!(store.scan(b"a", b"c", 0), Ok(vec![]));
    assert_eq!(store.scan(b"c", b"a", 9), Ok(vec![]));
}

#[test]
fn the_last_row_of_a_range_is_found_on_disk_and_in_memory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path());
    store.commit(&[put(b"a", b"1"), put(b"b", b"1"), put(b"d", b"1")], &at(1)).expect("stored");
    store.flush().expect("flushed");
    store.commit(&[put(b"c", b"2"), Write { key: b"b".to_vec(), value: None }], &at(2)).expect("stored");
    let state = store.state();
    let snapshot = state.snapshot();
    for (from, to, last) in [("a", "d", Some("c")), ("a", "c", Some("a")), ("b", "c", None), ("d", "e", Some("d"))] {
        let last = Ok(last.map(str::as_bytes).map(Vec::from));
        let key = |row: Option<namespace::view::Row>| row.map(|(key, _)| key);
        assert_eq!(store.last(from.as_bytes(), to.as_bytes()).map(key), last, "{from}..{to}");
        assert_eq!(snapshot.last(from.as_bytes(), to.as_bytes()).map(key), last, "{from}..{to}");
    }
    assert_eq!(store.last(b"d", b"a"), Ok(None));
}

/// Invariant 5.
#[test]
fn a_damaged_file_is_an_error_and_not_a_short_listing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path());
    let rows: Vec<Write> = (0..20_000_u32).map(|n| put(&n.to_be_bytes(), &n.to_le_bytes().repeat(9))).collect();
    store.commit(&rows, &at(1)).expect("stored");
    store.flush().expect("flushed");
    drop(store);
    let files = std::fs::read_dir(dir.path()).expect("readable").map(|entry| entry.expect("readable").path());
    let table = files
        .filter(|path| path.extension().is_some_and(|name| name == "sst"))
        .max_by_key(|path| path.metadata().map_or(0, |metadata| metadata.len()))
        .expect("one table");
    let mut bytes = std::fs::read(&table).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&table, bytes).expect("writable");
    let store = open(dir.path());
    assert!(matches!(store.scan(&[0], &[9], usize::MAX), Err(namespace::view::ViewError::Store(_))));
}
