//! What the check of a tree finds.

use super::*;
use crate::access::Caller;
use crate::error::QueryError;
use crate::fsck::{Broken, Fsck, Looked, Told, What};
use crate::key;
use crate::placement;
use crate::repair::{Facts, Health};
use crate::row::{self, BlockRow, DirectoryRow, ExtentRow, Usage};
use crate::rows::Rows;
use crate::view::Write;
use types::BlockOffset;

/// All that is told of `path`, and how much was looked at.
fn fsck(cluster: &Cluster, path: &str) -> (Vec<Told>, Looked) {
    let mut fsck = Fsck::new(&cluster.state, Caller::SYSTEM, &at(path)).expect("it is there");
    let mut told = Vec::new();
    while !fsck.step(&cluster.state, &Facts::default(), 1, &mut |one| told.push(one)).expect("memory does not fail") {}
    (told, fsck.looked())
}

/// What is wrong, and where.
fn broken(cluster: &Cluster) -> Vec<(String, Broken)> {
    let broken = fsck(cluster, "/").0.into_iter().filter_map(|told| match told.what {
        What::Broken(broken) => Some((String::from_utf8(told.path).expect("text"), broken)),
        What::Block { .. } => None,
    });
    broken.collect()
}

/// Two directories, one in the other, and in that one a file of one block.
fn tree() -> (Cluster, BlockId) {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.run(mkdir("/a/b")).expect("made");
    let block = cluster.write(session, "/a/b/f");
    (cluster, block)
}

impl Cluster {
    fn damage(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.state.store(vec![Write { key, value }]);
    }

    /// Changes a row that is there.
    fn change<T>(&mut self, key: Vec<u8>, change: impl FnOnce(&mut T))
    where
        T: for<'b> minicbor::Decode<'b, ()> + minicbor::Encode<()>,
    {
        let mut row: T = self.state.need(&key).expect("it is there");
        change(&mut row);
        self.damage(key, Some(row::encode(&row)));
    }
}

#[test]
fn every_block_of_a_tree_is_told_with_its_health() {
    let (cluster, block) = tree();
    let (told, looked) = fsck(&cluster, "/a");
    let row = cluster.state.block(block).expect("readable").expect("it lives");
    let health = Health { wanted: 3, live: 0, counted: 0, unreachable: 3, bad: 0 };
    let what = What::Block { offset: 0, length: ByteSize::new(10), block, row, health };
    assert_eq!(told, [Told { path: b"/a/b/f".to_vec(), inode: block.inode(), what }]);
    assert_eq!(looked, Looked { files: 1, directories: 2, blocks: 1, bytes: 10 });
    assert_eq!(fsck(&cluster, "/a/b/f").1, Looked { files: 1, directories: 0, blocks: 1, bytes: 10 });
}

#[test]
fn wrong_sums_are_told_of_one_directory_alone() {
    let (mut cluster, _) = tree();
    let inode = cluster.stat("/a/b").inode;
    let counted = cluster.stat("/a/b").usage.expect("a directory");
    cluster.change(key::directory(inode), |row: &mut DirectoryRow| row.usage.bytes += 5);
    let stored = Usage { bytes: counted.bytes + 5, ..counted };
    let expected = [("/a/b".to_owned(), Broken::Sums { stored, counted })];
    assert_eq!(broken(&cluster), expected);
    for above in [cluster.stat("/a").inode, InodeId::ROOT] {
        cluster.change(key::directory(above), |row: &mut DirectoryRow| row.usage.bytes += 5);
    }
    assert_eq!(broken(&cluster), expected, "those above followed");
}

#[test]
fn a_damaged_row_is_told_and_the_rest_is_checked() {
    let (mut cluster, block) = tree();
    let session = cluster.open_session();
    cluster.write(session, "/a/b/g");
    let inode = cluster.stat("/a/b").inode;
    cluster.damage(key::entry(inode, b"f"), Some(vec![9, 9, 9]));
    cluster.damage(key::block(block), None);
    let told = broken(&cluster);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(matches!(&told[0], (path, Broken::Unreadable(_)) if path == "/a/b/f"), "{told:?}");
    assert!(matches!(&told[1], (path, Broken::Sums { .. }) if path == "/a/b"), "{told:?}");
    assert_eq!(fsck(&cluster, "/").1.files, 1);
}

#[test]
fn an_inode_that_does_not_lead_back_to_its_name_is_told() {
    let (mut cluster, block) = tree();
    cluster.damage(key::link(block.inode()), None);
    assert_eq!(broken(&cluster)[0], ("/a/b/f".to_owned(), Broken::NoWayBack));
    let (mut cluster, _) = tree();
    let inode = cluster.stat("/a/b").inode;
    cluster.change(key::directory(inode), |row: &mut DirectoryRow| row.name = b"other".to_vec());
    assert_eq!(broken(&cluster), [("/a/b".to_owned(), Broken::OtherWayBack)]);
}

#[test]
fn content_that_is_not_whole_is_told() {
    let (mut cluster, block) = tree();
    let inode = block.inode();
    let only = |broken: Broken| vec![("/a/b/f".to_owned(), broken)];

    let mut lost = cluster.clone();
    lost.damage(key::block(block), None);
    assert_eq!(broken(&lost), only(Broken::NoBlock { offset: 0, block }));

    let mut short = cluster.clone();
    short.change(key::block(block), |row: &mut BlockRow| row.length = ByteSize::new(4));
    assert_eq!(broken(&short), only(Broken::OutOfBlock { offset: 0, block }));

    let mut counted = cluster.clone();
    counted.change(key::block(block), |row: &mut BlockRow| row.live = ByteSize::new(3));
    let (live, held) = (ByteSize::new(3), ByteSize::new(10));
    assert_eq!(broken(&counted), only(Broken::LiveBytes { offset: 0, block, live, held }));

    let mut fewer = cluster.clone();
    fewer.change(key::block(block), |row: &mut BlockRow| row.wanted = 2);
    assert_eq!(broken(&fewer), only(Broken::Wanted { block, wanted: 2, asked: 3 }));

    let mut closer = cluster.clone();
    closer.change(key::block(block), |row: &mut BlockRow| row.spread = Some(placement::Policy::TwoRacks));
    assert_eq!(broken(&closer), only(Broken::Spread { block }));

    let over = ExtentRow { block, length: ByteSize::new(2), block_offset: BlockOffset::ZERO };
    cluster.damage(key::extent(inode, 9), Some(row::encode(&over)));
    let told = broken(&cluster).into_iter().map(|(_, broken)| broken).collect::<Vec<_>>();
    let length = ByteSize::new(10);
    let expected = [
        Broken::Overlap { offset: 9 },
        Broken::BehindTheEnd { offset: 9, length },
        Broken::Extents { stored: 1, counted: 2 },
    ];
    assert_eq!(told, expected);
}

#[test]
fn only_who_sees_everything_may_check() {
    let (cluster, _) = tree();
    let user = crate::command::Principal { uid: 1000, gid: 1000, groups: vec![] };
    let refused = Fsck::new(&cluster.state, Caller::from(Some(&user)), &at("/a")).expect_err("it is refused");
    assert!(matches!(refused, QueryError::Refused(Error::OnlySuperuser { .. })), "{refused}");
    let refused = Fsck::new(&cluster.state, Caller::SYSTEM, &at("/none")).expect_err("it is refused");
    assert!(matches!(refused, QueryError::Refused(Error::NotFound { .. })), "{refused}");
}
