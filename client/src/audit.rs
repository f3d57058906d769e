//! What the namenodes remember of who did what.

use futures::future::join_all;
use proto::v1;
use serde::{Serialize, Serializer};
use types::{Code, Timestamp};

use crate::admin::{self, Admin};
use crate::error::{Error, Fault};

/// One thing that somebody did, or was not allowed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    pub time: Timestamp,
    /// The name of a command or a query, such as `Rename`.
    pub operation: String,
    /// Why it was not done, if it was not.
    #[serde(serialize_with = "code_name")]
    pub refused: Option<Code>,
    /// On whose behalf; none for an operator.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// What an operator calls itself; else empty.
    pub by: String,
    /// The address of the client of the namenode: of a gateway, for what comes through one.
    pub from: String,
    /// A path, mostly: any bytes.
    #[serde(serialize_with = "text")]
    pub path: Vec<u8>,
    /// The second path of those that have two.
    #[serde(serialize_with = "text")]
    pub to: Vec<u8>,
}

fn code_name<S: Serializer>(code: &Option<Code>, to: S) -> Result<S::Ok, S::Error> {
    code.map(Code::name).serialize(to)
}

fn text<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&String::from_utf8_lossy(bytes))
}

impl From<v1::AuditEntry> for AuditEntry {
    fn from(wire: v1::AuditEntry) -> Self {
        let (uid, gid) = wire.principal.map(|principal| (principal.uid, principal.gid)).unzip();
        Self {
            time: Timestamp::from_nanos(wire.time),
            operation: wire.operation,
            // A code of a later version is told as one that this version has no name for.
            refused: (wire.code != 0).then(|| Code::from_number(wire.code).unwrap_or(Code::Unknown)),
            uid,
            gid,
            by: wire.by,
            from: wire.from,
            path: wire.subject,
            to: wire.other,
        }
    }
}

impl Admin {
    /// At most `most` entries, the newest first, of all namenodes that answer: what was done is in the log of the one that
    /// led then.
    pub async fn recent_audit(&self, most: usize) -> Result<Vec<AuditEntry>, Error> {
        let limit = u32::try_from(most).unwrap_or(u32::MAX);
        let namenodes = self.namenodes();
        let asked = namenodes.iter().map(|address| admin::within(self.patience(), ask(address, limit)));
        let (mut entries, mut failed, mut answered) = (Vec::new(), None, false);
        for answer in join_all(asked).await {
            match answer {
                Ok(of_one) => {
                    answered = true;
                    entries.extend(of_one.into_iter().map(AuditEntry::from));
                }
                Err(fault) => failed = Some(fault),
            }
        }
        if let Some(fault) = failed.filter(|_| !answered) {
            return Err(Error::new("get the audit log of", "the namenodes", fault));
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.time));
        entries.truncate(most);
        Ok(entries)
    }
}

async fn ask(address: &str, limit: u32) -> Result<Vec<v1::AuditEntry>, Fault> {
    let answer = admin::dial(address).await?.audit(v1::AuditRequest { limit }).await;
    Ok(answer.map_err(|status| admin::failed(&status))?.into_inner().entries)
}
