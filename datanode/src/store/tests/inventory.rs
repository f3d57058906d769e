//! What is known of what a volume holds.

use types::inventory::{BUCKETS, Bucket, Digest, Stored};

use super::*;

/// A volume with replicas of these inodes, each of one block.
fn holding(inodes: &[u64]) -> Bench {
    let bench = Bench::new();
    for inode in inodes {
        store_whole(&bench.volume, *inode, &content(100));
    }
    bench
}

fn block_of(inode: u64) -> BlockId {
    BlockId::new(InodeId::new(inode), 0)
}

fn store_whole(volume: &Volume, inode: u64, bytes: &[u8]) {
    let block = block_of(inode);
    let begin = Begin { block, generation: GenStamp::FIRST, level: Level::Close, max_length: MAX, resume: None };
    volume.begin(&begin).expect("begins");
    let mut words = Vec::new();
    append_words(block, 0, bytes, &mut words);
    let data = Bytes::copy_from_slice(bytes);
    let flags = Flags::FINISH;
    let packet = Packet { sequence: 0, offset: BlockOffset::new(0), flags, words: words.into(), data };
    volume.append(block, GenStamp::FIRST, &[packet]).expect("finishes");
}

fn count_all(volume: &Volume) -> Vec<Counted> {
    let counted = Bucket::all().map(|bucket| volume.count(bucket).expect("counts"));
    counted.filter(|counted| *counted != Counted::default()).collect()
}

fn stored(inode: u64) -> Stored {
    Stored { block: block_of(inode), generation: GenStamp::FIRST, length: ByteSize::new(100) }
}

fn digests_of(inodes: &[u64]) -> Vec<Digest> {
    let mut digests = vec![Digest::default(); BUCKETS];
    inodes.iter().for_each(|inode| digests[Bucket::of(block_of(*inode)).index()].add(&stored(*inode)));
    digests
}

/// What is kept up to date and what a walk counts are the same, also after a restart.
#[test]
fn the_digests_are_those_of_what_is_complete() {
    let bench = holding(&[1, 300, 70_000]);
    assert_eq!(bench.volume.digests(), None, "nothing is known before all was counted");
    assert_eq!(count_all(&bench.volume), []);
    assert_eq!(bench.volume.digests(), Some(digests_of(&[1, 300, 70_000])));
    store_whole(&bench.volume, 301, &content(100));
    bench.volume.delete(block_of(1), GenStamp::FIRST).expect("deletes");
    bench.begin(1, None).expect("a replica that is being written does not count");
    let expected = Some(digests_of(&[300, 301, 70_000]));
    assert_eq!(bench.volume.digests(), expected);
    assert_eq!(count_all(&bench.volume), [], "a walk finds nothing new");
    let usage = bench.volume.usage();
    assert_eq!(usage.replicas, 3);
    bench.volume.remember_usage().expect("notes");
    let bench = bench.restart();
    assert_eq!((bench.volume.usage(), bench.volume.digests()), (usage, None), "the size is known at once");
    bench.volume.delete(block_of(300), GenStamp::FIRST).expect("deletes");
    assert_eq!(bench.volume.usage().replicas, 2);
    assert_eq!(count_all(&bench.volume), []);
    assert_eq!(bench.volume.digests(), Some(digests_of(&[301, 70_000])));
}

#[test]
fn what_is_told_is_told_again_until_it_was_heard() {
    let bench = holding(&[1, 2]);
    let changes = [Delta::Stored(stored(1)), Delta::Stored(stored(2))];
    assert_eq!(bench.volume.deltas(9), (0, changes.to_vec()));
    bench.volume.deltas_heard(1);
    bench.volume.delete(block_of(1), GenStamp::FIRST).expect("deletes");
    bench.volume.note_bad(block_of(2), GenStamp::FIRST);
    bench.volume.note_bad(block_of(2), GenStamp::FIRST);
    let (block, generation) = (block_of(1), GenStamp::FIRST);
    let bad = Delta::Bad { block: block_of(2), generation };
    assert_eq!(bench.volume.deltas(9), (1, vec![changes[1], Delta::Deleted { block, generation }, bad]));
    assert_eq!(bench.volume.deltas(1), (1, vec![changes[1]]));
    bench.volume.deltas_heard(99);
    assert_eq!(bench.volume.deltas(9), (4, vec![]), "numbers go on");
}

