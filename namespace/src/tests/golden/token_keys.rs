//! The bytes of the keys of block tokens.

use types::Timestamp;
use types::token::Secret;

use super::hex;
use crate::codec::Batch;
use crate::command::{Command, Request};
use crate::row;
use crate::token_key::{TokenKey, TokenKeysRow};

#[test]
fn keys_of_block_tokens_keep_their_bytes() {
    let secret = Secret::from_bytes([0xab; 32]);
    let command = Command::AddTokenKey { secret: secret.clone(), after: 1, unused_since: Timestamp::from_nanos(5) };
    let request = Request { time: Timestamp::from_nanos(9), origin: None, command, principal: None };
    let batch = Batch { requests: vec![request] };
    assert_eq!(Batch::decode(&batch.encode()), Ok(batch.clone()));
    let keys = TokenKeysRow { keys: vec![TokenKey { id: 2, secret, created: Timestamp::from_nanos(7) }] };
    let bytes = format!("5820{}", "ab".repeat(32));
    assert_eq!(hex(&batch.encode()), format!("0181818309f682189683{bytes}0105"));
    assert_eq!(hex(&row::encode(&keys)), format!("01818183 02{bytes}07").replace(' ', ""));
    assert_eq!(row::decode(b"Y", &row::encode(&keys)), Ok(keys));
}
