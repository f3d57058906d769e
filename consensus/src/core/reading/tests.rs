//! Member 1 alone; the test plays member 2.

use super::*;
use crate::core::tests::{Alone, message};

/// A member that has heard member 2 lead in term 1.
fn follower() -> Alone {
    let mut alone = Alone::start(&[1, 2, 3]);
    alone.receive(&message(MessageType::MsgHeartbeat, 1));
    alone.sent(2);
    alone
}

/// The contexts of the rounds that the follower has begun since this was asked.
fn asked(alone: &mut Alone) -> Vec<Vec<u8>> {
    let asks = alone.messages(2, MessageType::MsgReadIndex);
    asks.into_iter().map(|ask| ask.context.to_vec()).collect()
}

fn answer(context: &[u8], index: u64) -> Message {
    Message { index, context: context.to_vec().into(), ..message(MessageType::MsgReadIndexResp, 1) }
}

/// Invariant 6, and that rounds are joined.
#[test]
fn a_follower_answers_once_its_state_is_where_the_leader_said() {
    let mut alone = follower();
    alone.read(5);
    let [first] = &asked(&mut alone)[..] else { panic!("one round") };
    alone.read(6);
    alone.read(7);
    assert_eq!(asked(&mut alone), Vec::<Vec<u8>>::new(), "a round is under way, and proves nothing for them");
    alone.receive(&answer(first, 3));
    assert_eq!(alone.readable(), []);
    let [second] = &asked(&mut alone)[..] else { panic!("one round for both") };
    alone.progressed.applied = 3;
    alone.turn();
    assert_eq!(alone.readable(), [5]);
    // Told again, and told of an earlier round: of no use.
    alone.receive(&answer(first, 3));
    assert_eq!(alone.readable(), []);
    alone.receive(&answer(second, 3));
    assert_eq!(alone.readable(), [6, 7]);
}

/// What was proven to an earlier process of this member was proven before the read was asked for.
#[test]
fn no_two_processes_ask_with_the_same_context() {
    let of = |seed| {
        let mut alone = Alone::with_seed(&[1, 2, 3], seed);
        alone.receive(&message(MessageType::MsgHeartbeat, 1));
        alone.read(5);
        asked(&mut alone)
    };
    assert_eq!((of(1), of(1).len()), (of(1), 1));
    assert_ne!(of(1), of(2));
}

#[test]
fn a_follower_asks_again_and_refuses_when_no_leader_answers() {
    let mut alone = follower();
    alone.read(5);
    let mut rounds = asked(&mut alone);
    for _ in 0..ASK_TICKS {
        alone.tick();
    }
    rounds.extend(asked(&mut alone));
    assert_eq!(rounds.len(), 2);
    assert_ne!(rounds[0], rounds[1]);
    // The leader speaks, but its answers are lost.
    while alone.unreadable() != [5] {
        assert_eq!(alone.readable(), []);
        alone.tick();
        alone.receive(&message(MessageType::MsgHeartbeat, 1));
    }
    assert!((2..=4).contains(&asked(&mut alone).len()));
    // The next read has its own time.
    alone.read(6);
    assert_eq!((alone.unreadable(), asked(&mut alone).len()), (vec![], 1));
}

#[test]
fn another_leader_is_asked_at_once() {
    let mut alone = follower();
    alone.read(5);
    assert_eq!(asked(&mut alone).len(), 1);
    alone.receive(&Message { from: 3, ..message(MessageType::MsgHeartbeat, 2) });
    assert_eq!(alone.messages(3, MessageType::MsgReadIndex).len(), 1);
}

/// A member that is far behind is of no use to a reader who could ask another.
#[test]
fn a_follower_whose_state_does_not_get_there_refuses() {
    let mut alone = follower();
    alone.read(5);
    let context = asked(&mut alone).remove(0);
    alone.receive(&answer(&context, 9));
    for _ in 0..PATIENCE_TICKS - 1 {
        alone.tick();
    }
    assert_eq!((alone.readable(), alone.unreadable()), (vec![], vec![]));
    alone.tick();
    assert_eq!((alone.readable(), alone.unreadable()), (vec![], vec![5]));
    alone.progressed.applied = 9;
    alone.turn();
    assert_eq!(alone.readable(), [], "it was answered");
}

/// What it proves is for all that ask.
#[test]
fn a_leader_tells_others_what_it_proves_for_itself() {
    let mut alone = Alone::start(&[1, 2, 3]);
    alone.lead();
    let ask = |context: &[u8]| Message { context: context.to_vec().into(), ..message(MessageType::MsgReadIndex, 1) };
    let told = |alone: &mut Alone| {
        let told = alone.messages(2, MessageType::MsgReadIndexResp);
        told.into_iter().map(|told| (told.context.to_vec(), told.index)).collect::<Vec<_>>()
    };
    alone.receive(&ask(&[7; 24]));
    alone.read(5);
    assert_eq!((told(&mut alone), alone.readable()), (vec![], vec![]));
    alone.prove();
    assert_eq!(told(&mut alone), [(vec![7; 24], 1)]);
    // Under the lease that this gave, at once.
    alone.turn();
    assert_eq!(alone.readable(), [5]);
    alone.receive(&ask(&[8; 24]));
    assert_eq!(told(&mut alone), [(vec![8; 24], 1)]);
    // Not from whoever is no member, and not what no member would say.
    alone.receive(&ask(&[9; 25]));
    alone.receive(&Message { from: 9, ..ask(&[9; 24]) });
    assert_eq!((told(&mut alone), alone.messages(9, MessageType::MsgReadIndexResp)), (vec![], vec![]));
}

/// It may have voted meanwhile: a leader that does not know of a later one needs a majority for every round.
#[test]
fn a_member_that_does_not_lead_tells_nothing() {
    let mut alone = follower();
    alone.receive(&Message { context: vec![7; 24].into(), ..message(MessageType::MsgReadIndex, 1) });
    assert_eq!(alone.messages(2, MessageType::MsgReadIndexResp), []);
}
