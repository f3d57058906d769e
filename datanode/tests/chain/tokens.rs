//! Invariant 4 of the crate: every operation, with every token that is not good.

use std::time::Duration;

use transfer::{Read, Reader, Resume};
use types::BlockOffset;
use types::token::Subject;

use super::*;
use crate::bench::{NOW, key};

const LENGTH: u64 = 100_000;

/// What is wrong with a token, and what a datanode says to it.
pub(crate) fn bad_tokens(right: Right, generation: GenStamp) -> Vec<(&'static str, Token, Code)> {
    let subject = Subject { cluster: CLUSTER, block: block(1), generation };
    let later = NOW.saturating_add(Duration::from_secs(3600));
    let sign =
        |id, subject: &Subject, right, until| proto::token_key(&key(id)).expect("a key").sign(subject, right, until);
    let flipped = |token: Token| {
        let mut bytes = token.as_bytes().to_vec();
        bytes[20] ^= 1;
        Token::from_bytes(&bytes)
    };
    // A token to copy lets a datanode read, and a token to read does as well: both are no use for writing.
    let weaker: Vec<Right> = match right {
        Right::Write => vec![Right::Read, Right::Copy],
        Right::Read | Right::Copy => vec![Right::Write],
    };
    let mut bad = vec![
        ("none", Token::default(), Code::Denied),
        ("rubbish", Token::from_bytes(b"rubbish"), Code::Denied),
        ("another block", sign(1, &Subject { block: block(2), ..subject }, right, later), Code::Denied),
        (
            "another generation",
            sign(1, &Subject { generation: GenStamp::new(9), ..subject }, right, later),
            Code::Denied,
        ),
        (
            "another cluster",
            sign(1, &Subject { cluster: ClusterId::from_bytes([1; 16]), ..subject }, right, later),
            Code::Denied,
        ),
        ("a flipped bit", flipped(sign(1, &subject, right, later)), Code::Denied),
        ("expired", sign(1, &subject, right, NOW), Code::TokenExpired),
        ("a key that nobody has told", sign(2, &subject, right, later), Code::Busy),
    ];
    bad.extend(weaker.into_iter().map(|weak| ("another right", sign(1, &subject, weak, later), Code::Denied)));
    bad
}

/// The code that a request is refused with.
async fn refused(node: &Node, request: Control) -> Option<Code> {
    let mut wire = Wire::connect(node.address, CLUSTER).await.expect("connects");
    wire.send(&Frame::Control(request)).await;
    match wire.next().await {
        Some(Frame::Control(Control::Failed(failed))) => Some(failed.code),
        _ => None,
    }
}

fn setup(node: &Node, generation: GenStamp, resume: Option<Resume>, token: Token) -> Control {
    let (storage, downstream, level) = (node.storage, Vec::new(), Level::Close);
    Control::Setup(Setup { block: block(1), generation, storage, downstream, level, max_length: MAX, resume, token })
}