#[test]
fn a_walk_finds_what_vanished_and_what_is_not_what_it_says() {
    let bench = holding(&[1, 300, 600, 900]);
    count_all(&bench.volume);
    let path = |inode| final_path(bench.directory.path(), block_of(inode), GenStamp::FIRST);
    bench.volume.deltas_heard(4);
    fs::remove_file(path(1)).expect("removes");
    File::options().write(true).open(path(300)).expect("opens").set_len(8200).expect("cuts");
    fs::copy(path(900), path(600)).expect("copies");
    // Not a replica, and not in its place: nobody's.
    fs::write(path(900).with_file_name("lost+found"), b"").expect("writes");
    fs::copy(path(900), path(900).with_file_name("0000000000000005-00000000-0000000000000001")).expect("copies");
    let found = count_all(&bench.volume);
    let bad: Vec<BlockId> = found.iter().flat_map(|counted| &counted.bad).map(|(block, ..)| *block).collect();
    assert_eq!((bad, found.len()), (vec![block_of(300), block_of(600)], 3), "{found:?}");
    assert!(found.iter().all(|counted| counted.strayed), "{found:?}");
    assert_eq!(bench.volume.digests(), Some(digests_of(&[900])));
    let strayed = [1, 300, 600].map(|inode| Delta::Strayed(Bucket::of(block_of(inode))));
    assert_eq!(bench.volume.deltas(9), (4, strayed.to_vec()));
    assert!(count_all(&bench.volume).iter().all(|counted| !counted.strayed), "told once");
}

/// What an interrupted finish left.
#[test]
fn an_older_generation_beside_a_newer_one_goes() {
    let bench = Bench::written(&content(10));
    bench.append(1, packet(10, b"", Flags::FINISH)).expect("finishes");
    let older = fs::read(bench.complete(1)).expect("reads");
    bench.begin(2, Some((1, 10))).expect("goes on");
    bench.append(2, packet(10, b"", Flags::FINISH)).expect("finishes");
    fs::write(bench.complete(1), older).expect("writes");
    bench.volume.count(Bucket::of(block())).expect("counts");
    assert!(!bench.complete(1).exists() && bench.complete(2).exists());
    assert_eq!(bench.volume.usage().replicas, 1);
}

#[test]
fn an_unreadable_note_of_the_size_does_not_stop_a_volume() {
    let bench = holding(&[1]);
    fs::write(bench.directory.path().join("usage.toml"), b"\xff").expect("writes");
    let bench = bench.restart();
    assert_eq!(bench.volume.usage(), Usage::default());
    count_all(&bench.volume);
    assert_eq!(bench.volume.usage().replicas, 1);
}

#[test]
fn a_replica_that_nobody_completes_is_told_again_and_again() {
    let bench = Bench::written(&content(10));
    let bucket = Bucket::of(block());
    assert!(!bench.volume.note_left(bucket), "somebody writes it");
    bench.volume.leave(block(), GenStamp::FIRST);
    let left = Delta::Left { block: block(), generation: GenStamp::FIRST };
    assert!(bench.volume.note_left(bucket) && bench.volume.note_left(bucket));
    assert_eq!(bench.volume.deltas(9), (0, vec![left]), "not twice before it was heard");
    bench.volume.deltas_heard(1);
    assert!(bench.volume.note_left(bucket));
    assert_eq!(bench.volume.deltas(9), (1, vec![left]));
    let bench = bench.restart();
    assert!(bench.volume.note_left(bucket), "after a restart too");
    bench.volume.delete(block(), GenStamp::FIRST).expect("deletes");
    assert!(!bench.volume.note_left(bucket));
}

/// The process ended between the name of the file and its header.
#[test]
fn a_file_in_writing_that_tells_nothing_is_removed_by_whoever_looks() {
    let bench = Bench::written(&content(10));
    let path = writing_path(bench.directory.path(), block(), GenStamp::FIRST);
    let bench = bench.restart();
    fs::write(&path, b"").expect("writes");
    // A deletion of a later generation does not know its name.
    bench.volume.delete(block(), GenStamp::new(3)).expect("deletes");
    assert!(!path.exists());
}
