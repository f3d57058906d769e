//! Which replica may be damaged.

use std::collections::{BTreeMap, BTreeSet};

use super::Dice;

/// Whole replicas that a block must have before one of them is damaged.
const WHOLE: usize = 3;

/// A complete replica, as its file names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replica {
    /// Inode and number, as in the name of the file.
    pub block: String,
    pub generation: u64,
    pub datanode: usize,
}

impl Replica {
    /// By the name of its file; none if it is no replica.
    pub fn named(name: &str, datanode: usize) -> Option<Self> {
        let (block, generation) = name.rsplit_once('-')?;
        let generation = u64::from_str_radix(generation, 16).ok()?;
        Some(Self { block: block.to_owned(), generation, datanode })
    }
}

/// What lies on the disks.
pub type Replicas = BTreeMap<Replica, std::path::PathBuf>;

/// Which blocks have had their share.
#[derive(Debug, Default)]
pub struct Damage {
    done: BTreeSet<String>,
}

impl Damage {
    /// A replica of a block that has enough of them in its newest generation, and had none damaged so far: how many of those
    /// that are there are about to be deleted is not seen, and of three that are left at least one is not.
    pub fn choose(&mut self, replicas: &Replicas, dice: &mut Dice) -> Option<Replica> {
        let mut blocks: BTreeMap<&str, (u64, Vec<&Replica>)> = BTreeMap::new();
        for replica in replicas.keys() {
            let (newest, found) = blocks.entry(&replica.block).or_default();
            if replica.generation > *newest {
                (*newest, *found) = (replica.generation, Vec::new());
            }
            if replica.generation == *newest {
                found.push(replica);
            }
        }
        blocks.retain(|block, (_, found)| found.len() >= WHOLE && !self.done.contains(*block));
        let candidates: Vec<&Replica> = blocks.into_values().flat_map(|(_, found)| found).collect();
        let chosen = (*dice.pick(&candidates)?).clone();
        self.done.insert(chosen.block.clone());
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_disk(names: &[(&str, usize)]) -> Replicas {
        let named = |(name, node): &(&str, usize)| (Replica::named(name, *node).expect("a replica"), "x".into());
        names.iter().map(named).collect()
    }

    /// Invariant 5.
    #[test]
    fn one_replica_of_three_is_damaged_and_never_another_one() {
        let disks = on_disk(&[("01-02-03", 0), ("01-02-03", 1), ("01-02-03", 4), ("01-03-01", 0), ("01-03-01", 1)]);
        let (mut damage, mut dice) = (Damage::default(), Dice::new(1));
        let chosen = damage.choose(&disks, &mut dice).expect("one has three");
        assert_eq!((chosen.block.as_str(), chosen.generation), ("01-02", 3));
        assert_eq!(damage.choose(&disks, &mut dice), None);
    }

    #[test]
    fn replicas_of_an_older_generation_do_not_count() {
        let disks = on_disk(&[("01-02-01", 0), ("01-02-02", 1), ("01-02-02", 2)]);
        assert_eq!(Damage::default().choose(&disks, &mut Dice::new(1)), None);
        assert_eq!(Replica::named("volume.toml", 0), None);
    }
}
