//! The threads of one disk. A slow disk holds up its own threads and nobody else's.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

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
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<(VecDeque<(Job, OwnedSemaphorePermit)>, bool)>,
    changed: Condvar,
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
        Ok(Self { queue, room: Arc::new(Semaphore::new(room)), threads: Mutex::new(threads) })
    }

    /// Runs a job on one of the threads. A caller that gives up does not stop a job that has begun.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, DiskGone> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| DiskGone)?;
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            let _ = done.send(job());
        });
        {
            let mut jobs = self.queue.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            if jobs.1 {
                return Err(DiskGone);
            }
            jobs.0.push_back((job, room));
        }
        self.queue.changed.notify_one();
        result.await.map_err(|_| DiskGone)
    }

    /// Lets the threads finish what is queued, takes nothing new, and waits for them.
    pub(crate) fn stop(&self) {
        self.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.join().expect("a disk thread catches the panics of its jobs");
        }
    }

    fn close(&self) {
        self.room.close();
        self.queue.jobs.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.queue.changed.notify_all();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close();
    }
}

impl Queue {
    fn work(&self) {
        loop {
            let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            let (job, room) = loop {
                match jobs.0.pop_front() {
                    Some(job) => break job,
                    None if jobs.1 => return,
                    None => jobs = self.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(jobs);
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
    }
}
