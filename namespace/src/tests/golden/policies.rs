//! The bytes of policies.

use types::{Sequence, Timestamp};

use super::hex;
use crate::codec::Batch;
use crate::command::{Command, Request};
use crate::error::Error;
use crate::key;
use crate::policy::{Policy, PolicyRow, PolicyValue};
use crate::row::{self, ResultRow};

#[test]
fn policies_keep_their_bytes() {
    let commands = [
        Command::SetPolicy { policy: Policy::BlockSize, value: Some(4096), by: None },
        Command::SetPolicy { policy: Policy::DeleteGrace, value: None, by: None },
        Command::SetPolicy { policy: Policy::SafeMode, value: Some(1), by: Some("r".to_owned()) },
    ];
    let request = |command| Request { time: Timestamp::from_nanos(9), origin: None, command, principal: None };
    let batch = Batch { requests: commands.into_iter().map(request).collect() };
    assert_eq!(Batch::decode(&batch.encode()), Ok(batch.clone()));
    let values = vec![
        PolicyValue { policy: Policy::Replication, value: 2, since: None, by: None },
        PolicyValue {
            policy: Policy::TrashExpiry,
            value: 0,
            since: Some(Timestamp::from_nanos(9)),
            by: Some("r".to_owned()),
        },
    ];
    let refused = Error::BadPolicy { policy: "p".to_owned(), reason: "r".to_owned() };
    let found = [
        hex(&batch.encode()),
        hex(&row::encode(&PolicyRow { values })),
        hex(key::POLICY),
        hex(&row::encode(&ResultRow { sequence: Sequence::new(3), result: Err(refused) })),
    ];
    assert_eq!(found, GOLDEN);
}

const GOLDEN: [&str; 4] = [
    "0181838309f68218f282011910008309f68218f281038309f68218f28304016172",
    "018182820002840200096172",
    "50",
    "01820382018218f88261706172",
];
