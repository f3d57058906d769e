//! Carries the plan out.

use std::fs;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use integration_tests::Cluster;
use integration_tests::thrasher::{Damage, Dice, Step};

use crate::disks;
use crate::world::World;

/// How the namenode that led is out.
enum Out {
    Dead(String),
    Stopped(String),
}

struct Trouble<'a> {
    cluster: &'a mut Cluster,
    leader: Option<Out>,
    damage: Damage,
    dice: Dice,
}

/// Does every step at its time, or as soon after as those before it are done.
pub(crate) async fn make(cluster: &mut Cluster, world: &World, steps: Vec<(Duration, Step)>, dice: Dice) -> Result<()> {
    let mut trouble = Trouble { cluster, leader: None, damage: Damage::default(), dice };
    for (at, step) in steps {
        // As the plan has it: what is to happen here is that time passes.
        tokio::time::sleep(at.saturating_sub(world.elapsed())).await;
        if trouble.step(step).await.with_context(|| format!("{step:?} at {at:?}"))? {
            world.fault(step.name());
        }
    }
    Ok(())
}

impl Trouble<'_> {
    /// False: there was nothing that it could be done to.
    async fn step(&mut self, step: Step) -> Result<bool> {
        match step {
            Step::Kill(node) => self.cluster.kill(&disks::name(node))?,
            Step::Start(node) => self.cluster.spawn(&disks::name(node))?,
            Step::Pause(node) => self.cluster.pause(&disks::name(node))?,
            Step::Resume(node) => self.cluster.resume(&disks::name(node))?,
            Step::Restart(node) => {
                self.cluster.stop(&disks::name(node)).await?;
                self.cluster.spawn(&disks::name(node))?;
            }
            Step::KillLeader => {
                let leader = self.cluster.leader().await?;
                self.cluster.kill(&leader)?;
                self.leader = Some(Out::Dead(leader));
            }
            Step::PauseLeader => {
                let leader = self.cluster.leader().await?;
                self.cluster.pause(&leader)?;
                self.leader = Some(Out::Stopped(leader));
            }
            Step::RestartLeader => {
                let leader = self.cluster.leader().await?;
                self.cluster.stop(&leader).await?;
                self.cluster.spawn(&leader)?;
            }
            Step::LeaderBack => match self.leader.take().context("it is out")? {
                Out::Dead(leader) => self.cluster.spawn(&leader)?,
                Out::Stopped(leader) => self.cluster.resume(&leader)?,
            },
            // Who would follow may have just come back, and not be ready: then the leader goes on.
            Step::HandOver => return Ok(self.cluster.ashlar_raw(&["admin", "raft", "transfer"]).status.success()),
            Step::Flip(seed) => return self.flip(seed),
            Step::Lose(seed) => return self.lose(seed),
        }
        Ok(true)
    }

    fn flip(&mut self, seed: u64) -> Result<bool> {
        let found = disks::look(self.cluster)?.complete;
        let Some(chosen) = self.damage.choose(&found, &mut self.dice.child(seed)) else { return Ok(false) };
        let path = found.get(&chosen).context("it was chosen of these")?;
        disks::flip(path, &mut self.dice)
    }

    fn lose(&mut self, seed: u64) -> Result<bool> {
        let found = disks::look(self.cluster)?.complete;
        let Some(chosen) = self.damage.choose(&found, &mut self.dice.child(seed)) else { return Ok(false) };
        match fs::remove_file(found.get(&chosen).context("it was chosen of these")?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => Ok(removed.map(|()| true)?),
        }
    }
}
