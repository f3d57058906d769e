//! How far long work has come: a bar on a terminal, a line now and then elsewhere, a summary at the end.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use types::ByteSize;

use crate::output::count;

/// Where no bar can be drawn, a line says so often how far the work is.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shared by all that works. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    verb: &'static str,
    bar: ProgressBar,
    files: AtomicU64,
    bytes: AtomicU64,
    total: Option<(u64, u64)>,
    started: Instant,
    lines: bool,
    /// Seconds after the start at which the next line is due.
    next_line: AtomicU64,
}

impl Progress {
    /// `verb` as in "stored 3 files"; `total` files and bytes, if known.
    pub(crate) fn new(verb: &'static str, total: Option<(u64, u64)>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            total.map(|(_, bytes)| bytes),
            if terminal { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() },
        );
        let template = match total {
            Some(_) => {
                "{percent:>3}% [{bar:30}] {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  ETA {eta}  {msg}"
            }
            None => "{spinner} {binary_bytes}  {binary_bytes_per_sec}  {elapsed}  {msg}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is a constant");
        bar.set_style(style.progress_chars("=> "));
        let next_line = AtomicU64::new(LINE_EVERY.as_secs());
        let (files, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Inner { verb, bar, files, bytes, total, started: Instant::now(), lines: !terminal, next_line }))
    }

    /// Shows nothing.
    pub(crate) fn hidden() -> Self {
        let bar = ProgressBar::hidden();
        let zero = || AtomicU64::new(0);
        let started = Instant::now();
        let inner = Inner {
            verb: "",
            bar,
            files: zero(),
            bytes: zero(),
            total: None,
            started,
            lines: false,
            next_line: zero(),
        };
        Self(Arc::new(inner))
    }

    pub(crate) fn bytes(&self, bytes: usize) {
        let Inner { bar, bytes: sum, lines, .. } = &*self.0;
        sum.fetch_add(bytes as u64, Ordering::Relaxed);
        bar.inc(bytes as u64);
        if *lines {
            self.line_if_due();
        }
    }

    pub(crate) fn file_done(&self) {
        let done = 1 + self.0.files.fetch_add(1, Ordering::Relaxed);
        match self.0.total {
            Some((files, _)) => self.0.bar.set_message(format!("{done}/{files} files")),
            None => self.0.bar.set_message(count(done, "file", "files")),
        }
        if self.0.lines {
            self.line_if_due();
        }
    }

    fn line_if_due(&self) {
        let now = self.0.started.elapsed().as_secs();
        let due = self.0.next_line.load(Ordering::Relaxed);
        let next = now + LINE_EVERY.as_secs();
        if now >= due && self.0.next_line.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let (files, bytes) = self.done();
            note(&line(self.0.verb, (files, bytes), self.0.total, self.0.started.elapsed()));
        }
    }

    /// Prints something while the bar is out of the way.
    pub(crate) fn suspend(&self, print: impl FnOnce()) {
        self.0.bar.suspend(print);
    }

    /// Takes the bar away and says what was done.
    pub(crate) fn summary(&self) {
        self.0.bar.finish_and_clear();
        let (files, bytes) = self.done();
        note(&sentence(self.0.verb, files, bytes, self.0.started.elapsed()));
    }

    /// Takes the bar away without a word.
    pub(crate) fn clear(&self) {
        self.0.bar.finish_and_clear();
    }

    /// Files and bytes.
    fn done(&self) -> (u64, u64) {
        (self.0.files.load(Ordering::Relaxed), self.0.bytes.load(Ordering::Relaxed))
    }
}

#[expect(clippy::print_stderr, reason = "what a person reads while a command works")]
fn note(line: &str) {
    eprintln!("{line}");
}

/// `stored 3 files, 1.50MiB in 0.5 s (3.00MiB/s)`
fn sentence(verb: &str, files: u64, bytes: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = ByteSize::new((bytes as f64 / seconds.max(0.001)) as u64).human();
    format!("{verb} {}, {} in {seconds:.1} s ({rate}/s)", count(files, "file", "files"), ByteSize::new(bytes).human())
}

/// `so far stored 1 of 2 files, 1.00MiB of 4.00MiB in 10.0 s (102KiB/s, 30 s left)`
fn line(verb: &str, done: (u64, u64), total: Option<(u64, u64)>, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = done.1 as f64 / seconds.max(0.001);
    let (bytes, speed) = (ByteSize::new(done.1).human(), ByteSize::new(rate as u64).human());
    match total {
        None => format!("so far {verb} {}, {bytes} in {seconds:.1} s ({speed}/s)", count(done.0, "file", "files")),
        Some((files, all)) => {
            let left = all.saturating_sub(done.1) as f64 / rate.max(1.0);
            let (files, all) = (count(files, "file", "files"), ByteSize::new(all).human());
            format!(
                "so far {verb} {} of {files}, {bytes} of {all} in {seconds:.1} s ({speed}/s, {left:.0} s left)",
                done.0
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_on_the_way_says_how_much_is_left() {
        let ten = Duration::from_secs(10);
        assert_eq!(
            line("stored", (1, 1 << 20), Some((2, 4 << 20)), ten),
            "so far stored 1 of 2 files, 1.00MiB of 4.00MiB in 10.0 s (102KiB/s, 30 s left)"
        );
        assert_eq!(line("stored", (0, 10 << 20), None, ten), "so far stored 0 files, 10.0MiB in 10.0 s (1.00MiB/s)");
    }

    #[test]
    fn the_summary_is_one_sentence() {
        let text = sentence("stored", 1234, 3 << 20, Duration::from_millis(1500));
        assert_eq!(text, "stored 1,234 files, 3.00MiB in 1.5 s (2.00MiB/s)");
        assert_eq!(sentence("fetched", 1, 7, Duration::ZERO), "fetched 1 file, 7B in 0.0 s (6.84KiB/s)");
    }
}
