//! What is known of the cluster, asked at most once a second however many want to know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Config;
use client::health::Facts;
use futures::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::probes::{Judge, Verdict};

/// What is younger is told again.
const FRESH: Duration = Duration::from_secs(1);
/// A member that is silent for so long is told as silent: a page, and a scrape, wait for this.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions that wait; more are told that nothing is known.
const WAITING: usize = 256;

type Question = oneshot::Sender<Arc<Facts>>;

/// Asks the members of a cluster how they are. Clones ask through the same task.
#[derive(Debug, Clone)]
pub struct Cluster {
    questions: mpsc::Sender<Question>,
}

impl Cluster {
    /// Starts the task that asks, until `stop`.
    pub fn watch(config: Config, stop: CancellationToken) -> Self {
        let (questions, asked) = mpsc::channel(WAITING);
        let config = Config { op_timeout: PATIENCE, ..config };
        tokio::spawn(async move { stop.run_until_cancelled(ask(config, asked)).await });
        Self { questions }
    }

    /// What the members say, or said within the last second; nothing when this door is closing.
    pub async fn facts(&self) -> Option<Arc<Facts>> {
        let (question, answer) = oneshot::channel();
        self.questions.send(question).await.ok()?;
        answer.await.ok()
    }

    /// The verdict on the cluster.
    pub fn judge(&self) -> Judge {
        let cluster = self.clone();
        Arc::new(move || {
            let cluster = cluster.clone();
            async move {
                match cluster.facts().await {
                    Some(facts) => {
                        let (health, reasons) = facts.health();
                        Verdict { health, reasons }
                    }
                    None => Verdict::of(false, vec!["this process is stopping".to_owned()]),
                }
            }
            .boxed()
        })
    }
}

async fn ask(config: Config, mut asked: mpsc::Receiver<Question>) {
    let mut latest: Option<(Instant, Arc<Facts>)> = None;
    while let Some(question) = asked.recv().await {
        let facts = match latest.take().filter(|(at, _)| at.elapsed() < FRESH) {
            Some(known) => known,
            None => {
                let facts = Arc::new(Facts::ask(&config).await);
                (Instant::now(), facts)
            }
        };
        // Whoever has left wants no answer.
        let _ = question.send(Arc::clone(&facts.1));
        latest = Some(facts);
    }
}
