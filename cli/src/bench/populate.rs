//! `bench meta --populate N`: a namespace of N small files, made through the log, to see how the rest behaves with it.
//!
//! File `n` is `/populated/d<n / M>/f<n % M>`: what is there needs no list, and a second call makes what is missing.

use std::io::IsTerminal as _;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use client::{Client, CreateOptions, MkdirOptions};
use futures::{StreamExt as _, TryStreamExt as _};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use types::{ByteSize, Name, Path};

use super::cost::Meter;
use super::load::drive;
use super::report::{Measurement, Sample};
use crate::output::thousands;

/// Files between two pauses of all operations under way, at least: so few that Ctrl-C and a new start lose little, and so
/// many that the pauses do not count.
const ROUND: u64 = 20_000;
/// Directories that are looked at or made at a time.
const DIRECTORIES: usize = 64;
/// Where no bar can be drawn, a line says so often how far the work is.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Populate {
    pub(super) files: u64,
    pub(super) per_directory: u64,
    pub(super) size: ByteSize,
    pub(super) outstanding: u32,
}

impl Populate {
    pub(super) async fn measure(self, clients: &[Client], meter: Meter) -> anyhow::Result<Measurement> {
        let inline_max = clients[0].defaults().inline_max;
        ensure!(self.size <= inline_max, "--size {}: the cluster keeps up to {inline_max} with the inode", self.size);
        let base = Path::parse(b"/populated")?;
        clients[0].mkdir(&base, MkdirOptions { parents: true, ..MkdirOptions::default() }).await?;
        let summary = Summary(Arc::new(Count::new(self.files)));
        self.rounds(clients, &base, &summary.0).await?;
        let made = summary.0.made.load(Ordering::Relaxed);
        drop(summary);
        let cost = meter.stop();
        let sample = Sample::of_ops(made, cost.seconds, cost.cpu);
        Ok(Measurement::new("meta.populate", "files/s", &[sample.with_extra("files", self.files as f64)]))
    }

    /// Round by round: nothing but the round under way is held in memory.
    async fn rounds(self, clients: &[Client], base: &Path, progress: &Arc<Count>) -> anyhow::Result<()> {
        let directories = self.files.div_ceil(self.per_directory);
        let step = ROUND.div_ceil(self.per_directory);
        let content = Bytes::from(vec![7; usize::try_from(self.size.get())?]);
        for first in (0..directories).step_by(usize::try_from(step)?) {
            let missing = self.missing(&clients[0], base, first..(first + step).min(directories)).await?;
            let range = (first * self.per_directory)..((first + step) * self.per_directory).min(self.files);
            progress.there(range.end - range.start - missing.len() as u64);
            let count = missing.len() as u64;
            let missing: Arc<[u64]> = missing.into();
            let op = {
                let (base, missing, progress) = (base.clone(), Arc::clone(&missing), Arc::clone(progress));
                let content = content.clone();
                move |client: Client, at: u64| {
                    let (base, missing, progress) = (base.clone(), Arc::clone(&missing), Arc::clone(&progress));
                    let content = content.clone();
                    async move {
                        let number = missing[usize::try_from(at)?];
                        let path =
                            directory(&base, number / self.per_directory)?.join(file(number % self.per_directory)?)?;
                        client.put(&path, content, CreateOptions::default()).await?;
                        progress.made();
                        Ok(())
                    }
                }
            };
            drive(clients, self.outstanding, count, op).await?;
        }
        Ok(())
    }

