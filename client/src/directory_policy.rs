//! What directories say of the files that are made below them: how many copies, and over which racks.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::v1;
use proto::v1::op::Kind as Op;
use serde::Serialize;
use types::{InodeId, Path};

use crate::error::{Error, Fault};
use crate::metadata::{Metadata, Scope};
use crate::object::Attributes;
use crate::place::Place;
use crate::store::Client;
use crate::wire;

/// How the replicas of a block are spread over racks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Spread {
    /// Over two.
    #[serde(rename = "two-racks")]
    TwoRacks,
    /// Over as many as there are.
    #[serde(rename = "spread")]
    Wide,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no way to spread copies; choose two-racks or spread")]
pub struct ParseSpreadError(String);

impl FromStr for Spread {
    type Err = ParseSpreadError;

    fn from_str(text: &str) -> Result<Self, ParseSpreadError> {
        match text {
            "two-racks" => Ok(Self::TwoRacks),
            "spread" => Ok(Self::Wide),
            _ => Err(ParseSpreadError(text.to_owned())),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TwoRacks => "two-racks",
            Self::Wide => "spread",
        })
    }
}

/// What a directory itself says. What is absent is left to the directories above, and at last to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DirectoryPolicy {
    pub replication: Option<u8>,
    pub spread: Option<Spread>,
}

/// One of these values, as it is to be from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectorySetting {
    Replication(Option<u8>),
    Spread(Option<Spread>),
}

/// What holds for files that are made in a directory, with the directory that says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InForce {
    pub replication: Option<(u8, Path)>,
    pub spread: Option<(Spread, Path)>,
}

/// The copies of each block of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    pub replication: u8,
    /// Absent: as the cluster does it.
    pub spread: Option<Spread>,
}

impl Attributes {
    /// Of a file.
    pub fn copies(&self) -> Copies {
        Copies { replication: self.replication, spread: self.spread }
    }
}

impl Client {
    /// Has a directory say how many copies there are of what is made below it, or over which racks they are spread. The
    /// nearest directory above a new file that says something decides, for each of the two. Only the superuser sets it.
    pub async fn set_directory_policy(
        &self,
        at: impl Into<Place>,
        setting: DirectorySetting,
    ) -> Result<Attributes, Error> {
        use v1::set_directory_policy::Setting;
        let at = &at.into();
        let setting = match setting {
            DirectorySetting::Replication(count) => Setting::Replication(count.map_or(0, u32::from)),
            DirectorySetting::Spread(spread) => Setting::Spread(to_wire(spread).into()),
        };
        let op = v1::SetDirectoryPolicy { place: Some(wire::place(at)), setting: Some(setting) };
        let changed = self.changed(Op::SetDirectoryPolicy(op), at).await;
        changed.map_err(|fault| Error::new("set the policy of", at, fault))
    }

    /// What holds for files that are made in a directory.
    pub async fn directory_policy(&self, at: impl Into<Place>) -> Result<InForce, Error> {
        let at = &at.into();
        let op = Op::FindDirectoryPolicy(v1::FindDirectoryPolicy { place: Some(wire::place(at)) });
        let found = match self.0.metadata.call(op, Scope::Read).await {
            Ok((v1::reply::Result::InForce(found), _)) => in_force(&found),
            Ok((other, _)) => Err(Metadata::unexpected(&other)),
            Err(fault) => Err(fault),
        };
        found.map_err(|fault| Error::new("show the policy of", at, fault))
    }
}

fn in_force(found: &v1::InForce) -> Result<InForce, Fault> {
    let from = |path: &[u8]| Path::parse(path).map_err(|error| wire::broken(format!("a path is illegal: {error}")));
    let replication = match found.replication {
        Some(count) => Some((replication(count)?, from(&found.replication_from)?)),
        None => None,
    };
    let spread = match from_wire(found.spread)? {
        Some(spread) => Some((spread, from(&found.spread_from)?)),
        None => None,
    };
    Ok(InForce { replication, spread })
}

fn replication(count: u32) -> Result<u8, Fault> {
    u8::try_from(count).map_err(|_| wire::broken("a replication is out of range"))
}

