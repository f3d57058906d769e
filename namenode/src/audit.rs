//! The audit log: who did what to which path, and with what result; one line of JSON for each.
//!
//! Every door is a client of a namenode, and the leader decides what each may do: so this is where all of it is seen.
//!
//! Invariants, cited by tests:
//! 1. What is refused for want of a right has a line, whatever the setting but `off`, and whether it changes something or not.
//! 2. Nobody waits for the disk of this log: its thread writes. A stream waits for room, for a while; past that lines are
//!    counted as lost and never dropped in silence.
//! 3. A line is one line, whatever names people give their files.
//! 4. Files and their number are bounded: the oldest goes.

mod file;
mod line;
mod recent;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use std::{io, path::PathBuf};

use namespace::command::Principal;
use prometheus_client::metrics::counter::Counter;
use proto::v1;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tracing::{error, warn};
use types::{ByteSize, Code, ErrorKind, SessionId};

use crate::deed::{Class, Deed};
use crate::failure::Failures;
use crate::store::Store;

use file::Rotating;
use recent::Recent;

/// Groups of lines that wait for the thread.
const WAITING: usize = 1024;
/// How long a stream waits for room.
const PATIENCE: Duration = Duration::from_secs(1);

/// What has a line. What is refused for want of a right has one in any case, but `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audit {
    /// Nothing.
    Off,
    /// What was refused for want of a right.
    Denied,
    /// What changes names, contents or rights, well done or not.
    #[default]
    Changes,
    /// Every question too.
    All,
}

/// One thing that somebody did, or was not allowed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) at: SystemTime,
    pub(crate) deed: Deed,
    /// None: an operator.
    pub(crate) principal: Option<Arc<Principal>>,
    /// What an operator calls itself.
    pub(crate) by: String,
    pub(crate) from: Arc<str>,
    pub(crate) session: Option<SessionId>,
    pub(crate) refused: Option<Code>,
}

impl Audit {
    /// Whether something has a line.
    pub(crate) fn takes(self, class: Class, refused: Option<Code>) -> bool {
        let denied = refused.is_some_and(|code| code.kind() == ErrorKind::Denied && code != Code::Deadlock);
        match self {
            Self::Off => false,
            // Invariant 1.
            _ if denied => true,
            Self::Denied => false,
            Self::Changes => class == Class::Change,
            Self::All => class != Class::Inner,
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    pub(crate) lines: Counter,
    pub(crate) lost: Counter,
}

/// Where the log goes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) path: PathBuf,
    /// A file that has grown beyond this is set aside.
    pub(crate) size: ByteSize,
    /// Files that are kept beside the one that is written.
    pub(crate) keep: u32,
}

/// What the thread is told.
#[derive(Debug)]
enum Message {
    Entries(Vec<Entry>),
    Stop,
}

/// The way to the thread.
#[derive(Debug)]
pub(crate) struct AuditLog {
    takes: Audit,
    messages: mpsc::Sender<Message>,
    recent: Arc<Recent>,
    counted: Counted,
}

impl AuditLog {
    /// Starts the thread.
    pub(crate) fn start(
        takes: Audit,
        target: Target,
        store: &Arc<Store>,
        counted: Counted,
        failures: &Failures,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let file = if takes == Audit::Off { None } else { Some(Rotating::open(target)?) };
        let (messages, received) = mpsc::channel(WAITING);
        let recent = Arc::new(Recent::default());
        let writer =
            Writer { received, file, store: Arc::clone(store), recent: Arc::clone(&recent), counted: counted.clone() };
        let thread = failures.thread("audit", move || {
            writer.run();
            Ok(())
        })?;
        Ok((Self { takes, messages, recent, counted }, thread))
    }

    pub(crate) fn takes(&self, class: Class, refused: Option<Code>) -> bool {
        self.takes.takes(class, refused)
    }

    /// Invariant 2.
    pub(crate) async fn write(&self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let number = entries.len() as u64;
        let sent = self.messages.send_timeout(Message::Entries(entries), PATIENCE).await;
        if sent.is_err() && self.counted.lost.inc_by(number) == 0 {
            warn!("the audit log does not take up its lines, and some are lost");
        }
    }

    /// Has the thread end, after what waits.
    pub(crate) fn stop(&self) {
        // It may have ended.
        let _ = self.messages.blocking_send(Message::Stop);
    }

    /// The newest entries, newest first.
    pub(crate) fn recent(&self, most: usize) -> Vec<v1::AuditEntry> {
        self.recent.newest(most)
    }
}

/// The thread.
struct Writer {
    received: mpsc::Receiver<Message>,
    file: Option<Rotating>,
    store: Arc<Store>,
    recent: Arc<Recent>,
    counted: Counted,
}

impl Writer {
    fn run(mut self) {
        let (mut text, mut messages, mut running) = (Vec::new(), Vec::new(), true);
        while running && self.received.blocking_recv_many(&mut messages, WAITING) > 0 {
            let (mut written, mut paths) = (0, line::Paths::default());
            for message in messages.drain(..) {
                let Message::Entries(entries) = message else {
                    running = false;
                    break;
                };
                for entry in &entries {
                    let entry = line::entry(entry, &self.store, &mut paths);
                    line::write(&entry, &mut text);
                    self.recent.push(entry);
                    written += 1;
                }
            }
            self.write(&text, written);
            text.clear();
        }
    }

    fn write(&mut self, text: &[u8], lines: u64) {
        let Some(file) = self.file.as_mut().filter(|_| lines > 0) else { return };
        match file.write(text) {
            Ok(()) => drop(self.counted.lines.inc_by(lines)),
            Err(error) => {
                self.counted.lost.inc_by(lines);
                error!(path = %file.path().display(), %error, "lines of the audit log are lost");
            }
        }
    }
}

#[cfg(test)]
mod tests;
