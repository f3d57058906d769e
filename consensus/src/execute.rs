//! Runs committed entries against the state.

use namespace::Effect;
use namespace::codec::{Batch, DecodeError};
use namespace::command::{Command, Reply, Request};
use namespace::overlay::Overlay;
use namespace::view::{View, ViewError, Write};
use raft::eraftpb::{Entry, EntryType};

use crate::group::Group;
use crate::manifest::AppliedState;

/// The requests of one proposal, and who waits for what they answer.
#[derive(Debug)]
pub struct Waiter<P> {
    pub requests: usize,
    pub ticket: P,
}

#[derive(Debug)]
pub struct Committed<P> {
    pub entry: Entry,
    /// In the order of the requests in the entry; empty for one that this member did not propose.
    pub waiters: Vec<Waiter<P>>,
    /// The group from this entry on, if it changes it.
    pub group: Option<Group>,
}

/// What the requests of one proposal answer, in their order. It counts once the writes are part of the state.
#[derive(Debug)]
pub struct Answered<P> {
    pub ticket: P,
    pub outcomes: Vec<Result<Reply, namespace::Error>>,
}

/// What came of some entries.
#[derive(Debug)]
pub struct Executed<P> {
    pub answers: Vec<Answered<P>>,
    pub effects: Vec<Effect>,
    /// Datanodes were registered, or take part otherwise than before.
    pub nodes_changed: bool,
    /// The keys of block tokens are others.
    pub keys_changed: bool,
    pub formatted: bool,
    /// The group is another one, or another one's address is known.
    pub regrouped: bool,
    pub commands: u64,
}

impl<P> Default for Executed<P> {
    fn default() -> Self {
        Self {
            answers: Vec::new(),
            effects: Vec::new(),
            nodes_changed: false,
            keys_changed: false,
            formatted: false,
            regrouped: false,
            commands: 0,
        }
    }
}

/// The committed log and the state do not go together, or one of them cannot be read. The member must stop.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    #[error("entry {found} follows {last} in the committed log")]
    Gap { last: u64, found: u64 },
    #[error("entry {index} is {kind}, which does not fit what it says")]
    Kind { index: u64, kind: String },
    #[error("entry {index}: {error}")]
    Decode { index: u64, error: DecodeError },
    #[error("entry {index} cannot be applied: {error}")]
    View { index: u64, error: ViewError },
}

/// Applies entries in their order to `overlay`, and moves `state` along.
pub fn execute<P, V: View>(
    overlay: &mut Overlay<'_, V>,
    state: &mut AppliedState,
    entries: Vec<Committed<P>>,
) -> Result<Executed<P>, ExecuteError> {
    execute_watched(overlay, state, entries, |_, _, _| Ok(()))
}

