//! What a worker does next.

use super::Dice;

/// Files that a worker has at a time.
const FILES: usize = 10;
/// The longest file that is still added to.
const LONGEST: u64 = 6 << 20;

/// One thing to do, to the files that a worker has; they are named by their place in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A new file that appears whole, inline or of several blocks.
    Put {
        length: u64,
    },
    /// The same in place of another.
    Replace {
        file: usize,
        length: u64,
    },
    /// A new file that is visible while it is written, piece by piece, with a flush or a sync in between.
    Stream {
        pieces: u64,
        piece: u64,
    },
    Append {
        file: usize,
        pieces: u64,
        piece: u64,
    },
    /// A file is appended to by a client that vanishes without a word, and then taken from it.
    Vanish {
        file: usize,
        pieces: u64,
        piece: u64,
    },
    WriteAt {
        file: usize,
        offset: u64,
        length: u64,
    },
    Truncate {
        file: usize,
        length: u64,
    },
    /// To a new name, or over another file.
    Rename {
        file: usize,
        over: Option<usize>,
    },
    Delete {
        file: usize,
    },
    Read {
        file: usize,
    },
}

impl Task {
    pub const NAMES: [&str; 10] =
        ["put", "replace", "stream", "append", "vanish", "write at", "truncate", "rename", "delete", "read"];

    pub const fn name(self) -> &'static str {
        let at = match self {
            Self::Put { .. } => 0,
            Self::Replace { .. } => 1,
            Self::Stream { .. } => 2,
            Self::Append { .. } => 3,
            Self::Vanish { .. } => 4,
            Self::WriteAt { .. } => 5,
            Self::Truncate { .. } => 6,
            Self::Rename { .. } => 7,
            Self::Delete { .. } => 8,
            Self::Read { .. } => 9,
        };
        Self::NAMES[at]
    }
}

/// Chooses by the lengths of the files that are there.
pub fn choose(dice: &mut Dice, files: &[u64]) -> Task {
    let any = |dice: &mut Dice| (!files.is_empty()).then(|| dice.roll(files.len() as u64) as usize);
    let short = |dice: &mut Dice| any(dice).filter(|file| files[*file] <= LONGEST);
    let roll = dice.roll(30);
    let chosen = match roll {
        0..=3 => short(dice).map(|file| {
            let (pieces, piece) = pieces(dice);
            Task::Append { file, pieces, piece }
        }),
        4 => short(dice).map(|file| {
            let (pieces, piece) = pieces(dice);
            Task::Vanish { file, pieces, piece }
        }),
        5..=7 => any(dice).map(|file| Task::Replace { file, length: length(dice) }),
        8..=9 => short(dice).map(|file| {
            let offset = dice.between(0, files[file]);
            Task::WriteAt { file, offset, length: dice.between(1, 300_000) }
        }),
        10..=11 => any(dice).map(|file| Task::Truncate { file, length: dice.between(0, files[file] + 200_000) }),
        12..=14 => any(dice).map(|file| {
            let over = any(dice).filter(|over| *over != file && dice.roll(2) == 0);
            Task::Rename { file, over }
        }),
        15..=20 => any(dice).map(|file| Task::Read { file }),
        21..=23 if files.len() >= FILES / 2 => any(dice).map(|file| Task::Delete { file }),
        _ => None,
    };
    match chosen {
        Some(task) => task,
        None if files.len() >= FILES => Task::Delete { file: dice.roll(files.len() as u64) as usize },
        None if roll.is_multiple_of(2) => Task::Put { length: length(dice) },
        None => {
            let (pieces, piece) = pieces(dice);
            Task::Stream { pieces, piece }
        }
    }
}

/// Short enough to live with the inode, of one block, or of several.
fn length(dice: &mut Dice) -> u64 {
    match dice.roll(4) {
        0 => dice.between(0, 16 << 10),
        1..=2 => dice.between(16 << 10, 512 << 10),
        _ => dice.between(512 << 10, 3 << 20),
    }
}

fn pieces(dice: &mut Dice) -> (u64, u64) {
    (dice.between(1, 6), dice.between(1, 300_000))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everything_is_done_and_only_to_files_that_are_there() {
        let mut dice = Dice::new(1);
        let mut kinds = BTreeSet::new();
        for round in 0..4000 {
            let files: Vec<u64> = (0..round % 12).map(|at| at * 1_000_000).collect();
            let task = choose(&mut dice, &files);
            kinds.insert(task.name());
            match task {
                Task::Put { .. } | Task::Stream { .. } => assert!(files.len() < FILES),
                Task::Append { file, .. } | Task::Vanish { file, .. } => assert!(files[file] <= LONGEST),
                Task::WriteAt { file, offset, .. } => assert!(offset <= files[file]),
                Task::Rename { file, over } => assert!(file < files.len() && over != Some(file)),
                Task::Replace { file, .. }
                | Task::Truncate { file, .. }
                | Task::Delete { file }
                | Task::Read { file } => {
                    assert!(file < files.len());
                }
            }
        }
        assert_eq!(kinds, Task::NAMES.into_iter().collect());
    }
}
