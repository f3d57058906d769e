//! The bytes of users, of the orders about them, and of their keys.

use types::{Sequence, Timestamp};

use super::hex;
use crate::access_key::AccessKeyRow;
use crate::codec::Batch;
use crate::command::{Command, Principal, Request};
use crate::error::Error;
use crate::key;
use crate::row::{self, ResultRow};
use crate::user::{UserOrder, UserRow};

#[test]
fn users_keep_their_bytes() {
    let principal = Principal { uid: 1000, gid: 100, groups: vec![4] };
    let orders = [
        UserOrder::Add { principal: principal.clone() },
        UserOrder::Change { uid: None, gid: Some(7), groups: None, disabled: Some(true) },
        UserOrder::Remove { with_keys: true },
    ];
    let request = |order| {
        let command = Command::User { name: "ann".to_owned(), order };
        Request { time: Timestamp::from_nanos(9), origin: None, command, principal: None }
    };
    let batch = Batch { requests: orders.into_iter().map(request).collect() };
    assert_eq!(Batch::decode(&batch.encode()), Ok(batch.clone()));
    let created = Timestamp::from_nanos(9);
    let user = UserRow { principal: principal.clone(), disabled: true, created };
    let key = AccessKeyRow { principal, sealed: b"s".to_vec(), created, user: Some("ann".to_owned()) };
    let refused = Error::UserHasKeys { name: "ann".to_owned(), keys: 2 };
    let found = [
        hex(&batch.encode()),
        hex(&row::encode(&user)),
        hex(&row::encode(&key)),
        hex(&key::user("ann")),
        hex(&key::key_of("ann", "AKIA")),
        hex(&row::encode(&ResultRow { sequence: Sequence::new(3), result: Err(refused) })),
    ];
    assert_eq!(found, GOLDEN);
    assert_eq!(row::decode(b"V", &row::encode(&user)), Ok(user));
    assert_eq!(key::key_of_user(&key::key_of("ann", "AKIA")), Ok("AKIA".to_owned()));
}

const GOLDEN: [&str; 6] = [
    concat!(
        "0181838309f68218f58263616e6e820081831903e8186481048309f68218f58263616e6e820184f607f6f58309f68218f58263616e6e",
        "820281f5",
    ),
    "0183831903e818648104f509",
    "0184831903e81864810441730963616e6e",
    "56616e6e",
    "76616e6e00414b4941",
    "01820382018218fa8263616e6e02",
];
