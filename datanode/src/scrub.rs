//! The scrubber: reads every complete replica of a volume again and again, and compares it with its checksums.
//!
//! 1. Every byte is read at least once in every `scrub_interval`: a round takes three quarters of it, half of which goes
//!    by the bytes that are read, and half by the buckets, so that a round over an empty volume takes its time, too.
//! 2. It yields: its reads wait until nobody else wants the disk, except where it would fall behind its pace.
//! 3. Suspects, which somebody had trouble reading, come before everything else.
//! 4. A damaged replica is looked at twice and then reported, never mended: the leader has another copy made elsewhere.
//! 5. A pass that somebody asked for goes as fast as the disk is idle.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use types::inventory::BUCKETS;
use types::{BlockId, GenStamp};

use crate::disk::DiskGone;
use crate::node::Node;
use crate::store::{StoreError, UnderWay, Verifying, Volume};

/// The record is written to the disk at most so often.
const REMEMBER: Duration = Duration::from_secs(60);
/// A read that the disk has no time for is made nevertheless after this long at most, and not before this long.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(10));
/// In the middle of a replica, which is kept open meanwhile, no longer pause is made.
const PAUSE: Duration = Duration::from_secs(1);

/// Why the scrubber stopped.
enum Ended {
    Stopped,
    Failed(String),
}

impl From<DiskGone> for Ended {
    fn from(gone: DiskGone) -> Self {
        Self::Failed(gone.to_string())
    }
}

/// Scrubs a volume until `stop`.
pub(crate) async fn run(node: Arc<Node>, volume: Arc<Volume>, stop: CancellationToken) {
    let round = node.settings.scrub_interval.mul_f64(0.75);
    let now = Instant::now();
    let mut scrubber = Scrubber { node, volume, stop, round, due: now, remembered: now };
    loop {
        match scrubber.bucket().await {
            Ok(()) => {}
            Err(Ended::Stopped) => {
                let volume = Arc::clone(&scrubber.volume);
                return remember(&volume).await;
            }
            Err(Ended::Failed(reason)) => {
                return debug!(storage = %scrubber.volume.storage, reason, "the volume is not scrubbed any more");
            }
        }
    }
}

struct Scrubber {
    node: Arc<Node>,
    volume: Arc<Volume>,
    stop: CancellationToken,
    /// What a round over the volume takes.
    round: Duration,
    /// By the pace, what was done so far takes until then.
    due: Instant,
    remembered: Instant,
}

impl Scrubber {
    /// Reads the rest of the bucket whose turn it is.
    async fn bucket(&mut self) -> Result<(), Ended> {
        self.suspects().await?;
        let UnderWay { bucket, begun, after } = self.volume.scrub_next();
        let names = match self.idle(Duration::ZERO, move |volume| volume.names(bucket)).await? {
            Ok(names) => names,
            Err(error) => {
                // Its turn stays: what was not checked does not count as checked.
                warn!(storage = %self.volume.storage, %error, "a part of the volume cannot be listed");
                return self.pace(self.bucket_price(), Duration::MAX).await;
            }
        };
        for (block, generation) in names {
            if after.is_some_and(|after| block <= after) {
                continue;
            }
            self.check(block, generation).await?;
            self.volume.scrub_passed(bucket, block);
            self.suspects().await?;
            if self.volume.scrub_next().begun != begun {
                // A pass was asked for, which begins anew.
                return Ok(());
            }
        }
        let pass = self.volume.scrub_is_asked();
        self.volume.scrub_ended(bucket);
        if pass && !self.volume.scrub_is_asked() {
            info!(storage = %self.volume.storage, "a pass over the volume has ended");
            self.remember().await;
        } else if self.remembered.elapsed() >= REMEMBER {
            self.remember().await;
        }
        self.pace(self.bucket_price(), Duration::MAX).await
    }

    /// Invariant 3.
    async fn suspects(&mut self) -> Result<(), Ended> {
        while let Some((block, generation)) = self.volume.next_suspect() {
            self.check(block, generation).await?;
        }
        Ok(())
    }

