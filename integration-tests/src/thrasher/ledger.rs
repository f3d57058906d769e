//! What was acknowledged, and so what may be seen at each path at each time.

use std::collections::BTreeMap;
use std::fmt;

use super::Content;

/// Bytes that are compared with one state at a time: a reader may see one part of a file before a change, and the next after.
const PIECE: usize = 4096;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Absent,
    /// Any beginning of these bytes that has the least length (invariant 2).
    File {
        content: Content,
        least: u64,
    },
}

impl State {
    /// A file that is complete.
    pub fn whole(content: Content) -> Self {
        let least = content.length();
        Self::File { content, least }
    }

    fn admits(&self, length: Option<u64>) -> bool {
        match (self, length) {
            (Self::Absent, None) => true,
            (Self::File { content, least }, Some(length)) => (*least..=content.length()).contains(&length),
            (Self::Absent, Some(_)) | (Self::File { .. }, None) => false,
        }
    }

    fn is(&self, found: Option<&[u8]>) -> bool {
        let holds = |bytes| matches!(self, Self::File { content, .. } if content.holds(0, bytes));
        self.admits(found.map(|bytes| bytes.len() as u64)) && found.is_none_or(holds)
    }
}

/// A moment of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clock(u64);

/// An operation that was not answered yet.
#[derive(Debug)]
#[must_use = "every operation has an outcome, if only an unknown one"]
pub struct Ticket {
    before: Vec<(String, State)>,
    after: Vec<(String, State)>,
}

/// Something was seen that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    pub path: String,
    pub what: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

impl std::error::Error for Mismatch {}

#[derive(Debug, Clone)]
struct Held {
    state: State,
    /// When it was known not to be so any more.
    until: Option<u64>,
}

/// Each worker has paths of its own and does one thing at a time; everybody reads all of them.
#[derive(Debug, Default)]
pub struct Ledger {
    now: u64,
    paths: BTreeMap<String, Vec<Held>>,
    /// Alternatives of operations without an answer.
    undecided: Vec<Ticket>,
    seeds: u64,
}

impl Ledger {
    /// A pattern that nothing was written with so far.
    pub fn seed(&mut self) -> u64 {
        self.seeds += 1;
        self.seeds
    }

    /// What happens from now on is later than this.
    pub fn clock(&self) -> Clock {
        Clock(self.now)
    }

    /// What is known to be at a path.
    ///
    /// # Panics
    /// If it is not known: the path is not to be worked on (invariant 3).
    pub fn state(&self, path: &str) -> State {
        let held: Vec<&State> = self.held(path).filter(|held| held.until.is_none()).map(|held| &held.state).collect();
        match held[..] {
            [] => State::Absent,
            [state] => state.clone(),
            [..] => panic!("{path} is not to be worked on"),
        }
    }

    fn held(&self, path: &str) -> impl Iterator<Item = &Held> {
        self.paths.get(path).into_iter().flatten()
    }

    /// An operation is about to be sent that brings these states, all of them or none (invariant 1).
    pub fn begin(&mut self, after: Vec<(String, State)>) -> Ticket {
        let before = after.iter().map(|(path, _)| (path.clone(), self.state(path))).collect();
        self.now += 1;
        for (path, state) in &after {
            self.hold_absent(path);
            self.hold(path, state.clone());
        }
        Ticket { before, after }
    }

    /// It was done.
    pub fn done(&mut self, ticket: Ticket) {
        self.drop_states(&ticket.before);
    }

    /// It was refused, and will not be done later.
    pub fn refused(&mut self, ticket: Ticket) {
        self.drop_states(&ticket.after);
    }

    /// Nobody will ever know.
    pub fn unknown(&mut self, ticket: Ticket) {
        self.undecided.push(ticket);
    }

    /// Only its owner writes to the path, and from now on this is what may be there.
    pub fn set(&mut self, path: &str, state: State) {
        self.now += 1;
        self.hold_absent(path);
        let now = self.now;
        for held in self.paths.get_mut(path).into_iter().flatten().filter(|held| held.until.is_none()) {
            held.until = Some(now);
        }
        self.hold(path, state);
    }

    /// Nobody writes the file any more, and it is so long.
    pub fn narrow(&mut self, path: &str, length: u64) -> Result<(), Mismatch> {
        let state = self.state(path);
        let possible = state.admits(Some(length));
        match state {
            State::File { mut content, .. } if possible => {
                content.truncate(length);
                self.set(path, State::whole(content));
                Ok(())
            }
            state @ (State::File { .. } | State::Absent) => {
                let what = format!("{} is left of {}", shown(Some(length)), list(&[&state]));
                Err(Mismatch { path: path.to_owned(), what })
            }
        }
    }

