//! What clients do: a few names, so that they get in each other's way.

use namespace::command::{AttrChange, BlockDone, Command, Destination, Layout, NewBlock, Ownership, Where, XattrMode};
use namespace::row::BlockLocation;
use types::{ByteSize, InodeId, NodeId, StorageId, TrashId};

use crate::dice::Dice;

const OWNER: Ownership = Ownership { uid: 1000, gid: 100, mode: 0o755, umask: None };
const LAYOUT: Layout = Layout { replication: 2, block_size: ByteSize::new(1 << 20), spread: None };
/// What is removed may be had back for so long.
const KEEP_NANOS: u64 = 300_000_000;
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A file that a client has open for writing.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub(crate) inode: InodeId,
    pub(crate) block: Option<NewBlock>,
}

fn path(dice: &mut Dice) -> Where {
    let depth = dice.between(1, 4);
    let names: Vec<&str> = (0..depth).map(|_| dice.one_of(&NAMES)).collect();
    Where { base: InodeId::ROOT, path: format!("/{}", names.join("/")).into_bytes() }
}

fn destination(dice: &mut Dice) -> Destination {
    Destination { place: path(dice), overwrite: dice.happens(600_000), parents: dice.happens(500_000) }
}

fn targets(dice: &mut Dice) -> Vec<BlockLocation> {
    let first = dice.below(4) as u8;
    let at = |number: u8| BlockLocation {
        node: NodeId::new(100 + u64::from(number)),
        storage: StorageId::from_bytes([number + 1; 16]),
    };
    vec![at(first), at((first + 1) % 4)]
}

fn done(dice: &mut Dice, block: &NewBlock) -> BlockDone {
    BlockDone {
        block: block.block,
        generation: block.generation,
        length: ByteSize::new(dice.between(1, 5000)),
        replicas: block.targets.iter().map(|target| target.storage).collect(),
    }
}

/// The next operation on a file that is open.
fn writing(dice: &mut Dice, open: &Open) -> Command {
    let inode = open.inode;
    let last = open.block.as_ref().map(|block| done(dice, block));
    match (dice.below(4), &open.block) {
        (0, _) => Command::AddBlock { inode, previous: last, targets: targets(dice), min_replicas: 1 },
        (1, Some(block)) => Command::AbandonBlock { inode, block: block.block },
        _ => Command::Complete { inode, last, min_replicas: 1, publish: None, mtime: None },
    }
}

pub(crate) fn next(dice: &mut Dice, open: &[Open]) -> Command {
    if !open.is_empty() && dice.happens(400_000) {
        let chosen = dice.below(open.len() as u64) as usize;
        return writing(dice, &open[chosen]);
    }
    match dice.below(20) {
        0..4 => Command::Mkdir { place: path(dice), ownership: OWNER, parents: dice.happens(500_000) },
        4..8 => {
            let length = dice.one_of(&[0, 20, 300, 4000, 12_000, 12_000]);
            let content = vec![dice.number() as u8; length];
            Command::PutInline {
                destination: destination(dice),
                ownership: OWNER,
                layout: LAYOUT,
                content,
                mtime: None,
            }
        }
        8..11 => Command::Create {
            destination: Some(destination(dice)),
            ownership: OWNER,
            layout: LAYOUT,
            targets: if dice.happens(700_000) { targets(dice) } else { vec![] },
        },
        11..14 => Command::Rename { from: path(dice), to: path(dice), overwrite: dice.happens(500_000) },
        14 => Command::Exchange { first: path(dice), second: path(dice) },
        15..17 => {
            let (place, recursive) = (path(dice), dice.happens(600_000));
            match place.path.ends_with(b"a") || place.path.ends_with(b"b") {
                true => Command::Trash { place, recursive, keep_nanos: KEEP_NANOS },
                false => Command::Delete { place, recursive },
            }
        }
        17 => {
            let change = AttrChange { mode: Some(0o750), replication: Some(2), ..AttrChange::default() };
            Command::SetAttr { place: path(dice), change }
        }
        18 => Command::SetXattr {
            place: path(dice),
            name: b"user.note".to_vec(),
            value: vec![7; dice.one_of(&[1, 900])],
            mode: XattrMode::Any,
        },
        _ => match path(dice) {
            to if to.path.ends_with(b"a") => {
                // Items have the numbers that inodes have not.
                let item = TrashId::new(dice.between(2, 400));
                Command::RestoreTrash { uid: 0, item, to: dice.happens(500_000).then_some(to), parents: true }
            }
            place => Command::RemoveXattr { place, name: b"user.note".to_vec() },
        },
    }
}
