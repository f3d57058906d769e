//! Users, between RPC messages and what the state machine speaks.

use namespace::command::Command;
use namespace::user::{UserOrder, UserRow};
use proto::{WireError, v1};

use super::keys::label;
use super::{MAX_GROUPS, Query, principal, wrong};

type Answer = v1::reply::Result;

pub(super) fn change(wire: v1::ChangeUser) -> Result<Command, WireError> {
    use v1::change_user::Order;
    let order = match wire.order.ok_or(wrong("ChangeUser.order", "is missing"))? {
        Order::Add(named) => UserOrder::Add { principal: principal(named)? },
        Order::Change(v1::change_user::Change { uid, gid, groups, disabled }) => {
            let groups = groups.map(|wire| wire.groups);
            if groups.as_ref().is_some_and(|groups| groups.len() > MAX_GROUPS) {
                return Err(wrong("ChangeUser.groups", "are more than 1024"));
            }
            UserOrder::Change { uid, gid, groups, disabled }
        }
        Order::Remove(v1::change_user::Remove { with_keys }) => UserOrder::Remove { with_keys },
    };
    Ok(Command::User { name: label(wire.name, "ChangeUser.name")?, order })
}

pub(super) fn find(wire: v1::FindUsers) -> Result<Query, WireError> {
    use v1::find_users::Kind;
    Ok(match wire.kind.ok_or(wrong("FindUsers.kind", "is missing"))? {
        Kind::Name(name) => Query::User(label(name, "FindUsers.name")?),
        Kind::After(after) => Query::Users { after: label(after, "FindUsers.after")? },
    })
}

pub(crate) fn users(found: Vec<(String, UserRow)>) -> Answer {
    let user = |(name, row): (String, UserRow)| {
        let namespace::command::Principal { uid, gid, groups } = row.principal;
        let principal = Some(v1::Principal { uid, gid, groups });
        v1::User { name, principal, disabled: row.disabled, created: row.created.nanos() }
    };
    Answer::Users(v1::Users { users: found.into_iter().map(user).collect() })
}

#[cfg(test)]
mod tests {
    use v1::change_user::{Change, Groups, Order};

    use super::*;

    #[test]
    fn rubbish_about_users_is_refused_before_the_log() {
        let wire = |name: &str, order| v1::ChangeUser { name: name.to_owned(), order };
        let groups = |count| {
            Some(Order::Change(Change { groups: Some(Groups { groups: vec![1; count] }), ..Change::default() }))
        };
        let many = v1::Principal { groups: vec![1; MAX_GROUPS + 1], ..v1::Principal::default() };
        assert!(change(wire("ann", None)).is_err() && change(wire("ann", Some(Order::Add(many)))).is_err());
        assert!(
            change(wire("ann", groups(MAX_GROUPS))).is_ok() && change(wire("ann", groups(MAX_GROUPS + 1))).is_err()
        );
        assert!(change(wire(&"a".repeat(1 << 20), groups(1))).is_err());
        assert!(find(v1::FindUsers { kind: None }).is_err());
        let long = v1::find_users::Kind::Name("a".repeat(1 << 20));
        assert!(find(v1::FindUsers { kind: Some(long) }).is_err());
    }
}
