//! Many files at a time, a bounded number of them in flight; trouble with one does not stop the others.

use tokio::task::JoinSet;

use crate::exit::Failure;
use crate::progress::Progress;

/// What is in flight at a time: so many small files, or a quarter of that of large ones, which each keep megabytes in
/// memory. A small file mostly waits for disks to sync, and those syncs serve many files at once.
const WIDTH: usize = 64;
/// What a large file counts for.
const LARGE: usize = 4;
/// A longer file is large, in bytes.
const SMALL_LENGTH: u64 = 1 << 20;
/// After so many failures the rest will hardly fare better.
const TOO_MANY: u64 = 20;

/// Failures that were reported while the work went on.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    count: u64,
    progress: Option<Progress>,
}

impl Failures {
    pub(crate) fn shown_on(progress: &Progress) -> Self {
        Self { count: 0, progress: Some(progress.clone()) }
    }

    /// Reports one failure. Ends the work when there are too many, or when nobody reads our output any more.
    pub(crate) fn add(&mut self, failure: Failure) -> Result<(), Failure> {
        let line = match failure {
            Failure::Failed(line) | Failure::Usage(line) => line,
            over @ (Failure::OutputClosed | Failure::Reported | Failure::Unhealthy) => return Err(over),
        };
        self.complain(&line);
        self.count += 1;
        if self.count == TOO_MANY {
            self.complain(&format!("stopped after {TOO_MANY} failures"));
            return Err(Failure::Reported);
        }
        Ok(())
    }

    fn complain(&self, line: &str) {
        match &self.progress {
            Some(progress) => progress.suspend(|| crate::exit::complain(line)),
            None => crate::exit::complain(line),
        }
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// The end of the command.
    pub(crate) fn result(self) -> Result<(), Failure> {
        if self.count == 0 { Ok(()) } else { Err(Failure::Reported) }
    }
}

/// Runs work side by side. Dropping it aborts what is in flight.
#[derive(Debug)]
pub(crate) struct Crew {
    running: JoinSet<(usize, Result<(), Failure>)>,
    /// The sum of what the running ones count for.
    load: usize,
    failures: Failures,
}

impl Crew {
    pub(crate) fn new(failures: Failures) -> Self {
        Self { running: JoinSet::new(), load: 0, failures }
    }

    /// Starts work on one more file of `length` bytes as soon as there is room.
    pub(crate) async fn start(
        &mut self,
        length: u64,
        work: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) -> Result<(), Failure> {
        let weight = if length > SMALL_LENGTH { LARGE } else { 1 };
        while self.load + weight > WIDTH {
            self.join_one().await?;
        }
        self.load += weight;
        self.running.spawn(async move { (weight, work.await) });
        Ok(())
    }

    /// Reports something that failed before it could be started.
    pub(crate) fn failed(&mut self, failure: Failure) -> Result<(), Failure> {
        self.failures.add(failure)
    }

    /// Waits for what is in flight.
    pub(crate) async fn drain(&mut self) -> Result<(), Failure> {
        while !self.running.is_empty() {
            self.join_one().await?;
        }
        Ok(())
    }

    /// Waits for everything.
    pub(crate) async fn finish(mut self) -> Result<Failures, Failure> {
        self.drain().await?;
        Ok(self.failures)
    }

    async fn join_one(&mut self) -> Result<(), Failure> {
        match self.running.join_next().await {
            None => Ok(()),
            Some(Ok((weight, done))) => {
                self.load -= weight;
                done.or_else(|failure| self.failures.add(failure))
            }
            Some(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_failure_does_not_stop_the_others_and_too_many_do() {
        let mut crew = Crew::new(Failures::default());
        let (done, mut count) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..40 {
            let done = done.clone();
            let work = async move {
                done.send(number).expect("the receiver lives");
                if number == 3 { Err(Failure::Failed("3: odd".into())) } else { Ok(()) }
            };
            crew.start(0, work).await.expect("one failure is not too many");
        }
        assert_eq!(crew.finish().await.expect("not too many").count(), 1);
        drop(done);
        let mut seen = 0;
        while count.recv().await.is_some() {
            seen += 1;
        }
        assert_eq!(seen, 40);

        let mut failures = Failures::default();
        for _ in 1..TOO_MANY {
            failures.add(Failure::Failed(String::new())).expect("not too many yet");
        }
        assert!(matches!(failures.add(Failure::Failed(String::new())), Err(Failure::Reported)));
    }
}
