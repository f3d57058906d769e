//! What goes to the log, and how several such writes share one sync.

use raft::eraftpb::{Entry, HardState, Message};

use crate::log::Append;

/// What one ready of the library has for the log.
#[derive(Debug)]
pub struct Write {
    /// Raft's number of the ready.
    pub number: u64,
    pub entries: Vec<Entry>,
    pub hard_state: Option<HardState>,
    /// Whether anything here must be durable before `messages` leave.
    pub sync: bool,
    pub messages: Vec<Message>,
}

/// Several writes on their way to one sync.
#[derive(Debug, Default)]
pub struct Merged {
    pub append: Append,
    pub bytes: usize,
    /// Whether there is anything to append.
    pub sync: bool,
    /// Of the last ready; 0 for none.
    pub number: u64,
    /// They leave when `append` is durable: invariant 1 of the crate.
    pub messages: Vec<Message>,
}

impl Merged {
    pub fn add(&mut self, write: Write) {
        if let Some(first) = write.entries.first() {
            // Entries may replace ones handed over before that are not written yet.
            while self.append.entries.pop_if(|entry| entry.index >= first.index).is_some() {}
            self.bytes += write.entries.iter().map(|entry| entry.data.len()).sum::<usize>();
            self.append.entries.extend(write.entries);
        }
        // The vote and the term count; the commit index alone is not worth a sync, and is found again after a restart.
        if write.sync && write.hard_state.is_some() {
            self.append.hard_state = write.hard_state;
        }
        self.sync |= write.sync;
        self.number = write.number;
        self.messages.extend(write.messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new leader's entries may come before those that they replace are written.
    #[test]
    fn entries_on_their_way_to_the_log_are_replaced_from_the_first_new_one_on() {
        let entry = |index, term| Entry { index, term, ..Entry::default() };
        let write = |number, entries, hard_state, sync| Write { number, entries, hard_state, sync, messages: vec![] };
        let mut merged = Merged::default();
        merged.add(write(1, vec![entry(1, 1), entry(2, 1), entry(3, 1)], None, true));
        merged.add(write(2, vec![entry(2, 4)], Some(HardState { term: 4, ..HardState::default() }), true));
        merged.add(write(3, vec![], Some(HardState { term: 4, commit: 2, ..HardState::default() }), false));
        assert_eq!(merged.append.entries, [entry(1, 1), entry(2, 4)]);
        assert_eq!((merged.number, merged.sync), (3, true));
        let hard_state = merged.append.hard_state.expect("it must be durable");
        assert_eq!((hard_state.term, hard_state.commit), (4, 0), "the commit index alone is not worth a write");
    }
}
