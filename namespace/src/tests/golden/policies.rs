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
        Command::SetPolicy { policy: Policy::BlockSize, value: Some(4096) },
        Command::SetPolicy { policy: Policy::DeleteGrace, value: None },
    ];
    let request = |command| Request { time: Timestamp::from_nanos(9), origin: None, command, principal: None };
    let batch = Batch { requests: commands.into_iter().map(request).collect() };
    assert_eq!(Batch::decode(&batch.encode()), Ok(batch.clone()));
    let values = vec![
        PolicyValue { policy: Policy::Replication, value: 2 },
        PolicyValue { policy: Policy::TrashExpiry, value: 0 },
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

const GOLDEN: [&str; 4] =
    ["0181828309f68218f282011910008309f68218f28103", "018182820002820200", "50", "01820382018218f88261706172"];
