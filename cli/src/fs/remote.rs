//! Paths of the cluster as people write them, patterns included.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use client::{Attributes, Client, Kind, Place};
use globset::{Candidate, GlobBuilder, GlobMatcher};
use types::{ErrorKind, Name, Path, PathError};

use crate::exit::Failure;

/// A path argument: as it was written, and as it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemotePath {
    pub(crate) path: Path,
    /// It ends in a slash: whoever wrote it means a directory.
    pub(crate) trailing_slash: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RemotePathError {
    #[error("paths in the cluster start with a slash, such as /{0}")]
    NotAbsolute(String),
    #[error("an empty path names nothing; the top directory is /")]
    Empty,
    #[error(transparent)]
    Path(#[from] PathError),
}

impl RemotePath {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, RemotePathError> {
        match bytes.first() {
            None => return Err(RemotePathError::Empty),
            Some(b'/') => {}
            Some(_) => return Err(RemotePathError::NotAbsolute(String::from_utf8_lossy(bytes).into_owned())),
        }
        Ok(Self { path: Path::parse(bytes)?, trailing_slash: bytes.len() > 1 && bytes.ends_with(b"/") })
    }

    /// For clap.
    pub(crate) fn from_argument(text: OsString) -> Result<Self, RemotePathError> {
        Self::parse(text.as_bytes())
    }

    fn is_pattern(&self) -> bool {
        self.path.names().iter().any(is_pattern)
    }
}

/// How clap reads a path of the cluster.
pub(crate) fn argument() -> impl clap::builder::TypedValueParser<Value = RemotePath> {
    use clap::builder::TypedValueParser as _;
    clap::builder::OsStringValueParser::new().try_map(RemotePath::from_argument)
}

fn is_pattern(name: &Name) -> bool {
    name.as_bytes().iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'{'))
}

/// Matches one name; `*`, `?`, `[a-z]`, `{one,two}`, and a backslash in front of what is meant literally.
fn matcher(name: &Name) -> Result<GlobMatcher, String> {
    let text = str::from_utf8(name.as_bytes()).map_err(|_| "a pattern must be UTF-8".to_owned())?;
    let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
    Ok(glob.map_err(|error| format!("not a pattern: {}", error.kind()))?.compile_matcher())
}

/// Something in the cluster that an argument names.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) path: Path,
    pub(crate) attributes: Attributes,
    /// The path names a symbolic link, and the attributes are those of what it leads to.
    pub(crate) followed: bool,
}

impl Found {
    /// What is to be changed: where a symbolic link leads is known by its number.
    pub(crate) fn place(&self) -> Place {
        if self.followed { self.attributes.inode.into() } else { (&self.path).into() }
    }

    pub(crate) fn new(path: Path, attributes: Attributes) -> Self {
        Self { path, attributes, followed: false }
    }
}

/// What an argument names: the object itself, or everything that the pattern matches, in byte order. Never nothing: that
/// is an error. A name that is there literally is never taken for a pattern.
pub(crate) async fn expand(client: &Client, argument: &RemotePath) -> Result<Vec<Found>, Failure> {
    let literal = match argument.trailing_slash {
        true => client.stat(&argument.path).await,
        false => client.lstat(&argument.path).await,
    };
    match literal {
        Ok(attributes) if argument.trailing_slash && !attributes.is_directory() => {
            Err(Failure::Failed(format!("{}: not a directory", argument.path)))
        }
        Ok(attributes) => Ok(vec![Found::new(argument.path.clone(), attributes)]),
        Err(error) if argument.is_pattern() && is_absent(&error) => {
            let mut found = matching(client, &argument.path).await?;
            if argument.trailing_slash {
                found.retain(|found| found.attributes.is_directory());
            }
            match found.is_empty() {
                true => Err(Failure::Failed(format!("{}: nothing matches this pattern", argument.path))),
                false => Ok(found),
            }
        }
        Err(error) => Err(Failure::Failed(error.brief())),
    }
}