pub(crate) fn policy(wire: v1::DirectoryPolicy) -> Result<DirectoryPolicy, Fault> {
    let spread = from_wire(wire.spread)?;
    Ok(DirectoryPolicy { replication: wire.replication.map(replication).transpose()?, spread })
}

pub(crate) fn from_wire(wire: i32) -> Result<Option<Spread>, Fault> {
    match v1::Spread::try_from(wire) {
        Ok(v1::Spread::Unspecified) => Ok(None),
        Ok(v1::Spread::TwoRacks) => Ok(Some(Spread::TwoRacks)),
        Ok(v1::Spread::Wide) => Ok(Some(Spread::Wide)),
        Err(_) => Err(wire::broken("copies are spread in no known way")),
    }
}

pub(crate) const fn to_wire(spread: Option<Spread>) -> v1::Spread {
    match spread {
        None => v1::Spread::Unspecified,
        Some(Spread::TwoRacks) => v1::Spread::TwoRacks,
        Some(Spread::Wide) => v1::Spread::Wide,
    }
}

/// Directories that are remembered.
const REMEMBERED: usize = 1024;

/// What files of whole blocks turned out to get in directories, where that is not what the cluster does. Their blocks are
/// written before the namenode says what the file gets: the next ones are written so at once, and the leader puts the first
/// right. What is remembered may be out of date, and then is again put right, and remembered.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<BTreeMap<(InodeId, Vec<u8>), Copies>>);

impl Remembered {
    fn map(&self) -> MutexGuard<'_, BTreeMap<(InodeId, Vec<u8>), Copies>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a file at `place` will get, as far as anybody here knows.
    pub(crate) fn at(&self, place: &Place) -> Option<Copies> {
        self.map().get(&directory(place)?).copied()
    }

    /// What the file at `place` got, and what it would have by default.
    pub(crate) fn note(&self, place: &Place, got: Copies, default: Copies) {
        let Some(directory) = directory(place) else { return };
        let mut map = self.map();
        if got == default {
            map.remove(&directory);
            return;
        }
        if map.len() >= REMEMBERED && !map.contains_key(&directory) {
            map.clear();
        }
        map.insert(directory, got);
    }
}

fn directory(place: &Place) -> Option<(InodeId, Vec<u8>)> {
    let (parent, _) = place.path.split_last()?;
    Some((place.base, parent.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten_when_it_is_the_default() {
        let place = |text: &str| Place::from(Path::parse(text.as_bytes()).expect("a path"));
        let (default, two) = (Copies { replication: 3, spread: None }, Copies { replication: 2, spread: None });
        let remembered = Remembered::default();
        remembered.note(&place("/d/f"), default, default);
        assert_eq!(remembered.at(&place("/d/f")), None);
        remembered.note(&place("/d/f"), two, default);
        assert_eq!(remembered.at(&place("/d/g")), Some(two));
        assert_eq!((remembered.at(&place("/d/in/g")), remembered.at(&place("/g"))), (None, None));
        assert_eq!(remembered.at(&Place::from(InodeId::ROOT)), None);
        remembered.note(&place("/d/g"), default, default);
        assert_eq!(remembered.at(&place("/d/f")), None);
        for number in 0..3 * REMEMBERED {
            remembered.note(&place(&format!("/{number}/f")), two, default);
            assert!(remembered.map().len() <= REMEMBERED);
        }
    }

    #[test]
    fn what_a_namenode_says_is_looked_at() {
        let said = |replication, spread, path: &str| v1::InForce {
            replication,
            replication_from: path.into(),
            spread,
            spread_from: path.into(),
        };
        let root = Path::root();
        let expected = InForce { replication: Some((2, root.clone())), spread: Some((Spread::Wide, root)) };
        assert_eq!(in_force(&said(Some(2), 2, "/")).expect("makes sense"), expected);
        assert_eq!(in_force(&said(None, 0, "//")).expect("says nothing"), InForce::default());
        for rubbish in [said(Some(256), 0, "/"), said(None, 9, "/"), said(Some(2), 0, "a/../b")] {
            assert!(in_force(&rubbish).is_err(), "{rubbish:?}");
        }
        for text in ["two-racks", "spread"] {
            assert_eq!(text.parse::<Spread>().expect("known").to_string(), text);
        }
        assert!("wide".parse::<Spread>().is_err());
    }
}
