//! Whole trees through the command line.

use anyhow::Result;
use integration_tests::{Cluster, Options, Tree, snapshot};

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_comes_back_as_it_went_in() -> Result<()> {
    let cluster = Cluster::start(Options::default()).await?;
    let local = tempfile::tempdir()?;
    let (there, back) = (local.path().join("there"), local.path().join("back"));
    std::fs::create_dir(&there)?;
    Tree::make(&there, 150)?;

    cluster.ashlar(&["fs", "put", "-r", there.to_str().expect("plain"), "/tree"])?;
    cluster.ashlar(&["fs", "get", "-r", "/tree", back.to_str().expect("plain")])?;
    assert!(snapshot(&there)? == snapshot(&back)?, "the trees differ");

    // A copy inside the store, and its removal.
    cluster.ashlar(&["fs", "cp", "-r", "/tree", "/copy"])?;
    cluster.ashlar(&["fs", "mv", "/copy", "/moved"])?;
    let again = local.path().join("again");
    cluster.ashlar(&["fs", "get", "-r", "/moved", again.to_str().expect("plain")])?;
    assert!(snapshot(&there)? == snapshot(&again)?, "the copies differ");
    cluster.ashlar(&["fs", "rm", "-r", "--yes", "/moved"])?;
    assert_eq!(cluster.ashlar_raw(&["fs", "stat", "/moved"]).status.code(), Some(1));
    cluster.finish(&[]).await
}
