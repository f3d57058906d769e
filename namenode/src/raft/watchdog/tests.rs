//! A disk that a test holds still.

use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex};

use consensus::{Append, Contents, LogError, LogStore, Write as LogWrite};
use raft::eraftpb::Entry;

use super::*;
use crate::progress::Progress;
use crate::queue::{self, Sender};
use crate::raft::writer::{LogTask, Writer};
use crate::raft::{Inbox, Outbox};

const WAIT: Duration = Duration::from_secs(20);

/// A log whose writes wait until the gate is open, or fail.
#[derive(Default)]
struct Gated {
    open: Mutex<bool>,
    opened: Condvar,
    fails: bool,
}

impl Gated {
    fn open(&self) {
        *self.open.lock().expect("no holder panics") = true;
        self.opened.notify_all();
    }
}

impl LogStore for Gated {
    fn contents(&self) -> Result<Contents, LogError> {
        Ok(Contents::default())
    }

    fn entries(&self, _: u64, _: u64, _: u64) -> Result<Vec<Entry>, LogError> {
        Ok(Vec::new())
    }

    fn append(&self, _: &Append) -> Result<u64, LogError> {
        if self.fails {
            return Err(LogError::Engine { action: "write", reason: "Input/output error".to_owned() });
        }
        let open = self.open.lock().expect("no holder panics");
        drop(self.opened.wait_while(open, |open| !*open).expect("no holder panics"));
        Ok(1)
    }

    fn truncate(&self, _: u64, _: u64) -> Result<(), LogError> {
        Ok(())
    }

    fn reset(&self, _: u64, _: u64) -> Result<(), LogError> {
        Ok(())
    }
}

/// A log thread with one write to do, and its watchdog.
struct Watching {
    log: Arc<Gated>,
    disk: Arc<Disk>,
    progress: Arc<Progress>,
    ends: (Sender<LogTask>, crossbeam_channel::Sender<()>),
    threads: Vec<std::thread::JoinHandle<Result<(), String>>>,
}

impl Watching {
    fn start(log: Gated, patience: Patience) -> Self {
        let (log, disk, progress) = (Arc::new(log), Arc::new(Disk::default()), Arc::new(Progress::default()));
        let (tasks, received) = queue::bounded(1, &Arc::default());
        let (watched, running) = crossbeam_channel::bounded(0);
        let inbox = Inbox::new(&Arc::default());
        let (outbox, _) = Outbox::new(inbox.sender(), Default::default());
        let writer = Writer {
            tasks: received,
            log: log.clone(),
            outbox: Arc::new(outbox),
            progress: progress.clone(),
            wake: inbox.sender(),
            disk: disk.clone(),
        };
        let watchdog = Watchdog { disk: disk.clone(), patience, dir: "/the/disk".into(), running };
        let threads = vec![std::thread::spawn(|| writer.run()), std::thread::spawn(|| watchdog.run())];
        let task = LogWrite { number: 1, entries: vec![], hard_state: None, sync: true, messages: vec![] };
        tasks.send(LogTask::Write(task)).expect("the thread runs");
        Self { log, disk, progress, ends: (tasks, watched), threads }
    }

    fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < WAIT, "{what}");
            std::thread::yield_now();
        }
    }

    fn stop(self) {
        drop(self.ends);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no panic").expect("no failure"));
    }
}

/// Invariant 1.
#[test]
fn a_write_that_hangs_is_a_stall_until_it_is_finished() {
    let patience = Patience { hand_over: Duration::from_millis(20), abort: WAIT };
    let watching = Watching::start(Gated::default(), patience);
    watching.until("the stall is noticed", |watching| watching.disk.stalled());
    assert_eq!(watching.progress.written.get(), 0);
    watching.log.open();
    watching.until("it is over", |watching| !watching.disk.stalled());
    assert_eq!(watching.progress.written.get(), 1);
    watching.stop();
}

/// Invariant 3, and that every write is a new one.
#[test]
fn a_stopped_process_and_many_short_writes_are_no_stall() {
    let interval = Duration::from_millis(250);
    let hour = Duration::from_secs(3600);
    let mut watched = Watched::default();
    assert_eq!(watched.look(Some(1), hour, interval), Duration::ZERO, "seen for the first time");
    assert_eq!(watched.look(Some(1), interval, interval), interval);
    assert_eq!(watched.look(Some(1), hour, interval), 3 * interval, "stopped for an hour");
    assert_eq!(watched.look(Some(3), interval, interval), Duration::ZERO, "another write");
    assert_eq!(watched.look(None, interval, interval), Duration::ZERO);
    assert_eq!(watched.look(None, interval, interval), Duration::ZERO, "nothing to do is no stall");
}

/// Runs a test of this module in a process of its own, which must abort; what it logged.
fn aborts(test: &str) -> String {
    let me = std::env::current_exe().expect("a running test has a path");
    let name = format!("raft::watchdog::tests::{test}");
    let child = Command::new(me).args([&name, "--exact", "--nocapture"]).env(CHILD, "1").stdin(Stdio::null()).output();
    let output = child.expect("it can be started");
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(signal, Some(rustix::process::Signal::ABORT.as_raw()), "{}\n{text}", output.status);
    text
}

/// Set in the processes that are to abort.
const CHILD: &str = "ASHLAR_TEST_ABORTS";

fn is_child() -> bool {
    let child = std::env::var_os(CHILD).is_some();
    if child {
        tracing_subscriber::fmt().with_ansi(false).init();
    }
    child
}

/// Invariant 2.
#[test]
fn a_write_that_never_ends_ends_the_process() {
    if is_child() {
        let patience = Patience { hand_over: Duration::from_millis(10), abort: Duration::from_millis(50) };
        let watching = Watching::start(Gated::default(), patience);
        watching.threads.into_iter().for_each(|thread| drop(thread.join()));
        return;
    }
    let said = aborts("a_write_that_never_ends_ends_the_process");
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(matches!(errors[..], [error] if error.contains("/the/disk: a write is not finished")), "{said}");
}

/// Invariant 4 of `raft`: it is not tried again, and nothing counts as written.
#[test]
fn a_failed_sync_ends_the_process() {
    if is_child() {
        let patience = Patience { hand_over: WAIT, abort: WAIT };
        let watching = Watching::start(Gated { fails: true, ..Gated::default() }, patience);
        watching.threads.into_iter().for_each(|thread| drop(thread.join()));
        return;
    }
    let said = aborts("a_failed_sync_ends_the_process");
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(matches!(errors[..], [error] if error.contains("Input/output error")), "{said}");
}
