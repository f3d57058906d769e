//! Extended attributes, as setxattr(2) and its family have them.

use client::{User, XattrMode};
use fuser::{Errno, INodeNo};

use crate::errno::Failure;
use crate::names::Names;

impl Names {
    pub(crate) async fn set_xattr(
        &self,
        user: &User,
        inode: INodeNo,
        name: &[u8],
        value: &[u8],
        flags: i32,
    ) -> Result<(), Failure> {
        let mode = match flags {
            0 => XattrMode::Any,
            libc::XATTR_CREATE => XattrMode::Create,
            libc::XATTR_REPLACE => XattrMode::Replace,
            _ => return Err(Errno::EINVAL.into()),
        };
        let client = self.of(user);
        Ok(client.set_xattr(self.numbers.of_kernel(inode), name, value, mode).await?)
    }

    pub(crate) async fn xattr(&self, user: &User, inode: INodeNo, name: &[u8]) -> Result<Vec<u8>, Failure> {
        Ok(self.of(user).xattr(self.numbers.of_kernel(inode), name).await?)
    }

    /// The names, each with a zero byte behind it.
    pub(crate) async fn xattr_names(&self, user: &User, inode: INodeNo) -> Result<Vec<u8>, Failure> {
        let names = self.of(user).xattr_names(self.numbers.of_kernel(inode)).await?;
        let mut list = Vec::new();
        for name in names {
            list.extend_from_slice(&name);
            list.push(0);
        }
        Ok(list)
    }

    pub(crate) async fn remove_xattr(&self, user: &User, inode: INodeNo, name: &[u8]) -> Result<(), Failure> {
        Ok(self.of(user).remove_xattr(self.numbers.of_kernel(inode), name).await?)
    }
}
