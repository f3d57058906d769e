//! How many wait in a queue, and since when.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// Counts those who wait. Cheap enough for each message of a busy queue.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: AtomicU64,
    /// Nobody who waits has waited for longer: when the queue was last empty, or when the last one came that has left.
    since: AtomicU64,
}

/// One who waits in a queue, until this is dropped.
pub struct Waiting {
    queue: Arc<Queue>,
    entered: u64,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("entered", &self.entered).finish_non_exhaustive()
    }
}

/// Nanoseconds since the first question.
fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

impl Queue {
    /// Somebody waits from now on.
    pub fn enter(self: &Arc<Self>) -> Waiting {
        let entered = now();
        if self.waiting.fetch_add(1, Ordering::AcqRel) == 0 {
            self.since.fetch_max(entered, Ordering::AcqRel);
        }
        Waiting { queue: Arc::clone(self), entered }
    }

    pub fn depth(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }

    /// The longest that anybody may have waited; of a queue that is not first come, first served, a lower bound.
    pub fn age(&self) -> Duration {
        match self.depth() {
            0 => Duration::ZERO,
            _ => Duration::from_nanos(now().saturating_sub(self.since.load(Ordering::Acquire))),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.queue.since.fetch_max(self.entered, Ordering::AcqRel);
        self.queue.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Queues by their names, shown as `queue_depth` and `queue_oldest_seconds`.
#[derive(Debug, Default)]
pub struct Queues(Vec<(String, Arc<Queue>)>);

impl Queues {
    pub fn add(&mut self, name: impl Into<String>, queue: &Arc<Queue>) {
        self.0.push((name.into(), Arc::clone(queue)));
    }
}

impl Collector for Queues {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = "Messages that wait.";
        let mut depth = encoder.encode_descriptor("queue_depth", help, None, MetricType::Gauge)?;
        for (name, queue) in &self.0 {
            let value = ConstGauge::new(i64::try_from(queue.depth()).unwrap_or(i64::MAX));
            value.encode(depth.encode_family(&[("queue", name.as_str())])?)?;
        }
        let help = "How long the oldest message that waits has waited at most.";
        let mut oldest = encoder.encode_descriptor("queue_oldest_seconds", help, None, MetricType::Gauge)?;
        for (name, queue) in &self.0 {
            ConstGauge::new(queue.age().as_secs_f64()).encode(oldest.encode_family(&[("queue", name.as_str())])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    /// Until the clock has moved on.
    fn tick() {
        let before = now();
        while now() == before {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn the_age_is_that_of_the_oldest_and_an_empty_queue_has_none() {
        let queue = Arc::new(Queue::default());
        tick();
        assert_eq!((queue.depth(), queue.age()), (0, Duration::ZERO));
        let first = queue.enter();
        tick();
        let second = queue.enter();
        assert_eq!(queue.depth(), 2);
        assert!(queue.age() > Duration::ZERO);
        drop(first);
        assert_eq!(queue.depth(), 1);
        let (waited, age) = (now() - second.entered, queue.age());
        assert!(age >= Duration::from_nanos(waited), "a bound from above: {age:?}, {waited}");
        drop(second);
        assert_eq!((queue.depth(), queue.age()), (0, Duration::ZERO));
        tick();
        let third = queue.enter();
        assert!(queue.age() <= Duration::from_nanos(now() - third.entered), "what was before does not count");
    }

    #[test]
    fn queues_are_told_by_name() {
        let queue = Arc::new(Queue::default());
        let mut queues = Queues::default();
        queues.add("log", &queue);
        let mut registry = Registry::with_prefix("ashlar_x");
        registry.register_collector(Box::new(queues));
        let text = crate::text(&registry);
        for line in ["ashlar_x_queue_depth{queue=\"log\"} 0", "ashlar_x_queue_oldest_seconds{queue=\"log\"} 0.0"] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
