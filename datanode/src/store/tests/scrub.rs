//! Replicas are read and checked piece by piece, and how far that is outlives the process.

use super::*;
use crate::store::scrub::SCRUB_FILE;

const LENGTH: usize = (1 << 20) + 5;

/// A complete replica of generation 1, longer than a piece.
fn complete() -> Bench {
    let bench = Bench::new();
    let max_length = ByteSize::mib(2);
    let (block, generation) = (block(), GenStamp::FIRST);
    bench.volume.begin(&Begin { block, generation, level: Level::Close, max_length, resume: None }).expect("begins");
    let bytes = content(LENGTH);
    bench.append(1, packet(0, &bytes[..1 << 20], Flags::NONE)).expect("stores");
    bench.append(1, packet(1 << 20, &bytes[1 << 20..], Flags::FINISH)).expect("finishes");
    bench
}

/// Where the first error is, if there is one and it is no illusion.
fn damage(volume: &Volume) -> Option<u64> {
    let (mut good, generation) = (0, GenStamp::FIRST);
    match volume.begin_verify(block(), generation) {
        Ok(None) => return None,
        Ok(Some(mut verifying)) => loop {
            match verifying.next_piece() {
                Ok(0) => return None,
                Ok(_) => good = verifying.good(),
                Err(_) => break,
            }
        },
        Err(_) => {}
    }
    volume.is_damaged(block(), generation, good).expect("it can be looked at").then_some(good)
}

#[test]
fn a_flipped_bit_is_found_in_data_table_and_header() {
    let layout = Layout::new(ByteSize::mib(2));
    for (place, found) in [
        (layout.data(7), Some(0)),
        (layout.data(LENGTH as u64 - 1), Some(1 << 20)),
        (layout.word(8192), Some(0)),
        (layout.word(LENGTH as u64 - 1), Some(1 << 20)),
        (50, Some(0)),
        (4000, None),
    ] {
        let bench = complete();
        assert_eq!(damage(&bench.volume), None);
        flip(&bench.complete(1), place);
        assert_eq!(damage(&bench.volume), found, "byte {place}");
    }
}

#[test]
fn a_replica_that_is_cut_or_deleted_while_it_is_read_is_not_taken_for_damaged() {
    let bench = complete();
    let mut verifying = bench.volume.begin_verify(block(), GenStamp::FIRST).expect("opens").expect("it is there");
    bench.begin(2, Some((1, 5000))).expect("resumes");
    bench.append(2, packet(4096, &[7; 4096], Flags::NONE)).expect("stores");
    verifying.next_piece().expect_err("it is another replica by now");
    assert!(!bench.volume.is_damaged(block(), GenStamp::FIRST, 0).expect("looks"));
    assert!(bench.volume.begin_verify(block(), GenStamp::FIRST).expect("looks").is_none());
    assert!(bench.volume.begin_verify(block(), GenStamp::new(2)).expect("looks").is_none(), "it is being written");
    bench.volume.delete(block(), GenStamp::new(2)).expect("deletes");
    assert!(!bench.volume.is_damaged(block(), GenStamp::new(2), 0).expect("looks"));
}

#[test]
fn how_far_the_scrubber_is_outlives_the_process() {
    let bench = complete();
    let next = bench.volume.scrub_next();
    bench.volume.scrub_passed(next.bucket, block());
    bench.volume.remember_scrub().expect("writes");
    let bench = bench.restart();
    assert_eq!((bench.volume.scrub_next().bucket, bench.volume.scrub_next().after), (next.bucket, Some(block())));
    bench.volume.scrub_now(5);
    bench.volume.remember_scrub().expect("writes");
    let bench = bench.restart();
    let asked = bench.volume.scrub_progress().asked.expect("it was asked for");
    assert_eq!((asked.pass, asked.ended), (5, false));
    fs::write(bench.directory.path().join(SCRUB_FILE), b"rubbish").expect("writes");
    let bench = bench.restart();
    assert_eq!(bench.volume.scrub_progress().asked, None);
    assert_eq!(bench.volume.scrub_next().after, None, "from the beginning");
}

#[test]
fn what_is_empty_has_nothing_unverified() {
    let bench = complete();
    types::inventory::Bucket::all().for_each(|bucket| drop(bench.volume.count(bucket).expect("counts")));
    assert!(!bench.volume.scrub_progress().oldest_unverified.is_zero());
    bench.volume.delete(block(), GenStamp::FIRST).expect("deletes");
    assert!(bench.volume.scrub_progress().oldest_unverified.is_zero());
}

#[test]
fn a_suspect_comes_once_and_first() {
    let bench = complete();
    bench.volume.suspect(block(), GenStamp::FIRST);
    bench.volume.suspect(block(), GenStamp::FIRST);
    assert_eq!(bench.volume.next_suspect(), Some((block(), GenStamp::FIRST)));
    assert_eq!(bench.volume.next_suspect(), None);
}
