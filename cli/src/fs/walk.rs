//! A directory with everything below it, for the commands that change each object.

use client::{Attributes, Client, Kind, Place};
use types::Path;

use super::Failures;
use super::remote::{Found, is_absent};
use crate::exit::Failure;

/// One object to change.
pub(super) struct Visited {
    /// What to change.
    pub(super) place: Place,
    pub(super) path: Path,
    pub(super) attributes: Attributes,
}

/// Calls `change` on what was found, and with `recursive` on everything below it. A directory is listed before it is
/// changed: the change may take away the right to do so. What cannot be listed is a failure, and does not stop the rest.
pub(super) async fn each(
    client: &Client,
    found: Vec<Found>,
    recursive: bool,
    failures: &mut Failures,
    mut change: impl AsyncFnMut(&Visited) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut left: Vec<_> = found
        .into_iter()
        .rev()
        .map(|found| Visited { place: found.place(), path: found.path, attributes: found.attributes })
        .collect();
    while let Some(visited) = left.pop() {
        if recursive && visited.attributes.is_directory() {
            match entries(client, &visited.path).await {
                Ok(below) => left.extend(below.into_iter().rev()),
                Err(failure) => failures.add(failure)?,
            }
        }
        if let Err(failure) = change(&visited).await {
            failures.add(failure)?;
        }
    }
    Ok(())
}

async fn entries(client: &Client, path: &Path) -> Result<Vec<Visited>, Failure> {
    let mut below = Vec::new();
    let mut listing = match client.list(path).await {
        Ok(listing) => listing,
        // Removed meanwhile.
        Err(error) if is_absent(&error) => return Ok(below),
        Err(error) => return Err(error.into()),
    };
    while let Some(page) = listing.next_page().await? {
        for entry in page {
            let path = path.join(entry.name).map_err(|error| Failure::Failed(format!("{path}: {error}")))?;
            // Those below a directory are neither followed nor changed, as with coreutils.
            if entry.attributes.kind != Kind::Symlink {
                below.push(Visited { place: (&path).into(), path, attributes: entry.attributes });
            }
        }
    }
    Ok(below)
}
