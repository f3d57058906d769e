//! What workers, readers and the one who makes the trouble share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use client::Error;
use integration_tests::thrasher::{Ledger, Task};

/// Done of each kind in every minute, at least. One file takes some ten milliseconds when all is well.
const LEAST: u64 = 4;

#[derive(Debug)]
pub(crate) struct World {
    begun: Instant,
    over: AtomicBool,
    ledger: Mutex<Ledger>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// Done and failed, of each kind.
    done: BTreeMap<&'static str, (u64, u64)>,
    faults: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

impl Default for World {
    fn default() -> Self {
        let (over, ledger, told) = (AtomicBool::new(false), Mutex::default(), Mutex::default());
        Self { begun: Instant::now(), over, ledger, told }
    }
}

impl World {
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Counts what became of a task.
    pub(crate) fn count<T>(&self, task: &'static str, answer: &Result<T, Error>) {
        let mut told = self.told();
        let (done, failed) = told.done.entry(task).or_default();
        *if answer.is_ok() { done } else { failed } += 1;
    }

    pub(crate) fn fault(&self, name: &'static str) {
        *self.told().faults.entry(name).or_default() += 1;
    }

    /// Something that must never be. The run goes on, so that more is seen.
    #[expect(clippy::print_stdout, reason = "the log of a run that fails")]
    pub(crate) fn violation(&self, what: impl fmt::Display) {
        let line = format!("{:.1}s: {what}", self.elapsed().as_secs_f64());
        println!("VIOLATION {line}");
        self.told().violations.push(line);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.told().violations.clone()
    }

    pub(crate) fn ensure_progress(&self, duration: Duration) -> Result<()> {
        let least = LEAST * duration.as_secs() / 60;
        let told = self.told();
        let done = |name: &str| told.done.get(name).map_or(0, |(done, _)| *done);
        let few: Vec<&str> = Task::NAMES.into_iter().filter(|name| done(name) < least).collect();
        ensure!(few.is_empty(), "fewer than {least} were done of {few:?}");
        Ok(())
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.told();
        write!(f, "{:.0}s, done:", self.elapsed().as_secs_f64())?;
        for (name, (done, failed)) in &told.done {
            write!(f, " {name} {done}")?;
            if *failed > 0 {
                write!(f, " ({failed} failed)")?;
            }
            write!(f, ",")?;
        }
        write!(f, " faults:")?;
        for (name, count) in &told.faults {
            write!(f, " {name} {count},")?;
        }
        write!(f, " violations: {}", told.violations.len())
    }
}
