//! Extended attributes, as setxattr(2) and its family have them.

use client::{User, XattrMode};
use fuser::{Errno, INodeNo};

use crate::errno::Failure;
use crate::names::Names;

const CAPABILITY: &[u8] = b"security.capability";
const BOTH: i32 = libc::XATTR_CREATE | libc::XATTR_REPLACE;

/// The first part of a name alone is no name, which is another mistake than a first part that nobody knows.
fn check_name(name: &[u8]) -> Result<(), Failure> {
    match name {
        b"user." | b"trusted." | b"security." => Err(Errno::EINVAL.into()),
        _ => Ok(()),
    }
}

/// Whether there may be attributes of such a name. The kernel has checked who may read it.
fn is_known(name: &[u8]) -> bool {
    let classes: [&[u8]; 4] = [b"user.", b"trusted.", b"security.", b"system.posix_acl_"];
    classes.iter().any(|class| name.starts_with(class))
}

impl Names {
    /// What is written takes a program's capabilities away, but not before it is in the cluster.
    async fn settle_capabilities(&self, inode: INodeNo) {
        if let Some(file) = self.files.of_inode(self.numbers.of_kernel(inode)) {
            // Whoever has it open is told of a failure.
            drop(file.flush().await);
        }
    }

    pub(crate) async fn set_xattr(
        &self,
        user: &User,
        inode: INodeNo,
        name: &[u8],
        value: &[u8],
        flags: i32,
    ) -> Result<(), Failure> {
        check_name(name)?;
        let client = self.of(user);
        let mode = match flags {
            0 => XattrMode::Any,
            // It must be there, and must not: the second is looked at first.
            BOTH => {
                client.xattr(self.numbers.of_kernel(inode), name).await?;
                return Err(Errno::EEXIST.into());
            }
            libc::XATTR_CREATE => XattrMode::Create,
            libc::XATTR_REPLACE => XattrMode::Replace,
            _ => return Err(Errno::EINVAL.into()),
        };
        let inode = self.numbers.of_kernel(inode);
        self.files.coherence.changing_xattrs(inode);
        let set = client.set_xattr(inode, name, value, mode).await;
        self.files.coherence.changing_xattrs(inode);
        Ok(set?)
    }

    pub(crate) async fn xattr(&self, user: &User, inode: INodeNo, name: &[u8]) -> Result<Vec<u8>, Failure> {
        check_name(name)?;
        // `ls -l` asks twice for each file, and the kernel before the first write.
        if is_known(name) && self.files.coherence.is_bare(self.numbers.of_kernel(inode)) {
            return Err(Errno::ENODATA.into());
        }
        if name == CAPABILITY {
            self.settle_capabilities(inode).await;
        }
        Ok(self.of(user).xattr(self.numbers.of_kernel(inode), name).await?)
    }

    /// The names, each with a zero byte behind it.
    pub(crate) async fn xattr_names(&self, user: &User, inode: INodeNo) -> Result<Vec<u8>, Failure> {
        if self.files.coherence.is_bare(self.numbers.of_kernel(inode)) {
            return Ok(Vec::new());
        }
        self.settle_capabilities(inode).await;
        let names = self.of(user).xattr_names(self.numbers.of_kernel(inode)).await?;
        let mut list = Vec::new();
        for name in names {
            list.extend_from_slice(&name);
            list.push(0);
        }
        Ok(list)
    }

    pub(crate) async fn remove_xattr(&self, user: &User, inode: INodeNo, name: &[u8]) -> Result<(), Failure> {
        check_name(name)?;
        Ok(self.of(user).remove_xattr(self.numbers.of_kernel(inode), name).await?)
    }
}
