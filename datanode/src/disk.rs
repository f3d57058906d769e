//! The threads of one disk. A slow disk holds up its own threads and nobody else's.
//!
//! Beside the jobs that somebody waits for there are idle ones, such as the scrubber's: one at a time, when no other job
//! waits, or when it has waited for as long as it can.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use telemetry::Waiting as Waits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::throttle::LongestWait;

type Job = Box<dyn FnOnce() + Send>;

/// The disk's threads are gone, or the job panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the threads of the disk have stopped")]
pub(crate) struct DiskGone;

#[derive(Debug)]
pub(crate) struct Disk {
    queue: Arc<Queue>,
    /// Bounds the queue: whoever wants to add a job waits here.
    room: Arc<Semaphore>,
    /// The same for idle jobs.
    idle_room: Arc<Semaphore>,
    /// Counts the jobs that wait and are not idle.
    waiting: Arc<telemetry::Queue>,
    /// How long jobs wait until they begin.
    pub(crate) longest_wait: Arc<LongestWait>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Waiting>,
    /// The idle job, and when it is as urgent as any.
    idle: Option<(Instant, Waiting)>,
    closed: bool,
}

struct Waiting {
    job: Job,
    /// Until the job begins; idle jobs are not counted.
    waits: Option<Waits>,
    /// Kept until the job is done.
    room: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

impl Disk {
    /// `threads` threads with a queue of `room` jobs.
    pub(crate) fn new(name: &str, threads: usize, room: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let start = |_| {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name(format!("disk-{name}")).spawn(move || queue.work())
        };
        let threads = (0..threads.max(1)).map(start).collect::<Result<_, _>>()?;
        let (room, idle_room) = (Arc::new(Semaphore::new(room)), Arc::new(Semaphore::new(1)));
        let (waiting, longest_wait) = (Arc::default(), Arc::default());
        Ok(Self { queue, room, idle_room, waiting, longest_wait, threads: Mutex::new(threads) })
    }

    /// How many jobs wait, and how long.
    pub(crate) fn queue(&self) -> &Arc<telemetry::Queue> {
        &self.waiting
    }

    /// Runs a job on one of the threads. A caller that gives up does not stop a job that has begun.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, DiskGone> {
        let (longest_wait, asked) = (Arc::clone(&self.longest_wait), Instant::now());
        let job = move || {
            longest_wait.note(asked.elapsed());
            job()
        };
        let waits = Some(self.waiting.enter());
        self.add(&self.room, waits, job, |jobs, waiting| jobs.waiting.push_back(waiting)).await
    }

    /// Runs a job when nobody else wants the disk, or when it has waited for `patience`.
    pub(crate) async fn run_idle<T: Send + 'static>(
        &self,
        patience: Duration,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DiskGone> {
        let due = Instant::now() + patience;
        self.add(&self.idle_room, None, job, |jobs, waiting| jobs.idle = Some((due, waiting))).await
    }

    async fn add<T: Send + 'static>(
        &self,
        room: &Arc<Semaphore>,
        waits: Option<Waits>,
        job: impl FnOnce() -> T + Send + 'static,
        add: impl FnOnce(&mut Jobs, Waiting),
    ) -> Result<T, DiskGone> {
        let room = Arc::clone(room).acquire_owned().await.map_err(|_| DiskGone)?;
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            let _ = done.send(job());
        });
        {
            let mut jobs = self.queue.jobs();
            if jobs.closed {
                return Err(DiskGone);
            }
            add(&mut jobs, Waiting { job, waits, room });
        }
        self.queue.changed.notify_one();
        result.await.map_err(|_| DiskGone)
    }

    /// Lets the threads finish what is queued and not idle, takes nothing new, and waits for them.
    pub(crate) fn stop(&self) {
        self.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.join().expect("a disk thread catches the panics of its jobs");
        }
    }

    fn close(&self) {
        let mut jobs = self.queue.jobs();
        jobs.closed = true;
        jobs.idle = None;
        drop(jobs);
        self.room.close();
        self.idle_room.close();
        self.queue.changed.notify_all();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close();
    }
}