fn read_with(node: &Node, token: Token) -> Control {
    let (offset, length) = (BlockOffset::new(0), ByteSize::new(LENGTH));
    let request = Read { block: block(1), generation: GenStamp::FIRST, storage: node.storage, offset, length, token };
    Reader::new(request).request()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_not_written_without_a_good_token() {
    let namenode = Namenode::start().await;
    let node = Node::start(&namenode).await;
    for (flaw, token, code) in bad_tokens(Right::Write, GenStamp::FIRST) {
        assert_eq!(refused(&node, setup(&node, GenStamp::FIRST, None, token)).await, Some(code), "{flaw}");
    }
    let writing = std::fs::read_dir(node.directory.path().join("writing")).expect("lists").count();
    assert_eq!((writing, node.complete().len()), (0, 0), "nothing is left of them");
    let good = token(block(1), GenStamp::FIRST, Right::Write);
    assert_eq!(refused(&node, setup(&node, GenStamp::FIRST, None, good)).await, None);
}

/// The first hop checks, and every hop behind it once more: what the first lets pass another may not.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_not_gone_on_with_without_a_good_token_and_stays_as_it_is() {
    let namenode = Namenode::start().await;
    let node = Node::start(&namenode).await;
    let content = content(LENGTH as usize);
    write(block(1), Level::Close, vec![node.hop()], &content).await;
    let generation = GenStamp::new(2);
    let resume = Some(Resume { from_generation: GenStamp::FIRST, offset: BlockOffset::new(10) });
    for (flaw, token, code) in bad_tokens(Right::Write, generation) {
        assert_eq!(refused(&node, setup(&node, generation, resume, token)).await, Some(code), "{flaw}");
        assert!(read(&node, block(1), 1, 0, LENGTH).await.expect("reads") == content, "{flaw}");
    }
    // The token of the generation before is of no use either.
    let old = token(block(1), GenStamp::FIRST, Right::Write);
    assert_eq!(refused(&node, setup(&node, generation, resume, old)).await, Some(Code::Denied));
    assert_eq!(refused(&node, setup(&node, generation, resume, second())).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_not_read_without_a_good_token_and_a_copy_is_a_read() {
    let namenode = Namenode::start().await;
    let node = Node::start(&namenode).await;
    write(block(1), Level::Close, vec![node.hop()], &content(LENGTH as usize)).await;
    for (flaw, token, code) in bad_tokens(Right::Read, GenStamp::FIRST) {
        assert_eq!(refused(&node, read_with(&node, token)).await, Some(code), "{flaw}");
    }
    for right in [Right::Read, Right::Copy] {
        assert_eq!(refused(&node, read_with(&node, token(block(1), GenStamp::FIRST, right))).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_not_copied_without_a_good_token_and_its_source_is_not_blamed() {
    let namenode = Namenode::start().await;
    let [source, target] = [Node::start(&namenode).await, Node::start(&namenode).await];
    write(block(1), Level::Close, vec![source.hop()], &content(LENGTH as usize)).await;
    for (flaw, token, code) in bad_tokens(Right::Copy, GenStamp::FIRST) {
        let mut task = copy(&[&source], &target, LENGTH);
        if let Some(v1::task::Kind::Copy(copy)) = &mut task.kind {
            copy.token = Some((&token).into());
        }
        let result = result_of(&namenode, &target, task).await;
        assert_eq!(result.error.map(|error| error.typed_code()), Some(code), "{flaw}");
        assert_eq!((result.bad_sources.len(), target.complete().len()), (0, 0), "{flaw}");
        namenode.seen(|seen| seen.results.clear());
    }
}

/// A node that was just started knows nobody's rights: it serves nobody, and says that this will pass.
#[tokio::test(flavor = "multi_thread")]
async fn before_it_has_heard_a_leader_a_node_serves_nobody() {
    let namenode = Namenode::start().await;
    let mut node = Node::start(&namenode).await;
    write(block(1), Level::Close, vec![node.hop()], &content(LENGTH as usize)).await;
    node.stop().await;
    namenode.seen(|seen| seen.keys.clear());
    node.launch().await;
    assert_eq!(failed_with(read(&node, block(1), 1, 0, 1).await), Code::Busy);
    let resume = Some(Resume { from_generation: GenStamp::FIRST, offset: BlockOffset::new(10) });
    assert_eq!(refused(&node, setup(&node, GenStamp::new(2), resume, second())).await, Some(Code::Busy));
    namenode.seen(|seen| seen.keys = vec![key(1)]);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while read(&node, block(1), 1, 0, 1).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "it hears the keys again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// While a file is open the keys change: old tokens are good as long as their key is told.
#[tokio::test(flavor = "multi_thread")]
async fn keys_come_and_go_with_heartbeats() {
    let namenode = Namenode::start().await;
    let node = Node::start(&namenode).await;
    write(block(1), Level::Close, vec![node.hop()], &content(LENGTH as usize)).await;
    let [old, new] = [1, 2].map(|id| {
        let subject = Subject { cluster: CLUSTER, block: block(1), generation: GenStamp::FIRST };
        let until = NOW.saturating_add(Duration::from_secs(3600));
        proto::token_key(&key(id)).expect("a key").sign(&subject, Right::Read, until)
    });
    for (keys, expected) in [
        (vec![key(1), key(2)], (None, None)),
        (vec![key(2)], (Some(Code::Busy), None)),
        (vec![key(1)], (None, Some(Code::Busy))),
    ] {
        namenode.seen(|seen| seen.keys = keys);
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            let found = (
                refused(&node, read_with(&node, old.clone())).await,
                refused(&node, read_with(&node, new.clone())).await,
            );
            if found == expected {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{found:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
