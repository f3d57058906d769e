//! Readers on the machine of a datanode are handed the files of replicas.

use std::io::{IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use transfer::message::Hello;
use transfer::{OpenLocal, OpenedLocal};

use super::*;
use crate::tokens::bad_tokens;

const LENGTH: usize = 100_000;

/// What a datanode answers, and the file that it hands out.
async fn open(node: &Node, generation: u64, storage: StorageId, token: Token) -> (Control, Option<File>) {
    let socket = node.directory.path().join("local.sock");
    let question = OpenLocal { block: block(1), generation: GenStamp::new(generation), storage, token };
    tokio::task::spawn_blocking(move || {
        let stream = UnixStream::connect(socket).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let hello = Control::Hello(Hello::new(CLUSTER)).to_frame();
        std::io::Write::write_all(&mut &stream, &[hello, Control::OpenLocal(question).to_frame()].concat())
            .expect("sends");
        let (mut received, mut file) = (bytes::BytesMut::new(), None);
        loop {
            match frame::decode(&mut received).expect("frames") {
                Some(Frame::Control(Control::HelloAck(_))) => continue,
                Some(Frame::Control(answer)) => return (answer, file),
                Some(other) => panic!("no answer: {other:?}"),
                None => {}
            }
            let mut bytes = [0; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let got = recvmsg(&stream, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC);
            let got = got.expect("an answer in time").bytes;
            assert!(got > 0, "closed without an answer");
            received.extend_from_slice(&bytes[..got]);
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                    file = descriptors.next().map(File::from);
                }
            }
        }
    })
    .await
    .expect("no panic")
}

fn to_read(generation: u64) -> Token {
    token(block(1), GenStamp::new(generation), Right::Read)
}

fn code_of(answer: (Control, Option<File>)) -> Code {
    match answer {
        (Control::Failed(failed), None) => failed.code,
        other => panic!("it is refused, not {other:?}"),
    }
}

fn content_of((answer, file): (Control, Option<File>)) -> (Vec<u8>, File) {
    let (Control::OpenedLocal(OpenedLocal { length, data, .. }), Some(file)) = (answer, file) else {
        panic!("a file is handed out");
    };
    let mut content = vec![0; length.get() as usize];
    file.read_exact_at(&mut content, data).expect("reads");
    (content, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_replica_is_handed_out_and_its_bytes_stay_when_it_goes() {
    let namenode = Namenode::start().await;
    let node = Node::start(&namenode).await;
    let content = content(LENGTH);
    write(block(1), Level::Close, vec![node.hop()], &content).await;
    let (read, file) = content_of(open(&node, 1, node.storage, to_read(1)).await);
    assert!(read == content);
    assert!(std::io::Write::write(&mut &file, b"x").is_err(), "it is open for reading only");
    assert_eq!(result_of(&namenode, &node, delete(&node, 1)).await.error, None);
    assert_eq!(code_of(open(&node, 1, node.storage, to_read(1)).await), Code::NoSuchBlock);
    let mut again = Vec::new();
    (&file).read_to_end(&mut again).expect("reads");
    assert!(again.ends_with(&content));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_is_handed_out_without_a_good_token_to_read() {
    let namenode = Namenode::start().await;
    let node = Node::start(&namenode).await;
    write(block(1), Level::Close, vec![node.hop()], &content(LENGTH)).await;
    for (flaw, token, code) in bad_tokens(Right::Read, GenStamp::FIRST) {
        assert_eq!(code_of(open(&node, 1, node.storage, token).await), code, "{flaw}");
    }
    let to_copy = token(block(1), GenStamp::FIRST, Right::Copy);
    assert_eq!(code_of(open(&node, 1, node.storage, to_copy).await), Code::Denied, "copies go over the network");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_written_is_gone_or_is_elsewhere_is_not_handed_out() {
    let namenode = Namenode::start().await;
    let node = Node::start(&namenode).await;
    let content = content(LENGTH);
    let mut chain = Chain::open(block(1), Level::Close, vec![node.hop()]).await;
    chain.give(Input::Write(content.clone())).await;
    chain.flush(true).await;
    assert_eq!(code_of(open(&node, 1, node.storage, to_read(1)).await), Code::Busy);
    assert!(matches!(chain.finish().await, Output::Finished { .. }));
    assert!(content_of(open(&node, 1, node.storage, to_read(1)).await).0 == content);
    assert_eq!(code_of(open(&node, 2, node.storage, to_read(2)).await), Code::NoSuchBlock);
    let stranger = StorageId::from_bytes([9; 16]);
    assert_eq!(code_of(open(&node, 1, stranger, to_read(1)).await), Code::NoSuchBlock);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_rubbish_on_the_local_socket_are_refused_and_the_node_lives() {
    let namenode = Namenode::start().await;
    let mut node = Node::start(&namenode).await;
    write(block(1), Level::Close, vec![node.hop()], &content(LENGTH)).await;
    let socket = node.directory.path().join("local.sock");
    let said = |bytes: Vec<u8>| {
        let socket = socket.clone();
        tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(socket).expect("connects");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
            // It may be closed before all of it is sent.
            let _ = std::io::Write::write_all(&mut stream, &bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            answer
        })
    };
    for rubbish in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0; 100_000], b"As\x01\x02\xff\xff\x0f\x00".repeat(4000)] {
        said(rubbish).await.expect("no panic");
    }
    let foreign = Control::Hello(Hello::new(ClusterId::from_bytes([1; 16]))).to_frame();
    assert!(!said(foreign.to_vec()).await.expect("no panic").is_empty(), "it is told why");
    assert!(content_of(open(&node, 1, node.storage, to_read(1)).await).0 == content(LENGTH));
    // What a process that was killed leaves behind is in nobody's way.
    node.stop().await;
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("binds"));
    node.run().await;
    assert!(content_of(open(&node, 1, node.storage, to_read(1)).await).0 == content(LENGTH));
}
