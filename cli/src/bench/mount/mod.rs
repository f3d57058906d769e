//! `bench mount`: what programs get through a mount, beside what they get through a FUSE file system that does nothing but
//! pass on what it is asked to the local disk.
//!
//! Both are served by processes of their own, and the work is done by this one, with the same system calls on both.

mod passthrough;
mod work;

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use client::MkdirOptions;
use rustix::mount::UnmountFlags;
use types::ByteSize;

use super::cost::Meter;
use super::report::{Measurement, Reporter, Sample};
use super::testbed::{Place, Shape, Testbed};
use work::Work;

#[derive(Debug, clap::Args)]
pub(crate) struct MountArgs {
    /// Bytes of the large file
    #[arg(long, default_value = "256MiB")]
    size: ByteSize,
    /// Small files to make and to walk over
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    files: u32,
    /// Datanodes of a cluster of our own; it keeps as many copies, at most three
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    datanodes: u32,
    /// Runs of each; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only the measurements of this name, such as mount.read
    #[arg(long, value_name = "METRIC")]
    only: Vec<String>,
    /// Serve the limit: this directory, on the mount point
    #[arg(long, hide = true, num_args = 2, value_names = ["DIR", "MOUNTPOINT"])]
    passthrough: Option<Vec<PathBuf>>,
    #[command(flatten)]
    pub(super) place: Place,
}

/// One of the two that are compared.
struct Subject {
    point: PathBuf,
    daemon: Child,
}

impl Subject {
    fn start(mut command: Command, point: PathBuf) -> anyhow::Result<Self> {
        // Ctrl-C is for the benchmark, which ends it in order.
        let mut daemon = command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).spawn()?;
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().expect("it is piped")).read_line(&mut line)?;
        if !line.starts_with("mounted on ") {
            daemon.kill()?;
            daemon.wait()?;
            anyhow::bail!("{} could not be mounted", point.display());
        }
        Ok(Self { point, daemon })
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It ends with its mount. What is gone already is as good.
        if rustix::mount::unmount(&self.point, UnmountFlags::DETACH).is_err() {
            let _ = self.daemon.kill();
        }
        let _ = self.daemon.wait();
    }
}

impl MountArgs {
    pub(super) const fn shape(&self) -> Shape {
        Shape { namenodes: 1, datanodes: self.datanodes as usize }
    }

    /// The directory and the mount point, if this process is to serve the limit.
    pub(super) fn serves(&self) -> Option<anyhow::Result<()>> {
        let [source, point] = self.passthrough.as_deref()? else { return None };
        let ready = || {
            let mut out = std::io::stdout().lock();
            // Whoever started this waits for it.
            let _ = std::io::Write::write_fmt(&mut out, format_args!("mounted on {}\n", point.display()));
            let _ = std::io::Write::flush(&mut out);
        };
        Some(passthrough::serve(source, point, ready).context("the passthrough file system"))
    }

    pub(super) async fn measure(&self, testbed: &Testbed, reporter: &mut Reporter) -> anyhow::Result<()> {
        let subjects = self.mount(testbed).await?;
        for work in Work::ALL {
            if !self.only.is_empty() && !self.only.iter().any(|name| name == work.metric()) {
                continue;
            }
            let mut samples = [Vec::new(), Vec::new()];
            for _ in 0..self.runs {
                // One after the other, so that both meet the same machine.
                for (subject, samples) in subjects.iter().zip(&mut samples) {
                    testbed.settle().await?;
                    samples.push(self.sample(work, subject, testbed).await?);
                }
            }
            let [found, limit] = samples;
            let limit = Measurement::new(work.limit(), work.unit(), &limit);
            reporter.print(&limit)?;
            reporter.print(&Measurement::new(work.metric(), work.unit(), &found).against(&limit))?;
        }
        Ok(())
    }

    async fn sample(&self, work: Work, subject: &Subject, testbed: &Testbed) -> anyhow::Result<Sample> {
        let ground = work::Ground { root: subject.point.clone(), bytes: self.size.get(), files: self.files };
        let servers: Vec<u32> = testbed.servers().iter().copied().chain([subject.daemon.id()]).collect();
        // Waiting for a mount must not keep the servers of this process from answering it.
        tokio::task::spawn_blocking(move || {
            work.prepare(&ground)?;
            let meter = Meter::start_with(&servers);
            let done = work.run(&ground)?;
            let cost = meter.stop();
            Ok(done.sample(cost))
        })
        .await?
    }

    /// The mount of the cluster, and the limit.
    async fn mount(&self, testbed: &Testbed) -> anyhow::Result<[Subject; 2]> {
        ensure!(rustix::process::geteuid().is_root(), "only root may mount, and empty the caches of the kernel");
        let client = testbed.connect().await?;
        client.mkdir(testbed.base(), MkdirOptions { parents: true, ..MkdirOptions::default() }).await?;
        client.close().await?;
        let local = testbed.local().to_owned();
        let make = |name: &str| -> anyhow::Result<PathBuf> {
            let path = local.join(name);
            std::fs::create_dir(&path)?;
            Ok(path)
        };
        let (point, source, beside) = (make("mounted")?, make("source")?, make("passthrough")?);
        let program = std::env::current_exe()?;
        let mut ours = Command::new(&program);
        ours.arg("mount").arg(&point).args(["--foreground", "--subdir", &testbed.base().to_string()]);
        ours.args(["--cluster", &testbed.addresses().join(",")]);
        let mut theirs = Command::new(&program);
        theirs.args(["bench", "mount", "--passthrough"]).args([&source, &beside]);
        let started = tokio::task::spawn_blocking(move || {
            anyhow::Ok([Subject::start(ours, point)?, Subject::start(theirs, beside)?])
        });
        started.await?
    }
}

/// Has the kernel forget what it knows of names and inodes.
fn forget_names() -> anyhow::Result<()> {
    let path = Path::new("/proc/sys/vm/drop_caches");
    std::fs::write(path, "2").with_context(|| path.display().to_string())
}
