//! Signs of trouble that members see, for a doctor.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use proto::v1;
use types::{InodeId, NodeId};

use crate::admin::Admin;
use crate::error::Error;

/// What one namenode sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// Its clock minus that of whoever asks, in nanoseconds, give or take half the time that the answer took.
    pub skew: i64,
    pub took: Duration,
    pub version: String,
    pub datanodes: Vec<DatanodeSigns>,
    /// Told by the leader.
    pub stuck: Vec<StuckFile>,
}

/// What a namenode sees of a datanode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatanodeSigns {
    pub node: NodeId,
    /// Its clock minus that of the namenode, in nanoseconds.
    pub skew: Option<i64>,
    /// Empty of a version that does not say.
    pub version: String,
    /// The longest between two heartbeats in the last minute that was no silence.
    pub pause: Duration,
    /// In the last ten minutes, after a silence or as another process.
    pub returns: u32,
}

/// A file that nobody else can write, and whose writer does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckFile {
    pub inode: InodeId,
    /// Empty if it has no name.
    pub path: Vec<u8>,
    /// For people; empty if it is not known.
    pub writer: String,
    /// How long the writer is silent, or the recovery goes on.
    pub since: Duration,
    /// The writer is lost, and what it left cannot be ended yet.
    pub recovering: bool,
    /// Of a recovery: the datanodes that may have what is missing.
    pub nodes: Vec<NodeId>,
}

impl Admin {
    /// What each configured namenode sees, by its address, or why it does not say.
    pub async fn examine(&self) -> Vec<(String, Result<Examined, Error>)> {
        let asked = self.namenodes().iter().map(|address| async move {
            let before = now();
            let question = |mut member: v1::admin_client::AdminClient<_>| async move {
                member.examine(v1::ExamineRequest {}).await
            };
            let answer = self.ask_one(address, question).await;
            let after = now();
            let read = answer.map(|reply| examined(reply.into_inner(), before, after));
            (address.clone(), read.map_err(|fault| Error::new("examine", address, fault)))
        });
        join_all(asked).await
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn examined(wire: v1::ExamineReply, before: u64, after: u64) -> Examined {
    let took = after.saturating_sub(before);
    let middle = before.saturating_add(took / 2);
    let apart = i64::try_from(wire.clock.abs_diff(middle)).unwrap_or(i64::MAX);
    Examined {
        skew: if wire.clock < middle { -apart } else { apart },
        took: Duration::from_nanos(took),
        version: wire.version,
        datanodes: wire
            .datanodes
            .into_iter()
            .map(|signs| DatanodeSigns {
                node: NodeId::new(signs.node),
                skew: signs.skew_nanos,
                version: signs.version,
                pause: Duration::from_millis(signs.pause_ms),
                returns: signs.returns,
            })
            .collect(),
        stuck: wire
            .stuck
            .into_iter()
            .map(|file| StuckFile {
                inode: InodeId::new(file.inode),
                path: file.path,
                writer: file.writer,
                since: Duration::from_millis(file.silent_ms),
                recovering: file.recovering,
                nodes: file.nodes.into_iter().map(NodeId::new).collect(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_compared_with_the_middle_of_the_question() {
        let skew = |clock| examined(v1::ExamineReply { clock, ..Default::default() }, 1000, 1200).skew;
        assert_eq!((skew(1100), skew(1000), skew(5000)), (0, -100, 3900));
        assert_eq!((skew(0), skew(u64::MAX)), (-1100, i64::MAX));
    }
}
