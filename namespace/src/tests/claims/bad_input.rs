//! What no client of ours would ask for: a typed refusal, and no effect.

use super::*;
use crate::command::{AttrChange, Origin, Request};
use types::{Sequence, Timestamp};

impl Cluster {
    /// Refused with this code, and everything is as before.
    fn refuses(&mut self, command: Command, expected: Code) {
        let before = self.state.clone();
        assert_eq!(code(self.run(command.clone())), expected, "{command:?}");
        assert_eq!(self.state, before, "{command:?}");
    }
}

/// A name has 1 to 255 bytes and a path up to 4096, whatever is done with it.
#[test]
fn names_and_paths_beyond_their_limits_are_refused_by_every_command_that_takes_one() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d")).expect("made");
    cluster.run(put(to("/f"), b"x")).expect("put");
    let longest = "n".repeat(255);
    let (name, path) = (format!("/d/{longest}n"), format!("/d{}", format!("/{longest}").repeat(16)));
    assert!(path.len() > 4096);
    for bad in [&name, &path] {
        let change = AttrChange { mode: Some(0o600), ..AttrChange::default() };
        let refused = [
            mkdir(bad),
            put(to(bad), b"x"),
            rename("/f", bad, true),
            rename(bad, "/g", true),
            Command::Exchange { first: at("/f"), second: at(bad) },
            Command::Link { from: at("/f"), to: at(bad) },
            Command::SetAttr { place: at(bad), change },
            delete(bad),
        ];
        for command in refused {
            cluster.refuses(command, Code::NameTooLong);
        }
    }
    cluster.refuses(mkdir("/d/\0"), Code::InvalidArgument);
    cluster.run(put(to(&format!("/d/{longest}")), b"x")).expect("the longest name");
    cluster.run(rename("/f", &format!("/{longest}"), false)).expect("moved to the longest name");
    invariants::check(&cluster.state);
}

/// However the place below is named: by its path, by the number of a directory in it, or as one of two that change places.
#[test]
fn a_directory_comes_below_itself_by_no_way() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/a/b/c/d")).expect("made");
    cluster.run(mkdir("/x/y")).expect("made");
    let deep = cluster.stat("/a/b/c/d").inode.get();
    for (from, to) in [("/a", "/a/new"), ("/a", "/a/b/c/d/new"), ("/a/b", "/a/b/c/new")] {
        cluster.refuses(rename(from, to, false), Code::Cycle);
        cluster.refuses(rename(from, to, true), Code::Cycle);
    }
    let into = Command::Rename { from: at("/a"), to: inode(deep, "new"), overwrite: false };
    cluster.refuses(into.clone(), Code::Cycle);
    let parent = cluster.stat("/a/b").inode.get();
    let by_number = Command::Rename { from: inode(parent, "c"), to: inode(deep, "new"), overwrite: false };
    cluster.refuses(by_number, Code::Cycle);
    for (first, second) in [("/a", "/a/b/c"), ("/a/b/c/d", "/a")] {
        cluster.refuses(Command::Exchange { first: at(first), second: at(second) }, Code::Cycle);
    }
    // What was below one directory and is no more, may be above it.
    cluster.run(rename("/a/b/c/d", "/x/y/d", false)).expect("moved out");
    cluster.run(into).expect("no cycle any more");
    assert!(cluster.is_there("/x/y/d/new/b/c"));
    invariants::check(&cluster.state);
}

/// The number is what counts: whoever takes one again for something else gets the first answer, and nothing is done.
#[test]
fn another_command_under_a_used_number_has_no_effect() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let request = |sequence, command| {
        let origin = Some(Origin { session, sequence: Sequence::new(sequence) });
        Request { time: Timestamp::from_nanos(9_000_000), origin, command, principal: None }
    };
    let first = cluster.apply(&request(1, put(to("/f"), b"first")));
    let before = cluster.state.clone();
    for other in [put(over("/f"), b"second"), delete("/f"), mkdir("/d"), rename("/f", "/g", true)] {
        let again = cluster.apply(&request(1, other));
        assert_eq!((&again.reply, &again.writes), (&first.reply, &Vec::new()));
    }
    assert_eq!(cluster.state, before);
}

/// From its end on, and before the last of what it held is let go of.
#[test]
fn nothing_is_done_for_a_session_that_has_expired_or_never_was() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (inode, block) = cluster.create(session, Some(to("/open")));
    cluster.run(put(to("/f"), b"x")).expect("put");
    cluster.run(Command::ExpireSession { session, limit: 9 }).expect("ended");
    let written = done(block.block, 5, &[1, 2]);
    let commands = [
        mkdir("/d"),
        put(over("/f"), b"y"),
        create(Some(to("/new")), &[1, 2]),
        delete("/f"),
        rename("/f", "/g", true),
        Command::AddBlock { inode, previous: Some(written.clone()), targets: locations(&[1, 2]), min_replicas: 2 },
        Command::Extend { inode, written: written.clone() },
        Command::AbandonBlock { inode, block: block.block },
        complete(inode, Some(written), None),
        Command::AllocateBlocks { wanted: 2, targets: vec![locations(&[1, 2])] },
    ];
    let before = cluster.state.clone();
    for session in [session, SessionId::new(999)] {
        for command in commands.clone() {
            let refused = code(cluster.by(session, command.clone()));
            assert_eq!(refused, Code::SessionExpired, "{command:?}");
            assert_eq!(cluster.state, before, "{command:?}");
        }
    }
}
