//! What the caller may do, in the model.

use types::{Code, InodeId};

use super::{Body, Model, Outcome};
use crate::command::{AttrChange, Ownership, Principal};

impl Model {
    /// From here on the questions are this one's.
    pub(crate) fn ask_as(&mut self, caller: Option<Principal>) {
        self.caller = caller;
    }

    /// The caller, unless it may do everything.
    pub(super) fn restricted(&self) -> Option<&Principal> {
        self.caller.as_ref().filter(|caller| caller.uid != 0)
    }

    /// Whether the caller has some of these bits: 4 to read, 2 to write, 1 to pass.
    pub(crate) fn may(&self, inode: InodeId, bit: u32) -> bool {
        let Some(caller) = self.restricted() else { return true };
        let object = &self.objects[&inode];
        if caller.uid == object.uid {
            object.mode & (bit << 6) != 0
        } else if is_in(caller, object.gid) {
            object.mode & (bit << 3) != 0
        } else {
            object.mode & bit != 0
        }
    }

    pub(super) fn need(&self, inode: InodeId, bit: u32) -> Outcome<()> {
        if self.may(inode, bit) { Ok(()) } else { Err(Code::Denied) }
    }

    pub(super) fn need_way(&self, directory: InodeId) -> Outcome<()> {
        self.ancestors(directory).into_iter().try_for_each(|directory| self.need(directory, 1))
    }

    pub(super) fn need_not_sticky(&self, parent: InodeId, inode: InodeId) -> Outcome<()> {
        let Some(caller) = self.restricted() else { return Ok(()) };
        let (parent, object) = (&self.objects[&parent], &self.objects[&inode]);
        let kept = parent.mode & 0o1000 != 0 && ![parent.uid, object.uid].contains(&caller.uid);
        if kept { Err(Code::NotPermitted) } else { Ok(()) }
    }

    pub(super) fn need_removable(&self, parent: InodeId, inode: InodeId) -> Outcome<()> {
        self.need(parent, 2)?;
        self.need_not_sticky(parent, inode)
    }

    pub(super) fn need_removable_below(&self, top: InodeId) -> Outcome<()> {
        let mut left = vec![top];
        while let Some(inode) = left.pop() {
            let Some(children) = self.children(inode).filter(|children| !children.is_empty()) else { continue };
            for bit in [4, 2, 1] {
                self.need(inode, bit)?;
            }
            for child in children.values() {
                self.need_not_sticky(inode, *child)?;
                left.push(*child);
            }
        }
        Ok(())
    }

    pub(super) fn need_xattr_change(&self, inode: InodeId, name: &[u8]) -> Outcome<()> {
        if name.starts_with(b"user.") {
            let other = matches!(self.objects[&inode].body, Body::Other(_));
            if other { Err(Code::NotPermitted) } else { self.need(inode, 2) }
        } else if !name.starts_with(b"trusted.") && !name.starts_with(b"security.") {
            Err(Code::NotSupported)
        } else if self.restricted().is_some() {
            Err(Code::NotPermitted)
        } else {
            Ok(())
        }
    }

    pub(super) fn need_attributes(&self, inode: InodeId, change: &AttrChange) -> Outcome<()> {
        let Some(caller) = self.restricted() else { return Ok(()) };
        let object = &self.objects[&inode];
        let owner = caller.uid == object.uid;
        if let Some(uid) = change.uid
            && !(owner && uid == object.uid)
        {
            return Err(Code::NotPermitted);
        }
        if let Some(gid) = change.gid
            && !(owner && (gid == object.gid || is_in(caller, gid)))
        {
            return Err(Code::NotPermitted);
        }
        let times = change.mtime.is_some() || change.atime.is_some() || change.present.is_some();
        if !owner && (change.mode.is_some() || times) {
            return Err(Code::NotPermitted);
        }
        if change.replication.is_some() || change.touch && !owner {
            self.need(inode, 2)?;
        }
        Ok(())
    }

    pub(super) fn owned(&self, asked: Ownership) -> Ownership {
        match self.restricted() {
            Some(caller) => {
                let gid = if is_in(caller, asked.gid) { asked.gid } else { caller.gid };
                Ownership { uid: caller.uid, gid, ..asked }
            }
            None => asked,
        }
    }

    pub(super) fn inherit(&mut self, parent: InodeId, inode: InodeId) {
        let (mode, gid) = (self.objects[&parent].mode, self.objects[&parent].gid);
        if mode & 0o2000 == 0 {
            return;
        }
        let outsider = self.restricted().is_some_and(|caller| !is_in(caller, gid));
        let object = self.object_mut(inode);
        object.gid = gid;
        match object.body {
            Body::Directory(_) => object.mode |= 0o2000,
            Body::File(_) | Body::Other(_) if outsider && object.mode & 0o010 != 0 => object.mode &= !0o2000,
            Body::File(_) | Body::Other(_) => {}
        }
    }
}

pub(super) fn is_in(caller: &Principal, group: u32) -> bool {
    caller.gid == group || caller.groups.contains(&group)
}