    fn hold(&mut self, path: &str, state: State) {
        let held = Held { state, until: None };
        self.paths.entry(path.to_owned()).or_default().push(held);
    }

    /// Nothing is at a path that was never heard of.
    fn hold_absent(&mut self, path: &str) {
        if !self.paths.contains_key(path) {
            self.paths.insert(path.to_owned(), vec![Held { state: State::Absent, until: None }]);
        }
    }

    fn drop_states(&mut self, states: &[(String, State)]) {
        self.now += 1;
        for (path, state) in states {
            let held = self.paths.get_mut(path).into_iter().flatten();
            let first = held.filter(|held| held.until.is_none()).find(|held| held.state == *state);
            first.expect("what was begun is held").until = Some(self.now);
        }
    }

    /// All paths that something is or was at.
    pub fn paths(&self) -> Vec<String> {
        self.paths.keys().cloned().collect()
    }

    /// Whether somebody who began to read at `since`, and has just ended, may have found this; none: nothing was there.
    pub fn check_read(&self, path: &str, since: Clock, found: Option<&[u8]>) -> Result<(), Mismatch> {
        let possible: Vec<&State> = self
            .held(path)
            .filter(|held| held.until.is_none_or(|until| until > since.0))
            .map(|held| &held.state)
            .collect();
        let mismatch = |what: String| Mismatch { path: path.to_owned(), what };
        let length = found.map(|bytes| bytes.len() as u64);
        let heard_of = self.paths.contains_key(path);
        if !possible.iter().any(|state| state.admits(length)) && (heard_of || length.is_some()) {
            return Err(mismatch(format!("{} was found, of {}", shown(length), list(&possible))));
        }
        for (at, piece) in found.unwrap_or_default().chunks(PIECE).enumerate() {
            let offset = (at * PIECE) as u64;
            let holds = |state: &&State| matches!(state, State::File { content, .. } if content.holds(offset, piece));
            if !possible.iter().any(holds) {
                let what = format!("bytes {offset}..{} are none of {}", offset + piece.len() as u64, list(&possible));
                return Err(mismatch(what));
            }
        }
        Ok(())
    }

    /// Compares everything with what is there at last; what is not in `found` is not there.
    pub fn check_all(&self, found: &BTreeMap<String, Vec<u8>>) -> Vec<Mismatch> {
        let mut wrong = Vec::new();
        let mut judged: Vec<&str> = Vec::new();
        let is = |(path, state): &(String, State)| state.is(found.get(path).map(Vec::as_slice));
        for ticket in &self.undecided {
            judged.extend(ticket.after.iter().map(|(path, _)| path.as_str()));
            if !ticket.before.iter().all(is) && !ticket.after.iter().all(is) {
                let paths: Vec<&str> = ticket.after.iter().map(|(path, _)| path.as_str()).collect();
                let what = "neither what it was nor what an operation without an answer makes of it".to_owned();
                wrong.push(Mismatch { path: paths.join(", "), what });
            }
        }
        for (path, held) in &self.paths {
            if judged.contains(&path.as_str()) {
                continue;
            }
            let bytes = found.get(path).map(Vec::as_slice);
            let possible: Vec<&State> =
                held.iter().filter(|held| held.until.is_none()).map(|held| &held.state).collect();
            if !possible.iter().any(|state| state.is(bytes)) {
                let found = shown(bytes.map(|bytes| bytes.len() as u64));
                let what = format!("{found} is there at the end, or other bytes, instead of {}", list(&possible));
                wrong.push(Mismatch { path: path.clone(), what });
            }
        }
        let strange = found.keys().filter(|path| !self.paths.contains_key(*path));
        wrong.extend(strange.map(|path| Mismatch { path: path.clone(), what: "nobody wrote it".to_owned() }));
        wrong
    }
}

fn shown(length: Option<u64>) -> String {
    length.map_or("nothing".to_owned(), |length| format!("a file of {length} bytes"))
}

fn list(states: &[&State]) -> String {
    let one = |state: &&State| match state {
        State::Absent => "nothing".to_owned(),
        State::File { content, least } if content.length() == *least => format!("{least} bytes"),
        State::File { content, least } => format!("{least} to {} bytes", content.length()),
    };
    format!("[{}]", states.iter().map(one).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests;
