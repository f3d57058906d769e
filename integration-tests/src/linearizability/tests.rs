use std::time::Duration;

use proptest::prelude::*;

use super::register::{State, apply, explain};
use super::{Action, Operation, Outcome, Refusal, Value, check};

const ONE: Value = Value(1);
const TWO: Value = Value(2);

fn done(action: Action, called: u64, answered: u64) -> Operation {
    operation(action, Outcome::Done, called, answered)
}

fn read(found: State, called: u64, answered: u64) -> Operation {
    operation(Action::Read, Outcome::Found(found), called, answered)
}

fn operation(action: Action, outcome: Outcome, called: u64, answered: u64) -> Operation {
    let (called, answered) = (Duration::from_micros(called), Duration::from_micros(answered));
    Operation { key: "/key".to_owned(), client: 0, action, outcome, called, answered }
}

/// The operations that a refusal shows.
fn refused(history: &[Operation]) -> Vec<Operation> {
    match check(history.to_vec()) {
        Err(Refusal::NoOrder { window, .. }) => window,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_one_client_after_the_other_saw_is_accepted() {
    let replace = Action::Replace { expected: ONE, with: TWO };
    let history = vec![
        read(None, 0, 1),
        operation(Action::Delete, Outcome::Refused, 2, 3),
        operation(replace, Outcome::Refused, 4, 5),
        done(Action::Create(ONE), 6, 7),
        operation(Action::Create(TWO), Outcome::Refused, 8, 9),
        done(replace, 10, 11),
        read(Some(TWO), 12, 13),
        operation(replace, Outcome::Refused, 14, 15),
        done(Action::Put(Value(3)), 16, 17),
        done(Action::Delete, 18, 19),
        done(Action::Remove, 20, 21),
        read(None, 22, 23),
    ];
    assert_eq!(check(history), Ok(()));
}

#[test]
fn a_read_that_overlaps_a_write_may_see_either_but_not_go_back() {
    let write = done(Action::Put(TWO), 2, 9);
    let before = done(Action::Put(ONE), 0, 1);
    let history =
        |first, second| vec![before.clone(), write.clone(), read(Some(first), 3, 4), read(Some(second), 5, 6)];
    for (first, second) in [(ONE, ONE), (ONE, TWO), (TWO, TWO)] {
        assert_eq!(check(history(first, second)), Ok(()));
    }
    assert_eq!(refused(&history(TWO, ONE)), history(TWO, ONE)[2..]);
}

#[test]
fn a_stale_read_is_refused_and_only_what_contradicts_it_is_shown() {
    let history = [
        done(Action::Put(ONE), 0, 1),
        read(Some(ONE), 2, 3),
        done(Action::Put(TWO), 4, 5),
        read(Some(ONE), 6, 7),
        done(Action::Delete, 8, 9),
    ];
    assert_eq!(refused(&history), history[2..4]);
}

#[test]
fn a_lost_update_is_refused() {
    let with = |value| Action::Replace { expected: ONE, with: Value(value) };
    let history = [done(Action::Put(ONE), 0, 1), done(with(2), 2, 6), done(with(3), 3, 7)];
    assert_eq!(refused(&history), history[1..]);
}

#[test]
fn two_winners_of_an_exclusive_create_are_refused() {
    let history = [done(Action::Create(ONE), 0, 5), done(Action::Create(TWO), 1, 4), read(Some(TWO), 6, 7)];
    assert_eq!(refused(&history), history[..2]);
}

#[test]
fn a_read_of_what_was_never_written_is_refused() {
    let history = [done(Action::Put(ONE), 0, 1), read(Some(Value(99)), 2, 3), done(Action::Put(TWO), 4, 5)];
    assert_eq!(refused(&history), history[1..2]);
}

#[test]
fn an_acknowledged_write_that_vanishes_is_refused() {
    let history = [done(Action::Put(ONE), 0, 1), done(Action::Create(TWO), 3, 4)];
    assert_eq!(refused(&history), history);
    let history = [done(Action::Put(ONE), 0, 1), done(Action::Put(TWO), 2, 3), read(None, 4, 5)];
    assert_eq!(refused(&history), history[1..]);
}

#[test]
fn an_unknown_write_takes_effect_late_or_never_but_not_twice_and_not_early() {
    let unknown = |action| operation(action, Outcome::Unknown, 2, 2);
    let first = done(Action::Put(ONE), 0, 1);
    let history = |action, reads: &[State]| {
        let reads = reads.iter().zip(1_u64..).map(|(found, at)| read(*found, at * 10, at * 10 + 5));
        [first.clone(), unknown(action)].into_iter().chain(reads).collect::<Vec<_>>()
    };
    assert_eq!(check(history(Action::Put(TWO), &[Some(ONE), Some(ONE)])), Ok(()));
    assert_eq!(check(history(Action::Put(TWO), &[Some(ONE), Some(TWO)])), Ok(()));
    assert_eq!(check(history(Action::Delete, &[Some(ONE), None])), Ok(()));
    // Back again after it was seen: it would have to be undone.
    refused(&history(Action::Put(TWO), &[Some(TWO), Some(ONE)]));
    let mut early = history(Action::Put(TWO), &[Some(ONE)]);
    early.push(read(Some(TWO), 1, 1));
    refused(&early);
    let mut failed = history(Action::Put(TWO), &[Some(TWO)]);
    failed[1].outcome = Outcome::Failed;
    refused(&failed);
}

#[test]
fn keys_do_not_concern_each_other() {
    let elsewhere = Operation { key: "/other".to_owned(), ..read(None, 2, 3) };
    assert_eq!(check(vec![done(Action::Put(ONE), 0, 1), elsewhere]), Ok(()));
}

#[test]
fn a_refusal_reads_well() {
    let mut history = vec![done(Action::Put(ONE), 0, 1000), read(None, 2000, 3500)];
    history[1].client = 4;
    let said = check(history).expect_err("it is stale").to_string();
    let expected = "no order of these operations on /key explains their outcomes:\n  0ns..1ms client 0: put 1: done\n  \
                    2ms..3.5ms client 4: read: found nothing";
    assert_eq!(said, expected);
}

/// Invariant 3: lost writes do not multiply.
#[test]
fn many_unknown_writes_do_not_exhaust_the_search() {
    let mut history: Vec<_> =
        (0..40).map(|at| operation(Action::Put(Value(1000 + at)), Outcome::Unknown, at, at)).collect();
    for at in 0..100 {
        history.push(done(Action::Put(Value(at)), 1000 + at * 10, 1005 + at * 10));
        history.push(read(Some(Value(at)), 1006 + at * 10, 1007 + at * 10));
    }
    assert_eq!(check(history.clone()), Ok(()));
    history.push(read(Some(Value(98)), 9000, 9001));
    refused(&history);
}

/// Invariant 3: what overlaps beyond the bound is said, and never accepted or refused.
#[test]
fn what_has_too_many_orders_gets_no_verdict() {
    let history: Vec<_> = (0..40).map(|at| done(Action::Put(Value(at)), at, 100 + at)).collect();
    let said = check(history);
    assert!(matches!(said, Err(Refusal::TooManyOrders { .. })), "{said:?}");
}

fn action() -> impl Strategy<Value = Action> {
    let value = || (1_u64..4).prop_map(Value);
    prop_oneof![
        value().prop_map(Action::Create),
        value().prop_map(Action::Put),
        (value(), value()).prop_map(|(expected, with)| Action::Replace { expected, with }),
        Just(Action::Read),
        Just(Action::Read),
        Just(Action::Delete),
        Just(Action::Remove),
    ]
}

/// What a register really did: the operations took effect in this order, at times that lie between calls and answers.
fn real() -> impl Strategy<Value = Vec<Operation>> {
    let step = (action(), 0_u64..35, 0_u64..35, 0_u8..16);
    prop::collection::vec(step, 1..40).prop_map(|steps| {
        let (mut state, mut at, mut history) = (None, 100_u64, Vec::new());
        for (action, early, late, fate) in steps {
            at += 10;
            let (answer, after) = apply(state, action);
            // Its answer was lost, or it was itself.
            let outcome = if fate < 2 { Outcome::Unknown } else { answer };
            if fate > 0 {
                state = after;
            }
            history.push(operation(action, outcome, at - early, at + late));
        }
        history
    })
}

/// Anything that could be claimed about a few operations.
fn claimed() -> impl Strategy<Value = Vec<Operation>> {
    let found = prop::option::of((1_u64..4).prop_map(Value)).prop_map(Outcome::Found);
    let outcome = prop_oneof![4 => Just(Outcome::Done), 2 => Just(Outcome::Refused), 1 => Just(Outcome::Unknown)];
    let one = (action(), outcome, found, 0_u64..20, 0_u64..8).prop_map(|(action, outcome, found, called, lasts)| {
        let outcome = if action == Action::Read { found } else { outcome };
        operation(action, outcome, called, called + lasts)
    });
    prop::collection::vec(one, 1..7)
}

/// The oracle: every order that the times allow is tried.
fn has_order(left: &[Operation], state: State) -> bool {
    let known = |operation: &&Operation| operation.outcome != Outcome::Unknown;
    let Some(bound) = left.iter().filter(known).map(|operation| operation.answered).min() else { return true };
    (0..left.len()).any(|at| {
        let mut rest = left.to_vec();
        let Operation { action, outcome, called, .. } = rest.remove(at);
        called <= bound && explain(state, action, outcome).is_some_and(|after| has_order(&rest, after))
    })
}

proptest! {
    #[test]
    fn what_a_register_did_is_accepted(history in real().prop_shuffle()) {
        prop_assert_eq!(check(history), Ok(()));
    }

    #[test]
    fn a_flipped_read_is_refused_and_the_window_begins_with_it(history in real(), at: prop::sample::Index) {
        let reads: Vec<usize> =
            (0..history.len()).filter(|at| matches!(history[*at].outcome, Outcome::Found(_))).collect();
        prop_assume!(!reads.is_empty());
        let flipped = reads[at.index(reads.len())];
        let mut wrong = history;
        wrong[flipped].outcome = Outcome::Found(Some(Value(99)));
        prop_assert_eq!(&refused(&wrong)[0], &wrong[flipped]);
    }

    #[test]
    fn without_overlaps_a_read_of_anything_else_is_refused(
        history in real(),
        at: prop::sample::Index,
        to: prop::sample::Index,
    ) {
        let mut state = None;
        let mut history = history;
        for (operation, at) in history.iter_mut().zip(0_u64..) {
            (operation.outcome, state) = apply(state, operation.action);
            (operation.called, operation.answered) = (Duration::from_secs(at), Duration::from_millis(at * 1000 + 1));
        }
        let reads: Vec<usize> = (0..history.len()).filter(|at| history[*at].action == Action::Read).collect();
        prop_assume!(!reads.is_empty());
        let at = reads[at.index(reads.len())];
        let values = [None, Some(Value(1)), Some(Value(2)), Some(Value(3))].map(Outcome::Found);
        let others: Vec<Outcome> = values.into_iter().filter(|value| *value != history[at].outcome).collect();
        history[at].outcome = others[to.index(others.len())];
        prop_assert!(refused(&history).contains(&history[at]));
    }

    #[test]
    fn the_verdict_is_that_of_trying_every_order(history in claimed()) {
        prop_assert_eq!(check(history.clone()).is_ok(), has_order(&history, None));
    }
}
