//! Access control lists, and the group of superusers.

use proto::v1;
use proto::v1::op::Kind as Op;
use types::Code;
use types::acl::{ACCESS_ACL, Acl, DEFAULT_ACL};

use crate::error::{Error, Fault};
use crate::metadata::{Metadata, Scope};
use crate::object::XattrMode;
use crate::place::Place;
use crate::store::Client;

impl Client {
    /// The access control list of an object; where the mode says it all, the list that says the same.
    pub async fn acl(&self, at: impl Into<Place>) -> Result<Acl, Error> {
        let at = &at.into();
        let attributes = self.lstat(at).await?;
        if attributes.access_acl
            && let Some(acl) = self.stored_acl(at, ACCESS_ACL).await?
        {
            return Ok(acl);
        }
        Ok(Acl::of_mode(attributes.mode))
    }

    /// The list that decides what is granted of what is made in a directory, if it has one.
    pub async fn default_acl(&self, at: impl Into<Place>) -> Result<Option<Acl>, Error> {
        self.stored_acl(&at.into(), DEFAULT_ACL).await
    }

    async fn stored_acl(&self, at: &Place, name: &[u8]) -> Result<Option<Acl>, Error> {
        let value = match self.xattr(at, name).await {
            Ok(value) => value,
            Err(error) if error.code() == Code::NoAttribute => return Ok(None),
            Err(error) => return Err(error),
        };
        Acl::of_xattr(&value).map_err(|reason| {
            let message = format!("the namenode answered an access control list that makes no sense: {reason}");
            Error::new("read the access control list of", at, Fault::Refused { code: Code::Incompatible, message })
        })
    }

    /// Sets the access control list, and with it the permission bits of the mode. It is the owner's to set.
    pub async fn set_acl(&self, at: impl Into<Place>, acl: &Acl) -> Result<(), Error> {
        self.set_xattr(at, ACCESS_ACL, &acl.to_xattr(), XattrMode::Any).await
    }

    /// Sets the default list of a directory, or takes it away.
    pub async fn set_default_acl(&self, at: impl Into<Place>, acl: Option<&Acl>) -> Result<(), Error> {
        match acl {
            Some(acl) => self.set_xattr(at, DEFAULT_ACL, &acl.to_xattr(), XattrMode::Any).await,
            None => self.remove_xattr(at, DEFAULT_ACL).await,
        }
    }

    /// The group whose members may do what uid 0 may.
    pub async fn supergroup(&self) -> Result<Option<u32>, Error> {
        let op = Op::FindSupergroup(v1::FindSupergroup {});
        let found = match self.0.metadata.call(op, Scope::Read).await {
            Ok((v1::reply::Result::Supergroup(v1::Supergroup { gid }), _)) => Ok(gid),
            Ok((other, _)) => Err(Metadata::unexpected(&other)),
            Err(fault) => Err(fault),
        };
        found.map_err(|fault| Error::new("find", "the supergroup", fault))
    }

    /// Has the members of a group do what uid 0 may, in place of an earlier group. Only a superuser does.
    pub async fn set_supergroup(&self, gid: Option<u32>) -> Result<(), Error> {
        let op = Op::SetSupergroup(v1::SetSupergroup { gid });
        let answer = self.0.metadata.call(op, Scope::Update).await;
        answer.map(|_| ()).map_err(|fault| Error::new("set", "the supergroup", fault))
    }
}