    async fn check(&mut self, block: BlockId, generation: GenStamp) -> Result<(), Ended> {
        let begun = self.idle(Duration::ZERO, move |volume| volume.begin_verify(block, generation)).await?;
        let mut verifying = match begun {
            Ok(Some(verifying)) => verifying,
            Ok(None) => return Ok(()),
            Err(error) => return self.found(block, generation, 0, error).await,
        };
        loop {
            let patience = self.price(transfer::frame::MAX_DATA as u64);
            let (still, piece) = self.idle_with(patience, verifying).await?;
            verifying = still;
            match piece {
                Ok(0) => return self.pace(Duration::ZERO, Duration::MAX).await,
                Ok(read) => {
                    self.node.metrics.scrubbed.inc_by(read);
                    self.pace(self.price(read), PAUSE).await?;
                }
                Err(error) => return self.found(block, generation, verifying.good(), error).await,
            }
        }
    }

    async fn idle_with(
        &self,
        patience: Duration,
        mut verifying: Verifying,
    ) -> Result<(Verifying, Result<u64, StoreError>), Ended> {
        self.idle(patience, move |_| {
            let piece = verifying.next_piece();
            (verifying, piece)
        })
        .await
    }

    /// Invariant 4.
    async fn found(
        &mut self,
        block: BlockId,
        generation: GenStamp,
        offset: u64,
        error: StoreError,
    ) -> Result<(), Ended> {
        let storage = self.volume.storage;
        let looked = self.idle(Duration::ZERO, move |volume| volume.is_damaged(block, generation, offset)).await?;
        match looked {
            Ok(true) => {
                warn!(%block, %generation, %storage, offset, %error, "the scrubber found a damaged replica");
                self.node.metrics.scrub_damaged.inc();
                self.volume.scrub_found_bad();
                self.node.add_bad(storage, block, generation);
            }
            Ok(false) => debug!(%block, %generation, %error, "a replica changed while it was read"),
            Err(second) => warn!(%block, %generation, %storage, %error, %second, "a replica cannot be checked"),
        }
        Ok(())
    }

    /// How long a bucket takes beside what is read of it.
    fn bucket_price(&self) -> Duration {
        self.round.div_f64(2.0 * BUCKETS as f64)
    }

    /// How long reading so many bytes may take by the pace (invariant 1).
    fn price(&self, bytes: u64) -> Duration {
        let all = self.volume.usage().bytes.max(bytes).max(1);
        self.round.mul_f64(0.5 * bytes as f64 / all as f64)
    }

    /// Waits until the pace allows for more, or something is to be done at once, or `longest` has passed.
    async fn pace(&mut self, took: Duration, longest: Duration) -> Result<(), Ended> {
        let now = Instant::now();
        // What the disk had no time for is made up for, up to a point.
        let behind = now.checked_sub(self.round.div_f64(100.0)).unwrap_or(now);
        self.due = self.due.max(behind) + took;
        if self.stop.is_cancelled() {
            return Err(Ended::Stopped);
        }
        // Invariant 5.
        if self.volume.scrub_is_asked() {
            self.due = now;
            return Ok(());
        }
        let pause = self.due.saturating_duration_since(now).min(longest);
        tokio::select! {
            () = self.stop.cancelled() => return Err(Ended::Stopped),
            () = self.volume.scrub_wished() => {}
            () = tokio::time::sleep(pause) => {}
        }
        Ok(())
    }

    /// Does something on the disk when nobody else wants it (invariant 2).
    async fn idle<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&Volume) -> T + Send + 'static,
    ) -> Result<T, Ended> {
        if self.volume.has_failed() {
            return Err(Ended::Failed("it has failed".to_owned()));
        }
        let on = Arc::clone(&self.volume);
        let job = self.volume.disk.run_idle(patience.clamp(PATIENCE.0, PATIENCE.1), move || work(&on));
        tokio::select! {
            () = self.stop.cancelled() => Err(Ended::Stopped),
            done = job => Ok(done?),
        }
    }

    async fn remember(&mut self) {
        self.remembered = Instant::now();
        remember(&self.volume).await;
    }
}

async fn remember(volume: &Arc<Volume>) {
    let on = Arc::clone(volume);
    match volume.disk.run(move || on.remember_scrub()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(storage = %volume.storage, %error, "how far the volume was checked cannot be noted"),
        Err(gone) => debug!(storage = %volume.storage, %gone, "how far the volume was checked is not noted"),
    }
}
