//! Which replica of a block is asked first.

use crate::datanode::Outlook;
use crate::wire::Replica;

/// The best is the least: one that has not failed or fallen silent lately, is near, and answers soon. What is left equal
/// stays in the order that the namenode gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    suspect: bool,
    distance: u32,
    /// A power of two: smaller differences are chance.
    wait: u32,
}

/// The places of `replicas`, best first.
pub(super) fn order(replicas: &[(&Replica, Outlook)]) -> Vec<usize> {
    let standing = |place: usize| {
        let (replica, Outlook { suspect, wait }) = replicas[place];
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        Standing {
            suspect: suspect || replica.silent,
            distance: replica.distance,
            wait: micros.checked_ilog2().map_or(0, |power| power + 1),
        }
    };
    let mut places: Vec<usize> = (0..replicas.len()).collect();
    places.sort_by_key(|place| standing(*place));
    places
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use transfer::Hop;
    use types::{NodeId, StorageId};

    use super::*;

    const NEAR: u32 = 0;
    const IN_RACK: u32 = 2;
    const AWAY: u32 = 4;

    fn replica(distance: u32, silent: bool) -> Replica {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let hop = Hop { node: NodeId::new(1), storage: StorageId::from_bytes([1; 16]), address };
        Replica { hop, distance, silent, socket: None }
    }

    /// The order of replicas whose (distance, silent, suspect, wait in ms) are these.
    fn order_of(replicas: &[(u32, bool, bool, u64)]) -> Vec<usize> {
        let made: Vec<Replica> = replicas.iter().map(|(distance, silent, ..)| replica(*distance, *silent)).collect();
        let outlooks = replicas
            .iter()
            .map(|(_, _, suspect, wait)| Outlook { suspect: *suspect, wait: Duration::from_millis(*wait) });
        order(&made.iter().zip(outlooks).collect::<Vec<_>>())
    }

    #[test]
    fn the_own_host_comes_first_unless_it_failed_or_fell_silent_lately() {
        assert_eq!(order_of(&[(AWAY, false, false, 1), (NEAR, false, false, 100)]), [1, 0]);
        assert_eq!(order_of(&[(NEAR, false, true, 1), (AWAY, false, false, 100)]), [1, 0]);
        assert_eq!(order_of(&[(NEAR, true, false, 0), (AWAY, false, false, 100)]), [1, 0]);
        assert_eq!(order_of(&[(AWAY, false, false, 1), (IN_RACK, false, false, 100)]), [1, 0]);
    }

    #[test]
    fn of_equals_the_faster_comes_first_and_a_small_difference_leaves_the_order_of_the_namenode() {
        let away = |waits: [u64; 3]| order_of(&waits.map(|wait| (AWAY, false, false, wait)));
        assert_eq!(away([100, 9, 30]), [1, 2, 0]);
        assert_eq!(away([14, 12, 9]), [0, 1, 2]);
        assert_eq!(away([0, 0, 0]), [0, 1, 2]);
    }

    #[test]
    fn one_that_nothing_is_known_of_is_tried() {
        assert_eq!(order_of(&[(AWAY, false, false, 1), (AWAY, false, false, 0)]), [1, 0]);
    }
}
