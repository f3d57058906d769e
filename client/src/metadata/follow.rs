//! Symbolic links. The namenode follows none: it answers where one lies on the way, and the way is asked again from there.

use proto::v1;
use proto::v1::op::Kind as Op;
use types::Code;

use super::{Answer, Metadata, Scope};
use crate::error::Fault;

/// As on Linux.
const MAX_LINKS: u32 = 40;

/// Sends `op`, and again with each symbolic link that lies on the way put in its place.
pub(super) async fn call(metadata: &Metadata, op: Op, scope: Scope) -> Result<Answer, Fault> {
    let mut way = Way { metadata, left: MAX_LINKS };
    let mut op = op;
    loop {
        // Kept for the rare case that the way goes on elsewhere. Content is shared, not copied.
        let again = op.clone();
        match metadata.ask(op, scope).await {
            Err(Fault::Symlink { link, message }) => {
                let instead = way.follow(&link, &message).await?;
                op = again;
                if !replace(&mut op, &link, &instead) {
                    return Err(Fault::Symlink { link, message });
                }
            }
            answer => return answer,
        }
    }
}

/// What is at a place, and if that is a symbolic link, what is there in the end.
pub(super) async fn stat(metadata: &Metadata, place: v1::Where) -> Result<v1::Attributes, Fault> {
    let mut way = Way { metadata, left: MAX_LINKS };
    let mut place = place;
    loop {
        let (found, attributes) = way.lstat(place).await?;
        if attributes.kind() != v1::Kind::Symlink {
            return Ok(attributes);
        }
        place = way.follow(&at_its_end(&found, attributes.target), "it leads nowhere").await?;
    }
}

/// The link that a whole place names.
fn at_its_end(place: &v1::Where, target: Vec<u8>) -> v1::Symlink {
    let names = u32::try_from(names(&place.path).count()).unwrap_or(u32::MAX);
    v1::Symlink { base: place.base, path: place.path.clone(), names, target }
}

struct Way<'m> {
    metadata: &'m Metadata,
    /// Links that may be followed still.
    left: u32,
}

impl Way<'_> {
    /// What is at a place, and the same place without links on the way to it.
    async fn lstat(&mut self, place: v1::Where) -> Result<(v1::Where, v1::Attributes), Fault> {
        let mut place = place;
        loop {
            match self.metadata.ask(Op::Stat(v1::Stat { place: Some(place.clone()) }), Scope::Read).await {
                Ok((v1::reply::Result::Attributes(attributes), _)) => return Ok((place, attributes)),
                Ok((other, _)) => return Err(Metadata::unexpected(&other)),
                Err(Fault::Symlink { link, message }) => place = self.follow(&link, &message).await?,
                Err(fault) => return Err(fault),
            }
        }
    }

    /// The place that a link leads to, and what follows it in the path.
    async fn follow(&mut self, link: &v1::Symlink, message: &str) -> Result<v1::Where, Fault> {
        let refused = |why: &str| Fault::Refused { code: Code::SymbolicLink, message: format!("{message} ({why})") };
        self.left = self.left.checked_sub(1).ok_or_else(|| refused("40 links were followed to get there"))?;
        let before = (link.names as usize).checked_sub(1).ok_or_else(|| refused("it was named by its number"))?;
        let absolute = link.target.starts_with(b"/");
        let mut at = v1::Where { base: if absolute { 0 } else { link.base }, path: Vec::new() };
        // The namenode has been through what is before the link: those are directories.
        let mut known: Vec<Vec<u8>> = if absolute { Vec::new() } else { owned(names(&link.path).take(before)) };
        let mut unknown: Vec<Vec<u8>> = Vec::new();
        for name in names(&link.target).filter(|name| *name != b".") {
            if name != b".." {
                unknown.push(name.to_vec());
                continue;
            }
            if !unknown.is_empty() {
                known.append(&mut unknown);
                at.path = joined(&known);
                at = Box::pin(self.directory(at)).await?;
                known = owned(names(&at.path));
            }
            if known.pop().is_none() && at.base > 1 {
                return Err(refused("what is above a directory known by its number, only the namenode knows"));
            }
        }
        known.append(&mut unknown);
        known.extend(owned(names(&link.path).skip(before + 1)));
        at.path = joined(&known);
        Ok(at)
    }

    /// A place without any link, not even the last name.
    async fn directory(&mut self, place: v1::Where) -> Result<v1::Where, Fault> {
        let (mut place, mut found) = self.lstat(place).await?;
        while found.kind() == v1::Kind::Symlink {
            let next = Box::pin(self.follow(&at_its_end(&place, found.target), "it leads nowhere")).await?;
            (place, found) = self.lstat(next).await?;
        }
        if found.kind() == v1::Kind::Directory {
            return Ok(place);
        }
        let message = format!("{} is not a directory", String::from_utf8_lossy(&place.path));
        Err(Fault::Refused { code: Code::NotDirectory, message })
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

fn owned<'a>(names: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    names.map(<[u8]>::to_vec).collect()
}

fn joined(names: &[Vec<u8>]) -> Vec<u8> {
    names.iter().flat_map(|name| [b"/", name.as_slice()].concat()).collect()
}

/// Puts another place where an operation names the one with the link.
fn replace(op: &mut Op, link: &v1::Symlink, instead: &v1::Where) -> bool {
    let root = |base: u64| base.max(1);
    let mut replaced = false;
    for place in places(op) {
        if root(place.base) == root(link.base) && place.path == link.path {
            place.clone_from(instead);
            replaced = true;
        }
    }
    replaced
}

