//! The search for an order, answer by answer, as Wing and Gong and after them Lowe do it: at each answer, every order so
//! far is extended by operations that are under way until it has the one that was answered. Orders with the same result
//! are one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::register::{State, explain};
use super::{Operation, Outcome};

/// Orders kept at a time (invariant 3).
pub(super) const LIMIT: usize = 1 << 16;

/// Why there is no verdict of "yes": the operation at whose answer the search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    NoOrder { at: usize },
    TooMany { at: usize },
}

/// All that matters of an order: what the key holds behind it, and which of the operations that are not answered are in
/// it. Those that never will be are kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Order {
    state: State,
    ahead: BTreeSet<usize>,
    unknown: BTreeSet<usize>,
}

impl Order {
    fn has(&self, at: usize) -> bool {
        self.ahead.contains(&at) || self.unknown.contains(&at)
    }

    fn then(&self, at: usize, operation: &Operation, state: State) -> Self {
        let mut longer = Self { state, ..self.clone() };
        let part = if operation.outcome == Outcome::Unknown { &mut longer.unknown } else { &mut longer.ahead };
        part.insert(at);
        longer
    }
}

/// Orders of which none is better than another. One is as good as another with the same state if it has the same
/// operations but for unknown ones, of which it has fewer: those can still take effect, or never do (invariant 2).
#[derive(Debug, Default)]
struct Orders {
    best: BTreeMap<(State, BTreeSet<usize>), Vec<BTreeSet<usize>>>,
    count: usize,
}

impl Orders {
    /// Whether it was not there, nor one as good.
    fn insert(&mut self, order: Order) -> bool {
        let Order { state, ahead, unknown } = order;
        let rivals = self.best.entry((state, ahead)).or_default();
        if rivals.iter().any(|rival| rival.is_subset(&unknown)) {
            return false;
        }
        self.count -= rivals.len();
        rivals.retain(|rival| !unknown.is_subset(rival));
        rivals.push(unknown);
        self.count += rivals.len();
        true
    }

    fn into_iter(self) -> impl Iterator<Item = Order> {
        self.best.into_iter().flat_map(|((state, ahead), unknowns)| {
            unknowns.into_iter().map(move |unknown| Order { state, ahead: ahead.clone(), unknown })
        })
    }

    /// Every order that has the answered operation, which is not kept in mind any more: it is in all of them.
    /// None if there are too many on the way.
    fn answered(self, at: usize, under_way: &BTreeSet<usize>, operations: &[Operation]) -> Option<Self> {
        let (mut through, mut seen, mut queue) = (Self::default(), Self::default(), VecDeque::new());
        for mut order in self.into_iter() {
            if order.ahead.remove(&at) {
                through.insert(order);
            } else if seen.insert(order.clone()) {
                queue.push_back(order);
            }
        }
        while let Some(order) = queue.pop_front() {
            for next in under_way.iter().copied().filter(|next| !order.has(*next)) {
                let operation = &operations[next];
                let Some(state) = explain(order.state, operation.action, operation.outcome) else { continue };
                if next == at {
                    through.insert(Order { state, ..order.clone() });
                    continue;
                }
                let longer = order.then(next, operation, state);
                if seen.insert(longer.clone()) {
                    queue.push_back(longer);
                }
            }
            if through.count + seen.count > LIMIT {
                return None;
            }
        }
        Some(through)
    }
}

/// Looks for an order of the operations on one key, which holds one of `starts` before them.
pub(super) fn run(operations: &[Operation], starts: impl IntoIterator<Item = State>) -> Result<(), Stop> {
    let mut orders = Orders::default();
    for state in starts {
        orders.insert(Order { state, ahead: BTreeSet::new(), unknown: BTreeSet::new() });
    }
    let mut events = Vec::with_capacity(operations.len() * 2);
    for (at, operation) in operations.iter().enumerate() {
        // At equal times calls come first, and the operations overlap (invariant 1).
        events.push((operation.called, false, at));
        if operation.outcome != Outcome::Unknown {
            events.push((operation.answered, true, at));
        }
    }
    events.sort_unstable();
    let mut under_way = BTreeSet::new();
    for (_, is_answer, at) in events {
        if !is_answer {
            under_way.insert(at);
            continue;
        }
        orders = orders.answered(at, &under_way, operations).ok_or(Stop::TooMany { at })?;
        if orders.count == 0 {
            return Err(Stop::NoOrder { at });
        }
        under_way.remove(&at);
    }
    Ok(())
}

/// The shortest run of operations that ends with the first answer that cannot be, and has no order whatever was written
/// before it (invariant 4). The operations are sorted by their calls.
pub(super) fn window(mut operations: Vec<Operation>, at: usize) -> Vec<Operation> {
    let end = operations[at].answered;
    operations.retain(|operation| operation.called <= end);
    // A longer run holds the shorter one, and has no order either.
    let starts: Vec<usize> = (0..operations.len()).collect();
    let first = starts.partition_point(|first| has_no_order(&operations, *first, end)).saturating_sub(1);
    operations.split_off(first)
}

/// Whether the operations from `first` on have no order up to `end`.
fn has_no_order(operations: &[Operation], first: usize, end: Duration) -> bool {
    let (before, run_of) = operations.split_at(first);
    let from = run_of[0].called;
    // What reaches over an edge may take effect on either side of it.
    let over = |operation: &&Operation| operation.outcome == Outcome::Unknown || operation.answered >= from;
    let reaching = before.iter().filter(over).cloned().map(|it| Operation { outcome: Outcome::Unknown, ..it });
    let inside = run_of.iter().cloned().map(|it| {
        let outcome = if it.answered > end { Outcome::Unknown } else { it.outcome };
        Operation { outcome, ..it }
    });
    let considered: Vec<Operation> = reaching.chain(inside).collect();
    let starts = before.iter().filter_map(|operation| operation.action.written()).map(Some);
    matches!(run(&considered, starts.chain([None])), Err(Stop::NoOrder { .. }))
}
