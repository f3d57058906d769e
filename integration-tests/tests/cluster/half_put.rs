//! An object whose writer goes away before its end leaves nothing: no key, and no byte on a disk.

use std::fs;
use std::path::Path as FilePath;

use anyhow::Result;
use bytes::Bytes;
use integration_tests::{Cluster, Options, until};
use types::{Code, Path};

const MIB: u64 = 1 << 20;

/// Bytes of the blocks below a directory, finished or not.
fn bytes(directory: &FilePath) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // What is deleted meanwhile has none.
        sum += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes(&entry.path())?,
            Ok(metadata) if metadata.len() > MIB => metadata.len(),
            Ok(_) | Err(_) => 0,
        };
    }
    Ok(sum)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_ends_early_leaves_no_key_and_no_byte() -> Result<()> {
    let options = Options { namenodes: 1, ..Options::default() }
        .with("ASHLAR_NAMENODE__DELETE_HOLDOFF", "0s")
        .with("ASHLAR_NAMENODE__BLOCK_SIZE", "8MiB");
    let cluster = Cluster::start(options).await?;
    let client = cluster.client().await?;
    let objects = client.objects();
    objects.create_bucket("halves", &Path::parse(b"/halves")?, 0o700).await?;
    let upload = objects.create_upload("halves", b"whole", Vec::new()).await?;
    let stored = || {
        let names = cluster.names().into_iter().filter(|name| name.starts_with("dn"));
        names.map(|name| bytes(&cluster.root().join(name))).sum::<Result<u64>>()
    };
    // Two blocks that are complete, and one that is not.
    let mut object = objects.writer("halves", b"half", None).await?;
    let mut part = objects.part_writer(&upload, 1).await?;
    for _ in 0..20 {
        object.write(Bytes::from(vec![7; MIB as usize])).await?;
        part.write(Bytes::from(vec![7; MIB as usize])).await?;
    }
    until("the disks hold what was sent", async || Ok(stored()? >= 3 * 2 * 18 * MIB)).await?;
    drop((object, part));
    until("the disks hold nothing of it any more", async || Ok(stored()? == 0)).await?;
    let none = objects.head("halves", b"half").await.expect_err("it was never put");
    assert_eq!(none.code(), Code::NotFound);
    assert_eq!(objects.parts(&upload, 0, 10).await?.parts, Vec::new());
    cluster.finish(&[]).await
}