impl Jobs {
    fn next(&mut self) -> Option<Waiting> {
        let is_urgent = self.idle.as_ref().is_some_and(|(due, _)| *due <= Instant::now());
        let waiting = if is_urgent { None } else { self.waiting.pop_front() };
        waiting.or_else(|| self.idle.take().map(|(_, idle)| idle))
    }
}

impl Queue {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let mut jobs = self.jobs();
            let Waiting { job, waits, room } = loop {
                match jobs.next() {
                    Some(job) => break job,
                    None if jobs.closed => return,
                    None => jobs = self.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(jobs);
            drop(waits);
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a job of a disk thread panicked; its caller was told that it failed");
            }
            drop(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_run_elsewhere_and_a_panic_is_an_error_of_its_caller_only() {
        let disk = Disk::new("test", 1, 2).expect("a thread");
        let here = std::thread::current().id();
        assert_ne!(disk.run(|| std::thread::current().id()).await, Ok(here));
        assert_eq!(disk.run(|| panic!("broken")).await, Err::<(), _>(DiskGone));
        assert_eq!(disk.run(|| 7).await, Ok(7));
        disk.stop();
        assert_eq!(disk.run(|| 7).await, Err(DiskGone));
        assert_eq!(disk.queue().depth(), 0);
    }

    /// What a disk with one thread did, in order, when an idle job of this patience came before other jobs.
    async fn order(patience: Duration) -> String {
        let disk = Disk::new("test", 1, 9).expect("a thread");
        let (done, order) = std::sync::mpsc::channel();
        let (begun, wait_begun) = oneshot::channel();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let note = |text: &'static str| {
            let done = done.clone();
            move || done.send(text).expect("the test listens")
        };
        let held = disk.run(move || {
            begun.send(()).expect("the test listens");
            wait.recv().expect("the test says");
        });
        let (idle, first, second) =
            (disk.run_idle(patience, note("idle ")), disk.run(note("a ")), disk.run(note("b ")));
        let release = async {
            wait_begun.await.expect("it begins");
            // The others are queued by now: they were polled before this.
            go_on.send(()).expect("it waits");
        };
        let (held, idle, first, second, ()) = tokio::join!(biased; held, idle, first, second, release);
        assert_eq!([held, idle, first, second], [Ok(()); 4]);
        drop(done);
        disk.stop();
        order.try_iter().collect()
    }

    #[tokio::test]
    async fn an_idle_job_waits_for_all_others_but_not_for_ever() {
        assert_eq!(order(Duration::from_secs(3600)).await, "a b idle ");
        assert_eq!(order(Duration::ZERO).await, "idle a b ");
    }

    #[tokio::test]
    async fn an_idle_job_that_has_not_begun_is_dropped_when_the_disk_is_stopped() {
        let disk = Arc::new(Disk::new("test", 1, 9).expect("a thread"));
        let (begun, wait_begun) = oneshot::channel();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let held = disk.run(move || {
            begun.send(()).expect("the test listens");
            wait.recv().expect("the test says");
        });
        let idle = disk.run_idle(Duration::from_secs(3600), || 7);
        let stop = async {
            wait_begun.await.expect("it begins");
            let stopping = Arc::clone(&disk);
            let stopped = tokio::task::spawn_blocking(move || stopping.stop());
            // One of the nine is taken as long as the first job runs.
            disk.room.acquire_many(9).await.expect_err("the disk is closed");
            go_on.send(()).expect("it waits");
            stopped.await.expect("no panic");
        };
        let (held, idle, ()) = tokio::join!(biased; held, idle, stop);
        assert_eq!((held, idle), (Ok(()), Err(DiskGone)));
    }
}
