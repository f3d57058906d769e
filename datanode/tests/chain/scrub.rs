//! Replicas that nobody reads are read by the scrubber.

use std::time::Duration;

use super::*;

const CONTENT: usize = (2 << 20) + 77;

/// Inverts a byte this far from the end of a file.
fn flip(replica: &std::path::Path, from_end: u64) {
    let file = File::options().read(true).write(true).open(replica).expect("opens");
    let place = file.metadata().expect("a size").len() - from_end;
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).expect("reads");
    file.write_all_at(&[!byte[0]], place).expect("writes");
}

fn report(namenode: &Namenode, node: &Node) -> v1::StorageReport {
    let storage = node.storage.as_bytes().to_vec();
    namenode.seen(|seen| seen.storages.get(&storage).cloned()).unwrap_or_default()
}

fn bad(namenode: &Namenode) -> Vec<u32> {
    let mut bad: Vec<u32> =
        namenode.seen(|seen| seen.bad.iter().map(|bad| bad.block.expect("a block").number).collect());
    bad.sort_unstable();
    bad.dedup();
    bad
}

/// Blocks 1 to 4 on a node; a byte of the data of 1 and of the checksums of 2 is not what it was.
async fn two_of_four_damaged(node: &Node) {
    let content = content(CONTENT);
    for number in 1..=4 {
        write(block(number), Level::Close, vec![node.hop()], &content).await;
    }
    let mut complete = node.complete();
    complete.sort();
    flip(&complete[0], 1_000_000);
    // The table is right before the data.
    flip(&complete[1], CONTENT as u64 + u64::from(4 * (MAX.get() / 4096) as u32) - 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_nobody_reads_is_found_within_the_scrub_interval() {
    let namenode = Namenode::start().await;
    let node = Node::scrubbed_every(&namenode, Duration::from_secs(2)).await;
    two_of_four_damaged(&node).await;
    until("both are reported", || bad(&namenode) == [1, 2]).await;
    until("the oldest byte is young", || {
        let oldest = report(&namenode, &node).oldest_unverified_ms;
        (1..4000).contains(&oldest)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_is_asked_for_reads_everything_now_and_tells_how_far_it_is() {
    let namenode = Namenode::start().await;
    let mut node = Node::start(&namenode).await;
    assert_eq!(report(&namenode, &node).scrub, None, "nobody has asked");
    two_of_four_damaged(&node).await;
    let task = v1::Task { kind: Some(v1::task::Kind::Scrub(v1::Scrub { pass: 77 })) };
    assert_eq!(result_of(&namenode, &node, task.clone()).await.error, None);
    let ended = || report(&namenode, &node).scrub.filter(|scrub| scrub.ended);
    until("the pass has ended", || ended().is_some()).await;
    let scrub = ended().expect("just seen");
    assert_eq!((scrub.pass, scrub.bad, bad(&namenode)), (77, 2, vec![1, 2]));
    assert_eq!(scrub.checked, scrub.bytes);
    assert!(scrub.bytes > 4 * CONTENT as u64, "{scrub:?}");

    // It is over, whoever asks for it again, and after a restart.
    namenode.seen(|seen| seen.results.clear());
    assert_eq!(result_of(&namenode, &node, task).await.error, None);
    node.stop().await;
    namenode.seen(|seen| seen.storages.clear());
    node.run().await;
    until("the node reports", || report(&namenode, &node).scrub.is_some()).await;
    let after = report(&namenode, &node).scrub.expect("just seen");
    assert_eq!((after.pass, after.bad, after.ended), (77, 2, true));
}
