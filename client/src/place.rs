//! Where an object is: a path from the root, a name in a directory that is known by its inode, or that inode itself.

use std::fmt;

use types::{InodeId, Name, Path};

/// See the module. Made from a [`Path`], an [`InodeId`], or a directory's inode and a name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub(crate) base: InodeId,
    /// Empty: the base itself.
    pub(crate) path: Path,
}

impl From<Path> for Place {
    fn from(path: Path) -> Self {
        Self { base: InodeId::ROOT, path }
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        path.clone().into()
    }
}

impl From<&Self> for Place {
    fn from(place: &Self) -> Self {
        place.clone()
    }
}

impl From<InodeId> for Place {
    fn from(inode: InodeId) -> Self {
        Self { base: inode, path: Path::root() }
    }
}

impl From<(InodeId, Name)> for Place {
    fn from((directory, name): (InodeId, Name)) -> Self {
        Self { base: directory, path: Path::root().join(name).expect("a name is shorter than a path may be") }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.base {
            InodeId::ROOT => self.path.fmt(f),
            base if self.path.is_root() => base.fmt(f),
            base => write!(f, "{base}:{}", self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_shows_what_it_was_made_from() {
        let path = Path::parse(b"/a/b").expect("a path");
        let name = Name::new(b"c").expect("a name");
        let shown = [Place::from(&path), Place::from(InodeId::new(7)), Place::from((InodeId::new(7), name))];
        assert_eq!(shown.map(|place| place.to_string()), ["/a/b", "ino_7", "ino_7:/c"]);
    }
}
