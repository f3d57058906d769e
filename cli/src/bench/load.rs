//! Many operations, a fixed number of them outstanding at any time, each timed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::report::latencies;

/// Runs `op(client, number)` for every number below `count`, `outstanding` at a time, spread over the clients. Returns
/// how long each took, in nanoseconds. The first error ends it; dropping it ends every operation.
pub(super) async fn drive<C, F, O>(clients: &[C], outstanding: u32, count: u64, op: F) -> anyhow::Result<Histogram<u64>>
where
    C: Clone + Send + Sync + 'static,
    F: Fn(C, u64) -> O + Clone + Send + 'static,
    O: Future<Output = anyhow::Result<()>> + Send,
{
    let next = Arc::new(AtomicU64::new(0));
    let mut slots = JoinSet::new();
    for client in clients.iter().cycle().take(outstanding as usize) {
        let (client, next, op) = (client.clone(), Arc::clone(&next), op.clone());
        slots.spawn(async move {
            let mut histogram = latencies();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(histogram);
                }
                let began = Instant::now();
                op(client.clone(), number).await?;
                histogram.record(began.elapsed().as_nanos() as u64)?;
            }
        });
    }
    let mut all = latencies();
    while let Some(slot) = slots.join_next().await {
        all.add(slot??)?;
    }
    Ok(all)
}
