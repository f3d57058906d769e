use super::*;
use crate::Pattern;

const A: &str = "/a";
const B: &str = "/b";

fn file(seed: u64, length: u64) -> State {
    let mut content = Content::default();
    content.append(seed, length);
    State::whole(content)
}

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    Pattern(seed).bytes(0, length).to_vec()
}

fn at(path: &str, state: State) -> Vec<(String, State)> {
    vec![(path.to_owned(), state)]
}

#[test]
fn while_an_operation_is_under_way_both_may_be_seen_and_then_the_outcome_only() {
    let mut ledger = Ledger::default();
    let start = ledger.clock();
    let put = ledger.begin(at(A, file(1, 10_000)));
    assert!(ledger.check_read(A, start, None).is_ok() && ledger.check_read(A, start, Some(&bytes(1, 10_000))).is_ok());
    ledger.done(put);
    assert!(ledger.check_read(A, start, None).is_ok(), "who began earlier may have come earlier");
    let later = ledger.clock();
    assert!(ledger.check_read(A, later, None).is_err());
    assert!(ledger.check_read(A, later, Some(&bytes(1, 10_000))).is_ok());
    assert!(ledger.check_read(A, later, Some(&bytes(1, 9_999))).is_err(), "it is complete");
    assert!(ledger.check_read(A, later, Some(&bytes(2, 10_000))).is_err());

    let refused = ledger.begin(at(A, State::Absent));
    ledger.refused(refused);
    assert!(ledger.check_read(A, ledger.clock(), None).is_err());
    assert_eq!(ledger.state(A), file(1, 10_000));
}

#[test]
fn a_file_that_is_written_shows_at_least_what_was_flushed_and_nothing_that_was_not_sent() {
    let mut ledger = Ledger::default();
    let mut content = Content::default();
    content.append(1, 8192);
    ledger.set(A, State::File { content, least: 4096 });
    let now = ledger.clock();
    for (length, fits) in [(4095, false), (4096, true), (5000, true), (8192, true), (8193, false)] {
        assert_eq!(ledger.check_read(A, now, Some(&bytes(1, length))).is_ok(), fits, "{length}");
        let found = BTreeMap::from([(A.to_owned(), bytes(1, length))]);
        assert_eq!(ledger.check_all(&found).is_empty(), fits, "{length}");
    }
    assert!(ledger.check_read(A, now, Some(&vec![0; 4096])).is_err(), "zeros are other bytes");
}

#[test]
fn a_reader_may_see_each_part_before_or_after_a_change_and_no_third() {
    let mut ledger = Ledger::default();
    ledger.set(A, file(1, 8192));
    let start = ledger.clock();
    ledger.set(A, file(2, 8192));
    let mixed = [bytes(1, 4096), bytes(2, 8192)[4096..].to_vec()].concat();
    assert!(ledger.check_read(A, start, Some(&mixed)).is_ok());
    assert!(ledger.check_read(A, ledger.clock(), Some(&mixed)).is_err());
    let third = [bytes(1, 4096), bytes(3, 4096)].concat();
    assert!(ledger.check_read(A, start, Some(&third)).is_err());
}

#[test]
fn a_rename_without_an_answer_was_done_or_not_and_never_half() {
    let mut ledger = Ledger::default();
    ledger.set(A, file(1, 10));
    ledger.set(B, file(2, 20));
    let rename = ledger.begin(vec![(A.to_owned(), State::Absent), (B.to_owned(), file(1, 10))]);
    ledger.unknown(rename);
    let found = |of: &[(&str, u64, usize)]| {
        of.iter().map(|(path, seed, length)| ((*path).to_owned(), bytes(*seed, *length))).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(ledger.check_all(&found(&[(A, 1, 10), (B, 2, 20)])), []);
    assert_eq!(ledger.check_all(&found(&[(B, 1, 10)])), []);
    assert_eq!(ledger.check_all(&found(&[(A, 1, 10), (B, 1, 10)])).len(), 1);
    assert_eq!(ledger.check_all(&found(&[(B, 2, 20)])).len(), 1);
    assert_eq!(ledger.check_all(&found(&[])).len(), 1);
}

#[test]
#[should_panic(expected = "/a is not to be worked on")]
fn a_path_without_a_known_state_is_not_worked_on() {
    let mut ledger = Ledger::default();
    let put = ledger.begin(at(A, file(1, 10)));
    ledger.unknown(put);
    ledger.state(A);
}

#[test]
fn what_is_lost_or_nobody_wrote_is_found_at_the_end() {
    let mut ledger = Ledger::default();
    ledger.set(A, file(1, 10));
    let lost = ledger.check_all(&BTreeMap::new());
    assert_eq!(lost.iter().map(|wrong| wrong.path.as_str()).collect::<Vec<_>>(), [A]);
    let strange = BTreeMap::from([(A.to_owned(), bytes(1, 10)), (B.to_owned(), Vec::new())]);
    assert_eq!(ledger.check_all(&strange), [Mismatch { path: B.to_owned(), what: "nobody wrote it".to_owned() }]);
    let deleted = ledger.begin(at(A, State::Absent));
    ledger.done(deleted);
    assert_eq!(ledger.check_all(&BTreeMap::new()), []);
    assert!(ledger.check_read("/never", ledger.clock(), None).is_ok());
    assert!(ledger.check_read("/never", ledger.clock(), Some(&[])).is_err());
}

/// Invariant 2.
#[test]
fn a_file_whose_writer_is_gone_ends_between_what_was_flushed_and_what_was_sent() {
    let mut ledger = Ledger::default();
    let mut content = Content::default();
    content.append(1, 100);
    ledger.set(A, State::File { content, least: 40 });
    assert!(ledger.narrow(A, 39).is_err() && ledger.narrow(A, 101).is_err());
    assert!(ledger.narrow(A, 60).is_ok());
    assert_eq!(ledger.state(A), file(1, 60));
}
