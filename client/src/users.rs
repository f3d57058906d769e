//! Users of the cluster: names for principals, which access keys follow.

use proto::v1;
use proto::v1::op::Kind as Op;
use types::{Code, Timestamp};

use crate::config::User;
use crate::error::{Error, Fault};
use crate::metadata::{Metadata, Scope};
use crate::store::Client;
use crate::wire;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedUser {
    pub name: String,
    pub user: User,
    /// Its keys sign nothing.
    pub disabled: bool,
    pub created: Timestamp,
}

/// What of a user is to change; what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserChange {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub groups: Option<Vec<u32>>,
    pub disabled: Option<bool>,
}

impl Client {
    /// Adds a user. Only the superuser does, as for all changes of users. No two have one uid.
    pub async fn add_user(&self, name: &str, user: &User) -> Result<(), Error> {
        self.order("add user", name, v1::change_user::Order::Add(wire::principal(user))).await
    }

    /// Changes a user: its keys follow at once.
    pub async fn change_user(&self, name: &str, change: UserChange) -> Result<(), Error> {
        let UserChange { uid, gid, groups, disabled } = change;
        let groups = groups.map(|groups| v1::change_user::Groups { groups });
        let change = v1::change_user::Change { uid, gid, groups, disabled };
        self.order("change user", name, v1::change_user::Order::Change(change)).await
    }

    /// Removes a user, with its access keys or only if it has none.
    pub async fn remove_user(&self, name: &str, with_keys: bool) -> Result<(), Error> {
        self.order("remove user", name, v1::change_user::Order::Remove(v1::change_user::Remove { with_keys })).await
    }

    async fn order(&self, doing: &'static str, name: &str, order: v1::change_user::Order) -> Result<(), Error> {
        let op = Op::ChangeUser(v1::ChangeUser { name: name.to_owned(), order: Some(order) });
        let done = self.0.metadata.call(op, Scope::Update).await;
        done.map(drop).map_err(|fault| Error::new(doing, name, fault))
    }

    /// A user by its name, if there is one.
    pub async fn user(&self, name: &str) -> Result<Option<NamedUser>, Error> {
        match self.find_users(v1::find_users::Kind::Name(name.to_owned())).await {
            Ok(found) => Ok(found.into_iter().next()),
            Err(fault) if fault.code() == Code::NotFound => Ok(None),
            Err(fault) => Err(Error::new("look up user", name, fault)),
        }
    }

    /// Every user, in the order of their names.
    pub async fn users(&self) -> Result<Vec<NamedUser>, Error> {
        let mut all: Vec<NamedUser> = Vec::new();
        loop {
            let after = all.last().map(|last| last.name.clone()).unwrap_or_default();
            let page = self.find_users(v1::find_users::Kind::After(after)).await;
            let page = page.map_err(|fault| Error::new("list", "the users", fault))?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    async fn find_users(&self, kind: v1::find_users::Kind) -> Result<Vec<NamedUser>, Fault> {
        match self.0.metadata.call(Op::FindUsers(v1::FindUsers { kind: Some(kind) }), Scope::Read).await?.0 {
            v1::reply::Result::Users(found) => found.users.into_iter().map(named).collect(),
            other => Err(Metadata::unexpected(&other)),
        }
    }
}

fn named(wire: v1::User) -> Result<NamedUser, Fault> {
    let v1::Principal { uid, gid, groups } = wire.principal.ok_or_else(|| wire::broken("a user has no principal"))?;
    let created = Timestamp::from_nanos(wire.created);
    Ok(NamedUser { name: wire.name, user: User { uid, gid, groups }, disabled: wire.disabled, created })
}
