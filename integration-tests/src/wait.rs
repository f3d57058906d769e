//! Waiting for conditions (invariant 3).

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Longer than any failover, repair or restart takes with the settings of the tests, on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// Asks `condition` until it is true.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    until_some(what, async || Ok(condition().await?.then_some(()))).await
}

/// Asks `condition` until it yields something.
pub async fn until_some<T>(what: &str, mut condition: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await? {
            return Ok(value);
        }
        if start.elapsed() > DEADLINE {
            bail!("within {DEADLINE:?} it did not come true that {what}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