/// The object, or nothing if no such object is there.
pub(crate) async fn stat_if_there(client: &Client, path: &Path) -> Result<Option<Attributes>, Failure> {
    match client.stat(path).await {
        Ok(attributes) => Ok(Some(attributes)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Nothing is there, or cannot be because a name on the way is a file.
pub(crate) fn is_absent(error: &client::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.code() == types::Code::NotDirectory
}

/// Walks the pattern name by name, keeping every path that can still match.
async fn matching(client: &Client, pattern: &Path) -> Result<Vec<Found>, Failure> {
    let mut reached = vec![Found::new(Path::root(), client.stat(&Path::root()).await?)];
    let names = pattern.names();
    for (at, name) in names.iter().enumerate() {
        let last = at + 1 == names.len();
        let glob = match is_pattern(name) {
            true => Some(matcher(name).map_err(|reason| Failure::Usage(format!("{pattern}: {reason}")))?),
            false => None,
        };
        let mut next = Vec::new();
        for found in reached {
            match &glob {
                None => {
                    let path = found.path.join(name.clone()).map_err(|error| Failure::Failed(error.to_string()))?;
                    next.extend(stat_if_there(client, &path).await?.map(|attributes| Found::new(path, attributes)));
                }
                Some(glob) => next.append(&mut matching_entries(client, &found.path, glob).await?),
            }
        }
        if !last {
            next.retain(|found| found.attributes.is_directory());
        }
        reached = next;
    }
    Ok(reached)
}

async fn matching_entries(client: &Client, directory: &Path, glob: &GlobMatcher) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    let mut listing = match client.list(directory).await {
        Ok(listing) => listing,
        Err(error) if is_absent(&error) => return Ok(found),
        Err(error) => return Err(error.into()),
    };
    while let Some(page) = listing.next_page().await? {
        for entry in page {
            if glob.is_match_candidate(&Candidate::from_bytes(entry.name.as_bytes())) {
                let path = directory.join(entry.name).map_err(|error| Failure::Failed(error.to_string()))?;
                found.push(Found::new(path, entry.attributes));
            }
        }
    }
    Ok(found)
}

/// As [`expand_as_named`], and symbolic links are followed to where they lead.
pub(crate) async fn expand_all(
    client: &Client,
    arguments: &[RemotePath],
    failures: &mut super::Failures,
) -> Result<Vec<Found>, Failure> {
    let mut all = Vec::new();
    for mut found in expand_as_named(client, arguments, failures).await? {
        if found.attributes.kind == Kind::Symlink {
            match client.stat(&found.path).await {
                Ok(attributes) => found = Found { attributes, followed: true, ..found },
                Err(error) => {
                    failures.add(error.into())?;
                    continue;
                }
            }
        }
        all.push(found);
    }
    Ok(all)
}

/// What every argument names; arguments that name nothing are reported, and the others still done.
pub(crate) async fn expand_as_named(
    client: &Client,
    arguments: &[RemotePath],
    failures: &mut super::Failures,
) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    for argument in arguments {
        match expand(client, argument).await {
            Ok(mut more) => found.append(&mut more),
            Err(failure) => failures.add(failure)?,
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_know_their_slash() {
        let parse = |text: &str| RemotePath::parse(text.as_bytes());
        assert_eq!(
            parse("/a//b/").map(|remote| (remote.path.to_string(), remote.trailing_slash)),
            Ok(("/a/b".into(), true))
        );
        assert_eq!(parse("/").map(|remote| (remote.path.is_root(), remote.trailing_slash)), Ok((true, false)));
        assert_eq!(parse(""), Err(RemotePathError::Empty));
        assert_eq!(
            parse("a/b").expect_err("relative").to_string(),
            "paths in the cluster start with a slash, such as /a/b"
        );
        assert_eq!(parse("/a/../b"), Err(RemotePathError::Path(PathError::DotName { name: ".." })));
    }

    #[test]
    fn patterns_match_names_byte_by_byte() {
        let matches = |pattern: &str, name: &[u8]| {
            let pattern = Name::new(pattern.as_bytes()).expect("a legal name");
            matcher(&pattern).expect("a legal pattern").is_match_candidate(&Candidate::from_bytes(name))
        };
        assert!(matches("*", b".hidden"));
        assert!(matches("*.txt", b"a.txt"));
        assert!(!matches("*.txt", b"a.txt2"));
        assert!(matches("a?c", b"abc"));
        assert!(!matches("a?c", b"ac"));
        assert!(matches("[a-c]1", b"b1"));
        assert!(!matches("[!a-c]1", b"b1"));
        assert!(matches("{one,two}", b"two"));
        assert!(matches(r"a\*", b"a*"));
        assert!(!matches(r"a\*", b"ab"));
        assert!(matches("*x", b"\xff\xfex"));
    }

    #[test]
    fn a_wrong_pattern_says_so() {
        let name = Name::new(b"a[").expect("a legal name");
        assert_eq!(matcher(&name).expect_err("unclosed"), "not a pattern: unclosed character class; missing ']'");
    }
}
