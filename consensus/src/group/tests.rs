use super::*;

fn member(node: u64) -> Member {
    Member { node, address: String::new(), disk: Some(DiskId::from_bytes([node as u8; 16])) }
}

/// What was there and is nowhere any more was removed, for good.
#[test]
fn whoever_leaves_every_list_is_removed() {
    let group = Group::founding(vec![member(1), member(2), member(3)]);
    let joint =
        ConfState { voters: vec![3, 1], voters_outgoing: vec![2, 1, 3], auto_leave: true, ..ConfState::default() };
    let joint = group.after(8, joint, vec![]);
    assert_eq!((&joint.voters, &joint.outgoing, joint.changed), (&vec![1, 3], &vec![1, 2, 3], 8));
    assert_eq!(joint.members, group.members, "its vote is still needed");
    assert!(joint.votes(1) && !joint.votes(2));
    let told = Member { address: "127.0.0.1:3".to_owned(), ..member(3) };
    let left = joint.after(9, ConfState { voters: vec![1, 3], ..ConfState::default() }, vec![told.clone()]);
    assert_eq!((left.members, left.removed), (vec![member(1), told], vec![2]));
}

/// Golden: the entry outlives the program. Rubbish is not read as anything.
#[test]
fn an_entry_says_who_is_added() {
    let group = Group::founding(vec![member(1)]);
    let new = Member { address: "127.0.0.1:2".to_owned(), ..member(2) };
    let change = group.propose(1, &Change::Add(new.clone())).expect("legal");
    let bytes = change.write_to_bytes().expect("encodes");
    let told = [&b"\x81\x83\x02\x6b127.0.0.1:2\x50"[..], &[2; 16]].concat();
    let golden = [&b"\x12\x04\x08\x02\x10\x02\x1a"[..], &[told.len() as u8], &told].concat();
    assert_eq!(bytes, golden);
    assert_eq!(read(&bytes).map(|(_, told)| told), Some(vec![new]));
    assert_eq!(read(&[]).map(|(change, told)| (change.changes.len(), told)), Some((0, vec![])));
    assert!(read(&bytes[..bytes.len() - 1]).is_none());
    assert!(read(b"\x1a\x01\xff").is_none());
}