    /// The numbers of the files of some directories that are not there. The directories are made.
    async fn missing(self, client: &Client, base: &Path, directories: Range<u64>) -> anyhow::Result<Vec<u64>> {
        let each = futures::stream::iter(directories).map(|number| self.missing_in(client, base, number));
        let found: Vec<Vec<u64>> = each.buffered(DIRECTORIES).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn missing_in(self, client: &Client, base: &Path, number: u64) -> anyhow::Result<Vec<u64>> {
        let path = directory(base, number)?;
        let options = MkdirOptions { parents: true, ..MkdirOptions::default() };
        client.mkdir(&path, options).await?;
        let entries = client.stat(&path).await?.usage.unwrap_or_default().entries;
        let first = number * self.per_directory;
        let wanted = self.per_directory.min(self.files - first);
        if entries == 0 {
            return Ok((first..first + wanted).collect());
        }
        let mut there = vec![false; usize::try_from(wanted)?];
        let mut listing = client.list(&path).await?;
        while let Some(page) = listing.next_page().await? {
            for entry in page {
                if let Some(there) = number_of(&entry.name).and_then(|number| there.get_mut(number)) {
                    *there = true;
                }
            }
        }
        let missing = there.iter().zip(first..).filter(|(there, _)| !**there);
        Ok(missing.map(|(_, number)| number).collect())
    }
}

fn directory(base: &Path, number: u64) -> anyhow::Result<Path> {
    Ok(base.join(Name::new(format!("d{number:06}").as_bytes())?)?)
}

fn file(number: u64) -> anyhow::Result<Name> {
    Ok(Name::new(format!("f{number:07}").as_bytes())?)
}

/// The number in the name of a file that [`file()`] named.
fn number_of(name: &Name) -> Option<usize> {
    let number = std::str::from_utf8(name.as_bytes()).ok()?.strip_prefix('f')?.parse().ok()?;
    (file(number).ok()?.as_bytes() == name.as_bytes()).then(|| usize::try_from(number).ok())?
}

/// Says how far it came, also when the work is dropped on the way.
struct Summary(Arc<Count>);

impl Drop for Summary {
    fn drop(&mut self) {
        self.0.bar.finish_and_clear();
        note(&self.0.line());
    }
}

/// How far it is.
#[derive(Debug)]
struct Count {
    bar: ProgressBar,
    lines: bool,
    started: Instant,
    total: u64,
    there: AtomicU64,
    made: AtomicU64,
    /// Seconds after the start at which the next line is due.
    next_line: AtomicU64,
}

impl Count {
    fn new(total: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr_with_hz(4) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = ProgressStyle::with_template("{percent:>3}% [{bar:30}] {msg}").expect("the template is a constant");
        bar.set_style(style.progress_chars("=> "));
        let zero = || AtomicU64::new(0);
        Self { bar, lines: !terminal, started: Instant::now(), total, there: zero(), made: zero(), next_line: zero() }
    }

    /// So many were there already.
    fn there(&self, files: u64) {
        self.there.fetch_add(files, Ordering::Relaxed);
        self.bar.inc(files);
    }

    fn made(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.bar.inc(1);
        let now = self.started.elapsed().as_secs();
        let due = self.next_line.load(Ordering::Relaxed);
        let next = now + if self.lines { LINE_EVERY.as_secs() } else { 1 };
        if now >= due
            && self.next_line.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            && now > 0
        {
            if self.lines { note(&self.line()) } else { self.bar.set_message(self.line()) }
        }
    }

    fn line(&self) -> String {
        let (there, made) = (self.there.load(Ordering::Relaxed), self.made.load(Ordering::Relaxed));
        line((there, made), self.total, self.started.elapsed())
    }
}

/// `1,500 of 10,000 files, 500 of them were there; 100 files/s, 85 s left`
fn line((there, made): (u64, u64), total: u64, elapsed: Duration) -> String {
    let rate = made as f64 / elapsed.as_secs_f64().max(0.001);
    let left = total.saturating_sub(there + made) as f64 / rate.max(1e-3);
    let so_far = format!("{} of {} files", thousands(there + made), thousands(total));
    let found = if there > 0 { format!(", {} of them were there", thousands(there)) } else { String::new() };
    format!("{so_far}{found}; {} files/s, {left:.0} s left", thousands(rate as u64))
}

#[expect(clippy::print_stderr, reason = "what a person reads while a command works")]
fn note(line: &str) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_there_how_fast_it_goes_and_how_long_it_takes() {
        assert_eq!(
            line((500, 1000), 10_000, Duration::from_secs(10)),
            "1,500 of 10,000 files, 500 of them were there; 100 files/s, 85 s left"
        );
        assert_eq!(line((0, 0), 0, Duration::ZERO), "0 of 0 files; 0 files/s, 0 s left");
    }

    #[test]
    fn only_names_that_it_gives_are_its_files() {
        for number in [0, 7, 9_999_999, 10_000_000] {
            let name = file(number).expect("a legal name");
            assert_eq!(number_of(&name), usize::try_from(number).ok());
        }
        for name in ["f7", "f+000007", "g0000007", "f000000x"] {
            assert_eq!(number_of(&Name::new(name.as_bytes()).expect("a legal name")), None, "{name}");
        }
    }
}
