//! Keys of block tokens.

use types::Timestamp;
use types::token::Secret;

use super::Cluster;
use crate::command::{Command, Reply};
use crate::{invariants, query};

#[test]
fn of_two_leaders_that_add_a_key_at_once_one_does() {
    let mut cluster = Cluster::formatted();
    let add = |number, after| {
        let secret = Secret::from_bytes([number; 32]);
        Command::AddTokenKey { secret, after, unused_since: Timestamp::EPOCH }
    };
    let keys = |cluster: &Cluster| {
        let keys = query::token_keys(&cluster.state).expect("readable");
        keys.into_iter().map(|key| (key.id, key.secret)).collect::<Vec<_>>()
    };
    assert_eq!(keys(&cluster), []);
    for number in [1, 2] {
        assert_eq!(cluster.run(add(number, 0)), Ok(Reply::Done));
    }
    let first = (1, Secret::from_bytes([1; 32]));
    assert_eq!(keys(&cluster), std::slice::from_ref(&first));
    assert_eq!(cluster.run(add(3, 1)), Ok(Reply::Done));
    assert_eq!(keys(&cluster), [first, (2, Secret::from_bytes([3; 32]))]);
    invariants::check(&cluster.state);
}
