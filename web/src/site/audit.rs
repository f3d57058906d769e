//! `/audit`: what was done last, and by whom.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use client::AuditEntry;

use super::Site;
use super::failure::Failure;
use super::page::{Frame, moment, ok, shown};
use super::session::Session;

/// Entries on the page.
const SHOWN: usize = 200;

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    lines: Vec<Line>,
}

struct Line {
    time: String,
    who: String,
    from: String,
    operation: String,
    path: String,
    to: String,
    result: String,
    tone: &'static str,
}

impl From<&AuditEntry> for Line {
    fn from(entry: &AuditEntry) -> Self {
        let denied = entry.refused.is_some_and(|code| code.kind() == types::ErrorKind::Denied);
        Self {
            time: moment(entry.time),
            who: match entry.uid {
                Some(uid) => format!("uid {uid}"),
                None if entry.by.is_empty() => "operator".to_owned(),
                None => entry.by.clone(),
            },
            from: entry.from.clone(),
            operation: entry.operation.clone(),
            path: shown(&entry.path),
            to: shown(&entry.to),
            result: entry.refused.map_or_else(|| "ok".to_owned(), |code| code.to_string()),
            tone: match (denied, entry.refused) {
                (true, _) => "bad",
                (false, Some(_)) => "warn",
                (false, None) => "good",
            },
        }
    }
}

impl Site {
    /// What the namenodes remember, the newest first. One that does not answer remembers nothing here.
    pub(super) async fn recent_audit(&self) -> Result<Vec<AuditEntry>, Failure> {
        Ok(self.superuser().await?.admin().recent_audit(SHOWN).await?)
    }
}

pub(super) async fn page(State(site): State<Arc<Site>>, session: Session) -> Response {
    if !session.superuser {
        return Failure::superusers_only().page(&session);
    }
    match site.recent_audit().await {
        Ok(entries) => {
            let lines = entries.iter().map(Line::from).collect();
            ok(&Page { frame: Frame::new("Audit", "audit", &session), lines })
        }
        Err(failure) => failure.page(&session),
    }
}
