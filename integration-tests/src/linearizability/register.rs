//! What a key is like while one operation after the other takes effect.

use super::{Action, Outcome, Value};

/// What a key holds.
pub(super) type State = Option<Value>;

/// The one outcome that an action has, and what the key holds behind it.
pub(super) fn apply(before: State, action: Action) -> (Outcome, State) {
    match (action, before) {
        (Action::Read, _) => (Outcome::Found(before), before),
        (Action::Put(value), _) | (Action::Create(value), None) => (Outcome::Done, Some(value)),
        (Action::Replace { expected, with }, Some(held)) if held == expected => (Outcome::Done, Some(with)),
        (Action::Delete, Some(_)) | (Action::Remove, _) => (Outcome::Done, None),
        (Action::Create(_), Some(_)) | (Action::Replace { .. }, _) | (Action::Delete, None) => {
            (Outcome::Refused, before)
        }
    }
}

/// What the key holds behind the action, if that explains the outcome.
pub(super) fn explain(before: State, action: Action, outcome: Outcome) -> Option<State> {
    let (answer, after) = apply(before, action);
    (outcome == Outcome::Unknown || outcome == answer).then_some(after)
}
