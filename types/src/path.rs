//! Names and paths of the namespace, in normal form (invariant 3).

use std::fmt;

/// The longest name of a directory entry, in bytes.
pub const MAX_NAME: usize = 255;
/// The longest path, in bytes, separators included.
pub const MAX_PATH: usize = 4096;

/// Why a text is not a path of the namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path is {length} bytes long; at most {MAX_PATH} are allowed")]
    PathTooLong { length: usize },
    #[error("a name is {length} bytes long; at most {MAX_NAME} are allowed")]
    NameTooLong { length: usize },
    #[error("an empty name is not allowed")]
    EmptyName,
    #[error("the name {name:?} is not allowed inside the namespace")]
    DotName { name: &'static str },
    #[error("a name holds a NUL byte or a slash")]
    BadByte,
}

/// The name of one directory entry: 1 to 255 bytes, any but `/` and NUL, and neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    pub fn new(bytes: &[u8]) -> Result<Self, PathError> {
        match bytes {
            b"" => Err(PathError::EmptyName),
            b"." => Err(PathError::DotName { name: "." }),
            b".." => Err(PathError::DotName { name: ".." }),
            _ if bytes.len() > MAX_NAME => Err(PathError::NameTooLong { length: bytes.len() }),
            _ if bytes.iter().any(|byte| matches!(byte, 0 | b'/')) => Err(PathError::BadByte),
            _ => Ok(Self(bytes.into())),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// A path in normal form: zero or more [`Name`]s, seen from a directory that the context names (the root, mostly).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path(Vec<Name>);

impl Path {
    /// The directory itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Reads a path: slashes separate names, and any number of them at the start, at the end or in a row count as one.
    /// `.` and `..` are refused rather than resolved: what is authorised is what is used.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.len() > MAX_PATH {
            return Err(PathError::PathTooLong { length: bytes.len() });
        }
        bytes
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
            .map(Name::new)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub fn names(&self) -> &[Name] {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory that holds the last name, and that name; nothing for the root.
    pub fn split_last(&self) -> Option<(Path, &Name)> {
        let (last, parents) = self.0.split_last()?;
        Some((Self(parents.to_vec()), last))
    }

    pub fn last(&self) -> Option<&Name> {
        self.0.last()
    }

    /// This path and one more name; refused when the result is too long.
    pub fn join(&self, name: Name) -> Result<Self, PathError> {
        let mut names = self.0.clone();
        names.push(name);
        let path = Self(names);
        match path.text_len() {
            length if length > MAX_PATH => Err(PathError::PathTooLong { length }),
            _ => Ok(path),
        }
    }

    /// Whether this path is `other` or lies below it.
    pub fn starts_with(&self, other: &Path) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The bytes that [`Path::parse`] reads back, with a slash in front.
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.is_root() {
            return b"/".to_vec();
        }
        let mut bytes = Vec::with_capacity(self.text_len());
        for name in &self.0 {
            bytes.push(b'/');
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes
    }

    fn text_len(&self) -> usize {
        self.0.iter().map(|name| 1 + name.as_bytes().len()).sum()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slashes_are_normalised_and_dots_refused() {
        let path = Path::parse(b"//a///b/").expect("legal");
        assert_eq!(path.to_bytes(), b"/a/b");
        assert_eq!(Path::parse(b"/"), Ok(Path::root()));
        assert_eq!(Path::parse(b"/a/../b"), Err(PathError::DotName { name: ".." }));
        assert_eq!(Path::parse(b"a/./b"), Err(PathError::DotName { name: "." }));
        assert_eq!(Path::parse(b"a\0b"), Err(PathError::BadByte));
    }

    #[test]
    fn limits_are_exact() {
        assert!(Name::new(&[b'a'; MAX_NAME]).is_ok());
        assert_eq!(Name::new(&[b'a'; MAX_NAME + 1]), Err(PathError::NameTooLong { length: MAX_NAME + 1 }));
        assert!(Path::parse(&b"a/".repeat(MAX_PATH / 2)).is_ok());
        assert_eq!(Path::parse(&[b'/'; MAX_PATH + 1]), Err(PathError::PathTooLong { length: MAX_PATH + 1 }));
    }

    proptest! {
        #[test]
        fn what_parses_is_stable(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(path) = Path::parse(&bytes) {
                prop_assert_eq!(Path::parse(&path.to_bytes()), Ok(path));
            }
        }
    }
}
