//! A replica is ended without its writer.

use super::*;

const RECOVERY: GenStamp = GenStamp::new(5);

impl Bench {
    fn offer(&self) -> Result<(u64, bool), StoreError> {
        let Offered { length, intact } = self.volume.offer(block(), RECOVERY)?;
        Ok((length.get(), intact))
    }

    fn end(&self, length: usize) -> Result<(), StoreError> {
        self.volume.end(block(), RECOVERY, ByteSize::new(length as u64))
    }
}

/// Invariant 1.
#[test]
fn an_offer_stops_older_writers_and_changes_nothing_for_readers() {
    let bytes = content(CHUNK + 9);
    let bench = Bench::written(&bytes);
    assert_eq!(bench.offer().expect("offers"), (bytes.len() as u64, true));
    assert_eq!(bench.readable(1).expect("opens"), (bytes.clone(), false));
    let stale = |result| matches!(result, Err(StoreError::Stale { have }) if have == RECOVERY);
    let late = packet(CHUNK as u64, &content(CHUNK), Flags::NONE);
    assert!(stale(bench.append(1, late)), "the zombie's packet");
    assert!(stale(bench.begin(2, Some((1, 0))).map(|_| ())), "its new chain");
    assert!(stale(bench.begin(4, None).map(|_| ())));
    assert!(stale(bench.volume.offer(block(), GenStamp::new(4)).map(|_| ())), "an attempt that was overtaken");
    assert!(stale(bench.volume.end(block(), GenStamp::new(4), ByteSize::new(1))));
    assert_eq!(bench.readable(1).expect("opens"), (bytes, false));
    assert_eq!(bench.offer().expect("again"), (CHUNK as u64 + 9, true));
}

#[test]
fn a_replica_ends_at_the_agreed_length_and_outlives_a_restart() {
    for (have, length) in [(2 * CHUNK + 9, CHUNK + 5), (2 * CHUNK, CHUNK), (CHUNK + 9, CHUNK + 9), (77, 70)] {
        let bytes = content(have);
        let bench = Bench::written(&bytes);
        bench.offer().expect("offers");
        bench.end(length).expect("ends");
        assert_eq!(bench.readable(5).expect("opens"), (bytes[..length].to_vec(), true));
        bench.volume.verify(block(), RECOVERY, ByteSize::new(length as u64)).expect("verifies");
        assert!(matches!(bench.readable(1), Err(StoreError::Stale { have }) if have == RECOVERY));
        bench.end(length).expect("the order came twice");
        assert!(matches!(bench.end(length - 1), Err(StoreError::Short { .. })), "one attempt has one length");
        let bench = bench.restart();
        assert!(!bench.writing(1).exists() && !bench.writing(5).exists() && !bench.complete(1).exists());
        assert_eq!(bench.readable(5).expect("opens"), (bytes[..length].to_vec(), true));
        bench.end(length).expect("and after a restart");
    }
}

#[test]
fn a_torn_tail_is_not_offered() {
    let bytes = content(2 * CHUNK + 100);
    let bench = Bench::written(&bytes);
    let path = bench.writing(1);
    let bench = bench.restart();
    // The last bytes of the data did not reach the disk, their word did.
    File::options()
        .write(true)
        .open(&path)
        .expect("opens")
        .set_len(Layout::new(MAX).data(2 * CHUNK as u64 + 60))
        .expect("cuts");
    assert_eq!(bench.offer().expect("offers"), (2 * CHUNK as u64, false));
    assert!(matches!(bench.end(2 * CHUNK + 1), Err(StoreError::Short { .. })));
    bench.end(CHUNK + 3).expect("ends");
    assert_eq!(bench.readable(5).expect("opens"), (bytes[..CHUNK + 3].to_vec(), true));
}

#[test]
fn what_follows_a_flipped_bit_is_not_offered() {
    let bytes = content(3 * CHUNK);
    let bench = Bench::written(&bytes);
    flip(&bench.writing(1), Layout::new(MAX).data(CHUNK as u64 + 7));
    assert_eq!(bench.offer().expect("offers"), (CHUNK as u64, false));
    assert!(matches!(bench.end(2 * CHUNK), Err(StoreError::Short { available, .. }) if available == CHUNK as u64));
    bench.end(CHUNK).expect("ends before it");
    assert_eq!(bench.readable(5).expect("opens"), (bytes[..CHUNK].to_vec(), true));

    let bench = Bench::written(&bytes);
    flip(&bench.writing(1), Layout::new(MAX).word(0));
    assert_eq!(bench.offer().expect("offers"), (0, false), "a flipped word is as bad");
}

#[test]
fn damage_between_the_offer_and_the_end_is_noticed() {
    let bench = Bench::written(&content(2 * CHUNK));
    assert_eq!(bench.offer().expect("offers"), (2 * CHUNK as u64, true));
    flip(&bench.writing(1), Layout::new(MAX).data(3));
    assert!(matches!(bench.end(2 * CHUNK), Err(StoreError::Short { available: 0, .. })));
    assert!(!bench.complete(5).exists());
}

/// Its writer finished it, and was lost before it said so.
#[test]
fn a_complete_replica_is_offered_whole() {
    let bytes = content(CHUNK + 9);
    let bench = Bench::written(&bytes);
    bench.append(1, packet(bytes.len() as u64, b"", Flags::FINISH)).expect("finishes");
    let bench = bench.restart();
    assert_eq!(bench.offer().expect("offers"), (bytes.len() as u64, true));
    assert_eq!(bench.readable(1).expect("opens"), (bytes.clone(), true));
    assert!(matches!(bench.begin(2, Some((1, 0))), Err(StoreError::Stale { .. })), "not reopened by its old writer");
    bench.end(CHUNK + 2).expect("ends");
    assert_eq!(bench.readable(5).expect("opens"), (bytes[..CHUNK + 2].to_vec(), true));
    assert!(!bench.complete(1).exists());
}

#[test]
fn an_end_that_was_cut_short_by_a_crash_is_made_good() {
    let bytes = content(2 * CHUNK);
    let bench = Bench::written(&bytes);
    bench.offer().expect("offers");
    // As the cut leaves it: the new generation is in the header and in the name, and nothing is complete.
    bench.begin(5, Some((1, CHUNK as u64 + 1))).expect("cuts");
    let bench = bench.restart();
    assert_eq!(bench.offer().expect("offers"), (CHUNK as u64 + 1, false));
    bench.end(CHUNK + 1).expect("ends");
    assert_eq!(bench.readable(5).expect("opens"), (bytes[..CHUNK + 1].to_vec(), true));
}

#[test]
fn where_nothing_is_nothing_is_offered_and_a_deletion_takes_all() {
    let bench = Bench::new();
    assert!(matches!(bench.offer(), Err(StoreError::NoSuchReplica { .. })));
    assert!(matches!(bench.end(0), Err(StoreError::NoSuchReplica { .. })));
    let bench = Bench::written(&content(10));
    bench.offer().expect("offers");
    bench.volume.delete(block(), RECOVERY).expect("deletes");
    assert!(!bench.writing(1).exists());
    bench.volume.forget_deleted(block());
    bench.begin(2, None).expect("no fence is left");
}