/// The places that an operation names.
fn places(op: &mut Op) -> Vec<&mut v1::Where> {
    fn of(destination: &mut Option<v1::Destination>) -> Option<&mut v1::Where> {
        destination.as_mut()?.place.as_mut()
    }
    let places: [Option<&mut v1::Where>; 2] = match op {
        Op::Mkdir(op) => [op.place.as_mut(), None],
        Op::Create(op) => {
            let meant_for = match op.meant_for.as_mut().and_then(|aim| aim.kind.as_mut()) {
                Some(v1::aim::Kind::Place(place)) => Some(place),
                Some(v1::aim::Kind::Object(_)) | None => None,
            };
            [of(&mut op.destination), meant_for]
        }
        Op::PutInline(op) => [of(&mut op.destination), None],
        Op::Complete(op) => [of(&mut op.publish), None],
        Op::Rename(op) => [op.from.as_mut(), op.to.as_mut()],
        Op::Exchange(op) => [op.first.as_mut(), op.second.as_mut()],
        Op::Link(op) => [op.from.as_mut(), op.to.as_mut()],
        Op::Delete(op) => [op.place.as_mut(), None],
        Op::Trash(op) => [op.place.as_mut(), None],
        Op::RestoreTrash(op) => [op.to.as_mut(), None],
        Op::SetAttr(op) => [op.place.as_mut(), None],
        Op::SetDirectoryPolicy(op) => [op.place.as_mut(), None],
        Op::FindDirectoryPolicy(op) => [op.place.as_mut(), None],
        Op::SetTtl(op) => [op.place.as_mut(), None],
        Op::SetQuota(op) => [op.place.as_mut(), None],
        Op::SetXattr(op) => [op.place.as_mut(), None],
        Op::RemoveXattr(op) => [op.place.as_mut(), None],
        Op::MakeSymlink(op) => [op.place.as_mut(), None],
        Op::Mknod(op) => [op.place.as_mut(), None],
        Op::WriteExtents(op) => [op.place.as_mut(), None],
        Op::Truncate(op) => [op.place.as_mut(), None],
        Op::Punch(op) => [op.place.as_mut(), None],
        Op::Extents(op) => [op.place.as_mut(), None],
        Op::CloneRange(op) => [op.from.as_mut(), op.to.as_mut()],
        Op::Concat(op) => return op.to.iter_mut().chain(&mut op.from).collect(),
        Op::PutBlocks(op) => [of(&mut op.destination), None],
        Op::OpenHandle(op) => [op.place.as_mut(), None],
        Op::Append(op) => [op.place.as_mut(), None],
        Op::RecoverLease(op) => [op.place.as_mut(), None],
        Op::CreateBucket(op) => [op.place.as_mut(), None],
        Op::Access(op) => [op.place.as_mut(), None],
        Op::Stat(op) => [op.place.as_mut(), None],
        Op::List(op) => [op.place.as_mut(), None],
        Op::Open(op) => [op.place.as_mut(), None],
        Op::GetXattr(op) => [op.place.as_mut(), None],
        Op::ListXattrs(op) => [op.place.as_mut(), None],
        // By bucket and key: a symbolic link is no object, and on the way to none.
        Op::Publish(_)
        | Op::DeleteKey(_)
        | Op::RenameKey(_)
        | Op::DeleteBucket(_)
        | Op::SetBucketSetting(_)
        | Op::PutAccessKey(_)
        | Op::RemoveAccessKey(_)
        | Op::OpenKey(_)
        | Op::ListKeys(_)
        | Op::FindBuckets(_)
        | Op::FindAccessKeys(_)
        | Op::ChangeUser(_)
        | Op::FindUsers(_)
        | Op::EmptyTrash(_)
        | Op::ListTrash(_)
        | Op::SetSupergroup(_)
        | Op::FindSupergroup(_)
        | Op::SetLock(_)
        | Op::TestLock(_)
        | Op::ReleaseLocks(_)
        | Op::CancelLocks(_)
        | Op::CloseHandles(_)
        | Op::NoteReads(_)
        | Op::Watch(_)
        | Op::Unwatch(_)
        | Op::AllocateBlocks(_)
        | Op::ReleaseBlocks(_)
        | Op::OpenSession(_)
        | Op::KeepAlive(_)
        | Op::CloseSession(_)
        | Op::AddBlock(_)
        | Op::Extend(_)
        | Op::NextGeneration(_)
        | Op::AbandonBlock(_)
        | Op::Abandon(_)
        | Op::CreateUpload(_)
        | Op::PutPart(_)
        | Op::CompleteUpload(_)
        | Op::AbortUpload(_)
        | Op::FindUploads(_)
        | Op::ReportBadReplica(_) => [None, None],
    };
    places.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_replaced_in_every_place_that_names_it_and_in_no_other() {
        let place = |path: &str| v1::Where { base: 0, path: path.into() };
        let link = v1::Symlink { base: 1, path: "/l/x".into(), names: 1, target: "there".into() };
        let rename = |from: &str, to: &str| {
            Op::Rename(v1::Rename { from: Some(place(from)), to: Some(place(to)), overwrite: true })
        };
        let mut op = rename("/l/x", "/y");
        assert!(replace(&mut op, &link, &place("/there/x")));
        assert_eq!(op, rename("/there/x", "/y"));
        assert!(!replace(&mut op, &link, &place("/there/x")));
    }

    #[test]
    fn paths_are_taken_apart_and_put_together() {
        let parts = owned(names(b"//a/b/"));
        assert_eq!(parts, [b"a", b"b"]);
        assert_eq!(joined(&parts), b"/a/b");
        assert_eq!(joined(&[]), b"");
    }
}
