//! Directories that were made through this mount, and that nobody else has changed: what is not in them is known without a
//! question. Unpacking, copying and checking out ask for each name before they make it.
//!
//! Invariant 6: at least the names that are in such a directory are noted here. They are noted before they are asked to be
//! made, and what others make ends it. Names that went, or never came, may be noted still.

use std::collections::{HashMap, HashSet};

use types::InodeId;

use super::kept::Slot;

/// Names in all of them.
const NAMES: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Own {
    directories: HashMap<InodeId, Names>,
    /// In all of them.
    count: usize,
}

#[derive(Debug, Default)]
struct Names {
    noted: HashSet<Box<[u8]>>,
    /// What others may have made in it before it was watched is noted too.
    complete: bool,
}

impl Own {
    /// A directory was made here, and is empty but for what others make.
    pub(super) fn made(&mut self, directory: InodeId) {
        self.directories.entry(directory).or_default();
    }

    pub(super) fn is_made(&self, directory: InodeId) -> bool {
        self.directories.get(&directory).is_some_and(|names| !names.complete)
    }

    /// Something of that name is going to be made here.
    pub(super) fn making(&mut self, slot: &Slot) {
        let Some(names) = self.directories.get_mut(&slot.directory) else { return };
        if names.noted.contains(slot.name.as_slice()) {
            return;
        }
        if self.count >= NAMES {
            return self.give_up(slot.directory);
        }
        names.noted.insert(slot.name.as_slice().into());
        self.count += 1;
    }

    /// It was removed here, and nothing of that name is being made.
    pub(super) fn removed(&mut self, slot: &Slot) {
        if let Some(names) = self.directories.get_mut(&slot.directory)
            && names.noted.remove(slot.name.as_slice())
        {
            self.count -= 1;
        }
    }

    /// All that was in it while it was watched and no other change was told; what is made here meanwhile may be missing.
    pub(super) fn complete<'a>(&mut self, directory: InodeId, names: impl Iterator<Item = &'a [u8]>) {
        for name in names {
            self.making(&Slot { directory, name: name.to_vec() });
        }
        if let Some(names) = self.directories.get_mut(&directory) {
            names.complete = true;
        }
    }

    /// Others may have changed it.
    pub(super) fn give_up(&mut self, directory: InodeId) {
        if let Some(names) = self.directories.remove(&directory) {
            self.count -= names.noted.len();
        }
    }

    /// Whether it is certain that there is no such name.
    pub(super) fn is_absent(&self, slot: &Slot) -> bool {
        let names = self.directories.get(&slot.directory);
        names.is_some_and(|names| names.complete && !names.noted.contains(slot.name.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORY: InodeId = InodeId::new(7);

    fn slot(name: &str) -> Slot {
        Slot { directory: DIRECTORY, name: name.as_bytes().to_vec() }
    }

    /// Invariant 6.
    #[test]
    fn a_name_is_absent_once_all_are_known_and_until_it_is_made() {
        let mut own = Own::default();
        own.making(&slot("elsewhere"));
        own.complete(DIRECTORY, std::iter::empty());
        assert!(!own.is_absent(&slot("a")), "it was not made here");
        own.made(DIRECTORY);
        own.making(&slot("early"));
        assert!(own.is_made(DIRECTORY) && !own.is_absent(&slot("a")), "others may have been faster");
        own.complete(DIRECTORY, [&b"other"[..]].into_iter());
        assert!(!own.is_made(DIRECTORY) && own.is_absent(&slot("a")));
        assert!(!own.is_absent(&slot("early")) && !own.is_absent(&slot("other")));
        own.making(&slot("a"));
        assert!(!own.is_absent(&slot("a")));
        own.removed(&slot("a"));
        assert!(own.is_absent(&slot("a")));
        own.give_up(DIRECTORY);
        assert!(!own.is_absent(&slot("a")));
        assert_eq!(own.count, 0);
    }

    /// Invariant 5.
    #[test]
    fn a_directory_with_too_many_names_is_given_up() {
        let mut own = Own::default();
        own.made(DIRECTORY);
        own.complete(DIRECTORY, std::iter::empty());
        for number in 0..NAMES {
            own.making(&slot(&number.to_string()));
            own.making(&slot(&number.to_string()));
        }
        assert!(own.is_absent(&slot("more")));
        own.making(&slot("more"));
        assert!(!own.is_absent(&slot("even more")));
        assert!(own.count == 0 && own.directories.is_empty());
    }
}