/// As [`execute`], and shows `watch` the state before each request, the request, and its writes.
pub fn execute_watched<P, V: View>(
    overlay: &mut Overlay<'_, V>,
    state: &mut AppliedState,
    entries: Vec<Committed<P>>,
    mut watch: impl FnMut(&Overlay<'_, V>, &Request, &[Write]) -> Result<(), ViewError>,
) -> Result<Executed<P>, ExecuteError> {
    let mut executed = Executed::default();
    for Committed { entry, waiters, group } in entries {
        let index = entry.index;
        if index != state.index + 1 {
            return Err(ExecuteError::Gap { last: state.index, found: index });
        }
        (state.index, state.term) = (index, entry.term);
        // The kind is compared rather than guessed from the bytes: a change of members may come back from the library as
        // an empty entry.
        match (entry.get_entry_type(), group) {
            (EntryType::EntryNormal, None) => {}
            (EntryType::EntryConfChangeV2, Some(group)) => {
                state.group = group;
                executed.regrouped = true;
                let answers = waiters.into_iter().map(|Waiter { ticket, .. }| Answered { ticket, outcomes: vec![] });
                executed.answers.extend(answers);
                continue;
            }
            (kind, _) => return Err(ExecuteError::Kind { index, kind: format!("{kind:?}") }),
        }
        // A new leader's first entry is empty.
        if entry.data.is_empty() {
            continue;
        }
        let batch = Batch::decode(&entry.data).map_err(|error| ExecuteError::Decode { index, error })?;
        let mut outcomes = Vec::with_capacity(batch.requests.len());
        for request in &batch.requests {
            executed.nodes_changed |= matches!(
                request.command,
                Command::RegisterDatanode { .. } | Command::SetService { .. } | Command::Job { .. }
            );
            executed.keys_changed |= matches!(request.command, Command::AddTokenKey { .. });
            executed.formatted |= matches!(request.command, Command::Format { .. });
            let applied = namespace::apply(overlay, request).map_err(|error| ExecuteError::View { index, error })?;
            watch(overlay, request, &applied.writes).map_err(|error| ExecuteError::View { index, error })?;
            overlay.absorb(applied.writes);
            executed.effects.extend(applied.effects);
            outcomes.push(applied.reply);
        }
        executed.commands += batch.requests.len() as u64;
        let mut outcomes = outcomes.into_iter();
        for Waiter { requests, ticket } in waiters {
            executed.answers.push(Answered { ticket, outcomes: outcomes.by_ref().take(requests).collect() });
        }
    }
    Ok(executed)
}

#[cfg(test)]
mod tests {
    use namespace::memory::MemoryView;
    use namespace::row::{NodeRow, Service};
    use types::{NodeId, Timestamp};

    use super::*;

    /// The leader chooses datanodes from a view of its own, which is loaded again when this says so.
    #[test]
    fn what_changes_whether_a_datanode_takes_part_changes_the_nodes() {
        let changed = |command| {
            let request = Request { time: Timestamp::from_nanos(1), origin: None, command, principal: None };
            let data = Batch { requests: vec![request] }.encode().into();
            let entries = vec![Committed::<()> {
                entry: Entry { index: 1, data, ..Entry::default() },
                waiters: vec![],
                group: None,
            }];
            let mut state = AppliedState { index: 0, term: 0, group: Group::of(&[1]) };
            let executed = execute(&mut Overlay::new(&MemoryView::new()), &mut state, entries);
            executed.expect("one readable entry").nodes_changed
        };
        let (node, id) = (NodeId::new(1), NodeId::new(0));
        let row = NodeRow {
            id,
            host: "dn".to_owned(),
            transfer: "127.0.0.1:1".to_owned(),
            rack: "/rack".to_owned(),
            storages: vec![],
            service: None,
        };
        assert!(changed(Command::RegisterDatanode { node: row }));
        assert!(changed(Command::SetService { node, service: Service::Decommissioning, only_if: None, by: None }));
        let order = namespace::job::JobOrder::Cancel { job: types::JobId::new(1), by: "root".to_owned() };
        assert!(changed(Command::Job { order }), "a datanode that was to leave is back");
        assert!(!changed(Command::ExpireTrash { limit: 1 }));
    }

    /// The library may answer with an empty entry where a change of members was proposed: its kind tells.
    #[test]
    fn an_entry_that_changes_members_is_not_taken_for_an_empty_one() {
        let view = MemoryView::new();
        let before = AppliedState { index: 4, term: 1, group: Group::of(&[1]) };
        let run = |index, kind, group| {
            let mut state = before.clone();
            let entry = Entry { entry_type: kind, index, term: 1, ..Entry::default() };
            let entries = vec![Committed::<()> { entry, waiters: vec![], group }];
            execute(&mut Overlay::new(&view), &mut state, entries).map(|executed| (executed.regrouped, state.group))
        };
        let (old, new) = (Group::of(&[1]), Group::of(&[1, 2]));
        assert_eq!(run(5, EntryType::EntryNormal, None), Ok((false, old)));
        assert_eq!(run(5, EntryType::EntryConfChangeV2, Some(new.clone())), Ok((true, new.clone())));
        assert_eq!(run(7, EntryType::EntryNormal, None), Err(ExecuteError::Gap { last: 4, found: 7 }));
        for (kind, group) in [
            (EntryType::EntryConfChange, None),
            (EntryType::EntryConfChange, Some(new.clone())),
            (EntryType::EntryConfChangeV2, None),
            (EntryType::EntryNormal, Some(new)),
        ] {
            assert!(matches!(run(5, kind, group), Err(ExecuteError::Kind { index: 5, .. })), "{kind:?}");
        }
    }
}
